"""A trained model as a folder: ``bundle.json`` (the card) and ``weights.safetensors``; nothing is executable.

The digest covers the card and the weights; a bundle that does not match its digest is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mmnet_maps.catalogue import Catalogue
from mmnet_maps.config import parse_json
from mmnet_maps.errors import InputError, refuse_damaged
from mmnet_maps.learn.adjust import Adjustment
from mmnet_maps.learn.applicability import Applicability
from mmnet_maps.learn.bundle_weights import pack, unpack
from mmnet_maps.learn.intervals import Envelope, IntervalTable
from mmnet_maps.learn.model_input import (
    ModelInput,
    columns_of_kind,
    model_arrays,
    side_by_side,
    takes_windows,
)
from mmnet_maps.learn.models.baselines import BASELINES, Baseline
from mmnet_maps.learn.models.network import Network, Readout
from mmnet_maps.learn.models.networks import NETWORKS
from mmnet_maps.learn.models.target import TARGETS, Target, estimated
from mmnet_maps.prepare.features import Scaler
from mmnet_maps.store.location import Location, Remote, location
from mmnet_maps.store.whole import files_named, naming, write_whole

__all__ = ["FORMAT", "Bundle", "Coarse", "load_bundle", "mean_of", "save_bundle"]

#: How maps take coarse fields from their cells.
Coarse = Literal["nearest", "bilinear"]
#: Version of the folder's layout; another one is refused.
FORMAT = 1
CARD, WEIGHTS = "bundle.json", "weights.safetensors"
#: In the card of a bundle in an object store: name of its weights.
_NAMED = "weights_file"
#: Networks of the largest ensemble that is read.
_MOST_MEMBERS = 1_000
#: What a scaler must fit into.
_FLOAT32 = np.finfo(np.float32)


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that a prediction needs.

    Attributes
    ----------
    kind : str
        One of `networks.NETWORKS` or `baselines.BASELINES`.
    catalogue : Catalogue
        Names, order and encoding of the inputs.
    scaler : Scaler
        Of the training rows; its snapshot are the columns that the kind takes (`model_input.fit_scaler`).
    network : Network, optional
        In evaluation mode; None for a baseline. The first of the `members`.
    baseline : Baseline, optional
        None for networks alone. Beside networks it makes the bundle a blend: the mean of both.
    interval : IntervalTable, optional
        ``interval(predicted) -> (lower, upper)``; None where nothing was held out (imported checkpoints).
    envelope : Envelope, optional
        Range of the training inputs; None where it is not known.
    facts : dict
        What the card says beside that: recipe, training, provenance, all of it plain JSON values.
    digest : str
        SHA-256 of the stored contents; empty before the bundle was saved.
    others : tuple of Network
        The further networks of an ensemble.
    target : {"identity", "sqrt"}
        What the networks give: soil moisture, or its square root. A baseline gives soil moisture.
    readout : {"mean", "last"}
        What of the encoded series the networks take on.
    network_interval : IntervalTable, optional
        Of a blend: the interval of its networks alone.
    adjustment : Adjustment, optional
        What a user's own probes say; `predict` is without it, maps and tables of predictions apply it.
    applicability : Applicability, optional
        What the training rows looked like to the model; None in bundles that were made before there was one.
    """

    kind: str
    catalogue: Catalogue
    scaler: Scaler
    network: Network | None = None
    baseline: Baseline | None = None
    interval: IntervalTable | None = None
    envelope: Envelope | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    others: tuple[Network, ...] = ()
    target: Target = "identity"
    readout: Readout = "mean"
    network_interval: IntervalTable | None = None
    adjustment: Adjustment | None = None
    applicability: Applicability | None = None

    @property
    def coarse(self) -> Coarse:
        """How its maps take weather, surface temperature and SMAP from their cells by default."""
        return "bilinear" if self.facts.get("coarse") == "bilinear" else "nearest"

    @property
    def members(self) -> tuple[Network, ...]:
        """Every network, the mean of whose estimates counts; none for a baseline."""
        return () if self.network is None else (self.network, *self.others)

    @property
    def trees(self) -> str | None:
        """Kind of the baseline that a blend joins with its networks; None if it is no blend."""
        return "xgboost" if self.network is not None and self.baseline is not None else None

    def networks_alone(self) -> Bundle:
        """A blend without its trees, with the intervals of what is left: what maps can be made with.

        Raises
        ------
        InputError
            The bundle holds no network.
        """
        if self.network is None:
            raise InputError(f"the bundle holds a {self.kind} and no network")
        if self.baseline is None:
            return self
        facts = {**self.facts, "blend": "the trees of this blend were left out"}
        interval = self.network_interval
        return replace(self, baseline=None, interval=interval, network_interval=None, facts=facts, digest="")

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
                out[start + usable] = self._evaluate(part.rows(usable))
        return out

    def dissimilarity(self, inputs: ModelInput) -> NDArray[np.float32]:
        """How unlike the training rows some rows are, shape (n,); NaN where that is not known."""
        if self.applicability is None:
            return np.full(len(inputs), np.nan, dtype=np.float32)
        return self.applicability(self.kind, inputs, self.catalogue)

    def _evaluate(self, part: ModelInput) -> NDArray[np.float32]:
        arrays = model_arrays(self.kind, part, self.catalogue, self.scaler)
        if self.network is None:
            assert self.baseline is not None
            return self.baseline.predict(arrays[0])
        found = mean_of([estimated(_run(network, arrays), self.target) for network in self.members])
        if self.baseline is None:
            return found
        return mean_of([found, self.baseline.predict(side_by_side(arrays))])

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
            "members": len(self.members),
            "target": self.target,
            "readout": self.readout,
            "trees": self.trees,
            "network_interval": self.network_interval.to_json() if self.network_interval else None,
            "adjustment": self.adjustment.to_json() if self.adjustment else None,
            "applicability": self.applicability.to_json() if self.applicability else None,
            "facts": self.facts,
        }


