"""Work units and their ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnet_maps.errors import InputError
from mmnet_maps.grid import Grid, Tile
from mmnet_maps.produce.product.ledger import Entry, Ledger
from mmnet_maps.produce.units import Layout, Unit, day_number


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    days=st.integers(1, 20),
    tile=st.integers(3, 20),
    block=st.integers(1, 10),
)
def test_units_own_every_pixel_day_once_and_each_a_shard_of_its_own(
    height: int, width: int, days: int, tile: int, block: int
) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), height, width)
    layout = Layout(grid, 100, 100 + days, tile, block)
    seen = np.zeros((days, height, width), dtype=int)
    shards, keys = set(), set()
    for unit in layout.units():
        seen[unit.first - 100 : unit.stop - 100, unit.tile.rows, unit.tile.cols] += 1
        shard = layout.shard(unit)
        low = np.array(shard) * (block, tile, tile)
        assert (low == (unit.first - 100, unit.tile.row, unit.tile.col)).all()
        assert unit.days <= block
        shards.add(shard)
        keys.add(unit.key)
    assert (seen == 1).all()
    assert len(shards) == len(keys) == len(list(layout.units()))


@given(first=st.integers(0, 29), length=st.integers(1, 30), block=st.integers(1, 10))
def test_blocks_are_whole_whatever_part_is_asked_for(first: int, length: int, block: int) -> None:
    grid = Grid("EPSG:32612", (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), 4, 4)
    layout = Layout(grid, 100, 130, 4, block)
    low, high = 100 + first, min(130, 100 + first + length)
    found = list(layout.blocks(low, high))
    assert set(found) <= set(layout.blocks())
    assert found == [b for b in layout.blocks() if b[0] < high and b[1] > low]


def test_a_key_tells_day_and_place() -> None:
    assert Unit(Tile(1024, 2048, 5, 5), 18322, 18330).key == "20200301-r001024-c002048"


def test_days_are_read_in_both_spellings() -> None:
    assert day_number("2020-03-01", "start") == day_number("20200301", "start") == 18322
    for text in ("2020-02-30", "1 March", "2020", ""):
        with pytest.raises(InputError, match="expected a day as YYYY-MM-DD"):
            day_number(text, "start")


def test_the_ledger_tells_what_a_unit_was_made_from(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    unit, inputs = Unit(Tile(0, 0, 4, 4), 100, 104), {"bundle": "a", "hls": "1", "days": [100, 104]}
    assert ledger.read(unit.key) is None
    ledger.write(unit.key, Entry(100, 104, inputs, {"soil_moisture": "x"}))
    entry = ledger.read(unit.key)
    assert entry is not None
    assert entry.changed(inputs) == []
    assert entry.changed({**inputs, "hls": "2"}) == ["hls"]
    assert list(ledger.keys()) == [unit.key]
    ledger.remove(unit.key)
    assert ledger.read(unit.key) is None
    assert list(tmp_path.rglob("*.partial")) == []


@pytest.mark.parametrize("text", ["{", "null", "[1]", '{"first": 1}', "[" * 100_000, "\xff"])
def test_what_is_no_entry_means_that_the_unit_is_to_be_made(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    assert Ledger(tmp_path).read("a") is None
