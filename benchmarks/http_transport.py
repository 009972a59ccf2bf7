"""How many events per second fit through one HTTP/1.1 client on one core?

    python -m benchmarks.http_transport [--quick] [--json FILE]

One POST of 800 bytes per event over kept-alive loopback connections, the server in a process of its own. Each variant
runs on both event loops with 1, 16 and 64 requests in flight. The variants take turns within each repeat, so that a
change of the machine's mood hits all of them. The parsers are measured bare (the request ready as bytes, no
deadline); ``HTTPTransport`` as shipped: request built and checked, deadline, size limits, reply as a value.
"""

import argparse
import json
import multiprocessing
import os
import platform
import selectors
import socket
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import h11
import httptools
import httpx2

from caseassist.transport import HTTPTransport
from caseassist.wire.http import Origin, Request

TIMEOUT_S = 10.0
PATH = "/rest/ua/v15/analytics/collect"
BODY = b"x" * 800
HEADERS = (
    ("Authorization", "Bearer 0123456789abcdef0123456789abcdef0123"),
    ("Content-Type", "application/json"),
    ("Accept", "application/json"),
    ("User-Agent", "caseassist"),
)
REPLY_BODY = b'{"visitId":"019a9f3c-6f53-7d8e-9c0a-4a0e2f1c7b11","visitorId":"489aa3e3-aed2-4563-8e81-62bb73178a56"}'
REPLY = (
    b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(REPLY_BODY), REPLY_BODY)
)

Exchange = Callable[[], Coroutine[Any, Any, None]]
"""Sends one event and reads the whole reply."""
Client = Callable[[int, int], AbstractAsyncContextManager[Callable[[], Awaitable[Exchange]]]]
"""(port, in flight) -> a context with a factory of exchanges, one per worker."""


AWAKE_S = 0.001
"""So long after a request, the server looks for the next one without sleeping. To wake a process on another core takes
its client 15 µs and more on a virtual machine, for each request: a server on another machine would not cost that."""


def serve(ready: Connection) -> None:
    """Answer every request with the same reply, as cheaply as Python can: the client is what is measured."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    ready.send(listener.getsockname()[1])
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    received: dict[socket.socket, bytes] = {}
    awake_until_s = 0.0
    while True:
        events = selector.select(0 if time.perf_counter() < awake_until_s else None)
        if events:
            awake_until_s = time.perf_counter() + AWAKE_S
        for key, _ in events:
            if key.fileobj is listener:
                accepted, _ = listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(accepted, selectors.EVENT_READ)
                received[accepted] = b""
                continue
            peer = key.fileobj
            assert isinstance(peer, socket.socket)
            try:
                data = peer.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                selector.unregister(peer)
                del received[peer]
                peer.close()
                continue
            request = received[peer] + data
            head, end, body = request.partition(b"\r\n\r\n")
            complete = end and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            received[peer] = b"" if complete else request
            if complete:
                peer.send(REPLY)


def request_bytes(port: int) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{name}: {value}" for name, value in HEADERS)]
    return "\r\n".join([*lines, f"Content-Length: {len(BODY)}", "", ""]).encode() + BODY


@asynccontextmanager
async def h11_bare(port: int, _: int) -> AsyncIterator[Callable[[], Awaitable[Exchange]]]:
    headers = [("Host", f"127.0.0.1:{port}"), *HEADERS, ("Content-Length", str(len(BODY)))]

    async def connect() -> Exchange:
        stream = await anyio.connect_tcp("127.0.0.1", port)
        connection = h11.Connection(h11.CLIENT)

        async def exchange() -> None:
            head = connection.send(h11.Request(method="POST", target=PATH, headers=headers))
            body = connection.send(h11.Data(data=BODY))
            connection.send(h11.EndOfMessage())
            assert head is not None
            assert body is not None
            await stream.send(head + body)
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive())
                elif isinstance(event, h11.EndOfMessage):
                    connection.start_next_cycle()
                    return

        return exchange

    yield connect


class Reply:
    """The least that llhttp's callbacks must do to make a reply."""

    def __init__(self) -> None:
        self.complete = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


@asynccontextmanager
async def httptools_bare(port: int, _: int) -> AsyncIterator[Callable[[], Awaitable[Exchange]]]:
    data = request_bytes(port)

    async def connect() -> Exchange:
        stream = await anyio.connect_tcp("127.0.0.1", port)

        async def exchange() -> None:
            reply = Reply()
            parser = httptools.HttpResponseParser(reply)
            await stream.send(data)
            while not reply.complete:
                parser.feed_data(await stream.receive())

        return exchange

    yield connect


