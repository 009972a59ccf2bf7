"""The courier and its parts."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cancelling import cut_off
from tests.fakes import (
    LONG_S,
    Act,
    Gate,
    MiddleOfRange,
    Pauses,
    ScriptedSink,
    SlowStore,
    identities,
    idle,
    records_of,
    until,
)

from caseassist.core.errors import SinkRefused, SinkUnavailable
from caseassist.core.records import Record
from caseassist.delivery import (
    AHEAD_WINDOWS,
    HURRIED_DELAY_S,
    MAX_ASKED_S,
    MAX_DELAY_S,
    Courier,
    Queue,
    retry_delay_s,
)
from caseassist.stores.base import Store, Stored
from caseassist.stores.memory import MemoryStore

# --- Pure parts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attempt", "bound"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (1000, 60.0)])
def test_pauses_are_spread_below_a_bound_that_doubles_up_to_a_minute(attempt: int, bound: float) -> None:
    rng = random.Random(7)
    delays = [retry_delay_s(attempt, None, rng=rng) for _ in range(500)]
    assert 0 <= min(delays) < 0.1 * bound
    assert 0.9 * bound < max(delays) <= bound <= MAX_DELAY_S


@pytest.mark.parametrize(("asked", "floor"), [(7.0, 7.0), (0.0, 0.0), (-5.0, 0.0), (1e99, MAX_ASKED_S)])
def test_what_the_other_side_asks_for_is_the_floor_up_to_an_hour(asked: float, floor: float) -> None:
    rng = random.Random(7)
    delays = [retry_delay_s(1, asked, rng=rng) for _ in range(200)]
    assert floor <= min(delays)
    assert max(delays) <= max(floor * 1.1, 0.5)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=12),
    st.integers(1, 3),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["put", "take", "settle"]), st.integers(0, 5)), max_size=80),
)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_a_queue_hands_everything_out_once_in_order_and_knows_how_far_it_is_settled(
    lots: list[tuple[str, int]], batch_records: int, by_session: bool, steps: list[tuple[str, int]]
) -> None:
    seqs = dict.fromkeys("abc", 0)
    waiting: deque[tuple[int, Record]] = deque()
    position = 0
    for name, count in lots:
        for record in records_of(name, seqs[name] + count)[seqs[name] :]:
            position += 1 + (position % 5 == 4)  # now and then a position is missing
            waiting.append((position, record))
        seqs[name] += count
    everything = list(waiting)
    queue = Queue(0, batch_records=batch_records, by_session=by_session, window=6)
    out: list[list[tuple[int, Record]]] = []
    settled: list[tuple[int, Record]] = []

    def check() -> None:
        done = {item[0] for item in settled}
        known = [item[0] for item in everything if item[0] <= queue.read]
        open_ = [at for at in known if at not in done]
        assert queue.position == (max([0, *(at for at in known if at < open_[0])]) if open_ else queue.read)
        assert queue.size == len(open_) - sum(map(len, out))
        sessions = [{record.session_id for _, record in batch} for batch in out]
        if by_session:
            assert all(len(names) == 1 for names in sessions)
            assert len(set().union(*sessions)) == len(sessions)
        else:
            assert len(out) <= 1

    finish = [("put", 99), *[("take", 0), ("settle", 99)] * 200]
    for step, amount in [*steps, *finish]:
        if step == "put":
            queue.put([waiting.popleft() for _ in range(min(amount, len(waiting)))])
        elif step == "take" and (batch := queue.take()):
            assert len(batch) <= batch_records
            out.append(batch)
        elif step == "settle" and out:
            batch = out.pop(0)
            settled += batch[:amount]
            queue.settle(batch, min(amount, len(batch)))
        check()
    while waiting:
        queue.put([waiting.popleft()])
        while batch := queue.take():
            settled += batch
            queue.settle(batch, len(batch))
    assert sorted(settled, key=lambda item: item[0]) == everything
    for name in "abc":
        own = [record.seq for _, record in settled if record.session_id == name]
        assert own == sorted(own)
    assert queue.skipped == sum(b - a - 1 for a, b in pairwise([0, *(place for place, _ in everything)]))


# --- The courier ----------------------------------------------------------------------------------------------------


class Run:
    """A courier at work on some sessions of some records."""

    def __init__(self, *script: Act, sessions: int = 1, count: int = 3, at_once: int = 1, batch: int = 256) -> None:
        self.pauses = Pauses()
        self.store = MemoryStore()
        self.sink = ScriptedSink(*script, sessions_at_once=at_once, batch_records=batch)
        self.records = [records_of(f"s{n}", count) for n in range(sessions)]
        self.courier = Courier(self.store, self.sink, rng=random.Random(7), sleep=self.pauses)

    async def append(self) -> None:
        for records in self.records:
            self.courier.notify(await self.store.append(records, timeout_s=0))

    async def to_the_end(self) -> "Run":
        with anyio.fail_after(LONG_S):
            await self.courier.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.courier.run)
                await self.append()
                await self.courier.drain()
                self.courier.stop()
        return self

    def check_all_taken_in_order(self) -> None:
        for records in self.records:
            taken = [record for record in self.sink.taken if record.session_id == records[0].session_id]
            assert taken == records


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("batch", [1, 2, 256])
async def test_everything_is_delivered_once_and_in_order(at_once: int, batch: int) -> None:
    run = await Run(sessions=9, count=5, at_once=at_once, batch=batch).to_the_end()
    run.check_all_taken_in_order()
    progress = run.courier.progress
    assert (progress.accepted, progress.delivered, progress.pending, progress.dropped) == (45, 45, 0, {})
    assert await run.store.position("scripted") == 45
    assert (run.sink.opened, run.sink.closed) == (1, 1)
    assert run.pauses.seconds == []


class Panic(BaseException):
    """What code in another language raises when it breaks down (PyO3's PanicException is one of these)."""


FAILURES: list[BaseException] = [
    SinkUnavailable("down"),
    SinkUnavailable("down", delivered=-2),
    SinkUnavailable("down", delivered=1),
    SinkUnavailable("down", delivered=3),
    SinkUnavailable("down", delivered=99),
    SinkUnavailable("down", retry_after_s=2.0),
    SinkUnavailable("down", retry_after_s=float("nan")),
    OSError("CANARY"),
    RuntimeError("CANARY"),
    ExceptionGroup("CANARY", [ValueError("CANARY")]),
    Panic("CANARY"),
    BaseExceptionGroup("CANARY", [ValueError("CANARY"), Panic("CANARY")]),
    asyncio.CancelledError("CANARY"),  # of something inside the sink: nobody has cancelled the sink
]


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_an_outage_loses_nothing(failure: BaseException, at_once: int, caplog: pytest.LogCaptureFixture) -> None:
    run = await Run(failure, failure, None, failure, sessions=4, at_once=at_once).to_the_end()
    run.check_all_taken_in_order()
    progress = run.courier.progress
    assert (progress.accepted, progress.delivered, progress.pending) == (12, 12, 0)
    assert "CANARY" not in caplog.text
    assert all(0 <= seconds <= MAX_ASKED_S for seconds in run.pauses.seconds)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("delivered", [-1, 0, 1, 2, 99])
async def test_a_refused_record_is_put_aside_and_those_around_it_are_delivered(delivered: int, at_once: int) -> None:
    run = await Run(SinkRefused("no", status=400, delivered=delivered), sessions=1, at_once=at_once).to_the_end()
    refused = run.records[0][max(0, min(delivered, 2))]
    assert run.sink.taken == [record for record in run.records[0] if record != refused]
    progress = run.courier.progress
    assert (progress.delivered, progress.pending, progress.dropped) == (2, 0, {"refused": 1})


async def test_while_a_sink_is_away_one_call_a_pause_is_all_it_gets() -> None:
    down = [SinkUnavailable("down")] * 30
    run = Run(*down, sessions=50, count=2, at_once=8)
    await run.to_the_end()
    run.check_all_taken_in_order()
    # Calls that were on their way when the outage began come back, too: up to one for each session at once.
    assert len(run.pauses.seconds) >= 30 - 8
    assert sum(1 for call in run.sink.calls if call) <= 30 + 50 + 8


async def test_a_pause_grows_and_a_drain_cuts_it_short_but_not_below_what_was_asked_for() -> None:
    run = Run(*[SinkUnavailable("down")] * 5, SinkUnavailable("down", retry_after_s=9.0))
    run.courier = Courier(run.store, run.sink, rng=MiddleOfRange(), sleep=run.pauses)  # type: ignore[arg-type]
    run.pauses.held = True
    with anyio.fail_after(LONG_S):
        await run.courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.courier.run)
            await run.append()
            for number in range(1, 4):
                await until(lambda number=number: len(run.pauses.seconds) == number)  # type: ignore[misc]
                run.pauses.let_go()
            await until(lambda: len(run.pauses.seconds) == 4)
            assert run.pauses.seconds == [0.25, 0.5, 1.0, 2.0]
            run.pauses.held = False
            await run.courier.drain()
            run.courier.stop()
    assert max(run.pauses.seconds[4:]) == pytest.approx(9.0)
    assert all(seconds <= HURRIED_DELAY_S or seconds == 9.0 for seconds in run.pauses.seconds[4:])
    run.check_all_taken_in_order()


