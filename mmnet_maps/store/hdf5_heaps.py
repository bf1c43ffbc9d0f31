"""A look at the global heaps of an HDF5 file, before the HDF5 library walks them.

Texts and references of varying length are in them. The library goes from object to object by their sizes. It
never ends where the free space behind them has the size 0, and no signal reaches it. Few damaged bytes do it.

Source: HDF5 File Format Specification 3.0, III.E.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from mmnet_maps.errors import InputError
from mmnet_maps.store.location import Location

__all__ = ["refuse_endless_heaps"]

#: With the version, the only one there is; and bytes of the header of a heap and of an object.
_SIGNATURE, _HEADER = b"GCOL\x01\0\0\0", 16
#: Bytes at the beginning and at the end of a file that are looked at: all of a usual one, and of a large one
#: where the texts of its metadata stand.
_LOOKED_AT = 32 * 2**20


def refuse_endless_heaps(path: Location) -> None:
    """`InputError` where a heap would be walked for ever; only files of this machine are looked at."""
    if not isinstance(path, Path) or not path.is_file() or path.stat().st_size < _HEADER:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        size = len(held)
        seam = _LOOKED_AT - len(_SIGNATURE) + 1  # a signature may begin in the first part and end behind it
        for first, stop in ((0, _LOOKED_AT), (max(seam, size - _LOOKED_AT), size)):
            at = held.find(_SIGNATURE, first, stop)
            while at >= 0:
                if _is_endless(held, at):
                    raise InputError(
                        f"{path}: cannot be read as HDF5: the heap at byte {at:,} is damaged, it has no end"
                    )
                at = held.find(_SIGNATURE, at + 1, stop)


def _is_endless(held: mmap.mmap, start: int) -> bool:
    """Whether free space of no size is in a heap."""
    at, stop = start + _HEADER, len(held)
    if at <= stop:
        stop = min(stop, start + struct.unpack_from("<8xQ", held, start)[0])
    while at + _HEADER <= stop:
        number, _, length = struct.unpack_from("<HH4xQ", held, at)
        if number == 0:
            return bool(length == 0)
        at += _HEADER + -(-length // 8) * 8
    return False
