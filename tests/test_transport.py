"""The HTTP transport against scripted servers on real sockets: bytes in, bytes out."""

import asyncio
import socket
import ssl
import struct
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream
from hypothesis import given
from hypothesis import strategies as st

import caseassist.transport
from caseassist.connections.base import Connection
from caseassist.core.errors import DeliveryError
from caseassist.transport import HTTPTransport, TransportError
from caseassist.wire.http import Origin, Reply, Request
from caseassist.wire.http1 import ReplyParser

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECRET = "s3cret"
LONG_S = 30.0
"""A deadline that no test reaches."""
SHORT_S = 0.2
"""A deadline that ends a wait on a server that never answers."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: ByteStream, number: int) -> None:
        self.stream = stream
        self.number = number
        self._received = b""

    async def request(self) -> bytes:
        """The body of the next request; EndOfStream when the client has closed."""
        while b"\r\n\r\n" not in self._received:
            self._received += await self.stream.receive()
        head, _, rest = self._received.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        while len(rest) < length:
            rest += await self.stream.receive()
        self.head = head
        self._received = rest[length:]
        return rest[:length]

    async def write(self, data: bytes) -> None:
        await self.stream.send(data)

    async def reset(self) -> None:
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    def __init__(self, port: int, scheme: str = "http", host: str = "127.0.0.1") -> None:
        self.origin = Origin("https" if scheme == "https" else "http", host, port)
        self.connections = 0

    def request(self, body: bytes = b"{}", **members: Any) -> Request:
        return Request(**{"origin": self.origin, "path": "/p", "body": body, **members})


@asynccontextmanager
async def serving(
    script: Script, *, tls: ssl.SSLContext | None = None, scheme: str = "", host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Play the script on every connection. Leaving waits until the client has closed all of them: nothing leaks."""
    listener = await anyio.create_tcp_listener(local_host=host)
    port = listener.extra(SocketAttribute.local_port)
    server = Server(port, scheme or ("https" if tls else "http"), host)
    open_connections = 0
    all_closed = anyio.Event()

    async def handle(stream: ByteStream) -> None:
        nonlocal open_connections, all_closed
        server.connections += 1
        open_connections += 1
        try:
            async with stream:
                wrapped = stream
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
                    if tls:
                        wrapped = await TLSStream.wrap(
                            stream, server_side=True, ssl_context=tls, standard_compatible=False
                        )
                    await script(Peer(wrapped, server.connections))
        finally:
            open_connections -= 1
            if not open_connections:
                all_closed.set()
                all_closed = anyio.Event()

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield server
        while open_connections:
            with anyio.fail_after(LONG_S):
                await all_closed.wait()
        group.cancel_scope.cancel()
    await listener.aclose()


def replies(*parts: bytes) -> Script:
    """Answer every request with these bytes, and keep the connection."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for part in parts:
                await peer.write(part)

    return script


def replies_then_closes(*parts: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            await peer.write(part)

    return script


def floods(start: bytes, rest: bytes) -> Script:
    """Answer, and never stop."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(start)
        while True:
            await peer.write(rest)

    return script


def drips(start: bytes, rest: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(start)
        while True:
            await peer.write(rest)
            await anyio.sleep(0.01)

    return script


async def echo(peer: Peer) -> None:
    while True:
        body = await peer.request()
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def never_answers(peer: Peer) -> None:
    while True:
        await peer.request()


async def send_to(script: Script, *, timeout_s: float = LONG_S, **options: Any) -> Reply:
    async with serving(script) as server, HTTPTransport(**options) as transport:
        return await transport.send(server.request(), timeout_s=timeout_s)


async def failure_of(script: Script, *, timeout_s: float = LONG_S, **options: Any) -> TransportError:
    async with serving(script) as server, HTTPTransport(**options) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(), timeout_s=timeout_s)
    return caught.value


# --- What goes out --------------------------------------------------------------------------------------------------


