"""The files that a cube's sources list over HTTP, downloaded whole: for machines without a network."""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from mmnet_maps.config import read_yaml
from mmnet_maps.errors import InputError
from mmnet_maps.jobs.readers import cube_config, remote_of
from mmnet_maps.jobs.settings import Settings
from mmnet_maps.progress import steps
from mmnet_maps.sources.remote.archive import Archive
from mmnet_maps.sources.remote.download import download, sha256
from mmnet_maps.sources.remote.listing import Listed
from mmnet_maps.store.location import Remote, local_path, location
from mmnet_maps.store.whole import write_whole

__all__ = ["fetch"]


def fetch(config: str | Path, out: str | Path, *, settings: Settings = ()) -> dict[str, Any]:
    """Download what a cube's configuration lists over HTTP; what is there and unchanged is kept.

    Writes under `out` a folder a source with its files, ``listing.json`` (item, day, size, SHA-256 of each),
    and ``cube.yaml``: the same configuration, which builds from these files.

    Parameters
    ----------
    config : str or Path
        YAML of the cube.
    out : str or Path
    settings : mapping or sequence of str
        Single settings over the configuration.

    Returns
    -------
    dict
        ``config`` (of the files), ``files``, ``downloaded``, ``bytes`` and, by source, ``sources``.

    Raises
    ------
    InputError
        No source is over HTTP, or one is not as configured.
    WorkError
        An archive does not answer, or a file came damaged; what is done is kept.
    """
    base, out = Path(config).parent, local_path(out, to_write=True)
    loaded = cube_config(config, settings)
    sources = {name: keys for name, keys in loaded.sources.items() if keys.kind != "files"}
    if not sources:
        raise InputError(f"{config}: no source of kind stac or http; expected one to fetch from")
    found: dict[str, Any] = {}
    with remote_of(loaded, base, loaded.target(base).grid, loaded.start, loaded.end) as remote:
        for name, keys in sources.items():
            archive = remote.archive(name, keys.model_copy(update={"listing": None}))
            found[name] = _fetch_source(archive, name, out / name, remote.config.connections)
    written = _local_config(Path(config), base, out, list(sources))
    return {
        "config": str(written),
        "files": sum(entry["files"] for entry in found.values()),
        "downloaded": sum(entry["downloaded"] for entry in found.values()),
        "bytes": sum(entry["bytes"] for entry in found.values()),
        "sources": found,
    }


def _fetch_source(archive: Archive, name: str, folder: Path, workers: int) -> dict[str, Any]:
    names = Counter(Path(file.link.name).name for file in {f.link.name: f for f in archive.files}.values())
    unique = list({file.link.name: file for file in archive.files}.values())
    with steps(f"fetch {name}", len(unique)) as advance:

        def one(file: Listed) -> tuple[str, bool, Path]:
            path = Path(file.link.name)
            # Files of one name keep the folders that tell them apart.
            target = folder / (path.name if names[path.name] == 1 else path)
            fresh = download(archive.http, archive.signer(file), file.link, target)
            advance(1, target.name)
            return file.link.name, fresh, target

        with ThreadPoolExecutor(workers) as pool:
            done = {link: (fresh, target) for link, fresh, target in pool.map(one, unique)}
    records = []
    for file in archive.files:
        target = done[file.link.name][1]
        link = replace(file.link, size=target.stat().st_size, checksum=f"1220{sha256(target)}")
        records.append(asdict(replace(file, link=link, file=str(target.relative_to(folder)))))
    write_whole(folder / "listing.json", json.dumps(records, indent=1) + "\n")
    return {
        "files": len(unique),
        "downloaded": sum(fresh for fresh, _ in done.values()),
        "bytes": sum(target.stat().st_size for _, target in done.values()),
    }


def _local_config(config: Path, base: Path, out: Path, names: list[str]) -> Path:
    """The configuration with the listings of what was fetched, paths seen from its new folder."""
    data = read_yaml(config)

    def moved(path: str) -> str:
        found = location(path, base)
        return str(found) if isinstance(found, Remote) else os.path.relpath(found, out)

    region, grid = data.get("region") or {}, data.get("grid") or {}
    if "polygon" in region:
        region["polygon"] = moved(region["polygon"])
    if "like" in grid:
        grid["like"] = moved(grid["like"])
    for name, source in data["sources"].items():
        if name in names:
            source["listing"] = f"{name}/listing.json"
        elif isinstance(source.get("path"), str):
            source["path"] = moved(source["path"])
    text = f"# {config.name}, from the files that were fetched.\n{yaml.safe_dump(data, sort_keys=False)}"
    return write_whole(out / "cube.yaml", text)
