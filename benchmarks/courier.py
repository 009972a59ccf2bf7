"""What does the courier cost: how much CPU time does it add to what a sink takes for an event by itself?

The sink is HTTPSink with a transport that answers at once, 16 sessions at a time. What is measured is the CPU time of
the whole process, threads included, less that of calling the sink with the same batches. *Live*: while records are
appended, one at a time in 64 sessions and to the disk, less what appending them takes alone. *Backlog*: of records that
were there before.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
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
        del request, timeout_s
        await anyio.lowlevel.checkpoint()
        return REPLY


def make_sink() -> HTTPSink:
    return HTTPSink("http://127.0.0.1:9", token=None, sessions_at_once=16, transport=Instant())


async def append(store: Store, records: Sequence[Record], courier: Courier | None = None) -> None:
    """Append sessions of ten records one by one, 64 sessions at a time, and tell the courier."""
    played = iter([records[n : n + 10] for n in range(0, len(records), 10)])

    async def work() -> None:
        for session in played:
            for record in session:
                ack = await store.append([record], timeout_s=10)
                if courier is not None:
                    courier.notify(ack.position)
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(work)


async def with_courier(store: Store, records: Sequence[Record], *, live: bool) -> float:
    """CPU seconds. ``live``: the courier delivers while records are appended."""
    await store.open()
    if not live:
        await append(store, records)
    courier = Courier(store, make_sink())
    begin_s = time.process_time()
    await courier.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(courier.run)
        if live:
            await append(store, records, courier)
        await courier.drain()
        taken_s = time.process_time() - begin_s
        courier.stop()
    assert courier.progress.delivered == len(records)
    await store.aclose()
    return taken_s


async def append_alone(store: Store, records: Sequence[Record]) -> float:
    """CPU seconds."""
    await store.open()
    begin_s = time.process_time()
    await append(store, records)
    taken_s = time.process_time() - begin_s
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


def added_us(backend: str, kind: str, records: Sequence[Record], *, live: bool) -> float:
    """Microseconds per event that the courier adds: beside the appending, or after it."""
    with tempfile.TemporaryDirectory() as folder:

        def make_store(name: str) -> Store:
            return MemoryStore() if kind == "memory" else SQLiteStore(Path(folder) / f"{name}.db", durability="disk")

        whole_s = anyio.run(partial(with_courier, live=live), make_store("whole"), records, backend=backend)
        rest_s = anyio.run(sink_alone, records, backend=backend)
        if live:
            rest_s += anyio.run(append_alone, make_store("append"), records, backend=backend)
    return (whole_s - rest_s) / len(records) * 1e6


def run(quick: bool) -> list[Result]:
    records = sessions(300 if quick else 2000)
    repeats = 3 if quick else 9
    results: list[Result] = []
    for backend in ("asyncio", "trio"):
        for kind in ("memory", "sqlite"):
            for live in (True, False):
                added = [added_us(backend, kind, records, live=live) for _ in range(repeats)]
                median = statistics.median(added)
                results.append(
                    Result(
                        name=f"courier, {backend}, {kind} store, {'live' if live else 'backlog'}",
                        unit="µs CPU/event",
                        value=median,
                        spread=(max(added) - min(added)) / median,
                    )
                )
    return results
