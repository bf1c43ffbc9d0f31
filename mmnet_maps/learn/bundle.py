"""A trained model as a folder: ``bundle.json`` (the card) and ``weights.safetensors``; nothing is executable.

The digest covers the card and the weights; a bundle that does not match its digest is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import nn

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.errors import InputError
from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.learn.model_input import ModelInput, model_arrays
from mmnet_maps.learn.models.baselines import BASELINES, Baseline, load_baseline
from mmnet_maps.learn.models.networks import NETWORKS, build_network
from mmnet_maps.prepare.features import Scaler

__all__ = ["FORMAT", "Bundle", "load_bundle", "save_bundle"]

#: Version of the folder's layout; another one is refused.
FORMAT = 1
CARD, WEIGHTS = "bundle.json", "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that a prediction needs.

    Attributes
    ----------
    kind : str
        ``mmnet``, ``transformer``, ``mlp``, ``ridge``, ``forest`` or ``xgboost``.
    catalogue : Catalogue
        Names, order and encoding of the inputs.
    scaler : Scaler
        Of the training rows; the MLP's holds the columns of `Catalogue.mlp_features` as its snapshot.
    network : torch.nn.Module, optional
        In evaluation mode; None for a baseline.
    baseline : Baseline, optional
        None for a network.
    interval : IntervalTable, optional
        ``interval(predicted) -> (lower, upper)``; None where nothing was held out (imported checkpoints).
    envelope : Envelope, optional
        Range of the training inputs; None where it is not known.
    facts : dict
        What the card says beside that: recipe, training, provenance, all of it plain JSON values.
    digest : str
        SHA-256 of the stored contents; empty before the bundle was saved.
    """

    kind: str
    catalogue: Catalogue
    scaler: Scaler
    network: nn.Module | None = None
    baseline: Baseline | None = None
    interval: IntervalTable | None = None
    envelope: Envelope | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    digest: str = ""

    def predict(self, inputs: ModelInput, batch: int = 4096) -> NDArray[np.float32]:
        """Estimate soil moisture.

        Parameters
        ----------
        inputs : ModelInput
            Unscaled, in the order of `catalogue`.
        batch : int
            Rows at once; bounds the memory and changes no value beyond float rounding.

        Returns
        -------
        ndarray of float32, shape (n,)
            m3 m-3; NaN where an input of the row is missing or infinite.

        Raises
        ------
        InputError
            The widths of the inputs are not those of the catalogue.
        """
        inputs.refuse_other_shape(self.catalogue)
        out = np.full(len(inputs), np.nan, dtype=np.float32)
        for start in range(0, len(inputs), batch):
            part = inputs.rows(slice(start, start + batch))
            usable = np.flatnonzero(part.complete)
            if usable.size:
                arrays = model_arrays(self.kind, part.rows(usable), self.catalogue, self.scaler)
                out[start + usable] = self._evaluate(arrays)
        return out

    def _evaluate(self, arrays: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
        if self.network is None:
            assert self.baseline is not None
            return self.baseline.predict(arrays[0])
        with torch.inference_mode():
            found: NDArray[np.float32] = self.network(*map(torch.from_numpy, arrays))[:, 0].numpy()
        return found

    @property
    def card(self) -> dict[str, Any]:
        """The content of ``bundle.json`` without the digest."""
        scaler = {name: getattr(self.scaler, name).tolist() for name in Scaler.__dataclass_fields__}
        return {
            "format": FORMAT,
            "kind": self.kind,
            "fingerprint": self.catalogue.fingerprint,
            "catalogue": self.catalogue.model_dump(mode="json"),
            "scaler": scaler,
            "interval": self.interval.to_json() if self.interval else None,
            "envelope": self.envelope.to_json() if self.envelope else None,
            "facts": self.facts,
        }

    def _weights(self) -> bytes:
        if self.network is not None:
            arrays = {name: value.numpy() for name, value in self.network.state_dict().items()}
        else:
            assert self.baseline is not None
            arrays = self.baseline.arrays()
        return save_arrays({name: np.array(array, order="C") for name, array in arrays.items()})


def _digest(card: Mapping[str, Any], weights: bytes) -> str:
    text = json.dumps(card, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode() + hashlib.sha256(weights).digest()).hexdigest()


def save_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Write a bundle; it appears whole or not at all, and an older bundle of that name is replaced.

    Returns
    -------
    Bundle
        The same, with its digest.

    Raises
    ------
    InputError
        `folder` is something other than a bundle or an empty folder.
    """
    folder = Path(folder)
    _refuse_other_content(folder)
    weights, card = bundle._weights(), bundle.card
    digest = _digest(card, weights)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        (new / WEIGHTS).write_bytes(weights)
        text = json.dumps({**card, "digest": digest}, indent=1, allow_nan=False)
        (new / CARD).write_text(text + "\n", encoding="utf-8")
        if folder.exists():
            folder.replace(scratch / "old")
        new.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(bundle, digest=digest)


def _refuse_other_content(folder: Path) -> None:
    if folder.exists() and not (folder / CARD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is no bundle; a bundle is not written over other things")


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle.

    Raises
    ------
    InputError
        It is no bundle, of another format, incomplete, or changed since it was saved.
    """
    folder = Path(folder)
    card = _read_card(folder)
    digest = card.pop("digest", "")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder / WEIGHTS}: no such file; a bundle has its weights there")
    weights = (folder / WEIGHTS).read_bytes()
    if _digest(card, weights) != digest:
        raise InputError(f"{folder}: the contents do not match the digest {digest[:12]}: damaged or edited")
    try:
        catalogue = Catalogue.from_mapping(card["catalogue"], where=f"{folder / CARD}: catalogue")
        scaler = Scaler(**{name: np.array(card["scaler"][name]) for name in Scaler.__dataclass_fields__})
        interval = IntervalTable.from_json(card["interval"]) if card["interval"] else None
        envelope = Envelope.from_json(card["envelope"]) if card["envelope"] else None
        kind, facts, fingerprint = card["kind"], card["facts"], card["fingerprint"]
    except KeyError as error:
        raise InputError(f"{folder / CARD}: key {error} is missing") from None
    if catalogue.fingerprint != fingerprint:
        raise InputError(
            f"{folder / CARD}: the catalogue has the fingerprint {catalogue.fingerprint}, "
            f"the card says {fingerprint}"
        )
    network, baseline = _read_model(kind, catalogue, weights, folder / WEIGHTS)
    return Bundle(kind, catalogue, scaler, network, baseline, interval, envelope, facts, digest)


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"{folder}: no bundle here ({CARD} is missing)")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError(f"{path}: not valid JSON") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise InputError(f"{path}: bundle format {found!r}; this version reads format {FORMAT}")
    return card


