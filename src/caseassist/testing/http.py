"""A server that plays a script: whatever a server on the other end of a socket can do to a client.

::

    async with ScriptServer(reply(503, headers={"Retry-After": "5"}), reset_mid_reply(), reply(200)) as server:
        sink = HTTPSink(server.url, token="xx-test")
        ...
    assert [request.path for request in server.requests] == [...]

A *behaviour* is played once for every request, on whatever connection it comes; when the script is over, ``then`` is
played again and again. A behaviour of your own is an async function that is given the :class:`Connection`.
Needs nothing but anyio, and works on asyncio and trio.
"""

import gzip
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import anyio
import anyio.abc
from anyio.streams.tls import TLSStream

__all__ = [
    "Behaviour",
    "Connection",
    "ReceivedRequest",
    "ScriptServer",
    "closes_after_head",
    "closes_after_reply",
    "closes_after_request",
    "closes_before_reading",
    "drips_body",
    "drips_head",
    "endless_body",
    "endless_head",
    "gzip_bomb",
    "half_closes_after_reply",
    "half_closes_before_reply",
    "informational",
    "never_answers",
    "never_reads",
    "raw",
    "reply",
    "resets_after_request",
    "resets_before_reading",
    "resets_mid_reply",
    "resets_mid_request",
    "wrong_length",
]

_CHUNK_BYTES = 65536
_MAX_HEAD_BYTES = 65536

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class ReceivedRequest:
    """A request that came whole."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    """In order; names in lower case."""
    body: bytes
    connection: int
    """The number of the connection that it came on, from 1."""

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    def __repr__(self) -> str:
        return f"<ReceivedRequest {self.method} {self.path} {len(self.body)} body bytes>"


class Connection:
    """The server's end of one connection, as a behaviour has it.

    What the network does to it (the client closes, breaks it off) ends the behaviour, and is no error.
    """

    def __init__(self, server: "ScriptServer", stream: "_SocketStream", number: int) -> None:
        self.server = server
        self.number = number
        """From 1, in the order of connecting."""
        self.closed = False
        self._socket_stream = stream
        self._stream: anyio.abc.ByteStream = stream
        self._received = b""

    async def request(self) -> ReceivedRequest:
        """Read a request whole, and have the server count and keep it."""
        method, path, headers = await self.head()
        length = int(next((value for name, value in headers if name == "content-length"), "0"))
        while len(self._received) < length:
            await self._receive()
        body, self._received = self._received[:length], self._received[length:]
        request = ReceivedRequest(method=method, path=path, headers=headers, body=body, connection=self.number)
        self.server.requests.append(request)
        return request

    async def head(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """Read the head of a request: method, path, headers. Such a request does not count as received."""
        while b"\r\n\r\n" not in self._received:
            if len(self._received) > _MAX_HEAD_BYTES:
                raise anyio.EndOfStream
            await self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        named = (line.partition(":") for line in lines)
        return method, path, tuple((name.strip().lower(), value.strip()) for name, _, value in named)

    async def read(self, count: int) -> bytes:
        """Read so many bytes, or fewer where there are no more at the moment: at least one."""
        if not self._received:
            await self._receive(count)
        data, self._received = self._received[:count], self._received[count:]
        return data

    async def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        await self._stream.send(data)

    async def wait_closed(self) -> None:
        """Read and forget what comes until the client closes."""
        while True:
            await self._receive()
            self._received = b""

    async def close(self) -> None:
        """Close the connection. What came and was not read makes it a reset."""
        self.closed = True
        await self._socket_stream.aclose()

    async def reset(self) -> None:
        """Break the connection off (RST): what was sent last may not arrive."""
        self._socket_stream.linger_not()
        await self.close()

    async def half_close(self) -> None:
        """Say that nothing more will be sent (FIN), and go on reading."""
        await self._socket_stream.send_eof()

    async def _receive(self, count: int = _CHUNK_BYTES) -> None:
        self._received += await self._stream.receive(count)

    async def shake_hands(self, context: ssl.SSLContext) -> None:
        """Do the server's part of a TLS handshake; what is sent and read from then on is what TLS carries."""
        self._stream = await TLSStream.wrap(
            self._socket_stream, server_side=True, ssl_context=context, standard_compatible=False
        )

    async def wait_for_request(self) -> None:
        """Wait until a request begins to come; on a connection without TLS, nothing of it is read yet."""
        if self._received:
            return
        if self._stream is self._socket_stream:
            await self._socket_stream.wait_for_data()
        else:
            await self._receive()


