"""The catalogue: orders of the specification, leaving out, adding, refusing what does not fit."""

from __future__ import annotations

import pytest

from mmnet_maps.catalogue import Catalogue, published_catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.models.mlp import MLP as MLPNetwork
from mmnet_maps.variables import TARGETS, VARIABLES, Variable

SNAPSHOT = """
LC_Shrub LC_Grassland LC_Barren LC_Wetland LC_Forest LC_Developed LC_Crop LC_Pasture DoY_normalized
Latitude Longitude elevation slope aspect_normalized clay bd sand SMAP ndvi evi ndwi lswi nsdsi cr
dpsvim pol rvim vvvh
""".split()
MLP = """
LC DoY_normalized Latitude Longitude elevation slope aspect_normalized clay bd sand eto etr pr sph
srad vpd vs LST SMAP ndvi evi ndwi lswi nsdsi cr dpsvim pol rvim vvvh
""".split()


def a_series_variable(name: str = "tmax") -> Variable:
    return Variable(
        name=name,
        long_name="maximum temperature",
        unit="degC",
        kind="series",
        cadence="daily",
        source="weather",
        valid_range=(-60, 60),
    )


def test_the_published_orders_are_those_of_the_specification() -> None:
    catalogue = published_catalogue()
    assert list(catalogue.snapshot) == SNAPSHOT
    assert list(catalogue.series) == ["eto", "etr", "pr", "sph", "srad", "vpd", "vs", "LST"]
    assert list(MLPNetwork.columns(catalogue)) == MLP
    assert catalogue.lags == (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)


def test_leaving_out_radar_takes_its_five_indices_with_it() -> None:
    without = published_catalogue().without(["VV", "VH"])
    gone = [f for f in SNAPSHOT if f not in without.snapshot]
    assert gone == ["cr", "dpsvim", "pol", "rvim", "vvvh"]
    assert "VV" not in without.required


def test_leaving_out_an_unknown_variable_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="variable rain is not in the catalogue"):
        published_catalogue().without(["rain"])


def test_an_added_series_variable_comes_last_and_changes_the_fingerprint() -> None:
    base = published_catalogue()
    more = base.adding(a_series_variable())
    assert more.series == (*base.series, "tmax")
    assert more.fingerprint != base.fingerprint
    with pytest.raises(InputError, match="already in the catalogue"):
        more.adding(a_series_variable())


def test_a_mismatch_names_what_differs_on_each_side() -> None:
    base = published_catalogue()
    other = base.without(["SMAP"]).adding(a_series_variable())
    with pytest.raises(InputError) as caught:
        base.refuse_mismatch(other, "the bundle", "the table")
    assert "SMAP only in the bundle" in str(caught.value)
    assert "tmax only in the table" in str(caught.value)


def test_a_mismatch_of_unit_names_both_units() -> None:
    base = published_catalogue()
    changed = tuple(v.model_copy(update={"unit": "K"}) if v.name == "LST" else v for v in base.variables)
    with pytest.raises(InputError, match=r"LST is in 0.02 K in a and in K in b"):
        base.refuse_mismatch(base.model_copy(update={"variables": changed}), "a", "b")


def test_both_encodings_lead_into_each_other() -> None:
    base = published_catalogue()
    cyclic = base.with_encoding("cyclic")
    assert cyclic.snapshot[8:10] == ("DoY_sin", "DoY_cos")
    assert cyclic.with_encoding("published") == base
    with pytest.raises(InputError, match="encoding published in a, cyclic in b"):
        base.refuse_mismatch(cyclic, "a", "b")


def test_how_gaps_are_filled_does_not_change_the_meaning_of_weights() -> None:
    base = published_catalogue()
    assert base.with_fill("past").fingerprint == base.fingerprint
    assert base.with_fill("past")["LST"].fill == "past"
    assert base.with_fill("past")["pr"].fill == "none"


def test_a_catalogue_survives_json() -> None:
    base = published_catalogue("cyclic").adding(a_series_variable())
    again = Catalogue.model_validate_json(base.model_dump_json())
    assert again == base
    assert again.fingerprint == base.fingerprint


def test_collections_that_differ_are_named() -> None:
    ours = published_catalogue().with_collections(
        {"SMAP": "NASA/SMAP/SPL4SMGP/007", "LST": "MODIS/061/MOD11A1", "pr": "IDAHO_EPSCOR/GRIDMET"}
    )
    held = {
        v.name: v for v in ours.with_collections({"SMAP": "SPL4SMGP.008", "LST": "MOD11A1.061"}).variables
    }
    del held["pr"]
    assert ours.other_collections(held) == (
        "SMAP: learned from NASA/SMAP/SPL4SMGP/007, here from SPL4SMGP.008",
    )
    assert ours.fingerprint == published_catalogue().fingerprint
    assert published_catalogue().other_collections(held) == ()


def test_a_record_without_a_sensor_has_the_one_of_its_source() -> None:
    for variable in published_catalogue().variables:
        older = {k: v for k, v in variable.model_dump(mode="json").items() if k not in ("sensor", "measure")}
        assert Variable.from_mapping(older).sensor == variable.sensor
    beside = Variable.from_mapping({**VARIABLES[4].model_dump(), "source": "hlss30"})
    assert (beside.sensor, beside.is_reflectance) == ("optical", True)


def test_the_target_is_five_centimetres_unless_it_is_said() -> None:
    base = published_catalogue()
    assert base.target.name == "VWC_5" and base.target.depth == (0.0, 0.05)
    assert base.without(["VWC_5"]).target == base.target
    assert base.with_target("VWC_5") == base
    deep = base.with_target("VWC_50")
    assert [v.name for v in deep.variables if v.kind == "target"] == ["VWC_50"]
    assert deep.target.depth == (0.4, 0.6) and "40-60 cm" in deep.target.long_name
    assert deep.required == base.required and deep.with_target("VWC_5") == base
    with pytest.raises(InputError, match=r"VWC_5, VWC_10, VWC_20, VWC_50, VWC_100; did you mean VWC_10\?"):
        base.with_target("VWC10")


def test_fingerprints_tell_targets_apart_and_that_of_the_first_stays_as_it_was() -> None:
    base = published_catalogue()
    # As it was before there was any other target: bundles and tables of then are read.
    assert base.fingerprint == "0a1161944f045c05"
    assert len({base.with_target(name).fingerprint for name in TARGETS}) == len(TARGETS)
    with pytest.raises(InputError, match="different catalogues: target VWC_5 in the bundle, VWC_20 in the"):
        base.refuse_mismatch(base.with_target("VWC_20"), "the bundle", "the table")


def test_records_of_before_targets_had_a_depth_are_read() -> None:
    record = published_catalogue().with_target("VWC_10").model_dump(mode="json")
    assert record["variables"][0].pop("depth") == [0.05, 0.15]
    assert Catalogue.from_mapping(record).target.depth == (0.05, 0.15)
    # Records of inputs have no key of it: cubes and the digests of what they hold stay as they were.
    assert not any("depth" in variable for variable in record["variables"])
