"""How many events a second go through HTTPSink to a local server, with 1, 16 and 64 requests in flight?

Floor: our transport alone, sending the same bytes. ``python -m benchmarks.http_transport`` compares transports.
"""

import time

import anyio

from benchmarks.data import sessions
from benchmarks.http_transport import running_server
from benchmarks.results import Result, result
from caseassist.core.records import Record
from caseassist.delivery.courier import Courier
from caseassist.sinks.http import HTTPSink
from caseassist.stores.memory import MemoryStore
from caseassist.transport import HTTPTransport
from caseassist.wire.http import Request


def _sent(records: list[Record], sink: HTTPSink) -> list[Request]:
    return [request for record in records if (request := sink.format.request(record, None))]


async def deliver(records: list[Record], port: int, in_flight: int) -> float:
    store = MemoryStore()
    sink = HTTPSink(f"http://127.0.0.1:{port}", token=None, sessions_at_once=in_flight)
    events = len(_sent(records, sink))
    courier = Courier(store, sink)
    await courier.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(courier.run)
        for begin in range(0, len(records), 10):
            courier.notify((await store.append(records[begin : begin + 10], timeout_s=1)).position)
        begin_s = time.perf_counter()
        await courier.drain()
        taken_s = time.perf_counter() - begin_s
        courier.stop()
    assert courier.progress.pending == 0
    return events / taken_s


async def send(records: list[Record], port: int, in_flight: int) -> float:
    requests = _sent(records, HTTPSink(f"http://127.0.0.1:{port}", token=None))
    async with HTTPTransport(max_idle=in_flight) as transport, anyio.create_task_group() as tasks:

        async def work() -> None:
            while left:
                await transport.send(left.pop(), timeout_s=10)

        left = list(requests)
        begin_s = time.perf_counter()
        async with anyio.create_task_group() as workers:
            for _ in range(in_flight):
                workers.start_soon(work)
        taken_s = time.perf_counter() - begin_s
        tasks.cancel_scope.cancel()
    return len(requests) / taken_s


def run(quick: bool) -> list[Result]:
    records = sessions(30 if quick else 400)
    repeats = 3 if quick else 7
    results: list[Result] = []
    with running_server() as port:
        for backend in ("asyncio", "trio"):
            for in_flight in (1, 16, 64):
                rates: dict[str, list[float]] = {"caseassist": [], "transport alone": []}
                for _ in range(repeats):
                    rates["caseassist"].append(anyio.run(deliver, records, port, in_flight, backend=backend))
                    rates["transport alone"].append(anyio.run(send, records, port, in_flight, backend=backend))
                results.append(result(f"http_sink, {backend}, {in_flight} in flight", rates, floor="transport alone"))
    return results
