"""The async shell: CaseAssist holds a store and couriers, a Case is the handle on one session.

It rules over nothing by itself. An action asks the session for records, appends them to the store, and moves the
session on; couriers deliver behind it.
"""

import os
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

import anyio
import anyio.lowlevel
from msgspec.structs import replace

from caseassist.core.checked import checked_context
from caseassist.core.erasure import is_erased
from caseassist.core.errors import (
    CorruptRecord,
    Forked,
    IllegalTransition,
    InvalidAction,
    NotRunning,
    SequenceConflict,
    SessionErased,
    UnknownSession,
    UnsupportedRecord,
)
from caseassist.core.events import (
    Classification,
    ClassificationsOffered,
    ClickEvent,
    Context,
    CustomEvent,
    Document,
    DocumentsOffered,
    Ticket,
)
from caseassist.core.gate import members_of
from caseassist.core.machine import LIFE_CYCLE, LifeCycle
from caseassist.core.records import Record
from caseassist.core.session import IDLE_S, Session
from caseassist.core.suggestions import Answer
from caseassist.delivery.courier import CLOSE_S, Courier
from caseassist.delivery.reports import DrainReport, Health
from caseassist.sinks.base import Sink
from caseassist.stores.base import Ack, Quarantined, Store
from caseassist.stores.forks import Forks
from caseassist.stores.memory import MemoryStore

__all__ = ["Case", "CaseAssist"]

BREATHE_EVERY = 256
"""Appends after which an action lets other tasks run, and can be cancelled: a store in memory never has to wait, and
delivery must go on. They take one to two milliseconds; the tasks of a courier take turns for as many at a time."""
CLOSED = -1
MIN_CLOSE_S = 0.1
"""Seconds that sinks and the store get to close when delivery has used up the deadline."""
EXPIRED_AT_ONCE = 256


utc_now: Callable[[], datetime] = partial(datetime.now, UTC)
"""The time, in UTC."""


