import importlib.metadata

project = "mmnet-maps"
author = "the mmnet-maps authors"
copyright = "2026, the mmnet-maps authors"
release = importlib.metadata.version("mmnet-maps")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
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
