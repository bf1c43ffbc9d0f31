"""The environment: what is installed, what this machine can do, and what it lacks."""

from __future__ import annotations

import importlib.metadata
import netrc
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from dask.system import cpu_count

from mmnet_maps.learn.bundle import FORMAT as BUNDLE_FORMAT
from mmnet_maps.prepare.cube.layout import FORMAT as CUBE_FORMAT
from mmnet_maps.produce.engine.device import seen_devices
from mmnet_maps.produce.engine.rates import product_rates
from mmnet_maps.produce.product.store import FORMAT as PRODUCT_FORMAT
from mmnet_maps.sources.rasters.drivers import gdal_drivers
from mmnet_maps.version import __version__

__all__ = ["doctor"]

_SHOWN = ("torch", "numpy", "xarray", "zarr", "dask", "rasterio", "pyproj", "pystac")
#: Extras that add something for a user.
_DEVELOPMENT = ("dev", "docs")


def doctor(folder: str | Path = ".") -> dict[str, Any]:
    """Look at the environment: versions, drivers, devices, rates, disk, credentials.

    Parameters
    ----------
    folder : str or Path
        Where results would be written: its disk is looked at.

    Returns
    -------
    dict
        ``versions``; ``missing``: core packages that are not installed; ``extras``: missing packages of each;
        ``gdal`` and ``gdal_drivers``; ``devices``; ``gflops``: measured, one thread; ``processors``;
        ``memory_gib``; ``disk_free_gib``; ``credentials``: present or not; ``formats``: newest that are read.

    Examples
    --------
    >>> found = doctor()
    >>> found["formats"]["bundle"] >= 1, "cpu" in found["devices"]
    (True, True)
    """
    gdal, drivers = gdal_drivers()
    packages = _missing_packages()
    return {
        "versions": {
            "mmnet-maps": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _SHOWN if _is_installed(name)},
        },
        "missing": packages.pop("", []),
        "extras": packages,
        "gdal": gdal,
        "gdal_drivers": drivers,
        "devices": seen_devices(),
        "gflops": {name: round(rate, 1) for name, rate in product_rates().items()},
        "processors": cpu_count(),
        "memory_gib": _memory_gib(),
        "disk_free_gib": round(shutil.disk_usage(folder).free / 2**30, 1),
        "credentials": _credentials(),
        "formats": {"bundle": BUNDLE_FORMAT, "cube": CUBE_FORMAT, "product": PRODUCT_FORMAT},
    }


def _missing_packages() -> dict[str, list[str]]:
    """Packages that are not installed, by extra; the core's under the empty name."""
    found: dict[str, list[str]] = {}
    for text in importlib.metadata.requires("mmnet-maps") or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", text)
        group = extra.group(1) if extra else ""
        name = re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0]
        if group not in _DEVELOPMENT:
            found.setdefault(group, [])
            if not _is_installed(name):
                found[group].append(name)
    return found


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _credentials() -> dict[str, bool]:
    """Whether a sign-in is there; whether it is accepted only its service can tell."""
    home = Path.home()
    return {
        "Earth Engine": (home / ".config/earthengine/credentials").is_file()
        or "GOOGLE_APPLICATION_CREDENTIALS" in os.environ,
        "NASA Earthdata": "EARTHDATA_TOKEN" in os.environ or _in_netrc("urs.earthdata.nasa.gov"),
        "Planetary Computer": "PC_SDK_SUBSCRIPTION_KEY" in os.environ,
        "Amazon S3": "AWS_ACCESS_KEY_ID" in os.environ or (home / ".aws/credentials").is_file(),
    }


def _in_netrc(machine: str) -> bool:
    try:
        return netrc.netrc().authenticators(machine) is not None
    except (OSError, netrc.NetrcParseError):
        return False
