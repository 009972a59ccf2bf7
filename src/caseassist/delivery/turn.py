"""A turn at delivering from a store to a sink: from getting the claim to losing it.

What it decides is in small parts, :class:`Queue` (who is served next, and what is settled), :class:`Books` (what the
store is to remember) and :mod:`caseassist.delivery.pacing` (how long to wait); the loops around them obey.

One rule makes an outage cheap and its end quick: while a sink is unavailable, one worker tries again with growing
pauses, and all the others wait for it to succeed. So an outage costs one request a pause, however much is waiting. It
tries another session each time, so that one which the sink cannot take does not keep all the others back.
"""

import contextlib
import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast

import anyio
import msgspec

from caseassist.core.erasure import is_erased
from caseassist.core.errors import CorruptRecord, PositionConflict, SinkRefused, SinkUnavailable
from caseassist.core.records import Record
from caseassist.delivery.books import Books
from caseassist.delivery.pacing import Pacing, RetryBudget, asked_s, retry_delay_s
from caseassist.delivery.queue import WINDOW_BATCHES, Outcome, Queue
from caseassist.delivery.reports import Progress
from caseassist.delivery.signals import Bell, Gong, Hurry
from caseassist.sinks.base import Sink
from caseassist.stores.base import Quarantined, SinkState, Store, Stored

__all__ = ["POLL_S", "Turn", "is_mistake"]

log = logging.getLogger("caseassist")

HURRIED_DELAY_S = 1.0
POLL_S = 0.5
"""How often to look what other processes have appended, requested, or stopped doing."""
UNSTORED_WINDOWS = 16
"""How far delivery runs ahead of what the store remembers, while it fails to remember."""
PAGE = 1000
HELD = "held behind a record of its session that was refused"


