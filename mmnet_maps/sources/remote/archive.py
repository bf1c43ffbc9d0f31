"""The files of one remote source, opened by the readers as if they were here."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urljoin

from mmnet_maps.errors import InputError
from mmnet_maps.progress import say
from mmnet_maps.source_reader import HttpConfig, SourceConfig
from mmnet_maps.sources.rasters.files import Found, raster_in
from mmnet_maps.sources.rasters.formats import Files
from mmnet_maps.sources.remote.download import download, stamp_of
from mmnet_maps.sources.remote.http import Http, Signer
from mmnet_maps.sources.remote.listing import Listed, Scope, list_files, read_listing
from mmnet_maps.sources.remote.ranges import Link, RangeFile, Ranges
from mmnet_maps.sources.remote.signing import signer_of
from mmnet_maps.store.location import Location
from mmnet_maps.store.lock import sole_writer
from mmnet_maps.store.whole import appearing

__all__ = ["Archive", "Remote"]


class Remote:
    """What the remote sources of one job share: the client, the folder of headers, scratch space.

    Parameters
    ----------
    config : HttpConfig
    base : Path
        Folder of the configuration, which the folder of headers is relative to.
    scope : Scope
        Region and days.
    """

    def __init__(self, config: HttpConfig, base: Path, scope: Scope) -> None:
        self.config, self.base, self.scope = config, base, scope
        self._stack = ExitStack()
        self._signers: dict[tuple[str, str], Signer] = {}
        self._archives: list[Archive] = []

    def close(self, done: bool) -> None:
        """Close connections; where the job is done, forget the values that it has read."""
        if done:
            for archive in self._archives:
                archive.forget_values()
        self._stack.close()

    @cached_property
    def http(self) -> Http:
        """The one client of the job."""
        http = Http(self.config)
        self._stack.callback(http.close)
        return http

    @property
    def heads(self) -> Path:
        """Folder of what is kept from job to job."""
        return self.base / self.config.cache

    @cached_property
    def values(self) -> Path:
        """Folder of values, which a job that was stopped goes on with; of its own beside another job."""
        folder = self.heads / "values"
        try:
            self._stack.enter_context(sole_writer(folder))
        except InputError:
            return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mmnet-maps-")))
        return folder

    def signer(self, config: SourceConfig, collection: str) -> Signer:
        """What opens the links of a collection; one Earthdata token serves all."""
        key = (config.sign, collection if config.sign == "planetary" else "")
        if key not in self._signers:
            self._signers[key] = signer_of(config.sign, self.config, collection)
        return self._signers[key]

    def archive(self, name: str, config: SourceConfig) -> Archive:
        """The files of one source, by search, template or listing."""
        if config.listing is not None:
            path = self.base / config.listing
            return Archive(self, config, read_listing(name, path), path.parent)
        say(f"{name}: asking {config.api or config.url}")
        self._archives.append(Archive(self, config, list_files(name, config, self.http, self.scope)))
        return self._archives[-1]


class Archive(Files):
    """Files of a source by the paths that the readers use."""

    def __init__(
        self, remote: Remote, config: SourceConfig, files: list[Listed], folder: Path | None = None
    ) -> None:
        super().__init__()
        self.files = files
        self._remote, self._config, self._folder = remote, config, folder
        self._listed: dict[Location, Listed] = {self.path(file): file for file in files}
        self._ranges: dict[Location, Ranges] = {}
        #: Files that were downloaded whole, with what told them apart.
        self._whole: dict[Location, tuple[Path, str]] = {}

    @property
    def http(self) -> Http:
        """The client of the job."""
        return self._remote.http

    def path(self, file: Listed) -> Path:
        """Under which the readers know a file; not a path on this machine unless it was downloaded."""
        if self._folder is not None and file.file is not None:
            return self._folder / file.file
        return Path(file.link.name)

    def find(self, variable: str) -> list[Found]:
        """See `Files.find`."""
        return [Found(self.path(f), f.scene, f.day) for f in self.files if f.variable == variable]

    def signer(self, file: Listed) -> Signer:
        """What opens a file."""
        return self._remote.signer(self._config, file.collection)

    def ranges(self, path: Location) -> Ranges:
        """The ranges of a file; the same object every time."""
        with self._lock:
            if path not in self._ranges:
                file = self._listed[path]
                self._ranges[path] = Ranges(
                    self._remote.http, self.signer(file), file.link, self._remote.heads, self._remote.values
                )
            return self._ranges[path]

    def forget_values(self) -> None:
        """Remove the values that were read: they are where they belong."""
        for ranges in self._ranges.values():
            ranges.forget_values()

    def here(self, path: Location) -> bool:
        """Whether a file is on this machine."""
        return self._folder is not None

    def stamp(self, path: Location) -> str:
        """What changes when a file is replaced; what was unpacked here is told by its size and time."""
        if path not in self._listed:
            return super().stamp(path)
        if self.here(path):
            link = self._listed[path].link
            return f"{link.name} {link.stamp} {link.size}"
        if path in self._whole:
            target, stamp = self._whole[path]
            return f"{self._listed[path].link.name} {stamp} {target.stat().st_size}"
        return self.ranges(path).identity

    def size(self, path: Location) -> int:
        """Bytes that reading all of a file would fetch."""
        return 0 if self.here(path) or path in self._whole else self.ranges(path).length

    def stream(self, path: Location) -> BinaryIO:
        """A file to read from."""
        return super().stream(path) if self.here(path) else cast("BinaryIO", RangeFile(self.ranges(path)))

    def local(self, path: Location) -> Path:
        """A file on this machine, downloaded whole where it is not here; of a zip, the raster in it."""
        if self.here(path):
            target = super().local(path)
        else:
            file = self._listed[path]
            target = self._remote.heads / "files" / file.link.name
            with self._lock:
                if path not in self._whole:
                    download(self._remote.http, self.signer(file), file.link, target)
                    self._whole[path] = target, stamp_of(target)
        return _unpacked(target) if target.suffix.lower() == ".zip" else target

    def opener(self, path: str, mode: str = "rb") -> BinaryIO:
        """What GDAL opens files with; anything but a file of the listing is not there."""
        if Path(path) not in self._listed and not self._take_up(path):
            raise FileNotFoundError(path)
        return super().opener(path, mode)

    def _take_up(self, path: str) -> bool:
        """Whether a path is that of a raster below a VRT of the listing; it is then one of its files."""
        if not path.lower().endswith((".tif", ".tiff", ".img")):
            return False
        for known, file in list(self._listed.items()):
            if known.suffix.lower() == ".vrt":
                href = urljoin(file.link.href, os.path.relpath(path, str(known.parent)))
                link = Link(href, path)
                self._listed[Path(path)] = replace(file, link=link)
                return True
        return False


def _unpacked(path: Path) -> Path:
    """The one raster of a zip, unpacked beside it."""
    name = raster_in(path)
    target = path.with_suffix("") / Path(name).name
    if not target.is_file():
        with zipfile.ZipFile(path) as archive:
            size, free = archive.getinfo(name).file_size, shutil.disk_usage(path.parent).free
        if size > free:
            raise InputError(f"{path}: {name} unpacks to {size:,} bytes; the disk has {free:,} left")
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            zipfile.ZipFile(path) as archive,
            appearing(target) as draft,
            archive.open(name) as packed,
            draft.open("wb") as out,
        ):
            while block := packed.read(1 << 22):
                out.write(block)
    return target
