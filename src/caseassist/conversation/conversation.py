"""A conversation: the session, where the dialogue stands in it, and what a reply makes of both.

A conversation is a value and is never changed. ``start``, ``reply`` and ``answer`` return a :class:`Turn`: the records
that were decided, to be appended in one go, and the conversation as of after them. All that it knows is in the records,
so any process can go on with it: ``Conversation(dialogue, Session.fold(records))``.

    >>> conversation = Conversation(Dialogue(), Session(id="c1"))
    >>> turn = conversation.start(context=Context(client_id=client_id_from("jo", "bot")), at=now)
    >>> turn.conversation.prompt.text
    'Hello! What is the problem? A sentence or two will do.'
    >>> turn = turn.conversation.reply("My generator stops after a minute", at=now)
    >>> turn.conversation.need
    <Classify of c1>
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.memory import remembered
from caseassist.conversation.prompting import chosen_by, is_greeting, prompt_of, says_solved
from caseassist.conversation.prompts import Prompt
from caseassist.conversation.steps import ENDS
from caseassist.conversation.texts import Texts
from caseassist.conversation.turning import REPLIES, Turning, add, describe, greets, select_automatically
from caseassist.core.errors import ActionError, RepeatedMessage, ServiceError, TicketNotCreated
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.records import Record
from caseassist.core.session import IDLE_S, Session

__all__ = ["Classify", "Conversation", "FileTicket", "Need", "SuggestDocuments", "Turn"]


class _Need(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    ticket: Ticket
    """The ticket that it is about: once that has changed, an answer is late."""

    def __repr__(self) -> str:  # the ticket is personal
        return f"<{type(self).__name__} of {self.session_id}>"


class Classify(_Need, frozen=True, kw_only=True):
    """The conversation waits for :meth:`SuggestionService.classify`."""


class SuggestDocuments(_Need, frozen=True, kw_only=True):
    """The conversation waits for :meth:`SuggestionService.suggest_documents`."""


class FileTicket(_Need, frozen=True, kw_only=True):
    """The conversation waits for :meth:`TicketCreator.create_ticket`, with the session id as the key."""


Need: TypeAlias = Classify | SuggestDocuments | FileTicket


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a message or an answer made."""

    conversation: "Conversation"
    """As of after the records."""
    records: tuple[Record, ...] = ()
    """To be appended in one go; none if nothing was to be done."""
    repeated: bool = False
    """The message had its turn before."""
    late: bool = False
    """The answer was not waited for any more: the ticket has changed since, or somebody else answered."""


