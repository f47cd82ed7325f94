"""Builds the documentation: `python -m sphinx -W -b html docs OUT`."""

import re

import mig_jax

project = "mig_jax"
author = "The mig_jax authors"
copyright = author
release = mig_jax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.programoutput",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Docstrings say `name` as code does; types stand in the text, beside shapes.
default_role = "literal"
smartquotes = False  # φ' is a derivative.
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_type_aliases = {"Array": "Array"}
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"mig_jax {release}"


def _plain_arrays(app, what, name, obj, options, signature, result):
    """Arrays as the source has them: Sphinx shows what `Array` and its axes are made of."""
    return tuple(text and _plain(text) for text in (signature, result))


def _plain(text):
    text = text.replace("jaxlib._jax.Array", "Array")
    text = re.sub(r"(\w+)\[Array, ('[^']*')\] \| \1\[ndarray, \2\]", r"\1[Array, \2]", text)
    return text.replace("Array | ndarray", "Array").replace("TypeAliasForwardRef('Array')", "Array")


def setup(app):
    app.connect("autodoc-process-signature", _plain_arrays)
