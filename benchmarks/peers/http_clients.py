"""Other HTTP clients that send the requests which ours sends.

Each is set up for many requests to one host: one session, as many connections as there are requests in flight, URLs
parsed and common headers given once, and ten seconds for a whole request. httpx and httpx2 know no such deadline, so
they get a cancel scope for it and no timeouts of their own, which costs the same.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import cycle
from typing import Any

import anyio

from benchmarks.peers.pace import Pace, start
from benchmarks.results import installed
from caseassist.transport import HTTPTransport
from caseassist.wire.http import Request

__all__ = ["Client", "installed_clients", "pace", "send_all", "transport_client"]

TIMEOUT_S = 10.0

Send = Callable[[Request], Awaitable[None]]
"""Sends a request and reads the whole reply, which must be a 200."""
Client = Callable[[Sequence[Request], int], AbstractAsyncContextManager[Send]]
"""(requests, all to one host and with the same headers; how many are in flight) -> a session."""


@asynccontextmanager
async def transport_client(_: Sequence[Request], in_flight: int) -> AsyncIterator[Send]:
    """Our transport, without all that makes requests of records."""
    async with HTTPTransport(max_idle=in_flight) as transport:

        async def send(request: Request) -> None:
            reply = await transport.send(request, timeout_s=TIMEOUT_S)
            assert reply.status == 200

        yield send


@asynccontextmanager
async def _httpx_client(httpx: Any, requests: Sequence[Request], in_flight: int) -> AsyncIterator[Send]:
    """httpx or httpx2."""
    urls = {path: httpx.URL(f"{requests[0].origin}{path}") for path in {request.path for request in requests}}
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    headers = list(requests[0].headers)
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=None, trust_env=False) as client:

        async def send(request: Request) -> None:
            with anyio.fail_after(TIMEOUT_S):
                reply = await client.post(urls[request.path], content=request.body)
            assert reply.status_code == 200

        yield send


@asynccontextmanager
async def _aiohttp_client(aiohttp: Any, requests: Sequence[Request], in_flight: int) -> AsyncIterator[Send]:
    from yarl import URL  # its own

    urls = {path: URL(f"{requests[0].origin}{path}") for path in {request.path for request in requests}}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=in_flight),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=requests[0].headers,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as session:

        async def send(request: Request) -> None:
            async with session.post(urls[request.path], data=request.body) as reply:
                await reply.read()
            assert reply.status == 200

        yield send


def installed_clients() -> dict[str, dict[str, Client]]:
    """The clients that are installed, by the event loop that they run on and by name."""
    both: dict[str, Client] = {
        name: partial(_httpx_client, module)
        for name in ("httpx", "httpx2")
        if (module := installed(name, name)) is not None
    }
    aiohttp = installed("aiohttp", "aiohttp")
    asyncio_only: dict[str, Client] = {} if aiohttp is None else {"aiohttp": partial(_aiohttp_client, aiohttp)}
    return {"asyncio": both | asyncio_only, "trio": both}


async def send_all(send: Send, requests: Iterable[Request], in_flight: int) -> int:
    """Send requests, so many at a time. Returns how many were sent."""
    sent = 0
    left = iter(requests)

    async def work() -> None:
        nonlocal sent
        for request in left:
            await send(request)
            sent += 1

    async with anyio.create_task_group() as workers:
        for _ in range(in_flight):
            workers.start_soon(work)
    return sent


async def pace(client: Client, requests: Sequence[Request], in_flight: int, seconds: float) -> Pace:
    """Send requests for so many seconds; connections are open before the clocks start."""
    async with client(requests, in_flight) as send:
        again = cycle(requests)
        await send_all(send, (next(again) for _ in range(in_flight)), in_flight)
        end_s = time.perf_counter() + seconds

        def until_over() -> Iterator[Request]:
            while time.perf_counter() < end_s:
                yield next(again)

        stop = start()
        return stop(await send_all(send, until_over(), in_flight))