Behaviour: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Plays its part when a request begins to come: nothing is read yet. When it returns, the connection is kept for the
next request unless it was closed."""


# --- Behaviours -----------------------------------------------------------------------------------------------------


def reply(
    status: int = 200,
    body: bytes = b"{}",
    headers: Headers = (),
    *,
    version: str = "1.1",
    phrase: str = "Scripted",
    length: bool = True,
) -> Behaviour:
    """Read the request and answer. ``length``: send ``Content-Length``, except with 204 and 304."""
    return raw(_reply_bytes(status, body, headers, version=version, phrase=phrase, length=length))


def raw(*parts: bytes, close: bool = False) -> Behaviour:
    """Read the request and answer with these very bytes, part by part. ``close``: and close the connection."""

    async def play(connection: Connection) -> None:
        await connection.request()
        for part in parts:
            await connection.send(part)
        if close:
            await connection.close()

    return play


def informational(*statuses: int, then: Behaviour | None = None) -> Behaviour:
    """Send 1xx replies, such as 100 and 103, as soon as the request begins to come, and then do as ``then`` says.

    ``then``: answers with 200 unless given.
    """
    last = then or reply()

    async def play(connection: Connection) -> None:
        for status in statuses:
            await connection.send(b"HTTP/1.1 %d Scripted\r\n\r\n" % status)
        await last(connection)

    return play


def wrong_length(declared: int, body: bytes = b"{}", *, status: int = 200) -> Behaviour:
    """Answer with another Content-Length than the body has, and close."""
    head = _reply_bytes(status, b"", {"Content-Length": str(declared)}, length=False)
    return raw(head + body, close=True)


def closes_before_reading() -> Behaviour:
    """Close as soon as the request begins to come, without reading it."""

    async def play(connection: Connection) -> None:
        await connection.close()

    return play


def closes_after_head() -> Behaviour:
    """Read the head of the request only, then close."""

    async def play(connection: Connection) -> None:
        await connection.head()
        await connection.close()

    return play


def closes_after_request() -> Behaviour:
    """Read the whole request, then close without an answer."""
    return raw(close=True)


def closes_after_reply(status: int = 200, body: bytes = b"{}", headers: Headers = ()) -> Behaviour:
    """Answer as if the connection could be used again, then close it: what a client keeps is stale."""
    return raw(_reply_bytes(status, body, headers), close=True)


def half_closes_before_reply() -> Behaviour:
    """Read the request, say that nothing will be sent, and wait for the client to close."""
    return _half_closes(b"")


def half_closes_after_reply(status: int = 200, body: bytes = b"{}", headers: Headers = ()) -> Behaviour:
    """Answer without a length, say that nothing more will be sent, and wait for the client to close."""
    return _half_closes(_reply_bytes(status, body, headers, length=False))


def _half_closes(data: bytes) -> Behaviour:
    async def play(connection: Connection) -> None:
        await connection.request()
        if data:
            await connection.send(data)
        await connection.half_close()
        await connection.wait_closed()

    return play


def resets_before_reading() -> Behaviour:
    """Break the connection off as soon as the request begins to come."""

    async def play(connection: Connection) -> None:
        await connection.reset()

    return play


def resets_mid_request(count: int = 10) -> Behaviour:
    """Read so many bytes of the request, then break the connection off."""

    async def play(connection: Connection) -> None:
        await connection.read(count)
        await connection.reset()

    return play


def resets_after_request() -> Behaviour:
    """Read the whole request, then break the connection off."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.reset()

    return play


