"""What a language model does with the tools, whatever framework calls them: conversations, and calls that are wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.integrations.conversations import CONTEXT, PROBLEM, Service, Tickets, story, told

from caseassist.core.session import Session
from caseassist.integrations.tools import CaseTools, Chat
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore

__all__ = [
    "CALLS",
    "CHAT",
    "WRONG",
    "Call",
    "Wrong",
    "log_of",
    "opened",
    "records_of",
    "told_without_turns",
    "tools_of",
]

CHAT = Chat(conversation_id="c1")


class Call(NamedTuple):
    tool: str
    arguments: Any = {}  # noqa: RUF012 (nobody changes it)


def _fill(**members: Any) -> list[Call]:
    return [Call("update_field", {"field_name": name, "value": value}) for name, value in members.items()]


TOLD = (
    Call("start_case"),
    *_fill(subject="My GC110 generator stops after a minute.", description=PROBLEM),
    Call("next_stage", {"stage": "classify"}),
    Call("suggest_classifications"),
)


def _select(classification_id: str) -> Call:
    return Call("select_classification", {"classification_id": classification_id, "auto_selection": None})


DOCUMENTS = (Call("next_stage", {"stage": "documents"}), Call("suggest_documents"))


def _open(suggestion_id: str) -> Call:
    return Call("open_document", {"suggestion_id": suggestion_id})


def _rate(suggestion_id: str, rate: float) -> Call:
    return Call("rate_document", {"suggestion_id": suggestion_id, "rate": rate})


CALLS: dict[str, Sequence[Call]] = {
    "solved": (
        *TOLD, _select("c1"), *DOCUMENTS, _open("d2"), _rate("d2", 0), _open("d1"), _rate("d1", 1), Call("mark_solved"),
    ),
    "created": (
        *TOLD, *_fill(category="purple!"), *DOCUMENTS, Call("next_stage", {"stage": "review"}), _select("c2"),
        Call("create_ticket"),
    ),
    "left": (*TOLD, _select("c2"), *DOCUMENTS, Call("leave")),
}  # fmt: skip
"""The conversations of ``conversations.py``, as a model records them."""


class Wrong(NamedTuple):
    before: Sequence[Call]
    call: Call
    type: str
    path: str | None
    next: str
    """A tool, argument or other thing that the advice speaks of."""


SUGGESTED = (*TOLD, *DOCUMENTS)

WRONG: dict[str, Wrong] = {
    "create before start": Wrong((), Call("create_ticket"), "IllegalTransition", None, "start_case"),
    "fill before start": Wrong((), _fill(subject="x")[0], "IllegalTransition", None, "start_case"),
    "suggest before start": Wrong((), Call("suggest_documents"), "IllegalTransition", None, "start_case"),
    "open before there are suggestions": Wrong(TOLD[:2], _open("d1"), "IllegalTransition", None, "allowed tools"),
    "start twice": Wrong(TOLD[:1], Call("start_case"), "IllegalTransition", None, "under way"),
    "solve after the end": Wrong(CALLS["left"], Call("mark_solved"), "IllegalTransition", None, "start_case"),
    "unknown classification": Wrong(
        SUGGESTED, _select("c9"), "UnknownSuggestion", "$.classification_id", "suggestions"
    ),
    "unknown document": Wrong(SUGGESTED, _open("d9"), "UnknownSuggestion", "$.suggestion_id", "suggestions"),
    "rate an unknown document": Wrong(SUGGESTED, _rate("c1", 1), "UnknownSuggestion", "$.suggestion_id", "suggestions"),
    "rating 7": Wrong(SUGGESTED, _rate("d1", 7), "InvalidAction", "$.rate", "argument"),
    "rating in words": Wrong(
        SUGGESTED, Call("rate_document", {"suggestion_id": "d1", "rate": "good"}), "InvalidAction", "$.rate", "argument"
    ),
    "an argument too many": Wrong(
        TOLD[:1], Call("next_stage", {"stage": "x", "name": "y"}), "InvalidAction", "$.name", "argument"
    ),
    "an argument too few": Wrong(
        TOLD[:1], Call("update_field", {"field_name": "subject"}), "InvalidAction", "$.value", "argument"
    ),
    "an empty id": Wrong(SUGGESTED, _open(""), "InvalidAction", "$.suggestion_id", "argument"),
    "the ticket's id as a field": Wrong(TOLD[:1], _fill(id="1")[0], "InvalidAction", "$.field_name", "argument"),
    "a number as the subject": Wrong(TOLD[:1], _fill(subject=7)[0], "InvalidAction", "$.value", "argument"),
    "a text that is too long": Wrong(
        TOLD[:1], _fill(description="x" * 70_000)[0], "InvalidAction", "$.value", "argument"
    ),
    "arguments that are no object": Wrong(TOLD[:1], Call("next_stage", "[1]"), "InvalidAction", "$", "argument"),
    "arguments that are no JSON": Wrong(TOLD[:1], Call("next_stage", '{"stage": '), "InvalidAction", "$", "argument"),
}
"""Calls that a model gets wrong. Each is answered so that it can do better, and records nothing."""


def opened(path: Path | None = None) -> CaseAssist:
    """Where sessions are recorded: in a file if there is one, so that another worker can go on."""
    return CaseAssist(CONTEXT, store=None if path is None else SQLiteStore(path))


def tools_of(assist: CaseAssist, tickets: Tickets | None = None) -> CaseTools:
    return CaseTools(assist, tickets=tickets or Tickets(), service=Service())


async def records_of(tools: CaseTools, chat: Chat = CHAT) -> list[Any]:
    """All records of a chat. Its sessions must fold: no step in them is illegal."""
    records: list[Any] = []
    for session_id in await tools.session_ids(chat.conversation_id):
        found = await tools.assist.load(session_id)
        Session.fold(found)
        records += found
    return records


def without_turns(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A log without the turns, which are one for each call here and one for each message there, numbered anew."""
    events = [record for record in log if record["event"]["action"] != "turn_taken"]
    return [record | {"seq": seq} for seq, record in enumerate(events)]


async def log_of(tools: CaseTools, chat: Chat = CHAT) -> list[dict[str, Any]]:
    return without_turns(story(await records_of(tools, chat)))


async def told_without_turns(name: str) -> list[dict[str, Any]]:
    return without_turns(await told(name))
