"""Reports: one file, everything in it, every text escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmnet_maps.errors import InputError
from mmnet_maps.learn.evaluate import evaluate_table, scores
from mmnet_maps.show.page import facts, number, table
from mmnet_maps.show.product_report import summarise
from mmnet_maps.show.report import write_report

Make = Callable[..., Any]


class _Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


def _run(folder: Path) -> Path:
    random = np.random.default_rng(2)
    tables = {}
    for fold in ("2019", "<b>2020"):
        truth = random.uniform(0.05, 0.4, 300)
        tables[fold] = pd.DataFrame(
            {
                "ID": np.repeat([f"s{i}" for i in range(10)], 30),
                "Date": 20190101,
                "y_test": truth,
                "y_pred": truth + random.normal(0, 0.03, 300),
            }
        )
        (folder / fold).mkdir(parents=True)
        tables[fold].to_csv(folder / fold / "y_test_pred.csv", index=False)
    whole = pd.concat(tables.values())
    found = evaluate_table(whole)
    found["folds"] = {name: evaluate_table(frame)["overall"] for name, frame in tables.items()}
    y = whole["y_test"].to_numpy()
    found["baselines"] = {"SMAP": scores(y, y + 0.05, whole["ID"].to_numpy())}
    (folder / "scores.json").write_text(json.dumps(found))
    (folder / "config.yaml").write_text("model: mmnet\nnote: <script>alert(1)</script>\n")
    return folder


def test_the_report_of_a_run_holds_its_scores_and_loads_nothing(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    assert write_report(run, tmp_path / "r.html") == "run"
    text = (tmp_path / "r.html").read_text()
    page, found = _Page(text), json.loads((run / "scores.json").read_text())
    assert f"{found['overall']['ubrmse']:.4f}" in page.text and "SMAP itself" in page.text
    assert "By season" in page.text and "winter" in page.text and "95% interval" in page.text
    assert len(page.images) == 3
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page.images)
    assert not {"script", "link", "iframe", "b"} & {tag for tag, _ in page.tags}
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text)
    assert "fold <b>2020" in page.text and "<script>alert(1)</script>" in page.text


def test_the_report_of_a_product_explains_every_quality_bit(make_product: Make, tmp_path: Path) -> None:
    product = make_product()
    assert write_report(product.path, tmp_path / "p.html") == "product"
    page = _Page((tmp_path / "p.html").read_text())
    assert all(name in page.text for name in product.flags())
    assert "outside the region, or not computed yet" in page.text
    assert "4 finished of 4 days, 2021-06-01 to 2021-06-04" in page.text
    assert product.about["bundle"] in page.text and "How to cite" in page.text
    assert len(page.images) == 11


def test_the_summary_equals_a_plain_computation(make_product: Make) -> None:
    product = make_product(tile=32, block_days=1)
    found = summarise(product, product.days)
    stored = {n: product.read(n, product.layout.start, product.layout.stop) for n in product.packing}
    moisture = np.where(stored["soil_moisture"] == -32768, np.nan, stored["soil_moisture"] * 1e-4)
    np.testing.assert_allclose(found.moisture, np.nanmean(moisture, axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(found.valid, np.isfinite(moisture).sum(axis=(1, 2)))
    for name, mask in product.flags().items():
        has = (stored["quality"] & mask) != 0
        assert found.bits[name] == has.sum() and found.without_value[name] == (has & np.isnan(moisture)).sum()
    np.testing.assert_allclose(found.upper - found.lower, 0.06, atol=1e-6)


def test_validation_scores_are_shown_where_they_are(make_product: Make, tmp_path: Path) -> None:
    product, folder = make_product(days=1), tmp_path / "validation"
    folder.mkdir()
    overall = {"corr": 0.8123, "rmse": 0.05, "bias": None, "ubrmse": 0.04, "n": 12}
    found = {"overall": overall, "stations": {}, "interval_coverage": {"share": 0.9, "n": 12}}
    (folder / "scores.json").write_text(json.dumps(found))
    write_report(product.path, tmp_path / "p.html")
    text = _Page((tmp_path / "p.html").read_text()).text
    assert "0.8123" in text and "90.0 %" in text and "not stated" in text
    with pytest.raises(InputError, match=r"no scores\.json"):
        write_report(product.path, tmp_path / "p.html", tmp_path)


def test_a_product_without_finished_days_has_a_report(make_product: Make, tmp_path: Path) -> None:
    product = make_product(days=1, unfinished=("20210601-r000000-c000000",))
    write_report(product.path, tmp_path / "p.html")
    assert "0 finished of 1" in _Page((tmp_path / "p.html").read_text()).text


def test_a_product_without_intervals_has_a_report(
    make_product: Make, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    product = make_product(days=1)
    for unit in product.layout.units():
        values = {
            n: product.read(n, unit.first, unit.stop, unit.tile.rows, unit.tile.cols) for n in product.packing
        }
        none = np.full_like(values["lower"], -32768)
        product.write_unit(unit, {**values, "lower": none, "upper": none})
    write_report(product.path, tmp_path / "p.html")
    assert "There are no intervals" in _Page((tmp_path / "p.html").read_text()).text
    assert not [str(w.message) for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_what_is_neither_run_nor_product_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a run"):
        write_report(tmp_path, tmp_path / "r.html")
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(InputError, match="no overall scores"):
        write_report(tmp_path, tmp_path / "r.html")
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(InputError, match="not readable scores"):
        write_report(tmp_path, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_texts_are_escaped_and_undefined_numbers_are_dashes() -> None:
    assert "<i>" not in table(["<i>"], [["<i>", 1.0]]) and "<i>" not in facts({"<i>": "<i>"})
    assert [number(v) for v in (None, float("nan"), 12345, 0.5, "x")] == ["–", "–", "12,345", "0.5000", "x"]
