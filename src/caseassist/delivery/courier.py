"""The courier: it moves records from a store to one sink and keeps the sink's position.

What it decides is in small pure parts, :class:`Queue` (who is served next, and what is settled) and
:mod:`caseassist.delivery.pacing` (how long to wait); the loops around them obey.

One rule makes an outage cheap and its end quick: while a sink is unavailable, one worker tries again with growing
pauses, and all the others wait for it to succeed. So an outage costs one request a pause, however much is waiting. It
tries another session each time, so that one which the sink cannot take does not keep all the others back.

Of all couriers that deliver from one store to one sink, in however many processes, one has the store's claim and works;
the others stand by, and one of them takes over when it is gone.
"""

import contextlib
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import cast

import anyio
import msgspec

from caseassist.core.erasure import is_erased
from caseassist.core.errors import PositionConflict, SinkRefused, SinkUnavailable, StoreError
from caseassist.core.records import Record
from caseassist.delivery.pacing import RetryBudget, asked_s, retry_delay_s
from caseassist.delivery.queue import WINDOW_BATCHES, Outcome, Queue
from caseassist.delivery.reports import Progress, SinkHealth
from caseassist.delivery.signals import Bell, Gong
from caseassist.sinks.base import Sink
from caseassist.stores.base import Quarantined, SinkState, Store, Stored

__all__ = ["CLOSE_S", "Courier"]

log = logging.getLogger("caseassist")

HURRIED_DELAY_S = 1.0
POLL_S = 0.5
"""How often to look what other processes have appended, requested, or stopped doing."""
COMMIT_EVERY = 256
"""Settled records after which the position is stored although there is more to do."""
STALLED_S = 60.0
"""Seconds without progress, while there is something to do, after which delivery counts as ill."""
CLOSE_S = 2.0
"""Seconds that a sink gets to close when nobody has set a deadline, or whoever waited is cancelled."""
PAGE = 1000
HELD = "held behind a record of its session that was refused"


