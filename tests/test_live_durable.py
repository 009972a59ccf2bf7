"""CaseAssist on a store in a file: several workers, restarts, disks that hang, people who leave or are forgotten."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.core.life_cycle import CLIENT_ID
from tests.fakes import LONG_S, Gate, Pauses, ScriptedSink, identities, until

from caseassist import Case, CaseAssist, Context, MemoryStore
from caseassist.core.erasure import is_erased
from caseassist.core.errors import (
    AppendUnknown,
    IllegalTransition,
    InvalidAction,
    NotRunning,
    SequenceConflict,
    SessionErased,
    SinkRefused,
    SinkUnavailable,
    StoreUnavailable,
    UnknownSession,
)
from caseassist.core.machine import LifeCycle
from caseassist.core.records import Record
from caseassist.core.session import IDLE_S, Session
from caseassist.delivery import courier
from caseassist.delivery.reports import Progress
from caseassist.stores import sqlite_file
from caseassist.stores.base import Store
from caseassist.stores.sqlite import SQLiteStore

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
IDLE = timedelta(seconds=IDLE_S)
CONTEXT = Context(client_id=CLIENT_ID, search_hub="bot", language="en")
OTHER_CLIENT = "5a3c4d1e-7f64-4b0e-9d50-0c7f3a1b2c3d"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cases.db"


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look after each other's doings without waiting for half a second of real time."""
    monkeypatch.setattr(courier, "POLL_S", 0.005)


def worker(path: Path, *sinks: ScriptedSink, store: Store | None = None, **options: Any) -> CaseAssist:
    """One of the processes that share a file, as it were: with a store of its own."""
    chosen: dict[str, Any] = {"clock": lambda: NOON, "sleep": Pauses(), "drain_timeout_s": LONG_S}
    chosen |= {"append_timeout_s": LONG_S, **options}
    return CaseAssist(CONTEXT, store=store or SQLiteStore(path, durability="os"), sinks=sinks, **chosen)


def books_of(assist: CaseAssist) -> Progress:
    (books,) = assist.report().sinks
    assert books.accepted == books.delivered + books.pending + books.quarantined + sum(books.dropped.values())
    return books


# --- Several workers -------------------------------------------------------------------------------------------------


async def test_a_session_goes_on_with_any_worker(path: Path) -> None:
    async with worker(path) as one, worker(path) as other:
        mine = await one.start({"subject": "It hums"}, session_id="a1")
        await mine.next_stage()
        yours = await other.resume("a1")
        assert yours.session == mine.session
        await yours.update_field("description", "loudly")
        assert (await one.resume("a1")).session == yours.session
        assert list(await one.load("a1")) == list(await other.load("a1"))
        with pytest.raises(UnknownSession):
            await other.resume("a2")


async def test_a_session_goes_on_after_a_restart(path: Path) -> None:
    async with worker(path) as assist:
        case = await assist.start(session_id="a1")
        await case.update_field("subject", "It hums")
    with pytest.raises(NotRunning):
        await case.solve()
    async with worker(path) as assist:
        again = await assist.resume("a1")
        assert again.session == case.session
        assert (await again.solve()).seq == 2


async def test_a_worker_that_was_too_late_resumes_and_decides_again(path: Path) -> None:
    async def one_more(assist: CaseAssist, case: Case, text: str) -> Case:
        while True:
            try:
                await case.update_field("subject", text)
            except SequenceConflict:
                case = await assist.resume(case.id)
            else:
                return case

    async def five_more(assist: CaseAssist, name: str) -> None:
        case = await assist.resume("a1")
        for number in range(5):
            case = await one_more(assist, case, f"{name} {number}")

    async with worker(path) as one, worker(path) as other:
        mine = await one.start(session_id="a1")
        yours = await other.resume("a1")
        await yours.update_field("subject", "yours")
        with pytest.raises(SequenceConflict) as caught:
            await mine.update_field("subject", "mine")
        assert (caught.value.expected, caught.value.found) == (1, 2)
        assert mine.ticket.subject is None
        mine = await one_more(one, await one.resume("a1"), "mine")
        assert mine.session == Session.fold(await other.load("a1"))
        assert mine.ticket.subject == "mine"

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(five_more, one, f"one {number}")
                tasks.start_soon(five_more, other, f"other {number}")
        records = await one.load("a1")
        assert [record.seq for record in records] == list(range(3 + 8 * 5))
        texts = [record.ticket.subject for record in records[3:]]
        for name in (f"{who} {number}" for who in ("one", "other") for number in range(4)):
            assert [text for text in texts if text and text.startswith(name)] == [f"{name} {n}" for n in range(5)]


