"""A year of `mmnet-maps daily` while data arrive late: what provisional days are worth, by their age.

``python -m tests.benchmarks.bench_daily BUNDLE`` simulates a region of 64 x 64 pixels and a year of arrivals
(SMAP 3 days late, HLS and MODIS 2, radar 1 to 5, gridMET 1), runs the job as often as asked, and holds what
stands in the product at that moment against the simulated truth. The factor by which intervals must be
widened to hold their nominal share is taken from the first half of the year, its coverage from the second.
At the end, when nothing more can arrive, the product is held against one made with everything at hand.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mmnet_maps.dates import to_day
from mmnet_maps.jobs.cubes import build_cube
from mmnet_maps.jobs.daily import daily
from mmnet_maps.jobs.maps import predict
from mmnet_maps.produce.judge.truth import TruthField
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.simulated import SimulationConfig
from tests.arrivals import Region

#: Ages that are told together, in days: from the first to the last.
_AGES = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 8), (9, 12), (13, 20), (21, 40))
_NOMINAL = 0.9
#: Days after the last one, by which no gap reaches back to it.
_LONG_AFTER = 400
#: Classes of errors as shares of the half interval on their side.
_SHARES = np.linspace(0, 10, 2001)


class Tally:
    """Sums over pixel-days."""

    def __init__(self) -> None:
        self.sums = np.zeros(6)
        self.halves = np.zeros((2, len(_SHARES)))
        self.days = 0

    def add(self, truth: Any, estimate: Any, lower: Any, upper: Any, half: int) -> None:
        use = np.isfinite(truth) & np.isfinite(estimate)
        t, m = truth[use].astype(np.float64), estimate[use].astype(np.float64)
        self.sums += [len(t), t.sum(), m.sum(), (t * t).sum(), (m * m).sum(), (t * m).sum()]
        room = np.where(t > m, upper[use] - m, m - lower[use])
        share = np.abs(t - m) / np.maximum(room, 1e-4)
        self.halves[half] += np.bincount(np.digitize(share, _SHARES[1:]), minlength=len(_SHARES))
        self.days += 1

    def row(self) -> list[str]:
        n, t, m, tt, mm, tm = self.sums
        if not n:
            return ["-"] * 6
        rmse = np.sqrt((tt + mm - 2 * tm) / n)
        spread = np.sqrt((tt / n - (t / n) ** 2) * (mm / n - (m / n) ** 2))
        first = np.cumsum(self.halves[0]) / max(1, self.halves[0].sum())
        factor = max(1.0, float(_SHARES[min(len(_SHARES) - 1, int(np.searchsorted(first, _NOMINAL)) + 1)]))
        held, wider = (self._coverage(self.halves.sum(axis=0), 1.0), self._coverage(self.halves[1], factor))
        return [f"{rmse:.4f}", f"{(tm / n - t * m / n / n) / spread:.3f}", f"{held:.3f}", f"{factor:.2f}",
                f"{wider:.3f}", str(self.days)]  # fmt: skip

    def _coverage(self, counts: Any, factor: float) -> float:
        return float(counts[: int(np.searchsorted(_SHARES, factor))].sum() / max(1, counts.sum()))


def main() -> None:
    """Simulate, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("bundle", type=Path, help="a trained model")
    options.add_argument("--days", type=int, default=365)
    options.add_argument("--every", type=int, default=1, help="days from run to run")
    options.add_argument("--pixels", type=int, default=64)
    options.add_argument("--folder", type=Path, help="where to work; a folder of its own by default")
    given = options.parse_args()
    first = dt.date(2020, 1, 10)
    config = SimulationConfig(
        region_pixels=given.pixels, first_day=first, last_day=first + dt.timedelta(days=given.days - 1),
        history_days=30, validation_stations=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        run(config, given.folder or Path(scratch), given.bundle.absolute(), given.every)


def run(config: SimulationConfig, folder: Path, bundle: Path, every: int) -> None:
    """Run the job through the days of a simulation, and print the table."""
    region, user = Region(folder / "archive", config), folder / "user"
    job = region.write_configs(user, bundle, maps=None, tile=config.region_pixels, block_days=8)
    provisional = {ages: Tally() for ages in _AGES}
    final = Tally()
    took, redone, runs, lasting = 0.0, 0, 0, []
    last = config.last_day + dt.timedelta(days=40)
    for number in range(4, (last - config.first_day).days, every):
        today = config.first_day + dt.timedelta(days=number)
        region.deliver(user, today)
        began = time.perf_counter()
        done = daily(job, today=today)
        took, runs = took + time.perf_counter() - began, runs + 1
        redone += sum(done["units"].values())
        lasting.append(done["provisional"])
        product = open_product(user / "product.zarr")
        truth = TruthField(region.archive.parent / "truth" / "soil_moisture.zarr", product.grid)
        for ages, tally in provisional.items():
            for age in range(ages[0], ages[1] + 1):
                day = to_day(today) - age
                if product.layout.start <= day < product.layout.stop and product.as_of(day) is not None:
                    _add(tally, product, truth, day, number * 2 >= config_days(config))
    _print_whether_alike(config, user, bundle)
    product = open_product(user / "product.zarr")
    for day in product.finished_days().tolist():
        _add(final, product, truth, day, (day - product.layout.start) * 2 >= config_days(config))
    waiting = f"provisional days: {np.median(lasting):.0f} in the median"
    print(f"{runs} runs in {took:.0f} s, {redone} units made; {waiting}")
    print(f"{'age, days':>12} {'RMSE':>7} {'R':>6} {'in 90 %':>8} {'factor':>7} {'with it':>8} {'days':>5}")
    for name, tally in [*((f"{a}-{b}", t) for (a, b), t in provisional.items()), ("final", final)]:
        rmse, r, held, factor, wider, days = tally.row()
        print(f"{name:>12} {rmse:>7} {r:>6} {held:>8} {factor:>7} {wider:>8} {days:>5}")


def _print_whether_alike(config: SimulationConfig, user: Path, bundle: Path) -> None:
    """Run once more when nothing can arrive any longer, and make the same maps of everything at hand."""
    done = daily(user / "daily.yaml", today=config.last_day + dt.timedelta(days=_LONG_AFTER))
    other = user.with_name("at-once")
    other.mkdir()
    build_cube(user / "cube.yaml", other / "cube.zarr")
    predict(
        bundle, other / "cube.zarr", *done["mapped"], other / "product.zarr",
        tile=config.region_pixels, block_days=8,
    )  # fmt: skip
    one, two = (_content(folder / "product.zarr") for folder in (user, other))
    differ = [name for name in {**one, **two} if one.get(name) != two.get(name)]
    print(
        f"{len(one)} files of the product, {done['provisional']} days provisional; "
        f"{len(differ)} differ from those made with everything at hand"
    )


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def config_days(config: SimulationConfig) -> int:
    """Days that are mapped."""
    return (config.last_day - config.first_day).days + 1


def _add(tally: Tally, product: Any, truth: TruthField, day: int, later: bool) -> None:
    stored = product.read_day(day)
    values = [product.packing[name].decode(stored[name]) for name in ("soil_moisture", "lower", "upper")]
    tally.add(truth.read(day), *values, int(later))


if __name__ == "__main__":
    main()
