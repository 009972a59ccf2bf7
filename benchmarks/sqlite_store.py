"""How many records a second does the SQLite store acknowledge, and how long does an append take?

The floor is SQLite alone, with the same schema and pragmas: the same records are encoded and inserted by
``executemany``, in one thread that does nothing else, as many in each transaction as there are appends at a time. What
it takes when the lines are there already is shown beside it. It writes no sessions, which we do.

*One session* and *64 sessions* append one record at a time and wait for it. *10 at once*: each of the 64 sessions is
one append. *256 at once*: the largest append that there is, one at a time. *Bulk*: ``import_records``.

Peer: eventsourcing, one task, as it is not async. Its SQLite syncs each commit, as ours does with ``disk``.
"""

import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anyio
from msgspec.structs import replace

from benchmarks import data
from benchmarks.results import Result, installed, result, versions_of
from caseassist.core.records import Record, encode
from caseassist.stores.base import MAX_APPENDED
from caseassist.stores.sqlite import IMPORTED_AT_ONCE, SQLiteStore
from caseassist.stores.sqlite_file import File, open_file

SESSIONS = 64
LENGTH = len(data.ACTIONS)
TIMEOUT_S = 30.0
PEER = "eventsourcing, one task"


class Case(NamedTuple):
    """``tasks``: how many appends there are at a time. ``batch``: records in each; 0 for an import."""

    name: str
    records: Sequence[Record]
    length: int
    """Records of each session."""
    tasks: int
    batch: int
    group: int
    """Records in each transaction of the floor."""
    durability: Literal["disk", "os"] = "disk"
    backends: Sequence[str] = ("asyncio", "trio")
    beside: bool = False
    """Whether the peer does the same."""


class Run(NamedTuple):
    """One repeat."""

    rate: float
    """Records a second."""
    p50_ms: float
    p99_ms: float


def versions() -> dict[str, str]:
    return {"sqlite": sqlite3.sqlite_version} | versions_of("eventsourcing")


@contextmanager
def directory() -> Iterator[Path]:
    """A fresh directory, on the disk that temporary files are on."""
    path = Path(tempfile.mkdtemp(prefix="caseassist-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


async def append(case: Case) -> Run:
    """Append all records, as many at a time as there are tasks."""
    sessions = iter([case.records[n : n + case.length] for n in range(0, len(case.records), case.length)])
    latencies: list[float] = []

    async def task() -> None:
        for session in sessions:
            for n in range(0, case.length, case.batch):
                begin = time.perf_counter()
                await store.append(session[n : n + case.batch], timeout_s=TIMEOUT_S)
                latencies.append(time.perf_counter() - begin)

    with directory() as path:
        async with SQLiteStore(path / "cases.db", durability=case.durability) as store:
            begin = time.perf_counter()
            if case.batch:
                async with anyio.create_task_group() as group:
                    for _ in range(case.tasks):
                        group.start_soon(task)
            else:
                await store.import_records(case.records)
                latencies += [0.0, 0.0]
            rate = len(case.records) / (time.perf_counter() - begin)
    quantiles = statistics.quantiles(latencies, n=100)
    return Run(rate, quantiles[49] * 1e3, quantiles[98] * 1e3)


def write_bare(case: Case, *, encoded: bool) -> float:
    """The same by SQLite alone. ``encoded``: the lines are there already. Records a second."""
    lines = [encode(record) for record in case.records] if encoded else []
    with directory() as path:
        connection = open_file(File(path=path / "bare.db", durability=case.durability))
        begin = time.perf_counter()
        for start in range(0, len(case.records), case.group):
            group = (
                lines[start : start + case.group]
                if encoded
                else [encode(record) for record in case.records[start : start + case.group]]
            )
            rows = [(n + 1, n // case.length, n % case.length, line) for n, line in enumerate(group, start)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        rate = len(case.records) / (time.perf_counter() - begin)
        connection.close()
    return rate


def make_peer() -> Callable[[int], float] | None:
    """What saves so many sessions with eventsourcing, and returns the events a second."""
    peer: Any = installed("eventsourcing", "benchmarks.peers.eventsourcing")
    if peer is None:
        return None
    from eventsourcing.application import Application

    def save(number: int) -> float:
        with directory() as path:
            application = Application[Any](
                {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path / "peer.db")}
            )
            begin = time.perf_counter()
            for _ in range(number):
                peer.play(application)
            rate = number * LENGTH / (time.perf_counter() - begin)
            application.close()
        return rate

    return save


def long_sessions(number: int) -> list[Record]:
    """Sessions of as many records as can be appended at once."""
    records = data.sessions(-(-number * MAX_APPENDED // LENGTH))[: number * MAX_APPENDED]
    return [
        replace(record, session_id=f"long-{n // MAX_APPENDED}", seq=n % MAX_APPENDED)
        for n, record in enumerate(records)
    ]


def run(quick: bool) -> list[Result]:
    repeats = 3 if quick else 7
    few, many = data.sessions(10 if quick else 100), data.sessions(256 if quick else 1600)
    long = long_sessions(10 if quick else 100)
    one = ("asyncio",)
    cases = (
        Case("one session, disk", few, LENGTH, 1, 1, 1, beside=True),
        Case("64 sessions, disk", many, LENGTH, SESSIONS, 1, SESSIONS, beside=True),
        Case("64 sessions, os", many, LENGTH, SESSIONS, 1, SESSIONS, durability="os"),
        Case("64 sessions, 10 at once, disk", many, LENGTH, SESSIONS, LENGTH, SESSIONS * LENGTH, backends=one),
        Case("256 at once, disk", long, MAX_APPENDED, 1, MAX_APPENDED, MAX_APPENDED, backends=one),
        Case("bulk", many, LENGTH, 1, 0, IMPORTED_AT_ONCE, backends=one),
    )
    peer = make_peer()
    return [found for case in cases for found in measure_case(case, repeats, peer, 5 if quick else 50)]


def measure_case(case: Case, repeats: int, peer: Callable[[int], float] | None, peer_sessions: int) -> Iterator[Result]:
    """Ours on each backend, the floor and the peer take turns, so that a change of the machine's mood hits all."""
    runs: dict[str, list[Run]] = {backend: [] for backend in case.backends}
    others: dict[str, list[float]] = {"floor": [], "lines encoded before": []}
    for _ in range(repeats):
        for backend in case.backends:
            runs[backend].append(anyio.run(append, case, backend=backend))
        others["floor"].append(write_bare(case, encoded=False))
        others["lines encoded before"].append(write_bare(case, encoded=True))
        if peer is not None and case.beside:
            others.setdefault(PEER, []).append(peer(peer_sessions))
    for backend in case.backends:
        name = f"sqlite_store, {case.name}" + (f", {backend}" if case.batch else "")
        yield result(name, {"caseassist": [one.rate for one in runs[backend]]} | others, floor="floor")
        if case.batch:
            yield result(f"{name}, p50", {"caseassist": [one.p50_ms for one in runs[backend]]}, unit="ms")
            yield result(f"{name}, p99", {"caseassist": [one.p99_ms for one in runs[backend]]}, unit="ms")