class Turn:
    """Delivers to one sink: :meth:`begin` it, then :meth:`run` it. It is of no use any more after that.

    ``done``: struck whenever something has got on. ``hurry``: somebody waits for the end.
    """

    def __init__(
        self, store: Store, sink: Sink, pacing: Pacing, budget: RetryBudget, *, done: Gong, hurry: Hurry
    ) -> None:
        self.store = store
        self.sink = sink
        self.failure: SinkUnavailable | None = None
        """Why the sink took nothing at the latest try."""
        self.moved_at = pacing.monotonic()
        """When something was settled, or began to wait."""
        self.more = Bell()
        """Rings when there is more in the store than was read."""
        self._pacing = pacing
        self._budget = budget
        self._done = done
        self._hurry = hurry
        self._window = sink.batch_records * max(WINDOW_BATCHES, sink.sessions_at_once)
        self._held: set[str] = set()
        """Sessions of which something is, or was, put aside, for a sink that wants them held."""
        self._in_flight = 0
        self._gate: anyio.Event | None = None
        """None while workers may call the sink; set when they may again."""
        self._asked_s = 0.0
        """For how long the sink wants to be left alone."""
        self._asked_at = -math.inf
        """When the store was asked for more, on the event loop's clock, if it wants to be asked less often."""
        self._stale_to = 0
        """What was read up to here has waited through an outage: its people may have been erased since."""
        self._room = Bell()
        self._full = Bell()
        self._requests = Bell()
        self._ready = Gong()
        self._scope: anyio.CancelScope | None = None
        self._open(SinkState(), ())

    async def begin(self) -> None:
        """Find out where the sink stands."""
        state = await self.store.state(self.sink.name)
        hold = self.sink.on_refused == "hold"
        ahead = set(state.resolved_ahead)
        after = 0 if hold else state.position
        while state.quarantined and (page := await self.store.quarantined(self.sink.name, after=after, limit=PAGE)):
            after = page[-1].position
            ahead |= {entry.position for entry in page if entry.position > state.position}
            if hold:
                self._held |= {entry.record.session_id for entry in page}
        self._open(state, ahead)
        self._requests.ring()

    def _open(self, state: SinkState, ahead: Iterable[int]) -> None:
        """Begin from what the store says. ``ahead``: positions beyond its own that are settled, too."""
        sink = self.sink
        self._queue = Queue(
            state.position,
            batch_records=sink.batch_records,
            by_session=sink.sessions_at_once > 1,
            window=self._window,
            settled=ahead,
        )
        self._books = Books(
            self.store,
            sink.name,
            state,
            self._queue,
            self._pacing,
            room=self._room,
            done=self._done,
            hurry=self._hurry,
        )

    async def run(self) -> None:
        """Deliver until cancelled, or until it turns out that somebody else delivers."""
        with anyio.CancelScope() as self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_books, self._scope)
                tasks.start_soon(self._serve_requests)
                for _ in range(self.sink.sessions_at_once):
                    tasks.start_soon(self._work)
                await self._feed()

    @property
    def state(self) -> SinkState:
        """What the store knows of the sink, as far as we know."""
        return self._books.state

    @property
    def store_problems(self) -> Mapping[str, str]:
        """What of the store fails at the moment, by what it was asked to do."""
        return self._books.problems

    @property
    def read(self) -> int:
        """Position of the last record that was read."""
        return self._queue.read

    def progress(self, known: int) -> Progress:
        """What has become of the records so far. ``known``: the last position that is known to be in the store."""
        return self._books.progress(known)

    def has_settled(self, goal: int) -> bool:
        """Whether everything up to a position is settled, and that is stored unless the store fails."""
        return self._books.have(goal)

    def notify(self, known: int) -> None:
        """There may be more in the store than what was there up to ``known``."""
        if known <= self._queue.position:
            self.moved_at = self._pacing.monotonic()
        self.more.ring()

    def look_for_requests(self) -> None:
        """An operator may want something to be sent again, or has dropped something."""
        self._requests.ring()

    def hurry_up(self) -> None:
        """Somebody waits from now on."""
        self._full.ring()
        self._books.hurry_up()

    def erase(self, session_ids: Collection[str]) -> None:
        """What waits of these sessions is not to be delivered."""
        for session_id in session_ids:
            self._queue.pull(session_id, "erased")
        self._requests.ring()
        self._books.note_settled(idle=True)

    async def finish(self) -> None:
        """Store what is settled, if the store can."""
        with contextlib.suppress(PositionConflict):
            await self._books.close()

    # The loops.

    async def _keep_books(self, turn: anyio.CancelScope) -> None:
        try:
            await self._books.keep()
        except PositionConflict:
            turn.cancel()

    async def _feed(self) -> None:
        """Keep the queue filled from the store."""
        queue, books = self._queue, self._books
        failures = 0
        while True:
            room = queue.room if books.unstored <= UNSTORED_WINDOWS * self._window else 0
            if not room:
                await self._room.wait()
                continue
            if self.store.linger_s:
                self._asked_at = anyio.current_time()
            try:
                stored = await self.store.read(queue.read, room)
                held = await self._still_held(stored)
            except CorruptRecord as error:
                if error.position is not None and error.position > queue.read:
                    log.warning("sink %s does not get what cannot be read: %s", self.sink.name, error)
                    queue.skip(error.position, "corrupt")
                    books.note_settled(idle=True)
                    continue
                failure: Exception = error
            except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
                failure = error
            else:
                failures = 0
                books.problems.pop("read", None)
                if stored:
                    self._take_in(stored, held)
                else:
                    await self._wait_for_more()
                continue
            failures += 1
            books.note_problem("read", failure)
            await self._pacing.sleep(retry_delay_s(failures, None, rng=self._pacing.rng))

    def _take_in(self, stored: Sequence[Stored], held: Mapping[str, bool]) -> None:
        """Put in what was read, but for those who were erased and the sessions that are ``held``."""
        queue = self._queue
        outcomes: dict[int, Outcome] = {position: "erased" for position, record in stored if is_erased(record)}
        for item in stored if held else ():
            position, session_id = item[0], item[1].session_id
            if session_id in held and position not in outcomes:
                outcomes[position] = "quarantined"
                self._books.put_aside([item], HELD, None, requested=held[session_id])
        self._ready.strike(queue.put(stored, outcomes))
        if queue.size >= self.sink.batch_records:
            self._full.ring()
        if not queue.size:  # nothing of it is for the workers
            self._books.note_settled(idle=True)

    async def _wait_for_more(self) -> None:
        if self.store.shared:  # others append to it, too, and tell nobody
            with anyio.move_on_after(POLL_S):
                await self.more.wait()
        else:
            await self.more.wait()
        if self.store.linger_s:
            await self._linger_for_store()

    async def _still_held(self, stored: Sequence[Stored]) -> Mapping[str, bool]:
        """Those of the sessions that are held, and whether an operator wants what is put aside of them to be sent."""
        if not self._held:
            return {}
        waiting = {entry.record.session_id for entry in self._books.aside}
        held: dict[str, bool] = {}
        for session_id in {record.session_id for _, record in stored} & self._held:
            first = await self.store.quarantined(self.sink.name, session_id=session_id, limit=1)
            if first or session_id in waiting:
                held[session_id] = bool(first) and first[0].requested
            else:
                self._held.discard(session_id)
        return held

    async def _linger_for_store(self) -> None:
        """If the store was asked a moment ago, wait before asking it again, unless somebody is in a hurry."""
        next_at = self._asked_at + self.store.linger_s
        if next_at > anyio.current_time():
            with anyio.CancelScope(deadline=next_at):
                await self._hurry.wait()

    async def _work(self) -> None:
        queue = self._queue
        while True:
            if 0 < queue.size < self.sink.batch_records and self.sink.linger_s > 0:
                await self._linger()
            if self._gate is not None:
                await self._gate.wait()
                continue
            batch = queue.take()
            if not batch:
                self._books.note_settled(idle=True)
                await self._ready.wait()
                continue
            failure = await self._try(batch)
            if failure is not None and self._gate is None:
                self._gate = gate = anyio.Event()
                try:
                    await self._see_outage_through(failure)
                finally:
                    self._gate = None
                    gate.set()

    async def _linger(self) -> None:
        """Wait for a batch to fill."""
        with anyio.move_on_after(self.sink.linger_s):
            while self._queue.size < self.sink.batch_records and not self._hurry.on:
                await self._full.wait()

    async def _see_outage_through(self, failure: SinkUnavailable | None) -> None:
        """Try again until something gets through to the end. Nobody else calls the sink meanwhile."""
        log.warning("sink %s is unavailable: %s", self.sink.name, failure)
        attempt = 0
        while failure is not None:
            self.failure = failure
            attempt = 1 if failure.delivered else attempt + 1
            self._books.note_settled(idle=True)
            await self._pause(attempt)
            self._stale_to = self._queue.read
            batch = self._queue.take()
            if not batch:  # it took all of them and complained: the next to come may find out
                return
            failure = await self._try(batch)
        await self._stand_back()
        self.failure = None
        log.warning("sink %s is available again", self.sink.name)
        self._ready.strike(self._queue.go_on())

    async def _try(self, batch: Sequence[Stored]) -> SinkUnavailable | None:
        """Call the sink once and settle what comes of it. Returns what kept it from taking the rest."""
        self._in_flight += 1
        try:
            erased = await self._erased_since(batch) if batch[0][0] <= self._stale_to else None
            if erased:
                self._queue.settle(batch, 0, erased)
                delivered, refusal, failure = 0, None, None
            else:
                delivered, refusal, failure = await self._deliver([record for _, record in batch])
        finally:
            self._in_flight -= 1
            self._done.strike()
        if not erased:
            self._settle(batch, delivered, refusal)
        if delivered or refusal is not None:
            self._budget.succeed(delivered)
            self.moved_at = self._pacing.monotonic()
        if failure is None:
            if self._gate is None:
                self.failure = None
                self._ready.strike(self._queue.go_on())
        else:
            self._asked_s = max(self._asked_s, asked_s(failure.retry_after_s))
        self._books.note_settled()
        self._room.ring()
        self._done.strike()
        return failure

    def _settle(self, batch: Sequence[Stored], delivered: int, refusal: SinkRefused | None) -> None:
        if refusal is None:
            self._queue.settle(batch, delivered)
            return
        refused = batch[delivered]
        log.warning("sink %s refused %r: %s", self.sink.name, refused[1], refusal)
        self._books.put_aside([refused], refusal.reason, refusal.status)
        if self.sink.on_refused != "hold":
            self._queue.settle(batch, delivered, {refused[0]: "quarantined"})
            return
        session_id = refused[1].session_id
        self._held.add(session_id)
        held = [item for item in batch[delivered + 1 :] if item[1].session_id == session_id]
        self._queue.settle(
            batch, delivered, dict.fromkeys((position for position, _ in [refused, *held]), "quarantined")
        )
        self._books.put_aside([*held, *self._queue.pull(session_id, "quarantined")], HELD, None)

    async def _erased_since(self, batch: Sequence[Stored]) -> Mapping[int, Outcome]:
        """Those of the records, that have waited long, of people who were erased meanwhile, by position."""
        erased: set[str] = set()
        for session_id in {record.session_id for _, record in batch}:
            try:
                records = await self.store.load(session_id)
            except Exception as error:  # noqa: BLE001 (then what was read holds)
                self._books.note_problem("read", error)
                continue
            if records and is_erased(records[0]):
                erased.add(session_id)
        return {position: "erased" for position, record in batch if record.session_id in erased}

    async def _deliver(self, records: Sequence[Record]) -> tuple[int, SinkRefused | None, SinkUnavailable | None]:
        """Call the sink: how many records it took, and what it has against the next one, or against all of them."""
        try:
            await self.sink.deliver(records)
        except SinkUnavailable as failure:
            return max(0, min(failure.delivered, len(records))), None, failure
        except SinkRefused as refusal:
            return max(0, min(refusal.delivered, len(records) - 1)), refusal, None
        except BaseException as mistake:
            if not is_mistake(mistake):
                raise
            # Only the type: the text, or a traceback, may hold a ticket or a token.
            return 0, None, SinkUnavailable(f"unexpected {type(mistake).__name__}")
        return len(records), None, None

    # What an operator wants.

    async def _serve_requests(self) -> None:
        """Send again what an operator has requested, one at a time and while nothing else is under way."""
        failures = 0
        while True:
            if not failures:
                with anyio.move_on_after(POLL_S if self.store.shared else math.inf):
                    await self._requests.wait()
            try:
                await self._books.look_at_state()
                while self.state.quarantined and (
                    page := await self.store.quarantined(self.sink.name, requested=True, limit=PAGE)
                ):
                    for entry in page:
                        await self._resend(entry)
                    await self._books.look_at_state()
                self._books.problems.pop("requests", None)
                failures = 0
                continue
            except SinkUnavailable:
                pass
            except Exception as error:  # noqa: BLE001 (a store that fails must not stop the bot)
                self._books.note_problem("requests", error)
            failures += 1
            await self._pacing.sleep(retry_delay_s(failures, None, rng=self._pacing.rng))

    async def _resend(self, entry: Quarantined) -> None:
        """Send one again. Raises SinkUnavailable."""
        name, session_id = self.sink.name, entry.record.session_id
        # It may have been erased, dropped, or put back since the page was read; of a held session what comes first goes
        # first.
        around = await self.store.quarantined(
            name,
            session_id=session_id,
            after=0 if self.sink.on_refused == "hold" else entry.position - 1,
            limit=1,
        )
        if not around or around[0].position > entry.position:
            return
        refusal = SinkRefused(HELD) if around[0].position < entry.position else await self._send_alone(around[0].record)
        if refusal is None:
            await self.store.resolve(name, entry.position)
        else:
            back = msgspec.structs.replace(
                around[0] if around[0].position == entry.position else entry,
                reason=refusal.reason,
                status=refusal.status,
                at=self._pacing.clock(),
                requested=False,
            )
            await self.store.put_back(name, back)
        self.moved_at = self._pacing.monotonic()

    async def _send_alone(self, record: Record) -> SinkRefused | None:
        """Deliver one record while no other call is on its way. Raises SinkUnavailable when the outage is over."""
        while self._gate is not None:
            await self._gate.wait()
        self._gate = gate = anyio.Event()
        try:
            while self._in_flight:
                await self._done.wait()
            await self._stand_back()
            _, refusal, failure = await self._deliver([record])
            if failure is None:
                self.failure = None
                return refusal
            self._asked_s = max(self._asked_s, asked_s(failure.retry_after_s))
            await self._see_outage_through(failure)
            raise failure
        finally:
            self._gate = None
            gate.set()

    # Pauses.

    async def _pause(self, attempt: int) -> None:
        """Wait before the next try; a drain cuts it short, but not below what the sink asked for."""
        rng = self._pacing.rng
        delay_s = retry_delay_s(attempt, self._asked_s, rng=rng)
        delay_s = max(delay_s, self._budget.spend(self._pacing.monotonic()))
        delay_s -= await self._stand_back()
        slept = False
        if not self._hurry.on:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._cancel_when_hurried, tasks.cancel_scope)
                await self._pacing.sleep(max(delay_s, 0.0))
                slept = True
                tasks.cancel_scope.cancel()
        if not slept:  # spread it all the same: many clients may be closing at once, or one may flush again and again
            await self._pacing.sleep(max(min(delay_s, rng.uniform(0.0, HURRIED_DELAY_S)), 0.0))

    async def _stand_back(self) -> float:
        """Wait for as long as the sink asked for, and return how long that was.

        Calls that were on their way when the outage began can come back meanwhile and ask for more.
        """
        slept_s = 0.0
        while self._asked_s:
            seconds, self._asked_s = self._asked_s, 0.0
            await self._pacing.sleep(seconds)
            slept_s += seconds
        return slept_s

    async def _cancel_when_hurried(self, scope: anyio.CancelScope) -> None:
        await self._hurry.wait()
        scope.cancel()


def is_mistake(error: BaseException) -> bool:
    """Whether an exception is a mistake, and neither a cancellation nor the end of the program.

    asyncio's CancelledError is one when nobody has cancelled us: let through, it would end us without a sound.
    """
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return all(is_mistake(each) for each in inner)
    if isinstance(error, anyio.get_cancelled_exc_class()):
        import asyncio  # not at the top: importing caseassist should cost little, and trio's users do without

        task = asyncio.current_task() if isinstance(error, asyncio.CancelledError) else None
        return task is not None and not task.cancelling()
    return not isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
