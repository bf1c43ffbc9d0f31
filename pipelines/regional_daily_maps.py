"""Daily maps of a region from its rasters: cube, prediction, COGs with STAC.

python pipelines/regional_daily_maps.py --config configs/regional_daily_maps.yaml --out out/region
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from mmnet_maps.config import Config
from mmnet_maps.errors import WorkError
from mmnet_maps.jobs.cubes import build_from_config
from mmnet_maps.prepare.cube.config import CubeConfig
from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.produce.run.predict import Request, predict_product
from mmnet_maps.show.report import write_report


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
    build_from_config(config.cube, base, out / "cube.zarr")
    request = Request(
        bundle=base / config.bundle,
        cube=out / "cube.zarr",
        start=config.start.isoformat(),
        end=config.end.isoformat(),
        out=out / "product.zarr",
        workers=config.workers,
    )
    done = predict_product(request)
    if done.get("failed"):
        raise WorkError(f"{len(done['failed'])} work units failed: {done['failed']}")
    exported = export_product(open_product(out / "product.zarr"), out / "maps", workers=config.workers)
    write_report(out / "product.zarr", out / "report.html")
    print(f"{len(exported.written)} days written, {len(exported.kept)} kept: {out / 'maps' / 'catalog.json'}")


if __name__ == "__main__":
    main()
