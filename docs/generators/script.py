"""Scripts: the lines of ``play``, their answers and refusals."""

import json
from functools import cache

import msgspec
from docs.generators import example
from docs.generators.markdown import block, prose, table
from docs.generators.members import members_table

from caseassist.script import LINES, Answer, Failure, Line, Refusal

REFUSED = """\
{"session": "a1", "do": "start", "clientId": "489aa3e3-aed2-4563-8e81-62bb73178a56"}
{"session": "a1", "do": "open_document", "suggestionId": "b7e0a5c1d2"}
{"session": "a1", "do": "update_field", "fieldName": "id", "value": "500"}
{"session": "a1", "do": "create", "id": ""}
{"session": "zz", "do": "solve"}
{"session": "a1", "do": "dance"}
"solve"
"""
"""Lines that are refused, but for the first."""

INTRODUCTION = """\
# Scripts

A script is JSON lines: every line is one action. `caseassist play` plays a script from a file or from a pipe, and
answers every line, in order. This is how a program in [any language](../how-to/drive-from-another-language.md) drives
sessions.

`caseassist schema script` prints the JSON Schema of a line, `caseassist schema answer` that of an answer. [The protocol
of the pipe](pipe.md) has what a program can rely on, and how it asks for a version.

## What all lines have in common
"""

NOTES = """\
A line may have at most 1,048,576 bytes. Unknown members are refused. Lines of many sessions may be mixed; those of one
session are played in their order.

The name of a `session` is yours. It is the `sessionId` of the [records](records.md).
"""

WHOLE = """\
A suggestion that was offered in this session is named by its id, and by its `responseId` where several responses
offered it; without, the latest counts. One that was not offered here is passed whole, with its `responseId`: a
classification with `fieldName` and `classification`, a document with `suggestion`. Then its offer is recorded first.
"""

ANSWERS = """\
## Answers

With `--format json` standard output has one line of JSON for every line of the script, and it is flushed at once.

A line that was accepted is answered with what was recorded. If two records were made, `seq` and `event` are those of
the second.
"""

REFUSALS = """\
A line that was refused changed nothing: nothing was recorded, nothing will be sent, and the session is as it was. The
lines after it are played. `error.type` is the name of the [error](errors.md). `rule`, `path` and `allowed` are there
where they apply. No message holds a value that may be personal.

These lines
"""


def render() -> str:
    common = Line.__struct_fields__
    parts = [INTRODUCTION, _table(Line), NOTES, "## What can be done\n"]
    parts += [table(("`do`", "needs", "may have"), (_needs(name, cls, common) for name, cls in LINES.items())), WHOLE]
    for name, cls in LINES.items():
        parts += [f"### {name}\n"]
        if cls.__doc__ and cls.__doc__ != Line.__doc__:
            parts += [prose(cls.__doc__) + "\n"]
        if len(cls.__struct_fields__) > len(common):
            parts += [_table(cls)]
        parts += [block("json", _examples()[name])]
    _, *refused = lines = tuple(REFUSED.splitlines())
    answers, _ = example.play(lines)
    assert answers[0].ok
    assert not any(answer.ok for answer in answers[1:])
    first, *others = (msgspec.json.encode(answer).decode() for answer in answers)
    parts += [ANSWERS, block("json", first), _table(Answer), REFUSALS, block("json", "\n".join(refused))]
    parts += ["are answered with\n", block("json", "\n".join(others)), _table(Refusal)]
    parts += ["### Failure\n", prose(Failure.__doc__) + "\n", _table(Failure)]
    return "\n".join(parts)


def _table(cls: type[msgspec.Struct]) -> str:
    head, rule, *rows = members_table(cls, links="events.md").splitlines()
    common = (
        tuple(f"| `{name}`" for name in Line.__struct_fields__) if issubclass(cls, Line) and cls is not Line else ()
    )
    kept = (row for row in rows if not row.startswith(common)) if common else rows
    return "\n".join([head, rule, *kept]).replace("events.md#failure", "#failure") + "\n"


def _needs(name: str, cls: type[Line], common: tuple[str, ...]) -> tuple[str, str, str]:
    members = [member for member in msgspec.structs.fields(cls) if member.name not in common]
    needed = ", ".join(f"`{member.encode_name}`" for member in members if member.required)
    optional = ", ".join(f"`{member.encode_name}`" for member in members if not member.required)
    return f"[{name}](#{name})", needed, optional


@cache
def _examples() -> dict[str, str]:
    lines = [*example.SCRIPT.read_text(encoding="utf-8").splitlines(), *example.MORE.splitlines()]
    found: dict[str, str] = {}
    for line in lines:
        members = json.loads(line)
        text = json.dumps(members)
        found.setdefault(members["do"], text if len(text) < 160 else json.dumps(members, indent=2))
    return found
