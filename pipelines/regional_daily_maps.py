"""Daily maps of a region from its rasters: cube, prediction, COGs with STAC.

python pipelines/regional_daily_maps.py --config configs/regional_daily_maps.yaml --out out/region
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import mmnet_maps as mm
from mmnet_maps.config import Config
from mmnet_maps.prepare.cube.config import CubeConfig


class RegionalConfig(Config):
    """The cube, the bundle and the days of a regional job; paths start from the configuration file."""

    bundle: Path
    start: dt.date
    end: dt.date
    workers: int = 2
    cube: CubeConfig


def main() -> None:
    parser = argparse.ArgumentParser(description="Daily maps of a region from its rasters.")
    parser.add_argument("--config", type=Path, default=Path("configs/regional_daily_maps.yaml"))
    parser.add_argument("--out", type=Path, default=Path("out/region"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    config, base, out = RegionalConfig.load(asked.config, asked.set), asked.config.parent, asked.out
    cube, product, maps = out / "cube.zarr", out / "product.zarr", out / "maps"
    mm.build_cube(config.cube, cube, base=base)
    start, end = config.start.isoformat(), config.end.isoformat()
    mm.predict(base / config.bundle, cube, start, end, product, workers=config.workers)
    exported = mm.export(product, maps, workers=config.workers)
    mm.report(product, out / "report.html")
    print(f"{exported['written']} days written, {exported['kept']} kept: {maps / 'catalog.json'}")


if __name__ == "__main__":
    main()
