"""The events, the values in them, the ticket and the context."""

from docs.generators import example
from docs.generators.markdown import json_block, prose, table
from docs.generators.members import members_table

from caseassist.core import events as module
from caseassist.core.events import (
    AnyEvent,
    Classification,
    Context,
    Document,
    OfferedClassification,
    OfferedDocument,
    RatedDocument,
    Ticket,
    UnknownEvent,
)
from caseassist.core.machine import TABLE
from caseassist.core.records import action_name

VALUES = (Ticket, Context, Classification, Document, OfferedClassification, OfferedDocument, RatedDocument)

INTRODUCTION = """\
# Events

Everything that can happen in a session is one of these values. Their classes are in `caseassist.core.events`;
`ClickEvent`, `CustomEvent`, `Context` and `Ticket` can be imported from `caseassist`. They are frozen
[msgspec](https://jcristharif.com/msgspec/) Structs. In Python a member is written `snake_case`, in JSON `camelCase`;
the tables show the JSON names. In JSON the member `action` holds the event's name, and a member without a value is
left out.

As a rule you construct none of them but `ClickEvent` and `CustomEvent`: the [actions](states.md#actions) do. Making one
in Python checks nothing. The checks run when it is handed to a session.

*Needed* says whether the member must be there, or what stands for it. *Rules* are the ids of the [rules](rules.md) that
its limits enforce.
"""


def render() -> str:
    actions: dict[str, list[str]] = {}
    for row in TABLE:
        if row.action not in (named := actions.setdefault(row.event.__name__, [])):
            named.append(row.action)
    classes = AnyEvent.__args__
    overview = table(
        ("event", "in JSON", "recorded by", "sent as"),
        (
            (
                f"[{cls.__name__}](#{cls.__name__.lower()})",
                f"`{cls.__struct_config__.tag}`",
                ", ".join(f"`{action}`" for action in actions.get(cls.__name__, ())) or "nothing",
                next((row.wire for row in TABLE if row.event is cls), None) or "never",
            )
            for cls in classes
        ),
    )
    parts = [INTRODUCTION, overview]
    for cls in classes:
        parts += [f"## {cls.__name__}\n", prose(cls.__doc__) + "\n", members_table(cls)]
        if cls is not UnknownEvent:
            event = example.events()[cls]
            assert action_name(event) == cls.__struct_config__.tag
            parts += [json_block(event)]
    parts += ["## Ticket, context and the other values\n", "These stand in records and in members of events.\n"]
    for value in VALUES:
        assert value.__name__ in module.__all__
        parts += [f"### {value.__name__}\n", prose(value.__doc__) + "\n", members_table(value)]
    return "\n".join(parts)
