"""The Python API: the front door, and what is in modules of its own."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

from docs.generators.code import class_section, function_section

import caseassist
from caseassist import diagram
from caseassist.bot import Bot, Message, Reply
from caseassist.conversation.conversation import Classify, Conversation, FileTicket, SuggestDocuments, Turn
from caseassist.conversation.dialogue import Dialogue, Field, Stage
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.conversation.texts import Texts
from caseassist.core.events import ClickEvent, Context, CustomEvent, Ticket
from caseassist.core.fields import language_from_locale
from caseassist.core.records import (
    KeptRecord,
    Record,
    decode,
    decode_blocks,
    decode_lines,
    encode,
    encode_lines,
    schema,
)
from caseassist.core.replay import replay
from caseassist.delivery.reports import Health, Progress, SinkHealth
from caseassist.helpdesks.base import TicketCreator
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.helpdesks.zendesk import ZendeskTickets
from caseassist.script import Player
from caseassist.service.base import SuggestionService
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge
from caseassist.service.suggester import Suggester
from caseassist.sinks.base import Sink
from caseassist.sinks.memory import NullSink
from caseassist.sinks.redacting import RedactingSink, ticket_members
from caseassist.sinks.stream import StreamSink
from caseassist.stores.base import Ack, Quarantined, SinkState, Store, StoreHealth
from caseassist.testing import FakeClock, check_sink, check_store, check_ticket_creator, cut_off
from caseassist.transport import HTTPTransport, Transport
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.reading import Coercion, Received, read_body, read_request
from caseassist.wire.requests import WireFormat
from caseassist.wire.secret import Secret
from caseassist.wire.service import CaseAssistEndpoint

ELSEWHERE: dict[type, str] = {
    Ticket: "[its members](events.md#ticket)",
    Context: "[its members](events.md#context)",
    ClickEvent: "[its members](events.md#clickevent)",
    CustomEvent: "[its members](events.md#customevent)",
    Record: "[its members and form](records.md)",
}
ORDER = (
    "CaseAssist", "Case", "Session", "Context", "Ticket", "ClickEvent", "CustomEvent", "client_id_from", "Record",
    "LifeCycle", "MemorySink", "FileSink", "HTTPSink", "MemoryStore", "SQLiteStore",
    "DrainReport", "CaseAssistError",
)  # fmt: skip
MORE: dict[str, tuple[Callable[..., Any], ...]] = {
    "Bots": (Bot, Message, Reply, Prompt, Choice, Card),
    "Conversations": (
        Dialogue, Stage, Field, Texts, Conversation, Turn, Classify, SuggestDocuments, FileTicket,
    ),
    "Suggestions": (SuggestionService, CustomerService, Suggester, CaseAssistEndpoint, Knowledge),
    "Sinks": (Sink, StreamSink, NullSink, RedactingSink, ticket_members),
    "Stores": (Store, Ack, SinkState, Quarantined, StoreHealth),
    "What delivery tells": (Progress, Health, SinkHealth),
    "Helpdesks": (TicketCreator, ZendeskTickets, MemoryTickets),
    "Tests of your own": (check_store, check_sink, check_ticket_creator, FakeClock, cut_off),
    "Sending to Coveo": (Endpoint, WireFormat, Secret, Transport, HTTPTransport),
    "Records and scripts": (
        KeptRecord, encode, encode_lines, decode, decode_lines, decode_blocks, replay, schema, Player,
        diagram.mermaid, diagram.svg,
    ),
    "Reading requests back": (read_request, read_body, Received, Coercion, language_from_locale),
}  # fmt: skip

INTRODUCTION = """\
# Python API

The names of the first part come from `caseassist` itself. The second part has what is in modules of its own: for
bots, for writing sinks and stores, for own endpoints, and for work on logs. [Errors](errors.md) and
[events](events.md) have pages of their own. What is on none of these pages is not for use from outside and may change.

Arguments after `*` are given by name.
"""


def render() -> str:
    assert sorted(ORDER) == sorted(caseassist.__all__)
    parts = [INTRODUCTION, "## From caseassist\n"]
    parts += [_section(getattr(caseassist, name)) for name in ORDER]
    for title, items in MORE.items():
        parts.append(f"## {title}\n")
        parts += map(_section, items)
    return "\n".join(parts)


def _section(item: Callable[..., Any]) -> str:
    if isinstance(item, FunctionType):
        return function_section(item, "###")
    assert isinstance(item, type)
    section = class_section(item, "###", members=item not in ELSEWHERE, constructor=item is not caseassist.Case)
    if item is caseassist.CaseAssistError:
        return section + "\nAll errors are on [a page of their own](errors.md).\n"
    return f"{section}\nSee {ELSEWHERE[item]}.\n" if item in ELSEWHERE else section
