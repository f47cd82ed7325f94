"""Builds the documentation: `python -m sphinx -W -b html docs OUT`."""

import re
from xml.etree import ElementTree

import ziamath
from docutils import nodes

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

html_static_path = ["style"]
html_css_files = ["wide.css"]
html_math_renderer = "drawn"  # By `_formula`. MathJax would be fetched by whoever reads a page.
ziamath.config.svg2 = False  # No ids, of which a page would have many alike.
_PIXELS = 24.0
html_theme = "furo"
html_title = f"mig_jax {release}"


def _plain_aliases(app, what, name, obj, options, signature, result):
    """Some signatures would show an alias as Sphinx holds it, or what it is made of."""
    return tuple(text and _plain(text) for text in (signature, result))


def _plain(text):
    text = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)
    array_like = r"[\w.]*_Buffer \| .*?_NestedSequence\[complex \| bytes \| str\]"
    text = re.sub(array_like, "ArrayLike", text)
    return text.replace("jaxlib._jax.Array", "jax.Array").replace("[Array, ' ", "[Array, '")


def _formula(writer, node):
    """Draws a formula when the page is made: who reads it needs no script, font or network."""
    latex = " ".join(node.astext().split())
    is_block = isinstance(node, nodes.math_block)
    drawn = ziamath.Latex(latex, size=_PIXELS, color="currentColor", inline=not is_block)
    width, height = (f"{pixels / _PIXELS:.3f}em" for pixels in drawn.getsize())
    svg = drawn.svgxml()
    svg.attrib |= {"width": width, "height": height, "role": "img", "aria-label": latex}
    if not is_block:
        svg.set("style", f"vertical-align: {drawn.getyofst() / _PIXELS:.3f}em")
    text = ElementTree.tostring(svg, encoding="unicode")
    writer.body.append(f'<div class="formula">{text}</div>' if is_block else text)
    raise nodes.SkipNode


def _shown_once(app, what, name, obj, skip, options):
    """What `mig_jax` itself shows stands on its page, not once more with its room."""
    shown = name in mig_jax.__all__ and getattr(mig_jax, name) is obj
    return True if what == "module" and shown else None


def setup(app):
    app.add_html_math_renderer("drawn", (_formula, None), (_formula, None))
    app.connect("autodoc-process-signature", _plain_aliases)
    app.connect("autodoc-skip-member", _shown_once)
