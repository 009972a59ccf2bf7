"""The actions as tools for a language model: what each of them does, whatever framework calls it.

A model drives a session with them and cannot make an illegal step: the session decides, as for everybody else. A call
that is wrong (an action that the state does not allow, an id that was not suggested, a rating of 7) records nothing and
is answered with what is wrong and what is possible, so that the model can do better. No call raises for what a model
did.

Everything is in the store, so any worker can take any call. The sessions of a conversation are those that a
:class:`caseassist.bot.Bot` of the same name has: the ready dialogue can go on where a model stopped, and the other way.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

import anyio
import msgspec

from caseassist.chats import Chats, Latest, answer_in_time, language_of, ticket_key
from caseassist.core import fields
from caseassist.core.errors import (
    AppendUnknown,
    CaseAssistError,
    Forked,
    IllegalTransition,
    InvalidAction,
    NoSuggestions,
    NotRunning,
    SequenceConflict,
    ServiceError,
    StoreError,
    TicketNotCreated,
    UnknownSuggestion,
)
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.helpdesks.base import TicketCreator
from caseassist.integrations.tool_answers import UnknownTool, next_step, shown, suggestions_of, told
from caseassist.integrations.tool_kinds import (
    KINDS,
    TOOLS,
    Arguments,
    CreateTicket,
    Leave,
    MarkSolved,
    NextStage,
    OpenDocument,
    RateDocument,
    SelectClassification,
    ShowCase,
    StartCase,
    SuggestClassifications,
    SuggestDocuments,
    UpdateField,
    instructions,
    read,
)
from caseassist.live import CaseAssist
from caseassist.service.base import SuggestionService

__all__ = ["CaseTools", "Chat"]

CONFLICTS = 8
"""How often a call is decided anew because another worker was faster with another one."""


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model talks to somebody, and to whom."""

    conversation_id: str
    """Of the chat, channel or thread: one person's, and the same as long as it goes on."""
    user_id: str | None = None
    """Your id of the person: their client id is made of it. The conversation id counts if there is none."""
    language: str | None = None
    """Their language, or locale, such as ``fr-CA``."""
    ticket: Ticket | Mapping[str, Any] | None = None
    """What is known of a case when it begins."""

    def __repr__(self) -> str:  # what is in it is personal
        return "<Chat>"


