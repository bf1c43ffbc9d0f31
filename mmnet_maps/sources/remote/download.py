"""Whole files, resumed where they broke off and checked when they are here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mmnet_maps.errors import WorkError
from mmnet_maps.sources.remote.http import Http, Signer
from mmnet_maps.sources.remote.ranges import Link, file_stamp, wrong_range
from mmnet_maps.store.whole import write_whole

__all__ = ["download", "sha256", "stamp_of"]

#: Bytes a request.
_PIECE = 1 << 23


def download(http: Http, signer: Signer, link: Link, target: Path) -> bool:
    """Download a file, unless the same is there; whether anything was asked for.

    What a job that was stopped has fetched lies in ``<target>.part``, with its stamp beside it, and is
    gone on with if the file is still the same.

    Raises
    ------
    InputError, WorkError
        See `Http.ask`; also when the length or the checksum is another than the archive says.
    """
    mark, part = _mark(target), target.with_name(f"{target.name}.part")
    if link.stamp is not None and target.is_file() and _text(mark) == link.stamp:
        return False
    stamp, size = _known(http, signer, link)
    if target.is_file() and _text(mark) == stamp and target.stat().st_size == size:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    begun = part.with_name(f"{part.name}.stamp")
    if _text(begun) != stamp:
        part.unlink(missing_ok=True)
        write_whole(begun, stamp)
    with part.open("ab") as file:
        while file.tell() < size:
            start, stop = file.tell(), min(file.tell() + _PIECE, size)
            answer = http.ask(
                link.href,
                what=link.name,
                signer=signer,
                headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"},
                accept=lambda a, start=start, stop=stop: wrong_range(a, start, stop),  # type: ignore[misc]
            )
            if answer.status_code == 200:
                file.truncate(0)
            file.write(answer.content)
            file.flush()
            if answer.status_code == 200:
                size = len(answer.content)
    _refuse_damaged(link, part, size)
    part.replace(target)
    write_whole(mark, stamp)
    begun.unlink(missing_ok=True)
    return True


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _known(http: Http, signer: Signer, link: Link) -> tuple[str, int]:
    """Stamp and length of a file, from the listing or asked for."""
    if link.stamp is not None and link.size is not None:
        return link.stamp, link.size
    said, size = file_stamp(http, signer, link)
    if size is None:
        raise WorkError(f"{link.name}: the server does not say how long it is")
    return link.stamp or said, size


def _refuse_damaged(link: Link, part: Path, size: int) -> None:
    have = part.stat().st_size
    if have != size:
        part.unlink()
        raise WorkError(f"{link.name}: {have} bytes came, {size} were expected; run the same command again")
    # A multihash: 12 20 is SHA-256 of 32 bytes.
    if link.checksum and link.checksum.startswith("1220") and sha256(part) != link.checksum[4:]:
        part.unlink()
        raise WorkError(f"{link.name}: its SHA-256 is not that of the archive; run the same command again")


def stamp_of(target: Path) -> str:
    """What tells a downloaded file from another of its name, as the archive said it."""
    return _text(_mark(target)) or ""


def _mark(target: Path) -> Path:
    return target.with_name(f"{target.name}.stamp")


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