async def test_a_sink_that_lingers_gets_full_batches_and_a_drain_does_not_wait() -> None:
    run = Run(sessions=5, count=2, batch=4)
    run.sink.linger_s = LONG_S
    await run.to_the_end()
    run.check_all_taken_in_order()
    assert [len(call) for call in run.sink.calls] == [4, 4, 2]


async def test_a_hanging_session_holds_up_only_itself() -> None:
    gate = Gate()
    run = Run(gate, sessions=6, count=3, at_once=2, batch=2)
    with anyio.fail_after(LONG_S):
        await run.courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.courier.run)
            await run.append()
            await until(lambda: len(run.sink.taken) == 15)
            assert run.courier.progress.pending == 3
            assert await run.store.position("scripted") == 0
            gate.opened.set()
            await run.courier.drain()
            run.courier.stop()
    run.check_all_taken_in_order()


async def test_a_second_courier_goes_on_where_the_first_one_stopped() -> None:
    store = MemoryStore()
    first, second = ScriptedSink(name="same"), ScriptedSink(name="same")
    for sink, records in ((first, records_of("a", 3)), (second, records_of("b", 3))):
        courier = Courier(store, sink)
        await courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.run)
            courier.notify(await store.append(records, timeout_s=0))
            await courier.drain()
            courier.stop()
        assert sink.taken == records
        assert courier.progress.accepted == 3