async def test_request_is_written_as_http_1_1_in_one_piece() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.stream.receive())
        await peer.write(OK)

    async with serving(script) as server, HTTPTransport() as transport:
        headers = (("Authorization", "Bearer x"), ("X-Tab", "a\tb\xe9"))
        await transport.send(server.request(b"body", path="/a?b=%20", headers=headers), timeout_s=LONG_S)
    assert seen == [
        b"POST /a?b=%%20 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer x\r\nX-Tab: a\tb\xe9\r\n"
        b"Accept-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody" % server.origin.port
    ]


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_a_request_larger_than_any_buffer_arrives_whole(secure: bool, ca: trustme.CA) -> None:
    body = bytes(range(256)) * 40_000
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            bodies.append(await peer.request())
            await peer.write(OK)

    async with (
        serving(script, tls=server_context(ca) if secure else None) as server,
        HTTPTransport(ssl_context=client_context(ca)) as transport,
    ):
        for _ in range(2):
            assert (await transport.send(server.request(body), timeout_s=LONG_S)).body == b"ok"
    assert bodies == [body, body]


async def test_every_request_has_its_own_head() -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            heads.append(peer.head.partition(b"\r\n")[0] + peer.head.partition(b"X: ")[2][:1])
            await peer.write(OK)

    async with serving(script) as server, HTTPTransport() as transport:
        for method, path, x in [("POST", "/a", "1"), ("POST", "/b", "1"), ("PUT", "/b", "1"), ("PUT", "/b", "2")]:
            request = server.request(b"long" * len(heads), method=method, path=path, headers=(("X", x),))
            await transport.send(request, timeout_s=LONG_S)
    assert heads == [b"POST /a HTTP/1.11", b"POST /b HTTP/1.11", b"PUT /b HTTP/1.11", b"PUT /b HTTP/1.12"]


@pytest.mark.parametrize(
    "members",
    [
        {"headers": (("X", f"{SECRET}\r\nEvil: 1"),)},
        {"headers": (("X", f"{SECRET}\n"),)},
        {"headers": (("X", f"{SECRET}\0"),)},
        {"headers": (("X", f"{SECRET}\x7f"),)},
        {"headers": (("X", f"{SECRET}\u2014"),)},
        {"headers": (("A", "fine"), (f"X: {SECRET}\r\nEvil", "1"))},
        {"headers": (("", SECRET),)},
        {"headers": ((f"X\u2014{SECRET}", "1"),)},
        {"headers": (("X ", SECRET),)},
        *({"headers": ((name, SECRET),)} for name in ("Host", "content-length", "Transfer-Encoding", "Connection")),
        {"path": f"/{SECRET} HTTP/1.1\r\nEvil: 1"},
        {"path": f"{SECRET}"},
        {"path": f"/{SECRET}\xe9"},
        {"method": f"POST /{SECRET} HTTP/1.1\r\n"},
        {"method": "HEAD"},
        {"method": "CONNECT"},
        {"origin": Origin("http", f"127.0.0.1\r\n{SECRET}", 80)},
        {"origin": Origin("https", f"{SECRET}@evil.example", 443)},
        {"origin": Origin("https", f"{SECRET}/evil", 443)},
        {"origin": Origin("https", f"evil.example:1/{SECRET}", 443)},
        {"origin": Origin("http", "127.0.0.1", 0)},
        {"origin": Origin("http", "127.0.0.1", 65536)},
    ],
    ids=repr,
)
async def test_what_would_break_the_head_is_refused_and_not_shown(members: dict[str, Any]) -> None:
    async with serving(echo) as server, HTTPTransport() as transport:
        with pytest.raises(ValueError) as caught:
            await transport.send(server.request(**members), timeout_s=LONG_S)
    assert SECRET not in str(caught.value)
    assert server.connections == 0


async def test_a_refused_request_stays_refused_and_leaves_others_alone() -> None:
    async with serving(echo) as server, HTTPTransport() as transport:
        for _ in range(2):
            with pytest.raises(ValueError):
                await transport.send(server.request(headers=(("X", "\n"),)), timeout_s=LONG_S)
            assert (await transport.send(server.request(b"fine"), timeout_s=LONG_S)).body == b"fine"
            with pytest.raises(ValueError):
                await transport.send(server.request(headers=(("X", "\n"),)), timeout_s=LONG_S)
            with pytest.raises(ValueError):
                await transport.send(server.request(headers=(("X", "\n"),)), timeout_s=LONG_S)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "example.org", "::ffff:192.0.2.1", "2001:db8::1", "127.0.0.1.example.org"]
)
async def test_plaintext_to_another_host_is_refused_before_any_connection(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    async def connect(_: HTTPTransport, origin: Origin, __: float) -> Connection:
        attempts.append(origin.host)
        raise ConnectionRefusedError

    monkeypatch.setattr(HTTPTransport, "_open", connect)
    request = Request(origin=Origin("http", host, 80), path="/")
    async with HTTPTransport() as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(request, timeout_s=LONG_S)
    assert (caught.value.reason, caught.value.maybe_sent, attempts) == ("refused_plaintext", False, [])
    async with HTTPTransport(allow_insecure_http=True) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(request, timeout_s=LONG_S)
    assert (caught.value.reason, attempts) == ("connect", [host])


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await send_to(replies(OK))).status == 200


