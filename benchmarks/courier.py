"""What does the courier cost: how much CPU time does it add to what a sink takes for an event by itself?

The sink is HTTPSink with a transport that answers at once, 16 sessions at a time. What is measured is the CPU time of
the whole process while the courier delivers, threads included, less that of calling the sink with the same batches.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import anyio

from benchmarks.data import sessions
from benchmarks.results import Result
from caseassist.core.records import Record
from caseassist.delivery.courier import Courier
from caseassist.sinks.http import HTTPSink
from caseassist.stores.base import Store
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore
from caseassist.wire.http import Reply, Request

REPLY = Reply(status=200, body=b"{}")


class Instant:
    """A transport that takes no time."""

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        await anyio.lowlevel.checkpoint()
        return REPLY


def make_sink() -> HTTPSink:
    return HTTPSink("http://127.0.0.1:9", token=None, sessions_at_once=16, transport=Instant())


async def with_courier(store: Store, records: Sequence[Record]) -> float:
    """CPU seconds."""
    await store.open()
    for begin in range(0, len(records), 10):
        await store.append(records[begin : begin + 10], timeout_s=10)
    courier = Courier(store, make_sink())
    begin_s = time.process_time()
    await courier.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(courier.run)
        await courier.drain()
        taken_s = time.process_time() - begin_s
        courier.stop()
    assert courier.progress.delivered == len(records)
    await store.aclose()
    return taken_s


async def sink_alone(records: Sequence[Record]) -> float:
    """CPU seconds."""
    sink = make_sink()
    batches = iter([list(batch) for _, batch in groupby(records, key=lambda record: record.session_id)])

    async def work() -> None:
        for batch in batches:
            await sink.deliver(batch)

    begin_s = time.process_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(16):
            tasks.start_soon(work)
    return time.process_time() - begin_s


def run(quick: bool) -> list[Result]:
    records = sessions(300 if quick else 2000)
    repeats = 3 if quick else 7
    results: list[Result] = []
    for backend in ("asyncio", "trio"):
        for kind in ("memory", "sqlite"):
            added: list[float] = []
            for _ in range(repeats):
                with tempfile.TemporaryDirectory() as folder:
                    store: Store = MemoryStore() if kind == "memory" else SQLiteStore(Path(folder) / "cases.db")
                    whole_s = anyio.run(with_courier, store, records, backend=backend)
                alone_s = anyio.run(sink_alone, records, backend=backend)
                added.append((whole_s - alone_s) / len(records) * 1e6)
            median = statistics.median(added)
            results.append(
                Result(
                    name=f"courier, {backend}, {kind} store",
                    unit="µs CPU/event",
                    value=median,
                    spread=(max(added) - min(added)) / median,
                )
            )
    return results
