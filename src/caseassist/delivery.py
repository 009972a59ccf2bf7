"""The courier: it moves records from a store to one sink and keeps the sink's position.

What it decides is in small pure parts, :class:`Queue` (who is served next, and what is settled) and
:func:`retry_delay_s`; the loops around them obey.

One rule makes an outage cheap and its end quick: while a sink is unavailable, one worker tries again with growing
pauses, and all the others wait for it to succeed. So an outage costs one request a pause, however much is waiting. It
tries another session each time, so that one which the sink cannot take does not keep all the others back.
"""

import logging
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import cast

import anyio
import msgspec

from caseassist.core.errors import SinkRefused, SinkUnavailable
from caseassist.core.records import Record
from caseassist.sinks.base import Sink
from caseassist.stores.base import Store, Stored

__all__ = ["Courier", "DrainReport", "Progress", "Queue", "retry_delay_s"]

log = logging.getLogger("caseassist")

BASE_DELAY_S = 0.5
MAX_DELAY_S = 60.0
HURRIED_DELAY_S = 1.0
MAX_ASKED_S = 3600.0
"""The longest wait in seconds that a sink can ask for: a mistake of its must not silence us for ever."""
WINDOW_BATCHES = 4
AHEAD_WINDOWS = 64
"""How far delivery runs ahead of a record that does not get through: it bounds memory, and what is delivered a second
time after a restart."""
CLOSE_S = 2.0
"""Seconds that a sink gets to close when nobody has set a deadline."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of the records for one sink: ``accepted == delivered + pending + sum of dropped``."""

    sink: str
    accepted: int
    delivered: int
    """The sink took them."""
    pending: int
    """Still to be delivered."""
    dropped: Mapping[str, int] = {}
    """Will not be delivered, by reason: ``refused`` by the sink, or ``store_full`` when the store dropped them (counted
    when delivery comes past their place)."""


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

    ``attempt``: 1 after the first failure. ``retry_after_s``: the floor, at most an hour of it; a tenth is spread on
    top, so that many clients do not come back in the same moment.
    """
    bound = min(max_delay_s, BASE_DELAY_S * 2.0 ** min(attempt - 1, 30))
    return max(_asked_s(retry_after_s) * rng.uniform(1.0, 1.1), rng.uniform(0.0, bound))


def _asked_s(retry_after_s: float | None) -> float:
    """What a sink asked for, made sense of: 0 to an hour."""
    return min(retry_after_s, MAX_ASKED_S) if retry_after_s is not None and retry_after_s > 0 else 0.0


class Queue:
    """What was read and is not settled, and who is served next. No I/O, no clock.

    With ``by_session`` a batch holds records of one session, and no session has two batches out at a time; without,
    a batch holds what comes next, and one batch is out at a time. ``window``: how many records should wait at most.
    """

    def __init__(self, position: int, *, batch_records: int, by_session: bool, window: int) -> None:
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
        self._window = window
        self._lanes: dict[str, deque[Stored]] = {}
        self._ready: deque[str] = deque()
        self._open: deque[int] = deque()
        self._settled: set[int] = set()

    @property
    def room(self) -> int:
        """How many records should be put in now; 0 while there is enough to do."""
        if self.size * 2 > self._window:
            return 0
        return max(min(self._window - self.size, AHEAD_WINDOWS * self._window - len(self._open)), 0)

    def put(self, stored: Iterable[Stored]) -> int:
        """Put in what was read from the store, in order. Returns how many more batches can be taken for it."""
        ready = len(self._ready)
        for item in stored:
            position, record = item
            self.skipped += position - self.read - 1
            self.read = position
            self._open.append(position)
            self.size += 1
            key = self._key(record)
            lane = self._lanes.get(key)
            if lane is None:
                self._lanes[key] = deque((item,))
                self._ready.append(key)
            else:
                lane.append(item)
        return len(self._ready) - ready

    def take(self) -> list[Stored]:
        """Take the next batch out; empty if there is none to be served now."""
        if not self._ready:
            return []
        lane = self._lanes[self._ready.popleft()]
        batch = [lane.popleft() for _ in range(min(len(lane), self._batch_records))]
        self.size -= len(batch)
        return batch

    def settle(self, batch: list[Stored], count: int) -> None:
        """A batch is back: its first ``count`` are done with, and the rest waits again, ahead of its session.

        The session can be served again, after those that are ready now.
        """
        self._settled.update(position for position, _ in batch[:count])
        while self._open and self._open[0] in self._settled:
            self.position = self._open.popleft()
            self._settled.remove(self.position)
        if not self._open:
            self.position = self.read
        rest = batch[count:]
        self.size += len(rest)
        key = self._key(batch[0][1])
        lane = self._lanes[key]
        lane.extendleft(reversed(rest))
        if lane:
            self._ready.append(key)
        else:
            del self._lanes[key]

    def _key(self, record: Record) -> str:
        return record.session_id if self._by_session else ""


class _Bell:
    """Wakes one task. A ring while it is busy is remembered."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    async def wait(self) -> None:
        await self._rung.wait()
        if self._rung.is_set():
            self._rung = anyio.Event()

    def ring(self) -> None:
        self._rung.set()


