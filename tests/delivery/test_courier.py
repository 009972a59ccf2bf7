"""The courier at work."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
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

from caseassist.core.errors import CorruptRecord, SinkRefused, SinkUnavailable
from caseassist.core.records import Record
from caseassist.delivery.courier import Courier
from caseassist.delivery.pacing import MAX_ASKED_S
from caseassist.delivery.queue import AHEAD_WINDOWS, WINDOW_BATCHES
from caseassist.delivery.turn import HURRIED_DELAY_S, UNSTORED_WINDOWS
from caseassist.stores.base import Quarantined, Store, Stored
from caseassist.stores.memory import MemoryStore


async def position_of(store: Store, sink: str = "scripted") -> int:
    return (await store.state(sink)).position


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
            self.courier.notify((await self.store.append(records, timeout_s=0)).position)

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
    assert await position_of(run.store) == 45
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
    assert (progress.delivered, progress.pending, progress.quarantined, progress.dropped) == (2, 0, 1, {})


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
            assert await position_of(run.store) == 0
            gate.opened.set()
            await run.courier.drain()
            run.courier.stop()
    run.check_all_taken_in_order()


async def test_a_session_has_one_call_at_a_time() -> None:
    gate = Gate()
    run = Run(gate, sessions=1, count=3, at_once=4, batch=1)
    with anyio.fail_after(LONG_S):
        await run.courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.courier.run)
            await run.append()
            await gate.entered.wait()
            await idle()
            assert run.sink.calls == [[("s0", 0)]]
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
            courier.notify((await store.append(records, timeout_s=0)).position)
            await courier.drain()
            courier.stop()
        assert sink.taken == records
    assert courier.progress.accepted == courier.progress.delivered == 6


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

        async def commit(self, sink: str, **what: Any) -> None:
            if self.failures == 0:
                self.failures = -1
                raise OSError("CANARY")
            await super().commit(sink, **what)

    run = Run(sessions=2)
    run.store = Shaky()
    run.courier = Courier(run.store, run.sink, rng=random.Random(7), sleep=run.pauses)
    await run.to_the_end()
    run.check_all_taken_in_order()
    assert "held up" in caplog.text
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
        assert progress.pending == 12 - progress.delivered - progress.quarantined
        assert progress.quarantined == len(await run.store.quarantined("scripted"))
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
        courier.notify((await store.append(records, timeout_s=0)).position)


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
    assert books.dropped == {"removed": 5}
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
        assert await position_of(store) == 0
        gate.opened.set()
        await courier.drain()
    assert len(sink.taken) == 601


async def test_all_that_waits_in_the_store_is_known_from_the_start() -> None:
    store = MemoryStore()
    await store.state("scripted")
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

        async def commit(self, sink: str, **what: Any) -> None:
            if self.fails:
                raise OSError("CANARY")
            await super().commit(sink, **what)

    store, sink = Failing(), ScriptedSink()
    async with at_work(store, sink, Pauses()) as courier:
        for n in range(3):
            await append(store, courier, records_of(f"s{n}", 1))
            await courier.drain()
            await idle()
        assert await position_of(store) == 0
        store.fails = False
    assert await position_of(store) == 3
    assert caplog.text.count("held up") == 1
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


# --- What is put aside ----------------------------------------------------------------------------------------------


def aside(entries: Sequence[Quarantined]) -> list[tuple[str, int, str, int | None]]:
    return [(entry.record.session_id, entry.record.seq, entry.reason, entry.status) for entry in entries]


HELD = "held behind a record of its session that was refused"


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_refused_record_is_kept_with_its_reason(at_once: int) -> None:
    run = await Run(SinkRefused("HTTP 400", status=400, delivered=1), sessions=2, at_once=at_once).to_the_end()
    assert aside(await run.store.quarantined("scripted")) == [("s0", 1, "HTTP 400", 400)]
    state = await run.store.state("scripted")
    assert (state.position, state.quarantined, state.quarantined_ahead, state.delivered) == (6, 1, 0, 5)
    assert run.courier.progress.quarantined == 1


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_held_session_waits_behind_what_was_refused_and_others_go_on(at_once: int) -> None:
    run = Run(SinkRefused("no", delivered=1), sessions=2, count=3, at_once=at_once, batch=2)
    run.sink.on_refused = "hold"
    await run.to_the_end()
    assert aside(await run.store.quarantined("scripted")) == [("s0", 1, "no", None), ("s0", 2, HELD, None)]
    assert identities(run.sink.taken) == [("s0", 0), ("s1", 0), ("s1", 1), ("s1", 2)]
    assert (run.courier.progress.delivered, run.courier.progress.quarantined) == (4, 2)


async def test_what_comes_later_in_a_held_session_is_held_and_after_a_restart_too() -> None:
    store, records = MemoryStore(), records_of("s0", 5)
    for taken, refuses in ((records[:2], True), (records[2:3], False), (records[3:], False)):
        sink = ScriptedSink(*[SinkRefused("no", delivered=1)] * refuses)
        sink.on_refused = "hold"
        async with at_work(store, sink, Pauses()) as courier:
            await append(store, courier, taken)
            await courier.drain()
    assert aside(await store.quarantined("scripted")) == [
        ("s0", 1, "no", None), ("s0", 2, HELD, None), ("s0", 3, HELD, None), ("s0", 4, HELD, None)
    ]  # fmt: skip
    assert sink.taken == []


@pytest.mark.parametrize("at_once", [1, 3])
async def test_what_an_operator_requests_is_sent_again_in_order_and_a_held_session_goes_on(at_once: int) -> None:
    store, records = MemoryStore(), records_of("s0", 4)
    sink = ScriptedSink(SinkRefused("no"), sessions_at_once=at_once)
    sink.on_refused = "hold"
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records[:3])
        await courier.drain()
        assert courier.progress.quarantined == 3
        assert await store.request_resend("scripted", session_id="s0") == 3
        courier.look_for_requests()
        await until(lambda: len(sink.taken) == 3)
        await append(store, courier, records[3:])
        await courier.drain()
        await until(lambda: courier.progress.quarantined == 0)
        assert courier.progress.delivered == 4
    assert sink.taken == records
    assert await store.quarantined("scripted") == []


async def test_what_is_refused_again_is_put_back_and_nothing_of_a_held_session_overtakes_it() -> None:
    store, records = MemoryStore(), records_of("s0", 3)
    sink = ScriptedSink(SinkRefused("no"), SinkRefused("still no", status=422))
    sink.on_refused = "hold"
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records)
        await courier.drain()
        await store.request_resend("scripted")
        courier.look_for_requests()
        await until(lambda: len(sink.calls) == 2)
        await idle()
        assert aside(await store.quarantined("scripted")) == [
            ("s0", 0, "still no", 422), ("s0", 1, HELD, None), ("s0", 2, HELD, None)
        ]  # fmt: skip
        assert await store.quarantined("scripted", requested=True) == []
    assert sink.taken == []


async def test_without_holding_what_is_refused_again_does_not_keep_others_back() -> None:
    store = MemoryStore()
    sink = ScriptedSink(SinkRefused("no"), SinkRefused("no"), SinkRefused("still no"))
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 2))
        await courier.drain()
        assert courier.progress.quarantined == 2
        await store.request_resend("scripted")
        courier.look_for_requests()
        await until(lambda: courier.progress.quarantined == 1)
        assert aside(await store.quarantined("scripted")) == [("s0", 0, "still no", None)]
    assert identities(sink.taken) == [("s0", 1)]


async def test_a_request_waits_for_a_sink_that_is_away_and_for_calls_on_their_way() -> None:
    store, pauses, gate = MemoryStore(), Pauses(), Gate()
    away = SinkUnavailable("down", retry_after_s=7.0)
    sink = ScriptedSink(SinkRefused("no"), gate, away, sessions_at_once=2)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("s0", 1))
        await courier.drain()
        await append(store, courier, records_of("s1", 1))
        await gate.entered.wait()
        await store.request_resend("scripted")
        courier.look_for_requests()
        await idle()
        assert len(sink.calls) == 2
        gate.opened.set()
        await until(lambda: courier.progress.quarantined == 0)
    assert len(sink.taken) == 2
    assert max(pauses.seconds) >= 7.0


async def test_what_an_operator_drops_is_counted_as_that() -> None:
    store = MemoryStore()
    sink = ScriptedSink(SinkRefused("no"))
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 2))
        await courier.drain()
        (entry,) = await store.quarantined("scripted")
        assert await store.drop("scripted", position=entry.position) == 1
        courier.look_for_requests()
        await until(lambda: courier.progress.quarantined == 0)
        assert courier.progress.dropped == {"operator": 1}
        assert (courier.progress.delivered, courier.progress.pending) == (1, 0)
    assert identities(sink.taken) == [("s0", 1)]


async def test_what_was_put_aside_ahead_of_the_position_is_not_sent_again_after_a_restart() -> None:
    store, gate = MemoryStore(), Gate()
    sink = ScriptedSink(gate, SinkRefused("no"), sessions_at_once=2)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 1), records_of("s1", 2))
        await until(lambda: len(sink.calls) == 3)
        await idle()
    state = await store.state("scripted")
    assert (state.position, state.quarantined, state.quarantined_ahead) == (0, 1, 1)
    assert courier.progress.delivered == 1
    sink = ScriptedSink(sessions_at_once=2)
    async with at_work(store, sink, Pauses()) as courier:
        assert (courier.progress.accepted, courier.progress.quarantined, courier.progress.pending) == (3, 1, 2)
        await courier.drain()
        assert (courier.progress.delivered, courier.progress.quarantined, courier.progress.pending) == (2, 1, 0)
    assert sorted(identities(sink.taken)) == [("s0", 0), ("s1", 1)]


async def test_the_position_is_stored_with_what_was_put_aside_on_the_way_to_it() -> None:
    class Watched(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.commits: list[tuple[int, list[int]]] = []

        async def commit(self, sink: str, **what: Any) -> None:
            self.commits.append((what["position"], [entry.position for entry in what["quarantined"]]))
            await super().commit(sink, **what)

    store, sink = Watched(), ScriptedSink(SinkRefused("no", delivered=1))
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 3))
        await courier.drain()
    covered: set[int] = set()
    for position, entries in store.commits:
        covered |= set(entries)
        assert position < 2 or 2 in covered


async def test_an_erased_record_is_not_sent_and_counted() -> None:
    store, gate = MemoryStore(), Gate()
    sink = ScriptedSink(gate, batch_records=1)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 1))
        await gate.entered.wait()
        for n in range(1, 20):
            await append(store, courier, records_of(f"s{n}", 2))
        await store.erase(session_id="s19")
        gate.opened.set()
        await courier.drain()
        assert courier.progress.dropped == {"erased": 2}
        assert (courier.progress.delivered, courier.progress.pending) == (37, 0)
    assert "s19" not in {record.session_id for record in sink.taken}


@pytest.mark.parametrize("what", ["erased", "operator"])
async def test_what_left_the_quarantine_ahead_of_the_position_is_not_sent_after_a_restart(what: str) -> None:
    store, gate = MemoryStore(), Gate()
    sink = ScriptedSink(gate, SinkRefused("no"), sessions_at_once=2)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 1), records_of("s1", 1))
        await until(lambda: len(sink.calls) == 2)
        await idle()
    if what == "erased":
        await store.erase(session_id="s1")
    else:
        await store.drop("scripted", position=2)
    sink = ScriptedSink(sessions_at_once=2)
    async with at_work(store, sink, Pauses()) as courier:
        assert (courier.progress.pending, courier.progress.dropped) == (1, {what: 1})
        await courier.drain()
        assert (courier.progress.delivered, courier.progress.pending) == (1, 0)
        assert courier.progress.dropped == {what: 1}
    state = await store.state("scripted")
    assert (state.delivered, state.dropped, state.resolved_ahead) == (1, {what: 1}, {})
    assert identities(sink.taken) == [("s0", 0)]


# --- Several couriers of one sink -----------------------------------------------------------------------------------


async def test_of_two_couriers_one_delivers_and_the_other_takes_over() -> None:
    store, pauses = MemoryStore(), Pauses()
    first, second = ScriptedSink(), ScriptedSink()
    async with at_work(store, second, pauses) as standby:
        standby.stop()
        await standby.wait_closed()
        async with at_work(store, first, Pauses()) as working, at_work(store, second, pauses) as standby:
            await append(store, working, records_of("a", 3))
            assert (working.standby, standby.standby) == (False, True)
            standby.notify(3)
            await standby.drain()
            assert standby.progress == working.progress
            assert standby.progress.delivered == 3
            assert standby.health.standby
            working.stop()
            await working.wait_closed()
            await append(store, standby, records_of("b", 2))
            await standby.drain()
            assert not standby.standby
    assert identities(first.taken) == [("a", 0), ("a", 1), ("a", 2)]
    assert identities(second.taken) == [("b", 0), ("b", 1)]


async def test_if_somebody_else_delivers_all_the_same_a_courier_begins_again_where_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, sink = MemoryStore(), ScriptedSink()
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("a", 2))
        await courier.drain()
        await store.append(records_of("b", 2), timeout_s=0)
        await store.commit("scripted", after=2, position=4)  # without a claim
        await append(store, courier, records_of("c", 2))
        await until(lambda: "somebody else delivers" in caplog.text)
        await courier.drain()
        assert (courier.progress.accepted, courier.progress.delivered, courier.progress.pending) == (6, 6, 0)
    assert [record.session_id for record in sink.taken].count("c") in (2, 4)  # once before, or again after it was seen


async def test_a_store_that_fails_does_not_end_a_courier_that_stands_by() -> None:
    class Shaky(MemoryStore):
        fails = False

        async def claim(self, sink: str) -> bool:
            if self.fails:
                raise OSError
            return await super().claim(sink)

    store, pauses, sink = Shaky(), Pauses(), ScriptedSink()
    assert await store.claim("scripted")
    async with at_work(store, sink, pauses) as courier:
        store.fails = True
        await until(lambda: courier.health.problem)
        store.fails = False
        await store.release("scripted")
        await append(store, courier, records_of("a", 1))
        await courier.drain()
        assert courier.health.ok
    assert len(sink.taken) == 1


# --- Health ---------------------------------------------------------------------------------------------------------


async def test_health_turns_bad_when_there_is_work_and_no_progress_for_a_minute() -> None:
    now = 1000.0
    store, gate, sink = MemoryStore(), Gate(), ScriptedSink()
    sink.script.append(gate)
    courier = Courier(store, sink, sleep=Pauses(), monotonic=lambda: now)
    await courier.open()
    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.run)
            now += 500
            assert (courier.health.ok, courier.health.stalled_s) == (True, 0.0)
            await append(store, courier, records_of("a", 1))
            await gate.entered.wait()
            now += 59
            assert (courier.health.ok, courier.health.stalled_s) == (True, 59.0)
            await append(store, courier, records_of("b", 1))
            now += 1
            health = courier.health
            assert (health.ok, health.problem, health.pending) == (False, "nothing was settled for 60 s", 2)
            gate.opened.set()
            await courier.drain()
            assert courier.health.ok
            courier.stop()
    assert (courier.health.ok, courier.health.problem) == (False, "it is closed")


async def test_health_is_bad_at_once_when_only_a_person_can_help() -> None:
    store, pauses = MemoryStore(), Pauses(held=True)
    sink = ScriptedSink(SinkUnavailable("HTTP 503"), SinkUnavailable("HTTP 401", paused=True))
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("a", 1))
        await until(lambda: len(pauses.seconds) == 1)
        assert (courier.health.ok, courier.health.problem) == (True, "HTTP 503")
        pauses.let_go()
        await until(lambda: len(pauses.seconds) == 2)
        assert (courier.health.ok, courier.health.problem) == (False, "HTTP 401")
        pauses.held = False
        pauses.let_go()
        await courier.drain()
        assert (courier.health.ok, courier.health.problem) == (True, "")


async def test_a_sink_that_fails_now_and_then_gets_a_tenth_more_than_what_it_takes() -> None:
    class Lowest:
        """Chance that never has us wait: what is waited for is the budget alone."""

        def uniform(self, low: float, high: float) -> float:
            return low

    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await anyio.lowlevel.checkpoint()

    store, count = MemoryStore(), 2000
    flaky = random.Random(7)
    sink = ScriptedSink(*[SinkUnavailable("HTTP 503") if flaky.random() < 0.5 else None for _ in range(3 * count)])
    sink.batch_records = 1
    courier = Courier(store, sink, rng=Lowest(), sleep=sleep, monotonic=lambda: now)  # type: ignore[arg-type]
    await courier.open()
    with anyio.fail_after(2 * LONG_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.run)
            for n in range(count):
                await append(store, courier, records_of(f"s{n}", 1))
            await until(lambda: len(sink.taken) == count)
            courier.stop()
    assert len(sink.calls) - count <= 100 + 0.1 * count + now
    assert len(sink.calls) > 1.8 * count


# --- What is easily broken ------------------------------------------------------------------------------------------


def refuses(*seqs: int, session_id: str = "s0") -> Callable[[Sequence[Record]], Awaitable[None]]:
    """An act for any call: refuses these records."""

    async def act(records: Sequence[Record]) -> None:
        for taken, record in enumerate(records):
            if record.session_id == session_id and record.seq in seqs:
                raise SinkRefused("no", delivered=taken)

    return act


async def test_what_is_requested_of_a_held_session_does_not_overtake_what_comes_before_it() -> None:
    store = MemoryStore()
    sink = ScriptedSink(refuses(0))
    sink.on_refused = "hold"
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 3))
        await courier.drain()
        await store.request_resend("scripted", position=2)
        courier.look_for_requests()
        await until(lambda: len(sink.calls) == 1)
        await idle()
        assert [entry.requested for entry in await store.quarantined("scripted")] == [False] * 3
    assert sink.taken == []


async def test_an_outage_in_the_middle_of_requests_does_not_let_a_held_session_overtake() -> None:
    store = MemoryStore()
    sink = ScriptedSink(refuses(0), refuses(0, session_id="s1"), sessions_at_once=2)
    sink.on_refused = "hold"
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 3), records_of("s1", 2))
        await courier.drain()
        assert courier.progress.quarantined == 5
        sink.script += [refuses(0), SinkUnavailable("down")]  # s0 again, and the first of s1
        await store.request_resend("scripted")
        courier.look_for_requests()
        await until(lambda: courier.progress.quarantined == 3)
        assert [entry.record.seq for entry in await store.quarantined("scripted")] == [0, 1, 2]
    assert identities(sink.taken) == [("s1", 0), ("s1", 1)]


async def test_what_comes_while_an_operator_has_a_held_session_sent_again_goes_with_it() -> None:
    store, gate, records = MemoryStore(), Gate(), records_of("s0", 4)
    sink = ScriptedSink(refuses(0))
    sink.on_refused = "hold"
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records[:2])
        await courier.drain()
        sink.script.append(gate)
        await store.request_resend("scripted", session_id="s0")
        courier.look_for_requests()
        await gate.entered.wait()
        await append(store, courier, records[2:])
        await idle()
        gate.opened.set()
        await until(lambda: len(sink.taken) == 4)
        await courier.drain()
    assert sink.taken == records


async def test_a_turn_that_cannot_begin_leaves_the_claim_to_others_and_is_taken_later() -> None:
    class Shaky(MemoryStore):
        fails = 0

        async def quarantined(self, *args: Any, **options: Any) -> Any:
            if self.fails:
                self.fails -= 1
                raise OSError
            return await super().quarantined(*args, **options)

    store, sink = Shaky(), ScriptedSink(refuses(1))
    sink.on_refused = "hold"
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 3))
        await courier.drain()
    taken = list(sink.taken)
    assert await store.claim("scripted")
    async with at_work(store, sink, Pauses()) as courier:
        store.fails = 3
        await store.release("scripted")
        await until(lambda: not courier.standby)
        await append(store, courier, records_of("s0", 5)[3:])
        await courier.drain()
        assert courier.progress.quarantined == 4
        assert courier.health.problem == ""
    assert sink.taken == taken


@pytest.mark.parametrize("stored", [False, True])
async def test_a_commit_that_was_cut_off_is_repeated_and_nobody_else_is_suspected(
    stored: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class CutOff(MemoryStore):
        cut = True

        async def commit(self, sink: str, **what: Any) -> None:
            if not self.cut or stored:
                await super().commit(sink, **what)
            if self.cut:
                committing.set()
                await anyio.sleep_forever()

    store, sink, committing = CutOff(), ScriptedSink(batch_records=1), anyio.Event()
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("a", 1))
        await committing.wait()
        await append(store, courier, records_of("b", 5))
        await until(lambda: len(sink.taken) == 6)
        store.cut = False
        courier.stop()
        await courier.wait_closed()
    assert await position_of(store) == 6
    assert "somebody else" not in caplog.text


async def test_a_state_that_cannot_be_read_after_a_commit_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    class Shaky(MemoryStore):
        fails = False

        async def state(self, sink: str) -> Any:
            if self.fails:
                self.fails = False
                raise OSError
            return await super().state(sink)

    store, sink = Shaky(), ScriptedSink(SinkRefused("no", delivered=1))
    async with at_work(store, sink, Pauses()) as courier:
        store.fails = True
        await append(store, courier, records_of("s0", 4))
        await courier.drain()
        assert (courier.progress.delivered, courier.progress.quarantined) == (3, 1)
    assert (await store.state("scripted")).delivered == 3
    assert "somebody else" not in caplog.text
    assert len(sink.taken) == 3


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("at_once", [1, 2])
async def test_what_waits_through_an_outage_and_is_erased_meanwhile_is_not_sent(at_once: int, told: bool) -> None:
    store, pauses = MemoryStore(), Pauses(held=True)
    sink = ScriptedSink(SinkUnavailable("down"), sessions_at_once=at_once)
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("s0", 2), records_of("s1", 2), records_of("s2", 2))
        await until(lambda: pauses.seconds)
        erased = await store.erase(session_id="s1")
        if told:
            courier.erase(erased)
        pauses.held = False
        pauses.let_go()
        await courier.drain()
        assert courier.progress.dropped == {"erased": 2}
        assert (courier.progress.delivered, courier.progress.pending) == (4, 0)
    assert {record.session_id for record in sink.taken} == {"s0", "s2"}


async def test_one_who_waits_for_a_batch_to_fill_does_not_break_into_a_request() -> None:
    store, gate = MemoryStore(), Gate()
    sink = ScriptedSink(refuses(0), gate, batch_records=10, linger_s=0.0)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 1))
        await courier.drain()
        sink.linger_s = 0.001
        await append(store, courier, records_of("s1", 1))
        await store.request_resend("scripted")
        courier.look_for_requests()
        await gate.entered.wait()
        await anyio.sleep(0.01)  # longer than it lingers
        await idle()
        gate.opened.set()
        await until(lambda: len(sink.taken) == 2)
    assert sink.most_at_once == 1


async def test_what_the_sink_asks_for_when_a_request_fails_holds_for_all() -> None:
    store, pauses = MemoryStore(), Pauses()
    sink = ScriptedSink(refuses(0), SinkUnavailable("HTTP 429", retry_after_s=30.0, paused=True))
    async with at_work(store, sink, pauses) as courier:
        await append(store, courier, records_of("s0", 1))
        await courier.drain()
        pauses.held = True
        await store.request_resend("scripted")
        courier.look_for_requests()
        await until(lambda: len(sink.calls) == 2)
        await append(store, courier, records_of("s1", 1))
        await idle()
        assert len(sink.calls) == 2
        assert (courier.health.ok, courier.health.problem) == (False, "HTTP 429; asked to wait 30 s")
        assert max(pauses.seconds) >= 30.0
        pauses.held = False
        pauses.let_go()
        await until(lambda: len(sink.taken) == 2)
        assert courier.health.ok


async def test_while_nothing_can_be_stored_delivery_does_not_run_far_ahead() -> None:
    class Failing(MemoryStore):
        fails = True

        async def commit(self, sink: str, **what: Any) -> None:
            if self.fails:
                raise OSError
            await super().commit(sink, **what)

    store, sink = Failing(), ScriptedSink(batch_records=2)
    async with at_work(store, sink, Pauses()) as courier:
        for n in range(100):
            await append(store, courier, records_of(f"s{n}", 10))
        for _ in range(20):
            await idle()
        assert len(sink.taken) <= (UNSTORED_WINDOWS + 1) * WINDOW_BATCHES * 2
        store.fails = False
        await courier.drain()
    assert len(sink.taken) == 1000


async def test_a_record_that_cannot_be_read_is_passed_over_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Damaged(MemoryStore):
        async def read(self, after: int, limit: int) -> Sequence[Stored]:
            stored = await super().read(after, limit)
            if stored and stored[0][0] == 3:
                raise CorruptRecord("not a JSON object", where="position 3", position=3)
            return [item for item in stored if item[0] < 3] or stored

    store, sink = Damaged(), ScriptedSink()
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("a", 2), records_of("b", 3))
        await courier.drain()
        assert courier.progress.dropped == {"corrupt": 1}
        assert (courier.progress.delivered, courier.progress.pending) == (4, 0)
    assert (await store.state("scripted")).dropped == {"corrupt": 1}
    assert "position 3" in caplog.text


async def test_what_was_sent_again_ahead_of_the_position_is_counted_and_not_sent_once_more() -> None:
    store, gate = MemoryStore(), Gate()
    sink = ScriptedSink(gate, refuses(0, session_id="s1"), sessions_at_once=2)
    async with at_work(store, sink, Pauses()) as courier:
        await append(store, courier, records_of("s0", 1), records_of("s1", 1))
        await until(lambda: store._asides)
        assert await store.resolve("scripted", 2)
        courier.look_for_requests()
        await until(lambda: not courier.progress.quarantined)
        assert (courier.progress.delivered, courier.progress.pending) == (1, 1)
    sink = ScriptedSink(sessions_at_once=2)
    async with at_work(store, sink, Pauses()) as courier:
        assert (courier.progress.delivered, courier.progress.pending) == (1, 1)
        await courier.drain()
        assert (courier.progress.delivered, courier.progress.pending) == (2, 0)
    assert (await store.state("scripted")).delivered == 2
    assert identities(sink.taken) == [("s0", 0)]


async def test_a_store_that_hangs_does_not_keep_the_sink_from_being_closed() -> None:
    class Hanging(MemoryStore):
        async def commit(self, sink: str, **what: Any) -> None:
            await anyio.sleep_forever()

    store, sink = Hanging(), ScriptedSink()
    courier = Courier(store, sink)
    with anyio.fail_after(LONG_S):
        await courier.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(courier.run)
            await append(store, courier, records_of("a", 1))
            await until(lambda: sink.taken)
            courier.stop(close_s=0.001)
    assert sink.closed == 1
    assert await store.claim("scripted"), "it was released"
