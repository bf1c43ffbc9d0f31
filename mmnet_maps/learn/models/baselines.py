"""Ridge, random forest and XGBoost behind one fit and predict, stored as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mmnet_maps.config import Config
from mmnet_maps.errors import InputError, needs_extra
from mmnet_maps.learn.models.earlier_forest import EarlierForest

__all__ = [
    "BASELINES",
    "Baseline",
    "BaselineConfig",
    "Forest",
    "Ridge",
    "XGBoost",
    "fit_baseline",
    "load_baseline",
]

Array = NDArray[np.float32]
Stored = Mapping[str, NDArray[Any]]


class BaselineConfig(Config):
    """Settings of the three baselines.

    Attributes
    ----------
    alpha : float
        Ridge: penalty on the squared coefficients of the scaled columns.
    trees : int
        Forest: number of trees.
    leaf : int
        Forest: least rows in a leaf.
    columns : float
        Forest: share of the columns tried at a split.
    depth : int, optional
        Forest: largest depth of a tree.
    rounds : int
        XGBoost: most rounds.
    rate : float
        XGBoost: learning rate.
    boost_depth : int
        XGBoost: depth of a tree.
    share : float
        XGBoost: share of rows and columns drawn for a tree.
    patience : int
        XGBoost: rounds without a better validation error after which it stops.
    threads : int
        Threads of the forest and of XGBoost.
    """

    alpha: float = 1.0
    trees: int = 100
    leaf: int = 5
    columns: float = 0.33
    depth: int | None = None
    rounds: int = 1000
    rate: float = 0.05
    boost_depth: int = 6
    share: float = 0.8
    patience: int = 30
    threads: int = 1


class Baseline(Protocol):
    """A fitted model of scaled columns.

    Attributes
    ----------
    explained_by : {"linear", "tree", "permutation"}
        Where the importance of its inputs comes from: `contributions`, or what shuffling them costs.
    """

    explained_by: ClassVar[str]

    def predict(self, columns: Array) -> Array:
        """Shape (n, k) to (n,)."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that `load_baseline` needs."""
        ...

    def contributions(self, columns: Array, compared: Array) -> tuple[NDArray[np.float64], float]:
        """What each input adds to an estimate, shape (n, k), and the estimate that they start from."""
        ...


