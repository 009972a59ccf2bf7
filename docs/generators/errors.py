"""The errors: the tree, and each with its attributes and a message of its own."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator

from docs.generators.markdown import block, member_docs, one_line, prose, table

from caseassist import transport
from caseassist.core import errors
from caseassist.core.errors import (
    AppendUnknown,
    CaseAssistError,
    CorruptRecord,
    Forked,
    IllegalTransition,
    InvalidAction,
    NoSuggestions,
    NotRunning,
    PositionConflict,
    RepeatedMessage,
    SequenceConflict,
    SessionErased,
    SinkRefused,
    SinkUnavailable,
    StoreFull,
    StoreUnavailable,
    TicketNotCreated,
    UnknownSession,
    UnknownSuggestion,
    UnsupportedRecord,
)

EXAMPLES: tuple[CaseAssistError, ...] = (
    InvalidAction("expected a number from 0 (terrible) to 1 (perfect), got a string of 4 characters",
                  path="$.rate", rule="CA-041"),
    IllegalTransition("filling", "rate_document", ("update_field", "create", "solve", "quit")),
    UnknownSuggestion("document", "b7e0a5c1d2", None, rule="CD-021", path="$.suggestionId"),
    UnknownSession("a1"),
    RepeatedMessage("a1", "msg-7f3a"),
    NotRunning(),
    Forked(),
    CorruptRecord("expected record 4 of session 'a1'", where="record 5 of session 'a1'"),
    UnsupportedRecord("the event 'ticket_merge'", where="record 5 of session 'a1'"),
    SequenceConflict("a1", expected=4, found=6),
    PositionConflict("https://myorg.analytics.org.coveo.com/rest/ua", expected=256, found=300),
    SessionErased("a1"),
    StoreFull("100000 records, 61000000 bytes"),
    StoreUnavailable("the disk does not answer"),
    AppendUnknown("a1", 4),
    SinkUnavailable("HTTP 503 Service Unavailable", retry_after_s=120),
    SinkRefused("HTTP 400 Bad Request", status=400),
    NoSuggestions("no reply in time"),
    TicketNotCreated("no reply in time", maybe_created=True),
    transport.TransportError("timeout", "no reply in time", maybe_sent=True),
)  # fmt: skip

INTRODUCTION = """\
# Errors

Everything that caseassist raises on purpose about sessions, records and delivery is a `CaseAssistError`. The tree is
sorted by who must act. Import the others from `caseassist.core.errors`.

Every error keeps its data in attributes; the sentence is made of them. No message holds a value that may be personal:
it names the place, what was expected, and the kind of thing that was found.

Options that make no sense, such as a sink's endpoint that is no URL, raise Python's own `ValueError`.

```python
import caseassist
from caseassist.core.errors import ActionError, IllegalTransition, InvalidAction

assert issubclass(IllegalTransition, ActionError)
assert issubclass(ActionError, caseassist.CaseAssistError)
```
"""


def render() -> str:
    examples = {type(error): error for error in EXAMPLES}
    parts = [INTRODUCTION, block("text", _drawn(CaseAssistError))]
    for cls in _all(CaseAssistError):
        depth = "##" if CaseAssistError in cls.__bases__ or cls is CaseAssistError else "###"
        parts += [f"{depth} {cls.__name__}\n", prose(cls.__doc__) + "\n"]
        if cls.__module__ != errors.__name__:
            parts += [f"`from {cls.__module__} import {cls.__name__}`\n"]
        if attributes := dict(_attributes(cls)):
            parts += [table(("attribute", "type", ""), ((f"`{a}`", f"`{t}`", d) for a, (t, d) in attributes.items()))]
        if cls in examples:
            parts += [block("pytb", f"{cls.__module__}.{cls.__name__}: {examples[cls]}")]
        else:
            assert cls.__subclasses__()
    return "\n".join(parts)


def _all(cls: type[CaseAssistError]) -> Iterator[type[CaseAssistError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _all(child)


def _drawn(cls: type[CaseAssistError]) -> str:
    branches = list(_tree(cls))
    width = max(len(branch) for branch, _ in branches) + 2
    return "\n".join(branch.ljust(width) + summary for branch, summary in branches)


def _tree(cls: type[CaseAssistError], first: str = "", rest: str = "") -> Iterator[tuple[str, str]]:
    yield first + cls.__name__, re.split("[.:;,]", cls.__doc__ or "")[0]
    children = cls.__subclasses__()
    for number, child in enumerate(children, 1):
        last = number == len(children)
        yield from _tree(child, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "))


def _attributes(cls: type) -> Iterator[tuple[str, tuple[str, str]]]:
    docs = member_docs(cls)
    shared = {
        name: (inspect.formatannotation(kind), one_line(docs.get(name)))
        for name, kind in inspect.get_annotations(cls).items()
    }
    yield from shared.items()
    if "__init__" not in cls.__dict__:
        return
    inherited = docs | _init_docs(cls)
    for name, parameter in inspect.signature(cls).parameters.items():
        kind = inspect.formatannotation(parameter.annotation)
        yield name, (kind, one_line(inherited.get(name)))


def _init_docs(cls: type) -> dict[str, str]:
    """The strings below the attributes that a constructor sets."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls.__dict__["__init__"]))).body
    assert isinstance(tree, ast.FunctionDef)
    found: dict[str, str] = {}
    for line, following in zip(tree.body, tree.body[1:], strict=False):
        targets = (
            line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        )
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            found |= {
                target.attr: str(following.value.value) for target in targets if isinstance(target, ast.Attribute)
            }
    return found
