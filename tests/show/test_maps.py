"""Map pictures: missing is grey, north is up, thinning keeps places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmnet_maps.grid import Grid, Tile
from mmnet_maps.show.figures import png
from mmnet_maps.show.maps import (
    Panel,
    colour_map,
    comparison_figure,
    day_figures,
    quality_classes,
    shared_range,
    thinned,
    write_comparison_maps,
)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 64))
def test_thinning_keeps_the_place_of_every_kept_pixel(height: int, width: int, side: int) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 500_000.0, 0.0, -20.0, 4_000_000.0), height, width)
    small, step = thinned(grid, side)
    assert max(small.shape) <= side
    assert small.shape == np.zeros(grid.shape)[::step, ::step].shape
    np.testing.assert_allclose(small.x(np.arange(small.width)), grid.x(np.arange(width)[::step]))
    np.testing.assert_allclose(small.y(np.arange(small.height)), grid.y(np.arange(height)[::step]))


def test_a_missing_value_is_grey_and_dry_is_brown() -> None:
    colours = colour_map()
    red, green, blue, _ = colours(np.ma.masked_invalid(np.array([np.nan])))[0]
    assert red == green == blue
    dry, wet = colours(0.0), colours(1.0)
    assert dry[0] > dry[2] and wet[2] > wet[0]


def test_the_range_is_shared_and_holds_nearly_all_values() -> None:
    one, two = np.full((50, 50), 0.11, np.float32), np.full((50, 50), 0.29, np.float32)
    two[0, 0] = np.nan
    low, high = shared_range([one, two])
    assert low == pytest.approx(0.10) and high == pytest.approx(0.30)
    assert shared_range([np.full((2, 2), np.nan, np.float32)]) == (0.0, 0.5)


def test_the_first_row_of_a_panel_is_drawn_at_the_top() -> None:
    grid = Grid("EPSG:32612", (1000.0, 0.0, 0.0, 0.0, -1000.0, 0.0), 40, 20)
    values = np.zeros(grid.shape, np.float32)
    values[0] = 1.0
    figure = comparison_figure([Panel("one", values)], grid, "title")
    image = figure.axes[0].images[0]
    assert image.origin == "upper" and tuple(image.get_extent()) == (0.0, 20.0, 0.0, 40.0)
    np.testing.assert_array_equal(image.get_array(), values)
    assert figure.axes[0].get_xlabel() == "km east"


def test_a_pixel_has_the_class_of_its_first_bit() -> None:
    flags = {"water": 1, "old": 2, "late": 32768}
    classes, names, colours = quality_classes(np.array([[0, 1, 2], [3, 32768, 32770]], np.uint16), flags)
    assert names == ["no remark", "water", "old", "late"]
    np.testing.assert_array_equal(classes, [[0, 1, 2], [1, 3, 2]])
    assert len(colours) == 4


def test_the_same_product_gives_the_same_picture(make_product: Callable[..., Any]) -> None:
    product = make_product(days=1)
    one, two = (
        [png(f) for _, f in next(day_figures(product, [product.layout.start], None, 48))[1]] for _ in "12"
    )
    assert one == two and len(one) == 3 and all(data.startswith(b"\x89PNG") for data in one)


class _Field:
    """Stands for truth and SMAP: a constant."""

    def read(self, *asked: Any) -> np.ndarray[Any, Any]:
        tile = asked[-1]
        return np.full((tile.height, tile.width) if isinstance(tile, Tile) else (96, 120), 0.2, np.float32)


def test_a_picture_a_day_is_written(make_product: Callable[..., Any], tmp_path: Path) -> None:
    product, field = make_product(days=2), _Field()
    paths = write_comparison_maps(product, field, field, product.days.tolist(), tmp_path / "maps")  # type: ignore[arg-type]
    assert [path.name for path in paths] == ["maps_20210601.png", "maps_20210602.png"]
    assert sorted((tmp_path / "maps").iterdir()) == paths