async def test_after_a_conflict_a_case_catches_up_by_itself(path: Path) -> None:
    async with worker(path) as one, worker(path) as other:
        mine = await one.start(session_id="a1")
        yours = await other.resume("a1")
        await yours.update_field("subject", "yours")
        with pytest.raises(SequenceConflict):
            await mine.solve()
        await mine.update_field("description", "mine")
        assert (mine.ticket.subject, mine.ticket.description) == ("yours", "mine")
        assert mine.session == Session.fold(await other.load("a1"))
        await mine.solve()
        with pytest.raises(SequenceConflict):
            await yours.solve()
        with pytest.raises(IllegalTransition):
            await yours.solve()
        assert yours.session == mine.session


async def test_one_worker_delivers_what_both_record_and_the_other_waits_for_it(path: Path) -> None:
    gate = Gate()
    first, second = ScriptedSink(gate, name="same"), ScriptedSink(name="same")
    with anyio.fail_after(LONG_S):
        async with worker(path, first) as one, worker(path, second) as other:
            assert [assist.health().sinks[0].standby for assist in (one, other)] == [False, True]
            case = await other.start(session_id="a1")
            await case.solve()
            await gate.entered.wait()
            assert not (await other.flush(0.01)).complete
            assert books_of(other).pending == 2
            flushed: list[bool] = []
            async with anyio.create_task_group() as tasks:

                async def flush() -> None:
                    flushed.append((await other.flush(LONG_S)).complete)

                tasks.start_soon(flush)
                await anyio.sleep(0.02)
                assert not flushed
                gate.opened.set()
            assert flushed == [True]
            assert books_of(other).delivered == 2
        assert identities(first.taken) == [("a1", 0), ("a1", 1)]
        assert second.taken == []


async def test_when_the_working_one_is_gone_the_other_takes_over_and_closing_does_not_wait_for_others(
    path: Path,
) -> None:
    first, second = ScriptedSink(Gate(), name="same"), ScriptedSink(name="same")
    with anyio.fail_after(LONG_S):
        async with worker(path, first) as one:
            await one.start(session_id="a1")
            async with worker(path, ScriptedSink(name="same")) as stand_by:
                await stand_by.start(session_id="a2")
            assert books_of(stand_by).pending == 2  # it left without waiting for what another one delivers
            async with worker(path, second) as heir:
                await one.aclose(0)
                assert (await heir.flush(LONG_S)).complete
                assert not heir.health().sinks[0].standby
                assert books_of(heir).delivered == 2
    assert identities(second.taken) == [("a1", 0), ("a2", 0)]


# --- Those who left --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def any_store(request: pytest.FixtureRequest, path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else SQLiteStore(path, durability="os")


async def test_a_session_expires_when_nothing_happened_for_half_an_hour_and_not_before(
    path: Path, any_store: Store
) -> None:
    async with worker(path, store=any_store) as assist:
        await assist.start(session_id="a1", at=NOON)
        case = await assist.start(session_id="a2", at=NOON)
        await case.next_stage(at=NOON + timedelta(minutes=1))
        await (await assist.start(session_id="over", at=NOON)).solve(at=NOON)
        assert await assist.expire(NOON + IDLE - timedelta.resolution) == []
        assert await assist.expire(NOON + IDLE) == ["a1"]
        assert await assist.expire(NOON + IDLE) == []
        assert await assist.expire(NOON + IDLE + timedelta(minutes=1)) == ["a2"]
        quit_ = (await assist.load("a1"))[-1]
        assert (quit_.time, quit_.event.reason, quit_.event.cause) == (NOON + IDLE, "Quit", "timeout")  # type: ignore[union-attr]
        assert len(await assist.load("over")) == 2
        with pytest.raises(SequenceConflict):
            await case.solve()
        with pytest.raises(IllegalTransition):
            await case.solve()


@pytest.mark.parametrize("idle_s", [0.0, 1.5])
async def test_the_time_that_may_pass_can_be_chosen(path: Path, any_store: Store, idle_s: float) -> None:
    async with worker(path, store=any_store) as assist:
        await assist.start(session_id="a1", at=NOON)
        if idle_s:
            assert await assist.expire(NOON + timedelta(seconds=idle_s - 0.001), idle_s=idle_s) == []
        assert await assist.expire(NOON + timedelta(seconds=idle_s), idle_s=idle_s) == ["a1"]