def _read_model(
    kind: str, catalogue: Catalogue, weights: bytes, path: Path
) -> tuple[nn.Module | None, Baseline | None]:
    try:
        arrays = load_arrays(weights)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file: {error}") from None
    if kind in BASELINES:
        return None, load_baseline(kind, arrays)
    if kind not in NETWORKS:
        known = ", ".join((*NETWORKS, *BASELINES))
        raise InputError(f"{path.parent}: model kind {kind} is not known; known are {known}")
    return network_from_arrays(kind, catalogue, arrays, str(path)), None


def network_from_arrays(
    kind: str, catalogue: Catalogue, arrays: Mapping[str, NDArray[Any]], where: str
) -> nn.Module:
    """A network in evaluation mode with these weights.

    Parameters
    ----------
    kind : str
        One of `NETWORKS`.
    catalogue : Catalogue
        Gives the widths.
    arrays : mapping of str to ndarray
        State dict by name.
    where : str
        What to call the weights in errors.

    Raises
    ------
    InputError
        A name is missing, unknown or of another shape, or a value is not finite; the message names it.
    """
    with torch.random.fork_rng(devices=[]):
        network = build_network(kind, catalogue)
    expected = network.state_dict()
    for name, found in _differences(expected, arrays):
        raise InputError(f"{where}: {name}: {found} ({kind} of {len(catalogue.snapshot)} snapshot features)")
    state = {name: torch.from_numpy(np.array(arrays[name])).to(expected[name].dtype) for name in expected}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _differences(
    expected: Mapping[str, torch.Tensor], arrays: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[str, str]]:
    for name, tensor in expected.items():
        if name not in arrays:
            yield name, f"missing, expected with shape {tuple(tensor.shape)}"
        elif arrays[name].shape != tuple(tensor.shape):
            yield name, f"has shape {arrays[name].shape}, expected {tuple(tensor.shape)}"
        elif not np.isfinite(arrays[name]).all():
            yield name, "holds values that are not finite"
    for name in arrays:
        if name not in expected:
            yield name, "unknown to this network"
