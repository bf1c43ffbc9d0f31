"""Where something is stored: a path of this machine, or an address in an object store.

Both answer the same questions (`exists`, `iterdir`, `read_bytes`, ...), so that few functions need to know
which of the two they were given.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from mmnet_maps.errors import InputError
from mmnet_maps.store.remote import SCHEMES, Remote

__all__ = ["Location", "Remote", "local_path", "location", "open_to_read", "opener_of", "target_location"]

Location: TypeAlias = Path | Remote

# pathlib takes the second slash away; it is put back here.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(.*)", re.DOTALL)


def location(given: str | Location, base: Path | None = None) -> Location:
    """The location that a user names.

    Parameters
    ----------
    given : str, Path or Remote
        A path, or ``s3://bucket/prefix``, ``gs://``, ``az://``, ``http://`` and ``https://`` (to read), or
        ``memory://name/prefix`` of this process.
    base : Path, optional
        Folder that a relative path starts from.

    Raises
    ------
    InputError
        An address of another kind, or without a bucket.

    Examples
    --------
    >>> str(location("s3://maps/iowa/") / "cube.zarr")
    's3://maps/iowa/cube.zarr'
    >>> location("cube.zarr").name
    'cube.zarr'
    """
    if isinstance(given, Remote):
        return given
    found = _ADDRESS.fullmatch(str(given))
    if found is None or (isinstance(given, Path) and given.is_absolute()):
        return _no_loop(Path(given) if base is None else base / given)
    scheme, rest = found.groups()
    if scheme == "file":
        return Path("/" + rest.lstrip("/"))
    if scheme not in SCHEMES:
        raise InputError(f"{given}: expected a path or an address that begins with {', '.join(SCHEMES)}")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise InputError(f"{given}: names no bucket; expected {scheme}://BUCKET/PREFIX")
    return Remote(f"{scheme}://{bucket}", re.sub("/+", "/", key).strip("/"))


def target_location(given: str | Location, base: Path | None = None) -> Location:
    """As `location`, of what is to be written; a web address is refused, from which one can only read."""
    found = location(given, base)
    if isinstance(found, Remote) and found.root.startswith("http"):
        raise InputError(f"{found}: a web address is read only; expected a path, or s3://, gs:// or az://")
    return found


def local_path(given: str | Location, *, to_write: bool = False) -> Path:
    """A path of this machine, where no address will do; an address is refused, with what to do instead."""
    found = location(given)
    if isinstance(found, Remote):
        advice = "write to a folder here, then copy it there" if to_write else "download it first"
        raise InputError(f"{found}: expected a path of this machine; {advice}")
    return found


def _no_loop(path: Path) -> Path:
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path}: is a symbolic link that leads back to itself") from None
    return path


def open_to_read(name: str, mode: str = "rb") -> BinaryIO:
    """Open a file or an object to read in any order, as `rasterio.open` wants it of an opener."""
    if mode not in ("r", "rb"):
        raise ValueError(f"{name}: is opened to read alone")
    found = location(name)
    return found.open() if isinstance(found, Remote) else found.open("rb")


def opener_of(path: Location) -> dict[str, Any]:
    """How `rasterio.open` is to open a file: an object through `open_to_read`, a path by itself."""
    return {"opener": open_to_read} if isinstance(path, Remote) else {}
