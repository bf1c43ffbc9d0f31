"""Finished days of a product as files: two COGs and a STAC item a day."""

from __future__ import annotations

import hashlib
import json
import os
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
from mmnet_maps.produce.export.collection import STORE, Publisher, stated, store_in, write_collection
from mmnet_maps.produce.export.folder import check_owner, exported_days, item_path, read_item
from mmnet_maps.produce.export.published import clear_older, write_published
from mmnet_maps.produce.export.stac import file_facts, write_item
from mmnet_maps.produce.export.styles import quality_style, value_style
from mmnet_maps.produce.product.store import Product
from mmnet_maps.produce.units import iso
from mmnet_maps.progress import say, steps
from mmnet_maps.store.location import Location, Remote
from mmnet_maps.store.lock import sole_writer
from mmnet_maps.store.states import state_of
from mmnet_maps.store.whole import local_folder, move_file, remove_folder, write_whole
from mmnet_maps.version import __version__

__all__ = ["Exported", "day_digest", "export_product", "outdated_days"]

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


def outdated_days(product: Product, out: Location) -> list[int]:
    """Finished days, since 1970-01-01, whose files in a folder are not those of the product."""
    return [
        day
        for day in product.finished_days().tolist()
        if not _is_current(out, day_stem(VALUES, iso(day)), day_digest(product, day))
    ]


def export_product(
    product: Product,
    out: Location,
    start: int | None = None,
    end: int | None = None,
    workers: int = 2,
    publisher: Publisher | None = None,
    store: Literal["none", "shards", "chunks"] = "none",
) -> Exported:
    """Write two COGs and a STAC item for every finished day, and the catalog over all of them.

    A day whose files are already those of the product is left alone, so an export may be repeated, and
    continues where it was interrupted. One export at a time writes to a folder, which is of one product.

    Parameters
    ----------
    product : Product
    out : Path or Remote
        Folder of the files; made if it is not there.
    start, end : int, optional
        First and last day since 1970-01-01, both included; by default all days of the product.
    workers : int
        Days written at once (threads; GDAL and Zarr leave the interpreter free meanwhile).
    publisher : Publisher, optional
        Who publishes the maps; what is not given stays as the folder has it.
    store : {"none", "shards", "chunks"}
        Whether all finished days are also written as one Zarr store, and whether its chunks are in shards.

    Raises
    ------
    InputError
        The days are not in the product or in the wrong order, none of them is finished, `out` is a file or
        holds days of another product, or another export writes there.
    WorkError
        A file could not be written, or what the product holds of a day is not what was written there; the
        other days are exported.
    """
    days = _asked(product, start, end)
    finished = product.finished_days().tolist()
    todo = sorted(set(days) & set(finished))
    unfinished = tuple(sorted(set(days) - set(finished)))
    if not todo:
        raise InputError(
            f"{product.path}: no day from {iso(days[0])} to {iso(days[-1])} is finished; "
            "run `mmnet-maps predict` for them first"
        )
    if unfinished:
        say(f"{len(unfinished)} of {len(days)} days are unfinished and left out, from {iso(unfinished[0])}")
    if state_of(out) != out:
        raise InputError(f"{out}: `daily` writes to it; give another --out")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, expected a folder for the exports")
    with sole_writer(out):
        check_owner(product, out, todo)
        out.mkdir(exist_ok=True)
        for draft in out.glob(f".{VALUES}[_.]*.partial"):
            # Of an export that was killed: nobody else writes here now.
            remove_folder(draft)
        return _export(product, out, todo, unfinished, workers, stated(out, publisher or Publisher()), store)


def _export(
    product: Product,
    out: Location,
    todo: list[int],
    unfinished: tuple[int, ...],
    workers: int,
    publisher: Publisher,
    store: Literal["none", "shards", "chunks"],
) -> Exported:
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
    published = store_in(out)
    if store != "none" and not failed:
        # The store holds the days that stand in the folder.
        held = sorted(exported_days(out) & set(product.finished_days().tolist()))
        digests = [day_digest(product, day) for day in held]
        published = write_published(product, held, digests, out / STORE, publisher, store == "shards")
    items = write_collection(out, product, publisher, published)
    clear_older(out, published)
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


def _tried(product: Product, out: Location, day: int) -> Literal["written", "kept"] | WorkError:
    """Export a day; one that cannot be exported does not keep the others from it."""
    try:
        return _export_day(product, out, day)
    except WorkError as error:
        return WorkError(f"{iso(day)}: {error}")


def _export_day(product: Product, out: Location, day: int) -> Literal["written", "kept"]:
    digest, stem = day_digest(product, day), day_stem(VALUES, iso(day))
    if _is_current(out, stem, digest):
        return "kept"
    about = {
        name: product.about.get(name) for name in ("bundle", "catalogue", "precision", "coarse", "interval")
    }
    provenance = {name: value for name, value in about.items() if value is not None}
    files, flags = day_files(product), product.flags()
    names = [f"{day_stem(file.name, iso(day))}.tif" for file in files]
    made: dict[str, dict[str, Any]] = {}
    with _work_folder(out, stem) as work:
        tags = {"title": f"Soil moisture, {iso(day)}", "date": iso(day), "digest": digest}
        tags |= {"software": f"mmnet-maps {__version__}"}
        tags |= {name: v if isinstance(v, str) else json.dumps(v) for name, v in provenance.items()}
        facts = write_cogs(product, day, work, iso(day), tags)
        styles = value_style(product.layers[VALUES]), quality_style(facts["combinations"], flags)
        for name, style in zip(names, styles, strict=True):
            look = Path(name).with_suffix(".qml").name
            write_whole(out / look, style)
            made |= {look: file_facts(style.encode()), name: file_facts(work / name)}
            move_file(work / name, out / name)
    as_of = product.as_of(day)
    properties: dict[str, Any] = {
        "mmnet_maps:digest": digest,
        "mmnet_maps:valid_percent": round(facts["valid_percent"], 4),
        "mmnet_maps:status": "final" if as_of is None else "provisional",
        **{f"mmnet_maps:{name}": value for name, value in provenance.items()},
    }
    if as_of is not None:
        properties["updated"] = f"{iso(as_of)}T00:00:00Z"
    grid = north_up(product.grid)[0]
    write_item(out, stem, day, grid, list(zip(files, names, strict=True)), made, flags, properties)
    return "written"


def _is_current(out: Location, stem: str, digest: str) -> bool:
    """Whether a day's item is of this digest and its files are there, of the sizes that the item says."""
    item = read_item(item_path(out, stem))
    if item is None or item.get("properties", {}).get("mmnet_maps:digest") != digest:
        return False
    files = [(out / asset["href"], asset.get("file:size")) for asset in item.get("assets", {}).values()]
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


@contextmanager
def _work_folder(out: Location, stem: str) -> Iterator[Path]:
    """Folder for a day's drafts, on the file system of the exports or of this machine."""
    if isinstance(out, Remote):
        with local_folder(out) as work:
            yield work
        return
    work = out / f".{stem}.{os.getpid()}.partial"
    try:
        work.mkdir()
        yield work
    except OSError as error:
        raise WorkError(f"{out}: could not write {stem}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
