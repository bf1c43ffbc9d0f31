"""A simulated region whose files arrive day after day, as those of the archives do."""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import yaml

from mmnet_maps.simulated import SimulationConfig, cube_settings, simulate_region

__all__ = ["LATE", "Region"]

#: Days after which the data of a day are there for certain. Radar takes one to five.
LATE = {"smap": 3, "hls": 2, "sentinel1": 5, "gridmet": 1, "modis": 2}


class Region:
    """A region with an archive that holds all, and the folder of a user, where files arrive.

    Parameters
    ----------
    folder : Path
        The archive, simulated where it is not there.
    config : SimulationConfig
    """

    def __init__(self, folder: Path, config: SimulationConfig) -> None:
        self.archive, self.config = folder / "rasters", config
        if not self.archive.is_dir():
            simulate_region(config, folder)

    def write_configs(self, user: Path, bundle: Path, **daily: Any) -> Path:
        """Write ``cube.yaml`` and ``daily.yaml`` of a user, and what is there from the beginning."""
        user.mkdir(exist_ok=True)
        settings = cube_settings(self.config, "rasters")
        settings["grid"] = {"like": "rasters/terrain/elevation.tif"}
        (user / "cube.yaml").write_text(yaml.safe_dump(settings))
        job: dict[str, Any] = {"config": "cube.yaml", "cube": "cube.zarr", "bundle": str(bundle)}
        job |= {"product": "product.zarr", "maps": "maps", "start": self.config.first_day, "late": LATE}
        (user / "daily.yaml").write_text(yaml.safe_dump(job | daily))
        return user / "daily.yaml"

    def deliver(self, user: Path, today: dt.date) -> None:
        """Bring what has arrived by a day."""
        for path in sorted(self.archive.rglob("*")):
            if not path.is_file():
                continue
            source, target = path.parent.name, user / "rasters" / path.relative_to(self.archive)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".nc":
                _cut(path, target, today - dt.timedelta(days=LATE[source]))
            elif not target.exists() and today >= _there(source, path.name):
                os.link(path, target)


def _there(source: str, name: str) -> dt.date:
    found = re.search(r"_(\d{8})\.", name)
    if found is None:
        return dt.date.min
    day = dt.datetime.strptime(found[1], "%Y%m%d").date()
    late = 1 + day.toordinal() * 7 % 5 if source == "sentinel1" else LATE.get(source, 0)
    return day + dt.timedelta(days=late)


def _cut(path: Path, target: Path, last: dt.date) -> None:
    """A file of a year up to a day: the archive's is replaced every day."""
    with h5netcdf.File(path) as whole:
        (time,) = (name for name in whole.dimensions if name in ("time", "day"))
        first = np.datetime64(str(whole.variables[time].attrs["units"]).split()[2], "D")
        days = first + np.asarray(whole.variables[time][:]).astype("timedelta64[D]")
        count = int(np.searchsorted(days, np.datetime64(last), side="right"))
        if not count:
            return
        if target.exists():
            with h5netcdf.File(target) as held:
                if held.dimensions[time].size == count:
                    return
        draft = target.with_suffix(".draft")
        with h5netcdf.File(draft, "w") as out:
            for name, dimension in whole.dimensions.items():
                out.dimensions[name] = count if name == time else dimension.size
            out.attrs.update(dict(whole.attrs.items()))
            for name, variable in whole.variables.items():
                values = variable[...]
                if time in variable.dimensions:
                    values = np.take(values, np.arange(count), axis=variable.dimensions.index(time))
                attributes = {k: v for k, v in variable.attrs.items() if k != "_FillValue"}
                fill = variable.attrs.get("_FillValue")
                made = out.create_variable(
                    name, variable.dimensions, dtype=variable.dtype, data=values, fillvalue=fill
                )
                made.attrs.update(attributes)
        draft.replace(target)
