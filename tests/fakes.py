"""What tests of delivery share: records, and sinks, stores and pauses that do as they are told."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from tests.canaries import TEXT

from caseassist.core.errors import SinkRefused
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.sinks.base import Sink
from caseassist.stores.base import Ack, Stored
from caseassist.stores.memory import MemoryStore

T = TypeVar("T")

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"
LONG_S = 30.0
"""A deadline that no test reaches: it bounds a hang."""


def records_of(session_id: str, count: int, *, ended: bool = False, text: str = TEXT) -> list[Record]:
    """The records of one session: a start, updates of a field and, if ``ended``, a solve."""
    session = Session(id=session_id)
    records: list[Record] = []
    for n in range(count):
        if n == 0:
            taken = session.start(context={"clientId": CLIENT_ID, "searchHub": "hub"}, at=AT)
        elif ended and n == count - 1:
            taken = session.solve(at=AT)
        else:
            taken = session.update_field("subject", f"{text}{n}", at=AT)
        session = session.apply(taken[0])
        records += taken
    return records


def identities(records: Iterable[Record]) -> list[tuple[str, int]]:
    return [(record.session_id, record.seq) for record in records]


def outcome(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("it waits")


async def until(condition: Callable[[], object]) -> None:
    """Let others run until something is true."""
    with anyio.fail_after(LONG_S):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def idle() -> None:
    """Let others do all that they can do."""
    for _ in range(100):
        await anyio.lowlevel.checkpoint()


class Pauses:
    """Takes the place of sleeping: notes how long, and lets others run for a moment. ``held``: until let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.seconds: list[float] = []
        self.held = held
        self._go = anyio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if self.held:
            await self._go.wait()
        else:
            await anyio.lowlevel.checkpoint()

    def let_go(self) -> None:
        """End the pauses that are going on."""
        go, self._go = self._go, anyio.Event()
        go.set()


class MiddleOfRange:
    """Takes the place of chance: always the middle."""

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


Act = BaseException | None | Callable[[Sequence[Record]], Awaitable[None]]


class ScriptedSink(Sink):
    """Does one act of its script a call: raises, takes all (None), or calls; takes everything once that is over.

    ``taken``: what it has taken, in order. ``calls``: what it was called with.
    """

    def __init__(
        self,
        *script: Act,
        name: str = "scripted",
        sessions_at_once: int = 1,
        batch_records: int = 256,
        linger_s: float = 0.0,
    ) -> None:
        self.name = name
        self.sessions_at_once = sessions_at_once
        self.batch_records = batch_records
        self.linger_s = linger_s
        self.script = list(script)
        self.taken: list[Record] = []
        self.calls: list[list[tuple[str, int]]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.opened = self.closed = 0
        self._at_work: set[str] = set()

    async def open(self) -> None:
        self.opened += 1

    async def deliver(self, records: Sequence[Record]) -> None:
        self.calls.append(identities(records))
        sessions = {record.session_id for record in records}
        assert len(records) <= self.batch_records
        assert self.sessions_at_once == 1 or len(sessions) == 1, "records of one session in a call"
        assert not sessions & self._at_work, "one call at a time for a session"
        self._at_work |= sessions
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.at_once <= self.sessions_at_once
        try:
            act = self.script.pop(0) if self.script else None
            if isinstance(act, BaseException):
                most = len(records) - isinstance(act, SinkRefused)
                self.taken += records[: max(0, min(getattr(act, "delivered", 0), most))]
                raise act
            if act is not None:
                await act(records)
            self.taken += records
        finally:
            self.at_once -= 1
            self._at_work -= sessions

    async def aclose(self) -> None:
        self.closed += 1


class Gate:
    """An act that waits until it is opened, then takes all, or raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.entered = anyio.Event()
        self.opened = anyio.Event()
        self._error = error

    async def __call__(self, records: Sequence[Record]) -> None:
        self.entered.set()
        await self.opened.wait()
        if self._error is not None:
            raise self._error


class SlowStore(MemoryStore):
    """A MemoryStore that takes its time: before it does something, and before it says that it has."""

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        await anyio.lowlevel.checkpoint()
        ack = await super().append(records, timeout_s=timeout_s)
        await anyio.lowlevel.checkpoint()
        return ack

    async def load(self, session_id: str) -> Sequence[Record]:
        await anyio.lowlevel.checkpoint()
        return await super().load(session_id)

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        await anyio.lowlevel.checkpoint()
        stored = await super().read(after, limit)
        await anyio.lowlevel.checkpoint()
        return stored

    async def commit(self, sink: str, **what: Any) -> None:
        await anyio.lowlevel.checkpoint()
        await super().commit(sink, **what)
        await anyio.lowlevel.checkpoint()
