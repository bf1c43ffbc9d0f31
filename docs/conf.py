import importlib.metadata

from mmnet_maps.produce.product.layers import LAYERS
from mmnet_maps.produce.tile.flags import FLAG_TABLE

project = "mmnet-maps"
author = "the mmnet-maps authors"
copyright = "2026, the mmnet-maps authors"
release = importlib.metadata.version("mmnet-maps")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


# The tables of docs/product.md are those that the product is made by.
myst_substitutions = {
    "flags": _table(
        ["bit", "name", "meaning", "the value is"],
        [[f.bit, f"`{f.name}`", f.meaning, "missing" if f.missing else "there"] for f in FLAG_TABLE.values()],
    ),
    "layers": _table(
        ["layer", "what", "unit", "stored as", "scale", "missing", "in coarser levels"],
        [
            [
                f"`{v.name}`",
                v.long_name,
                v.units,
                v.packing.dtype,
                v.packing.scale,
                v.packing.missing,
                v.overview,
            ]
            for v in LAYERS.values()
        ],
    ),
}
nb_execution_mode = "off"  # the tests execute the notebooks
autodoc_default_options = {"members": True, "show-inheritance": True, "exclude-members": "model_config"}
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True

# Shapes in numpydoc types ("shape (n,)") are prose, not references to attributes of that name.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "mmnet-maps"
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
