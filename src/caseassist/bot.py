"""The async shell of a conversation: messages in, prompts out, everything that happens in the store.

A :class:`Bot` holds no state that is not in the store, so any worker can take any message. It appends what the
conversation decides, asks the services that the conversation waits for, and says what the conversation says.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio
import msgspec

from caseassist.conversation.conversation import Classify, Conversation, FileTicket, Need, SuggestDocuments
from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.prompts import Prompt
from caseassist.core.erasure import is_erased
from caseassist.core.errors import CaseAssistError, NoSuggestions, SequenceConflict, ServiceError, TicketNotCreated
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.fields import language_from_locale
from caseassist.core.identity import client_id_from
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.helpdesks.base import TicketCreator
from caseassist.live import CaseAssist
from caseassist.service.base import SuggestionService

__all__ = ["Bot", "Message", "Reply"]

CONFLICTS = 8
"""How often a message is decided anew because another worker was faster with another one."""
MAX_ID = 256


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said on a chat platform."""

    conversation_id: str
    """Of the chat, channel or thread on the platform: one person's, and the same as long as it goes on."""
    text: str | None = None
    """What they wrote."""
    choice: str | None = None
    """The id of the choice that they pressed. Neither text nor choice: they opened the chat."""
    message_id: str | None = None
    """The platform's id of the message: with one that was heard before, nothing happens twice."""
    user_id: str | None = None
    """The platform's id of the person: their client id is made of it. The conversation id counts if there is none."""
    language: str | None = None
    """Their language, or locale, such as ``fr-CA``."""
    ticket: Ticket | Mapping[str, Any] | None = None
    """What is known of the case when it begins."""

    def __repr__(self) -> str:  # what is in it is personal
        return "<Message>"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the bot says to a message."""

    prompt: Prompt
    session_id: str
    records: tuple[Record, ...] = ()
    """What was recorded for it, oldest first."""
    repeated: bool = False
    """The message was heard before: nothing was recorded for it again."""


class _Talk:
    """One conversation on the platform, as far as this worker knows it."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.speaking = anyio.Lock()
        """Held from hearing a message until the answer is said: answers come in the order of the messages."""
        self.users = 0
        """How many hold a lock or wait for one."""
        self.number = 0
        """How many sessions it has had."""
        self.conversation: Conversation | None = None
        """Of the latest session. None: look into the store."""
        self.earlier: tuple[str, ...] = ()
        """The messages of the session before."""


