"""The model card as text for a reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmnet_maps.learn.bundle import Bundle

__all__ = ["card_text"]


def card_text(bundle: Bundle) -> str:
    """What the model is, what it takes, what it was trained on and how far it is to be trusted."""
    return "\n".join(_lines(bundle))


def _lines(bundle: Bundle) -> Iterator[str]:
    catalogue, facts = bundle.catalogue, bundle.facts
    yield f"model: {bundle.kind}, recipe {facts.get('recipe', 'unknown')}, digest {bundle.digest[:12]}"
    yield from _models(bundle)
    yield f"catalogue: {catalogue.fingerprint}, encoding {catalogue.encoding}"
    yield f"snapshot ({len(catalogue.snapshot)}): {' '.join(catalogue.snapshot)}"
    lags = " ".join(map(str, catalogue.lags))
    yield f"series ({len(catalogue.series)}): {' '.join(catalogue.series)}; days back: {lags}"
    for collection in dict.fromkeys(v.collection for v in catalogue.variables if v.collection):
        names = [v.name for v in catalogue.variables if v.collection == collection]
        yield f"learned from {collection}: {' '.join(names)}"
    yield from _training(facts.get("training"))
    if bundle.interval is None:
        yield "intervals: none; nothing was held out"
    else:
        found = bundle.interval
        yield (
            f"intervals: {found.nominal:.0%} nominal, from {found.rows} held-out rows "
            f"of {found.stations} stations"
        )
        ends = zip(found.centre, found.lower, found.upper, strict=True)
        yield from (f"  at {centre:.3f}: {low:+.3f} to {high:+.3f} m3 m-3" for centre, low, high in ends)
    yield "range of the training inputs: " + ("unknown" if bundle.envelope is None else "known")
    if (known := bundle.applicability) is not None:
        counted = (*known.snapshot, *known.lasts)
        yield (
            f"area of applicability: dissimilarity up to {known.threshold:.2f}, to {len(known.reference)} "
            f"rows of {len(counted)} variables: {' '.join(counted)}"
        )
    origin = {**facts.get("provenance", {}), **facts.get("imported", {})}
    yield "provenance: " + ", ".join(f"{name} {value}" for name, value in origin.items() if value)


def _models(bundle: Bundle) -> Iterator[str]:
    if len(bundle.members) > 1:
        yield f"ensemble: the mean of {len(bundle.members)} networks"
    if bundle.trees:
        yield f"blend: the mean of the networks and {bundle.trees} trees; maps are made of the networks alone"
    if bundle.target != "identity":
        yield f"the networks give the {bundle.target} of soil moisture; estimates are turned back"


def _training(training: dict[str, Any] | None) -> Iterator[str]:
    if training is None:
        yield "training: not here; the weights were imported"
        return
    years = " ".join(map(str, training["years"]))
    yield f"training: {training['rows']} rows of {training['stations']} stations, years {years}"
    yield f"validation: {training['validation_rows']} rows by {training['validation']}"
    if "best_epoch" in training:
        yield (
            f"epochs: {training['epochs']}, best {training['best_epoch']} "
            f"with validation loss {training['best_validation_loss']:.6f}"
        )