@pytest.mark.parametrize(
    ("now", "idle_s"),
    [(datetime(2026, 11, 20, 12), IDLE_S), ("noon", IDLE_S), (NOON, -1.0), (NOON, float("nan"))],  # noqa: DTZ001
    ids=["no time zone", "no time", "negative", "not a number"],
)
async def test_arguments_that_make_no_sense_are_refused(path: Path, any_store: Store, now: Any, idle_s: float) -> None:
    async with worker(path, store=any_store) as assist:
        await assist.start(session_id="a1", at=NOON)
        with pytest.raises(InvalidAction):
            await assist.expire(now, idle_s=idle_s)
        assert len(await assist.load("a1")) == 1


async def test_at_the_beginning_of_time_nobody_expires(path: Path, any_store: Store) -> None:
    async with worker(path, store=any_store) as assist:
        await assist.start(session_id="a1", at=NOON)
        assert await assist.expire(datetime.min.replace(tzinfo=UTC)) == []
        assert await assist.expire(NOON - timedelta(days=1)) == []


async def test_more_sessions_expire_than_are_looked_at_at_once(path: Path, any_store: Store) -> None:
    ids = [f"s{number}" for number in range(600)]
    with anyio.fail_after(LONG_S):
        async with worker(path, store=any_store) as assist:
            async with anyio.create_task_group() as tasks:
                for session_id in ids:
                    tasks.start_soon(_start, assist, session_id)
            assert sorted(await assist.expire(NOON + IDLE)) == sorted(ids)
            assert await assist.expire(NOON + IDLE) == []
            assert len(await assist.load("s599")) == 2


async def _start(assist: CaseAssist, session_id: str) -> None:
    await assist.start(session_id=session_id, at=NOON)


def with_own_states() -> LifeCycle:
    """``escalated`` is an end; from ``paused`` there is a way on, but not out."""
    machine = LifeCycle()
    machine.add_states(["escalated", "paused"])
    machine.add_transition("escalate", "started", "escalated")
    machine.add_transition("pause", "started", "paused")
    machine.add_transition("go_on", "paused", "started")
    return machine


@pytest.mark.parametrize("action", ["escalate", "pause"])
async def test_sessions_that_cannot_quit_stay_as_they_are_and_keep_no_others(
    path: Path, any_store: Store, action: str
) -> None:
    with anyio.fail_after(LONG_S):
        async with worker(path, store=any_store, life_cycle=with_own_states()) as assist:
            for number in range(300):
                case = await assist.start(session_id=f"s{number}", at=NOON)
                await case.log_custom({"eventType": "caseassist", "eventValue": action}, at=NOON)
            await assist.start(session_id="leaves", at=NOON)
            for expected in (["leaves"], []):
                assert await assist.expire(NOON + IDLE) == expected
            assert len(await assist.load("s0")) == 2


async def test_a_session_that_cannot_be_read_keeps_no_others_from_expiring(path: Path) -> None:
    async with worker(path) as assist:
        for session_id in ("damaged", "newer", "fine"):
            case = await assist.start(session_id=session_id, at=NOON)
            await case.next_stage(at=NOON)
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE records SET record = x'7b7d' WHERE position = 1")
            newer = "replace(CAST(record AS TEXT), 'ticket_create_start', 'something_new')"
            connection.execute(f"UPDATE records SET record = CAST({newer} AS BLOB) WHERE position = 3")
        connection.close()
        assert await assist.expire(NOON + IDLE) == ["fine"]


@pytest.mark.parametrize("end", ["solve", "erase", "next_stage"])
async def test_a_session_with_which_another_worker_was_faster_is_left_alone(path: Path, end: str) -> None:
    class Meanwhile(SQLiteStore):
        """Something happens between the look at a session and the record that it expires."""

        async def load(self, session_id: str) -> Sequence[Record]:
            records = await super().load(session_id)
            if session_id == "a1":
                await (other.erase(session_id="a1") if end == "erase" else getattr(case, end)())
            return records

    async with worker(path) as other, worker(path, store=Meanwhile(path)) as assist:
        case = await other.start(session_id="a1", at=NOON)
        await other.start(session_id="a2", at=NOON)
        assert await assist.expire(NOON + IDLE) == ["a2"]
        assert len(await other.load("a1")) == (1 if end == "erase" else 2)


