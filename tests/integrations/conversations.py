"""Conversations that every integration must be able to hold, and the log that each of them makes.

The same conversation makes the same log everywhere: what differs are the ids of sessions, people and messages, and the
times, and :func:`story` leaves these out.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from caseassist.bot import Bot, Message
from caseassist.core.errors import NoSuggestions, TicketNotCreated
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.records import Record
from caseassist.core.suggestions import read_classifications, read_documents
from caseassist.live import CaseAssist

__all__ = ["CONTEXT", "CONVERSATIONS", "Said", "Service", "Tickets", "choice", "story", "text", "told"]

CONTEXT = Context(search_hub="support-bot", language="en")

CLASSIFICATIONS: dict[str, Any] = {
    "responseId": "classify-1",
    "fields": {
        "category": {
            "predictions": [
                {"id": "c1", "value": "Electrical", "confidence": 0.6},
                {"id": "c2", "value": "Mechanical", "confidence": 0.3},
            ]
        }
    },
}
DOCUMENTS: dict[str, Any] = {
    "responseId": "suggest-1",
    "documents": [
        {
            "title": title,
            "clickUri": f"https://support.example.com/{permanentid}",
            "excerpt": f"About: {title}",
            "fields": {"permanentid": permanentid, "source": "Docs", "uri": f"https://docs.example.com/{permanentid}"},
        }
        for permanentid, title in (("d1", "Ignition <basics> & more"), ("d2", "Fuel and *air*"))
    ],
}


class Service:
    """Gives the same suggestions to everybody, or fails while it is ``down``."""

    def __init__(self) -> None:
        self.down = False
        self.calls = 0

    async def classify(self, ticket: Ticket, context: Context) -> ClassificationsOffered:
        self._call()
        return read_classifications(CLASSIFICATIONS)

    async def suggest_documents(self, ticket: Ticket, context: Context) -> DocumentsOffered:
        self._call()
        return read_documents(DOCUMENTS)

    def _call(self) -> None:
        self.calls += 1
        if self.down:
            raise NoSuggestions("down")


class Tickets:
    """Files tickets: ``CASE-1``, ``CASE-2``, … one for each key. Fails ``failures`` times first."""

    def __init__(self, failures: int = 0) -> None:
        self.filed: dict[str, str] = {}
        self.tickets: list[Ticket] = []
        self.failures = failures

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> str:
        if self.failures:
            self.failures -= 1
            raise TicketNotCreated("down")
        if key not in self.filed:
            self.filed[key] = f"CASE-{len(self.filed) + 1}"
            self.tickets.append(ticket)
        return self.filed[key]


class Said(NamedTuple):
    """What the person does: writes ``text``, or presses ``choice`` (its id)."""

    text: str | None = None
    choice: str | None = None


def text(what: str) -> Said:
    return Said(text=what)


def choice(what: str) -> Said:
    return Said(choice=what)


PROBLEM = "My GC110 generator stops after a minute.\nIt smells of fuel."

CONVERSATIONS: dict[str, Sequence[Said]] = {
    "solved": (
        text(PROBLEM),
        choice("category:0.1"),
        choice("open:1.2"),
        choice("no:1.2"),
        choice("open:1.1"),
        choice("yes:1.1"),
    ),
    "created": (
        text(PROBLEM),
        text("purple?"),
        text("purple!"),
        choice("none:1"),
        choice("change:category"),
        text("Mechanical"),
        choice("file"),
    ),
    "left": (text("hello"), text(PROBLEM), choice("category:0.2"), text("what?"), choice("leave")),
}
"""By how they end. The first thing said opens the conversation; hello is no problem yet."""


def story(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The log of one session as plain data, without what differs from one platform to the next."""
    told = []
    messages: dict[str, str] = {}
    for record in records:
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
        del data["sessionId"], data["time"], data["context"]["clientId"]
        if "messageId" in data["event"]:
            data["event"]["messageId"] = messages.setdefault(data["event"]["messageId"], f"m{len(messages) + 1}")
        told.append(data)
    return told


async def told(name: str) -> list[dict[str, Any]]:
    """The log that a conversation makes when a Bot is called directly: what every integration is held against."""
    async with CaseAssist(CONTEXT) as assist:
        bot = Bot(assist, tickets=Tickets(), service=Service())
        for number, said in enumerate(CONVERSATIONS[name], 1):
            reply = await bot.reply(
                Message(conversation_id="c1", text=said.text, choice=said.choice, message_id=f"m{number}")
            )
            if said.choice is not None and number < len(CONVERSATIONS[name]):
                assert reply.records
        assert reply.prompt.step == name
        return story(await assist.load(reply.session_id))
