"""What a request leaves open, as its bundle and its product have it."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from mmnet_maps.errors import InputError
from mmnet_maps.learn.bundle import Bundle, Coarse
from mmnet_maps.produce.product.layers import LAYERS

__all__ = ["coarse_choice", "optional_layers"]


def coarse_choice(asked: str | None, bundle: Bundle) -> Coarse:
    """How coarse fields reach a pixel: as asked for, or as the bundle says.

    Raises
    ------
    InputError
        What is asked for is not known.
    """
    asked = asked or bundle.coarse
    if asked not in get_args(Coarse):
        raise InputError(f"--coarse {asked}: expected {' or '.join(get_args(Coarse))}")
    return "bilinear" if asked == "bilinear" else "nearest"


def optional_layers(
    asked: Collection[str] | None, bundle: Bundle, held: Collection[str] | None = None
) -> tuple[str, ...]:
    """Optional layers of the maps: as the product has them, as asked for, or all that the bundle can give.

    Parameters
    ----------
    asked : collection of str, optional
        Empty for none.
    bundle : Bundle
    held : collection of str, optional
        All layers of the product that is there.

    Raises
    ------
    InputError
        A layer is not known, the bundle cannot give it, or the product was made with others.
    """
    known = [name for name, layer in LAYERS.items() if layer.optional]
    for name in asked or ():
        if name not in known:
            raise InputError(f"--layers {name}: expected {', '.join(known)} or none")
    given = tuple(known) if bundle.applicability is not None else ()
    if held is not None:
        has = tuple(name for name in known if name in held)
        if asked is not None and set(asked) != set(has):
            more, wanted = (", ".join(names) or "none" for names in (has, asked))
            raise InputError(f"the product was made with --layers {more}, found {wanted}")
        asked = has
    chosen = given if asked is None else tuple(name for name in known if name in asked)
    if not set(chosen) <= set(given):
        raise InputError(
            f"--layers {', '.join(chosen)}: the bundle was made before bundles knew their training rows; "
            "train again, or give --layers none and a new --out"
        )
    return chosen
