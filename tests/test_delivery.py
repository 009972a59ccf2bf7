"""The courier and its parts."""

import random
from collections import deque
from itertools import pairwise

import anyio
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
from caseassist.delivery import HURRIED_DELAY_S, MAX_ASKED_S, MAX_DELAY_S, Courier, Queue, retry_delay_s
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


FAILURES: list[BaseException] = [
    SinkUnavailable("down"),
    SinkUnavailable("down", delivered=1),
    SinkUnavailable("down", delivered=3),
    SinkUnavailable("down", delivered=99),
    SinkUnavailable("down", retry_after_s=2.0),
    SinkUnavailable("down", retry_after_s=float("nan")),
    OSError("CANARY"),
    RuntimeError("CANARY"),
    ExceptionGroup("CANARY", [ValueError("CANARY")]),
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
@pytest.mark.parametrize("delivered", [0, 1, 2])
async def test_a_refused_record_is_put_aside_and_those_around_it_are_delivered(delivered: int, at_once: int) -> None:
    run = await Run(SinkRefused("no", status=400, delivered=delivered), sessions=1, at_once=at_once).to_the_end()
    refused = run.records[0][delivered]
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
