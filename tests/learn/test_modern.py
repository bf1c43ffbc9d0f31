"""The modern recipe: its batches and loss, what it keeps, and that ensembles and blends are what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.cli import app
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.learn.bundle import Bundle, load_bundle, save_bundle
from mmnet_maps.learn.experiments import ExperimentConfig, run_experiment
from mmnet_maps.learn.model_input import model_arrays, side_by_side
from mmnet_maps.learn.models.target import estimated, learned
from mmnet_maps.learn.modern import StationBatches, station_loss
from mmnet_maps.learn.rows import TrainingRows, hold_back
from mmnet_maps.learn.settings import ModernConfig
from mmnet_maps.learn.train import TrainConfig, fit

TableMaker = Callable[..., pd.DataFrame]
QUICK = ModernConfig(epochs=4, stations=6, days=8)
MODERN = TrainConfig(recipe="modern", validation="stations", modern=QUICK)


@pytest.fixture
def rows(make_table: TableMaker, catalogue: Catalogue) -> TrainingRows:
    return TrainingRows.from_frame(make_table(), catalogue)


def test_a_batch_holds_so_many_days_of_so_many_stations() -> None:
    station = np.repeat([f"s{k}" for k in range(10)], [5, 50, *[20] * 8])
    batches = StationBatches(station, 4, 6, seed=1)
    assert len(batches) == len(station) // 24
    seen: set[str] = set()
    for index in batches:
        drawn = station[index.numpy()].reshape(4, 6)
        assert (drawn == drawn[:, :1]).all()
        assert len(set(drawn[:, 0])) == 4
        seen |= set(drawn[:, 0])
    assert seen == set(station)


def test_stations_take_turns_whatever_their_number_of_rows() -> None:
    station = np.repeat(["few", "many", "some"], [3, 300, 30])
    count = dict.fromkeys(("few", "many", "some"), 0)
    for index in StationBatches(station, 1, 3, seed=2):
        count[str(station[int(index[0])])] += 1
    assert max(count.values()) - min(count.values()) <= 1


def test_more_stations_than_there_are_means_all_of_them() -> None:
    batches = StationBatches(np.repeat(["a", "b"], 9), 32, 4, seed=1)
    assert len(batches) == 2
    assert all(len(index) == 8 for index in batches)


def test_the_loss_is_huber_of_errors_and_of_errors_less_their_stations_mean() -> None:
    error = np.array([[0.5, 2.0, -0.5], [3.0, 3.0, 3.0]])

    def huber(values: np.ndarray) -> float:
        wide = np.abs(values)
        return float(np.where(wide <= 1, 0.5 * values**2, wide - 0.5).mean())

    centred = error - error.mean(axis=1, keepdims=True)
    for share in (0.0, 0.25, 1.0):
        expected = (1 - share) * huber(error) + share * huber(centred)
        config = ModernConfig(huber=1.0, centred=share)
        found = station_loss(torch.from_numpy(error).flatten(), 3, config)
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_a_square_root_is_turned_back_and_a_negative_one_is_dry() -> None:
    moisture = np.array([0.0, 0.04, 0.5], dtype=np.float32)
    np.testing.assert_allclose(estimated(learned(moisture, "sqrt"), "sqrt"), moisture, rtol=1e-6)
    assert estimated(np.array([-0.3], dtype=np.float32), "sqrt")[0] == 0
    assert np.isnan(estimated(np.array([np.nan], dtype=np.float32), "sqrt")[0])


@pytest.mark.parametrize("kind", ["mmnet", "transformer", "mlp"])
def test_it_learns(kind: str, rows: TrainingRows, catalogue: Catalogue) -> None:
    config = MODERN.model_copy(update={"modern": QUICK.model_copy(update={"epochs": 8})})
    fitted = fit(kind, rows, catalogue, config)
    log = fitted.log
    assert log["train_loss"].iloc[-1] < 0.9 * log["train_loss"].iloc[0]
    assert log["best"].tolist() == [False] * 7 + [True]
    bundle = fitted.bundle
    assert bundle.target == "sqrt"
    held = hold_back(rows, "stations", config.validation_share, config.seed, config.block_days)
    kept = rows.take(held)
    error = bundle.predict(kept.inputs).astype(np.float64) - kept.target
    assert log["validation_loss"].iloc[-1] == pytest.approx(float((error**2).mean()), rel=1e-4)
    assert (error**2).mean() < np.var(kept.target)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    rows: TrainingRows, catalogue: Catalogue
) -> None:
    first = fit("mmnet", rows, catalogue, MODERN).bundle
    torch.manual_seed(77)
    second = fit("mmnet", rows, catalogue, MODERN).bundle
    np.testing.assert_array_equal(first.predict(rows.inputs), second.predict(rows.inputs))
    other = fit("mmnet", rows, catalogue, MODERN.model_copy(update={"seed": 2})).bundle
    assert (other.predict(rows.inputs) != first.predict(rows.inputs)).any()


def test_validation_rows_choose_nothing(rows: TrainingRows, catalogue: Catalogue) -> None:
    held = hold_back(rows, "stations", MODERN.validation_share, MODERN.seed, MODERN.block_days)
    changed = replace(rows, target=np.where(held, 0.9, rows.target).astype(np.float32))
    first, second = (fit("mmnet", r, catalogue, MODERN).bundle for r in (rows, changed))
    np.testing.assert_array_equal(first.predict(rows.inputs), second.predict(rows.inputs))


@pytest.fixture
def blend(rows: TrainingRows, catalogue: Catalogue) -> Bundle:
    config = MODERN.model_copy(update={"members": 3, "blend": True})
    config = config.model_copy(update={"baseline": config.baseline.model_copy(update={"rounds": 15})})
    return fit("mmnet", rows, catalogue, config).bundle


def test_an_ensemble_is_the_mean_of_its_members_estimates(
    blend: Bundle, rows: TrainingRows, catalogue: Catalogue
) -> None:
    networks = blend.networks_alone()
    assert len(networks.members) == 3
    alone = [replace(networks, network=n, others=()).predict(rows.inputs) for n in networks.members]
    assert (alone[0] != alone[1]).any()
    np.testing.assert_allclose(networks.predict(rows.inputs), np.mean(alone, axis=0), rtol=1e-6)
    single = fit("mmnet", rows, catalogue, MODERN).bundle
    np.testing.assert_array_equal(single.predict(rows.inputs), alone[0])


def test_a_blend_is_the_mean_of_networks_and_trees(blend: Bundle, rows: TrainingRows) -> None:
    arrays = model_arrays("xgboost", rows.inputs, blend.catalogue, blend.scaler)
    of_network = model_arrays("mmnet", rows.inputs, blend.catalogue, blend.scaler)
    np.testing.assert_array_equal(arrays[0], side_by_side(of_network))
    assert blend.baseline is not None
    expected = (blend.networks_alone().predict(rows.inputs) + blend.baseline.predict(arrays[0])) / 2
    np.testing.assert_allclose(blend.predict(rows.inputs), expected, rtol=1e-6)
    assert blend.interval is not None
    assert blend.networks_alone().interval == blend.network_interval != blend.interval


def test_a_blend_survives_its_folder(
    blend: Bundle, rows: TrainingRows, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = load_bundle_again(blend, tmp_path_factory)
    assert (found.trees, found.target, len(found.members)) == ("xgboost", "sqrt", 3)
    assert found.card == blend.card
    np.testing.assert_array_equal(found.predict(rows.inputs), blend.predict(rows.inputs))
    expected = blend.networks_alone().predict(rows.inputs)
    np.testing.assert_array_equal(found.networks_alone().predict(rows.inputs), expected)


def test_the_last_step_read_out_is_stored_and_takes_part(
    rows: TrainingRows, catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = MODERN.model_copy(update={"modern": QUICK.model_copy(update={"readout": "last"})})
    bundle = fit("mmnet", rows, catalogue, config).bundle
    found = load_bundle_again(bundle, tmp_path_factory)
    assert found.readout == "last"
    np.testing.assert_array_equal(found.predict(rows.inputs), bundle.predict(rows.inputs))
    as_mean = load_bundle_again(replace(bundle, readout="mean"), tmp_path_factory)
    assert (as_mean.predict(rows.inputs) != bundle.predict(rows.inputs)).any()


def load_bundle_again(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "b"
    save_bundle(bundle, folder)
    return load_bundle(folder)


def test_trees_have_no_members_and_are_no_blend(rows: TrainingRows, catalogue: Catalogue) -> None:
    for update in ({"members": 2}, {"blend": True}):
        with pytest.raises(InputError, match="settings of networks, the model is ridge"):
            fit("ridge", rows, catalogue, MODERN.model_copy(update=update))


def test_a_diverged_training_says_so(rows: TrainingRows, catalogue: Catalogue) -> None:
    modern = QUICK.model_copy(update={"learning_rate": 1e30, "clip": 1e30})
    with pytest.raises(WorkError, match=r"diverged; try a modern.learning_rate below 1e\+30"):
        fit("mlp", rows, catalogue, MODERN.model_copy(update={"modern": modern}))


def test_constant_soil_moisture_is_refused(rows: TrainingRows, catalogue: Catalogue) -> None:
    same = replace(rows, target=np.full_like(rows.target, 0.2))
    with pytest.raises(InputError, match="soil moisture is the same in all"):
        fit("mlp", same, catalogue, MODERN)


def test_noise_blurs_place_and_normals_alone(catalogue: Catalogue) -> None:
    from mmnet_maps.learn.modern import _place_noise

    noise = _place_noise("mmnet", catalogue, ModernConfig(place_noise=0.3))
    noisy = [name for name, value in zip(catalogue.snapshot, noise.tolist(), strict=True) if value > 0]
    assert noisy == ["Latitude", "Longitude"]


def _study(frame: pd.DataFrame, catalogue: Catalogue, experiment: str, out: Path) -> Path:
    config = ExperimentConfig.from_mapping(
        {
            "model": "mlp",
            "experiment": experiment,
            "recipe": "modern",
            "blend": True,
            "members": 2,
            "folds": 2,
            "train_years": 1,
            "modern": {"epochs": 2, "stations": 4, "days": 8},
            "baseline": {"rounds": 5},
        }
    )
    run_experiment(frame, catalogue, config, out)
    return out


@pytest.mark.parametrize(("experiment", "fold"), [("off-site", "fold-1"), ("on-site", "2020")])
def test_nothing_of_the_tested_rows_reaches_training(
    experiment: str, fold: str, make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    frame = make_table(stations=8, days=12)
    first = _study(frame, catalogue, experiment, tmp_path / "first")
    tested = pd.read_csv(first / fold / "y_test_pred.csv", dtype={"ID": str})
    keys = pd.MultiIndex.from_frame(tested[["ID", "Date"]])
    rows = pd.MultiIndex.from_frame(frame[["ID", "Date"]]).isin(keys)
    assert 0 < rows.sum() < len(frame)
    changed = frame.copy()
    numbers = [n for n in changed.columns[changed.dtypes == np.float32] if not n.startswith("LC_")]
    changed.loc[rows, numbers] = changed.loc[rows, numbers] * 3 + 1
    changed.loc[rows, "VWC_5"] = 1 - changed.loc[rows, "VWC_5"]
    second = _study(changed, catalogue, experiment, tmp_path / "second")
    weights = [(run / fold / "bundle" / "weights.safetensors").read_bytes() for run in (first, second)]
    assert weights[0] == weights[1]
    scalers = [load_bundle(run / fold / "bundle").scaler for run in (first, second)]
    np.testing.assert_array_equal(scalers[0].snapshot_mean, scalers[1].snapshot_mean)
    after = pd.read_csv(second / fold / "y_test_pred.csv")
    assert (after["y_test"] != tested["y_test"]).all()


def test_the_model_for_maps_of_a_blend_has_intervals_for_its_networks_too(
    make_table: TableMaker, catalogue: Catalogue, tmp_path: Path
) -> None:
    out = _study(make_table(stations=6, days=12), catalogue, "all", tmp_path / "run")
    tables = pd.concat(pd.read_csv(p) for p in sorted(out.glob("fold-*/y_test_pred.csv")))
    assert list(tables.columns) == ["ID", "Date", "y_test", "y_pred", "y_networks"]
    whole = out / "all" / "bundle"
    blend = load_bundle(whole)
    assert blend.interval is not None and blend.network_interval is not None
    assert blend.interval.rows == blend.network_interval.rows == len(tables)
    ran = CliRunner().invoke(app, ["bundle", "networks", str(whole), "--out", str(tmp_path / "maps")])
    assert ran.exit_code == 0, ran.output
    left = load_bundle(tmp_path / "maps")
    assert left.trees is None and left.interval is not None
    assert left.interval.to_json() == blend.network_interval.to_json()
    shown = CliRunner().invoke(app, ["bundle", "show", str(whole)])
    assert "blend: the mean of the networks and xgboost trees" in shown.output
    assert "ensemble: the mean of 2 networks" in shown.output
