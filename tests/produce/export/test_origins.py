"""Who made the input data, and under which terms, in the collection of an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mmnet_maps.produce.export.days import export_product
from mmnet_maps.produce.export.origins import origin_of, terms_text
from mmnet_maps.produce.product.store import Product

PRESETS = Path(__file__).parents[3] / "mmnet_maps" / "presets"


@pytest.mark.parametrize(
    "path", sorted(PRESETS.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_every_preset_names_collections_whose_terms_are_known(path: Path) -> None:
    collection = yaml.safe_load(path.read_text(encoding="utf-8")).get("collection")
    if collection is not None:
        assert "terms not known" not in terms_text([collection])


@pytest.mark.parametrize(
    ("collection", "terms"),
    [
        ("NASA/SMAP/SPL4SMGP/008", "open"),
        ("COPERNICUS/S1_GRD", "Copernicus Sentinel"),
        ("IDAHO_EPSCOR/GRIDMET", "public domain"),
        ("USGS/NLCD_RELEASES/2021_REL/NLCD", "public domain"),
        ("sentinel-1-rtc", "CC-BY-4.0"),
    ],
)
def test_names_of_other_archives_are_of_the_same_origin(collection: str, terms: str) -> None:
    found = origin_of(collection)
    assert found is not None and terms in found.terms


def test_a_collection_says_what_the_maps_are_made_from(
    make_product: Callable[..., Product], tmp_path: Path
) -> None:
    product = make_product(days=1)
    made_from = ["HLSL30.002 + HLSS30.002", "POLARIS", "our own soil survey"]
    export_product(replace(product, about={**product.about, "collections": made_from}), tmp_path / "maps")
    found = json.loads((tmp_path / "maps/collection.json").read_text())
    assert "POLARIS (CC-BY-NC-4.0: no commercial use)" in found["description"]
    assert "our own soil survey (terms not known)" in found["description"]
    own, *others = found["providers"]
    assert own["roles"] == ["processor"]
    assert {p["name"]: p["description"] for p in others} == {
        "NASA LP DAAC": "input data: HLSL30.002, HLSS30.002",
        "Duke University, POLARIS": "input data: POLARIS",
    }
    licences = [link["title"] for link in found["links"] if link["rel"] == "license"]
    assert len(licences) == 3 and any("no commercial use" in title for title in licences)
    # What is given once stays: the providers of data are not taken for the publisher.
    export_product(replace(product, about={**product.about, "collections": made_from}), tmp_path / "maps")
    again = json.loads((tmp_path / "maps/collection.json").read_text())
    assert again["providers"] == found["providers"]