class Bot:
    """Leads conversations: one per conversation id, each a sequence of sessions.

    ``assist``: where they are recorded; open it before, close it after. Its context needs a search hub if documents
    are shown. ``tickets``: files tickets. ``service``: gives suggestions; the dialogue goes on without, and says so, if
    there is none. ``dialogue``: what is asked and said. ``name``: of this bot; conversation and user ids are its own,
    so two platforms, or two bots on one store, have two names. ``service_timeout_s``, ``ticket_timeout_s``: seconds
    that the person waits for suggestions and for a ticket, whatever the services themselves promise.
    ``conversations``: how many are kept in memory; a limit on memory, not on how many there are.

    Raises ValueError for a name that is empty, seconds that are not positive, or a search hub that is missing.
    """

    def __init__(
        self,
        assist: CaseAssist,
        *,
        tickets: TicketCreator,
        service: SuggestionService | None = None,
        dialogue: Dialogue | None = None,
        name: str = "caseassist",
        service_timeout_s: float = 5.0,
        ticket_timeout_s: float = 15.0,
        conversations: int = 10_000,
    ) -> None:
        if not name:
            raise ValueError("a bot needs a name: its conversation ids are its own")
        if not (service_timeout_s > 0 and ticket_timeout_s > 0 and conversations > 0):
            raise ValueError("service_timeout_s, ticket_timeout_s and conversations must be positive")
        self.dialogue = Dialogue() if dialogue is None else dialogue
        if any(stage.documents for stage in self.dialogue.stages) and not assist.context.search_hub:
            raise ValueError("the context needs a search hub, without which no opened document can be logged")
        self.assist = assist
        self.name = name
        self._tickets = tickets
        self._service = service
        self._service_timeout_s = service_timeout_s
        self._ticket_timeout_s = ticket_timeout_s
        self._most = conversations
        self._talks: OrderedDict[str, _Talk] = OrderedDict()
        self._said: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def reply(self, message: Message) -> Reply:
        """Take a message, record what it makes, and return what to say.

        Messages of one conversation are taken one after the other, also by several workers on one store. A message that
        was heard before, or that was cut off, is safe to give again: nothing is recorded twice, what was left undone is
        done, and what is to be said now is returned.

        Raises StoreError when nothing can be recorded, InvalidAction for a ticket that breaks a rule, and NotRunning.
        """
        key = self._key(message.conversation_id)
        message_id = _id_of(message.message_id, self.name) or self.assist.new_id()
        talk = self._talk(key)
        talk.users += 1
        try:
            async with talk.lock:
                return await self._hear(key, talk, message, message_id)
        finally:
            talk.users -= 1

    async def answer(self, message: Message, say: Callable[[Prompt], Awaitable[object]]) -> None:
        """Take a message and say what there is to say: as :meth:`reply`, for platforms where that is a message, too.

        ``say``: sends a prompt. It is not called for a message that this worker has answered before. What it raises is
        raised; the message can be given again then. Answers in one conversation are said in the order of its messages.
        If nothing can be recorded, that is said, and raised.
        """
        talk = self._talk(self._key(message.conversation_id))
        talk.users += 1
        try:
            async with talk.speaking:
                await self._answer(message, say)
        finally:
            talk.users -= 1

    async def _answer(self, message: Message, say: Callable[[Prompt], Awaitable[object]]) -> None:
        said = (message.conversation_id, message.message_id or "")
        if message.message_id is not None and said in self._said:
            return
        try:
            reply = await self.reply(message)
        except CaseAssistError:
            await say(self.trouble(message.language))
            raise
        await say(reply.prompt)
        if message.message_id is not None:
            self._said[said] = None
            while len(self._said) > self._most:
                self._said.popitem(last=False)

    def trouble(self, language: str | None = None) -> Prompt:
        """What to say when something failed that the person cannot do anything about."""
        return Prompt(text=self.dialogue.texts_for(_language(language)).trouble, takes_text=True, step="trouble")

    def session_id(self, conversation_id: str, number: int) -> str:
        """The id of the ``number``-th session of a conversation, from 1."""
        return f"{self._key(conversation_id)}-{number}"

    def _key(self, conversation_id: str) -> str:
        return client_id_from(_text(f"conversation {conversation_id}"), self.name)

    def _talk(self, key: str) -> _Talk:
        talk = self._talks.setdefault(key, _Talk())
        self._talks.move_to_end(key)
        if len(self._talks) > self._most:
            for other, idle in self._talks.items():
                if not idle.users and idle is not talk:
                    del self._talks[other]
                    break
        return talk

    async def _hear(self, key: str, talk: _Talk, message: Message, message_id: str) -> Reply:
        """Decide on a message, anew when another worker was faster with another one."""
        records: list[Record] = []
        tries = 0
        while True:
            tries += 1
            try:
                if talk.conversation is None:
                    await self._look_up(key, talk)
                repeated = await self._take(key, talk, message, message_id, records)
                await self._work(talk, records)
            except SequenceConflict:
                talk.conversation = None
                if tries == CONFLICTS:
                    raise
            except BaseException:  # cut off or refused: the store knows what was recorded
                talk.conversation = None
                raise
            else:
                assert talk.conversation is not None
                return Reply(
                    prompt=talk.conversation.prompt,
                    session_id=talk.conversation.session.id,
                    records=tuple(records),
                    repeated=repeated and not records,
                )

    async def _look_up(self, key: str, talk: _Talk) -> None:
        """Find the latest session of a conversation in the store: their numbers have no gaps."""
        low, high = talk.number, talk.number + 1
        while await self.assist.load(f"{key}-{high}"):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if await self.assist.load(f"{key}-{middle}"):
                low = middle
            else:
                high = middle
        talk.number = low
        talk.earlier = (await self._fold(key, low - 1)).message_ids if low > 1 else ()
        talk.conversation = Conversation(self.dialogue, await self._fold(key, low))

    async def _fold(self, key: str, number: int) -> Session:
        """A session as the store has it; a new one if there is none, or if it was erased."""
        session = Session(id=f"{key}-{number}", life_cycle=self.assist.life_cycle)
        records = await self.assist.load(session.id) if number else ()
        if records and is_erased(records[0]):
            return msgspec.structs.replace(session, state="quit", next_seq=records[-1].seq + 1)
        return Session.fold(records, session)

    async def _take(self, key: str, talk: _Talk, message: Message, message_id: str, records: list[Record]) -> bool:
        """Record what a message makes. Returns whether it was heard before."""
        conversation = talk.conversation
        assert conversation is not None
        if message_id in talk.earlier or message_id in conversation.session.message_ids:
            return True
        opens = message.text is None and message.choice is None
        ended = conversation.ended
        if not talk.number or (ended and (opens or conversation.wants_new(message.text, choice=message.choice))):
            session = Session(id=f"{key}-{talk.number + 1}", life_cycle=self.assist.life_cycle)
            turn = Conversation(self.dialogue, session).start(
                None if ended else message.text,
                ticket=message.ticket,
                context=self._context(message),
                message_id=message_id,
                at=self.assist.clock(),
            )
            await self._append(turn.records, records)
            talk.number += 1
            talk.earlier = conversation.session.message_ids
        elif opens:
            return False
        else:
            turn = conversation.reply(
                message.text, choice=message.choice, message_id=message_id, at=self.assist.clock()
            )
            await self._append(turn.records, records)
        talk.conversation = turn.conversation
        return False

    async def _work(self, talk: _Talk, records: list[Record]) -> None:
        """Ask the services that the conversation waits for, until it waits for the person."""
        conversation = talk.conversation
        assert conversation is not None
        while (need := conversation.need) is not None:
            answer = await self._ask(need, conversation.session.context)
            turn = conversation.answer(need, answer, at=self.assist.clock())
            await self._append(turn.records, records)
            talk.conversation = conversation = turn.conversation

    async def _ask(
        self, need: Need, context: Context
    ) -> ClassificationsOffered | DocumentsOffered | str | ServiceError:
        """The answer of a service, or the error that tells why there is none."""
        match need:
            case Classify() | SuggestDocuments() if self._service is None:
                return NoSuggestions("there is no service")
            case Classify():
                assert self._service is not None
                proposed = self._service.classify(need.ticket, context)
                return await _or_error(proposed, NoSuggestions, self._service_timeout_s)
            case SuggestDocuments():
                assert self._service is not None
                suggested = self._service.suggest_documents(need.ticket, context)
                return await _or_error(suggested, NoSuggestions, self._service_timeout_s)
            case FileTicket():
                filed = self._tickets.create_ticket(need.ticket, context, key=need.session_id)
                return await _or_error(filed, TicketNotCreated, self._ticket_timeout_s)

    async def _append(self, decided: tuple[Record, ...], records: list[Record]) -> None:
        if decided:
            await self.assist.append(decided)
            records += decided

    def _context(self, message: Message) -> Context:
        user = message.user_id or message.conversation_id
        return self.assist.context_of(
            client_id=client_id_from(_text(user) or "nobody", self.name),
            context={"language": _language(message.language)},
        )


Answered = TypeVar("Answered")


async def _or_error(answer: Awaitable[Answered], kind: type[ServiceError], timeout_s: float) -> Answered | ServiceError:
    """What a service answers, or an error: whatever a service does, the conversation goes on.

    Of what is raised but is no ServiceError only the type is told: its text could hold what was sent.
    """
    with anyio.move_on_after(timeout_s):
        try:
            return await answer
        except ServiceError as error:
            return error
        except Exception as error:  # noqa: BLE001 (somebody else's code)
            return kind(f"it failed: {type(error).__name__}")
    return kind(f"there was no answer in {timeout_s:g} s")


def _id_of(message_id: str | None, name: str) -> str | None:
    """The id of a message as it is recorded; one that cannot be, as a UUID made of it."""
    if message_id and (len(message_id) > MAX_ID or not message_id.isprintable()):
        return client_id_from(f"message {_text(message_id)}", name)
    return message_id or None


def _text(text: str) -> str:
    """An id without halves of surrogate pairs, which no JSON can carry."""
    return text.encode(errors="backslashreplace").decode()


def _language(locale: str | None) -> str | None:
    """The language of a locale; None if that says nothing to us."""
    try:
        return language_from_locale(locale) if locale else None
    except ValueError:
        return None
