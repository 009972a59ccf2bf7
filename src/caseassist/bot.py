"""The async shell of a conversation: messages in, prompts out, everything that happens in the store.

A :class:`Bot` holds no state that is not in the store, so any worker can take any message. It appends what the
conversation decides, asks the services that the conversation waits for, and says what the conversation says.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Any

import anyio
import msgspec

from caseassist.chats import Chats, answer_in_time, language_of, ticket_key
from caseassist.conversation.conversation import Classify, Conversation, FileTicket, Need
from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.prompts import Prompt
from caseassist.core.errors import CaseAssistError, NoSuggestions, SequenceConflict, ServiceError, TicketNotCreated
from caseassist.core.events import ClassificationsOffered, DocumentsOffered, Ticket
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.helpdesks.base import TicketCreator
from caseassist.live import CaseAssist
from caseassist.service.base import SuggestionService

__all__ = ["Bot", "Message", "Reply"]

CONFLICTS = 32
"""How often a message is decided anew because another worker was faster with another one."""


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

    def __repr__(self) -> str:
        return f"<Reply {self.prompt.step} in {self.session_id}>"


class _Talk:
    """A chat, as far as this worker knows it."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.speaking = anyio.Lock()
        """Held from hearing a message until the answer is said: answers come in the order of the messages."""
        self.users = 0
        """How many hold a lock or wait for one."""
        self.conversation: Conversation | None = None
        """Of the latest session. None: look into the store."""
        self.earlier: tuple[str, ...] = ()
        """The messages of the session before."""


class Bot:
    """Leads conversations: one per conversation id, each a sequence of sessions.

    ``assist``: where they are recorded; open it before, close it after. Its context needs a search hub if documents
    are shown. ``tickets``: files tickets. ``service``: gives suggestions; without one, the dialogue is led without. If
    it fails, the dialogue goes on, and says so. ``dialogue``: what is asked and said. ``name``: of this bot;
    conversation and user ids are its own, so two platforms, or two bots on one store, have two names.
    ``service_timeout_s``, ``ticket_timeout_s``: seconds that the person waits for suggestions and for a ticket,
    whatever the services themselves promise. ``conversations``: how many are kept in memory; a limit on memory, not on
    how many there are.

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
        ticket_timeout_s: float = 20.0,
        conversations: int = 10_000,
    ) -> None:
        if not (service_timeout_s > 0 and ticket_timeout_s > 0 and conversations > 0):
            raise ValueError("service_timeout_s, ticket_timeout_s and conversations must be positive")
        dialogue = Dialogue() if dialogue is None else dialogue
        self.dialogue = dialogue if service is not None else dialogue.without_suggestions()
        if any(stage.documents for stage in self.dialogue.stages) and not assist.context.search_hub:
            raise ValueError("the context needs a search hub, without which no opened document can be logged")
        self.assist = assist
        self._chats = Chats(assist, name)
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
        key = self._chats.key(message.conversation_id)
        message_id = self._chats.message_id(message.message_id)
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
        talk = self._talk(self._chats.key(message.conversation_id))
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
        return Prompt(text=self.dialogue.texts_for(language_of(language)).trouble, takes_text=True, step="trouble")

    async def session_ids(self, conversation_id: str) -> list[str]:
        """The ids of a conversation's sessions that the store has, the latest last."""
        return await self._chats.session_ids(conversation_id)

    def _talk(self, key: str) -> _Talk:
        talk = self._talks.setdefault(key, _Talk())
        self._talks.move_to_end(key)
        if len(self._talks) > self._most:
            idle = (other for other, one in self._talks.items() if not one.users and one is not talk)
            for other in list(islice(idle, len(self._talks) - self._most)):
                del self._talks[other]
        return talk

    async def _hear(self, key: str, talk: _Talk, message: Message, message_id: str) -> Reply:
        """Decide on a message, anew when another worker was faster with another one."""
        records: list[Record] = []
        tries = 0
        while True:
            tries += 1
            known = talk.conversation is not None
            try:
                repeated = await self._take(key, talk, message, message_id, records)
                await self._work(talk, records)
            except SequenceConflict:
                talk.conversation = None
                if tries >= CONFLICTS:
                    raise
                continue
            except BaseException:  # cut off or refused: the store knows what was recorded
                talk.conversation = None
                raise
            assert talk.conversation is not None
            if (
                not records and known
            ):  # nothing was appended, so nothing told whether what we knew is what the store has
                talk.conversation = None
                continue
            return Reply(
                prompt=talk.conversation.prompt,
                session_id=talk.conversation.session.id,
                records=tuple(records),
                repeated=repeated and not records,
            )

    async def _take(self, key: str, talk: _Talk, message: Message, message_id: str, records: list[Record]) -> bool:
        """Record what a message makes. Returns whether it was heard before."""
        if talk.conversation is None:
            latest = await self._chats.latest(key)
            talk.conversation, talk.earlier = Conversation(self.dialogue, latest.session), latest.earlier
        conversation = talk.conversation
        session = conversation.session
        if message_id in talk.earlier or message_id in session.message_ids:
            return True
        opens = message.text is None and message.choice is None
        at = self.assist.clock()
        text = message.text
        if conversation.ended and not opens and not conversation.left_long_ago(at):
            text = None  # what was said to an ended conversation is no problem yet
            opens = conversation.wants_new(message.text, choice=message.choice)
            if not opens:
                return False
        if conversation.ended or not session.next_seq:
            begun = self._chats.next(session) if conversation.ended else session
            context = self.assist.context_of(
                self._chats.client_id(message.conversation_id, message.user_id),
                {"language": language_of(message.language)},
            )
            turn = Conversation(self.dialogue, begun).start(
                text, ticket=message.ticket, context=context, message_id=message_id, at=at
            )
            talk.earlier = session.message_ids
        elif opens:
            return False
        else:
            turn = conversation.reply(message.text, choice=message.choice, message_id=message_id, at=at)
        await self._append(turn.records, records)
        talk.conversation = turn.conversation
        return False

    async def _work(self, talk: _Talk, records: list[Record]) -> None:
        """Ask the services that the conversation waits for, until it waits for the person."""
        conversation = talk.conversation
        assert conversation is not None
        while (need := conversation.need) is not None:
            answer = await self._ask(need, conversation.session)
            turn = conversation.answer(need, answer, at=self.assist.clock())
            await self._append(turn.records, records)
            talk.conversation = conversation = turn.conversation

    async def _ask(
        self, need: Need, session: Session
    ) -> ClassificationsOffered | DocumentsOffered | str | ServiceError:
        """The answer of a service, or the error that tells why there is none."""
        service, tickets = self._service, self._tickets
        ticket, context = need.ticket, session.context
        if isinstance(need, FileTicket):
            key = ticket_key(session)
            return await answer_in_time(
                lambda: tickets.create_ticket(ticket, context, key=key), TicketNotCreated, self._ticket_timeout_s
            )
        if service is None:  # another worker had one
            return NoSuggestions("there is no service")
        ask = service.classify if isinstance(need, Classify) else service.suggest_documents
        return await answer_in_time(lambda: ask(ticket, context), NoSuggestions, self._service_timeout_s)

    async def _append(self, decided: tuple[Record, ...], records: list[Record]) -> None:
        if decided:
            await self.assist.append(decided)
            records += decided
