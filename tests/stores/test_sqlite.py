"""The store in a SQLite file: what it keeps, who waits for whom, and what happens when the disk or others fail."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
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
from caseassist.stores import lane, sqlite_file
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
    def hang(self, start: str) -> Iterator[threading.Event]:
        """Have statements that start so hang. The event says that one does."""
        hangs, go = threading.Event(), threading.Event()

        def before(sql: str) -> None:
            if sql.startswith(start):
                hangs.set()
                go.wait(LONG_S)

        self.before = before
        try:
            yield hangs
        finally:
            self.heal()
            go.set()


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

    def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
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
        assert await store.append(A[:2], timeout_s=LONG_S) == Ack(2, durability)  # type: ignore[arg-type]
        assert store.durability == durability
        assert await store.append(A[:2], timeout_s=LONG_S) == Ack(2, durability)  # type: ignore[arg-type]


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


async def test_a_damaged_record_is_named_by_its_place(path: Path) -> None:
    async with store_at(path) as store:
        await append(store, *A[:3])
        change(path, "UPDATE records SET record = x'7b7d' WHERE position = 2")
        with pytest.raises(CorruptRecord) as caught:
            await store.read(0, 10)
        assert caught.value.where == "position 2"
        with pytest.raises(CorruptRecord):
            await store.load("a")
        assert await places(store, after=2) == [(3, "a", 2)]
        change(path, "UPDATE records SET record = x'7b7d' WHERE position = 3")
        await append(store, B[0])
        assert list(await store.idle(LATER, 10)) == ["b"]


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
        with faults.hang("COMMIT") as hangs:
            async with anyio.create_task_group() as group:
                group.start_soon(note, "before", B[1])
                await until(hangs.is_set)
                faults.ran.clear()
                for name, records in {"0": [A[0]], "1": [A[1]], "0 again": [A[0]], "other": [OTHER[0]]}.items():
                    group.start_soon(note, name, *records)
                await anyio.wait_all_tasks_blocked()
                faults.heal()
                _ = cast("Any", faults.before)
                release(hangs)
        assert faults.ran.count("COMMIT") == 1
    assert outcomes == {"before": 2, "0": 3, "1": 4, "0 again": 3, "other": (0, 2)}