# --- What comes back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status", "body"),
    [
        (replies(OK), 200, b"ok"),
        (replies(*(OK[i : i + 1] for i in range(len(OK)))), 200, b"ok"),
        (replies(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, b""),
        (replies(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), 304, b""),
        (replies(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"), 301, b""),
        (replies(b"HTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n"), 599, b""),
        (replies(b"HTTP/1.1 100 Continue\r\n\r\n", OK), 200, b"ok"),
        (replies(b"HTTP/1.1 100 Continue\r\nA: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK), 200, b"ok"),
        (
            replies(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"),
            200,
            b"ok",
        ),
        (replies_then_closes(b"HTTP/1.0 200 OK\r\n\r\no", b"k"), 200, b"ok"),
        (replies_then_closes(b"HTTP/1.1 200 OK\r\n\r\nok"), 200, b"ok"),
        (replies_then_closes(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), 200, b"ok"),
        (replies(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"), 200, b"\x1f\x8b"),
    ],
)
async def test_reply_is_returned_as_sent(script: Script, status: int, body: bytes) -> None:
    reply = await send_to(script)
    assert (reply.status, reply.body) == (status, body)


async def test_header_names_are_lower_case_in_order_and_trailers_do_not_count() -> None:
    reply = await send_to(
        replies(
            b"HTTP/1.1 103 Early Hints\r\nNot-This: 1\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 5\r\nX-E: \r\n"
            b"X-L: \xe9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 0\r\nNot-This: 2\r\n\r\n"
        )
    )
    assert reply.headers == (("retry-after", "5"), ("x-e", ""), ("x-l", "\xe9"), ("transfer-encoding", "chunked"))


@pytest.mark.parametrize(
    "junk",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nFolded: a\r\n b\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_protocol_error(junk: bytes) -> None:
    error = await failure_of(replies(junk))
    assert (error.reason, error.maybe_sent) == ("protocol", True)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
async def test_closing_before_the_end_of_the_reply_is_an_error(part: bytes) -> None:
    async def resets(peer: Peer) -> None:
        await peer.request()
        if part:
            await peer.write(part)
        await peer.reset()

    for script in (replies_then_closes(*[part] if part else []), resets):
        error = await failure_of(script)
        assert (error.reason, error.maybe_sent) == ("closed", True)


async def test_closing_before_reading_the_request_is_an_error() -> None:
    async def script(peer: Peer) -> None:
        await peer.reset()

    error = await failure_of(script)
    assert error.reason == "closed"


# --- Limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 9999),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n" * 9999),
    ],
)
async def test_endless_body_is_cut_and_its_status_returned(start: bytes, rest: bytes) -> None:
    async with serving(floods(start, rest)) as server, HTTPTransport(max_body_bytes=5000) as transport:
        for _ in range(2):
            reply = await transport.send(server.request(), timeout_s=LONG_S)
            assert reply.status == 200
            assert len(reply.body) <= 5000
            assert reply.body == b"x" * len(reply.body)
    assert server.connections == 2


async def test_body_at_the_cap_is_whole_and_one_byte_more_is_cut() -> None:
    async with serving(echo) as server, HTTPTransport(max_body_bytes=1000) as transport:
        for size, connections in [(1000, 1), (1001, 1), (1, 1), (1, 1)]:
            reply = await transport.send(server.request(b"x" * size), timeout_s=LONG_S)
            assert len(reply.body) == min(size, 1000)
            assert server.connections >= connections


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 9999),
        (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n" * 9999),
        (b"HTTP/1.1 ", b"100 Continue\r\n\r\nHTTP/1.1 " * 9999),
        (b"", b"\r\n" * 9999),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000 + b"\r\nContent-Length: 0\r\n\r\n", b"x"),
    ],
)
async def test_endless_head_is_an_error(start: bytes, rest: bytes) -> None:
    error = await failure_of(floods(start or rest, rest))
    assert (error.reason, error.maybe_sent) == ("too_large", True)


async def test_head_within_its_limit_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 30000 + b"\r\nContent-Length: 0\r\n\r\n"
    assert (await send_to(replies(head))).status == 200


@pytest.mark.parametrize(
    "script",
    [
        never_answers,
        replies(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"),
        drips(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"),
        drips(b"HTTP/1.1 ", b"100 Continue\r\n\r\nHTTP/1.1 "),
    ],
)
async def test_deadline_ends_every_wait_for_a_reply(script: Script) -> None:
    error = await failure_of(script, timeout_s=SHORT_S)
    assert (error.reason, error.maybe_sent) == ("timeout", True)


async def test_deadline_ends_a_write_that_nobody_reads() -> None:
    release = anyio.Event()

    async def never_reads(peer: Peer) -> None:
        await release.wait()

    async with serving(never_reads) as server, HTTPTransport() as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(bytes(1 << 24)), timeout_s=SHORT_S)
        assert (caught.value.reason, caught.value.maybe_sent) == ("timeout", True)
        release.set()


async def test_deadline_ends_a_handshake() -> None:
    async def never_shakes(peer: Peer) -> None:
        while True:
            await peer.stream.receive()

    async with serving(never_shakes, scheme="https") as server, HTTPTransport() as transport:
        for timeout_s in (SHORT_S, 0.0, -1.0):
            with pytest.raises(TransportError) as caught:
                await transport.send(server.request(), timeout_s=timeout_s)
            assert (caught.value.reason, caught.value.maybe_sent) == ("timeout", False)


async def test_every_call_has_a_deadline_of_its_own() -> None:
    answer = anyio.Event()
    outcome: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await answer.wait()
        await peer.write(OK)

    async def patient() -> None:
        reply = await transport.send(server.request(), timeout_s=LONG_S)
        outcome.append(str(reply.status))

    async with serving(script) as server, HTTPTransport() as transport, anyio.create_task_group() as group:
        group.start_soon(patient)
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(), timeout_s=SHORT_S)
        outcome.append(caught.value.reason)
        answer.set()
    assert outcome == ["timeout", "200"]


# --- Connections ----------------------------------------------------------------------------------------------------


async def test_connection_is_kept_between_requests() -> None:
    async with serving(echo) as server, HTTPTransport() as transport:
        for number in range(5):
            reply = await transport.send(server.request(b"%d" % number), timeout_s=LONG_S)
            assert reply.body == b"%d" % number
    assert server.connections == 1


@pytest.mark.parametrize(
    ("reply", "connections"),
    [
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 1),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 2),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\njunk", 2),
        (OK + OK, 2),
        (OK + b"HTTP/1.1 200", 2),
        (OK + b"junk", 2),
    ],
)
async def test_connection_is_used_again_only_where_the_reply_allows_it(reply: bytes, connections: int) -> None:
    async with serving(replies(reply)) as server, HTTPTransport() as transport:
        for _ in range(2):
            await transport.send(server.request(), timeout_s=LONG_S)
    assert server.connections == connections


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_connection_that_the_server_closed_meanwhile_is_not_used(last_words: bytes) -> None:
    closed = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.write(OK)
        await answered.wait()
        if last_words:
            await peer.write(last_words)
        await peer.stream.aclose()
        closed.set()

    async with serving(script) as server, HTTPTransport() as transport:
        for _ in range(2):
            answered = anyio.Event()
            assert (await transport.send(server.request(), timeout_s=LONG_S)).status == 200
            answered.set()
            await closed.wait()
            closed = anyio.Event()
    assert server.connections == 2


async def test_request_on_a_kept_connection_that_breaks_is_not_sent_again() -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        bodies.append(await peer.request())
        await peer.write(OK)
        bodies.append(await peer.request())

    async with serving(script) as server, HTTPTransport() as transport:
        await transport.send(server.request(b"1"), timeout_s=LONG_S)
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(b"2"), timeout_s=LONG_S)
        assert (caught.value.reason, caught.value.maybe_sent) == ("closed", True)
        await transport.send(server.request(b"3"), timeout_s=LONG_S)
    assert bodies == [b"1", b"2", b"3"]
    assert server.connections == 2


