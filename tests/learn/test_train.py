"""Training follows the published loss and is repeatable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError, WorkError
from mmnet_maps.learn.models.mlp import MLP
from mmnet_maps.learn.rows import TrainingRows
from mmnet_maps.learn.train import Batches, TrainConfig, fit, make_optimizer, train_epoch

TableMaker = Callable[..., pd.DataFrame]


@pytest.fixture
def rows(make_table: TableMaker, catalogue: Catalogue) -> TrainingRows:
    return TrainingRows.from_frame(make_table(), catalogue)


def test_a_step_follows_the_published_loss() -> None:
    config = TrainConfig(batch=64, weight_penalty=0.5, dropout=0.0)
    torch.manual_seed(0)
    ours = MLP(9, dropout=0.0)
    plain = MLP(9, dropout=0.0).train()
    plain.load_state_dict(ours.state_dict())
    columns, target = torch.randn(64, 9), torch.rand(64, 1)
    train_epoch(ours, Batches((columns,), target), make_optimizer(ours, config), config, torch.Generator())
    adam = torch.optim.Adam(plain.parameters(), lr=0.01)
    squares = sum((p**2).sum() for p in plain.parameters() if p.dim() == 2)
    loss = (nn.functional.mse_loss(plain(columns), target) + 0.5 * squares / 64) / 2
    loss.backward()
    adam.step()
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        # A bias in front of a BatchNorm has no gradient but rounding, whose sign Adam turns into a step.
        if a.dim() == 2 or name in ("decoder.8.bias", "encoder.1.weight"):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)


def test_the_reported_loss_is_the_published_one() -> None:
    config = TrainConfig(batch=32, weight_penalty=0.3, dropout=0.0, learning_rate=1e-12)
    torch.manual_seed(0)
    network = MLP(5, dropout=0.0).train()
    columns, target = torch.randn(32, 5), torch.rand(32, 1)
    with torch.no_grad():
        error = nn.functional.mse_loss(network(columns), target)
        squares = sum((p**2).sum() for p in network.parameters() if p.dim() == 2)
    batches = Batches((columns,), target)
    found = train_epoch(network, batches, make_optimizer(network, config), config, torch.Generator())
    assert found == pytest.approx(float(error + 0.3 * squares / 32) / 2, rel=1e-5)


@pytest.mark.parametrize("kind", ["mmnet", "transformer", "mlp"])
def test_a_network_learns_and_its_best_epoch_is_kept(
    kind: str, rows: TrainingRows, catalogue: Catalogue
) -> None:
    fitted = fit(kind, rows, catalogue, TrainConfig(epochs=6, batch=64))
    log = fitted.log
    assert list(log.columns) == ["epoch", "train_loss", "validation_loss", "best"]
    assert log["train_loss"].iloc[-1] < log["train_loss"].iloc[0]
    best = log["validation_loss"].idxmin()
    assert log["best"].iloc[best]
    assert not log["best"].iloc[best + 1 :].any()
    assert fitted.bundle.facts["training"]["best_epoch"] == best + 1
    assert np.isfinite(fitted.bundle.predict(rows.inputs)).all()
    assert fitted.bundle.interval is not None
    assert fitted.bundle.interval.rows == fitted.bundle.facts["training"]["validation_rows"]


@pytest.mark.parametrize("kind", ["mmnet", "transformer", "mlp", "forest", "xgboost"])
def test_the_same_seed_gives_the_same_weights(kind: str, rows: TrainingRows, catalogue: Catalogue) -> None:
    config = TrainConfig(epochs=2, batch=64, baseline={"rounds": 20, "trees": 5})
    first = fit(kind, rows, catalogue, config).bundle
    torch.manual_seed(99)  # what happened before must not matter
    before = torch.get_rng_state()
    second = fit(kind, rows, catalogue, config).bundle
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first.predict(rows.inputs), second.predict(rows.inputs))
    assert first.card == second.card
    other = fit(kind, rows, catalogue, config.model_copy(update={"seed": 2})).bundle
    assert (other.predict(rows.inputs) != first.predict(rows.inputs)).any()


def test_training_leaves_the_number_of_threads_alone(rows: TrainingRows, catalogue: Catalogue) -> None:
    before = torch.get_num_threads()
    fit("mlp", rows, catalogue, TrainConfig(epochs=1, batch=64, threads=before + 1))
    assert torch.get_num_threads() == before


def test_it_stops_after_the_stated_patience(rows: TrainingRows, catalogue: Catalogue) -> None:
    log = fit("mlp", rows, catalogue, TrainConfig(epochs=60, patience=2, batch=64)).log
    assert len(log) < 60
    assert not log["best"].iloc[-2:].any()


def test_fewer_rows_than_a_batch_say_so(rows: TrainingRows, catalogue: Catalogue) -> None:
    message = r"432 rows to train on \(48 more are kept .*\) are fewer than one batch of 512; set batch="
    with pytest.raises(InputError, match=message):
        fit("mmnet", rows, catalogue, TrainConfig())


def test_a_diverged_training_says_so(rows: TrainingRows, catalogue: Catalogue) -> None:
    with pytest.raises(WorkError, match=r"epoch \d: training loss .* try a learning_rate below 1e\+30"):
        fit("mlp", rows, catalogue, TrainConfig(batch=64, learning_rate=1e30))


def test_without_a_complete_row_it_says_so(make_table: TableMaker, catalogue: Catalogue) -> None:
    frame = make_table().assign(clay=np.nan)
    with pytest.raises(InputError, match="none of the 480 training rows has all inputs"):
        fit("ridge", TrainingRows.from_frame(frame, catalogue), catalogue, TrainConfig())


def test_validation_rows_do_not_train_the_baselines(rows: TrainingRows, catalogue: Catalogue) -> None:
    from dataclasses import replace

    from mmnet_maps.learn.rows import hold_back

    config = TrainConfig(validation="stations", baseline={"trees": 3})
    held = hold_back(rows, "stations", config.validation_share, config.seed, config.block_days)
    changed = replace(rows, target=np.where(held, 0.9, rows.target).astype(np.float32))
    for kind in ("ridge", "forest"):
        first, second = (fit(kind, r, catalogue, config).bundle for r in (rows, changed))
        np.testing.assert_array_equal(first.predict(rows.inputs), second.predict(rows.inputs))
        assert first.interval is not None
        assert second.interval is not None
        assert (second.interval.upper > first.interval.upper).any()


def test_settings_out_of_range_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="dropout"):
        TrainConfig.from_mapping({"dropout": 1.0})
    with pytest.raises(InputError, match="unknown key epoch"):
        TrainConfig.from_mapping({"epoch": 3})


def test_a_thinned_training_equals_one_on_the_thinned_rows(rows: TrainingRows, catalogue: Catalogue) -> None:
    config = TrainConfig(baseline={"rounds": 20})
    thinned = fit("xgboost", rows, catalogue, config.model_copy(update={"every": 2})).bundle
    plain = fit("xgboost", rows.every(2), catalogue, config).bundle
    assert thinned.facts["training"]["rows"] == len(rows.every(2)) == 240
    np.testing.assert_array_equal(thinned.predict(rows.inputs), plain.predict(rows.inputs))
