"""The conversation: its steps, as a table and a picture, its choices, its texts, and what it remembers."""

import msgspec
from docs.generators.markdown import block, json_block, member_docs, one_line, table

from caseassist.conversation.dialogue import DEFAULT_STAGES, Dialogue, Field, Stage
from caseassist.conversation.memory import Memory
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.conversation.steps import ENDS, STEPS, TABLE, WAITING, Row, Work
from caseassist.conversation.texts import ENGLISH, LANGUAGES, PLACES, Texts

MEANINGS = {
    "describing": "the person is asked what the problem is",
    "classifying": "values for fields are being proposed: `SuggestionService.classify`",
    "asking": "the person is asked for a field",
    "suggesting": "documents are being looked for: `SuggestionService.suggest_documents`",
    "reading": "documents are shown",
    "rating": "a document was opened, and the person is asked whether it helped",
    "reviewing": "the ticket is shown, and the person is asked whether to file it",
    "filing": "the ticket is being filed: `TicketCreator.create_ticket`",
    "solved": "the person said that the case is solved",
    "created": "the ticket was filed",
    "left": "the person has left, or somebody else has closed the session",
}
TRIGGERS = {
    "go_on": "what was asked is answered, as far as it will be",
    "show": "documents were found",
    "open": "the person opens a document",
    "back": "the person goes back to the documents",
    "help": "the person says that it is solved",
    "fail": "the document did not help",
    "change_description": "the person wants to write the description anew",
    "change_field": "the person wants to change another field",
    "file": "the person wants the ticket filed",
    "be_filed": "the helpdesk gives an id",
    "not_be_filed": "the helpdesk gives none",
    "leave": "the person leaves",
}
CHOICES = (
    (
        "asking",
        "`FIELD:PLACE.NUMBER`",
        "a value that was proposed",
        "`ticket_classification_click`, the field has the value",
    ),
    ("asking", "`FIELD:NUMBER`", "a value that the field may have", "`ticket_field_update`"),
    ("asking", "`skip:FIELD`", "nothing, unless the field is required", "nothing"),
    ("describing, asking", "`back:FIELD`", "what is to be changed stays as it is", "nothing"),
    ("reading", "`open:PLACE.NUMBER`", "a document", "`documentSuggestionClick`"),
    ("reading", "`solved`", "it is solved", "`ticket_cancel`, reason `Solved`"),
    ("reading", "`none:PLACE`", "no document helps", "nothing"),
    ("rating", "`yes:PLACE.NUMBER`", "the document has solved it",
     "`suggestion_rate` 1, then `ticket_cancel`, reason `Solved`"),
    ("rating", "`no:PLACE.NUMBER`", "it has not", "`suggestion_rate` 0"),
    ("rating", "`back:PLACE.NUMBER`", "the other documents again", "nothing"),
    ("reviewing", "`file`", "the ticket is right", "`ticket_create`, once the helpdesk has given an id"),
    ("reviewing", "`change:FIELD`", "a field is to be changed, unless the ticket may be filed already", "nothing yet"),
    (", ".join(step for step in STEPS if step not in (*ENDS, "filing")), "`leave`", "the person leaves",
     "`ticket_cancel`, reason `Quit`"),
    (", ".join(ENDS), "`new`", "a new session", "a `Bot` starts one"),
)  # fmt: skip
WORK = {
    "to_describe": "the description is missing",
    "to_classify": "the stage has values proposed, was not classified yet, and a field of it is missing",
    "to_ask": "another field of the stage is missing",
    "to_suggest": "the stage suggests documents, and has not yet",
    "documents_left": "there are documents that were not found useless",
}

INTRODUCTION = """\
# The conversation

A conversation leads one person through a [session](states.md). It is a value without I/O: a *dialogue*, which you
configure, and the session. Everything that it knows is in the records. `start`, `reply` and `answer` return a *turn*:
the records to append, and the conversation as of after them.

[Configure the conversation](../how-to/configure-the-conversation.md) says how to use it. A `Bot` does the I/O for it.
"""

STEPS_TEXT = """\
## Steps

Every prompt says at which step it is (`step`). While the conversation waits for a service, `need` says for which.
"""

TABLE_TEXT = """\
## The table of steps

The machine is built from this table. Of the rows of one trigger from one step, the first whose condition holds is
taken. `leave` is not in the picture.
"""

CHOICES_TEXT = """\
## Choices

A choice has an `id`, which comes back, and a `label`, which the person reads. An id is the same in every language.
*PLACE* is the place of the offer in the session, and *NUMBER* that of the document or value in it: buttons stay on the
screen, and one that is pressed late must not answer another question. A choice that is no longer there is told to be
gone, and changes nothing. `skip`, `back`, `none`, `yes` and `no` are taken without what follows the colon, too, for
whoever does not keep the ids.
"""

TYPED = """\
A choice can be typed, too, where there are no buttons: by its label, its id, the title of its document, other words
that the texts know for it, or its number in the list. Capitals, accents and punctuation around make no difference. A
number counts only where the prompt is `numbered`; where nothing but text can be given, it is text. No text that is
longer than 300 characters is a choice.

- At `rating` and `reviewing`, the first word of a reply of up to four decides for `yes`, `no` or `file`: "no, it did
  not". Only a word for `yes` files a ticket in this way.
- At `asking`, `rating` and `reviewing`, words that say that it is solved solve the case. They count after the choices.
- Where values are proposed for a field that takes any text, other words may be meant for one of the proposals. They are
  the value when other words are said a second time in a row.
- While suggestions are waited for, what is written is added to the description, unless it says hello and no more.

A new description clears the values that were taken without asking: they were proposed for the old one. If nobody
knows whether the ticket was filed (`TicketNotCreated.maybe_created`, or anything else than a `TicketNotCreated`), it
cannot be changed any more: it can be filed again, under the same key, or left.
"""

