"""The async shell: CaseAssist holds a store and couriers, a Case is the handle on one session.

It rules over nothing by itself. An action asks the session for records, appends them to the store, and moves the
session on; couriers deliver behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import anyio
import anyio.lowlevel

from caseassist.core.errors import NotRunning, UnknownSession
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
from caseassist.core.machine import LIFE_CYCLE, LifeCycle
from caseassist.core.records import Record
from caseassist.core.session import Session, checked_context
from caseassist.core.suggestions import Answer, members_of
from caseassist.delivery import Courier, DrainReport
from caseassist.sinks.base import Sink
from caseassist.stores.base import Store
from caseassist.stores.memory import MemoryStore

__all__ = ["Case", "CaseAssist"]

BREATHE_EVERY = 64
"""Appends after which an action lets other tasks run: a store in memory never has to wait, and delivery must go on."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A random UUID."""
    return str(uuid4())


class CaseAssist:
    """Records sessions and delivers them. Use it as an async context manager, on asyncio or trio.

    ``context``: what all sessions have in common. ``store``: where records are kept; in memory unless given.
    ``sinks``: where they are delivered, each with a name of its own. ``append_timeout_s``: seconds that an action
    waits for room in the store. ``drain_timeout_s``: seconds that leaving the block waits for delivery.
    ``life_cycle``: the machine, if you extend it. ``clock`` and ``new_id`` give time and ids; tests pass their own.

    Raises InvalidAction if the context breaks a rule, and ValueError if two sinks have one name.
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
    ) -> None:
        if len({sink.name for sink in sinks}) < len(sinks):
            raise ValueError("every sink needs a name of its own: it is how the store remembers what it has delivered")
        self.context = checked_context(context)
        self.store: Store = MemoryStore() if store is None else store
        self.append_timeout_s = append_timeout_s
        self.drain_timeout_s = drain_timeout_s
        self.life_cycle = life_cycle
        self.clock = clock
        self.new_id = new_id
        self._couriers = [Courier(self.store, sink) for sink in sinks]
        self._tasks: anyio.abc.TaskGroup | None = None
        self._open = False
        self._appends = 0

    async def __aenter__(self) -> Self:
        tasks = self._tasks = anyio.create_task_group()
        await tasks.__aenter__()
        try:
            for courier in self._couriers:
                await tasks.start(courier.run)
        except BaseException as error:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(type(error), error, error.__traceback__)
            raise
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        with anyio.CancelScope(shield=True):
            await self.aclose()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            await self._tasks.__aexit__(kind, error, traceback)
        else:  # the couriers have ended; an error of the block is not theirs, and must not come out wrapped in a group
            await self._tasks.__aexit__(None, None, None)

    async def start(
        self,
        ticket: Ticket | Mapping[str, Any] | None = None,
        *,
        client_id: str | None = None,
        context: Context | Mapping[str, Any] | None = None,
        session_id: str | None = None,
        at: datetime | None = None,
    ) -> "Case":
        """A person enters: record it and return the handle on the session.

        ``ticket``: what is already known. ``client_id``: the person, a UUID (see ``client_id_from``); a new one if not
        given here or in the context. ``context``: members that replace those of this CaseAssist. ``session_id``: a
        random UUID unless given. ``at``: when it happened; now, unless given.

        Raises InvalidAction, SequenceConflict if there is such a session already, StoreFull, NotRunning.
        """
        members = members_of(self.context) | members_of(checked_context(context))
        if client_id is not None:
            members["clientId"] = client_id
        elif "clientId" not in members:
            members["clientId"] = self.new_id()
        session = Session(id=self.new_id() if session_id is None else session_id, life_cycle=self.life_cycle)
        records = session.start(ticket, members, at=self.clock() if at is None else at)
        await self.append(records)
        return Case(self, Session.fold(records, session))

    async def resume(self, session_id: str) -> "Case":
        """Return the handle on a session as the store has it. Raises UnknownSession, CorruptRecord, NotRunning."""
        self._running()
        records = await self.store.load(session_id)
        if not records:
            raise UnknownSession(session_id)
        return Case(self, Session.fold(records, Session(id=session_id, life_cycle=self.life_cycle)))

    async def flush(self, timeout_s: float) -> DrainReport:
        """Wait until everything recorded so far and meanwhile is delivered, at most ``timeout_s`` seconds."""
        with anyio.move_on_after(timeout_s):
            async with anyio.create_task_group() as tasks:
                for courier in self._couriers:
                    tasks.start_soon(courier.drain)
        return self.report()

    def report(self) -> DrainReport:
        """What is delivered and pending at this moment."""
        return DrainReport(tuple(courier.progress for courier in self._couriers))

    async def aclose(self, deadline_s: float | None = None) -> DrainReport:
        """Take no more actions, wait for delivery at most ``deadline_s`` seconds, and stop. Again: only the report.

        Leaving the block does this with ``drain_timeout_s``, also when it is left by an error or by cancellation. What
        is not delivered by then stays in the store.
        """
        if self._open:
            self._open = False
            try:
                await self.flush(self.drain_timeout_s if deadline_s is None else deadline_s)
            finally:
                with anyio.CancelScope(shield=True):
                    for courier in self._couriers:
                        await courier.aclose()
                    await self.store.aclose()
        return self.report()

    async def append(self, records: Sequence[Record]) -> None:
        """Store records that a session decided, and have them delivered: for those who drive sessions themselves.

        ``records``: 1 to 256 of one session, in sequence. Raises SequenceConflict, StoreFull, AppendUnknown, and
        NotRunning.
        """
        self._running()
        self._appends += 1
        if self._appends % BREATHE_EVERY == 0:
            await anyio.lowlevel.checkpoint()
        position = await self.store.append(records, timeout_s=self.append_timeout_s)
        for courier in self._couriers:
            courier.notify(position)

    def _running(self) -> None:
        if not self._open:
            raise NotRunning


class Case:
    """The live handle on one session. Every action returns its record once that is in the store.

    Arguments are those of :class:`Session`'s methods; ``at`` is when it happened, now unless given. An action that is
    refused raises an ActionError and has done nothing. Actions of one Case that run at the same time wait for each
    other.
    """

    def __init__(self, assist: CaseAssist, session: Session) -> None:
        self._assist = assist
        self._session = session
        self._lock = anyio.Lock(fast_acquire=True)

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
        async with self._lock:
            return await self._record(self._session.update_field(field_name, value, at=at or self._now()))

    async def offer_classifications(
        self, response: Answer | ClassificationsOffered, *, at: datetime | None = None
    ) -> Record:
        """See :meth:`Session.offer_classifications`."""
        async with self._lock:
            return await self._record(self._session.offer_classifications(response, at=at or self._now()))

    async def offer_documents(self, response: Answer | DocumentsOffered, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.offer_documents`."""
        async with self._lock:
            return await self._record(self._session.offer_documents(response, at=at or self._now()))

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
        async with self._lock:
            records = self._session.select_classification(
                classification_id,
                response_id=response_id,
                auto_selection=auto_selection,
                field_name=field_name,
                classification=classification,
                at=at or self._now(),
            )
            return await self._record(records)

    async def open_document(
        self,
        suggestion_id: str,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Record:
        """See :meth:`Session.open_document`."""
        async with self._lock:
            records = self._session.open_document(
                suggestion_id, response_id=response_id, suggestion=suggestion, at=at or self._now()
            )
            return await self._record(records)

    async def quickview_document(
        self,
        suggestion_id: str,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Record:
        """See :meth:`Session.quickview_document`."""
        async with self._lock:
            records = self._session.quickview_document(
                suggestion_id, response_id=response_id, suggestion=suggestion, at=at or self._now()
            )
            return await self._record(records)

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
        async with self._lock:
            records = self._session.rate_document(
                suggestion_id, rate, response_id=response_id, suggestion=suggestion, at=at or self._now()
            )
            return await self._record(records)

    async def next_stage(self, stage: str | None = None, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.next_stage`."""
        async with self._lock:
            return await self._record(self._session.next_stage(stage, at=at or self._now()))

    async def log_click(self, event: ClickEvent | Mapping[str, Any], *, at: datetime | None = None) -> Record:
        """See :meth:`Session.log_click`."""
        async with self._lock:
            return await self._record(self._session.log_click(event, at=at or self._now()))

    async def log_custom(self, event: CustomEvent | Mapping[str, Any], *, at: datetime | None = None) -> Record:
        """See :meth:`Session.log_custom`."""
        async with self._lock:
            return await self._record(self._session.log_custom(event, at=at or self._now()))

    async def create(self, ticket_id: str, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.create`."""
        async with self._lock:
            return await self._record(self._session.create(ticket_id, at=at or self._now()))

    async def solve(self, *, at: datetime | None = None) -> Record:
        """See :meth:`Session.solve`."""
        async with self._lock:
            return await self._record(self._session.solve(at=at or self._now()))

    async def quit(self, cause: str = "user", *, at: datetime | None = None) -> Record:
        """See :meth:`Session.quit`."""
        async with self._lock:
            return await self._record(self._session.quit(cause, at=at or self._now()))

    def _now(self) -> datetime:
        return self._assist.clock()

    async def _record(self, records: Sequence[Record]) -> Record:
        """Append what the session decided, then move it on."""
        await self._assist.append(records)
        self._session = Session.fold(records, self._session)
        return records[-1]
