"""The store in a SQLite file: what it keeps, who waits for whom, and what happens when the disk or others fail."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import msgspec
import pytest
from tests.cancelling import cut_off
from tests.fakes import AT, CLIENT_ID, LONG_S, identities, records_of, until

from caseassist.core.erasure import is_erased
from caseassist.core.errors import (
    AppendUnknown,
    CorruptRecord,
    PositionConflict,
    SequenceConflict,
    SessionErased,
    StoreFull,
    StoreUnavailable,
)
from caseassist.core.records import Record, encode
from caseassist.core.session import Session
from caseassist.stores import lane, sqlite, sqlite_file
from caseassist.stores.base import Ack, Quarantined, SinkState
from caseassist.stores.sqlite import SQLiteStore
from caseassist.stores.sqlite_file import APPLICATION_ID, MIGRATIONS

A = records_of("a", 9)
B = records_of("b", 9)
ENDED = records_of("ended", 3, ended=True)
LATER = AT + timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cases.db"


def store_at(path: Path, **options: Any) -> SQLiteStore:
    return SQLiteStore(path, durability=options.pop("durability", "os"), **options)


async def append(store: SQLiteStore, *records: Record, timeout_s: float = LONG_S) -> int:
    return (await store.append(records, timeout_s=timeout_s)).position


async def places(store: SQLiteStore, after: int = 0, limit: int = 100_000) -> list[tuple[int, str, int]]:
    return [(position, record.session_id, record.seq) for position, record in await store.read(after, limit)]


def aside(position: int, record: Record, reason: str = "HTTP 400") -> Quarantined:
    return Quarantined(position=position, record=record, reason=reason, status=400, at=AT)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


# --- Faults: what the store's connections run goes by here first -----------------------------------------------------


class Faults:
    """What happens before a statement is run: ``before(sql)`` may wait or raise. ``ran``: all statements."""

    def __init__(self) -> None:
        self.before: Callable[[str], None] = lambda sql: None
        self.ran: list[str] = []
        self.connected = 0
        self.all_closed = threading.Event()

    def __call__(self, sql: str) -> None:
        self.ran.append(sql)
        self.before(sql)

    def fail(self, start: str, name: str) -> None:
        """Have statements that start so fail."""

        def before(sql: str) -> None:
            if sql.startswith(start):
                raise sqlite_error(name)

        self.before = before

    def heal(self) -> None:
        self.before = lambda sql: None

    @contextmanager
    def hang(self, start: str) -> Iterator["Hang"]:
        """Have the next statement that starts so hang, until it is let go."""
        hang = Hang()

        def before(sql: str) -> None:
            if sql.startswith(start):
                self.heal()
                hang.hangs.set()
                hang.go.wait(LONG_S)

        self.before = before
        try:
            yield hang
        finally:
            hang.go.set()


class Hang:
    """A statement that hangs."""

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.go = threading.Event()


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("canary text of SQLite")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    faults = Faults()

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            faults(sql)
            return super().execute(sql, *args)

        def executemany(self, sql: str, *args: Any) -> sqlite3.Cursor:
            faults(sql)
            return super().executemany(sql, *args)

        def close(self) -> None:
            super().close()
            faults.connected -= 1
            if not faults.connected:
                faults.all_closed.set()

    def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
        faults.connected += 1
        faults.all_closed.clear()
        return sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, check_same_thread=False, factory=Connection
        )

    monkeypatch.setattr(sqlite_file, "connect", connect)
    return faults


# --- Records ---------------------------------------------------------------------------------------------------------


async def test_positions_count_from_1_over_all_sessions(path: Path) -> None:
    async with store_at(path) as store:
        assert [await append(store, A[0]), await append(store, B[0], B[1]), await append(store, A[1])] == [1, 3, 4]
        assert await places(store) == [(1, "a", 0), (2, "b", 0), (3, "b", 1), (4, "a", 1)]
        assert await places(store, after=1, limit=2) == [(2, "b", 0), (3, "b", 1)]
        assert await places(store, after=4) == []
        assert await store.last_position() == 4
        assert list(await store.load("a")) == A[:2]
        assert list(await store.load("nobody")) == []


async def test_an_empty_store_has_nothing(path: Path) -> None:
    async with store_at(path) as store:
        assert (await places(store), await store.last_position(), list(await store.sinks())) == ([], 0, [])
        assert await store.state("sink") == SinkState()
        assert list(await store.idle(LATER, 10)) == []


@pytest.mark.parametrize("durability", ["disk", "os"])
async def test_an_ack_names_the_durability(path: Path, durability: str) -> None:
    async with store_at(path, durability=durability) as store:
        for _ in range(2):
            ack = await store.append(A[:2], timeout_s=LONG_S)
            assert (type(ack), ack.position, ack.durability) == (Ack, 2, durability)
        assert store.durability == durability


async def test_durability_is_what_sqlite_is_told(path: Path, faults: Faults) -> None:
    async with store_at(path, durability="disk"):
        pass
    assert "PRAGMA synchronous = FULL" in faults.ran
    faults.ran.clear()
    async with store_at(path, durability="os"):
        pass
    assert "PRAGMA synchronous = NORMAL" in faults.ran


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    store = store_at(path)
    async with store:
        await append(store, *A[:3])
        await append(store, *ENDED)
        await store.commit("sink", after=0, position=3, quarantined=[aside(2, A[1])], dropped={"policy": 1})
        before = await store.read(0, 100), await store.state("sink"), await store.quarantined("sink")
    for again in (store, store_at(path, durability="disk")):
        async with again:
            assert (await again.read(0, 100), await again.state("sink"), await again.quarantined("sink")) == before
            assert list(await again.idle(LATER, 10)) == ["a"]
            with pytest.raises(SequenceConflict):
                await append(again, A[4])
    async with store:
        assert await append(store, A[3]) == 7


async def test_records_that_are_stored_already_are_not_stored_again(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A[:3])
        await append(store, B[0])
        assert await append(store, *A[:3]) == 3
        assert await append(store, A[1]) == 2
        assert await store.last_position() == 4
    async with store_at(path) as store:
        assert await append(store, *A[1:3]) == 3


OTHER = records_of("a", 9, text="other")


@pytest.mark.parametrize(
    ("records", "expected"),
    [([OTHER[1]], 1), ([A[1], OTHER[2]], 1), ([A[4]], 4), (A[2:5], 2), (A[:4], 0)],
    ids=["taken", "partly taken", "ahead", "partly there", "more than is there"],
)
async def test_a_place_is_taken_once(path: Path, records: Sequence[Record], expected: int) -> None:
    async with store_at(path) as store:
        await append(store, *A[:3])
        with pytest.raises(SequenceConflict) as caught:
            await append(store, *records)
        assert (caught.value.expected, caught.value.found) == (expected, 3)
        assert list(await store.load("a")) == A[:3]
        assert await append(store, A[3]) == 4


async def test_a_session_begins_with_its_first_record(path: Path) -> None:
    async with store_at(path) as store:
        with pytest.raises(SequenceConflict) as caught:
            await append(store, A[1])
        assert (caught.value.expected, caught.value.found) == (1, 0)
        assert await store.last_position() == 0
        assert await append(store, A[0]) == 1


@pytest.mark.parametrize("records", [[], [A[0], A[2]], [A[0], B[1]], A * 30], ids=["none", "gap", "two", "many"])
async def test_only_a_batch_of_one_session_in_sequence_is_taken(path: Path, records: Sequence[Record]) -> None:
    async with store_at(path) as store:
        with pytest.raises(ValueError):
            await append(store, *records)
        assert await store.last_position() == 0


async def test_idle_are_those_that_have_not_ended_oldest_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite_read.PAGE", 2)
    async with store_at(path) as store:
        for name in ("z", "y", "x", "w", "v"):
            await append(store, *records_of(name, 2))
        await append(store, *ENDED)
        young = msgspec.structs.replace(records_of("y", 3)[2], time=LATER)
        await append(store, young)
        assert list(await store.idle(LATER, 10)) == ["z", "x", "w", "v"]
        assert list(await store.idle(LATER, 3)) == ["z", "x", "w"]
        assert list(await store.idle(AT, 10)) == []
        assert list(await store.idle(LATER + timedelta(1), 2)) == ["z", "y"]
        assert list(await store.idle(LATER, 2, "z")) == ["x", "w"]
        assert list(await store.idle(LATER, 2, "nobody")) == ["z", "x"]


async def test_a_damaged_record_is_named_by_its_place(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A[:3])
        change(path, "UPDATE records SET record = x'7b7d' WHERE position = 2")
        assert await places(store) == [(1, "a", 0)]
        with pytest.raises(CorruptRecord) as caught:
            await store.read(1, 10)
        assert (caught.value.where, caught.value.position) == ("position 2", 2)
        with pytest.raises(CorruptRecord):
            await store.load("a")
        assert await places(store, after=2) == [(3, "a", 2)]
        change(path, "UPDATE records SET record = x'7b7d' WHERE position = 3")
        await append(store, B[0])
        assert list(await store.idle(LATER, 10)) == ["b"]


async def test_what_was_put_aside_and_is_damaged_keeps_back_nothing_and_can_be_dropped(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A[:5])
        entries = [aside(position, A[position - 1]) for position in range(1, 6)]
        await store.commit("sink", after=0, position=5, quarantined=entries)
        change(path, "UPDATE records SET record = x'7b7d' WHERE position IN (1, 3)")
        assert list(await store.quarantined("sink")) == [entries[1], entries[3], entries[4]]
        assert list(await store.quarantined("sink", session_id="a", limit=2)) == [entries[1], entries[3]]
        assert list(await store.quarantined("sink", after=4, limit=2)) == entries[4:]
        assert (await store.state("sink")).quarantined == 5
        assert await store.drop("sink", position=1) == 1
        assert await store.drop("sink", session_id="a") == 4


async def test_a_text_that_cannot_be_stored_names_nothing(path: Path) -> None:
    half = "\ud800"
    async with store_at(path) as store:
        await append(store, A[0])
        await store.commit("sink", after=0, position=1, quarantined=[aside(1, A[0])])
        assert list(await store.load(half)) == []
        assert list(await store.quarantined("sink", session_id=half)) == []
        assert list(await store.idle(LATER, 1, half)) == ["a"]
        assert await store.request_resend("sink", session_id=half) == 0
        assert await store.drop("sink", session_id=half) == 0
        assert list(await store.erase(session_id=half)) == []
        assert list(await store.erase(client_id=half)) == []
        assert store.health().ok


SHORT = {"sinks", "erasing", "e"}


class _AnyValue(dict[str, object]):
    def __missing__(self, name: str) -> object:
        return 1


async def test_no_statement_that_is_run_often_goes_through_a_whole_table(path: Path, faults: Faults) -> None:
    async with store_at(path, max_bytes=10**9) as store:
        faults.ran.clear()
        await append(store, *A[:6])
        await append(store, *B[:2])
        await append(store, *A[:6])
        await append(store, *ENDED)
        await store.claim("sink")
        entries = [aside(1, A[0]), aside(7, B[0]), aside(8, B[1])]
        await store.commit("sink", after=0, position=2, quarantined=entries)
        await store.commit("sink", after=2, position=3)
        await store.read(0, 10)
        await store.last_position()
        await store.idle(LATER, 10, "a")
        await store.state("sink")
        for session_id in (None, "a"):
            for requested in (False, True):
                await store.quarantined("sink", session_id=session_id, requested=requested)
            await store.request_resend("sink", session_id=session_id)
        await store.put_back("sink", entries[0])
        await store.resolve("sink", 1)
        await store.drop("sink", position=7)
        await store.drop("sink", session_id="b")
        await store.commit("sink", after=3, position=11)
        await store.erase(session_id="a")
        await store.erase(client_id=CLIENT_ID)
        await store.prune(LATER)
        ran = set(faults.ran)
    connection = sqlite3.connect(path)
    looked_at = 0
    for sql in ran:
        if sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            values = _AnyValue() if ":sink" in sql else [1] * sql.count("?")
            plan = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            # There are few sinks, and few sessions at a time that are being erased.
            assert not [step for step in plan if step.startswith("SCAN") and step[5:] not in SHORT], sql
            # The records of one session may be put in order, and all that there are may not.
            assert "session" in sql or not [step for step in plan if "ORDER BY" in step], sql
            looked_at += 1
    connection.close()
    assert looked_at > 20


# --- Many at once ----------------------------------------------------------------------------------------------------


async def test_many_sessions_share_one_commit(path: Path, faults: Faults) -> None:
    async with store_at(path, durability="disk") as store:
        faults.ran.clear()
        async with anyio.create_task_group() as group:
            for number in range(64):
                group.start_soon(_append_all, store, records_of(f"s{number}", 20))
        assert await store.last_position() == 64 * 20
        assert faults.ran.count("COMMIT") < 64 * 20 / 4
        for number in range(64):
            assert identities(await store.load(f"s{number}")) == [(f"s{number}", seq) for seq in range(20)]


@pytest.mark.parametrize("number", [1, 15, 16, 17, 33, 256])
async def test_any_number_of_records_is_stored_in_order(path: Path, number: int) -> None:
    records = records_of("many", number)
    async with store_at(path) as store:
        assert await append(store, *records) == number
        assert await append(store, *A) == number + len(A)
        assert [record for _, record in await store.read(0, 1000)] == [*records, *A]
        assert list(await store.load("many")) == records


async def test_what_becomes_of_the_callers_list_changes_nothing(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        batch = A[:2]
        with faults.hang("COMMIT") as hang:
            async with anyio.create_task_group() as group:
                group.start_soon(append, store, B[0])
                await until(hang.hangs.is_set)
                group.start_soon(partial(store.append, batch, timeout_s=LONG_S))
                await anyio.wait_all_tasks_blocked()
                batch.clear()
                hang.go.set()
        assert await places(store) == [(1, "b", 0), (2, "a", 0), (3, "a", 1)]


async def test_the_write_ahead_log_stays_small_under_heavy_traffic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "LOG_PAGES", 20)
    async with store_at(path) as store:
        for number in range(100):
            await append(store, *records_of(f"s{number}", 20))
        assert path.with_name("cases.db-wal").stat().st_size < path.stat().st_size / 4


# --- What was appended a moment ago ----------------------------------------------------------------------------------


async def test_only_the_latest_records_are_kept_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "RECENT_BYTES", sum(len(encode(record)) for record in A[6:]))
    async with store_at(path) as store:
        for record in A:
            await append(store, record)
        read = [record for _, record in await store.read(0, 100)]
        assert read == A
        assert [one is other for one, other in zip(read, A, strict=True)] == [False] * 6 + [True] * 3


async def test_what_was_rolled_back_is_not_kept_in_memory(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        faults.fail("COMMIT", "SQLITE_FULL")
        with pytest.raises(StoreFull):
            await append(store, A[0])
        faults.heal()
        assert await append(store, B[0]) == 1
        ((_, record),) = await store.read(0, 100)
        assert record is B[0]


async def test_what_was_changed_meanwhile_is_read_from_the_file(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A)
        change(path, "UPDATE records SET record = (SELECT record FROM records WHERE position = 2) WHERE position = 1")
        read = [record for _, record in await store.read(0, 100)]
        assert read == [A[1], *A[1:]]


async def _append_all(store: SQLiteStore, records: Sequence[Record]) -> None:
    for record in records:
        await append(store, record)


async def test_in_one_commit_the_second_append_of_a_session_sees_the_first(path: Path, faults: Faults) -> None:
    outcomes: dict[str, object] = {}

    async def note(name: str, *records: Record) -> None:
        try:
            outcomes[name] = await append(store, *records)
        except SequenceConflict as error:
            outcomes[name] = (error.expected, error.found)

    async with store_at(path) as store:
        await append(store, B[0])
        with faults.hang("COMMIT") as hang:
            async with anyio.create_task_group() as group:
                group.start_soon(note, "before", B[1])
                await until(hang.hangs.is_set)
                faults.ran.clear()
                for name, records in {"0": [A[0]], "1": [A[1]], "0 again": [A[0]], "other": [OTHER[1]]}.items():
                    group.start_soon(note, name, *records)
                    await anyio.wait_all_tasks_blocked()
                hang.go.set()
        assert faults.ran.count("COMMIT") == 1
    assert outcomes == {"before": 2, "0": 3, "1": 4, "0 again": 3, "other": (1, 2)}


@pytest.mark.parametrize("durability", ["disk", "os"])
async def test_of_many_who_append_to_one_session_one_wins_each_place(
    path: Path, durability: str, anyio_backend_name: str
) -> None:
    # The long one takes a dozen seconds: every commit has one winner.
    tasks, each = 16, 1000 if (durability, anyio_backend_name) == ("os", "asyncio") else 50
    session = [msgspec.structs.replace(A[1], seq=seq) for seq in range(tasks * each)]
    won: list[int] = []
    behind: list[int] = []

    async def compete(number: int) -> None:
        seq = 0
        for attempt in range(each):
            while True:
                # What each task writes differs, so that nobody takes another's record for its own.
                mine = msgspec.structs.replace(session[seq], time=AT + timedelta(seconds=number, microseconds=attempt))
                try:
                    await append(store, mine)
                except SequenceConflict as error:
                    behind.append(error.found - error.expected)
                    seq = error.found
                else:
                    won.append(seq)
                    seq += 1
                    break

    async with store_at(path, durability=durability) as store:
        async with anyio.create_task_group() as group:
            for number in range(tasks):
                group.start_soon(compete, number)
        assert sorted(won) == list(range(tasks * each))
        assert identities(await store.load("a")) == [("a", seq) for seq in range(tasks * each)]
        assert await store.last_position() == tasks * each
    assert min(behind) > 0


def python(script: str, *args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def ended(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=LONG_S * 2)
    assert (process.returncode, err) == (0, "")
    return out


WRITE = """
import sys
import anyio, msgspec
from tests.fakes import records_of
from caseassist.core.errors import SequenceConflict
from caseassist.stores.sqlite import SQLiteStore

