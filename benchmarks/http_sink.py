"""How many events a second go through HTTPSink to a local server, with 1, 16 and 64 requests in flight?

Ours: records are appended to a store in memory, and a courier delivers them with HTTPSink: one request an event, as
Coveo's API takes them, each with a deadline and limits. Floor: our transport alone, sending the same requests, made
beforehand. ``python -m benchmarks.http_transport`` compares transports.

Beside it, to the same server:

* HTTP clients that send the same requests, made beforehand, with as many in flight;
* coveo.analytics in node, which logs the same sessions, one at a time for each request in flight;
* the Python clients of Segment, PostHog and Snowplow, for events with the same members. They put a hundred into a
  request, which Coveo's API has no call for: so the figures *flushed*, from the first event that is enqueued until all
  are delivered, are given in events and in requests a second. What it costs the caller to enqueue an event is another
  figure, in CPU time of its thread. Ours is that of ``CaseAssist.append``, which stores the record and tells the
  courier; what comes before it, deciding, is what ``step`` and ``live`` measure.

All are warm, with their connections open, before the clock starts. The server has a process of its own, and so has
node: with fewer cores to spare than that, the rates say little, and the CPU time of the client (*CPU*) says more.
"""

import gc
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import anyio
import msgspec

from benchmarks.data import CONTEXT, sessions
from benchmarks.http_transport import running_server
from benchmarks.peers import coveo_analytics
from benchmarks.peers.coveo_analytics import Log
from benchmarks.peers.http_clients import installed_clients, pace, transport_client
from benchmarks.peers.pace import Pace, start
from benchmarks.peers.telemetry import Delivered, Telemetry, installed_telemetry
from benchmarks.peers.telemetry import deliver as deliver_telemetry
from benchmarks.results import Result, result, versions_of
from caseassist import CaseAssist, MemorySink
from caseassist.core.records import Record
from caseassist.delivery.courier import Courier
from caseassist.live import BREATHE_EVERY
from caseassist.sinks.http import HTTPSink
from caseassist.stores.memory import MemoryStore
from caseassist.wire.http import Request

IN_FLIGHT = (1, 16, 64)
FLOOR = "transport alone"
TOKEN = "xx01234567-89ab-cdef-0123-456789abcdef"
WARM_SESSIONS = 64
"""As many as there are connections to open."""


class Effort(NamedTuple):
    """How much is measured."""

    sessions: int
    repeats: int
    seconds: float
    """Of each turn of a peer."""
    events: int
    """For clients that put a hundred into a request."""
    warm_s: float
    """For node: its compiler takes some thousand events."""


QUICK = Effort(sessions=60, repeats=2, seconds=0.05, events=800, warm_s=0.8)
FULL = Effort(sessions=500, repeats=7, seconds=0.3, events=4000, warm_s=2)


def versions() -> dict[str, str]:
    """Of what is measured beside us."""
    python = ("aiohttp", "httpx", "httpx2", "posthog", "segment-analytics-python", "snowplow-tracker")
    return versions_of("httptools", *python) | coveo_analytics.versions()


def sink_to(port: int, in_flight: int) -> HTTPSink:
    return HTTPSink(f"http://127.0.0.1:{port}", token=TOKEN, sessions_at_once=in_flight)


def requests_of(records: Sequence[Record], port: int) -> list[Request]:
    """The requests that the sink sends for records: none for an offer."""
    sink = sink_to(port, 1)
    return [request for record in records if (request := sink.format.request(record, TOKEN))]


async def deliver(warm: Sequence[Record], records: Sequence[Record], port: int, in_flight: int) -> Pace:
    """Append sessions of ten records and deliver them. Of the second lot, an event is what makes a request."""
    events = len(requests_of(records, port))
    store = MemoryStore()
    courier = Courier(store, sink_to(port, in_flight))
    await courier.open()

    async def append_and_drain(records: Sequence[Record]) -> None:
        for begin in range(0, len(records), 10):
            courier.notify((await store.append(records[begin : begin + 10], timeout_s=1)).position)
        await courier.drain()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(courier.run)
        await append_and_drain(warm)
        stop = start()
        await append_and_drain(records)
        pace = stop(events)
        courier.stop()
    assert courier.progress.delivered == len(warm) + len(records)
    return pace


async def enqueue_and_deliver(warm: Sequence[Record], records: Sequence[Record], port: int) -> Pace:
    """As those do who drive sessions themselves, record by record."""
    events = len(requests_of(records, port))
    async with CaseAssist(CONTEXT, sinks=[sink_to(port, max(IN_FLIGHT))]) as assist:
        for record in warm:
            await assist.append([record])
        await assist.flush(60)
        stop = start()
        for record in records:
            await assist.append([record])
        report = await assist.flush(60)
        pace = stop(events)
    assert report.sinks[0].delivered == len(warm) + len(records)
    return pace


