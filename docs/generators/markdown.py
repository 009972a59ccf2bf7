"""Markdown from code: tables, blocks, and docstrings as prose."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec

__all__ = ["block", "json_block", "member_docs", "one_line", "prose", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a ``|`` in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def block(language: str, text: str) -> str:
    """Return a fenced block."""
    return f"```{language}\n{text.strip(chr(10))}\n```\n"


def json_block(value: Any) -> str:
    """Return a value as an indented JSON block."""
    return block("json", msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def prose(docstring: str | None) -> str:
    """Return a docstring as Markdown."""
    text = inspect.cleandoc(docstring or "")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    text = text.replace("``", "`")
    text = re.sub(r"docs/(reference|explanation)/([\w-]+)", r"[\2](../\1/\2.md)", text)
    text = re.sub(r"^:param (\w+): ", r"- `\1`: ", text, flags=re.MULTILINE)
    text = re.sub(r"^:raises (\w+): ", r"- raises `\1`: ", text, flags=re.MULTILINE)
    text = re.sub(r"^\* ", "- ", text, flags=re.MULTILINE)
    text = "\n\n".join(_arguments(paragraph) for paragraph in text.split("\n\n"))
    return re.sub(
        r"((?:^>>> .*\n?(?:^(?!>>>).+\n?)*)+)", lambda found: block("pycon", found[1]), text, flags=re.MULTILINE
    )


def _arguments(paragraph: str) -> str:
    """A paragraph that tells of one argument after the other becomes a list."""
    if not re.match(r"`\w+`: ", paragraph):
        return paragraph
    told = re.split(r"(?<=\.)\s+(?=(?:`\w+`(?:, | and ))*`\w+`(?:: | are | make )|Raises )", paragraph)
    lines = (" ".join(text.split()) for text in told)
    return "\n".join(f"\n{line}" if line.startswith("Raises") else f"- {line}" for line in lines)


def one_line(docstring: str | None) -> str:
    """Return a docstring as Markdown without line breaks: for the cell of a table."""
    return " ".join(prose(docstring).split())


@cache
def member_docs(cls: type) -> dict[str, str]:
    """The strings that stand below the members of a class, by the members' names; those of its bases counted in."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("caseassist"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for member, text in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(member, ast.AnnAssign)
                and isinstance(member.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                docs[member.target.id] = str(text.value.value)
    return docs
