"""A file behind HTTP as a local file that is filled where it is read: no byte is asked for twice."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import httpx

from mmnet_maps.errors import WorkError
from mmnet_maps.sources.remote.http import Http, Signer
from mmnet_maps.store.whole import write_whole

__all__ = ["Link", "RangeFile", "Ranges", "file_stamp", "wrong_range"]

#: Small reads are headers: so much is asked for at once, and kept for later builds.
_LEAST = 1 << 14


@dataclass(frozen=True)
class Link:
    """A file of a listing.

    Attributes
    ----------
    href : str
        Its address.
    name : str
        Under which it is kept: host and path.
    stamp : str, optional
        What changes when it is replaced: item id, update time, size, checksum, as far as the archive says;
        None if nothing is known before it is asked for.
    size : int, optional
        Bytes, where the archive says it.
    checksum : str, optional
        Multihash (``file:checksum``).
    """

    href: str
    name: str
    stamp: str | None = None
    size: int | None = None
    checksum: str | None = None


class _Kept:
    """Ranges of a file in a sparse file of their own, with an index that says which."""

    def __init__(self, path: Path) -> None:
        self._path, self._index = path, path.with_name(f"{path.name}.json")
        self.spans: list[tuple[int, int]] = []

    def load(self, stamp: str) -> int | None:
        """Take up what an earlier job has kept of the same file; its length, if there is any."""
        if not self._index.is_file() or not self._path.is_file():
            return None
        known = json.loads(self._index.read_text(encoding="utf-8"))
        if known["stamp"] != stamp:
            return None
        self.spans = [(int(a), int(b)) for a, b in known["spans"]]
        return int(known["length"])

    def add(self, start: int, content: bytes, stamp: str, length: int) -> None:
        """Keep a range."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("r+b" if self.spans else "wb") as file:
            file.seek(start)
            file.write(content)
        self.spans = _merged([*self.spans, (start, start + len(content))])
        write_whole(self._index, json.dumps({"stamp": stamp, "length": length, "spans": self.spans}))

    def copy(self, start: int, stop: int, into: bytearray) -> None:
        """Copy what is here of a range to its position."""
        for begin, end in self.spans:
            low, high = max(begin, start), min(end, stop)
            if low < high:
                with self._path.open("rb") as file:
                    file.seek(low)
                    into[low - start : high - start] = file.read(high - low)

    def forget(self) -> None:
        """Remove what was kept."""
        self._path.unlink(missing_ok=True)
        self._index.unlink(missing_ok=True)


class Ranges:
    """The ranges of one link that are here; safe for several threads.

    Parameters
    ----------
    http : Http
    signer : Signer
    link : Link
    heads : Path
        Folder for headers, kept from job to job.
    values : Path
        Folder for values, of use until they are in a cube.
    """

    def __init__(self, http: Http, signer: Signer, link: Link, heads: Path, values: Path) -> None:
        self._http, self._signer, self.link = http, signer, link
        name = hashlib.sha256(link.href.encode()).hexdigest()[:32]
        self._heads, self._values = _Kept(heads / name), _Kept(values / name)
        self._lock = threading.RLock()
        self._length: int | None = link.size
        self._stamp = link.stamp
        self._settled = self._used = False

    @property
    def length(self) -> int:
        """Bytes of the whole file."""
        with self._lock:
            self._settle()
            if self._length is None:
                self._fetch(0, _LEAST, self._heads)
            assert self._length is not None
            return self._length

    @property
    def identity(self) -> str:
        """Name, stamp and length: another one where the file was replaced."""
        length = self.length
        return f"{self.link.name} {self._stamp} {length}"

    def read(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` (exclusive) of the file; fewer at its end."""
        with self._lock:
            if self._http.closed:
                return b""  # HDF5 reads on while it closes a file that has failed, after the job has ended
            stop = min(stop, self.length)
            if start >= stop:
                return b""
            small = stop - start < _LEAST
            self._used |= not small
            for begin, end in self._gaps(start, stop):
                self._fetch(begin, end, self._heads if small else self._values)
            found = bytearray(stop - start)
            for kept in (self._heads, self._values):
                kept.copy(start, stop, found)
            return bytes(found)

    def forget_values(self) -> None:
        """Remove the values that this job has read: they are where they belong."""
        if self._used:
            self._values.forget()

    def _settle(self) -> None:
        """Learn the stamp, and take up what an earlier job has kept."""
        if self._settled:
            return
        self._settled = True
        if self._stamp is None:
            self._stamp, self._length = file_stamp(self._http, self._signer, self.link)
        for kept in (self._heads, self._values):
            self._length = kept.load(self._stamp) or self._length

    def _gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Parts that are not here."""
        gaps, at = [], start
        for begin, end in _merged([*self._heads.spans, *self._values.spans]):
            if end <= at or begin >= stop:
                continue
            if begin > at:
                gaps.append((at, begin))
            at = max(at, end)
        return [*gaps, (at, stop)] if at < stop else gaps

    def _fetch(self, start: int, stop: int, kept: _Kept) -> None:
        stop = self._widened(start, max(stop, start + _LEAST))
        answer = self._http.ask(
            self.link.href,
            what=self.link.name,
            signer=self._signer,
            headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"},
            accept=lambda a: wrong_range(a, start, stop),
        )
        if answer.status_code == 200:
            # A server without ranges has sent all of it.
            start, total = 0, len(answer.content)
        else:
            total = int(answer.headers["Content-Range"].rpartition("/")[2])
        if self._length not in (None, total):
            raise WorkError(
                f"{self.link.name}: has {total} bytes, {self._length} were expected: it was replaced in the "
                "meantime; run the same command again"
            )
        self._length = total
        kept.add(start, answer.content, str(self._stamp), total)

    def _widened(self, start: int, stop: int) -> int:
        """An end that neither passes the file's nor runs into what is here."""
        ahead = [begin for begin, _ in [*self._heads.spans, *self._values.spans] if begin > start]
        return min([stop, *ahead, *([] if self._length is None else [self._length])])


def file_stamp(http: Http, signer: Signer, link: Link) -> tuple[str, int | None]:
    """What a server says of a file without giving it: mark, time of change and length."""
    headers = http.ask(link.href, what=link.name, method="HEAD", signer=signer).headers
    size = headers.get("Content-Length")
    said = " ".join(headers.get(key, "") for key in ("ETag", "Last-Modified", "Content-Length"))
    return said, int(size) if size else None


def wrong_range(answer: httpx.Response, start: int, stop: int) -> str | None:
    """What is wrong with the answer to a range, if it is not whole."""
    got = len(answer.content)
    if answer.status_code == 200:
        said = answer.headers.get("Content-Length")
        return f"{got} bytes of {said}" if said and int(said) != got else None
    where = answer.headers.get("Content-Range", "")
    head, _, total = where.removeprefix("bytes ").partition("/")
    if not total.isdigit():
        return f"status {answer.status_code} with Content-Range {where!r}"
    expected = min(stop, int(total)) - start
    if head != f"{start}-{start + expected - 1}" or got != expected:
        return f"{got} bytes ({where}), {expected} from {start} were asked for"
    return None


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if out and begin <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((begin, end))
    return out


class RangeFile(io.RawIOBase):
    """A link as a file that can be read and searched."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self._ranges, self._at = ranges, 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; see `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        self._at = (self._ranges.length if base is None else base) + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes from here on; see `io.RawIOBase.read`."""
        stop = self._ranges.length if size is None or size < 0 else self._at + size
        found = self._ranges.read(self._at, stop)
        self._at += len(found)
        return found

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer; see `io.RawIOBase.readinto`."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)
