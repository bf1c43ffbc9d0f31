"""Finished days of a product as files: two COGs and a STAC item a day."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.produce.export.cog import VALUES, day_files, day_stem, north_up, write_cogs
from mmnet_maps.produce.export.stac import item_path, read_item, write_collection, write_item
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.units import iso
from mmnet_maps.progress import say, steps
from mmnet_maps.version import __version__

__all__ = ["Exported", "day_digest", "export_product"]

#: Part of every day's digest: raise it when the files of a day change their form.
_FORM = 3


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Attributes
    ----------
    written, kept : tuple of int
        Days since 1970-01-01 whose files were made, and whose files were already those of the product.
    unfinished : tuple of int
        Days that were asked for and are not finished in the product: no file was made.
    items : int
        Items of the collection now, days of earlier exports included.
    """

    written: tuple[int, ...]
    kept: tuple[int, ...]
    unfinished: tuple[int, ...]
    items: int


def day_digest(product: Product, day: int) -> str:
    """Digest of the values that the files of a day hold, and of their meaning."""
    units: dict[str, Any] = {}
    for unit in product.layout.units(day, day + 1):
        entry = product.ledger.read(unit.key)
        if entry is not None:
            units[unit.key] = entry.days[day - entry.first] if entry.days else entry.outputs
    parts = [_FORM, product.grid.to_dict(), product.about.get("bundle"), product.flags(), units]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def export_product(
    product: Product, out: Path, start: int | None = None, end: int | None = None, workers: int = 2
) -> Exported:
    """Write two COGs and a STAC item for every finished day, and the catalog over all of them.

    A day whose files are already those of the product is left alone, so an export may be repeated, and
    continues where it was interrupted.

    Parameters
    ----------
    product : Product
    out : Path
        Folder of the files; made if it is not there.
    start, end : int, optional
        First and last day since 1970-01-01, both included; by default all days of the product.
    workers : int
        Days written at once (threads; GDAL and Zarr leave the interpreter free meanwhile).

    Raises
    ------
    InputError
        The days are not in the product or in the wrong order, none of them is finished, or `out` is a file.
    WorkError
        A file could not be written, or what the product holds of a day is not what was written there; the
        other days are exported.
    """
    days = _asked(product, start, end)
    done = set(product.finished_days().tolist())
    unfinished = tuple(day for day in days if day not in done)
    todo = [day for day in days if day in done]
    if not todo:
        raise InputError(
            f"{product.path}: no day from {iso(days[0])} to {iso(days[-1])} is finished; "
            "run `mmnet-maps predict` for them first"
        )
    if unfinished:
        say(f"{len(unfinished)} of {len(days)} days are unfinished and left out, from {iso(unfinished[0])}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{out}: is a file, expected a folder for the exports") from None
    written: list[int] = []
    kept: list[int] = []
    failed: list[WorkError] = []
    with (
        steps("days exported", len(todo)) as advance,
        ThreadPoolExecutor(max(1, workers), thread_name_prefix="export") as pool,
    ):
        for day, state in zip(todo, pool.map(partial(_tried, product, out), todo), strict=True):
            if isinstance(state, WorkError):
                failed.append(state)
            else:
                (written if state == "written" else kept).append(day)
            advance()
    items = write_collection(out, {"mmnet_maps:bundle": str(product.about.get("bundle", ""))})
    if failed:
        raise WorkError(f"{len(failed)} of {len(todo)} days were not exported; the first: {failed[0]}")
    return Exported(tuple(written), tuple(kept), unfinished, items)


def _asked(product: Product, start: int | None, end: int | None) -> list[int]:
    first = product.layout.start if start is None else int(start)
    last = product.layout.stop - 1 if end is None else int(end)
    if first > last:
        raise InputError(f"start {iso(first)} is after end {iso(last)}")
    product.index(first)
    product.index(last)
    return list(range(first, last + 1))


def _tried(product: Product, out: Path, day: int) -> Literal["written", "kept"] | WorkError:
    """Export a day; one that cannot be exported does not keep the others from it."""
    try:
        return _export_day(product, out, day)
    except WorkError as error:
        return WorkError(f"{iso(day)}: {error}")


def _export_day(product: Product, out: Path, day: int) -> Literal["written", "kept"]:
    digest, stem = day_digest(product, day), day_stem(VALUES, iso(day))
    if _is_current(out, stem, digest):
        return "kept"
    about = {name: product.about.get(name) for name in ("bundle", "catalogue", "precision", "interval")}
    provenance = {name: value for name, value in about.items() if value is not None}
    files = day_files(product)
    paths = [out / f"{day_stem(file.name, iso(day))}.tif" for file in files]
    with _work_folder(out, stem) as work:
        tags = {
            "title": f"Soil moisture, {iso(day)}",
            "date": iso(day),
            "software": f"mmnet-maps {__version__}",
            "digest": digest,
            **{
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in provenance.items()
            },
        }
        facts = write_cogs(product, day, work, iso(day), tags)
        for path in paths:
            (work / path.name).replace(path)
    properties: dict[str, Any] = {
        "mmnet_maps:digest": digest,
        "mmnet_maps:valid_percent": round(facts["valid_percent"], 4),
        **{f"mmnet_maps:{name}": value for name, value in provenance.items()},
    }
    grid = north_up(product.grid)[0]
    write_item(out, stem, day, grid, list(zip(files, paths, strict=True)), product.flags(), properties)
    return "written"


def _is_current(out: Path, stem: str, digest: str) -> bool:
    """Whether a day's item is of this digest and its files are there, of the sizes that the item says."""
    item = read_item(item_path(out, stem))
    if item is None or item.get("properties", {}).get("mmnet_maps:digest") != digest:
        return False
    files = [(out / asset["href"], asset.get("file:size")) for asset in item.get("assets", {}).values()]
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


@contextmanager
def _work_folder(out: Path, stem: str) -> Iterator[Path]:
    """Folder for a day's drafts; what a killed export left under its name goes first."""
    work = out / f".{stem}.partial"
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir()
        yield work
    except OSError as error:
        raise WorkError(f"{out}: could not write {stem}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