def new_id() -> str:
    """A random UUID, of version 4. What ``uuid4`` makes takes longer to write down than the rest of an action."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class CaseAssist:
    """Records sessions and delivers them. Use it as an async context manager, on asyncio or trio.

    ``context``: what all sessions have in common. ``store``: where records are kept; in memory unless given.
    ``sinks``: where they are delivered, each with a name of its own. ``append_timeout_s``: seconds that an action
    waits for room in the store. ``drain_timeout_s``: seconds that leaving the block waits for delivery.
    ``life_cycle``: the machine, if you extend it. ``clock``, ``new_id``, ``rng``, ``sleep`` and ``monotonic`` are where
    time, ids, the chance and length of pauses between tries, and the seconds without progress come from; tests pass
    their own.

    Raises InvalidAction if the context breaks a rule, TypeError for what is no store or no sink, and ValueError if two
    sinks have one name or a timeout is no number of seconds.
    """

    def __init__(
        self,
        context: Context | Mapping[str, Any] | None = None,
        *,
        store: Store | None = None,
        sinks: Sequence[Sink] = (),
        append_timeout_s: float = 5.0,
        drain_timeout_s: float = 10.0,
        life_cycle: LifeCycle = LIFE_CYCLE,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = new_id,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_store(store)
        sinks = _checked_sinks(sinks)
        if len({sink.name for sink in sinks}) < len(sinks):
            raise ValueError("every sink needs a name of its own: it is how the store remembers what it has delivered")
        self.context = checked_context(context)
        self.store: Store = MemoryStore() if store is None else store
        self.append_timeout_s = _seconds("append_timeout_s", append_timeout_s)
        self.drain_timeout_s = _seconds("drain_timeout_s", drain_timeout_s)
        self.life_cycle = life_cycle
        self.clock = clock
        self.new_id = new_id
        self._couriers = [
            Courier(self.store, sink, rng=rng, sleep=sleep, clock=clock, monotonic=monotonic) for sink in sinks
        ]
        self._tasks: anyio.abc.TaskGroup | None = None
        self._entered = False
        self._open_since = CLOSED
        """How often the process had been forked when it was opened."""
        self._appends = 0
        self._appends_ended = 0
        self._appended = anyio.Event()
        """Set when one of them has ended, once we are closing."""

    async def __aenter__(self) -> Self:
        """Open the store and the sinks. Raises what one of them raises, and RuntimeError the second time."""
        if self._entered:
            raise RuntimeError("a CaseAssist can be entered once; make another one")
        self._entered = True
        forks = Forks.watch()
        try:
            await self.store.open()
            for courier in self._couriers:
                await courier.open()
        except BaseException:
            with anyio.CancelScope(shield=True):
                for courier in self._couriers:
                    await courier.aclose()
                await self.store.aclose()
            raise
        self._tasks = await anyio.create_task_group().__aenter__()
        for courier in self._couriers:
            self._tasks.start_soon(self._run, courier)
        self._open_since = forks
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        self._tasks.cancel_scope.shield = True
        try:
            with anyio.CancelScope(shield=True):
                await self.aclose()
        finally:
            # The couriers have ended. What ended the block is not theirs, and must not come out wrapped in a group.
            try:
                await self._tasks.__aexit__(None, None, None)
            except BaseExceptionGroup as group:
                raise _only_one_of(group) from None

    async def start(
        self,
        ticket: Ticket | Mapping[str, Any] | None = None,
        *,
        client_id: str | UUID | None = None,
        context: Context | Mapping[str, Any] | None = None,
        session_id: str | None = None,
        at: datetime | None = None,
    ) -> "Case":
        """A person enters: record it and return the handle on the session.

        ``ticket``: what is already known. ``client_id``: the person, a UUID (see ``client_id_from``); a new one if not
        given here or in the context. ``context``: members that replace those of this CaseAssist (to replace True by
        False, give a dict). ``session_id``: a random UUID unless given. ``at``: when it happened; now, unless given.

        Raises InvalidAction, SequenceConflict if there is such a session already, StoreFull, NotRunning.
        """
        context = self.context_of(client_id, context)
        session = Session(id=self.new_id() if session_id is None else session_id, life_cycle=self.life_cycle)
        records = session.start(ticket, context, at=self.clock() if at is None else at)
        await self.append(records)
        return Case(self, Session.fold(records, session))

    def context_of(
        self, client_id: str | UUID | None = None, context: Context | Mapping[str, Any] | None = None
    ) -> Context:
        """The context of a new session: see :meth:`start`, which uses it. Raises InvalidAction."""
        client_id = str(client_id) if isinstance(client_id, UUID) else client_id
        if context is None:  # ours is checked already
            if client_id is None and self.context.client_id is not None:
                return self.context
            client_id = self.new_id() if client_id is None else client_id
            return replace(self.context, client_id=checked_context({"clientId": client_id}).client_id)
        members = members_of(self.context)
        own = members_of(context, "$.context")
        members |= {name: value for name, value in own.items() if value is not None}
        if client_id is not None:
            members["clientId"] = client_id
        elif "clientId" not in members:
            members["clientId"] = self.new_id()
        return checked_context(members)

    async def resume(self, session_id: str) -> "Case":
        """Return the handle on a session as the store has it.

        Any worker can do so that has the store, at any time.

        Raises UnknownSession, SessionErased, CorruptRecord, NotRunning, and InvalidAction if the id is not a string.
        """
        if not isinstance(session_id, str):
            raise InvalidAction("expected a string", path="$.session")
        records = await self.load(session_id)
        if not records:
            raise UnknownSession(session_id)
        if is_erased(records[0]):
            raise SessionErased(session_id)
        return Case(self, Session.fold(records, Session(id=session_id, life_cycle=self.life_cycle)))

    async def expire(self, now: datetime | None = None, *, idle_s: float = IDLE_S) -> list[str]:
        """Quit, with cause ``timeout``, the sessions in which nothing happened for ``idle_s`` seconds before ``now``.

        Returns their ids. Call it every minute or so, from one worker or from many: a session that another worker has
        just expired, or gone on with, is left alone. So is one that cannot be read (`caseassist verify` names it), or
        that a life cycle of your own does not let quit. Raises InvalidAction, StoreFull, StoreUnavailable,
        AppendUnknown, NotRunning.
        """
        now = self.clock() if now is None else now
        Session(id="").expire(now, idle_s=idle_s)  # says what is wrong with the arguments
        try:
            before = now - timedelta(seconds=idle_s) + timedelta.resolution
        except OverflowError:  # so long ago that there was nobody
            return []
        expired: list[str] = []
        last: str | None = None
        while True:
            self._running()
            found = await self.store.idle(before, EXPIRED_AT_ONCE, last)
            for session_id in found:
                last = session_id
                try:
                    records = await self.store.load(session_id)
                    if not records or is_erased(records[0]):
                        continue
                    session = Session.fold(records, Session(id=session_id, life_cycle=self.life_cycle))
                    quitting = session.expire(now, idle_s=idle_s)
                    if not quitting:
                        continue
                    await self.append(quitting)
                except (SequenceConflict, SessionErased):
                    continue
                except (CorruptRecord, UnsupportedRecord, IllegalTransition):  # it must not keep the others from ending
                    continue
                expired.append(session_id)
            if not found:
                return expired

    async def erase(self, *, session_id: str | None = None, client_id: str | None = None) -> Sequence[str]:
        """Erase the personal data of one session, or of all sessions of a client, from the store: see ``Store.erase``.

        What is in a call to a sink at this moment may still arrive. What sinks have is theirs. Returns the ids of the
        sessions. Raises InvalidAction if the client id is no UUID, ValueError unless one of the two is given.
        """
        self._running()
        if client_id is not None:
            client_id = checked_context({"clientId": client_id}).client_id
        erased: Sequence[str] = ()
        try:
            erased = await self.store.erase(session_id=session_id, client_id=client_id)
            return erased
        finally:  # what was in quarantine is dropped by it
            for courier in self._couriers:
                courier.erase(erased)

    async def quarantined(
        self,
        sink: str,
        *,
        session_id: str | None = None,
        requested: bool = False,
        after: int = 0,
        limit: int = 1000,
    ) -> Sequence[Quarantined]:
        """Return up to ``limit`` records that a sink refused: see :meth:`Store.quarantined`."""
        self._running()
        return await self.store.quarantined(sink, session_id=session_id, requested=requested, after=after, limit=limit)

    async def resend(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        """Have records sent again that a sink refused: all, those of a session, or one. Returns how many."""
        self._running()
        try:
            return await self.store.request_resend(sink, session_id=session_id, position=position)
        finally:  # cut off, it may be requested all the same
            self._look_for_requests(sink)

    async def drop(self, sink: str, *, session_id: str | None = None, position: int | None = None) -> int:
        """Drop records that a sink refused, for that sink: all, those of a session, or one. Returns how many."""
        self._running()
        try:
            return await self.store.drop(sink, session_id=session_id, position=position)
        finally:
            self._look_for_requests(sink)

    def health(self) -> Health:
        """Whether records can be kept and are delivered: for the health check of your bot.

        It is bad when the store fails, when a sink will not take anything before somebody changes something, and when
        there was something to deliver for a minute and nothing was.
        """
        return Health(store=self.store.health(), sinks=tuple(courier.health for courier in self._couriers))

    async def flush(self, timeout_s: float) -> DrainReport:
        """Wait until everything recorded so far is delivered, at most ``timeout_s`` seconds.

        What is recorded meanwhile is not waited for, but it is in the report. Raises ValueError for a timeout that is
        no number of seconds.
        """
        with anyio.move_on_after(_seconds("timeout_s", timeout_s)):
            await self._drain()
        return self.report()

    def report(self) -> DrainReport:
        """What is delivered and pending at this moment."""
        return DrainReport(tuple(courier.progress for courier in self._couriers))

    async def aclose(self, deadline_s: float | None = None) -> DrainReport:
        """Take no more actions, wait for delivery at most ``deadline_s`` seconds, and stop.

        Leaving the block does this with ``drain_timeout_s``, also when it is left by an error or by cancellation. What
        is not delivered by then stays in the store. Closing again is fine; of several at once, the shortest deadline
        counts.
        """
        if self._tasks is None:
            return self.report()
        self._open_since = CLOSED
        deadline_s = self.drain_timeout_s if deadline_s is None else deadline_s
        deadline = anyio.current_time() + deadline_s
        most_s = CLOSE_S
        try:
            with anyio.move_on_after(deadline_s):
                while self._appends > self._appends_ended or self._to_deliver():
                    if self._to_deliver():
                        await self._drain(standby=False)
                    else:  # an action that was waiting for room in the store can still be recorded
                        await self._appended.wait()
            most_s = deadline_s
        finally:  # cut off, it still closes everything, but not for as long as it had
            close_s = max(min(deadline - anyio.current_time(), most_s), MIN_CLOSE_S)
            end = anyio.current_time() + close_s
            for courier in self._couriers:
                courier.stop(close_s / 2)  # the other half is for the store
            with anyio.move_on_after(close_s / 2 + MIN_CLOSE_S, shield=True):
                for courier in self._couriers:
                    await courier.wait_closed()
            with anyio.move_on_after(max(end - anyio.current_time(), MIN_CLOSE_S), shield=True):
                await self.store.aclose()
        return self.report()

    async def append(self, records: Sequence[Record]) -> Ack:
        """Store records that a session decided, and have them delivered: for those who drive sessions themselves.

        ``records``: 1 to 256 of one session, in sequence. Returns the position of the last, and what they survive.
        Raises SequenceConflict, SessionErased, StoreFull, StoreUnavailable, AppendUnknown, and NotRunning.
        """
        if self._appends % BREATHE_EVERY == BREATHE_EVERY - 1:
            await anyio.lowlevel.checkpoint()
        if self._open_since != Forks.count:
            self._running()  # raises
        self._appends += 1
        position = 0
        try:
            ack = await self.store.append(records, timeout_s=self.append_timeout_s)
            position = ack.position
            return ack
        finally:  # cut off while writing, it may be stored all the same
            for courier in self._couriers:
                courier.notify(position)
            self._appends_ended += 1
            if self._open_since == CLOSED:
                self._appended.set()
                self._appended = anyio.Event()

    async def load(self, session_id: str) -> Sequence[Record]:
        """Return the records of a session as the store has them, oldest first. Raises NotRunning."""
        self._running()
        return await self.store.load(session_id)

    async def sessions(self, prefix: str, limit: int) -> Sequence[str]:
        """Return the ids of sessions that begin with a prefix: see :meth:`Store.sessions`. Raises NotRunning."""
        self._running()
        return await self.store.sessions(prefix, limit)

    async def _run(self, courier: Courier) -> None:
        """Deliver until told to stop, and not until the block is cancelled: it is drained first."""
        with anyio.CancelScope(shield=True):
            await courier.run()

    def _to_deliver(self) -> bool:
        """Whether there is something to deliver that nobody else does."""
        return any(
            courier.progress.pending and not courier.closed and not courier.standby for courier in self._couriers
        )

    async def _drain(self, *, standby: bool = True) -> None:
        async with anyio.create_task_group() as tasks:
            for courier in self._couriers:
                if standby or not courier.standby:
                    tasks.start_soon(courier.drain)

    def _look_for_requests(self, sink: str) -> None:
        for courier in self._couriers:
            if courier.sink.name == sink:
                courier.look_for_requests()

    def _running(self) -> None:
        if self._open_since == CLOSED:
            raise NotRunning
        if self._open_since != Forks.count:
            raise Forked


def _check_store(store: object) -> None:
    """Raise TypeError for what cannot be a store."""
    if store is None:
        return
    if isinstance(store, type):
        raise TypeError(f"store is the class {store.__name__}: make one of it, such as SQLiteStore('cases.db')")
    if not all(callable(getattr(store, method, None)) for method in ("append", "load", "read")):
        raise TypeError(f"store is a {type(store).__name__}: pass a store, such as SQLiteStore('cases.db')")


def _checked_sinks(sinks: object) -> Sequence[Sink]:
    """The sinks as a tuple. Raises TypeError for what cannot be sinks."""
    kind = sinks.__name__ if isinstance(sinks, type) else type(sinks).__name__
    if isinstance(sinks, str | bytes | Mapping | type) or hasattr(sinks, "deliver") or not isinstance(sinks, Iterable):
        raise TypeError(f"sinks is a {kind}: pass a list of sinks, such as [FileSink('log.jsonl')]")
    found = tuple(cast("Iterable[Sink]", sinks))
    for i, sink in enumerate(found):
        if isinstance(sink, type):
            raise TypeError(f"sinks[{i}] is the class {sink.__name__}: make one of it, such as FileSink('log.jsonl')")
        if not callable(getattr(sink, "deliver", None)) or not isinstance(getattr(sink, "name", None), str):
            raise TypeError(
                f"sinks[{i}] is a {type(sink).__name__}: pass a sink with a name, such as FileSink('log.jsonl')"
            )
    return found


def _seconds(name: str, value: object) -> float:
    """A number of seconds. Raises ValueError for what is none, a negative one, and nan."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} must be a number of seconds, 0 or more")
    return value


