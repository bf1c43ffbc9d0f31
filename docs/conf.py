import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import figures
import reference_pages

project = "mmnet-maps"
author = "the mmnet-maps authors"
copyright = "2026, the mmnet-maps authors"
release = importlib.metadata.version("mmnet-maps")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
# What is said in code is taken from there: the pages of docs/generated and the tables of docs/product.md.
generated = Path(__file__).parent / "generated"
reference_pages.write(generated)
figures.write(generated)
myst_substitutions = reference_pages.TABLES
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