class Conversation:
    """Where a dialogue stands in a session. See the head of this module.

    ``dialogue``: what to ask and to show. ``session``: as its records tell it; a new one to be started.
    """

    __slots__ = ("dialogue", "memory", "session")

    def __init__(self, dialogue: Dialogue, session: Session) -> None:
        self.dialogue = dialogue
        self.session = session
        self.memory = remembered(dialogue, session)

    def __repr__(self) -> str:
        return f"<Conversation {self.session.id} {self.step}>"

    @property
    def step(self) -> str:
        """Where it stands: one of the steps of the table in :mod:`caseassist.conversation.steps`."""
        return self.memory.step

    @property
    def ended(self) -> bool:
        """Whether the session has ended; another one is to be started for more."""
        return self.step in ENDS

    @property
    def need(self) -> Need | None:
        """What the conversation waits for, if it is not the person. Give what comes to :meth:`answer`."""
        kinds: dict[str, type[Need]] = {"classifying": Classify, "suggesting": SuggestDocuments, "filing": FileTicket}
        kind = kinds.get(self.step)
        return None if kind is None else kind(session_id=self.session.id, ticket=self.session.ticket)

    @property
    def prompt(self) -> Prompt:
        """What to say now. It is the same in every process, and there is always a way on in it."""
        return prompt_of(self.dialogue, self.session, self.memory)

    def start(
        self,
        text: str | None = None,
        *,
        ticket: Ticket | Mapping[str, Any] | None = None,
        context: Context,
        message_id: str | None = None,
        at: datetime,
    ) -> Turn:
        """A person comes, and may have told the problem already.

        ``text``: their first message; it is added to the description if the ticket has one. ``ticket``, ``context``: as
        for :meth:`Session.start`; the dialogue's language is taken where the context has none. Raises as
        :meth:`Session.start` does, and InvalidAction for a message id.
        """
        if context.language is None:
            context = msgspec.structs.replace(context, language=self.dialogue.language)
        started = self.session.start(ticket, context, at=at)
        told = (text or "").strip()

        def decide(turn: Turning) -> None:
            if not greets(turn, told) and turn.session.ticket.description is not None:
                add(turn, told)
            turn.go_on()
            if not greets(turn, told) and turn.memory.step == "describing":
                describe(turn, told)

        def greet(turn: Turning) -> None:
            turn.go_on()

        return self._turn(decide, message_id, at, text=text, started=started, otherwise=greet)

    def reply(
        self, text: str | None = None, *, choice: str | None = None, message_id: str | None = None, at: datetime
    ) -> Turn:
        """The person answers, in words or by a choice. Whatever it is, the conversation goes on.

        ``text``: any text. ``choice``: the id of a choice of the prompt. ``message_id``: the platform's id of the
        message; with one that had its turn, nothing is done. Raises InvalidAction if that is no id, or for ``at``.
        """
        if self.ended:
            return Turn(conversation=self, repeated=message_id in self.session.message_ids)

        chosen = chosen_by(self.prompt, self._texts, text, choice)

        def decide(turn: Turning) -> None:
            if chosen == "leave":
                turn.follow("leave")
                turn.act(turn.session.quit(at=at))
            elif choice is not None and chosen is None:
                turn.notice("gone")
            elif (
                chosen is None
                and self.step in ("asking", "rating", "reviewing")
                and says_solved(self._texts, text or "")
            ):
                turn.follow("help")
                turn.act(turn.session.solve(at=at))
            else:
                REPLIES[self.step](turn, chosen, (text or "").strip())

        return self._turn(decide, message_id, at, text=text if chosen is None else None)

    def wants_new(self, text: str | None = None, *, choice: str | None = None) -> bool:
        """Whether a reply to a conversation that has ended asks for a new one: the choice, words, or a hello."""
        if not self.ended:
            return False
        hello = text is not None and is_greeting(self.dialogue, text)
        return hello or chosen_by(self.prompt, self._texts, text, choice) == "new"

    def left_long_ago(self, at: datetime) -> bool:
        """Whether it has ended and nobody has its end in mind any more: it expired, or ended a visit's length ago."""
        last_at = self.session.last_at
        return self.ended and (
            "expired" in self.memory.notices or last_at is None or (at - last_at).total_seconds() >= IDLE_S
        )

    def answer(
        self, need: Need, answer: ClassificationsOffered | DocumentsOffered | str | ServiceError, *, at: datetime
    ) -> Turn:
        """A service answers what the conversation waits for, or fails to.

        ``need``: what was asked. ``answer``: the offer, for a ticket its id in the helpdesk, or the error.
        """
        if need != self.need:
            return Turn(conversation=self, late=True)

        def decide(turn: Turning) -> None:
            match need, answer:
                case Classify(), ClassificationsOffered():
                    turn.act(turn.session.offer_classifications(answer, at=at))
                    turn.remember(classified=True)
                    select_automatically(turn, answer)
                    turn.go_on()
                case SuggestDocuments(), DocumentsOffered():
                    shown = msgspec.structs.replace(answer, documents=answer.documents[: self.dialogue.documents])
                    turn.act(turn.session.offer_documents(shown, at=at))  # what is not shown is not offered
                    turn.remember(suggested=True)
                    if answer.documents and turn.work().documents_left:
                        turn.follow("show")
                    else:
                        turn.notice("no_documents")
                        turn.go_on()
                case FileTicket(), str():
                    turn.follow("be_filed")
                    turn.act(turn.session.create(answer, at=at))
                case _:
                    fail(turn)

        def fail(turn: Turning) -> None:
            if isinstance(need, FileTicket):
                unsure = not isinstance(answer, TicketNotCreated) or answer.maybe_created
                turn.notice("not_known" if unsure else "not_filed")
                turn.remember(unsure=turn.memory.unsure or unsure)
                turn.follow("not_be_filed")
            else:
                turn.notice("no_suggestions")
                turn.remember(classified=turn.memory.classified or isinstance(need, Classify))
                turn.remember(suggested=turn.memory.suggested or isinstance(need, SuggestDocuments))
                turn.go_on()

        return self._turn(decide, None, at, keep_notices=True, otherwise=fail)

    @property
    def _texts(self) -> Texts:
        return self.dialogue.texts_for(self.session.context.language)

    def _turn(
        self,
        decide: Callable[[Turning], None],
        message_id: str | None,
        at: datetime,
        *,
        text: str | None = None,
        started: tuple[Record, ...] = (),
        keep_notices: bool = False,
        otherwise: Callable[[Turning], None] | None = None,
    ) -> Turn:
        """Have a turn decided; if the session refuses what it decided, then what is to happen ``otherwise``."""

        def turning() -> Turning:
            memory = self.memory if keep_notices else msgspec.structs.replace(self.memory, notices=())
            return Turning(self.dialogue, self.session, memory, message_id, at, started, self.memory.notices)

        try:
            turn = turning()
        except RepeatedMessage:
            return Turn(conversation=self, repeated=True)
        try:
            decide(turn)
        except ActionError:  # such as a text that is too long: the turn is taken all the same
            turn = turning()
            if otherwise is not None:
                otherwise(turn)
            if not keep_notices:
                turn.notice("too_long" if text else "trouble")
        records = turn.done()
        return Turn(conversation=Conversation(self.dialogue, Session.fold(records, self.session)), records=records)
