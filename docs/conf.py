"""How Sphinx builds the documentation. Nothing here, nor in the pages it makes, needs a network."""

from __future__ import annotations

import os
import sys
import warnings

from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx_gallery.sorting import FileNameSortKey

import skpadim

project = "skpadim"
author = "the skpadim developers"
copyright = "the skpadim developers"
version = release = skpadim.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.md5", "sg_execution_times.rst"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autosummary_generate = True
# The methods of a class stand on its own page, by _templates/autosummary/class.rst.
numpydoc_show_class_members = False
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = "skpadim"
html_static_path = ["_static"]
html_css_files = ["skpadim.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

# An example that needs photos or weights of its own runs where these variables name them.
_DATA, _WEIGHTS = (os.environ.get(f"SKPADIM_DOCS_{name}") for name in ("DATA", "WEIGHTS"))
