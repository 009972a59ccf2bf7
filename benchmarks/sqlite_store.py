"""How many records a second does the SQLite store acknowledge, and how long does an append take?

The floor is SQLite alone: the same rows, in groups of 64, by one thread that does nothing else. The latencies are on
standard error: they are no events per second.
"""

import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import anyio

from benchmarks import data
from benchmarks.results import Result, measure, result
from caseassist.core.records import Record, encode
from caseassist.stores.sqlite import SQLiteStore
from caseassist.stores.sqlite_file import File, open_file

SESSIONS = 64
LENGTH = len(data.ACTIONS)
TIMEOUT_S = 30.0


@contextmanager
def directory() -> Iterator[Path]:
    """A fresh directory, on the disk that temporary files are on."""
    path = Path(tempfile.mkdtemp(prefix="caseassist-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


async def append_one_by_one(
    records: Sequence[Record], tasks: int, batch: int, durability: Literal["disk", "os"]
) -> tuple[float, list[float]]:
    """Append sessions, as many at a time as there are tasks. Records a second, and the seconds of each append."""
    played = iter([records[n : n + LENGTH] for n in range(0, len(records), LENGTH)])
    latencies: list[float] = []

    async def task() -> None:
        for session in played:
            for n in range(0, LENGTH, batch):
                begin = time.perf_counter()
                await store.append(session[n : n + batch], timeout_s=TIMEOUT_S)
                latencies.append(time.perf_counter() - begin)

    with directory() as path:
        async with SQLiteStore(path / "cases.db", durability=durability) as store:
            begin = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(tasks):
                    group.start_soon(task)
            return len(records) / (time.perf_counter() - begin), latencies


def write_bare(records: Sequence[Record], group: int, repeats: int) -> list[float]:
    """The same rows by SQLite alone."""
    rows = [(n + 1, n // LENGTH, n % LENGTH, encode(record)) for n, record in enumerate(records)]

    def write(connection: sqlite3.Connection) -> None:
        for n in range(0, len(rows), group):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows[n : n + group])
            connection.execute("COMMIT")

    rates: list[float] = []
    for _ in range(repeats):
        with directory() as path:
            connection = open_file(File(path=path / "bare.db", durability="disk"))
            rates += measure(lambda connection=connection: write(connection), len(rows), 1)  # type: ignore[misc]
            connection.close()
    return rates


def run(quick: bool) -> list[Result]:
    repeats = 3 if quick else 7
    few, many = data.sessions(20 if quick else 100), data.sessions(640 if quick else 6400)
    results: list[Result] = []
    cases: tuple[tuple[str, list[Record], int, int, Literal["disk", "os"], tuple[str, ...]], ...] = (
        ("one session", few, 1, 1, "disk", ("asyncio",)),
        ("64 sessions", many, SESSIONS, 1, "disk", ("asyncio", "trio")),
        ("64 sessions, 5 at once", many, SESSIONS, 5, "disk", ("asyncio",)),
        ("64 sessions, durability os", many, SESSIONS, 1, "os", ("asyncio",)),
    )
    for name, records, tasks, batch, durability, backends in cases:
        for backend in backends:
            rates: dict[str, list[float]] = {"caseassist": [], "floor": []}
            latencies: list[float] = []
            for _ in range(repeats):  # in turns, so that a change of the machine's mood hits both
                rate, seconds = anyio.run(append_one_by_one, records, tasks, batch, durability, backend=backend)
                rates["caseassist"].append(rate)
                latencies += seconds
                rates["floor"] += write_bare(records, 1 if tasks == 1 else SESSIONS, 1)
            title = f"sqlite_store, {name}, {backend}"
            quantiles = statistics.quantiles(latencies, n=100)
            print(f"{title}: p50 {quantiles[49] * 1e3:.2f} ms, p99 {quantiles[98] * 1e3:.2f} ms", file=sys.stderr)
            results.append(result(title, rates, floor="floor"))
    return results
