"""How Sphinx makes the site; build.py gathers what it reads.

Sphinx with MyST-NB and furo, because together they do all of this without a network: they read Markdown and stored
notebooks as they are, check references, link to the page before and after, come in light and dark, fit a telephone,
document Python with its types, and search through an index that is a script, so that it works from a USB stick, too.
Formulas become MathML, which browsers draw and screen readers read by themselves.
"""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

project = "minivos"
author = "The minivos authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
language = "en"
templates_path: list[str] = []

html_theme = "furo"
html_title = "minivos"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_extra_path = ["extra"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_show_search_summary = False  # it would fetch pages, which a browser forbids without a server
html_math_renderer = "mathml"

nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}  # else pages ask a server for scripts
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 88
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def formula(self: Any, node: nodes.Element) -> None:
    """A formula in a line, as MathML."""
    self.body.append(convert(node.astext().strip()))
    raise nodes.SkipNode


def formula_block(self: Any, node: nodes.Element) -> None:
    """A formula of its own, which scrolls where it is too wide."""
    anchors = "".join(f'<span id="{name}"></span>' for name in node["ids"])
    math = convert(node.astext().strip(), display="block")
    self.body.append(f'<div class="formula" tabindex="0" role="group" aria-label="formula">{anchors}{math}</div>')
    raise nodes.SkipNode


def plain(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: what reStructuredText would take for markup is not, but `code` is code."""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join("::\n\n" + part if part.startswith("    ") else escaped(part) for part in paragraphs).split(
        "\n"
    )


def escaped(text: str) -> str:
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(f"`{part}`" if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part) for part in parts)


def accessible(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """What scrolls can be reached with the keyboard; lists and headings are whole."""
    context["furo_navigation_tree"] = headings(context.get("furo_navigation_tree", ""))
    if body := context.get("body"):
        body = re.sub(r"<pre(?=[ >])(?![^>]*tabindex)", '<pre tabindex="0"', body)
        body = re.sub(r'<table class="docutils', '<table tabindex="0" class="docutils', body)
        context["body"] = re.sub(r"<dl>\s*(<dd><em .*?)</dl>", parameters, body, flags=re.DOTALL)


def headings(navigation: str) -> str:
    """Sphinx gives the captions of the table of contents no level."""
    return navigation.replace('role="heading"', 'role="heading" aria-level="2"')


def parameters(found: re.Match) -> str:
    """Sphinx makes the parameters of a long signature a list of definitions without terms."""
    return found[1].replace("<dd>", '<span class="parameter">').replace("</dd>", "</span>")


def setup(app: Any) -> None:
    app.add_html_math_renderer("mathml", inline_renderers=(formula, None), block_renderers=(formula_block, None))
    app.connect("autodoc-process-docstring", plain, priority=100)  # before napoleon
    app.connect("html-page-context", accessible, priority=900)  # after furo
