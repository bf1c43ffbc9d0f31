"""Settings of a training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmnet_maps.config import Config
from mmnet_maps.learn.intervals import NOMINAL
from mmnet_maps.learn.models.baselines import BaselineConfig
from mmnet_maps.learn.models.network import Readout
from mmnet_maps.learn.models.target import Target
from mmnet_maps.learn.rows import Validation

__all__ = ["ModernConfig", "TrainConfig"]


class ModernConfig(Config):
    """Settings of the recipe beyond the published one; None means what suits the experiment.

    Attributes
    ----------
    epochs : int
        Length of the training: the learning rate rises and falls once over all of it.
    target : {"sqrt", "identity"}
        What is learned; a square root spreads the dry end, where most stations are.
    huber : float
        Error, in standard deviations of the target, from which on the loss grows linearly.
    centred : float
        Share of the loss that uses errors less the mean error of their station in the batch.
    stations : int
        Stations of a batch.
    days : int
        Days of each station of a batch.
    learning_rate : float, optional
        Highest rate of the cycle. None: 0.006, for known stations (on-site) 0.012.
    weight_decay : float
        Of AdamW.
    clip : float
        Largest norm of a gradient.
    average : float
        Decay, by step, of the moving average of the weights, which is what is kept.
    dropout : float, optional
        p of the noise layers. None: 0.2, for known stations (on-site) 0.02.
    place_noise : float, optional
        Standard deviation of the noise on latitude, longitude and climate normals, in standard deviations of
        each. None: 0.1, for known stations (on-site) 0.
    readout : {"last", "mean"}
        Part of the encoded series that is used: its last step or the mean. The last step trains in a third of
        the time.
    """

    epochs: int = Field(20, ge=1)
    target: Target = "sqrt"
    huber: float = Field(1.0, gt=0)
    centred: float = Field(0.5, ge=0, le=1)
    stations: int = Field(32, ge=2)
    days: int = Field(8, ge=2)
    learning_rate: float | None = Field(None, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(5.0, gt=0)
    average: float = Field(0.99, ge=0, lt=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    place_noise: float | None = Field(None, ge=0)
    readout: Readout = "last"

    def settled(self, known: bool) -> ModernConfig:
        """The same with nothing left None: what suits known (on-site) or unknown stations."""
        suits = _KNOWN if known else _UNKNOWN
        chosen = {name: value for name, value in suits.items() if getattr(self, name) is None}
        return self.model_copy(update=chosen)


_KNOWN = {"learning_rate": 0.012, "dropout": 0.02, "place_noise": 0.0}
_UNKNOWN = {"learning_rate": 0.006, "dropout": 0.2, "place_noise": 0.1}


class TrainConfig(Config):
    """Settings of one training.

    Attributes
    ----------
    recipe : {"published", "modern"}
        How networks are trained: as published, with the fields up to `dropout`, or by `modern`.
    modern : ModernConfig
        Settings of the modern recipe.
    members : int
        Networks that are trained from different seeds and averaged.
    blend : bool
        Average the networks with XGBoost trees on the same inputs.
    epochs : int
        Most epochs.
    patience : int
        Epochs without a better validation loss after which the training stops.
    every : int
        Train on one day in this number of each station; 1 takes all days, as published.
    batch : int
        Rows a step; the last short batch is dropped.
    learning_rate : float
        Of Adam.
    weight_penalty : float
        c of the published loss, before the squares of the weights.
    dropout : float
        p of the noise layers.
    validation : {"random_rows", "stations", "blocks"}, optional
        What is kept from training for early stopping and intervals. None: the default of the experiment.
    validation_share : float
        Share that is kept from training.
    block_days : int
        Length of a block of days that is kept from training, for ``blocks``.
    coarse : {"nearest", "bilinear"}, optional
        How maps take weather, surface temperature and SMAP: from the cell of a pixel, as station tables do,
        or interpolated between cells. None is bilinear with the modern recipe, nearest with the published.
    coverage : float
        Nominal coverage of the intervals.
    seed : int
        The same seed gives the same weights, on one kind of processor.
    threads : int
        Threads of a training; another number may give other rounding. Two gain a third on an idle machine and
        lose far more on a busy one, where every small step waits for the slower of them.
    baseline : BaselineConfig
        Settings of ridge, forest and XGBoost.
    """

    recipe: Literal["published", "modern"] = "published"
    modern: ModernConfig = ModernConfig()
    members: int = Field(1, ge=1, le=1000)
    blend: bool = False
    epochs: int = Field(100, ge=1)
    patience: int = Field(10, ge=1)
    every: int = Field(1, ge=1)
    batch: int = Field(512, ge=2)
    learning_rate: float = Field(0.01, gt=0)
    weight_penalty: float = Field(1e-4, ge=0)
    dropout: float = Field(0.2, ge=0, lt=1)
    validation: Validation | None = None
    validation_share: float = Field(0.1, gt=0, lt=1)
    block_days: int = Field(60, ge=1)
    coarse: Literal["nearest", "bilinear"] | None = None
    coverage: float = Field(NOMINAL, gt=0, lt=1)
    seed: int = 1
    threads: int = Field(1, ge=1)
    baseline: BaselineConfig = BaselineConfig()
