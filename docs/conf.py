"""Builds the documentation: `python -m sphinx -W -b html docs OUT`."""

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


def _plain_aliases(app, what, name, obj, options, signature, result):
    """Some signatures would show the alias `Array` as Sphinx holds it."""
    held, plain = "TypeAliasForwardRef('Array')", "Array"
    return tuple(text and text.replace(held, plain) for text in (signature, result))


def setup(app):
    app.connect("autodoc-process-signature", _plain_aliases)
