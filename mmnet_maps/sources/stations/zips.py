"""Zips of text files, which may unpack to far more than they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mmnet_maps.errors import InputError

__all__ = ["refuse_large_members"]

#: Bytes of the largest text file that is unpacked: thirty years of a station, by the hour, are a tenth of it.
_LARGEST = 2**28


def refuse_large_members(archive: Path, content: zipfile.ZipFile) -> None:
    """`InputError` for a zip of which a member unpacks to more than 256 MiB; nothing is unpacked.

    A member never gives more bytes than the zip says of it: reading stops there.
    """
    for info in content.infolist():
        if info.file_size > _LARGEST:
            raise InputError(
                f"{archive}: {info.filename} unpacks to {info.file_size:,} bytes, expected at most "
                f"{_LARGEST:,}"
            )
