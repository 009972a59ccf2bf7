"""The courier: it moves records from a store to one sink and keeps the sink's position.

What it decides is in small pure parts, :class:`Queue` (who is served next, and what is settled) and
:func:`retry_delay_s`; the loops around them obey.

One rule makes an outage cheap and its end quick: while a sink is unavailable, one worker tries again with growing
pauses, and all the others wait for it to succeed. So an outage costs one request a pause, however much is waiting.
"""

import logging
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

import anyio
import msgspec
from anyio.abc import TaskStatus

from caseassist.core.errors import SinkRefused, SinkUnavailable
from caseassist.core.records import Record
from caseassist.sinks.base import Sink
from caseassist.stores.base import Store, Stored

__all__ = ["Courier", "DrainReport", "Progress", "Queue", "retry_delay_s"]

log = logging.getLogger("caseassist")

BASE_DELAY_S = 0.5
MAX_DELAY_S = 60.0
HURRIED_DELAY_S = 1.0
WINDOW_BATCHES = 4
CLOSE_S = 2.0
"""Seconds that a sink gets to close: a peer that does not answer must not hold us."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of the records for one sink: ``accepted == delivered + pending + sum of dropped``."""

    sink: str
    accepted: int
    delivered: int
    """The sink took them."""
    pending: int
    """Still to be delivered."""
    dropped: Mapping[str, int] = {}
    """Will not be delivered, by reason: ``refused`` by the sink, or ``store_full``."""