async def main(path, name, count):
    shared = records_of("shared", 2, text=name)[1]
    won = 0
    async with SQLiteStore(path) as store:
        sys.stdin.readline()
        for record in records_of(name, count):
            await store.append([record], timeout_s=30)
        seq = 0
        while won < count:
            try:
                await store.append([msgspec.structs.replace(shared, seq=seq)], timeout_s=30)
                won += 1
                seq += 1
            except SequenceConflict as error:
                assert error.found > seq
                seq = error.found
    print(won)

anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


async def test_processes_that_create_and_write_one_file_lose_and_repeat_nothing(path: Path, anyio_backend: str) -> None:
    count = 40
    processes = [python(WRITE, path, f"p{number}", count) for number in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [ended(process) for process in processes] == [f"{count}\n"] * 4
    async with store_at(path) as store:
        assert await store.last_position() == 8 * count
        for number in range(4):
            assert len(await store.load(f"p{number}")) == count
        assert identities(await store.load("shared")) == [("shared", seq) for seq in range(4 * count)]


async def test_what_another_store_appended_is_seen(path: Path) -> None:
    async with store_at(path) as one, store_at(path) as two:
        assert await append(one, A[0]) == 1
        assert await append(two, A[1]) == 2
        with pytest.raises(SequenceConflict):
            await append(one, OTHER[1])
        assert await append(one, A[2]) == 3
        assert await append(two, B[0]) == 4
        assert list(await one.load("a")) == list(await two.load("a")) == A[:3]
        await one.erase(session_id="a")
        with pytest.raises(SessionErased):
            await append(two, A[3])


# --- Deadlines, cancelling, closing ----------------------------------------------------------------------------------


async def test_an_append_to_a_hung_disk_ends_by_its_deadline_as_unknown(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        await append(store, A[0])
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                begin = time.perf_counter()
                await anyio.sleep(0.001)
                longest = max(longest, time.perf_counter() - begin)

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            with faults.hang("COMMIT") as hang:
                begin = time.perf_counter()
                with pytest.raises(AppendUnknown) as caught:
                    await append(store, A[1], timeout_s=0.2)
                took = time.perf_counter() - begin
                assert hang.hangs.is_set()
                assert (caught.value.session_id, caught.value.seq) == ("a", 1)
                # One that waits for the hung one was not begun, and will not be.
                with pytest.raises(StoreUnavailable):
                    await append(store, A[1], timeout_s=0.05)
                assert list(await store.load("a")) == A[:1], "reading goes on"
            group.cancel_scope.cancel()
        assert 0.19 < took < 0.5
        assert longest < 0.2
        assert await append(store, A[1]) == 2
        assert list(await store.load("a")) == A[:2]


async def test_what_hung_while_it_was_written_is_stored_once_or_not_at_all(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        for n, (start, expected) in enumerate(
            (("INSERT INTO records", AppendUnknown), ("COMMIT", AppendUnknown), ("BEGIN IMMEDIATE", StoreUnavailable))
        ):
            with faults.hang(start), pytest.raises(expected):
                await append(store, A[n], timeout_s=0.02)
            if expected is StoreUnavailable:
                assert await append(store, *B[:1]) == n + 1, "what was not begun is not done later"
                assert identities(await store.load("a")) == identities(A[:n])
                break
            assert await append(store, A[n]) == n + 1
            assert identities(await store.load("a")) == identities(A[: n + 1])


async def test_a_cancelled_append_that_was_not_begun_is_not_stored(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        with faults.hang("COMMIT") as hang:
            async with anyio.create_task_group() as group:
                group.start_soon(append, store, B[0])
                await until(hang.hangs.is_set)
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as inner:
                        inner.start_soon(append, store, A[0])
                        await anyio.wait_all_tasks_blocked()
                        scope.cancel()
                hang.go.set()
        assert await append(store, B[1]) == 2
        assert list(await store.load("a")) == []


async def test_every_call_can_be_cancelled_while_the_disk_hangs(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        await append(store, *A[:2])
        with faults.hang("SELECT"):
            reading: tuple[Callable[[], Any], ...] = (
                lambda: store.load("a"),
                lambda: store.read(0, 9),
                store.last_position,
                lambda: store.idle(AT, 9),
                store.sinks,
                lambda: store.state("sink"),
                lambda: store.quarantined("sink"),
                lambda: store.claim("sink"),
            )
            for call in reading:
                with anyio.move_on_after(0.01) as scope:
                    await call()
                assert scope.cancelled_caught
        with faults.hang("COMMIT"):
            writing: tuple[Callable[[], Any], ...] = (
                lambda: store.commit("sink", after=0, position=1),
                lambda: store.resolve("sink", 1),
                lambda: store.erase(session_id="b"),
                lambda: store.import_records(B),
                lambda: store.prune(AT),
            )
            for call in writing:
                with anyio.move_on_after(0.01) as scope:
                    await call()
                assert scope.cancelled_caught
        assert await append(store, A[2]) == 3
        assert await store.claim("sink"), "a cancelled claim is not kept"


async def test_cancelled_anywhere_nothing_is_left_behind(path: Path) -> None:
    async with store_at(path) as store:
        number = 0
        calls: tuple[Callable[[str], Any], ...] = (
            lambda name: append(store, records_of(name, 1)[0]),
            lambda name: store.load(name),
            lambda name: store.commit("sink", after=0, position=0),
            lambda name: store.erase(session_id="s1"),
        )
        for call in calls:
            for k in range(1, 10):
                number += 1
                cancelled, _ = await cut_off(call(f"s{number}"), k)
                if not cancelled:
                    break
            else:
                pytest.fail("it never got through")
        for k in range(1, 10):
            cancelled, claimed = await cut_off(store.claim("sink"), k)
            if not cancelled:
                break
            assert await store.claim("sink"), "who was cancelled does not hold it"
            await store.release("sink")
        assert claimed
    for k in range(1, 10):
        store = store_at(path)
        cancelled, _ = await cut_off(store.open(), k)
        if not cancelled:
            await store.aclose()
            break
        await store.open()
        cancelled, _ = await cut_off(store.aclose(), k)
        await store.aclose()
        await store.open()
        await store.aclose()


async def test_closing_keeps_its_deadline_when_the_disk_hangs(path: Path, faults: Faults) -> None:
    store = store_at(path)
    await store.open()
    outcomes: list[Exception] = []

    async def note(record: Record) -> None:
        try:
            await append(store, record)
        except (AppendUnknown, StoreUnavailable) as error:
            outcomes.append(error)

    with faults.hang("COMMIT") as hang:
        async with anyio.create_task_group() as group:
            group.start_soon(note, A[0])
            await until(hang.hangs.is_set)
            group.start_soon(note, B[0])
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0.05) as scope:
                await store.aclose()
            assert scope.cancelled_caught
    assert {type(error) for error in outcomes} == {AppendUnknown, StoreUnavailable}
    async with store:
        assert await store.last_position() <= 1
        assert await append(store, A[0]) == 1


def test_a_worker_that_hangs_beyond_the_end_of_the_event_loop_closes_the_file_itself(
    path: Path, faults: Faults, anyio_backend_name: str
) -> None:
    async def main(stack: ExitStack) -> Hang:
        store = store_at(path)
        await store.open()
        hang = stack.enter_context(faults.hang("COMMIT"))
        with pytest.raises(AppendUnknown):
            await append(store, A[0], timeout_s=0.01)
        assert hang.hangs.is_set()
        with anyio.move_on_after(0.01):
            await store.aclose()
        return hang

    with ExitStack() as stack:
        hang = anyio.run(main, stack, backend=anyio_backend_name)
        assert not faults.all_closed.is_set()
        hang.go.set()
        assert faults.all_closed.wait(LONG_S)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("hangs", ["SELECT", "COMMIT"])
async def test_closing_that_is_cancelled_without_a_scope_waits_for_nobody(
    path: Path, faults: Faults, hangs: str, anyio_backend: str
) -> None:
    store = store_at(path)
    await store.open()
    call: Any = store.load("a") if hangs == "SELECT" else store.commit("sink", after=0, position=0)
    with faults.hang(hangs) as hang:
        task = asyncio.get_running_loop().create_task(call)
        await until(hang.hangs.is_set)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.aclose(), 0.05)
        assert time.monotonic() - begun < LONG_S / 2
        with pytest.raises(StoreUnavailable):
            await task
    await until(faults.all_closed.is_set)


async def test_a_store_that_was_cut_off_while_it_opened_or_closed_does_not_count_as_open(path: Path) -> None:
    for call in ("open", "aclose"):
        for k in range(1, 1000):
            store = store_at(path)
            if call == "aclose":
                await store.open()
            was_cut, _ = await cut_off(getattr(store, call)(), k)
            if not was_cut:
                await store.aclose()
            await until(lambda: path.absolute() not in [open_path for open_path, _ in sqlite._open_files.values()])
            if not was_cut:
                break
    missing = SQLiteStore(path.parent / "missing" / "cases.db")
    with pytest.raises(StoreUnavailable):
        await missing.open()
    assert missing.path not in [open_path for open_path, _ in sqlite._open_files.values()]


async def test_closing_when_cancelled_still_closes(path: Path, faults: Faults) -> None:
    store = store_at(path)
    await store.open()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.aclose()
    assert not store.health().ok
    await until(faults.all_closed.is_set)


async def test_closing_lets_what_is_being_written_be_written(path: Path, faults: Faults) -> None:
    store = store_at(path)
    await store.open()
    positions: list[int] = []

    async def note() -> None:
        positions.append(await append(store, A[0]))

    with faults.hang("COMMIT") as hang:
        async with anyio.create_task_group() as group:
            group.start_soon(note)
            await until(hang.hangs.is_set)
            group.start_soon(store.aclose)
            await anyio.wait_all_tasks_blocked()
            hang.go.set()
    assert positions == [1]
    assert not (path.parent / "cases.db-wal").exists(), "the last one to close empties the write-ahead log"


async def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    store = store_at(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="not open"):
            await append(store, A[0])
        with pytest.raises(StoreUnavailable, match="not open"):
            await store.load("a")
        assert not store.health().ok
        await store.open()
        await store.open()
        assert store.health().ok
        await store.aclose()
        await store.aclose()


async def test_opening_twice_at_once_opens_once(path: Path, faults: Faults) -> None:
    store = store_at(path)
    async with anyio.create_task_group() as group:
        group.start_soon(store.open)
        group.start_soon(store.open)
    assert faults.ran.count("PRAGMA journal_mode = WAL") == 1
    await store.aclose()


@pytest.mark.parametrize("url", ["sqlite:a.db", "sqlite:///a.db"])
def test_a_url_is_no_path(url: str) -> None:
    with pytest.raises(ValueError, match=f"path alone: '{url.removeprefix('sqlite:')}'"):
        SQLiteStore(url)


async def test_who_only_looks_creates_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    change(tmp_path / "no_table.db", "VACUUM")
    for name, words in {"missing.db": "no file missing.db", "empty.db": "empty.db is empty, and no store"}.items():
        store = SQLiteStore(tmp_path / name, create=False)
        with pytest.raises(StoreUnavailable, match=words):
            await store.open()
        assert not store.health().ok
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir() if file.name != "no_table.db"] == [
        ("empty.db", 0)
    ]
    change(tmp_path / "no_table.db", "PRAGMA page_size = 4096", "CREATE TABLE t (x)", "DROP TABLE t")
    before = (tmp_path / "no_table.db").read_bytes()
    with pytest.raises(StoreUnavailable, match=r"no_table\.db is empty, and no store"):
        await SQLiteStore(tmp_path / "no_table.db", create=False).open()
    assert (tmp_path / "no_table.db").read_bytes() == before
    async with store_at(tmp_path / "cases.db") as store:
        await append(store, A[0])
    async with SQLiteStore(tmp_path / "cases.db", create=False) as store:
        assert list(await store.load("a")) == A[:1]


def test_arguments_are_checked_and_nothing_is_done(tmp_path: Path) -> None:
    for arguments in ({"path": ":memory:"}, {"path": ""}, {"path": "x", "durability": "memory"}):
        with pytest.raises(ValueError):
            SQLiteStore(**cast("Any", arguments))
    with pytest.raises(ValueError):
        SQLiteStore("x", max_bytes=0)
    SQLiteStore(tmp_path / "cases.db")
    assert not list(tmp_path.iterdir())


# --- Errors of SQLite ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "name", "expected"),
    [
        ("BEGIN IMMEDIATE", "SQLITE_IOERR_READ", StoreUnavailable),
        ("INSERT INTO records", "SQLITE_IOERR_WRITE", StoreUnavailable),
        ("INSERT INTO records", "SQLITE_CORRUPT", StoreUnavailable),
        ("INSERT INTO records", "SQLITE_READONLY", StoreUnavailable),
        ("INSERT INTO records", "SQLITE_CANTOPEN", StoreUnavailable),
        ("INSERT INTO records", "SQLITE_NOMEM", StoreUnavailable),
        ("INSERT INTO records", "SQLITE_FULL", StoreFull),
        ("COMMIT", "SQLITE_FULL", StoreFull),
        ("COMMIT", "SQLITE_IOERR_FSYNC", AppendUnknown),
        ("COMMIT", "SQLITE_CORRUPT", AppendUnknown),
    ],
)
async def test_an_error_is_typed_says_no_data_and_the_store_goes_on(
    path: Path, faults: Faults, start: str, name: str, expected: type[Exception]
) -> None:
    async with store_at(path) as store:
        await append(store, A[0])
        faults.fail(start, name)
        with pytest.raises(expected) as caught:
            await append(store, A[1])
        assert type(caught.value) is expected
        assert "canary" not in str(caught.value)
        assert isinstance(caught.value.__cause__, sqlite3.Error)
        health = store.health()
        assert not health.ok
        assert health.problem
        faults.heal()
        assert list(await store.load("a")) == A[:1]
        assert await append(store, A[1]) == 2
        assert store.health().ok


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SQLITE_CANTOPEN", "cannot be opened .* its folder"),
        ("SQLITE_READONLY", "may not be written .* permissions"),
        ("SQLITE_IOERR_READ", "whether its disk works"),
        ("SQLITE_NOTADB", "or no store"),
        ("SQLITE_NOMEM", "cannot be read or written"),
    ],
)
async def test_an_error_names_the_file_and_says_what_to_look_at(
    path: Path, faults: Faults, name: str, words: str
) -> None:
    async with store_at(path) as store:
        faults.fail("SELECT", name)
        with pytest.raises(StoreUnavailable, match=f"cases.db .*{words}") as caught:
            await store.load("a")
        assert name in str(caught.value)
        faults.heal()