@pytest.mark.parametrize("options", [{"max_idle": 0}, {"idle_s": 0.0}])
async def test_idle_connections_are_bounded_in_number_and_age(options: dict[str, Any]) -> None:
    async with serving(echo) as server, HTTPTransport(**options) as transport:
        for _ in range(3):
            await transport.send(server.request(), timeout_s=LONG_S)
    assert server.connections == 3


async def test_aged_idle_connection_is_closed_while_others_are_busy() -> None:
    first_closed = anyio.Event()
    both_there = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 2:
            both_there.set()
            await first_closed.wait()
        else:
            await both_there.wait()
        await peer.write(OK)
        try:
            await peer.request()
        except anyio.EndOfStream:
            first_closed.set()

    async with serving(script) as server, HTTPTransport(idle_s=0.05) as transport, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(lambda: transport.send(server.request(), timeout_s=LONG_S))
        with anyio.fail_after(LONG_S):
            await first_closed.wait()


async def test_calls_at_once_do_not_mix_up_replies() -> None:
    async with serving(echo) as server, HTTPTransport(max_idle=3) as transport:

        async def worker(name: int) -> None:
            for number in range(10):
                body = b"%d-%d" % (name, number)
                assert (await transport.send(server.request(body), timeout_s=LONG_S)).body == body

        async with anyio.create_task_group() as group:
            for name in range(10):
                group.start_soon(worker, name)