async def test_of_two_workers_that_expire_at_once_one_does(path: Path) -> None:
    expired: list[str] = []

    async def expire(assist: CaseAssist) -> None:
        expired.extend(await assist.expire(NOON + IDLE))

    async with worker(path) as one, worker(path) as other:
        for number in range(50):
            await one.start(session_id=f"s{number}", at=NOON)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(expire, one)
            tasks.start_soon(expire, other)
        # Both may say so of one: they decided the same, so the second one's record was there already.
        assert set(expired) == {f"s{number}" for number in range(50)}
        for number in range(50):
            assert len(await one.load(f"s{number}")) == 2


# --- Those who are forgotten -----------------------------------------------------------------------------------------


async def test_an_erased_session_can_neither_be_resumed_nor_gone_on_with(path: Path, any_store: Store) -> None:
    async with worker(path, store=any_store) as assist:
        case = await assist.start({"subject": "canary"}, session_id="a1", at=NOON)
        other = await assist.start({"subject": "other"}, session_id="a2", client_id=OTHER_CLIENT, at=NOON)
        assert list(await assist.erase(client_id=CLIENT_ID)) == ["a1"]
        for _ in range(2):  # the handle knows no more of it the second time
            with pytest.raises(SessionErased):
                await case.update_field("description", "x")
        with pytest.raises(SessionErased):
            await assist.resume("a1")
        (record,) = await assist.load("a1")
        assert is_erased(record)
        assert "canary" not in repr(record.ticket)
        assert await assist.expire(NOON + IDLE) == ["a2"]
        assert other.ticket.subject == "other"
        assert list(await assist.erase(session_id="nobody")) == []
        for which in ({}, {"session_id": "a1", "client_id": CLIENT_ID}):
            with pytest.raises(ValueError, match="either"):
                await assist.erase(**which)


async def test_what_is_erased_is_dropped_from_quarantine_and_from_what_is_pending(path: Path, any_store: Store) -> None:
    sink = ScriptedSink(SinkRefused("no", status=400), *[SinkUnavailable("down")] * 3)
    with anyio.fail_after(LONG_S):
        async with worker(path, sink, store=any_store, sleep=(pauses := Pauses(held=True))) as assist:
            case = await assist.start(session_id="a1")
            await assist.flush(LONG_S)
            assert books_of(assist).quarantined == 1
            await assist.erase(session_id="a1")
            await _settled(lambda: books_of(assist).dropped == {"erased": 1})
            assert books_of(assist).quarantined == assist.health().sinks[0].quarantined == 0
            assert list(await assist.quarantined("scripted")) == []
            pauses.held = False
            pauses.let_go()
            assert case.state == "started"
    assert sink.taken == []


async def _settled(condition: Callable[[], bool]) -> None:
    """Wait until something is true that threads have a part in."""
    with anyio.fail_after(LONG_S):
        while not condition():  # noqa: ASYNC110 (threads set no events of ours)
            await anyio.sleep(0.001)


# --- What was refused ------------------------------------------------------------------------------------------------


async def test_an_operator_lists_resends_and_drops_what_was_refused(path: Path, any_store: Store) -> None:
    refusals = [SinkRefused("no", status=400) for _ in range(4)]
    sink = ScriptedSink(*refusals)
    with anyio.fail_after(LONG_S):
        async with worker(path, sink, store=any_store) as assist:
            for number in range(4):
                await assist.start(session_id=f"s{number}")
                await assist.flush(LONG_S)
            entries = await assist.quarantined("scripted")
            assert [entry.position for entry in entries] == [1, 2, 3, 4]
            assert {(entry.reason, entry.status, entry.at) for entry in entries} == {("no", 400, NOON)}
            assert [entry.position for entry in await assist.quarantined("scripted", after=1, limit=2)] == [2, 3]
            assert list(await assist.quarantined("nobody")) == []
            assert books_of(assist).quarantined == 4

            assert await assist.resend("scripted", position=99) == 0
            assert await assist.resend("scripted", position=2) == 1
            await _settled(lambda: books_of(assist).quarantined == 3)
            assert identities(sink.taken) == [("s1", 0)]

            assert await assist.drop("scripted", position=1)
            assert not await assist.drop("scripted", position=1)
            assert not await assist.drop("scripted", position=2)
            await _settled(lambda: books_of(assist).dropped == {"operator": 1})

            sink.script.append(SinkRefused("still not", status=422))
            assert await assist.resend("scripted", session_id="s2") == 1
            while (await assist.quarantined("scripted"))[0].reason != "still not":
                await anyio.lowlevel.checkpoint()
            assert (await assist.quarantined("scripted"))[0].requested is False
            assert await assist.resend("scripted") == 2
            await _settled(lambda: not books_of(assist).quarantined)
        books = books_of(assist)
        assert (books.accepted, books.delivered, books.pending, dict(books.dropped)) == (4, 3, 0, {"operator": 1})
        assert identities(sink.taken) == [("s1", 0), ("s2", 0), ("s3", 0)]


