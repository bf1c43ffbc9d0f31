"""The table of Earth Engine assets agrees with the catalogue, and refuses what cannot work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmnet_maps.assets import ASSETS, AssetSource
from mmnet_maps.catalogue import published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.packing import Packing
from mmnet_maps.variables import VARIABLES


def test_every_required_variable_has_an_asset_and_a_packing() -> None:
    held = {name for source in ASSETS.values() for name in source.variables}
    assert set(published_catalogue().required) <= held
    for name, source in ASSETS.items():
        assert set(source.variables) == set(source.packings)
        for variable in source.variables:
            assert next(v for v in VARIABLES if v.name == variable).source == name


@given(st.sampled_from([(s, n) for s, source in ASSETS.items() for n in source.packings]), st.data())
def test_a_packing_holds_the_variable_s_whole_range(which: tuple[str, str], data: st.DataObject) -> None:
    source, name = which
    low, high = next(v for v in VARIABLES if v.name == name).valid_range
    packing = ASSETS[source].packings[name]
    value = data.draw(
        st.floats(max(low, 1.0) if packing.missing == 0 else low, min(high, 65534 * packing.scale))
    )
    stored = packing.encode([value])
    assert stored[0] != packing.missing
    # Half a step, and what float32 cannot hold of the value.
    assert abs(packing.decode(stored)[0] - value) <= packing.scale * 0.5 + abs(value) * 2e-7 + 1e-9


def test_a_source_reads_back_from_its_own_yaml_form() -> None:
    for source in ASSETS.values():
        assert AssetSource.from_mapping(source.model_dump(mode="json")) == source


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"packings": {"LC": Packing(dtype="float32").model_dump()}}, "no missing value"),
        ({"assets": [{"id": "A", "bands": {"LC": "b"}}]}, "needs a year"),
        ({"assets": [{"id": i, "bands": {"LC": "b"}, "year": 2016} for i in "AB"]}, "the same year"),
        ({"scales": 3}, "unknown key scales"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, object], says: str) -> None:
    data = ASSETS["landcover"].model_dump(mode="json") | change
    with pytest.raises(InputError, match=says):
        AssetSource.from_mapping(data)