def resets_mid_reply(part: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") -> Behaviour:
    """Read the request, answer in part, then break the connection off."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(part)
        await connection.reset()

    return play


def drips_head(*, every_s: float = 0.01, status: int = 200) -> Behaviour:
    """Answer with a head that comes letter by letter and never ends."""
    return _goes_on(b"HTTP/1.1 %d Scripted\r\nX: " % status, b"x", every_s)


def drips_body(*, every_s: float = 0.01, status: int = 200) -> Behaviour:
    """Answer with a body of 1,000,000 bytes that comes letter by letter."""
    return _goes_on(b"HTTP/1.1 %d Scripted\r\nContent-Length: 1000000\r\n\r\n" % status, b"x", every_s)


def endless_head(*, status: int = 200) -> Behaviour:
    """Answer with a head that never ends, as fast as it goes."""
    return _goes_on(b"HTTP/1.1 %d Scripted\r\n" % status, b"X: 1\r\n" * 5000, 0)


def endless_body(*, status: int = 200, chunked: bool = True) -> Behaviour:
    """Answer with a body that never ends, as fast as it goes. ``chunked``: or else until the connection is closed."""
    coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    chunk = b"x" * 32768
    return _goes_on(
        b"HTTP/1.1 %d Scripted\r\n%b\r\n" % (status, coding), b"8000\r\n%b\r\n" % chunk if chunked else chunk, 0
    )


def _goes_on(start: bytes, rest: bytes, every_s: float) -> Behaviour:
    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.send(start)
        while True:
            await connection.send(rest)
            await anyio.sleep(every_s)

    return play


def gzip_bomb(*, status: int = 200, megabytes: int = 32) -> Behaviour:
    """Answer with a small body that claims to be gzip and unpacks to so many megabytes."""
    packed: list[bytes] = []

    async def play(connection: Connection) -> None:
        if not packed:  # only where it is played
            packed.append(gzip.compress(bytes(megabytes << 20)))
        await reply(status, packed[0], {"Content-Encoding": "gzip"})(connection)

    return play


def never_answers() -> Behaviour:
    """Read the request and wait for the client to close."""

    async def play(connection: Connection) -> None:
        await connection.request()
        await connection.wait_closed()

    return play


def never_reads() -> Behaviour:
    """Do nothing at all, until the server is closed."""

    async def play(_: Connection) -> None:
        await anyio.sleep_forever()

    return play


def _reply_bytes(
    status: int,
    body: bytes,
    headers: Headers,
    *,
    version: str = "1.1",
    phrase: str = "Scripted",
    length: bool = True,
) -> bytes:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if length and status not in (204, 304):
        pairs.append(("Content-Length", str(len(body))))
    lines = [f"HTTP/{version} {status} {phrase}", *(f"{name}: {value}" for name, value in pairs), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


# --- The server -----------------------------------------------------------------------------------------------------


class ScriptServer:
    """An HTTP server on 127.0.0.1 that plays a script. Use it with ``async with``; leaving closes all connections.

    ``script``: what to do for the first request, the second, … ``then``: what to do after that. ``tls``: the server's
    context for ``https``; without it, a client that speaks TLS finds a server that does not.
    """

    def __init__(self, *script: Behaviour, then: Behaviour | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        """What is still to be played."""
        self.then = then or reply()
        self.requests: list[ReceivedRequest] = []
        """Those that came whole, in the order of their last bytes."""
        self.connections = 0
        """How many there were."""
        self.played = 0
        """How many behaviours were begun."""
        self.at_once = self.most_at_once = 0
        """How many are being played, and the most there ever were."""
        self.port = 0
        self._tls = tls
        self._listener = socket.socket()
        self._tasks: anyio.abc.TaskGroup | None = None

    @property
    def url(self) -> str:
        """Such as ``http://127.0.0.1:41234``."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener.setblocking(False)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._listen, self._listener, self._tasks)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        try:
            if isinstance(exc, anyio.get_cancelled_exc_class()):
                return await self._tasks.__aexit__(exc_type, exc, traceback)
            # What the body of the block raises leaves as it is: given to a task group, it would come out in a group.
            await self._tasks.__aexit__(None, None, None)
        finally:
            self._listener.close()
        return None

    async def _listen(self, listener: socket.socket, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            await anyio.wait_readable(listener)
            with suppress(BlockingIOError, ConnectionError):
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                self.connections += 1
                tasks.start_soon(self._serve, Connection(self, _SocketStream(accepted), self.connections))

    async def _serve(self, connection: Connection) -> None:
        lost = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
        try:
            with suppress(*lost):
                if self._tls is not None:
                    await connection.shake_hands(self._tls)
                while not connection.closed:
                    await connection.wait_for_request()
                    await self._play(connection)
        finally:
            await connection.close()

    async def _play(self, connection: Connection) -> None:
        behaviour = self.script.pop(0) if self.script else self.then
        self.played += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await behaviour(connection)
        finally:
            self.at_once -= 1


class _SocketStream(anyio.abc.ByteStream):
    """A socket that reads nothing before it is asked to, unlike anyio's own on asyncio: a close with unread data
    is a reset, and a script must be able to tell."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted

    async def receive(self, max_bytes: int = _CHUNK_BYTES) -> bytes:
        while True:
            await anyio.wait_readable(self._socket)
            with suppress(BlockingIOError):
                data = self._socket.recv(max_bytes)
                if not data:
                    raise anyio.EndOfStream
                return data

    async def wait_for_data(self) -> None:
        """Wait until there is something to read. Raises EndOfStream if there will be nothing."""
        while True:
            await anyio.wait_readable(self._socket)
            with suppress(BlockingIOError):
                if not self._socket.recv(1, socket.MSG_PEEK):
                    raise anyio.EndOfStream
                return

    async def send(self, item: bytes) -> None:
        view = memoryview(item)
        while view:
            await anyio.wait_writable(self._socket)
            with suppress(BlockingIOError):
                view = view[self._socket.send(view) :]

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def linger_not(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def aclose(self) -> None:
        self._socket.close()