class DrainReport(msgspec.Struct, frozen=True):
    """What a flush or a close has come to, sink by sink."""

    sinks: tuple[Progress, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be delivered."""
        return all(sink.pending == 0 for sink in self.sinks)


def retry_delay_s(
    attempt: int, retry_after_s: float | None, *, max_delay_s: float = MAX_DELAY_S, rng: random.Random
) -> float:
    """Seconds to wait before the next try: full jitter below a doubling bound, and what the other side asked for.

    ``attempt``: 1 after the first failure. ``retry_after_s``: the floor; a tenth of it is spread on top, so that many
    clients do not come back in the same moment.
    """
    bound = min(max_delay_s, BASE_DELAY_S * 2.0 ** min(attempt - 1, 30))
    asked = 0.0 if retry_after_s is None else retry_after_s * rng.uniform(1.0, 1.1)
    return max(asked, rng.uniform(0.0, bound))


class Queue:
    """What was read and is not settled, and who is served next. No I/O, no clock.

    With ``by_session`` a batch holds records of one session, and no session has two batches out at a time; without,
    a batch holds what comes next, and one batch is out at a time.
    """

    def __init__(self, position: int, *, batch_records: int, by_session: bool) -> None:
        self.read = position
        """Position of the last record that was put in."""
        self.position = position
        """Everything up to here is settled."""
        self.skipped = 0
        """How many positions were missing in what was put in."""
        self.size = 0
        """How many records are waiting: put in, and not in a batch."""
        self._batch_records = batch_records
        self._by_session = by_session
        self._lanes: dict[str, deque[Stored]] = {}
        self._ready: deque[str] = deque()
        self._open: deque[int] = deque()
        self._settled: set[int] = set()

    def put(self, stored: Iterable[Stored]) -> None:
        """Put in what was read from the store, in order."""
        for item in stored:
            position, record = item
            self.skipped += position - self.read - 1
            self.read = position
            self._open.append(position)
            self.size += 1
            key = record.session_id if self._by_session else ""
            lane = self._lanes.get(key)
            if lane is None:
                self._lanes[key] = deque((item,))
                self._ready.append(key)
            else:
                lane.append(item)
        if not self._open:
            self.position = self.read

    def take(self) -> list[Stored]:
        """Take the next batch out; empty if there is none to be served now."""
        if not self._ready:
            return []
        lane = self._lanes[self._ready.popleft()]
        batch = [lane.popleft() for _ in range(min(len(lane), self._batch_records))]
        self.size -= len(batch)
        return batch

    def settle(self, batch: list[Stored], count: int) -> None:
        """The first ``count`` of a batch are done with; they are removed from it."""
        self._settled.update(position for position, _ in batch[:count])
        del batch[:count]
        while self._open and self._open[0] in self._settled:
            self.position = self._open.popleft()
            self._settled.remove(self.position)
        if not self._open:
            self.position = self.read

    def release(self, record: Record) -> None:
        """The batch that held ``record`` is done with: its session can be served again."""
        key = record.session_id if self._by_session else ""
        if self._lanes[key]:
            self._ready.append(key)
        else:
            del self._lanes[key]


class _Bell:
    """Wakes tasks that wait for something to happen. A ring that nobody waits for is forgotten."""

    def __init__(self) -> None:
        self._waiting: deque[anyio.Event] = deque()

    async def wait(self) -> None:
        event = anyio.Event()
        self._waiting.append(event)
        try:
            await event.wait()
        finally:
            if event in self._waiting:
                self._waiting.remove(event)

    def ring(self, tasks: int | None = None) -> None:
        """Wake so many tasks, or all."""
        for _ in range(len(self._waiting) if tasks is None else min(tasks, len(self._waiting))):
            self._waiting.popleft().set()


class Courier:
    """Delivers a store's records to one sink.

    ``rng`` and ``sleep`` are where chance and time come in; tests pass their own.
    """

    def __init__(
        self,
        store: Store,
        sink: Sink,
        *,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.store = store
        self.sink = sink
        self._rng = rng or random.Random()  # noqa: S311 (jitter, not a secret)
        self._sleep = sleep
        self._window = sink.batch_records * max(WINDOW_BATCHES, sink.sessions_at_once)
        self._start = 0
        self._known = 0
        self._delivered = 0
        self._dropped: Counter[str] = Counter()
        self._queue = Queue(0, batch_records=sink.batch_records, by_session=sink.sessions_at_once > 1)
        self._fed = _Bell()
        self._hungry = _Bell()
        self._done = _Bell()
        self._hurry = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._stopped = anyio.Event()
        self._recovery: anyio.Event | None = None
        """Set when the sink is available again; None while it is."""

    @property
    def progress(self) -> Progress:
        """What has become of the records so far, in this run."""
        dropped = dict(self._dropped)
        if self._queue.skipped:
            dropped["store_full"] = self._queue.skipped
        accepted = max(self._known, self._queue.read) - self._start
        return Progress(
            sink=self.sink.name,
            accepted=accepted,
            delivered=self._delivered,
            pending=accepted - self._delivered - sum(dropped.values()),
            dropped=dropped,
        )

    def notify(self, position: int) -> None:
        """There are records up to ``position`` in the store."""
        self._known = position
        self._hungry.ring()

    async def drain(self) -> None:
        """Return when nothing is pending. Meanwhile batches are not waited for, and a lost sink is tried sooner."""
        self._hurry.set()
        self._fed.ring()
        try:
            while self.progress.pending:
                await self._done.wait()
        finally:
            self._hurry = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Deliver until cancelled. Reports itself as started when the sink is open."""
        try:
            with anyio.CancelScope() as self._scope:
                await self._run(task_status)
        finally:
            self._stopped.set()

    async def aclose(self) -> None:
        """Stop :meth:`run` and wait until it has closed the sink."""
        if self._scope is not None:
            self._scope.cancel()
            await self._stopped.wait()

    async def _run(self, task_status: TaskStatus[None]) -> None:
        sink = self.sink
        self._start = self._known = await self.store.position(sink.name)
        by_session = sink.sessions_at_once > 1
        self._queue = Queue(self._start, batch_records=sink.batch_records, by_session=by_session)
        try:
            await sink.open()
            async with anyio.create_task_group() as workers:
                for _ in range(sink.sessions_at_once):
                    workers.start_soon(self._work)
                task_status.started()
                await self._feed()
        finally:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await sink.aclose()

    async def _feed(self) -> None:
        """Keep the queue filled from the store."""
        while True:
            room = self._window - self._queue.size
            stored = await self.store.read(self._queue.read, room) if room > 0 else ()
            if stored:
                self._queue.put(stored)
                self._fed.ring()
            else:
                await self._hungry.wait()

    async def _work(self) -> None:
        queue = self._queue
        while True:
            if 0 < queue.size < self.sink.batch_records and self.sink.linger_s > 0:
                await self._linger()
            batch = queue.take()
            if not batch:
                await self._fed.wait()
                continue
            first = batch[0][1]
            await self._deliver(batch)
            queue.release(first)
            self._fed.ring(1)

    async def _linger(self) -> None:
        """Wait for a batch to fill."""
        with anyio.move_on_after(self.sink.linger_s):
            while self._queue.size < self.sink.batch_records and not self._hurry.is_set():
                await self._fed.wait()

    async def _deliver(self, batch: list[Stored]) -> None:
        """Deliver a batch to its end, however long that takes."""
        attempt = 0  # of ours to find out whether the sink is back; 0 while that is not our task
        while batch:
            if attempt == 0 and self._recovery is not None:
                await self._recovery.wait()
            failure = await self._try(batch)
            await self.store.commit(self.sink.name, self._queue.position)
            self._hungry.ring()
            self._done.ring()
            if failure is None:
                if attempt and self._recovery is not None:
                    log.warning("sink %s is available again", self.sink.name)
                    self._recovery.set()
                    self._recovery = None
                attempt = 0
            elif attempt or self._recovery is None:
                if self._recovery is None:
                    log.warning("sink %s is unavailable: %s", self.sink.name, failure)
                    self._recovery = anyio.Event()
                attempt += 1
                await self._pause(attempt, failure.retry_after_s)

    async def _try(self, batch: list[Stored]) -> SinkUnavailable | None:
        """Call the sink once and settle what comes of it. Returns what kept it from taking the rest."""
        queue = self._queue
        try:
            await self.sink.deliver([record for _, record in batch])
        except SinkUnavailable as failure:
            self._delivered += failure.delivered
            queue.settle(batch, failure.delivered)
            return failure
        except SinkRefused as refusal:
            self._delivered += refusal.delivered
            queue.settle(batch, refusal.delivered)
            log.warning("sink %s refused %r: %s", self.sink.name, batch[0][1], refusal)
            self._dropped["refused"] += 1
            queue.settle(batch, 1)
        except Exception as mistake:  # noqa: BLE001 (a sink's mistake must not stop the bot)
            # Only the type: the text, or a traceback, may hold a ticket or a token.
            return SinkUnavailable(f"unexpected {type(mistake).__name__}")
        else:
            self._delivered += len(batch)
            queue.settle(batch, len(batch))
        return None

    async def _pause(self, attempt: int, retry_after_s: float | None) -> None:
        """Wait before the next try; a drain cuts it short, but not below what the other side asked for."""
        hurried = self._hurry.is_set()
        bound = HURRIED_DELAY_S if hurried else MAX_DELAY_S
        delay_s = retry_delay_s(attempt, retry_after_s, max_delay_s=bound, rng=self._rng)
        if hurried or retry_after_s is not None:
            await self._sleep(delay_s)
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_hurried, tasks.cancel_scope)
            await self._sleep(delay_s)
            tasks.cancel_scope.cancel()

    async def _cancel_when_hurried(self, scope: anyio.CancelScope) -> None:
        await self._hurry.wait()
        scope.cancel()
