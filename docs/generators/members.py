"""The members of our values as rows of a table: types, limits and rules come from their annotations."""

from collections.abc import Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from docs.generators.markdown import member_docs, one_line, table
from msgspec import Meta

from caseassist.core.events import Context

__all__ = ["HEAD", "members_table"]

LETTERS: Mapping[type, tuple[str, ...]] = {Context: ("CA", "CD", "CQ", "CL", "CU")}
"""How the ids of the rules begin that speak of a value, where its class names only those that errors name first."""

HEAD = ("member", "value", "needed", "rules")

_KINDS: Mapping[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "string",
    Any: "any JSON value",
}


def members_table(cls: type[msgspec.Struct], *, own: bool = False, links: str = "") -> str:
    """Return the table of a value's members. ``own``: without those of its base.

    ``links``: the page on which values that stand in members are described; this one unless given.
    """
    inherited = {member.name for member in msgspec.structs.fields(cls.__bases__[0])} if own else set()
    rows = [_row(cls, member, links) for member in msgspec.structs.fields(cls) if member.name not in inherited]
    return table(HEAD, rows) if rows else "No members of its own.\n"


def _row(cls: type[msgspec.Struct], member: msgspec.structs.FieldInfo, links: str) -> tuple[str, str, str, str]:
    kind, meta = _strip(member.type)
    words = [_kind(kind, links) + (" or null" if member.required and _nullable(member.type) else "")]
    rules: tuple[str, ...] = ()
    if meta is not None:
        rules = (meta.extra or {}).get("rules", ())
        letters: str | tuple[str, ...] = LETTERS[cls] if cls in LETTERS else getattr(cls, "rules", "")
        rules = tuple(rule for rule in rules if rule.startswith(letters))
        if kind is not bool:
            words.append(one_line(meta.description) + _limits(meta))
    text = ": ".join(word for word in words if word)
    if doc := member_docs(cls).get(member.name):
        text = f"{text}. {one_line(doc)}"
    return f"`{member.encode_name}`", text, _needed(member), ", ".join(f"`{rule}`" for rule in rules)


def _strip(kind: Any) -> tuple[Any, Meta | None]:
    """Take ``| None`` and ``Annotated`` off a type."""
    if get_origin(kind) in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        return _strip(options[0]) if len(options) == 1 else (kind, None)
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        return inner, next(note for note in notes if isinstance(note, Meta))
    return kind, None


def _nullable(kind: Any) -> bool:
    return NoneType in get_args(kind)


def _kind(kind: Any, links: str) -> str:
    if get_origin(kind) is tuple:
        return f"array of {_kind(get_args(kind)[0], links)}"
    if get_origin(kind) is Literal:
        return "string"
    if get_origin(kind) in (Union, UnionType):
        return f"object, one of the [events]({links})"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"[{kind.__name__}]({links}#{kind.__name__.lower()})"
    return _KINDS.get(kind, "object")


def _limits(meta: Meta) -> str:
    """The limits that the description does not tell."""
    description = meta.description or ""
    limits = []
    if meta.max_length is not None and str(meta.max_length) not in description:
        limits.append(f"at most {meta.max_length} characters")
    for word, limit in (("from", meta.ge), ("to", meta.le)):
        if limit is not None and f"{limit:g}" not in description:
            limits.append(f"{word} {limit:g}")
    return ", ".join(["", *limits]) if description else ", ".join(limits)


def _needed(member: msgspec.structs.FieldInfo) -> str:
    if member.required:
        return "yes"
    if member.default in (None, ()):
        return "no"
    return f"no: `{msgspec.json.encode(member.default).decode()}`"