async def test_origins_do_not_share_connections() -> None:
    async with serving(replies(OK)) as one, serving(echo) as other, HTTPTransport() as transport:
        for _ in range(2):
            assert (await transport.send(one.request(b"1"), timeout_s=LONG_S)).body == b"ok"
            assert (await transport.send(other.request(b"2"), timeout_s=LONG_S)).body == b"2"
    assert (one.connections, other.connections) == (1, 1)


async def test_refused_connection_is_a_connect_error() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take the port meanwhile
        request = Request(origin=Origin("http", "127.0.0.1", bound.getsockname()[1]), path="/")
        async with HTTPTransport() as transport:
            with pytest.raises(TransportError) as caught:
                await transport.send(request, timeout_s=LONG_S)
    assert (caught.value.reason, caught.value.maybe_sent) == ("connect", False)
    assert caught.value.detail == "the host did not accept a connection"


async def test_host_name_that_cannot_be_looked_up_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with HTTPTransport(ssl_context=ssl.create_default_context()) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(Request(origin=Origin("https", "a.example", 443), path="/"), timeout_s=LONG_S)
    assert (caught.value.reason, caught.value.maybe_sent) == ("connect", False)
    assert caught.value.detail == "the host name was not found"


@pytest.mark.parametrize("host", ["localhost", "::1"])
async def test_loopback_has_several_names(host: str) -> None:
    try:
        probe = await anyio.create_tcp_listener(local_host=host)
    except OSError:
        pytest.skip(f"no {host} here")
    await probe.aclose()
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        heads.append(peer.head)
        await peer.write(OK)

    async with serving(script, host=host) as server, HTTPTransport() as transport:
        assert (await transport.send(server.request(), timeout_s=LONG_S)).status == 200
    shown = "[::1]" if host == "::1" else host
    assert f"\r\nHost: {shown}:{server.origin.port}\r\n".encode() in heads[0]


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def server_context(ca: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(host).configure_cert(context)
    return context


def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def test_tls_with_a_trusted_certificate(ca: trustme.CA) -> None:
    async with (
        serving(echo, tls=server_context(ca)) as server,
        HTTPTransport(ssl_context=client_context(ca)) as transport,
    ):
        for body in (b"1", b"x" * 60000):
            assert (await transport.send(server.request(body), timeout_s=LONG_S)).body == body
    assert server.connections == 1


@pytest.mark.parametrize("fault", ["unknown authority", "wrong host"])
async def test_certificate_is_verified(fault: str, ca: trustme.CA) -> None:
    host = "other.example" if fault == "wrong host" else "127.0.0.1"
    trust = client_context(ca) if fault == "wrong host" else None
    async with (
        serving(never_answers, tls=server_context(ca, host)) as server,
        HTTPTransport(ssl_context=trust) as transport,
    ):
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(), timeout_s=LONG_S)
    assert (caught.value.reason, caught.value.maybe_sent) == ("tls", False)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_server_that_does_not_speak_tls_is_a_tls_error(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive()
        if answer:
            await peer.write(answer)

    async with serving(script, scheme="https") as server, HTTPTransport() as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(), timeout_s=LONG_S)
    assert (caught.value.reason, caught.value.maybe_sent) == ("tls", False)