async def test_a_sink_that_does_not_open_is_closed_and_says_why() -> None:
    class Shut(ScriptedSink):
        async def open(self) -> None:
            raise OSError("shut")

    sink = Shut()
    with pytest.raises(OSError, match="shut"):
        await Courier(MemoryStore(), sink).open()
    assert sink.closed == 1


async def test_a_store_that_fails_for_a_while_holds_delivery_up_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    class Shaky(MemoryStore):
        failures = 3

        async def read(self, after: int, limit: int):  # type: ignore[no-untyped-def]
            if self.failures:
                self.failures -= 1
                raise OSError("CANARY")
            return await super().read(after, limit)

        async def commit(self, sink: str, position: int) -> None:
            if self.failures == 0:
                self.failures = -1
                raise OSError("CANARY")
            await super().commit(sink, position)

    run = Run(sessions=2)
    run.store = Shaky()
    run.courier = Courier(run.store, run.sink, rng=random.Random(7), sleep=run.pauses)
    await run.to_the_end()
    run.check_all_taken_in_order()
    assert "held up by the store" in caplog.text
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("at_once", [1, 2])
async def test_cut_off_at_every_wait_a_drain_leaves_everything_in_one_place(at_once: int) -> None:
    for k in range(1, 200):
        run = Run(None, SinkUnavailable("down"), sessions=3, count=2, at_once=at_once, batch=2)
        run.store = SlowStore()
        run.courier = Courier(run.store, run.sink, rng=random.Random(7), sleep=run.pauses)
        with anyio.fail_after(LONG_S):
            await run.courier.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run.courier.run)
                await run.append()
                came_to_it, _ = await cut_off(run.courier.drain(), k)
                await run.courier.drain()
                run.courier.stop()
        run.check_all_taken_in_order()
        assert run.courier.progress.delivered == 6
        if not came_to_it:
            return
    raise AssertionError("it never came to its end")


