"""Daily high-resolution soil-moisture maps from MMNet.

The verbs of the command line, from Python; paths are text or `Path`, and what comes back is what the command
prints with ``--json``, or the object that was asked for.

>>> import mmnet_maps as mm
>>> mm.build_cube("cube.yaml", "cube.zarr")  # doctest: +SKIP
>>> mm.train("table.parquet", "runs/all", model="mmnet", experiment="all")  # doctest: +SKIP
>>> done = mm.predict("runs/all/all/bundle", "cube.zarr", "2020-03-01", "2020-03-02", "maps.zarr")
>>> maps = mm.open_product("maps.zarr")

A box of a day, computed here and now, as an xarray data set:

>>> box = (-98.398, 36.396, -98.396, 36.398)  # degrees: west, south, east, north
>>> maps = mm.predict("runs/all/all/bundle", "cube.zarr", "2020-03-01", box=box)

Names are imported when they are first used: ``import mmnet_maps`` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmnet_maps.version import __version__

if TYPE_CHECKING:
    from mmnet_maps.errors import InputError, WorkError
    from mmnet_maps.jobs.adjust import adjust
    from mmnet_maps.jobs.check import check_cube
    from mmnet_maps.jobs.climate import climate
    from mmnet_maps.jobs.cubes import build_cube, describe_cube, open_cube
    from mmnet_maps.jobs.daily import daily
    from mmnet_maps.jobs.extract import extract
    from mmnet_maps.jobs.fetch import fetch
    from mmnet_maps.jobs.init import init
    from mmnet_maps.jobs.maps import plan, predict
    from mmnet_maps.jobs.models import load_bundle, train
    from mmnet_maps.jobs.products import export, open_product, report, validate
    from mmnet_maps.jobs.sample import sample_table
    from mmnet_maps.jobs.scores import evaluate
    from mmnet_maps.jobs.stations import build_table, fetch_records, table_from_uscrn

__all__ = [
    "InputError",
    "WorkError",
    "__version__",
    "adjust",
    "build_cube",
    "build_table",
    "check_cube",
    "climate",
    "daily",
    "describe_cube",
    "evaluate",
    "export",
    "extract",
    "fetch",
    "fetch_records",
    "init",
    "load_bundle",
    "open_cube",
    "open_product",
    "plan",
    "predict",
    "report",
    "sample_table",
    "table_from_uscrn",
    "train",
    "validate",
]

#: Module of every name.
_MODULES = {
    "errors": ("InputError", "WorkError"),
    "jobs.adjust": ("adjust",),
    "jobs.climate": ("climate",),
    "jobs.cubes": ("build_cube", "describe_cube", "open_cube"),
    "jobs.daily": ("daily",),
    "jobs.extract": ("extract",),
    "jobs.maps": ("plan", "predict"),
    "jobs.models": ("load_bundle", "train"),
    "jobs.products": ("export", "open_product", "report", "validate"),
    "jobs.scores": ("evaluate",),
    "jobs.check": ("check_cube",),
    "jobs.fetch": ("fetch",),
    "jobs.init": ("init",),
    "jobs.sample": ("sample_table",),
    "jobs.stations": ("build_table", "fetch_records", "table_from_uscrn"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