def _only_one_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception in a group, if it is the only one: ``except KeyboardInterrupt`` does not look into groups."""
    inner: BaseExceptionGroup[BaseException] = group
    while len(inner.exceptions) == 1:
        error = inner.exceptions[0]
        if isinstance(error, BaseExceptionGroup):
            inner = cast("BaseExceptionGroup[BaseException]", error)
        elif isinstance(error, Exception) or anyio.get_cancelled_exc_class().__module__.startswith("trio"):
            return error
        else:  # asyncio's loop has passed it on already, and is cleaning up: a second one would cut that short
            return group
    return group


class Case:
    """The live handle on one session. Every action returns its record once that is in the store.

    Arguments are those of :class:`Session`'s methods; ``at`` is when it happened, now unless given. An action that is
    refused raises an ActionError and has done nothing. Actions of one Case that run at the same time wait for each
    other. After an action that was cut off (cancelled, AppendUnknown) or failed in the store, the next one first looks
    what the store has.
    """

    __slots__ = ("__weakref__", "_assist", "_busy", "_session", "_unsure", "_waiting")

    def __init__(self, assist: CaseAssist, session: Session) -> None:
        self._assist = assist
        self._session = session
        self._busy = False
        """Whether an action is under way."""
        self._waiting: deque[anyio.Event] | None = None
        """Actions that wait for their turn, each until its event is set; made when there is one."""
        self._unsure = False
        """Whether the store may have more of the session than we know."""

    def __repr__(self) -> str:
        return f"<Case {self._session.id} {self._session.state}>"

    @property
    def session(self) -> Session:
        """The session as of after the latest action."""
        return self._session

    @property
    def id(self) -> str:
        """The session's id."""
        return self._session.id

    @property
    def state(self) -> str:
        """The session's state."""
        return self._session.state

    @property
    def ticket(self) -> Ticket:
        """The ticket as known so far."""
        return self._session.ticket

    async def update_field(self, field_name: str, value: Any, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.update_field`."""
        return await self._act(lambda session, at: session.update_field(field_name, value, at=at), at)

    async def offer_classifications(
        self, response: Answer | ClassificationsOffered, *, at: datetime | None = None
    ) -> Record:
        """See :meth:`Session.offer_classifications`."""
        return await self._act(lambda session, at: session.offer_classifications(response, at=at), at)

    async def offer_documents(self, response: Answer | DocumentsOffered, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.offer_documents`."""
        return await self._act(lambda session, at: session.offer_documents(response, at=at), at)

    async def select_classification(
        self,
        classification_id: str,
        *,
        response_id: str | None = None,
        auto_selection: bool = False,
        field_name: str | None = None,
        classification: Classification | Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Record:
        """See :meth:`Session.select_classification`."""
        return await self._act(
            lambda session, at: session.select_classification(
                classification_id,
                response_id=response_id,
                auto_selection=auto_selection,
                field_name=field_name,
                classification=classification,
                at=at,
            ),
            at,
        )

    async def open_document(
        self,
        suggestion_id: str,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Record:
        """See :meth:`Session.open_document`."""
        return await self._act(
            lambda session, at: session.open_document(
                suggestion_id, response_id=response_id, suggestion=suggestion, at=at
            ),
            at,
        )

    async def quickview_document(
        self,
        suggestion_id: str,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Record:
        """See :meth:`Session.quickview_document`."""
        return await self._act(
            lambda session, at: session.quickview_document(
                suggestion_id, response_id=response_id, suggestion=suggestion, at=at
            ),
            at,
        )

    async def rate_document(
        self,
        suggestion_id: str,
        rate: float,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Record:
        """See :meth:`Session.rate_document`."""
        return await self._act(
            lambda session, at: session.rate_document(
                suggestion_id, rate, response_id=response_id, suggestion=suggestion, at=at
            ),
            at,
        )

    async def next_stage(self, stage: str | None = None, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.next_stage`."""
        return await self._act(lambda session, at: session.next_stage(stage, at=at), at)

    async def log_click(self, event: ClickEvent | Mapping[str, Any], *, at: datetime | None = None) -> Record:
        """See :meth:`Session.log_click`."""
        return await self._act(lambda session, at: session.log_click(event, at=at), at)

    async def log_custom(self, event: CustomEvent | Mapping[str, Any], *, at: datetime | None = None) -> Record:
        """See :meth:`Session.log_custom`."""
        return await self._act(lambda session, at: session.log_custom(event, at=at), at)

    async def take_turn(
        self, message_id: str | None = None, memory: Mapping[str, Any] | None = None, *, at: datetime | None = None
    ) -> Record:
        """See :meth:`Session.take_turn`."""
        return await self._act(lambda session, at: session.take_turn(message_id, memory, at=at), at)

    async def create(self, ticket_id: str, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.create`."""
        return await self._act(lambda session, at: session.create(ticket_id, at=at), at)

    async def solve(self, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.solve`."""
        return await self._act(lambda session, at: session.solve(at=at), at)

    async def quit(self, cause: str = "user", *, at: datetime | None = None) -> Record:
        """See :meth:`Session.quit`."""
        return await self._act(lambda session, at: session.quit(cause, at=at), at)

    async def _act(self, decide: Callable[[Session, datetime], Sequence[Record]], at: datetime | None) -> Record:
        """Have the session decide, append what it decided, then move it on."""
        if self._busy:
            await self._wait_for_turn()
        self._busy = True  # not a lock: to take one costs as much as the rest of this, and there is seldom a second
        try:
            if self._unsure:
                await self._catch_up()
            records = decide(self._session, self._assist.clock() if at is None else at)
            self._unsure = True
            await self._assist.append(records)
            self._unsure = False
            self._session = Session.fold(records, self._session)
            return records[-1]
        finally:
            if self._waiting:
                self._waiting.popleft().set()  # it is busy still, with that one
            else:
                self._busy = False

    async def _wait_for_turn(self) -> None:
        """Return when it is ours, first come, first served."""
        event = anyio.Event()
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(event)
        try:
            await event.wait()
        except BaseException:
            if not event.is_set():
                self._waiting.remove(event)
            elif self._waiting:  # cancelled when it had come to us: it goes on to the next
                self._waiting.popleft().set()
            else:
                self._busy = False
            raise

    async def _catch_up(self) -> None:
        """Move the session on to what the store has."""
        records = await self._assist.load(self.id)
        self._session = Session.fold(
            (record for record in records if record.seq >= self._session.next_seq), self._session
        )
        self._unsure = False