async def test_broken_tls_record_breaks_the_exchange(ca: trustme.CA) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        assert isinstance(peer.stream, TLSStream)
        await peer.stream.transport_stream.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        await peer.request()

    async with (
        serving(script, tls=server_context(ca)) as server,
        HTTPTransport(ssl_context=client_context(ca)) as transport,
    ):
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(), timeout_s=LONG_S)
    assert (caught.value.reason, caught.value.maybe_sent) == ("closed", True)


def test_lax_ssl_context_is_refused() -> None:
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    nobody = ssl.create_default_context()
    nobody.check_hostname = False
    nobody.verify_mode = ssl.CERT_NONE
    old = ssl.create_default_context()
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    for context in (unverified, nobody, old):
        with pytest.raises(ValueError, match="must verify"):
            HTTPTransport(ssl_context=context)


# --- Closing and cancellation ---------------------------------------------------------------------------------------


async def test_closing_ends_calls_in_flight_and_refuses_later_ones() -> None:
    arrived = anyio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.request()

    async with serving(script) as server, HTTPTransport() as transport, anyio.create_task_group() as group:

        async def in_flight() -> None:
            with pytest.raises(TransportError) as caught:
                await transport.send(server.request(), timeout_s=LONG_S)
            assert (caught.value.reason, caught.value.maybe_sent) == ("closed", True)

        group.start_soon(in_flight)
        await arrived.wait()
        await transport.aclose()
        with pytest.raises(TransportError) as caught:
            await transport.send(server.request(), timeout_s=LONG_S)
        assert (caught.value.reason, caught.value.maybe_sent) == ("closed", False)
    assert server.connections == 1


async def test_closing_ends_a_call_that_is_still_connecting(ca: trustme.CA) -> None:
    arrived, proceed = anyio.Event(), anyio.Event()
    context = server_context(ca)

    async def script(peer: Peer) -> None:
        arrived.set()
        await proceed.wait()
        tls = await TLSStream.wrap(peer.stream, server_side=True, ssl_context=context, standard_compatible=False)
        with pytest.raises(anyio.EndOfStream):
            await tls.receive()

    transport = HTTPTransport(ssl_context=client_context(ca))
    async with serving(script, scheme="https") as server, anyio.create_task_group() as group:

        async def connecting() -> None:
            with pytest.raises(TransportError) as caught:
                await transport.send(server.request(), timeout_s=LONG_S)
            assert (caught.value.reason, caught.value.maybe_sent) == ("closed", False)

        group.start_soon(connecting)
        await arrived.wait()
        await transport.aclose()
        proceed.set()


async def test_closing_under_cancellation_closes_all_the_same() -> None:
    async with serving(echo) as server:
        transport = HTTPTransport()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(lambda: transport.send(server.request(), timeout_s=LONG_S))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await transport.aclose()


async def test_closing_may_be_repeated_and_leaves_no_task(anyio_backend_name: str) -> None:
    async with serving(echo) as server, HTTPTransport() as transport:
        await transport.send(server.request(), timeout_s=LONG_S)
        tasks = len(anyio.get_running_tasks())
        await transport.aclose()
        await transport.aclose()
        assert not transport._sweeper.running
        if anyio_backend_name == "asyncio":  # trio's system tasks are not among these
            assert len(anyio.get_running_tasks()) < tasks


@types.coroutine
def interrupted(
    coroutine: Coroutine[Any, Any, Reply], interrupt: Callable[[], object], at: int
) -> Generator[Any, Any, int]:
    """Await the coroutine, calling ``interrupt`` when it gives up control for the ``at``-th time.

    Returns how many times it did so, if it comes to its end.
    """
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    count = 0
    while True:
        try:
            trap = step(value)
        except StopIteration:
            return count
        count += 1
        if count == at:
            interrupt()
        try:
            value = yield trap
            step = coroutine.send
        except BaseException as exc:  # noqa: BLE001 - passed on
            value, step = exc, coroutine.throw