@asynccontextmanager
async def httptools_fail_after(port: int, in_flight: int) -> AsyncIterator[Callable[[], Awaitable[Exchange]]]:
    async with httptools_bare(port, in_flight) as connect_bare:

        async def connect() -> Exchange:
            exchange_bare = await connect_bare()

            async def exchange() -> None:
                with anyio.fail_after(TIMEOUT_S):
                    await exchange_bare()

            return exchange

        yield connect


@asynccontextmanager
async def httpx2_client(port: int, in_flight: int) -> AsyncIterator[Callable[[], Awaitable[Exchange]]]:
    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    url, headers = f"http://127.0.0.1:{port}{PATH}", dict(HEADERS)
    async with httpx2.AsyncClient(limits=limits, timeout=TIMEOUT_S, trust_env=False) as client:

        async def exchange() -> None:
            (await client.post(url, content=BODY, headers=headers)).raise_for_status()

        async def connect() -> Exchange:
            return exchange

        yield connect


@asynccontextmanager
async def ours(port: int, in_flight: int) -> AsyncIterator[Callable[[], Awaitable[Exchange]]]:
    origin = Origin("http", "127.0.0.1", port)
    async with HTTPTransport(max_idle=in_flight) as transport:

        async def exchange() -> None:
            request = Request(origin=origin, path=PATH, headers=HEADERS, body=BODY)
            reply = await transport.send(request, timeout_s=TIMEOUT_S)
            assert reply.status == 200

        async def connect() -> Exchange:
            return exchange

        yield connect


VARIANTS: dict[str, Client] = {
    "h11, no deadline": h11_bare,
    "httptools, no deadline": httptools_bare,
    "httptools, fail_after each": httptools_fail_after,
    "httpx2.AsyncClient": httpx2_client,
    "caseassist HTTPTransport": ours,
}


async def measure(client: Client, port: int, in_flight: int, seconds: float) -> float:
    """Events per second; connections are open and warm before the clock starts."""
    done = 0

    async def work(exchange: Exchange, until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await exchange()
            done += 1

    async with client(port, in_flight) as connect:
        exchanges = [await connect() for _ in range(in_flight)]
        async with anyio.create_task_group() as group:
            for exchange in exchanges:
                group.start_soon(exchange)
        start = time.perf_counter()
        async with anyio.create_task_group() as group:
            for exchange in exchanges:
                group.start_soon(work, exchange, start + seconds)
        return done / (time.perf_counter() - start)


@contextmanager
def running_server() -> Iterator[int]:
    """The server in a process of its own; gives its port."""
    spawn = multiprocessing.get_context("spawn")
    ours_end, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        port: int = ours_end.recv()
        yield port
    finally:
        server.terminate()
        server.join()


def main() -> None:
    arguments = argparse.ArgumentParser(description="Events per second through HTTP/1.1 clients on loopback.")
    arguments.add_argument("--quick", action="store_true", help="a few seconds only; for a first impression")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = arguments.parse_args()
    repeats, seconds = (2, 0.2) if options.quick else (5, 1.0)

    packages = ("anyio", "trio", "h11", "httptools", "httpx2", "msgspec")
    machine = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **{name: version(name) for name in packages},
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"median of {repeats} runs of {seconds:g} s each (lowest-highest), events/s\n")

    cells = [(backend, in_flight) for backend in ("asyncio", "trio") for in_flight in (1, 16, 64)]
    runs: dict[tuple[str, str, int], list[float]] = {}
    with running_server() as port:
        for backend, in_flight in cells:
            for _ in range(repeats):
                for name, client in VARIANTS.items():
                    rate = anyio.run(measure, client, port, in_flight, seconds, backend=backend)
                    runs.setdefault((name, backend, in_flight), []).append(rate)

    print(f"{'':27}" + "".join(f"{f'{backend} {in_flight}':>22}" for backend, in_flight in cells))
    for name in VARIANTS:
        row = ""
        for cell in cells:
            rates = runs[(name, *cell)]
            row += f"{f'{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})':>22}"
        print(f"{name:27}{row}")
    if options.json:
        rows = [
            {
                "variant": name,
                "backend": backend,
                "in_flight": in_flight,
                "events_per_s": [round(rate) for rate in rates],
            }
            for (name, backend, in_flight), rates in runs.items()
        ]
        options.json.write_text(json.dumps({"machine": machine, "seconds": seconds, "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
