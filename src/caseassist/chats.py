"""Chats: what a conversation on a platform is in the store, and how its ids are written there.

A chat has one session after the other. Their ids begin with a key that is made of the chat's own id, and end in a
number that grows, so the latest is found by its id, and of two workers who start one at once one is too late.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import msgspec

from caseassist.core.erasure import is_erased
from caseassist.core.errors import ServiceError, TicketNotCreated
from caseassist.core.fields import language_from_locale
from caseassist.core.identity import client_id_from
from caseassist.core.session import Session
from caseassist.live import CaseAssist

__all__ = ["Chats", "Latest", "answer_in_time", "language_of", "ticket_key"]

MAX_MESSAGE_ID = 256
A_DAY = 10_000
"""How many numbers a day has: the first session of a chat is numbered by its day, so that its id is a new one also when
all that were before have been removed from the store."""
FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)


class Latest(msgspec.Struct, frozen=True, kw_only=True):
    """The latest session of a chat, as the store has it."""

    session: Session
    """One that is to be started, if there is none."""
    earlier: tuple[str, ...] = ()
    """The messages of the session before."""


class Chats:
    """Finds the sessions of chats. ``name``: of the bot; what platforms call chats, people and messages is its own.

    Raises ValueError for an empty name.
    """

    def __init__(self, assist: CaseAssist, name: str) -> None:
        if not name:
            raise ValueError("a bot needs a name: its conversation ids are its own")
        self._assist = assist
        self._name = name

    def key(self, conversation_id: str) -> str:
        """What the ids of a chat's sessions begin with."""
        return client_id_from(_text(f"conversation {self._assist.store.id}{conversation_id}"), self._name)

    def client_id(self, conversation_id: str, user_id: str | None) -> str:
        """The client id of a person; of whoever is in the chat, if the platform does not tell."""
        return client_id_from(_text(user_id or conversation_id) or "nobody", self._name)

    def message_id(self, message_id: str | None) -> str:
        """The id of a message as it is recorded; of one that cannot be, a UUID made of it; a new one if it has none."""
        if not message_id:
            return self._assist.new_id()
        if len(message_id) > MAX_MESSAGE_ID or not message_id.isprintable():
            return client_id_from(f"message {_text(message_id)}", self._name)
        return message_id

    async def session_ids(self, conversation_id: str, limit: int = 1000) -> list[str]:
        """The ids of a chat's sessions that the store has, the latest last: at most ``limit``."""
        return [*reversed(await self._assist.sessions(f"{self.key(conversation_id)}-", limit))]

    async def latest(self, key: str) -> Latest:
        """The latest session of a chat; one that is to be started, if there is none. Raises StoreError."""
        ids = await self._assist.sessions(f"{key}-", 2)
        if not ids:
            day = (self._assist.clock() - FIRST_DAY).days
            return Latest(session=self._new(f"{key}-{day * A_DAY + 1:010d}"))
        earlier = (await self._load(ids[1])).message_ids if len(ids) > 1 else ()
        return Latest(session=await self._load(ids[0]), earlier=earlier)

    def next(self, session: Session) -> Session:
        """The session to be started after one."""
        key, _, number = session.id.rpartition("-")
        return self._new(f"{key}-{int(number) + 1:010d}")

    async def _load(self, session_id: str) -> Session:
        """A session as the store has it; an ended one if what it was is erased or forgotten."""
        records = await self._assist.load(session_id)
        session = self._new(session_id)
        if not records or is_erased(records[0]):
            return msgspec.structs.replace(session, state="quit", next_seq=records[-1].seq + 1 if records else 1)
        return Session.fold(records, session)

    def _new(self, session_id: str) -> Session:
        return Session(id=session_id, life_cycle=self._assist.life_cycle)


def ticket_key(session: Session) -> str:
    """What a session's ticket is filed under: the same for every worker, and for no other session ever."""
    started = session.started_at
    return session.id if started is None else f"{session.id} {started.isoformat()}"


def language_of(locale: str | None) -> str | None:
    """The language of a locale; None if that says nothing to us."""
    try:
        return language_from_locale(locale) if locale else None
    except ValueError:
        return None


Answered = TypeVar("Answered")


async def answer_in_time(
    ask: Callable[[], Awaitable[Answered]], kind: type[ServiceError], timeout_s: float
) -> Answered | ServiceError:
    """What a service answers, or an error: whatever a service does, the conversation goes on.

    ``kind``: the error for what it should not do. Of what it raises, if that is no ServiceError, only the type is told:
    its text could hold what was sent.
    """
    problem = f"there was no answer in {timeout_s:g} s"
    with anyio.move_on_after(timeout_s):
        try:
            return await ask()
        except ServiceError as error:
            return error
        except Exception as error:  # noqa: BLE001 (somebody else's code)
            problem = f"it failed: {type(error).__name__}"
    return TicketNotCreated(problem, maybe_created=True) if kind is TicketNotCreated else kind(problem)


def _text(text: str) -> str:
    """An id without halves of surrogate pairs, which no JSON can carry."""
    return text.encode(errors="backslashreplace").decode()