# --- Restarts --------------------------------------------------------------------------------------------------------


async def test_a_restart_keeps_the_books_and_delivery_goes_on_where_it_was(path: Path) -> None:
    first = ScriptedSink(None, SinkRefused("no"), name="same")
    with anyio.fail_after(LONG_S):
        async with worker(path, first) as assist:
            for number in range(3):
                await assist.start(session_id=f"s{number}")
                await assist.flush(LONG_S)
        before = books_of(assist)
        assert (before.accepted, before.delivered, before.quarantined) == (3, 2, 1)

        away = ScriptedSink(Gate(), name="same")
        async with worker(path, away, drain_timeout_s=0.0) as assist:
            assert books_of(assist) == before
            await assist.start(session_id="s3")
        books = books_of(assist)
        assert (books.accepted, books.delivered, books.pending, books.quarantined) == (4, 2, 1, 1)
        assert away.taken == []

        last, fresh = ScriptedSink(name="same"), ScriptedSink(name="fresh")
        async with worker(path, last, fresh) as assist:
            assert await assist.drop("same", position=2)
            assert (await assist.flush(LONG_S)).complete
            await _settled(lambda: dict(assist.report().sinks[0].dropped) == {"operator": 1})
        assert identities(last.taken) == [("s3", 0)]
        assert identities(fresh.taken) == [(f"s{number}", 0) for number in range(4)]
        same, other = assist.report().sinks
        assert (same.accepted, same.delivered, same.quarantined, dict(same.dropped)) == (4, 3, 0, {"operator": 1})
        assert (other.accepted, other.delivered) == (4, 4)


async def test_what_was_taken_before_a_crash_comes_again_and_is_recognised(path: Path) -> None:
    class Crashes(SQLiteStore):
        """Its process dies before a position is stored."""

        async def commit(self, sink: str, **what: Any) -> None:
            raise StoreUnavailable("it is dead")

    first, second = ScriptedSink(name="same"), ScriptedSink(name="same")
    with anyio.fail_after(LONG_S):
        async with worker(path, first, store=Crashes(path)) as assist:
            case = await assist.start(session_id="a1")
            await case.solve()
            await until(lambda: len(first.taken) == 2)
        async with worker(path, second) as assist:
            await assist.flush(LONG_S)
        assert first.taken == second.taken == list(await stored(path, "a1"))
        assert books_of(assist).delivered == 2


async def stored(path: Path, session_id: str) -> Sequence[Record]:
    async with SQLiteStore(path) as store:
        return await store.load(session_id)


# --- Health, and disks that hang -------------------------------------------------------------------------------------


class Disk:
    """What happens before a statement of a store is run. ``before(sql)`` may wait or raise."""

    def __init__(self) -> None:
        self.before: Callable[[str], None] = lambda sql: None

    @contextmanager
    def hangs(self, start: str) -> Iterator[threading.Event]:
        """Statements that start so hang until the block is left. The event says that one does."""
        hangs, go = threading.Event(), threading.Event()

        def before(sql: str) -> None:
            if sql.startswith(start):
                hangs.set()
                go.wait(LONG_S)

        self.before = before
        try:
            yield hangs
        finally:
            self.before = lambda sql: None
            go.set()

    @contextmanager
    def fails(self, start: str, name: str) -> Iterator[None]:
        """Statements that start so fail."""

        def before(sql: str) -> None:
            if sql.startswith(start):
                error = sqlite3.OperationalError("canary text of SQLite")
                error.sqlite_errorcode = getattr(sqlite3, name)
                error.sqlite_errorname = name
                raise error

        self.before = before
        try:
            yield
        finally:
            self.before = lambda sql: None


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            disk.before(sql)
            return super().execute(sql, *args)

    def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
        return sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, check_same_thread=False, factory=Connection
        )

    monkeypatch.setattr(sqlite_file, "connect", connect)
    return disk