class Courier:
    """Delivers a store's records to one sink: :meth:`open` it, then :meth:`run` it.

    ``rng``, ``sleep``, ``clock`` and ``monotonic`` are where chance and time come in; tests pass their own.
    """

    def __init__(
        self,
        store: Store,
        sink: Sink,
        *,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.sink = sink
        self._rng = rng or random.Random()  # noqa: S311 (jitter, not a secret)
        self._sleep = sleep
        self._clock = clock
        self._monotonic = monotonic
        self._state = SinkState()
        """What the store knows of the sink, as far as we know."""
        self._counted: Counter[str] = Counter()
        """What of the queue's outcomes is in there."""
        self._queue = self._queue_from(0)
        self._known = 0
        self._claimed = False
        self._aside: list[Quarantined] = []
        """Put aside, and not stored yet."""
        self._keeps_aside = False
        """Whether anything was ever put aside: then the store must be asked what has become of it."""
        self._held: set[str] = set()
        """Sessions of which something is, or was, put aside, for a sink that wants them held."""
        self._in_flight = 0
        self._budget = RetryBudget(monotonic())
        self._more = Bell()
        self._room = Bell()
        self._full = Bell()
        self._keep = Bell()
        self._requests = Bell()
        self._ready = Gong()
        self._done = Gong()
        self._hurry = anyio.Event()
        self._drains = 0
        self._back: anyio.Event | None = None
        """Set when the sink is available again; None while it is."""
        self._asked_s = 0.0
        """For how long the sink wants to be left alone, during an outage."""
        self._failure: SinkUnavailable | None = None
        """What keeps the sink from taking anything, since the latest try."""
        self._store_problems: dict[str, str] = {}
        """What of the store fails at the moment, by what it was asked to do."""
        self._moved_at = monotonic()
        """When something was settled, or began to wait."""
        self._scope: anyio.CancelScope | None = None
        self._turn: anyio.CancelScope | None = None
        """Cancelled when somebody else turns out to deliver."""
        self._close_s = CLOSE_S
        self._closed = anyio.Event()

    @property
    def progress(self) -> Progress:
        """What has become of the records so far."""
        settled, counted = self._queue.settled, self._counted
        return Progress.of(
            self.sink.name,
            self._state,
            accepted=max(self._known, self._queue.read, self._state.position),
            delivered=settled["delivered"] - counted["delivered"],
            aside=len(self._aside),
            dropped={reason: settled[reason] - counted[reason] for reason in ("erased", "removed")},
        )

    @property
    def health(self) -> SinkHealth:
        """Whether delivery goes well: something is settled while there is something to do, and nothing stands in the
        way that only a person can remove."""
        progress = self.progress
        stalled_s = max(self._monotonic() - self._moved_at, 0.0) if progress.pending else 0.0
        problem = next(iter(self._store_problems.values()), str(self._failure or ""))
        paused = self._failure is not None and self._failure.paused
        ok = stalled_s < STALLED_S and not paused and not self.closed
        if self.closed:
            problem = "it is closed"
        elif not ok and not problem:
            problem = f"nothing was settled for {stalled_s:.0f} s"
        return SinkHealth(
            sink=self.sink.name,
            ok=ok,
            problem=problem,
            pending=progress.pending,
            quarantined=progress.quarantined,
            stalled_s=stalled_s,
            standby=self.standby,
        )

    @property
    def standby(self) -> bool:
        """Whether somebody else delivers to the sink."""
        return not self._claimed and not self.closed

    @property
    def closed(self) -> bool:
        """Whether nothing will be delivered any more."""
        return self._closed.is_set()

    def notify(self, position: int = 0) -> None:
        """There may be more in the store: records up to ``position`` are."""
        if position > self._known:
            if self._known <= self._queue.position:
                self._moved_at = self._monotonic()
            self._known = position
        self._more.ring()

    def look_for_requests(self) -> None:
        """An operator may want something to be sent again."""
        self._requests.ring()

    async def drain(self) -> None:
        """Return when all that is known now is settled and that is stored, or when nothing will be delivered any more.

        Meanwhile batches are not waited for, and a lost sink is tried sooner.
        """
        if self.standby:
            with contextlib.suppress(StoreError):  # what others have appended since we looked
                self._known = max(self._known, await self.store.last_position())
        goal = max(self._known, self._queue.read)
        self._drains += 1
        self._hurry.set()
        self._full.ring()
        self._keep.ring()
        try:
            while not self._has_settled(goal) and not self.closed:
                await self._done.wait()
        finally:
            self._drains -= 1
            if not self._drains:
                self._hurry = anyio.Event()

    def _has_settled(self, goal: int) -> bool:
        """Whether everything up to a position is settled, and that is stored unless the store fails."""
        return self._state.position >= goal or ("commit" in self._store_problems and self._queue.position >= goal)

    async def open(self) -> None:
        """Open the sink. If that fails, close it and raise what it raised."""
        self._scope = anyio.CancelScope()
        try:
            await self._try_to_claim()
            await self.sink.open()
        except BaseException:
            await self.aclose()
            raise

    async def run(self) -> None:
        """Deliver until stopped or cancelled, then close the sink."""
        assert self._scope is not None
        try:
            with self._scope:
                while True:
                    await self._stand_by()
                    with anyio.CancelScope() as self._turn:
                        async with anyio.create_task_group() as tasks:
                            tasks.start_soon(self._keep_position)
                            tasks.start_soon(self._serve_requests)
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
                try:
                    if self._claimed:
                        await self._commit()
                    await self.sink.aclose()
                finally:
                    await self._release()
        except BaseException as mistake:
            if not _is_mistake(mistake):
                raise
            log.warning("sink %s did not close: unexpected %s", self.sink.name, type(mistake).__name__)
        finally:
            self._closed.set()
            self._done.strike()

    # Whose turn it is.

    async def _try_to_claim(self) -> bool:
        """Become the one who delivers, or see how far that one is."""
        self._claimed = await self.store.claim(self.sink.name)
        state = await self.store.state(self.sink.name)
        last = await self.store.last_position()
        if state.position > self._state.position or last > self._known:
            self._moved_at = self._monotonic()
        self._state = state
        self._known = max(self._known, last)
        if self._claimed:
            await self._begin_from(state)
        else:
            self._queue = self._queue_from(state.position)
            self._counted = Counter()
        self._done.strike()
        return self._claimed

    async def _begin_from(self, state: SinkState) -> None:
        self._aside = []
        self._back = None
        self._in_flight = 0
        self._held = set()
        self._keeps_aside = state.quarantined > 0 or bool(state.dropped_ahead)
        hold = self.sink.on_refused == "hold"
        ahead = set(state.dropped_ahead)
        after = 0 if hold else state.position
        while state.quarantined and (page := await self.store.quarantined(self.sink.name, after=after, limit=PAGE)):
            after = page[-1].position
            ahead |= {entry.position for entry in page if entry.position > state.position}
            if hold:
                self._held |= {entry.record.session_id for entry in page}
        self._queue = self._queue_from(state.position, ahead)
        self._counted = Counter()
        self._more.ring()
        self._requests.ring()

    async def _stand_by(self) -> None:
        """Return when it is our turn."""
        failures = 0
        while not self._claimed:
            try:
                if await self._try_to_claim():
                    log.info("delivering to sink %s from now on", self.sink.name)
                    return
                failures = 0
                self._store_problems.pop("claim", None)
                await self._sleep(POLL_S * self._rng.uniform(0.5, 1.5))
            except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
                failures += 1
                self._note_failure_of_store("claim", error)
                await self._sleep(retry_delay_s(failures, None, rng=self._rng))

    async def _release(self) -> None:
        if self._claimed:
            self._claimed = False
            try:
                await self.store.release(self.sink.name)
            except Exception as error:  # noqa: BLE001 (it ends with the process, at the latest)
                self._note_failure_of_store("release", error)

    async def _give_way(self, conflict: PositionConflict) -> None:
        """Somebody else delivers all the same: begin again from where they are."""
        log.warning("%s", conflict)
        self._aside = []
        await self._release()
        if self._turn is not None:
            self._turn.cancel()

    # The loops.

    def _queue_from(self, position: int, settled: Iterable[int] = ()) -> Queue:
        sink = self.sink
        window = sink.batch_records * max(WINDOW_BATCHES, sink.sessions_at_once)
        by_session = sink.sessions_at_once > 1
        return Queue(position, batch_records=sink.batch_records, by_session=by_session, window=window, settled=settled)

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
                released = await self._released(stored)
            except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
                failures += 1
                self._note_failure_of_store("read", error)
                await self._sleep(retry_delay_s(failures, None, rng=self._rng))
                continue
            failures = 0
            self._store_problems.pop("read", None)
            if stored:
                self._held -= released
                self._ready.strike(queue.put(stored, self._not_to_deliver))
                if queue.size >= self.sink.batch_records:
                    self._full.ring()
                if not queue.size:  # nothing of it is for the workers
                    self._note_settled(idle=True)
            else:
                with anyio.move_on_after(POLL_S if self.store.shared else math.inf):
                    await self._more.wait()
                await self._linger_for_store()

    async def _linger_for_store(self) -> None:
        """Wait a moment before asking the store again, unless somebody is in a hurry."""
        if self.store.linger_s:
            with anyio.move_on_after(self.store.linger_s):
                await self._hurry.wait()

    def _not_to_deliver(self, stored: Stored) -> Outcome | None:
        """What becomes of a record that was just read and is not to be delivered."""
        _, record = stored
        if is_erased(record):
            return "erased"
        if self._held and record.session_id in self._held:
            self._put_aside([stored], HELD, None)
            return "quarantined"
        return None

    async def _released(self, stored: Sequence[Stored]) -> set[str]:
        """The held sessions among these of which nothing is put aside any more."""
        held = self._held and {record.session_id for _, record in stored} & self._held
        waiting = {entry.record.session_id for entry in self._aside}
        return {
            session_id
            for session_id in held or ()
            if session_id not in waiting
            and not await self.store.quarantined(self.sink.name, session_id=session_id, limit=1)
        }

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
                self._note_settled(idle=True)
                await self._ready.wait()
                continue
            failure = await self._try(batch)
            if failure is not None and self._back is None:
                await self._probe(failure)

    async def _linger(self) -> None:
        """Wait for a batch to fill."""
        with anyio.move_on_after(self.sink.linger_s):
            while self._queue.size < self.sink.batch_records and not self._hurry.is_set():
                await self._full.wait()

    async def _probe(self, failure: SinkUnavailable | None) -> None:
        """See an outage through: try again until something gets through to the end."""
        log.warning("sink %s is unavailable: %s", self.sink.name, failure)
        self._back = back = anyio.Event()
        attempt = 0
        while failure is not None:
            self._failure = failure
            attempt = 1 if failure.delivered else attempt + 1
            self._note_settled(idle=True)
            await self._pause(attempt)
            batch = self._queue.take()
            if not batch:  # it took all of them and complained: the next to come may find out
                break
            failure = await self._try(batch)
        else:
            await self._stand_back()
            log.warning("sink %s is available again", self.sink.name)
        self._failure = None
        self._back = None
        back.set()

    async def _try(self, batch: list[Stored]) -> SinkUnavailable | None:
        """Call the sink once and settle what comes of it. Returns what kept it from taking the rest."""
        self._in_flight += 1
        try:
            delivered, refusal, failure = await self._deliver([record for _, record in batch])
        finally:
            self._in_flight -= 1
        if delivered:
            self._budget.succeed(delivered)
        hold = self.sink.on_refused == "hold"
        aside = self._queue.settle(batch, delivered, refused=refusal is not None, held=hold)
        if refusal is not None:
            log.warning("sink %s refused %r: %s", self.sink.name, aside[0][1], refusal)
            self._put_aside(aside[:1], refusal.reason, refusal.status)
            self._put_aside(aside[1:], HELD, None)
            if hold:
                self._held.add(aside[0][1].session_id)
        if delivered or aside:
            self._moved_at = self._monotonic()
            self._note_settled()
        self._room.ring()
        self._done.strike()
        if failure is not None:
            self._asked_s = max(self._asked_s, asked_s(failure.retry_after_s))
        return failure

    async def _deliver(self, records: Sequence[Record]) -> tuple[int, SinkRefused | None, SinkUnavailable | None]:
        """Call the sink: how many records it took, and what it has against the next one, or against all of them."""
        try:
            await self.sink.deliver(records)
        except SinkUnavailable as failure:
            return max(0, min(failure.delivered, len(records))), None, failure
        except SinkRefused as refusal:
            return max(0, min(refusal.delivered, len(records) - 1)), refusal, None
        except BaseException as mistake:
            if not _is_mistake(mistake):
                raise
            # Only the type: the text, or a traceback, may hold a ticket or a token.
            return 0, None, SinkUnavailable(f"unexpected {type(mistake).__name__}")
        return len(records), None, None

    def _put_aside(self, aside: Sequence[Stored], reason: str, status: int | None) -> None:
        at = self._clock()
        self._aside += [
            Quarantined(position=position, record=record, reason=reason, status=status, at=at)
            for position, record in aside
        ]

    # What the store remembers.

    def _note_settled(self, *, idle: bool = False) -> None:
        """Have the position stored if it is time: nothing else to do, something put aside, or enough of it."""
        moved = self._queue.position - self._state.position
        if self._aside or moved >= COMMIT_EVERY or (moved and (idle or self._hurry.is_set())):
            self._keep.ring()

    async def _keep_position(self) -> None:
        """Store how far we are, again and again. What is settled during one commit goes with the next.

        Nothing is lost by a commit that fails: what is delivered again after a restart is recognisable.
        """
        failures = 0
        while True:
            await self._keep.wait()
            if not self._aside:
                await self._linger_for_store()
            while not await self._commit():
                failures += 1
                await self._sleep(retry_delay_s(failures, None, rng=self._rng))
            failures = 0

    async def _commit(self) -> bool:
        """Have the store remember what is settled. False if it could not."""
        queue, aside = self._queue, self._aside[:]
        position, passed = queue.position, Counter(queue.passed)
        state = self._state
        if position == state.position and not aside:
            return True
        dropped = {reason: more for reason in ("erased", "removed") if (more := passed[reason] - self._counted[reason])}
        try:
            await self.store.commit(
                self.sink.name, after=state.position, position=position, dropped=dropped, quarantined=aside
            )
            self._keeps_aside = self._keeps_aside or bool(aside)
            if self._keeps_aside:  # an operator may have changed something, too
                state = await self.store.state(self.sink.name)
            else:
                totals = {reason: state.dropped.get(reason, 0) + more for reason, more in dropped.items()}
                state = SinkState(position=position, dropped={**state.dropped, **totals})
        except PositionConflict as conflict:
            await self._give_way(conflict)
            return True
        except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
            self._note_failure_of_store("commit", error)
            return False
        del self._aside[: len(aside)]
        self._counted = passed
        self._state = state
        self._store_problems.pop("commit", None)
        self._done.strike()
        return True

    def _note_failure_of_store(self, asked: str, error: Exception) -> None:
        problem = f"the store fails: {type(error).__name__}"
        if self._store_problems.get(asked) != problem:
            log.warning("delivery to sink %s is held up: %s", self.sink.name, problem)
        self._store_problems[asked] = problem
        self._done.strike()

    # What an operator wants.

    async def _serve_requests(self) -> None:
        """Send again what an operator has requested, one at a time and while nothing else is under way."""
        failures = 0
        while True:
            if not failures:
                with anyio.move_on_after(POLL_S if self.store.shared else math.inf):
                    await self._requests.wait()
            try:
                self._state = await self._state_if_unmoved()
                while self._state.quarantined and (
                    page := await self.store.quarantined(self.sink.name, requested=True, limit=PAGE)
                ):
                    await self._resend(page)
                self._store_problems.pop("requests", None)
                failures = 0
                continue
            except SinkUnavailable as failure:
                log.warning("sink %s is unavailable: %s", self.sink.name, failure)
                asked = failure.retry_after_s
            except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
                self._note_failure_of_store("requests", error)
                asked = None
            failures += 1
            await self._sleep(retry_delay_s(failures, asked, rng=self._rng))

    async def _state_if_unmoved(self) -> SinkState:
        """The state as the store has it, unless a commit comes in between."""
        before = self._state
        state = await self.store.state(self.sink.name)
        return state if before is self._state and state.position == before.position else self._state

    async def _resend(self, entries: Sequence[Quarantined]) -> None:
        """Send each again, in order; of a held session nothing after one that is refused again."""
        stuck: set[str] = set()
        for entry in entries:
            session_id = entry.record.session_id
            if session_id in stuck:
                refusal: SinkRefused | None = SinkRefused(HELD)
            else:
                refusal = await self._send_alone(entry.record)
            if refusal is None:
                await self.store.resolve(self.sink.name, entry.position, delivered=True)
            else:
                if self.sink.on_refused == "hold":
                    stuck.add(session_id)
                back = msgspec.structs.replace(
                    entry, reason=refusal.reason, status=refusal.status, at=self._clock(), requested=False
                )
                await self.store.put_back(self.sink.name, back)
            self._state = await self._state_if_unmoved()
            self._moved_at = self._monotonic()
            self._done.strike()

    async def _send_alone(self, record: Record) -> SinkRefused | None:
        """Deliver one record while no other call is on its way. Raises SinkUnavailable."""
        while self._back is not None:
            await self._back.wait()
        self._back = back = anyio.Event()  # the workers wait for it, as in an outage
        try:
            while self._in_flight:
                await self._done.wait()
            _, refusal, failure = await self._deliver([record])
        finally:
            self._back = None
            back.set()
        if failure is not None:
            raise failure
        return refusal

    # Pauses.

    async def _pause(self, attempt: int) -> None:
        """Wait before the next try; a drain cuts it short, but not below what the sink asked for."""
        delay_s = retry_delay_s(attempt, self._asked_s, rng=self._rng)
        delay_s = max(delay_s, self._budget.spend(self._monotonic()))
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
            seconds, self._asked_s = self._asked_s, 0.0
            await self._sleep(seconds)
            slept_s += seconds
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
