"""Evapotranspiration against the worked examples of FAO-56 and against the `refet` package."""

from __future__ import annotations

import numpy as np
import pytest

from mmnet_maps.sources.stations.evaporation import (
    extraterrestrial_radiation,
    hargreaves,
    vapour_pressure_deficit,
)


def test_radiation_is_that_of_the_worked_example() -> None:
    """FAO-56, example 8: 20 degrees south on 3 September, 32.2 MJ m-2 d-1."""
    assert float(extraterrestrial_radiation(np.array(-20.0), np.array(246))) == pytest.approx(32.2, abs=0.05)


def test_radiation_at_the_equator_on_an_equinox_has_a_closed_form() -> None:
    # At latitude 0 only cos(declination) is left: 1440 / pi * 0.082 * distance * cos(declination).
    angle = 2 * np.pi / 365 * 80
    expected = 1440 / np.pi * 0.082 * (1 + 0.033 * np.cos(angle)) * np.cos(0.409 * np.sin(angle - 1.39))
    assert float(extraterrestrial_radiation(np.array(0.0), np.array(80))) == pytest.approx(
        expected, rel=1e-12
    )


def test_radiation_equals_refet_from_the_equator_to_the_pole() -> None:
    calcs = pytest.importorskip("refet.calcs")
    latitude, day = np.meshgrid(np.linspace(-60, 60, 13), np.arange(1, 366, 7))
    expected = calcs.ra_daily(np.deg2rad(latitude), day)
    np.testing.assert_allclose(extraterrestrial_radiation(latitude, day), expected, rtol=2e-3)


def test_a_pole_has_no_radiation_in_winter_and_much_in_summer() -> None:
    night, day = extraterrestrial_radiation(np.array(85.0), np.array([355, 172]))
    assert night == pytest.approx(0, abs=1e-9)
    assert day > 40


def test_evapotranspiration_is_that_of_the_worked_example() -> None:
    """FAO-56, example 20: Lyon, 45.72 N, in July, 26.6 and 14.8 degC, 5.0 mm d-1."""
    found = hargreaves(np.array(26.6), np.array(14.8), np.array(45.72), np.array(196))
    assert float(found) == pytest.approx(5.0, abs=0.05)


def test_evapotranspiration_is_never_negative_and_missing_stays_missing() -> None:
    found = hargreaves(np.array([-30.0, np.nan]), np.array([-40.0, 1.0]), np.array(50.0), np.array(10))
    assert found[0] == 0
    assert np.isnan(found[1])


def test_vapour_pressure_deficit_equals_refet() -> None:
    calcs = pytest.importorskip("refet.calcs")
    tmax, tmin, humidity = np.array([31.0, 4.0]), np.array([17.0, -6.0]), np.array([40.0, 90.0])
    saturated = 0.5 * (calcs.sat_vapor_pressure(tmax) + calcs.sat_vapor_pressure(tmin))
    expected = saturated - saturated * humidity / 100
    np.testing.assert_allclose(vapour_pressure_deficit(tmax, tmin, humidity), expected, rtol=1e-9)