async def test_stopped_at_every_moment_what_is_delivered_and_pending_is_what_was_accepted() -> None:
    for moment in range(40):
        run = Run(
            None, SinkUnavailable("down", delivered=1), SinkRefused("no"), sessions=4, count=3, at_once=2, batch=2
        )
        await run.courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.courier.run)
            await run.append()
            for _ in range(moment):
                await anyio.lowlevel.checkpoint()
            run.courier.stop()
        progress = run.courier.progress
        assert progress.accepted == 12
        assert progress.delivered == len(run.sink.taken) == len(set(identities(run.sink.taken)))
        assert progress.pending == 12 - progress.delivered - sum(progress.dropped.values())
        await idle()


# --- The courier at work, looked at on its way ----------------------------------------------------------------------


@asynccontextmanager
async def at_work(store: Store, sink: ScriptedSink, pauses: Pauses) -> AsyncIterator[Courier]:
    """A courier that runs until the block is left."""
    courier = Courier(store, sink, rng=MiddleOfRange(), sleep=pauses)  # type: ignore[arg-type]
    with anyio.fail_after(LONG_S):
        await courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.run)
            yield courier
            courier.stop()


async def append(store: Store, courier: Courier, *sessions: list[Record]) -> None:
    for records in sessions:
        courier.notify(await store.append(records, timeout_s=0))


def by_session(acts: dict[str, list[Act]]) -> Callable[[Sequence[Record]], Awaitable[None]]:
    """An act for any call: the next one of the session's own."""

    async def act(records: Sequence[Record]) -> None:
        own = acts.get(records[0].session_id)
        now = own.pop(0) if own else None
        if isinstance(now, BaseException):
            raise now
        if now is not None:
            await now(records)

    return act


async def test_a_record_that_comes_while_the_store_is_read_is_not_overlooked() -> None:
    class Snapshot(MemoryStore):
        """Looks first and takes its time to tell, as a database in a thread does."""

        reading = 0

        async def read(self, after: int, limit: int) -> Sequence[Stored]:
            stored = await super().read(after, limit)
            self.reading += 1
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            self.reading -= 1
            return stored

    store, sink = Snapshot(), ScriptedSink()
    async with at_work(store, sink, Pauses()) as courier:
        for n in range(5):
            await until(lambda: store.reading)
            await append(store, courier, records_of(f"s{n}", 1))
            await until(lambda n=n: len(sink.taken) == n + 1)  # type: ignore[misc]


async def test_a_session_that_the_sink_never_takes_does_not_keep_the_others_back() -> None:
    store, pauses = MemoryStore(), Pauses()
    poison: list[Act] = [SinkUnavailable("HTTP 500")] * 1000
    sink = ScriptedSink(*[by_session({"poison": poison})] * 1000, sessions_at_once=2)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("poison", 2), *(records_of(f"s{n}", 3) for n in range(10)))
        await until(lambda: len(sink.taken) == 30)
        assert courier.progress.pending == 2
    assert len(poison) > 900


async def test_what_calls_on_their_way_ask_for_holds_for_the_next_try() -> None:
    store, pauses = MemoryStore(), Pauses(held=True)
    late = Gate(SinkUnavailable("HTTP 429", retry_after_s=30.0))
    sink = ScriptedSink(late, SinkUnavailable("HTTP 503", retry_after_s=2.0), sessions_at_once=2)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("a", 1), records_of("b", 1))
        await until(lambda: pauses.seconds)
        late.opened.set()
        await idle()
        pauses.let_go()
        await until(lambda: len(pauses.seconds) == 2)
        assert pauses.seconds == [2.0, 30.0]
        assert len(sink.calls) == 2
        pauses.held = False
        pauses.let_go()
        await until(lambda: len(sink.taken) == 2)


