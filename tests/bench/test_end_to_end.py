"""The naive path agrees with the whole path, and the report has the names that scripts rely on."""

from __future__ import annotations

from typing import Any

import pytest

from mmnet_maps.bench import end_to_end as bench_end_to_end
from mmnet_maps.bench.end_to_end import EndToEndRates, bench_report, measure_end_to_end
from mmnet_maps.bench.made_up import made_up_bundle
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.produce.engine import device


def test_both_paths_give_the_same_maps_and_have_a_rate() -> None:
    bundle = made_up_bundle("mmnet", published_catalogue())
    rates = measure_end_to_end(bundle, rounds=1, height=24, width=40, naive_side=16)
    assert rates.end_to_end_pixel_days_per_s > 0
    assert rates.end_to_end_ratio == pytest.approx(
        rates.end_to_end_pixel_days_per_s / rates.naive_pixel_days_per_s
    )


def test_the_report_has_exactly_the_stable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    original = bench_end_to_end.measure_engine
    monkeypatch.setattr(
        bench_end_to_end, "measure_engine", lambda bundle, **_: original(bundle, rounds=1, size=16)
    )

    def quick(*_: Any, **__: Any) -> EndToEndRates:
        return EndToEndRates(1.0, 1.0, 1.0, 1.0)

    monkeypatch.setattr(bench_end_to_end, "measure_end_to_end", quick)
    monkeypatch.setattr(device, "seen_devices", lambda: ["cpu"])  # figures of a device come on top
    report = bench_report()
    half = {name for name in report if name.startswith("bfloat16_")}
    assert half == {f"bfloat16_{n}" for n in "pixels_per_s ratio rms p999 matmul_gflops fraction".split()}
    assert sorted(report.keys() - half) == sorted(
        "published_pixels_per_s engine_pixels_per_s engine_ratio max_abs_difference matmul_gflops "
        "engine_gflops roofline_fraction all_layers_ratio end_to_end_pixel_days_per_s end_to_end_fraction "
        "naive_pixel_days_per_s end_to_end_ratio peak_memory_mib threads".split()
    )
