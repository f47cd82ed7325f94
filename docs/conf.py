"""Builds the documentation: `python -m sphinx -W -b html docs OUT`."""

import re

import mig_jax

project = "mig_jax"
author = "The mig_jax authors"
copyright = author
release = mig_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.programoutput",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Notebooks come with their outputs (notebooks/pair.py makes them): a build runs nothing.
nb_execution_mode = "off"

# Docstrings say `name` as code does; types stand in the text, beside shapes.
default_role = "literal"
smartquotes = False  # φ' is a derivative.
autodoc_default_options = {"members": True, "member-order": "bysource"}
# Of mig_jax/measure/_arrays.py: told by their names.
_ALIASES = ("Amounts", "Array", "Count", "Indices", "Numbers", "Parameter", "Scalar")
autodoc_type_aliases = {alias: alias for alias in _ALIASES}
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"mig_jax {release}"


def _plain_aliases(app, what, name, obj, options, signature, result):
    """Some signatures would show the alias `Array` as Sphinx holds it, or what it is made of."""
    held = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
    return tuple(
        text and held.sub(r"\1", text).replace("jaxlib._jax.Array", "jax.Array")
        for text in (signature, result)
    )


def setup(app):
    app.connect("autodoc-process-signature", _plain_aliases)
