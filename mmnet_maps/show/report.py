"""One self-contained HTML page about a run or a product: figures embedded, nothing loaded from elsewhere."""

from __future__ import annotations

from mmnet_maps.errors import InputError
from mmnet_maps.prepare.cube.store import open_cube
from mmnet_maps.produce.judge.truth import CoarseField
from mmnet_maps.produce.product.store import open_product
from mmnet_maps.show.page import page
from mmnet_maps.show.product_report import product_body
from mmnet_maps.show.run_report import run_body
from mmnet_maps.store.location import Location, local_path
from mmnet_maps.store.whole import write_whole

__all__ = ["write_report"]


def write_report(
    source: Location, out: Location, validation: Location | None = None, cube: Location | None = None
) -> str:
    """Write the report of a run folder or of a product.

    Parameters
    ----------
    source : Path or Remote
        A folder with ``scores.json`` (a run), or a product.
    out : Path or Remote
        HTML file; it appears whole or not at all.
    validation : Path, optional
        For a product: what `validate` wrote; by default the folder ``validation`` beside the product, if any.
    cube : Path, optional
        For a product: the cube that it was made from, whose SMAP is drawn beside the maps.

    Returns
    -------
    str
        ``run`` or ``product``.

    Raises
    ------
    InputError
        The folder is neither.
    """
    if (source / "zarr.json").is_file():
        smap = None if cube is None else CoarseField(open_cube(cube))
        kind, body = "product", product_body(open_product(source), _validation_of(source, validation), smap)
    elif (source / "scores.json").is_file():
        kind, body = "run", run_body(local_path(source))
    else:
        raise InputError(f"{source}: neither a run (no scores.json) nor a product (no zarr.json)")
    text = page(f"{kind.capitalize()} {source.resolve().name}", body)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, text)
    except (FileExistsError, IsADirectoryError, NotADirectoryError):
        raise InputError(f"{out}: cannot be written, expected the name of an HTML file") from None
    return kind


def _validation_of(source: Location, given: Location | None) -> Location | None:
    if given is not None:
        if not (given / "scores.json").is_file():
            raise InputError(f"{given}: no scores.json, expected the folder that `mmnet-maps validate` wrote")
        return given
    beside = source.resolve().parent / "validation"
    return beside if (beside / "scores.json").is_file() else None
