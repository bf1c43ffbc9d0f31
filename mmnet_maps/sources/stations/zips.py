"""Zips of text files, which may unpack to far more than they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mmnet_maps.errors import InputError

__all__ = ["refuse_large", "refuse_large_members"]

#: Bytes of the largest text file that is read, which takes several times as much memory: thirty years of a
#: sensor, by the hour, are a third of it.
_LARGEST = 2**26


def refuse_large(name: object, size: int, most: int) -> None:
    """`InputError` for a text file of more bytes than one of its kind has."""
    if size > most:
        raise InputError(f"{name}: holds {size:,} bytes, expected at most {most:,}")


def refuse_large_members(archive: Path, content: zipfile.ZipFile) -> None:
    """`InputError` for a zip of which a member unpacks to more than 64 MiB; nothing is unpacked.

    A member never gives more bytes than the zip says of it: reading stops there.
    """
    for info in content.infolist():
        refuse_large(f"{archive}: {info.filename}", info.file_size, _LARGEST)