async def test_what_calls_on_their_way_ask_for_holds_when_the_try_succeeds_too() -> None:
    store, pauses = MemoryStore(), Pauses()
    late = Gate(SinkUnavailable("HTTP 429", retry_after_s=30.0))
    trying = Gate()
    sink = ScriptedSink(late, SinkUnavailable("HTTP 503"), trying, sessions_at_once=2)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("a", 1), records_of("b", 1))
        await trying.entered.wait()
        pauses.held = True
        late.opened.set()
        await idle()
        trying.opened.set()
        await until(lambda: 30.0 in pauses.seconds)
        await idle()
        assert len(sink.calls) == 3
        pauses.held = False
        pauses.let_go()
        await until(lambda: len(sink.taken) == 2)


async def test_progress_during_an_outage_begins_the_pauses_anew() -> None:
    store, pauses = MemoryStore(), Pauses()
    down, some = SinkUnavailable("HTTP 503"), SinkUnavailable("HTTP 503", delivered=1)
    sink = ScriptedSink(down, down, down, some, down)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("a", 3))
        await until(lambda: len(sink.taken) == 3)
    assert pauses.seconds == [0.25, 0.5, 1.0, 0.25, 0.5]


async def test_to_flush_again_and_again_does_not_try_again_and_again() -> None:
    store, pauses = MemoryStore(), Pauses(held=True)
    sink = ScriptedSink(*[SinkUnavailable("HTTP 503")] * 50)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("a", 1))
        await until(lambda: pauses.seconds)
        for _ in range(10):
            with anyio.move_on_after(0):
                await courier.drain()
            await idle()
        assert len(sink.calls) == 1
        assert pauses.seconds == [0.25, 0.25]  # the second is the rest of the first, or half a second


async def test_of_two_drains_the_second_is_in_a_hurry_until_its_own_end() -> None:
    store, pauses = SlowStore(), Pauses()
    gate = Gate()
    sink = ScriptedSink(gate, None, None, batch_records=4, linger_s=LONG_S)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("a", 4))
        await gate.entered.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.drain)
            await idle()
            await append(store, courier, records_of("b", 1))
            await idle()
            tasks.start_soon(courier.drain)
            await idle()
            gate.opened.set()
    assert len(sink.taken) == 5


async def test_a_drain_does_not_wait_for_what_comes_later() -> None:
    store = MemoryStore()
    first, second = Gate(), Gate()
    sink = ScriptedSink(first, second)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("a", 1))
        await first.entered.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.drain)
            await idle()
            await append(store, courier, records_of("b", 1))
            first.opened.set()
        assert courier.progress.pending == 1


async def test_a_batch_that_does_not_fill_is_delivered_when_it_has_waited() -> None:
    store, sink = MemoryStore(), ScriptedSink(batch_records=3, linger_s=0.001)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("a", 2))
        await until(lambda: len(sink.taken) == 2)
    assert [len(call) for call in sink.calls] == [2]


async def test_a_batch_that_waits_to_be_filled_goes_as_soon_as_it_is() -> None:
    store, sink = MemoryStore(), ScriptedSink(batch_records=3, linger_s=LONG_S)
    async with at_work(store, sink, Pauses()) as courier:
        for records in (records_of("a", 1), records_of("b", 1), records_of("c", 1)):
            await idle()
            assert sink.calls == []
            await append(store, courier, records)
        await until(lambda: sink.calls)
    assert [len(call) for call in sink.calls] == [3]


async def test_sessions_that_wait_side_by_side_for_their_batches_to_fill_go_at_once_in_a_hurry() -> None:
    store, sink = MemoryStore(), ScriptedSink(batch_records=9, linger_s=LONG_S, sessions_at_once=3)
    async with at_work(store, sink, Pauses()) as courier:
        for n in range(3):
            await append(store, courier, records_of(f"s{n}", 2))
            await idle()
        assert sink.calls == []
        await courier.drain()
    assert len(sink.taken) == 6


async def test_records_that_the_store_dropped_are_counted() -> None:
    store, gate = MemoryStore(max_records=3, when_full="drop_oldest"), Gate()
    sink = ScriptedSink(gate, batch_records=1)
    sink.batch_records = 1
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 1))
        await gate.entered.wait()
        for n in range(1, 9):
            await append(store, courier, records_of(f"s{n}", 1))
        books = courier.progress
        assert (books.accepted, books.delivered, books.pending) == (9, 0, 9)
        gate.opened.set()
        await courier.drain()
        books = courier.progress
    assert (books.accepted, books.delivered, books.pending) == (9, 4, 0)
    assert books.dropped == {"store_full": 5}
    assert identities(sink.taken) == [("s0", 0), ("s6", 0), ("s7", 0), ("s8", 0)]