async def enqueue(records: Sequence[Record]) -> float:
    """CPU microseconds of one append, delivery not counted: it runs in the same thread."""
    cpu_s, appended = 0.0, 0
    async with CaseAssist(CONTEXT, sinks=[MemorySink()]) as assist:
        # Of so many appends, the last lets the courier run, and is left out.
        for begin in range(0, len(records) - BREATHE_EVERY, BREATHE_EVERY):
            *some, last = records[begin : begin + BREATHE_EVERY]
            begin_s = time.thread_time()
            for record in some:
                await assist.append([record])
            cpu_s += time.thread_time() - begin_s
            assert assist.report().sinks[0].delivered == begin  # nothing meanwhile
            appended += len(some)
            await assist.append([last])
            await assist.flush(60)
    return cpu_s / appended * 1e6


def with_http_clients(port: int, effort: Effort, node: Log | None) -> list[Result]:
    warm, records = sessions(WARM_SESSIONS), sessions(effort.sessions)
    requests = requests_of(records, port)
    clients = installed_clients()
    names = {
        (backend, in_flight): f"http_sink, {backend}, {in_flight} in flight"
        for in_flight in IN_FLIGHT
        for backend in ("asyncio", "trio")
    }
    paces: dict[str, dict[str, list[Pace]]] = {name: {} for name in names.values()}
    for _ in range(effort.repeats):
        gc.collect()
        for in_flight in IN_FLIGHT:
            of_node = {} if node is None else {"coveo.analytics": node(in_flight, seconds=effort.seconds)}
            for backend in ("asyncio", "trio"):
                turn = of_node | {"caseassist": anyio.run(deliver, warm, records, port, in_flight, backend=backend)}
                for name, client in {FLOOR: transport_client, **clients[backend]}.items():
                    turn[name] = anyio.run(pace, client, requests, in_flight, effort.seconds, backend=backend)
                for name, measured in turn.items():
                    paces[names[backend, in_flight]].setdefault(name, []).append(measured)

    def of_all(name: str, member: str) -> dict[str, list[float]]:
        return {peer: [getattr(measured, member) for measured in turns] for peer, turns in paces[name].items()}

    rates = [result(name, of_all(name, "events_per_s"), floor=FLOOR) for name in names.values()]
    costs = [
        result(f"{name}, CPU", of_all(name, "cpu_us"), unit="µs CPU/event", floor=FLOOR)
        for (_, in_flight), name in names.items()
        if in_flight == max(IN_FLIGHT)
    ]
    return rates + costs


def with_telemetry(port: int, effort: Effort) -> list[Result]:
    warm, records = sessions(WARM_SESSIONS), sessions(effort.events // 8)
    events = [msgspec.json.decode(request.body) for request in requests_of(records, port)]
    ours: dict[str, list[float]] = {"asyncio": [], "trio": []}
    ours_enqueue: list[float] = []
    delivered: dict[str, list[Delivered]] = {}
    with ExitStack() as stack:
        peers: dict[str, Telemetry] = {
            name: stack.enter_context(opened(port, len(events) + 1)) for name, opened in installed_telemetry().items()
        }
        for peer in peers.values():
            deliver_telemetry(peer, events[:100])
        for _ in range(effort.repeats):
            gc.collect()
            for backend, rates in ours.items():
                rates.append(anyio.run(enqueue_and_deliver, warm, records, port, backend=backend).events_per_s)
            ours_enqueue.append(anyio.run(enqueue, records))
            for name, peer in peers.items():
                delivered.setdefault(name, []).append(deliver_telemetry(peer, events))

    def beside(own: list[float], member: str) -> dict[str, list[float]]:
        return {"caseassist": own} | {name: [getattr(d, member) for d in turns] for name, turns in delivered.items()}

    name = "http_sink, flushed"
    return [
        *(result(f"{name}, {backend}", beside(own, "events_per_s")) for backend, own in ours.items()),
        *(
            result(f"{name}, {backend}, requests", beside(own, "requests_per_s"), unit="requests/s")
            for backend, own in ours.items()
        ),
        result("http_sink, enqueue", beside(ours_enqueue, "enqueue_us"), unit="µs CPU/event"),
    ]


def run(quick: bool) -> list[Result]:
    effort = QUICK if quick else FULL
    with running_server() as port, coveo_analytics.coveo_analytics(port) as node:
        if node is not None:
            node(max(IN_FLIGHT), seconds=effort.warm_s)
        return with_http_clients(port, effort, node) + with_telemetry(port, effort)
