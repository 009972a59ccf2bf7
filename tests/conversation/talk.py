"""One person in a conversation that is led by hand: what a Bot does, without I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from caseassist.conversation.conversation import Classify, Conversation, FileTicket, SuggestDocuments, Turn
from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.prompts import Prompt
from caseassist.core.errors import NoSuggestions, TicketNotCreated
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.identity import client_id_from
from caseassist.core.records import Record, action_name, decode, encode
from caseassist.core.session import Session
from caseassist.core.suggestions import read_classifications, read_documents

__all__ = ["DOWN", "NOW", "PROBLEM", "Talk", "context", "documents", "proposals"]

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PROBLEM = "My GC110 stops after a minute"
DOWN = NoSuggestions("down")


def context(language: str | None = "en", search_hub: str | None = "support-bot") -> Context:
    return Context(client_id=client_id_from("jo", "bot"), search_hub=search_hub, language=language)


def proposals(response: str = "r1", **fields: Mapping[str, float]) -> ClassificationsOffered:
    """Values for fields, each with a confidence; their ids are the field and a number."""
    return read_classifications(
        {
            "responseId": response,
            "fields": {
                name: {
                    "predictions": [
                        {"id": f"{name}-{number}", "value": value, "confidence": confidence}
                        for number, (value, confidence) in enumerate(values.items(), 1)
                    ]
                }
                for name, values in fields.items()
            },
        }
    )


def documents(*titles: str, response: str = "s1", **members: Any) -> DocumentsOffered:
    """Documents, whose ids are d1, d2 and so on. ``members``: of each."""
    return read_documents(
        {
            "responseId": response,
            "documents": [
                {
                    "title": title,
                    "clickUri": f"https://docs.example/{number}",
                    "fields": {"permanentid": f"d{number}", "source": "Docs"},
                }
                | members
                for number, title in enumerate(titles, 1)
            ],
        }
    )


class Talk:
    """A conversation, its log, and what services answer in it unless a test says otherwise."""

    def __init__(
        self,
        dialogue: Dialogue | None = None,
        session: Session | None = None,
        *,
        classified: ClassificationsOffered | NoSuggestions | None = None,
        suggested: DocumentsOffered | NoSuggestions | None = None,
        tickets: Sequence[str | TicketNotCreated] = ("T-1",),
    ) -> None:
        self.conversation = Conversation(dialogue or Dialogue(), session or Session(id="c1"))
        self.log: list[Record] = []
        self.classified = classified or proposals(category={"Electrical": 0.6, "Fuel": 0.3})
        self.suggested = suggested or documents("Ignition", "Air & fuel")
        self.tickets = list(tickets)

    def start(self, text: str | None = None, ticket: Any = None, *, language: str | None = "en", **more: Any) -> Prompt:
        turn = self.conversation.start(text, ticket=ticket, context=context(language, **more), at=NOW)
        return self._go_on(turn)

    def say(self, text: str, message_id: str | None = None) -> Prompt:
        return self._go_on(self.conversation.reply(text, message_id=message_id, at=NOW))

    def press(self, choice: str) -> Prompt:
        return self._go_on(self.conversation.reply(choice=choice, at=NOW))

    def take(self, turn: Turn) -> Prompt:
        """Only what one turn makes: services are not asked."""
        self.log += turn.records
        stored = [decode(encode(record)) for record in turn.records]
        assert Session.fold(stored, self.conversation.session) == turn.conversation.session
        self.conversation = turn.conversation
        return self.prompt

    def serve(self) -> Prompt:
        """Have services answer until the conversation waits for the person."""
        while (need := self.conversation.need) is not None:
            answer: Any
            match need:
                case Classify():
                    answer = self.classified
                case SuggestDocuments():
                    answer = self.suggested
                case FileTicket():
                    answer = self.tickets.pop(0)
            self.take(self.conversation.answer(need, answer, at=NOW))
        return self.prompt

    def _go_on(self, turn: Turn) -> Prompt:
        self.take(turn)
        return self.serve()

    @property
    def prompt(self) -> Prompt:
        return self.conversation.prompt

    @property
    def ticket(self) -> Ticket:
        return self.conversation.session.ticket

    @property
    def choices(self) -> list[str]:
        return [choice.id for choice in self.prompt.choices]

    @property
    def labels(self) -> list[str]:
        return [choice.label for choice in self.prompt.choices]

    @property
    def told(self) -> list[str]:
        """The events so far by name, turns left out."""
        names = [action_name(record.event) for record in self.log]
        return [name for name in names if name != "turn_taken"]