STAGES_TEXT = """\
## Stages

A dialogue has stages, one after the other. In each, what is to be done is done in this order: the description is asked
for, values are proposed, fields are asked for, documents are suggested. Nothing that is known is asked for. Coming to a
stage after the first is logged: `ticket_next_stage`, with its name. After the last stage comes the review. A new
description leads through the stages once more.

These are the stages unless you give others:
"""

TEXTS_TEXT = """\
## Texts

What stands in braces is filled in. A text may leave it out, and may hold nothing else in braces; `{{` and `}}` say a
brace. The languages that are there: %s. A session in another language is led in the dialogue's own.
"""

MEMORY_TEXT = """\
## What it remembers

Everything else is in the session. These are in the `memory` of the latest `turn_taken`
[event](events.md#turntaken), which is never sent. Nothing that the person wrote is in it. A member that has its default
is left out.

A dialogue may be changed while conversations go on. One that was asking for a field or showing documents that are gone
goes on at the review; one whose stage is gone, at the beginning. What was filled in stays.
"""


def render() -> str:
    kinds = dict.fromkeys(STEPS, "waits for the person") | dict.fromkeys(WAITING, "waits for a service")
    kinds |= dict.fromkeys(ENDS, "end")
    return "\n".join(
        [
            INTRODUCTION,
            STEPS_TEXT,
            table(("step", "kind", "meaning"), ((f"`{step}`", kinds[step], MEANINGS[step]) for step in STEPS)),
            block("mermaid", mermaid()),
            TABLE_TEXT,
            table(("trigger", "when", "from", "to", "if"), map(_row, TABLE)),
            "The conditions:\n",
            table(("condition", "holds if"), ((f"`{name}`", WORK[name]) for name in Work._fields)),
            "## Prompts\n",
            "What the conversation says is plain data, for every platform to show in its own way.\n",
            _members(Prompt),
            "A card is a document to show:\n",
            _members(Card),
            CHOICES_TEXT,
            _members(Choice),
            table(("at", "id", "is", "logs"), CHOICES),
            TYPED,
            STAGES_TEXT,
            json_block([_told(stage) for stage in DEFAULT_STAGES]),
            "A stage has\n",
            _members(Stage),
            "and a field has\n",
            _members(Field),
            "## The dialogue\n",
            _members(Dialogue),
            TEXTS_TEXT % ", ".join(f"`{language}`" for language in LANGUAGES),
            table(("text", "places", "in English"), map(_text, _said())),
            "And three that are no texts:\n",
            table(("member", "is"), ((f"`{name}`", _doc(Texts, name)) for name in ("fields", "words", "greetings"))),
            MEMORY_TEXT,
            _members(Memory, encoded=True),
        ]
    )


def mermaid() -> str:
    """The steps as a Mermaid state diagram. A trigger that leads to one of several steps is a point of its own.

    ``leave`` is left out: it is possible almost everywhere.
    """
    rows = [row for row in TABLE if row.trigger != "leave"]
    triggers = [row.trigger for row in rows]
    lines = ["stateDiagram-v2", "    direction TB", f"    [*] --> {STEPS[0]}"]
    ways: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if triggers.count(row.trigger) == 1:
            for source in row.sources:
                ways.setdefault((source, row.dest), []).append(row.trigger)
            continue
        if f"    state {row.trigger} <<choice>>" not in lines:
            lines.append(f"    state {row.trigger} <<choice>>")
            lines += [f"    {source} --> {row.trigger}: {row.trigger}" for source in row.sources]
        lines.append(f"    {row.trigger} --> {row.dest}: {row.condition or 'else'}")
    lines += [f"    {source} --> {dest}: {', '.join(names)}" for (source, dest), names in ways.items()]
    lines += [f"    {end} --> [*]" for end in ENDS]
    return "\n".join(lines)


def _row(row: Row) -> tuple[str, ...]:
    sources = ", ".join(f"`{source}`" for source in row.sources)
    condition = f"`{row.condition}`" if row.condition else ""
    return f"`{row.trigger}`", TRIGGERS[row.trigger], sources, f"`{row.dest}`", condition


def _doc(cls: type, name: str) -> str:
    return one_line(member_docs(cls).get(name))


def _members(cls: type[msgspec.Struct], *, encoded: bool = False) -> str:
    """The members of a value. ``encoded``: by the names that they have in JSON."""
    rows = []
    for member in msgspec.structs.fields(cls):
        name = member.encode_name if encoded else member.name
        default = "" if member.default is msgspec.NODEFAULT else _default(member.default)
        rows.append((f"`{name}`", _doc(cls, member.name), default))
    return table(("member", "is", "default"), rows)


def _default(value: object) -> str:
    if value == DEFAULT_STAGES:
        return "[these](#stages)"
    return f"`{msgspec.json.encode(value).decode()}`"


def _told(stage: Stage) -> dict[str, object]:
    """A stage without what has its default."""
    told = {name: getattr(stage, name) for name in ("name", "classify", "documents") if getattr(stage, name)}
    fields = [{"name": field.name} | ({} if field.required else {"required": False}) for field in stage.fields]
    return told | ({"fields": fields} if fields else {})


def _said() -> list[str]:
    return [name for name in Texts.__struct_fields__ if isinstance(getattr(ENGLISH, name), str)]


def _text(name: str) -> tuple[str, ...]:
    places = ", ".join(f"`{{{place}}}`" for place in sorted(PLACES.get(name, ())))
    return f"`{name}`", places, getattr(ENGLISH, name).replace("\n\n", " ¶ ")
