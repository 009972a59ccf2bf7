"""How Sphinx builds the pages. They are plain Markdown and can be read without it."""

import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer  # type: ignore[import-untyped, unused-ignore]
from sphinx.application import Sphinx

project = "caseassist"
author = "The caseassist maintainers"
copyright = author
release = version = version_of("caseassist")

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "caseassist"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_theme_options: dict[str, Any] = {"top_of_page_buttons": []}


def contents() -> str:
    """The tree of contents, made of the lists of links in index.md: a section of it is a section of the tree."""
    trees = ""
    for section in Path(__file__).with_name("index.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        pages = re.findall(r"^- \[.+?\]\((.+?)\.md\)", section, re.MULTILINE)
        lines = [":hidden:", f":caption: {section.splitlines()[0]}", "", *pages]
        trees += "\n```{toctree}\n" + "\n".join(lines) + "\n```\n" if pages else ""
    return trees


def add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        source[0] += contents()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True}