class Ridge:
    """Linear regression with a penalty on the squared coefficients; the intercept is free."""

    explained_by: ClassVar[str] = "linear"

    def __init__(self, weight: NDArray[np.float64], intercept: float) -> None:
        self.weight, self.intercept = weight, intercept

    @classmethod
    def fit(cls, columns: Array, target: NDArray[np.float64], config: BaselineConfig, seed: int) -> Self:
        """Solve the normal equations in float64."""
        wide = columns.astype(np.float64)
        mean, level = wide.mean(axis=0), float(target.mean())
        wide -= mean
        gram = wide.T @ wide
        gram[np.diag_indices_from(gram)] += config.alpha
        weight = np.linalg.solve(gram, wide.T @ (target - level)).astype(np.float64)
        return cls(weight, level - float(mean @ weight))

    def predict(self, columns: Array) -> Array:
        """Shape (n, k) to (n,)."""
        return (columns.astype(np.float64) @ self.weight + self.intercept).astype(np.float32)

    def contributions(self, columns: Array, compared: Array) -> tuple[NDArray[np.float64], float]:
        """In closed form, against the mean of the rows compared with."""
        level = compared.astype(np.float64).mean(axis=0)
        weighted: NDArray[np.float64] = (columns.astype(np.float64) - level) * self.weight
        return weighted, float(level @ self.weight + self.intercept)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Coefficients and intercept."""
        return {"weight": self.weight, "intercept": np.array([self.intercept])}

    @classmethod
    def load(cls, stored: Stored) -> Self:
        """Undo `arrays`."""
        weight, intercept = stored["weight"], stored["intercept"]
        if weight.dtype != np.float64 or weight.ndim != 1 or not np.isfinite([*weight, *intercept]).all():
            raise InputError(
                f"weights of a ridge: {weight.dtype} of shape {weight.shape}, expected finite numbers"
            )
        return cls(weight, float(intercept[0]))


class _Boosters:
    """What XGBoost grows; stored in its own binary JSON, which holds no code."""

    explained_by: ClassVar[str] = "tree"

    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def predict(self, columns: Array) -> Array:
        """Shape (n, k) to (n,)."""
        found: Array = self.booster.inplace_predict(np.ascontiguousarray(columns))
        return found.astype(np.float32)

    def contributions(self, columns: Array, compared: Array) -> tuple[NDArray[np.float64], float]:
        """XGBoost's own, exact, against the rows that it was trained on."""
        with needs_extra("science", "explaining trees"):
            import xgboost

        found = self.booster.predict(xgboost.DMatrix(columns, nthread=1), pred_contribs=True)
        return found[:, :-1].astype(np.float64), float(found[:, -1].mean())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The booster as bytes."""
        return {"booster": np.frombuffer(bytes(self.booster.save_raw("ubj")), dtype=np.uint8)}

    @classmethod
    def load(cls, stored: Stored) -> Self:
        """Undo `arrays`."""
        with needs_extra("science", "models of trees"):
            import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(stored["booster"].tobytes()))
        return cls(booster)


class Forest(_Boosters):
    """Random forest: trees that are grown side by side, each of a draw of the rows."""

    # Its trees are so deep that their exact contributions take many minutes.
    explained_by = "permutation"

    @classmethod
    def fit(cls, columns: Array, target: NDArray[np.float64], config: BaselineConfig, seed: int) -> Self:
        """Grow the trees; each takes as many rows as a bootstrap sample has different ones."""
        with needs_extra("science", "models of trees"):
            import xgboost

        settings = {
            **_common(config, seed),
            "num_parallel_tree": config.trees,
            "eta": 1.0,
            "min_child_weight": config.leaf,
            "colsample_bynode": config.columns,
            "subsample": 1 - 1 / math.e,
            "max_depth": config.depth or 0,
            "lambda": 0.0,
        }
        return cls(xgboost.train(settings, xgboost.DMatrix(columns, target, nthread=config.threads), 1))


class XGBoost(_Boosters):
    """Gradient-boosted trees."""

    @classmethod
    def fit(
        cls,
        columns: Array,
        target: NDArray[np.float64],
        config: BaselineConfig,
        seed: int,
        held: tuple[Array, NDArray[np.float64]] | None = None,
    ) -> Self:
        """Boost until the validation rows stop improving."""
        with needs_extra("science", "models of trees"):
            import xgboost

        settings = {
            **_common(config, seed),
            "eta": config.rate,
            "max_depth": config.boost_depth,
            "subsample": config.share,
            "colsample_bytree": config.share,
        }
        train = xgboost.DMatrix(columns, target, nthread=config.threads)
        watched = [(xgboost.DMatrix(*held, nthread=config.threads), "validation")] if held else []
        booster = xgboost.train(
            settings,
            train,
            config.rounds,
            evals=watched,
            early_stopping_rounds=config.patience if held else None,
            verbose_eval=False,
        )
        return cls(booster[: booster.best_iteration + 1] if held else booster)


def _common(config: BaselineConfig, seed: int) -> dict[str, Any]:
    return {
        "objective": "reg:squarederror",
        "tree_method": "hist",
        "nthread": config.threads,
        "seed": seed,
        "verbosity": 0,
    }


#: The baselines by the name that the command line uses.
BASELINES = ("ridge", "forest", "xgboost")


def fit_baseline(
    kind: str,
    columns: Array,
    target: NDArray[np.float64],
    held: tuple[Array, NDArray[np.float64]] | None,
    config: BaselineConfig,
    seed: int,
) -> Baseline:
    """Fit a baseline to scaled columns.

    Parameters
    ----------
    kind : str
        One of `BASELINES`.
    columns : ndarray of float32, shape (n, k)
    target : ndarray of float64, shape (n,)
    held : tuple of columns and target, optional
        Validation rows, on which XGBoost stops; the others do not use them.
    config : BaselineConfig
    seed : int

    Raises
    ------
    InputError
        There is no baseline of that name.
    """
    match kind:
        case "ridge":
            return Ridge.fit(columns, target, config, seed)
        case "forest":
            return Forest.fit(columns, target, config, seed)
        case "xgboost":
            return XGBoost.fit(columns, target, config, seed, held)
    raise InputError(f"there is no baseline {kind}; known are {', '.join(BASELINES)}")


def load_baseline(kind: str, stored: Stored) -> Baseline:
    """Rebuild a baseline from what `Baseline.arrays` gave."""
    match kind:
        case "ridge":
            return Ridge.load(stored)
        case "forest":
            return Forest.load(stored) if "booster" in stored else EarlierForest.load(stored)
        case "xgboost":
            return XGBoost.load(stored)
    raise InputError(f"there is no baseline {kind}; known are {', '.join(BASELINES)}")