async def test_delivery_does_not_run_far_ahead_of_a_record_that_does_not_get_through() -> None:
    store, gate = MemoryStore(), Gate()
    sink = ScriptedSink(gate, sessions_at_once=2, batch_records=1)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("stuck", 1), *(records_of(f"s{n}", 2) for n in range(300)))
        for _ in range(30):
            await idle()
        limit = AHEAD_WINDOWS * 4
        assert limit - 8 <= len(sink.taken) <= limit
        assert await store.position("scripted") == 0
        gate.opened.set()
        await courier.drain()
    assert len(sink.taken) == 601


async def test_all_that_waits_in_the_store_is_known_from_the_start() -> None:
    store = MemoryStore()
    await store.position("scripted")
    for n in range(30):
        await store.append(records_of(f"s{n}", 1), timeout_s=0)
    sink = ScriptedSink(batch_records=1)
    async with at_work(store, sink, Pauses()) as courier:
        assert (courier.progress.accepted, courier.progress.pending) == (30, 30)
        courier.notify(7)  # an append that found its records stored already says where
        assert courier.progress.accepted == 30
        await courier.drain()
        assert len(sink.taken) == 30


async def test_a_position_that_could_not_be_committed_is_committed_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryStore):
        fails = True

        async def commit(self, sink: str, position: int) -> None:
            if self.fails:
                raise OSError("CANARY")
            await super().commit(sink, position)

    store, sink = Failing(), ScriptedSink()
    async with at_work(store, sink, Pauses()) as courier:
        for n in range(3):
            await append(store, courier, records_of(f"s{n}", 1))
            await courier.drain()
            await idle()
        assert await store.position("scripted") == 0
        store.fails = False
    assert await store.position("scripted") == 3
    assert caplog.text.count("held up by the store") == 1
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("mistake", [OSError("CANARY"), Panic("CANARY")], ids=repr)
async def test_a_sink_that_does_not_close_well_concerns_nobody(
    mistake: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Bad(ScriptedSink):
        async def aclose(self) -> None:
            raise mistake

    async with at_work(MemoryStore(), Bad(), Pauses()) as courier:
        pass
    assert courier.closed
    assert type(mistake).__name__ in caplog.text
    assert "CANARY" not in caplog.text
    await courier.aclose()


async def test_what_ends_the_program_while_a_sink_is_closed_passes() -> None:
    class Ending(ScriptedSink):
        async def aclose(self) -> None:
            raise KeyboardInterrupt

    courier = Courier(MemoryStore(), Ending())
    await courier.open()
    with pytest.raises(KeyboardInterrupt):
        await courier.aclose()
    assert courier.closed


async def test_a_sink_that_hangs_when_it_is_closed_is_left_behind_at_its_deadline() -> None:
    class Hanging(ScriptedSink):
        async def aclose(self) -> None:
            await anyio.sleep_forever()

    courier = Courier(MemoryStore(), Hanging())
    with anyio.fail_after(LONG_S):
        await courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.run)
            courier.stop(close_s=0.001)
            await courier.wait_closed()
            await courier.drain()


async def test_cancelled_from_outside_a_courier_closes_its_sink_and_keeps_its_books() -> None:
    store, gate = SlowStore(), Gate()
    sink = ScriptedSink(gate)
    courier = Courier(store, sink)
    with anyio.fail_after(LONG_S):
        await courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.run)
            await append(store, courier, records_of("a", 2))
            await gate.entered.wait()
            tasks.cancel_scope.cancel()
    assert (sink.closed, courier.progress.pending) == (1, 2)


async def test_a_courier_that_was_never_opened_has_nothing_to_close() -> None:
    sink = ScriptedSink()
    courier = Courier(MemoryStore(), sink)
    courier.stop()
    await courier.aclose()
    assert sink.closed == 0
