"""How Sphinx builds the documentation. Nothing here, nor in the pages it makes, needs a network."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

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
exclude_patterns = ["_build"]
templates_path = ["_templates"]
# The gallery's settings hold a function, below; Sphinx only says that it will read them anew each time.
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autosummary_generate = True
# The methods of a class stand on its own page, by _templates/autosummary/class.rst.
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "pydata_sphinx_theme"
html_title = "skpadim"
html_static_path = ["_static"]
html_css_files = ["skpadim.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"
# Pages without others below them need no list of these.
html_sidebars = {page: [] for page in ("index", "quick_start", "how_it_works", "search", "genindex")}
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

# Examples that take --data need photos; they run where there is a folder of them, as tests do.
_EXAMPLES = Path(__file__).parents[1] / "examples"
_DATA = Path(os.environ.get("SKPADIM_DATA", Path(__file__).parents[2] / "shared" / "data"))


def _runs_here(example: Path) -> bool:
    return _DATA.is_dir() or '"--data"' not in example.read_text(encoding="utf-8")


def _arguments(_gallery: dict[str, Any], script: dict[str, Any]) -> list[str]:
    """Return what an example's command line holds when the gallery runs it."""
    if '"--data"' not in Path(script["src_file"]).read_text(encoding="utf-8"):
        return []
    return [
        *("--data", str(_DATA / "magnetic_tile")),
        *("--output", str(Path(gettempdir()) / "magnetic_tile.png")),
    ]


_RUNNABLE = [re.escape(path.name) for path in sorted(_EXAMPLES.glob("plot_*.py")) if _runs_here(path)]

sphinx_gallery_conf = {
    "examples_dirs": [str(_EXAMPLES)],
    "gallery_dirs": ["auto_examples"],
    "ignore_pattern": r"(?<!\w)(?!plot_)\w+\.py$",
    "filename_pattern": "|".join(_RUNNABLE) or r"(?!)",
    "reset_argv": _arguments,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
    # For examples that did not run.
    "default_thumb_file": str(Path(__file__).with_name("demo.png")),
}


def _inline_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block_math(translator: Any, node: nodes.math_block) -> None:
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Write formulas as MathML, which browsers set by themselves: no script to load from elsewhere."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
