"""The record, translated into the classes of others: same members, same JSON, same limits.

They are made of the description that msgspec gives of our own classes, so that none of them has less to do.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, inspect

from caseassist.core.records import Record

__all__ = ["Member", "Model", "annotate", "bare_record", "limits", "model", "post_init"]


class Member(NamedTuple):
    """A member of a class."""

    name: str
    key: str
    """Its name in JSON."""
    type: inspect.Type
    required: bool
    default: Any
    optional: bool
    """It may be None."""


class Model(NamedTuple):
    """A class."""

    name: str
    members: tuple[Member, ...]
    tag: str | None
    """What ``action`` says of an event, in JSON."""


@cache
def model(cls: type) -> Model:
    """Describe one of our classes: Record, and what is in it."""
    struct = inspect.type_info(cls)
    assert isinstance(struct, inspect.StructType)
    members = []
    for field in struct.fields:
        kinds = _kinds(field.type)
        required = field.required or field.name == "v"  # it is always written
        optional = any(isinstance(kind, inspect.NoneType) for kind in kinds)
        members.append(Member(field.name, field.encode_name, field.type, required, field.default, optional))
    tag = None if struct.tag is None else str(struct.tag)
    return Model(cls.__name__, tuple(members), tag)


def annotate(
    kind: inspect.Type,
    translate: Callable[[type], Any],
    *,
    scalar: Callable[[inspect.Type, Any], Any] = lambda _, plain: plain,
    union: Callable[[list[Any]], Any] = lambda classes: reduce(or_, classes),
    patterns: bool = True,
) -> Any:
    """Return what stands behind a member's name.

    ``translate`` gives the class for one of ours; ``scalar`` adds the limits to a plain type; ``union`` joins the
    events. ``patterns``: with those that only the JSON Schema has, because msgspec does not check them for us.
    """
    kinds = _kinds(kind, patterns)
    if len(kinds) > 2:
        return union([translate(kind.cls) for kind in kinds if isinstance(kind, inspect.StructType)])
    if len(kinds) == 2:
        first = next(kind for kind in kinds if not isinstance(kind, inspect.NoneType))
        return annotate(first, translate, scalar=scalar, union=union, patterns=patterns) | None
    (kind,) = kinds
    match kind:
        case inspect.StructType():
            return translate(kind.cls)
        case inspect.VarTupleType():
            item: Any = annotate(kind.item_type, translate, scalar=scalar, union=union, patterns=patterns)
            return tuple[item, ...]
        case inspect.LiteralType():
            return Literal[*kind.values]
        case _:
            return scalar(kind, _PLAIN[type(kind).__name__])


def limits(kind: inspect.Type) -> dict[str, Any]:
    """The limits of a type, by the names that msgspec and pydantic have in common."""
    names = ("min_length", "max_length", "pattern", "ge", "le", "tz")
    return {name: value for name in names if (value := getattr(kind, name, None)) is not None}


def bare_record() -> type[msgspec.Struct]:
    """The record as Structs with nothing of ours in them: what msgspec does by itself.

    It does not look for what we look for ourselves, such as control characters, and the other translations do.
    """

    def scalar(kind: inspect.Type, plain: Any) -> Any:
        return Annotated[plain, Meta(**known)] if (known := limits(kind)) else plain

    @cache
    def translate(cls: type) -> type[msgspec.Struct]:
        described = model(cls)
        return msgspec.defstruct(
            described.name,
            [
                (member.name, annotate(member.type, translate, scalar=scalar, patterns=False))
                if member.required
                else (member.name, annotate(member.type, translate, scalar=scalar, patterns=False), member.default)
                for member in described.members
            ],
            tag_field="action" if described.tag else None,
            tag=described.tag,
            rename="camel",
            omit_defaults=True,
            forbid_unknown_fields=True,
            frozen=True,
            kw_only=True,
            gc=False,
        )

    return translate(Record)


def post_init(described: Model) -> Callable[[Any], None]:
    """The checks of a class that has none by itself, as one would write them by hand into ``__post_init__``."""
    lines = ["def check(self):", "    pass"]
    names: dict[str, Any] = {"datetime": datetime}
    for member in described.members:
        kind = _kinds(member.type)[0]
        value, known = f"self.{member.name}", limits(kind)
        match kind:
            case inspect.StrType():
                wrong = [f"type({value}) is not str"]
                if "max_length" in known:
                    wrong.append(f"not {known.get('min_length', 0)} <= len({value}) <= {known['max_length']}")
                if "pattern" in known:
                    names[f"match_{member.name}"] = re.compile(known["pattern"]).match
                    wrong.append(f"not match_{member.name}({value})")
            case inspect.IntType():
                wrong = [f"type({value}) is not int"]
            case inspect.FloatType():
                wrong = [f"type({value}) not in (float, int)"]
            case inspect.BoolType():
                wrong = [f"type({value}) is not bool"]
            case inspect.DictType():
                wrong = [f"type({value}) is not dict"]
            case inspect.DateTimeType():
                wrong = [f"type({value}) is not datetime or {value}.tzinfo is None"]
            case inspect.LiteralType():
                wrong = [f"{value} not in {kind.values!r}"]
            case _:  # a class checks itself
                continue
        wrong += [f"{value} {sign} {known[limit]}" for limit, sign in (("ge", "<"), ("le", ">")) if limit in known]
        given = f"{value} is not None and " if member.optional else ""
        lines += [f"    if {given}({' or '.join(wrong)}):", f"        raise ValueError({member.name!r})"]
    exec("\n".join(lines), names)
    checks: Callable[[Any], None] = names["check"]
    return checks


def _kinds(kind: inspect.Type, patterns: bool = True) -> list[inspect.Type]:
    """What a type consists of, without notes for people; None comes last."""
    if isinstance(kind, inspect.Metadata):
        pattern = (kind.extra_json_schema or {}).get("pattern") if patterns else None
        if isinstance(kind.type, inspect.StrType) and pattern is not None:
            return [msgspec.structs.replace(kind.type, pattern=pattern)]
        return _kinds(kind.type, patterns)
    if isinstance(kind, inspect.UnionType):
        kinds = [inner for part in kind.types for inner in _kinds(part, patterns)]
        return sorted(kinds, key=lambda kind: isinstance(kind, inspect.NoneType))
    return [kind]


_PLAIN: dict[str, Any] = {
    "StrType": str,
    "IntType": int,
    "FloatType": float,
    "BoolType": bool,
    "DictType": dict[str, Any],
    "AnyType": Any,
    "DateTimeType": datetime,
}