async def test_an_action_does_not_wait_longer_for_a_hanging_disk_than_it_was_told(path: Path, disk: Disk) -> None:
    with anyio.fail_after(LONG_S):
        async with worker(path, append_timeout_s=0.2) as assist:
            case = await assist.start(session_id="a1")
            with disk.hangs("COMMIT") as hangs:
                began = time.monotonic()
                with pytest.raises(AppendUnknown) as caught:
                    await case.update_field("subject", "was it stored?")
                assert time.monotonic() - began < 2.0
                assert hangs.is_set()
                assert (caught.value.session_id, caught.value.seq) == ("a1", 1)
                with pytest.raises(StoreUnavailable):  # it waits behind the other, and is not begun
                    await assist.start(session_id="a2")
            while len(await assist.load("a1")) < 2:  # the disk goes on, and stores it now
                await anyio.lowlevel.checkpoint()
            record = await case.update_field("description", "after")
            records = await assist.load("a1")
            assert case.session == Session.fold(records)
            assert (record.seq, len(records)) == (2, 3)
            assert case.ticket.subject == "was it stored?"
            assert list(await assist.load("a2")) == []


async def test_what_a_hanging_disk_had_not_begun_to_store_is_not_stored(path: Path, disk: Disk) -> None:
    with anyio.fail_after(LONG_S):
        async with worker(path, append_timeout_s=0.1) as assist:
            case = await assist.start(session_id="a1")
            with disk.hangs("BEGIN"), pytest.raises(StoreUnavailable):
                await case.update_field("subject", "too late")
            record = await case.update_field("description", "after")
            assert (record.seq, len(await assist.load("a1"))) == (1, 2)
            assert case.session == Session.fold(await assist.load("a1"))
            assert case.ticket.subject is None


async def test_a_case_goes_on_after_a_commit_of_which_nobody_knows(path: Path, disk: Disk) -> None:
    async with worker(path) as assist:
        case = await assist.start(session_id="a1")
        with disk.fails("COMMIT", "SQLITE_IOERR"), pytest.raises(AppendUnknown):
            await case.update_field("subject", "was it stored?")
        await case.update_field("description", "after")
        assert case.session == Session.fold(await assist.load("a1"))
        assert len(await assist.load("a1")) in (2, 3)


async def test_what_a_hanging_disk_stored_after_all_is_delivered(path: Path, disk: Disk) -> None:
    sink = ScriptedSink()
    with anyio.fail_after(LONG_S):
        async with worker(path, sink, append_timeout_s=0.05) as assist:
            case = await assist.start(session_id="a1")
            await assist.flush(LONG_S)
            with disk.hangs("COMMIT"), pytest.raises(AppendUnknown):
                await case.solve()
            await _settled(lambda: len(sink.taken) == 2)
            await _settled(lambda: books_of(assist).delivered == 2)


async def test_health_tells_of_a_store_that_is_closed_fails_or_hangs(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caseassist.stores.lane.HUNG_S", 0.02)
    assist = worker(path, append_timeout_s=0.1)
    assert not assist.health().store.ok
    with anyio.fail_after(LONG_S):
        async with assist:
            assert assist.health().ok
            with disk.fails("BEGIN", "SQLITE_IOERR"), pytest.raises(StoreUnavailable):
                await assist.start(session_id="a1")
            assert not assist.health().ok
            assert "canary" not in assist.health().store.problem
            await assist.start(session_id="a1")
            assert assist.health().ok
            with disk.hangs("COMMIT"):
                with pytest.raises(AppendUnknown):
                    await assist.start(session_id="a2")
                assert assist.health().store.problem == "the disk does not answer"
                assert not assist.health().ok
            await _settled(lambda: assist.health().ok)
    assert not assist.health().ok
    assert assist.health().store.problem == "it is not open"


async def test_a_hanging_disk_holds_up_closing_no_longer_than_its_deadline(path: Path, disk: Disk) -> None:
    sink = ScriptedSink()
    with anyio.fail_after(LONG_S):
        async with worker(path, sink, append_timeout_s=0.05, drain_timeout_s=0.1) as assist:
            await assist.start(session_id="a1")
            await assist.flush(LONG_S)
            with disk.hangs("COMMIT"):
                with pytest.raises(AppendUnknown):
                    await assist.start(session_id="a2")
                began = time.monotonic()
                await assist.aclose(0.1)
                assert time.monotonic() - began < 5.0
        async with worker(path, ScriptedSink()) as assist:
            assert (await assist.flush(LONG_S)).complete
            assert books_of(assist).accepted in (1, 2)