@pytest.mark.parametrize("kept", [False, True], ids=["fresh connection", "kept connection"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_cancellation_at_any_point_leaves_no_half_used_connection(
    kept: bool, secure: bool, ca: trustme.CA
) -> None:
    tls = server_context(ca) if secure else None
    context = client_context(ca)
    at, finished = 0, False
    while not finished:
        at += 1
        async with serving(echo, tls=tls) as server, HTTPTransport(ssl_context=context) as transport:
            if kept:
                await transport.send(server.request(b"before"), timeout_s=LONG_S)
            with anyio.CancelScope() as scope:
                count = await interrupted(
                    transport.send(server.request(b"cancelled"), timeout_s=LONG_S), scope.cancel, at
                )
                finished = count < at
            assert not transport._busy
            assert sum(len(pool.idle) for pool in transport._pools.values()) <= 1
            for body in (b"after", b"and again"):
                assert (await transport.send(server.request(body), timeout_s=LONG_S)).body == body
    assert at > (1 if kept else 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_native_cancellation_at_any_point_leaves_no_half_used_connection(anyio_backend: str) -> None:
    at, finished = 0, False
    while not finished:
        at += 1
        async with serving(echo) as server, HTTPTransport() as transport:
            request = server.request(b"cancelled")

            async def call() -> int:
                task = asyncio.current_task()
                assert task is not None
                return await interrupted(transport.send(request, timeout_s=LONG_S), task.cancel, at)  # noqa: B023

            with suppress(asyncio.CancelledError):
                finished = await asyncio.create_task(call()) < at
            assert not transport._busy
            assert (await transport.send(server.request(b"after"), timeout_s=LONG_S)).body == b"after"
    assert at > 2


async def test_a_call_that_is_cancelled_before_it_begins_sends_nothing() -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            bodies.append(await peer.request())
            await peer.write(OK)

    async with serving(script) as server, HTTPTransport() as transport:
        await transport.send(server.request(b"before"), timeout_s=LONG_S)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await transport.send(server.request(b"cancelled"), timeout_s=LONG_S)
        await transport.send(server.request(b"after"), timeout_s=LONG_S)
    assert bodies == [b"before", b"after"]


async def test_ten_thousand_cancelled_calls_wear_nothing_out() -> None:
    cut = 0

    async with serving(echo) as server, HTTPTransport(max_idle=4) as transport:

        async def cancelled(number: int) -> None:
            nonlocal cut
            with anyio.CancelScope() as scope:
                await interrupted(transport.send(server.request(b"x"), timeout_s=LONG_S), scope.cancel, number % 4)
            cut += scope.cancelled_caught

        while cut < 10_000:
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(cancelled, number)
        assert not transport._busy
        assert sum(len(pool.idle) for pool in transport._pools.values()) <= 4
        assert (await transport.send(server.request(b"after"), timeout_s=LONG_S)).body == b"after"


# --- Without I/O ----------------------------------------------------------------------------------------------------

RAW_REPLIES = [
    OK,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
    b"HTTP/1.0 204 No Content\r\nConnection: keep-alive\r\n\r\n",
]


@given(data=st.data())
def test_reply_does_not_depend_on_how_its_bytes_are_cut(data: st.DataObject) -> None:
    parser = ReplyParser(32768, 65536)
    for raw in data.draw(st.lists(st.sampled_from(RAW_REPLIES), min_size=1, max_size=3)):
        whole = ReplyParser(32768, 65536)
        expected = whole.feed(raw)
        assert expected is not None
        cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1))))
        parts = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
        parser.begin()
        for part in parts[:-1]:
            assert parser.feed(part) is None
        assert parser.feed(parts[-1]) == expected
        assert parser.reusable == whole.reusable


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", OK[:-2]]))
def test_any_bytes_are_a_reply_or_more_to_come_or_a_typed_error(junk: bytes, start: bytes) -> None:
    parser = ReplyParser(100, 100)
    with suppress(TransportError):
        reply = parser.feed(start + junk) or parser.finish()
        assert 200 <= reply.status <= 599


def test_error_is_a_delivery_error_that_says_what_may_have_happened() -> None:
    sent = TransportError("closed", "the connection broke", maybe_sent=True)
    unsent = TransportError("connect", "nobody there", maybe_sent=False)
    assert isinstance(sent, DeliveryError)
    assert str(sent) == "no reply to the request (closed: the connection broke); it may have been received"
    assert str(unsent) == "no reply to the request (connect: nobody there); nothing was sent"


def test_public_names() -> None:
    assert caseassist.transport.__all__ == ["HTTPTransport", "Transport", "TransportError"]
    transport: caseassist.transport.Transport = HTTPTransport()
    assert transport