async def test_an_error_of_a_disk_without_space_says_that_it_is_full(
    path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store_at(path) as store:
        faults.fail("BEGIN IMMEDIATE", "SQLITE_IOERR_SHMSIZE")
        with pytest.raises(StoreUnavailable):
            await append(store, A[0])
        monkeypatch.setattr(sqlite_file, "LEAST_SPACE_BYTES", 2**62)
        with pytest.raises(StoreFull, match=r"no space on the disk of cases\.db"):
            await append(store, A[0])
        faults.heal()
        assert await append(store, A[0]) == 1


async def test_all_who_wait_are_told_that_the_store_is_full(path: Path, faults: Faults) -> None:
    told: list[StoreFull] = []

    async def note(record: Record) -> None:
        with pytest.raises(StoreFull) as caught:
            await append(store, record)
        told.append(caught.value)

    def full(sql: str) -> None:
        if sql == "BEGIN IMMEDIATE":
            raise StoreFull("no space", remedy="free some")

    async with store_at(path) as store:
        faults.before = full
        async with anyio.create_task_group() as group:
            for record in (A[0], B[0], ENDED[0]):
                group.start_soon(note, record)
        assert {str(error) for error in told} == {"the store is full (no space): free some"}
        assert len({id(error) for error in told}) == 3
        faults.heal()
        assert await append(store, A[0]) == 1


async def test_a_damaged_file_is_told_with_what_to_do(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        faults.fail("SELECT", "SQLITE_CORRUPT")
        with pytest.raises(StoreUnavailable, match=r"cases.db is damaged .* put back a copy, or .* \.recover"):
            await store.load("a")
        assert not store.health().ok
        faults.heal()
        assert list(await store.load("a")) == []
        assert store.health().ok


@pytest.mark.parametrize("name", ["SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_LOCKED", "SQLITE_PROTOCOL"])
async def test_an_append_tries_until_its_deadline_when_others_write(path: Path, faults: Faults, name: str) -> None:
    async with store_at(path) as store:
        faults.fail("BEGIN IMMEDIATE", name)
        with pytest.raises(StoreUnavailable, match="another process is writing"):
            await append(store, A[0], timeout_s=0.1)
        assert faults.ran.count("BEGIN IMMEDIATE") > 3
        tries = len(faults.ran)
        async with anyio.create_task_group() as group:
            group.start_soon(append, store, A[0])
            group.start_soon(lambda: store.commit("sink", after=0, position=0))
            await until(lambda: len(faults.ran) > tries + 3)
            faults.heal()
        assert await store.last_position() == 1
        assert list(await store.sinks()) == ["sink"]


async def test_a_lock_held_by_another_process_is_waited_for(path: Path) -> None:
    async with store_at(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await append(store, A[0], timeout_s=0.05)
        async with anyio.create_task_group() as group:
            group.start_soon(append, store, A[0])
            await anyio.sleep(0.01)
            other.execute("COMMIT")
        other.close()
        assert await store.last_position() == 1


async def test_any_other_failure_is_told_to_who_waits_and_the_store_goes_on(path: Path, faults: Faults) -> None:
    def explode(sql: str) -> None:
        raise RuntimeError("canary")

    async with store_at(path) as store:
        faults.before = explode
        for call in (lambda: append(store, A[0]), lambda: store.load("a")):
            with pytest.raises(StoreUnavailable) as caught:
                await cast("Any", call)()
            assert "canary" not in str(caught.value)
            assert not store.health().ok
        faults.heal()
        assert await append(store, A[0]) == 1


async def test_a_connection_that_cannot_roll_back_is_replaced(path: Path, faults: Faults) -> None:
    def before(sql: str) -> None:
        if sql.startswith("INSERT INTO records") or sql == "ROLLBACK":
            raise sqlite_error("SQLITE_IOERR")

    async with store_at(path) as store:
        await append(store, A[0])
        faults.before = before
        with pytest.raises(StoreUnavailable):
            await append(store, A[1])
        faults.heal()
        assert await append(store, A[1]) == 2


async def test_hanging_for_seconds_shows_in_the_health(
    path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "HUNG_S", 0.0)
    async with store_at(path) as store:
        with faults.hang("COMMIT") as hang:
            async with anyio.create_task_group() as group:
                group.start_soon(append, store, A[0])
                await until(hang.hangs.is_set)
                await anyio.sleep(0.001)
                assert "does not answer" in store.health().problem
                hang.go.set()
        assert store.health().ok
        faults.fail("BEGIN IMMEDIATE", "SQLITE_BUSY")
        async with anyio.create_task_group() as group:
            group.start_soon(append, store, A[1])
            await until(lambda: "another process" in store.health().problem)
            faults.heal()
        assert store.health().ok


async def test_what_is_written_to_a_file_that_was_removed_is_not_acknowledged(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, A[0])
        path.rename(path.with_name("moved.db"))
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await append(store, A[1])
        path.with_name("moved.db").rename(path)
        assert await append(store, A[1]) == 2


# --- No room ---------------------------------------------------------------------------------------------------------


async def test_a_full_store_refuses_appends_and_lets_sinks_go_on(path: Path) -> None:
    async with store_at(path, max_bytes=200_000) as store:
        stored = 0

        async def fill() -> None:
            nonlocal stored
            for n in range(10_000):
                await append(store, *records_of(f"s{n}", 3, ended=True))
                stored += 3

        with pytest.raises(StoreFull, match="200000"):
            await fill()
        assert stored > 100
        assert path.stat().st_size < 300_000
        assert not store.health().ok
        assert await store.last_position() == stored
        assert await append(store, *records_of("s0", 3, ended=True)) == 3, "what is there needs no room"
        await store.commit("sink", after=0, position=stored, quarantined=[aside(1, records_of("s0", 1)[0])])
        assert await store.prune(LATER) == stored // 3 - 2
        assert await append(store, *records_of("more", 3)) == stored + 3
        assert store.health().ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount here, to make a small file system with")
    if done.returncode:
        pytest.skip("only root can mount a small file system")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


async def test_a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    acknowledged: list[Record] = []
    async with store_at(small_disk / "cases.db", durability="disk") as store:

        async def fill() -> None:
            for n in range(10_000):
                for record in records_of(f"s{n}", 3):
                    await append(store, record)
                    acknowledged.append(record)

        with pytest.raises((StoreFull, StoreUnavailable, AppendUnknown)):
            await fill()
        assert not store.health().ok
        assert len(acknowledged) > 10
        kept = [record for _, record in await store.read(0, 100_000)]
        assert kept[: len(acknowledged)] == acknowledged
        ballast.unlink()
        for record in records_of("after", 3):
            await append(store, record)
            acknowledged.append(record)
        assert store.health().ok
    async with store_at(small_disk / "cases.db") as store:
        kept = [record for _, record in await store.read(0, 100_000)]
        assert [record for record in kept if record in acknowledged] == acknowledged
        assert len(kept) <= len(acknowledged) + 1
        assert await store.check() == []


async def test_without_space_positions_are_still_tried(path: Path, faults: Faults) -> None:
    async with store_at(path) as store:
        await append(store, A[0])
        outcomes: list[object] = []

        async def note() -> None:
            with pytest.raises(StoreFull):
                await append(store, A[1])
            outcomes.append("full")

        with faults.hang("COMMIT") as hang:
            async with anyio.create_task_group() as group:
                group.start_soon(append, store, B[0])
                await until(hang.hangs.is_set)
                faults.fail("INSERT INTO records", "SQLITE_FULL")
                group.start_soon(note)
                group.start_soon(lambda: store.commit("sink", after=0, position=1))
                await anyio.wait_all_tasks_blocked()
                hang.go.set()
        assert outcomes == ["full"]
        assert await store.state("sink") == SinkState(position=1)


# --- The file --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="files have no modes there")
async def test_files_are_for_their_owner_only(path: Path) -> None:
    before = os.umask(0)
    try:
        async with store_at(path) as store:
            await append(store, A[0])
            await store.claim("sink")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


async def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_bytes(b"some text that is no database " * 100)
    change(tmp_path / "foreign", "CREATE TABLE t (x)", "PRAGMA user_version = 1")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    for name, words in {
        "directory": "a directory",
        "text": "damaged, or no store",
        "foreign": "another program",
        "link": "symbolic link",
        "missing/cases.db": "cannot be created",
    }.items():
        store = SQLiteStore(tmp_path / name)
        with pytest.raises(StoreUnavailable, match=words):
            await store.open()
        with pytest.raises(StoreUnavailable, match="not open"):
            await store.load("a")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


async def test_a_newer_file_is_refused_with_both_versions(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, A[0])
    change(path, "PRAGMA user_version = 999")
    with pytest.raises(StoreUnavailable, match=f"version 999 .* up to {len(MIGRATIONS)}"):
        await store.open()
    assert rows(path, "SELECT count(*) FROM records") == [(1,)]


async def test_an_older_file_is_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store_at(path) as store:
        await append(store, A[0])
    newer = (*MIGRATIONS, ("CREATE TABLE extra (x)", "INSERT INTO extra SELECT count(*) FROM records"))
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*newer, ("INSERT INTO extra VALUES ('broken'", "nonsense")))
    with pytest.raises(StoreUnavailable):
        await store.open()
    assert rows(path, "PRAGMA user_version") == [(len(newer),)], "each step is whole or not at all"
    assert rows(path, "SELECT x FROM extra") == [(1,)]
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", newer)
    for _ in range(2):
        async with store:
            assert list(await store.load("a")) == A[:1]
    assert rows(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert rows(path, "SELECT x FROM extra") == [(1,)]


async def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("file:x?mode=memory", "a b%20c.db", "ü.db"):
        async with store_at(tmp_path / name) as store:
            await append(store, A[0])
        assert (tmp_path / name).stat().st_size > 0


FORK = """
import os, sys
import anyio
from tests.fakes import LONG_S, records_of
from caseassist.core.errors import Forked
from caseassist.stores.sqlite import SQLiteStore

async def main(path):
    a = records_of("a", 3)
    async with SQLiteStore(path) as store:
        await store.append(a[:1], timeout_s=LONG_S)
        await store.claim("sink")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                calls = [
                    store.append(a[1:2], timeout_s=LONG_S), store.load("a"), store.read(0, 1), store.claim("sink"),
                    store.release("sink"), store.erase(session_id="a"), store.open(), store.aclose(),
                    store.commit("sink", after=0, position=1), store.check(), store.prune(a[0].time), store.sinks(),
                ]
                for call in calls:
                    try:
                        call.send(None)
                    except Forked:
                        pass
                    else:
                        os._exit(2)
                try:
                    store.health()
                except Forked:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0, "the child"
        await store.append(a[1:2], timeout_s=LONG_S)
        async with SQLiteStore(path) as other:
            assert not await other.claim("sink")
        print(len(await store.load("a")))

anyio.run(main, sys.argv[1], backend=sys.argv[2])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_the_child_touches_nothing(path: Path, anyio_backend_name: str) -> None:
    assert ended(python(FORK, path, anyio_backend_name)) == "2\n"


# --- Erasing, pruning, importing, checking ---------------------------------------------------------------------------

CANARY = "canary-of-jo-4711"


def secret_records(session_id: str, count: int) -> list[Record]:
    return records_of(session_id, count, text=CANARY * 400)  # so long that it spills over several pages


def bytes_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


@pytest.mark.parametrize("by", ["session", "client"])
async def test_what_was_erased_is_gone_from_the_files(path: Path, by: str) -> None:
    async with store_at(path) as store:
        await append(store, *secret_records("a", 9))
        await append(store, *B[:2])
        assert CANARY.encode() in bytes_of(path)
        if by == "session":
            assert list(await store.erase(session_id="a")) == ["a"]
        else:
            assert list(await store.erase(client_id=CLIENT_ID)) == ["a", "b"]
        assert CANARY.encode() not in bytes_of(path)
        left = await store.load("a")
        assert identities(left) == identities(A)
        assert all(is_erased(record) for record in left)
        assert Session.fold(left).next_seq == 9
        assert [is_erased(record) for record in await store.load("b")] == [by == "client"] * 2
        with pytest.raises(SessionErased):
            await append(store, secret_records("a", 10)[9])
        assert list(await store.idle(LATER, 10)) == ([] if by == "client" else ["b"])
        assert list(await store.erase(client_id=CLIENT_ID)) == ([] if by == "client" else ["b"])
        assert list(await store.erase(session_id="nobody")) == []
    async with store_at(path) as store:
        with pytest.raises(SessionErased):
            await append(store, secret_records("a", 10)[9])
        assert await store.check() == []


async def test_what_a_reader_kept_from_being_cut_off_is_cut_off_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite.TRUNCATE_TRIES", 2)
    monkeypatch.setattr("caseassist.stores.sqlite_write.TRUNCATE_EVERY_S", 0.0)
    async with store_at(path) as store:
        await append(store, *secret_records("a", 9))
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM records").fetchall()
        assert list(await store.erase(session_id="a")) == ["a"]
        assert CANARY.encode() in bytes_of(path)
        reader.close()
        await append(store, B[0])
        assert CANARY.encode() not in bytes_of(path)


async def test_what_cannot_be_read_is_erased_too(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *secret_records("a", 4))
        await append(store, *B[:2])
        change(
            path,
            f'UPDATE records SET record = CAST(\'{{"sessionId":"a","{CANARY}\' AS BLOB) WHERE position = 2',
            f"UPDATE records SET record = '{CANARY}' WHERE position = 3",
        )
        assert list(await store.erase(client_id=CLIENT_ID)) == ["a", "b"]
        assert CANARY.encode() not in bytes_of(path)
        assert [problem.position for problem in await store.check()] == [2, 3]
        assert await places(store) == [(1, "a", 0)]
        assert await places(store, after=3) == [(4, "a", 3), (5, "b", 0), (6, "b", 1)]
        assert list(await store.erase(session_id="a")) == ["a"]


async def test_others_append_while_much_is_erased_and_not_to_what_is_erased(
    path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite_write.ERASED_AT_ONCE", 2)
    async with store_at(path) as store:
        for n in range(5):
            await append(store, *secret_records(f"s{n}", 2))
        last = secret_records("s4", 3)[2]
        with faults.hang("UPDATE records") as hang:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: store.erase(client_id=CLIENT_ID))
                await until(hang.hangs.is_set)
                faults.ran.clear()
                group.start_soon(append, store, B[0])
                with anyio.move_on_after(0.01):
                    await append(store, last, timeout_s=0.01)
                await anyio.wait_all_tasks_blocked()
                hang.go.set()
        ran = [sql for sql in faults.ran if sql.startswith(("INSERT INTO records", "UPDATE records"))]
        assert ran.index(next(sql for sql in ran if sql.startswith("INSERT"))) < len(ran) - 3, "not after everything"
        assert CANARY.encode() not in bytes_of(path)
        assert list(await store.load("b")) == B[:1]
        with pytest.raises(SessionErased):
            await append(store, last)


@pytest.mark.parametrize("then", ["opened", "erased again"])
async def test_an_erasure_that_is_cut_off_takes_no_more_records_and_is_finished(
    path: Path, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite_write.ERASED_AT_ONCE", 1)
    left: set[int] = set()
    unfinished = 0
    for k in range(1, 1000):
        path = path.with_name(f"cut{k}.db")
        async with store_at(path) as store:
            for n in range(3):
                await append(store, *secret_records(f"s{n}", 2))
            await store.commit("sink", after=0, position=6, quarantined=[aside(6, secret_records("s2", 2)[1])])
            was_cut, _ = await cut_off(store.erase(client_id=CLIENT_ID), k)
            erased_ones = [is_erased((await store.load(f"s{n}"))[0]) for n in range(3)]
            left.add(erased_ones.count(False))
            if any(erased_ones):
                with pytest.raises(SessionErased):
                    await append(store, secret_records("s2", 3)[2])
            if then == "erased again":
                again = list(await store.erase(client_id=CLIENT_ID))
                assert set(again) >= {f"s{n}" for n in range(3) if not erased_ones[n]}
            unfinished += rows(path, "SELECT count(*) FROM erasing") != [(0,)]
        async with store_at(path) as store:
            assert rows(path, "SELECT count(*) FROM erasing") == [(0,)]
            if then == "erased again" or any(erased_ones):
                assert all([is_erased((await store.load(f"s{n}"))[0]) for n in range(3)])
                assert (await store.state("sink")).dropped == {"erased": 1}
        if not was_cut:
            break
    assert left >= {0, 3}
    assert unfinished or then == "erased again"


async def test_to_erase_needs_one_thing_to_go_by(path: Path) -> None:
    async with store_at(path) as store:
        for which in ({}, {"session_id": "a", "client_id": CLIENT_ID}):
            with pytest.raises(ValueError):
                await store.erase(**which)


async def test_what_was_put_aside_of_an_erased_session_counts_as_dropped(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A[:6])
        await store.commit("sink", after=0, position=3, quarantined=[aside(2, A[1]), aside(5, A[4])])
        await store.erase(session_id="a")
        ahead = {5: "erased"}
        assert await store.state("sink") == SinkState(position=3, dropped={"erased": 1}, resolved_ahead=ahead)
        # One was refused while it was erased. It is not put aside any more.
        await store.commit("sink", after=3, position=3, quarantined=[aside(6, A[5])])
        ahead[6] = "erased"
        assert await store.state("sink") == SinkState(position=3, dropped={"erased": 1}, resolved_ahead=ahead)
        await store.commit("sink", after=3, position=5)
        del ahead[5]
        assert await store.state("sink") == SinkState(position=5, dropped={"erased": 2}, resolved_ahead=ahead)
        await store.commit("sink", after=5, position=6)
        state = await store.state("sink")
        assert state == SinkState(position=6, dropped={"erased": 3})
        assert state.delivered == 3


async def test_a_sink_that_is_forgotten_keeps_nothing_back_and_begins_anew(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *records_of("old", 3, ended=True))
        await append(store, B[0])
        await store.commit("used", after=0, position=4)
        await store.commit("retired", after=0, position=1, quarantined=[aside(2, records_of("old", 3)[1])])
        assert await store.prune(LATER) == 0
        assert await store.claim("retired")
        with pytest.raises(StoreUnavailable, match="somebody delivers to sink 'retired'"):
            await store.forget_sink("retired")
        await store.release("retired")
        assert await store.forget_sink("retired")
        assert not await store.forget_sink("retired")
        assert await store.sinks() == ["used"]
        assert await store.state("retired") == SinkState()
        assert await store.quarantined("retired") == []
        assert await store.prune(LATER) == 1
        assert await store.claim("retired"), "it was not left claimed"


async def test_pruning_removes_old_sessions_that_all_sinks_are_through_with(path: Path) -> None:
    def ended_session(name: str, at: datetime = AT) -> list[Record]:
        return [msgspec.structs.replace(record, time=at) for record in records_of(name, 3, ended=True)]

    async with store_at(path) as store:
        for records in (
            ended_session("old"),
            A[:3],
            ended_session("aside"),
            ended_session("young", LATER),
            ended_session("old too"),
            ended_session("unsettled"),
            ended_session("newest"),
        ):
            await append(store, *records)
        assert await store.prune(AT) == 0
        await store.commit("one", after=0, position=15, quarantined=[aside(8, ended_session("aside")[1])])
        await store.commit("two", after=0, position=21)
        assert await store.prune(LATER) == 2
        left = {session for _, session, _ in await places(store)}
        assert left == {"a", "aside", "young", "unsettled", "newest"}
        assert await store.state("one") == SinkState(position=15, quarantined=1)
        await store.commit("one", after=15, position=21)
        assert await store.prune(LATER) == 1
        assert await store.resolve("one", 8)
        assert await store.prune(LATER) == 1
        assert await store.prune(LATER + timedelta(1)) == 1
        assert {session for _, session, _ in await places(store)} == {"a", "newest"}
        assert await append(store, B[0]) == 22, "no position is used again"
        assert await store.check() == []


async def test_pruning_a_session_that_is_being_erased_leaves_nothing_to_erase(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *ENDED)
        await append(store, B[0])
        change(path, "INSERT INTO erasing SELECT id, client_id FROM sessions WHERE session_id = 'ended'")
        assert await store.prune(LATER) == 1
        assert rows(path, "SELECT * FROM erasing") == []


async def test_pruning_without_sinks_goes_by_age(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite.PRUNED_AT_ONCE", 2)
    async with store_at(path) as store:
        for n in range(9):
            await append(store, *records_of(f"s{n}", 3, ended=True))
        assert await store.prune(LATER) == 8
        assert await append(store, *records_of("s0", 1)) == 28


async def test_an_import_stores_what_is_not_there_yet(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite.IMPORTED_AT_ONCE", 4)
    mixed = [record for pair in zip(A, B, strict=True) for record in pair] + ENDED
    async with store_at(path) as store:
        await append(store, *A[:2])
        assert await store.import_records(iter(mixed)) == len(mixed) - 2
        assert await store.import_records(mixed) == 0
        assert (list(await store.load("a")), list(await store.load("b"))) == (A, B)
        assert list(await store.idle(LATER, 10)) == ["a", "b"]
        assert await store.import_records([records_of("c", 3)[2], *records_of("c", 2)]) == 3
        with pytest.raises(SequenceConflict) as caught:
            await store.import_records([OTHER[1]])
        assert (caught.value.expected, caught.value.found) == (1, 9)
        await store.erase(session_id="a")
        with pytest.raises(SessionErased):
            await store.import_records([records_of("a", 10)[9]])
        erased = await store.load("a")
        assert await store.import_records(erased) == 0
    async with store_at(path.with_name("other.db")) as other:
        assert await other.import_records(erased) == 9
        with pytest.raises(SessionErased):
            await append(other, records_of("a", 10)[9])


async def test_checking_finds_nothing_in_a_sound_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite_read.PAGE", 4)
    async with store_at(path) as store:
        assert await store.check() == []
        for records in (A, B, ENDED):
            await append(store, *records)
        unknown = encode(B[1]).replace(b'"ticket_field_update"', b'"from_the_future"').replace(b'"b"', b'"c"')
        change(path, f"UPDATE records SET record = CAST('{unknown.decode()}' AS BLOB) WHERE position = 2")
        await store.commit("sink", after=0, position=3, quarantined=[aside(2, A[1])])
        found = await store.check()
        assert [problem.where for problem in found] == ["position 2, record 1 of session 'a'"]


async def test_checking_names_what_is_wrong_and_where(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseassist.stores.sqlite_read.PAGE", 4)
    async with store_at(path) as store:
        for records in (A, B, ENDED, records_of("c", 9)):
            await append(store, *records)
        other = encode(OTHER[0]).decode()
        change(
            path,
            "UPDATE records SET record = x'7b' WHERE position = 3",
            "DELETE FROM records WHERE position = 12",
            f"UPDATE records SET record = CAST('{other}' AS BLOB) WHERE position = 25",
            "UPDATE records SET record = (SELECT record FROM records WHERE position = 19) WHERE position = 20",
            "INSERT INTO quarantine VALUES ('sink', 12, 'why', NULL, '2026-11-20T12:00:00+00:00', 0, NULL)",
            "INSERT INTO records VALUES (99, 99, 0, x'7b7d')",
        )
        found = await store.check()
        assert sorted(problem.where.partition(",")[0] for problem in found) == [
            "position 12",
            "position 13",
            "position 20",
            "position 25",
            "position 3",
            "position 99",
        ]
        assert len(await store.check(limit=2)) == 2


@pytest.mark.parametrize("where", ["in the middle", "at the end"])
async def test_a_file_with_broken_pages_can_be_opened_and_checked(path: Path, where: str) -> None:
    async with store_at(path) as store:
        for n in range(100):
            await append(store, *records_of(f"s{n}", 9))
    data = path.read_bytes()
    pages = len(data) // 4096
    first, last = (pages * 2 // 5, pages * 3 // 5) if where == "in the middle" else (pages - 8, pages)
    path.write_bytes(data[: first * 4096] + b"\xff" * (last - first) * 4096 + data[last * 4096 :])
    async with store_at(path) as store:
        assert 1 <= len(await store.check(limit=5)) <= 5
        with pytest.raises(StoreUnavailable, match="put back a copy"):
            await store.read(0, 100_000)


# --- Sinks -----------------------------------------------------------------------------------------------------------


async def test_a_position_moves_from_where_it_stands(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A)
        await store.commit("sink", after=0, position=3, dropped={"policy": 1})
        await store.commit("sink", after=0, position=3, dropped={"policy": 1})
        assert await store.state("sink") == SinkState(position=3, dropped={"policy": 1})
        for after, position in ((0, 4), (4, 5), (2, 9)):
            with pytest.raises(PositionConflict) as caught:
                await store.commit("sink", after=after, position=position)
            assert (caught.value.expected, caught.value.found) == (after, 3)
        await store.commit("sink", after=3, position=5, dropped={"policy": 1, "erased": 1})
        state = await store.state("sink")
        assert state == SinkState(position=5, dropped={"policy": 2, "erased": 1})
        assert state.delivered == 2
        for wrong in ({"after": 5, "position": 4}, {"after": 5, "position": 5, "dropped": {"policy": 1}}):
            with pytest.raises(ValueError):
                await store.commit("sink", **cast("Any", wrong))
        await store.commit("another", after=0, position=0)
        assert list(await store.sinks()) == ["another", "sink"]


async def test_what_is_put_aside_is_kept_beyond_the_position_too(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A[:4])
        await append(store, *B[:4])
        entries = [aside(2, A[1]), aside(6, B[1]), aside(7, B[2], "other")]
        await store.commit("sink", after=0, position=3, quarantined=entries)
        await store.commit("sink", after=3, position=3, quarantined=entries)
        assert list(await store.quarantined("sink")) == entries
        assert list(await store.quarantined("sink", session_id="b", after=6)) == entries[2:]
        assert list(await store.quarantined("sink", limit=1)) == entries[:1]
        assert list(await store.quarantined("sink", session_id="c")) == []
        assert list(await store.quarantined("another")) == []
        state = await store.state("sink")
        assert state == SinkState(position=3, quarantined=3, quarantined_ahead=2)
        assert state.delivered == 2


async def test_an_operator_has_records_sent_again_or_drops_them(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A[:4])
        await append(store, *B[:4])
        entries = [aside(2, A[1]), aside(3, A[2]), aside(6, B[1])]
        await store.commit("sink", after=0, position=4, quarantined=entries)
        assert await store.request_resend("sink", position=9) == 0
        assert await store.request_resend("sink", session_id="b") == 1
        requested = [msgspec.structs.replace(entries[2], requested=True)]
        assert list(await store.quarantined("sink", requested=True)) == requested
        assert await store.request_resend("sink", position=2) == 1
        assert await store.request_resend("sink") == 3
        assert await store.put_back("sink", aside(2, A[1], "again"))
        assert not await store.put_back("sink", aside(1, A[0], "again"))
        assert [(e.position, e.reason, e.requested) for e in await store.quarantined("sink")] == [
            (2, "again", False),
            (3, "HTTP 400", True),
            (6, "HTTP 400", True),
        ]
        assert await store.resolve("sink", 2)
        assert not await store.resolve("sink", 2)
        assert await store.drop("sink", position=3) == 1
        assert await store.state("sink") == SinkState(
            position=4, quarantined=1, quarantined_ahead=1, dropped={"operator": 1}
        )
        assert await store.drop("sink", position=6) == 1
        state = await store.state("sink")
        assert (state.delivered, state.dropped) == (3, {"operator": 1}), "beyond the position it does not count yet"
        await store.commit("sink", after=4, position=8)
        state = await store.state("sink")
        assert (state.delivered, state.dropped) == (6, {"operator": 2})


async def test_one_at_a_time_has_the_claim_of_a_sink(path: Path) -> None:
    async with store_at(path) as one, store_at(path) as two:
        assert await one.claim("sink")
        assert not await one.claim("sink")
        assert not await two.claim("sink")
        assert await two.claim("another")
        assert list(await one.sinks()) == ["another", "sink"]
        await two.release("sink")
        assert not await two.claim("sink")
        await one.release("sink")
        await one.release("sink")
        assert await two.claim("sink")
    async with store_at(path) as one:
        assert await one.claim("sink"), "closing releases"


HOLD = """
import sys
import anyio
from caseassist.stores.sqlite import SQLiteStore

async def main(path):
    async with SQLiteStore(path) as store:
        print(await store.claim("sink"), flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)

anyio.run(main, sys.argv[1])
"""


async def test_a_claim_dies_with_its_process(path: Path) -> None:
    process = python(HOLD, path)
    try:
        assert process.stdout is not None
        assert await anyio.to_thread.run_sync(process.stdout.readline) == "True\n"
        async with store_at(path) as store:
            assert not await store.claim("sink")
            process.kill()
            process.wait(LONG_S)
            assert await store.claim("sink")
            second = python(HOLD, path)
            assert second.communicate("\n", timeout=LONG_S)[0] == "False\n"
    finally:
        process.kill()
        process.communicate()