def _run(network: Network, arrays: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
    with torch.inference_mode():
        found: NDArray[np.float32] = network(*map(torch.from_numpy, arrays))[:, 0].numpy()
    return found


def mean_of(estimates: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of estimates of one shape, summed in their order in float32, as maps do it too."""
    total = estimates[0].copy()
    for more in estimates[1:]:
        total += more
    if len(estimates) > 1:
        total *= np.float32(1 / len(estimates))
    return total


def _digest(card: Mapping[str, Any], weights: bytes) -> str:
    text = json.dumps(card, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode() + hashlib.sha256(weights).digest()).hexdigest()


def save_bundle(bundle: Bundle, folder: Location) -> Bundle:
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
    folder = location(folder)
    _refuse_other_content(folder)
    reference = None if bundle.applicability is None else bundle.applicability.reference
    weights, card = pack(bundle.members, bundle.baseline, reference), bundle.card
    digest = _digest(card, weights)
    if isinstance(folder, Remote):
        _put(folder, card, weights, digest)
        return replace(bundle, digest=digest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new = scratch / "new"
        with naming(folder):
            new.mkdir()
            (new / WEIGHTS).write_bytes(weights)
            (new / CARD).write_text(_card_text(card, digest), encoding="utf-8")
            if folder.exists():
                folder.replace(scratch / "old")
            new.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(bundle, digest=digest)


def _card_text(card: Mapping[str, Any], digest: str) -> str:
    return json.dumps({**card, "digest": digest}, indent=1, allow_nan=False) + "\n"


def _put(folder: Remote, card: Mapping[str, Any], weights: bytes, digest: str) -> None:
    """Put a bundle in an object store: weights under a name of their own first, then the card, at once."""
    name = f"weights-{digest[:12]}.safetensors"
    write_whole(folder / name, weights)
    write_whole(folder / CARD, _card_text({**card, _NAMED: name}, digest))
    for older in folder.glob("weights*.safetensors"):
        if older.name != name:
            older.unlink(missing_ok=True)


def _refuse_other_content(folder: Location) -> None:
    if folder.exists() and not (folder / CARD).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is no bundle; a bundle is not written over other things")


def load_bundle(folder: Location) -> Bundle:
    """Read a bundle.

    Raises
    ------
    InputError
        It is no bundle, of another format, incomplete, or changed since it was saved.
    """
    folder = location(folder)
    with refuse_damaged(folder, "no bundle that `train` made"):
        return _load(folder)


def _load(folder: Location) -> Bundle:
    card = _read_card(folder)
    digest, held = card.pop("digest", ""), folder / Path(str(card.pop(_NAMED, WEIGHTS))).name
    try:
        weights = held.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{held}: no such file; a bundle has its weights there") from None
    if _digest(card, weights) != digest:
        raise InputError(f"{folder}: the contents do not match the digest {digest!s:.12}: damaged or edited")
    try:
        catalogue = Catalogue.from_mapping(card["catalogue"], where=f"{folder / CARD}: catalogue")
        names = Scaler.__dataclass_fields__
        scaler = Scaler(**{name: np.array(card["scaler"][name], dtype=np.float64) for name in names})
        interval = IntervalTable.from_json(card["interval"]) if card["interval"] else None
        envelope = Envelope.from_json(card["envelope"]) if card["envelope"] else None
        kind, facts, fingerprint = card["kind"], card["facts"], card["fingerprint"]
        alone, adjusted = card.get("network_interval"), card.get("adjustment")
        alone = IntervalTable.from_json(alone) if alone else None
        adjustment = Adjustment.from_json(adjusted) if adjusted else None
    except KeyError as error:
        raise InputError(f"{folder / CARD}: key {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / CARD}: a table does not fit: {error}") from None
    if not isinstance(facts, dict):
        raise InputError(f"{folder / CARD}: facts: expected an object, found {type(facts).__name__}")
    if catalogue.fingerprint != fingerprint:
        raise InputError(
            f"{folder / CARD}: the catalogue has the fingerprint {catalogue.fingerprint}, "
            f"the card says {fingerprint}"
        )
    members, target, readout = _shape(kind, card, folder)
    _refuse_other_tables(folder / CARD, kind, catalogue, scaler, envelope)
    networks, baseline, reference = unpack(
        weights, catalogue, kind, members, card.get("trees"), readout, str(held)
    )
    applicability = _applicability(card.get("applicability"), reference, kind, catalogue, folder)
    return Bundle(
        kind,
        catalogue,
        scaler,
        networks[0] if networks else None,
        baseline,
        interval,
        envelope,
        facts,
        digest,
        networks[1:],
        target,
        readout,
        alone,
        adjustment,
        applicability,
    )


def _applicability(
    told: Mapping[str, Any] | None,
    reference: NDArray[np.float32] | None,
    kind: str,
    catalogue: Catalogue,
    folder: Location,
) -> Applicability | None:
    """What the card and the rows that are kept say together; None in bundles made before there was one."""
    if told is None:
        return None
    try:
        if reference is None:
            raise ValueError(f"applicability: its training rows are missing in {WEIGHTS}")
        found = Applicability.from_json(told, reference)
        if not {*found.snapshot} <= {*columns_of_kind(kind, catalogue)}:
            raise ValueError("applicability: snapshot has columns that the model does not take")
        if not {*found.means, *found.lasts} <= {*catalogue.series}:
            raise ValueError("applicability: means and lasts have variables that are not in the catalogue")
    except KeyError as error:
        raise InputError(f"{folder / CARD}: applicability: key {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / CARD}: a table does not fit: {error}") from None
    return found


def _refuse_other_tables(
    card: Location, kind: str, catalogue: Catalogue, scaler: Scaler, envelope: Envelope | None
) -> None:
    """Refuse a scaler or a range of inputs that no training of this catalogue gives."""
    columns, series = len(columns_of_kind(kind, catalogue)), len(catalogue.series)
    for name in Scaler.__dataclass_fields__:
        values, spread = getattr(scaler, name), name.endswith("std")
        size = columns if name.startswith("snapshot") else series if takes_windows(kind) else 0
        usable = np.abs(values) <= _FLOAT32.max if not spread else (values >= _FLOAT32.tiny)
        if values.shape != (size,) or not (usable & (values <= _FLOAT32.max)).all():
            above = " above 0" if spread else ""
            raise InputError(
                f"{card}: scaler: {name}: expected {size} finite numbers{above}, found {values!s:.80}"
            )
    if envelope is not None:
        for name in Envelope.__dataclass_fields__:
            values = getattr(envelope, name)
            size = len(catalogue.snapshot if name.startswith("snapshot") else catalogue.series)
            if values.shape != (size,) or not np.isfinite(values).all():
                raise InputError(
                    f"{card}: envelope: {name}: expected {size} finite numbers, found {values!s:.80}"
                )


def _shape(kind: str, card: Mapping[str, Any], folder: Location) -> tuple[int, Target, Readout]:
    """Number of networks, what they give and what they read out; cards of older bundles do not say."""
    if kind not in (*NETWORKS, *BASELINES):
        known = ", ".join((*NETWORKS, *BASELINES))
        raise InputError(f"{folder}: model kind {kind} is not known; known are {known}")
    members = card.get("members", int(kind in NETWORKS))
    target, readout = card.get("target", "identity"), card.get("readout", "mean")
    usual = type(members) is int and members <= _MOST_MEMBERS and target in TARGETS
    if not usual or (members > 0) != (kind in NETWORKS) or readout not in ("mean", "last"):
        raise InputError(
            f"{folder / CARD}: {members!s:.40} networks of {kind} with target {target} and readout {readout} "
            "are not known"
        )
    return members, target, readout


def _read_card(folder: Location) -> dict[str, Any]:
    path = folder / CARD
    if not path.is_file():
        cards = files_named(folder, (CARD,))
        within = [str(found.parent) for found in cards if found.parent.name == "bundle"]
        more = f": a run folder; its bundles are {', '.join(within)}" if within else f" ({CARD} is missing)"
        raise InputError(f"{folder}: no bundle here{more}")
    try:
        card = parse_json(path.read_bytes(), path)
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected the card of a bundle") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise InputError(f"{path}: bundle format {found!r}; this version reads format {FORMAT}")
    return card
