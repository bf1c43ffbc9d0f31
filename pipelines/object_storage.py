"""Daily maps on a dask scheduler with object storage alone: nothing is shared but the store's address.

python pipelines/object_storage.py --config cube.yaml --bundle runs/all/all/bundle --store s3://maps/iowa
    --start 2020-06-01 --end 2020-06-30 --scheduler tcp://scheduler:8786

Without --scheduler it starts a scheduler and two workers here, each a process of its own in an empty folder
of its own, as machines of a cluster would be.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mmnet_maps as mm
from mmnet_maps.learn.bundle import load_bundle, save_bundle
from mmnet_maps.store.location import location

_WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description="Daily maps on a cluster with object storage alone.")
    parser.add_argument("--config", type=Path, required=True, help="YAML of the cube")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--start", required=True)
    parser.add_argument("--end", required=True)
    parser.add_argument("--store", required=True, help="s3://BUCKET/PREFIX, gs:// or az://")
    parser.add_argument("--scheduler", help="address of a dask scheduler; by default one is started here")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    store = location(asked.store)
    cube, product, maps = (str(store / name) for name in ("cube.zarr", "product.zarr", "maps"))
    bundle = str(store / "bundle")
    save_bundle(load_bundle(asked.bundle), location(bundle))
    mm.build_cube(asked.config, cube, settings=asked.set)
    with _scheduler(asked.scheduler) as scheduler:
        mm.predict(bundle, cube, asked.start, asked.end, product, scheduler=scheduler)
    exported = mm.export(product, maps, zarr=True)
    print(f"{exported['written']} days written, {exported['kept']} kept: {maps}/catalog.json")


@contextmanager
def _scheduler(given: str | None) -> Iterator[str]:
    """The scheduler given, or one of this machine with workers in empty folders."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="mmnet-maps-cluster-") as scratch:
        file, processes = Path(scratch) / "scheduler.json", list[subprocess.Popen[bytes]]()

        def start(name: str, *command: str) -> None:
            folder = Path(scratch) / name
            folder.mkdir()
            # Python finds this package where it is found here.
            paths = os.pathsep.join(path for path in map(os.path.abspath, sys.path) if path)
            dask = [sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]]
            with (Path(scratch) / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(dask, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, stderr=log)
                )

        try:
            start(
                "scheduler",
                "scheduler",
                "--scheduler-file",
                str(file),
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--no-dashboard",
            )
            while not file.exists():
                if processes[0].poll() is not None:
                    raise SystemExit((Path(scratch) / "scheduler.log").read_text()[-500:])
                time.sleep(0.1)
            for number in range(_WORKERS):
                start(
                    f"worker-{number}",
                    "worker",
                    "--scheduler-file",
                    str(file),
                    "--nthreads",
                    "1",
                    "--no-dashboard",
                )
            from distributed import Client

            with Client(scheduler_file=str(file)) as client:  # type: ignore[no-untyped-call]
                client.wait_for_workers(_WORKERS, timeout=120)
                yield client.scheduler.address
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()


if __name__ == "__main__":
    main()