class _Gong:
    """Wakes tasks that wait for something to happen. Nobody else hears it."""

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

    def strike(self, tasks: int | None = None) -> None:
        """Wake so many tasks, those that wait the longest; or all."""
        for _ in range(len(self._waiting) if tasks is None else min(tasks, len(self._waiting))):
            self._waiting.popleft().set()


class Courier:
    """Delivers a store's records to one sink: :meth:`open` it, then :meth:`run` it.

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
        self._queue = self._queue_from(0)
        self._start = 0
        self._known = 0
        self._committed = 0
        self._delivered = 0
        self._dropped: Counter[str] = Counter()
        self._store_fails = False
        self._more = _Bell()
        self._room = _Bell()
        self._full = _Bell()
        self._ready = _Gong()
        self._done = _Gong()
        self._hurry = anyio.Event()
        self._drains = 0
        self._back: anyio.Event | None = None
        """Set when the sink is available again; None while it is."""
        self._asked_s = 0.0
        """For how long the sink wants to be left alone, during an outage."""
        self._scope: anyio.CancelScope | None = None
        self._close_s = CLOSE_S
        self._closed = anyio.Event()

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

    @property
    def closed(self) -> bool:
        """Whether nothing will be delivered any more."""
        return self._closed.is_set()

    def notify(self, position: int = 0) -> None:
        """There may be more in the store: records up to ``position`` are."""
        self._known = max(position, self._known)
        self._more.ring()

    async def drain(self) -> None:
        """Return when all that is known now is settled, or when nothing will be delivered any more.

        Meanwhile batches are not waited for, and a lost sink is tried sooner.
        """
        goal = max(self._known, self._queue.read)
        self._drains += 1
        self._hurry.set()
        self._full.ring()
        try:
            while self._queue.position < goal and not self.closed:
                await self._done.wait()
        finally:
            self._drains -= 1
            if not self._drains:
                self._hurry = anyio.Event()

    async def open(self) -> None:
        """Open the sink. If that fails, close it and raise what it raised."""
        self._start = self._committed = self._known = await self.store.position(self.sink.name)
        self._queue = self._queue_from(self._start)
        self.notify(await self.store.last_position())
        self._scope = anyio.CancelScope()
        try:
            await self.sink.open()
        except BaseException:
            await self.aclose()
            raise

    async def run(self) -> None:
        """Deliver until stopped or cancelled, then close the sink."""
        assert self._scope is not None
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    for _ in range(self.sink.sessions_at_once):
                        tasks.start_soon(self._work)
                    await self._feed()
        finally:
            await self.aclose()

    def stop(self, close_s: float = CLOSE_S) -> None:
        """Make :meth:`run` end. ``close_s``: seconds that the sink gets to close."""
        self._close_s = close_s
        if self._scope is not None:
            self._scope.cancel()

    async def wait_closed(self) -> None:
        """Return when :meth:`run` has ended and the sink is closed."""
        await self._closed.wait()

    async def aclose(self) -> None:
        """Close the sink, which must not be running. What happens there is logged: it concerns nobody any more."""
        if self._scope is None or self.closed:
            return
        try:
            with anyio.move_on_after(self._close_s, shield=True):
                await self._commit()
                await self.sink.aclose()
        except BaseException as mistake:
            if not _is_mistake(mistake):
                raise
            log.warning("sink %s did not close: unexpected %s", self.sink.name, type(mistake).__name__)
        finally:
            self._closed.set()
            self._done.strike()

    def _queue_from(self, position: int) -> Queue:
        sink = self.sink
        window = sink.batch_records * max(WINDOW_BATCHES, sink.sessions_at_once)
        by_session = sink.sessions_at_once > 1
        return Queue(position, batch_records=sink.batch_records, by_session=by_session, window=window)

    async def _feed(self) -> None:
        """Keep the queue filled from the store."""
        queue = self._queue
        failures = 0
        while True:
            room = queue.room
            if not room:
                await self._room.wait()
                continue
            try:
                stored = await self.store.read(queue.read, room)
            except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
                failures += 1
                self._note_failure_of_store(error)
                await self._sleep(retry_delay_s(failures, None, rng=self._rng))
                continue
            failures = 0
            if stored:
                self._ready.strike(queue.put(stored))
                if queue.size >= self.sink.batch_records:
                    self._full.ring()
            else:
                await self._more.wait()

    async def _work(self) -> None:
        queue = self._queue
        while True:
            if self._back is not None:
                await self._back.wait()
                continue
            if 0 < queue.size < self.sink.batch_records and self.sink.linger_s > 0:
                await self._linger()
            batch = queue.take()
            if not batch:
                await self._ready.wait()
                continue
            failure = await self._try(batch)
            if failure is None:
                await self._commit()
            elif self._back is None:
                await self._probe(failure)

    async def _linger(self) -> None:
        """Wait for a batch to fill."""
        with anyio.move_on_after(self.sink.linger_s):
            while self._queue.size < self.sink.batch_records and not self._hurry.is_set():
                await self._full.wait()

    async def _probe(self, failure: SinkUnavailable | None) -> None:
        """See an outage through: try again until something gets through to the end."""
        log.warning("sink %s is unavailable: %s", self.sink.name, failure)
        self._back = anyio.Event()
        attempt = 0
        while failure is not None:
            attempt = 1 if failure.delivered else attempt + 1
            await self._commit()
            await self._pause(attempt)
            batch = self._queue.take()
            if not batch:  # it took all of them and complained: the next to come may find out
                break
            failure = await self._try(batch)
        else:
            await self._stand_back()
            log.warning("sink %s is available again", self.sink.name)
        self._back.set()
        self._back = None
        await self._commit()

    async def _try(self, batch: list[Stored]) -> SinkUnavailable | None:
        """Call the sink once and settle what comes of it. Returns what kept it from taking the rest."""
        failure: SinkUnavailable | None = None
        delivered = refused = 0
        try:
            await self.sink.deliver([record for _, record in batch])
        except SinkUnavailable as error:
            failure = error
            delivered = max(0, min(error.delivered, len(batch)))
        except SinkRefused as refusal:
            delivered = max(0, min(refusal.delivered, len(batch) - 1))
            refused = 1
            log.warning("sink %s refused %r: %s", self.sink.name, batch[delivered][1], refusal)
        except BaseException as mistake:
            if not _is_mistake(mistake):
                raise
            # Only the type: the text, or a traceback, may hold a ticket or a token.
            failure = SinkUnavailable(f"unexpected {type(mistake).__name__}")
        else:
            delivered = len(batch)
        self._delivered += delivered
        if refused:
            self._dropped["refused"] += refused
        self._queue.settle(batch, delivered + refused)
        self._room.ring()
        self._done.strike()
        if failure is not None:
            self._asked_s = max(self._asked_s, _asked_s(failure.retry_after_s))
        return failure

    async def _commit(self) -> None:
        """Have the store remember the position. If it cannot, the next time will do: nothing is lost by it."""
        position = self._queue.position
        if position <= self._committed:
            return
        try:
            await self.store.commit(self.sink.name, position)
        except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
            self._note_failure_of_store(error)
        else:
            self._committed = max(position, self._committed)
            self._store_fails = False

    def _note_failure_of_store(self, error: Exception) -> None:
        if not self._store_fails:
            log.warning("delivery to sink %s is held up by the store: %s", self.sink.name, type(error).__name__)
        self._store_fails = True

    async def _pause(self, attempt: int) -> None:
        """Wait before the next try; a drain cuts it short, but not below what the sink asked for."""
        delay_s = retry_delay_s(attempt, self._asked_s, rng=self._rng)
        delay_s -= await self._stand_back()
        slept = False
        if not self._hurry.is_set():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._cancel_when_hurried, tasks.cancel_scope)
                await self._sleep(max(delay_s, 0.0))
                slept = True
                tasks.cancel_scope.cancel()
        if not slept:  # spread it all the same: many clients may be closing at once, or one may flush again and again
            await self._sleep(max(min(delay_s, self._rng.uniform(0.0, HURRIED_DELAY_S)), 0.0))

    async def _stand_back(self) -> float:
        """Wait for as long as the sink asked for, and return how long that was.

        Calls that were on their way when the outage began can come back meanwhile and ask for more.
        """
        slept_s = 0.0
        while self._asked_s:
            asked_s, self._asked_s = self._asked_s, 0.0
            await self._sleep(asked_s)
            slept_s += asked_s
        return slept_s

    async def _cancel_when_hurried(self, scope: anyio.CancelScope) -> None:
        await self._hurry.wait()
        scope.cancel()


def _is_mistake(error: BaseException) -> bool:
    """Whether an exception is a mistake, and neither a cancellation nor the end of the program.

    asyncio's CancelledError is one when nobody has cancelled us: let through, it would end us without a sound.
    """
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return all(_is_mistake(each) for each in inner)
    if isinstance(error, anyio.get_cancelled_exc_class()):
        import asyncio  # not at the top: importing caseassist should cost little, and trio's users do without

        task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
        return task is not None and not task.cancelling()
    return not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