class _Line:
    """Who waits for their turn in a conversation."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.users = 0


Offered = TypeVar("Offered")


class CaseTools:
    """Carries out the tool calls of language models, for any number of conversations at once.

    ``assist``: where sessions are recorded; open it before, close it after. Its context needs a search hub if there is
    a service. ``tickets``: files tickets. ``service``: gives suggestions; without one there are no tools that need
    them. ``name``: of the bot; give a :class:`caseassist.bot.Bot` the same one to share conversations with it.
    ``language``: of people whose chat and context name none. ``service_timeout_s``, ``ticket_timeout_s``: seconds that
    a call waits for suggestions and for a ticket, whatever the services themselves promise.

    Raises ValueError for a name that is empty, seconds that are not positive, or a search hub that is missing.
    """

    def __init__(
        self,
        assist: CaseAssist,
        *,
        tickets: TicketCreator,
        service: SuggestionService | None = None,
        name: str = "caseassist",
        language: str = "en",
        service_timeout_s: float = 5.0,
        ticket_timeout_s: float = 20.0,
    ) -> None:
        if not (service_timeout_s > 0 and ticket_timeout_s > 0):
            raise ValueError("service_timeout_s and ticket_timeout_s must be positive")
        if service is not None and not assist.context.search_hub:
            raise ValueError("the context needs a search hub, without which no opened document can be logged")
        self.assist = assist
        self._chats = Chats(assist, name)
        self.language = fields.language_from_locale(language)
        self.tools = tuple(tool for tool in TOOLS if service is not None or not KINDS[tool.name].suggests)
        """The tools that there are."""
        self.instructions = instructions(suggests=service is not None)
        """What to tell a model about them."""
        self._kinds = {tool.name: KINDS[tool.name] for tool in self.tools}
        self._tickets = tickets
        self._service = service
        self._service_timeout_s = service_timeout_s
        self._ticket_timeout_s = ticket_timeout_s
        self._lines: dict[str, _Line] = {}

    async def call(self, chat: Chat, tool: str, arguments: Any = None, *, call_id: str | None = None) -> dict[str, Any]:
        """Carry out a call of a model, and return what to answer, as plain JSON data.

        ``arguments``: as the model gave them, a JSON object or its text; they are checked here. ``call_id``: the
        framework's id of the call: with one that was carried out in this session or the one before, nothing happens
        again. Calls of one conversation are carried out one after the other, also by several workers on one store.

        The answer has ``ok``, and how the case stands now: ``state``, ``stage``, ``ticket``, ``allowed`` (tools). With
        ``ok`` there may be ``suggestions``, ``document`` and ``repeated``; without, there is ``error`` (``type``,
        ``message``, and ``rule``, ``path``, ``allowed`` where they apply), ``next`` (what to do), and nothing was
        recorded; of an AppendUnknown, nobody knows.

        Raises NotRunning and Forked, and InvalidAction if ``chat`` holds a ticket that breaks a rule: no model can
        help that.
        """
        async with self._turn(chat) as key:
            found: Latest | None = None
            try:
                found = await self._chats.latest(key)
                return await self._carry_out(chat, key, found, tool, arguments, call_id)
            except (NotRunning, Forked, _BadTicket) as error:
                raise error.__cause__ or error from None
            except CaseAssistError as error:
                return await self._refusal(key, found, tool, error)

    async def allowed(self, chat: Chat) -> tuple[str, ...]:
        """The names of the tools that the state of the chat's case allows.

        All of them if the store cannot say: a call will tell what is wrong. Raises NotRunning and Forked.
        """
        async with self._turn(chat) as key:
            try:
                return self._allowed((await self._chats.latest(key)).session)
            except StoreError:
                return tuple(self._kinds)

    async def session_ids(self, conversation_id: str) -> list[str]:
        """The ids of a conversation's sessions that the store has, the latest last: as :meth:`Bot.session_ids`."""
        return await self._chats.session_ids(conversation_id)

    @asynccontextmanager
    async def _turn(self, chat: Chat) -> AsyncGenerator[str, None]:
        """Wait for one's turn in a conversation. First come, first served: a model means its calls in their order."""
        key = self._chats.key(chat.conversation_id)
        line = self._lines.setdefault(key, _Line())
        line.users += 1
        try:
            async with line.lock:
                yield key
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[key]

    # How a call is carried out.

    async def _carry_out(
        self, chat: Chat, key: str, found: Latest, tool: str, arguments: Any, call_id: str | None
    ) -> dict[str, Any]:
        message_id = self._chats.message_id(call_id)
        kind = self._kinds.get(tool)
        unsure = False
        tries = 0
        while True:
            tries += 1
            session = found.session
            if message_id in session.message_ids or message_id in found.earlier:
                shows = kind is not None and kind.shows
                return self._answer(session, shows=shows) | ({} if unsure else {"repeated": True})
            if kind is None:
                raise UnknownTool(self._allowed(session))
            self._require(kind, session)
            given = read(kind, arguments)
            if isinstance(given, ShowCase):
                return self._answer(session, shows=True)
            at = self.assist.clock()
            if isinstance(given, StartCase):
                session = self._chats.next(session) if session.next_seq else session
                records = self._start(chat, session, message_id, at)
            else:
                records = await self._decided(given, session, message_id, at)
            try:
                await self.assist.append(records)
            except (SequenceConflict, AppendUnknown) as error:
                unsure = unsure or isinstance(error, AppendUnknown)
                try:
                    found = await self._chats.latest(key)
                except StoreError:  # it would say that nothing was recorded
                    raise error from None
                if tries >= CONFLICTS and message_id not in found.session.message_ids:
                    raise
            else:
                session = Session.fold(records, session)
                return self._answer(session, shows=kind.shows) | shown(given, session)

    def _require(self, kind: type[Arguments], session: Session) -> None:
        """Raise IllegalTransition unless the state allows a tool."""
        if kind.tool in self._allowed(session):
            return
        raise IllegalTransition(session.state, kind.tool, self._allowed(session))

    def _allowed(self, session: Session) -> tuple[str, ...]:
        """The tools that the state of a session allows."""
        actions = {*session.life_cycle.allowed(session.state)} if session.active else {"start"}
        return tuple(name for name, kind in self._kinds.items() if kind.action is None or kind.action in actions)

    def _start(self, chat: Chat, session: Session, message_id: str, at: datetime) -> tuple[Record, ...]:
        language = language_of(chat.language) or self.assist.context.language or self.language
        try:
            context = self.assist.context_of(
                client_id=self._chats.client_id(chat.conversation_id, chat.user_id),
                context={"language": language},
            )
            started = session.start(chat.ticket, context, at=at)
        except InvalidAction as error:
            raise _BadTicket from error
        return started + Session.fold(started, session).take_turn(message_id, at=at)

    async def _decided(self, given: Arguments, session: Session, message_id: str, at: datetime) -> tuple[Record, ...]:
        """The turn, and what a call makes of a session that is under way."""
        turn = session.take_turn(message_id, at=at)
        try:
            return turn + await self._decide(given, Session.fold(turn, session), at)
        except IllegalTransition:  # a life cycle of the user's own refuses: it speaks of actions, we of tools
            allowed = tuple(name for name in self._allowed(session) if name != given.tool)
            raise IllegalTransition(session.state, given.tool, allowed) from None

    async def _decide(self, given: Arguments, session: Session, at: datetime) -> tuple[Record, ...]:
        match given:
            case UpdateField():
                return session.update_field(given.field_name, given.value, at=at)
            case SelectClassification():
                chosen = given.auto_selection or False
                return session.select_classification(given.classification_id, auto_selection=chosen, at=at)
            case OpenDocument():
                return session.open_document(given.suggestion_id, at=at)
            case RateDocument():
                return session.rate_document(given.suggestion_id, given.rate, at=at)
            case NextStage():
                return session.next_stage(given.stage, at=at)
            case MarkSolved():
                return session.solve(at=at)
            case Leave():
                return session.quit(at=at)
            case SuggestClassifications():
                assert self._service is not None
                return self._offer(session, await self._suggestions(self._service.classify, session), at)
            case SuggestDocuments():
                assert self._service is not None
                return self._offer(session, await self._suggestions(self._service.suggest_documents, session), at)
            case CreateTicket():
                ticket_id = await answer_in_time(
                    lambda: self._tickets.create_ticket(session.ticket, session.context, key=ticket_key(session)),
                    TicketNotCreated,
                    self._ticket_timeout_s,
                )
                if isinstance(ticket_id, ServiceError):
                    raise ticket_id
                try:
                    return session.create(ticket_id, at=at)
                except InvalidAction as error:
                    problem = f"the helpdesk gave an id that cannot be recorded: {error.problem}"
                    raise TicketNotCreated(problem, maybe_created=True) from None
            case _:  # pragma: no cover (the others never come here)
                raise AssertionError(given)

    async def _suggestions(self, ask: Callable[[Ticket, Context], Awaitable[Offered]], session: Session) -> Offered:
        answer = await answer_in_time(
            lambda: ask(session.ticket, session.context), NoSuggestions, self._service_timeout_s
        )
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    def _offer(
        self, session: Session, offer: ClassificationsOffered | DocumentsOffered, at: datetime
    ) -> tuple[Record, ...]:
        try:
            if isinstance(offer, ClassificationsOffered):
                return session.offer_classifications(offer, at=at)
            return session.offer_documents(offer, at=at)
        except InvalidAction as error:  # the model cannot help what a service answers
            raise NoSuggestions(f"the suggestions cannot be recorded: {error}") from None

    # What is answered.

    def _answer(self, session: Session, *, ok: bool = True, shows: bool = False) -> dict[str, Any]:
        answer = {
            "ok": ok,
            "state": session.state,
            "stage": session.stage,
            "ticket": msgspec.to_builtins(session.ticket),
            "allowed": list(self._allowed(session)),
        }
        return answer | ({"suggestions": suggestions_of(session)} if shows else {})

    async def _refusal(self, key: str, found: Latest | None, tool: str, error: CaseAssistError) -> dict[str, Any]:
        """What to answer to a call that was refused or failed, with the state as it is now."""
        if isinstance(error, SequenceConflict | AppendUnknown):  # what was found is old
            found = None
        if found is None:
            try:
                found = await self._chats.latest(key)
            except StoreError:
                return {"ok": False, "error": told(error, None), "next": next_step(error, tool)}
        session = found.session
        answer = self._answer(session, ok=False, shows=isinstance(error, UnknownSuggestion))
        return answer | {"error": told(error, session), "next": next_step(error, tool)}


class _BadTicket(Exception):
    """What the program gave for a chat breaks a rule; the cause says which."""
