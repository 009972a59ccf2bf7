"""One HTTP/1.1 exchange at a time: a request in, a reply or a typed failure out, by a deadline.

The pure half comes first: :class:`_Serializer` turns a request into bytes, :class:`_ReplyParser` turns bytes
into a reply. The other half, :class:`HTTPTransport`, opens, keeps and closes connections and moves the bytes.
docs/explanation/transport.md has the reasons and the measurements.
"""

import re
import selectors
import ssl
import sys
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from socket import gaierror
from types import TracebackType
from typing import Literal, Protocol, Self

import httptools
from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    Event,
    aclose_forcefully,
    connect_tcp,
    current_time,
    sleep,
    to_thread,
)
from anyio.abc import ByteStream, SocketAttribute

from caseassist.core.errors import DeliveryError
from caseassist.wire.http import Origin, Reply, Request

__all__ = ["HTTPTransport", "Transport", "TransportError"]

Reason = Literal["connect", "tls", "timeout", "closed", "protocol", "too_large", "refused_plaintext"]

_TICK_S = 0.02
"""How often deadlines are looked at. An exchange ends at most one tick, and a turn of the loop, after its deadline."""

_CHUNK_BYTES = 65536


class TransportError(DeliveryError):
    """There is no reply. Holds no header, no body and no token, so it may be logged."""

    def __init__(self, reason: Reason, detail: str, *, maybe_sent: bool) -> None:
        super().__init__(reason, detail, maybe_sent)
        self.reason: Reason = reason
        """``connect`` (name look-up included), ``tls``, ``timeout``, ``closed`` (by the other side, or by ``aclose``),
        ``protocol`` (what came is not HTTP/1.x), ``too_large`` (an endless head), ``refused_plaintext``."""
        self.detail = detail
        """The reason in a few words."""
        self.maybe_sent = maybe_sent
        """Whether bytes of the request may have reached the server. If so, it may have acted on them: the
        outcome is ambiguous, and sending again may make a duplicate."""

    def __str__(self) -> str:
        outcome = "it may have been received" if self.maybe_sent else "nothing was sent"
        return f"no reply to the request ({self.reason}: {self.detail}); {outcome}"


class Transport(Protocol):
    """Carries a request to its origin and brings back the reply. The seam to fake in tests."""

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        """Exchange one request for one reply.

        ``timeout_s``: seconds, > 0, for all of it: connecting, TLS, writing, the reply to its last byte.

        A reply of any status is returned, 3xx included: nothing is followed, nothing is sent twice. Any number
        of calls may run at once, in any order. Cancelling a call is safe and leaves the outcome unknown.

        :raises TransportError: there is no reply; ``maybe_sent`` tells whether the server may have the request.
        :raises ValueError: the request cannot be put on the wire. Nothing was sent; no header value is shown.
        """
        ...


# --- Requests -------------------------------------------------------------------------------------------------------

# RFC 9110, section 5: field names are tokens; field values have no control character but the tab.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_PATH = re.compile(r"/[\x21-\x7e]*").fullmatch
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?|[0-9a-f:.]*:[0-9a-f:.]*").fullmatch

_FRAMING = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"}
)
"""Headers that belong to the transport. Two opinions about where a message ends are an attack (request smuggling)."""


class _Serializer:
    """The requests to one origin, as bytes. No I/O."""

    def __init__(self, origin: Origin) -> None:
        if not _HOST(origin.host) or not 0 < origin.port < 65536:
            raise ValueError("the origin is not a host name or IP address with a port")
        self._host = str(origin).partition("://")[2]
        self._last: tuple[object, ...] = ()
        self._head = b""

    def serialize(self, request: Request) -> bytes:
        """Head and body in one piece: one system call, and never a head that waits for its body."""
        parts = (request.method, request.path, request.headers)
        if parts != self._last:  # as a rule only the body is new
            self._head = self._checked_head(request)
            self._last = parts
        return b"%b%d\r\n\r\n%b" % (self._head, len(request.body), request.body)

    def _checked_head(self, request: Request) -> bytes:
        # The length of the reply to HEAD and CONNECT does not follow from the reply alone.
        if not _TOKEN(request.method) or request.method in {"HEAD", "CONNECT"}:
            raise ValueError("the method is not one that this transport can send")
        if not _PATH(request.path):
            raise ValueError("the path does not begin with '/' or holds characters that need percent-encoding")
        lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {self._host}"]
        for number, (name, value) in enumerate(request.headers, 1):
            if not _TOKEN(name):
                raise ValueError(f"the name of header {number} is not an HTTP token")
            if name.lower() in _FRAMING:
                raise ValueError(f"header {name!r} belongs to the transport")
            if not _VALUE(value):
                raise ValueError(f"the value of header {name!r} holds a control or non-latin-1 character")
            lines.append(f"{name}: {value}")
        lines += ["Accept-Encoding: identity", "Content-Length: "]
        return "\r\n".join(lines).encode("latin-1")


# --- Replies --------------------------------------------------------------------------------------------------------


_UNKNOWN_STATUS = -1


class _ReplyParser:
    """The replies of one connection, one after the other: bytes in, a :class:`Reply` out. No I/O.

    llhttp calls the ``on_…`` methods. They only note what they are told; :meth:`feed` judges.
    """

    def __init__(self, max_head_bytes: int, max_body_bytes: int) -> None:
        self._max_head_bytes = max_head_bytes
        self._max_body_bytes = max_body_bytes
        self._llhttp = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Forget the last reply and expect the next one."""
        self.reusable = False
        """True once the reply was read to its last byte and the connection is fit for another."""
        self._reply: Reply | None = None
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._received_bytes = 0

    def feed(self, data: bytes) -> Reply | None:
        """The reply, as soon as it is complete or larger than the cap."""
        self._received_bytes += len(data)
        try:
            self._llhttp.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if self._reply is None:  # else the reply is good, and on_message_begin has noted that more came after it
                raise TransportError("protocol", "the reply is not valid HTTP/1.x", maybe_sent=True) from exc
        # A head without an end has no complete header to be counted: there, every byte received counts.
        head_bytes = self._head_bytes if self._status else self._received_bytes
        if head_bytes > self._max_head_bytes:
            raise TransportError("too_large", "the head of the reply exceeds the limit", maybe_sent=True)
        if self._reply is None:
            if self._status == _UNKNOWN_STATUS:
                raise TransportError("protocol", "the reply has an unknown status or version", maybe_sent=True)
            # Chunk framing and trailers could be endless like the body, so what was received counts as well.
            limit = self._max_head_bytes + self._max_body_bytes
            if self._body_bytes > self._max_body_bytes or self._received_bytes > limit:
                return self._complete()
        return self._reply

    def finish(self) -> Reply:
        """The reply, if the server's closing is what ends it (HTTP/1.0: no length, no chunks)."""
        if not self._status or any(name in {"content-length", "transfer-encoding"} for name, _ in self._headers):
            raise TransportError("closed", "the connection was closed before the reply was complete", maybe_sent=True)
        return self._complete()

    def _complete(self) -> Reply:
        body = b"".join(self._body)[: self._max_body_bytes]
        self._reply = Reply(status=self._status, headers=tuple(self._headers), body=body)
        return self._reply

    def on_message_begin(self) -> None:
        self.reusable = False  # where a reply is there already, this is one that nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # later ones are trailers, which must not pass for headers
            self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
            self._head_bytes += len(name) + len(value) + 4  # a colon, a space, CR and LF

    def on_headers_complete(self) -> None:
        status = self._llhttp.get_status_code()
        known = 100 <= status <= 599 and self._llhttp.get_http_version() in {"1.0", "1.1"}
        self._status = status if known else _UNKNOWN_STATUS

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        if self._reply is not None or self._status == _UNKNOWN_STATUS:
            return
        if self._status <= 199:  # informational: the reply proper is still to come
            self._status = 0
            self._headers.clear()
        else:
            self.reusable = self._llhttp.should_keep_alive()
            self._complete()


# --- Connections ----------------------------------------------------------------------------------------------------


# Both ask the operating system without a descriptor of their own. poll() has no limit on the number of a descriptor;
# Windows has select() only, without such a limit.
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class _Connection:
    """A stream, the parser of its replies, and its times."""

    def __init__(self, stream: ByteStream, parser: _ReplyParser) -> None:
        self.stream = stream
        self.parser = parser
        self.used_at = 0.0
        self.deadline = 0.0
        self.expired = False
        self._selector = _Selector()
        self._selector.register(stream.extra(SocketAttribute.raw_socket), selectors.EVENT_READ)  # noqa: S610 - not Django

    async def exchange(self, data: bytes) -> Reply:
        self.parser.begin()
        await self.stream.send(data)
        while True:
            try:
                chunk = await self.stream.receive(_CHUNK_BYTES)
            except EndOfStream:
                return self.parser.finish()
            reply = self.parser.feed(chunk)
            if reply is not None:
                return reply

    def is_stale(self) -> bool:
        """Whether the server closed the idle connection, or said something on it unasked: both make it readable.

        A server that closes it a moment later is not found out: see ``send`` for what happens then.
        """
        return bool(self._selector.select(0))


class _Pool:
    """What is kept for one origin: its serializer, and its idle connections, the last used at the end."""

    def __init__(self, origin: Origin) -> None:
        self.serializer = _Serializer(origin)
        self.idle: list[_Connection] = []


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _default_ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _start(job: Callable[[], Coroutine[None, None, None]]) -> object:
    """Run ``job`` beside the caller. Keep what is returned: asyncio does not.

    anyio offers task groups only, which bind ``job`` to a block of code in one task. A transport may be opened in
    one task and closed in another.
    """
    # trio first: in its guest mode, an asyncio loop is running as well.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return trio.lowlevel.spawn_system_task(job)
    import asyncio  # not at the top: importing caseassist should cost little, and trio's users do without

    return asyncio.get_running_loop().create_task(job())


class HTTPTransport:
    """HTTP/1.1 over TCP and TLS, with connections kept open between requests. A :class:`Transport`.

    Opens a connection when a request needs one, so making a transport costs nothing. Close it with ``async with``
    or :meth:`aclose`. It belongs to the event loop that first uses it. Calls are not limited in number: each one
    in flight has a connection of its own. It follows no redirects and looks up no proxies.

    :param ssl_context: for ``https``; must verify certificates and host names, and refuse TLS below 1.2.
        Default: :func:`ssl.create_default_context`.
    :param max_idle: idle connections kept per origin, default 64.
    :param idle_s: seconds after which an idle connection is not used again, default 30.
    :param max_body_bytes: of a reply, default 65536. A longer body is cut there and the connection closed; the
        reply is returned all the same, because its status matters more than its body.
    :param max_head_bytes: of a reply with the informational ones before it, default 32768. More is an error.
    :param allow_insecure_http: also send ``http`` to hosts other than this one, readable by everyone in between.
    :raises ValueError: ``ssl_context`` is too lax.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_idle: int = 64,
        # Servers close idle connections after 5 s (Apache, Node), 60 s (AWS load balancers), 75 s (nginx); clients
        # give up after 5 s (httpx), 15 s (aiohttp), 90 s (Go). The shorter, the fewer races with a closing server;
        # the longer, the fewer TLS handshakes of a bot that logs a step every few seconds.
        idle_s: float = 30.0,
        max_body_bytes: int = 65536,
        # Others allow 16 KiB (h11), 100 KiB (httpx), 8 KiB per line (aiohttp), 10 MiB (Go).
        max_head_bytes: int = 32768,
        allow_insecure_http: bool = False,
    ) -> None:
        if ssl_context is not None:
            verifies = ssl_context.verify_mode == ssl.CERT_REQUIRED and ssl_context.check_hostname
            if not verifies or ssl_context.minimum_version < ssl.TLSVersion.TLSv1_2:
                raise ValueError("ssl_context must verify certificates and host names, and refuse TLS below 1.2")
        self._ssl_context = ssl_context
        self._max_idle = max_idle
        self._idle_s = idle_s
        self._max_body_bytes = max_body_bytes
        self._max_head_bytes = max_head_bytes
        self._allow_insecure_http = allow_insecure_http
        self._pools: dict[Origin, _Pool] = {}
        self._busy: set[_Connection] = set()
        self._sweeper: object = None
        self._swept: Event | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. Calls in flight fail with reason ``closed``, later ones too. May be repeated."""
        self._closed = True
        with CancelScope(shield=True):  # it takes a tick at most, and a cancelled caller wants the sockets closed, too
            for pool in self._pools.values():
                while pool.idle:
                    await aclose_forcefully(pool.idle.pop().stream)
            for connection in tuple(self._busy):
                await aclose_forcefully(connection.stream)
            if self._swept is not None:
                await self._swept.wait()

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        """Exchange one request for one reply: see :meth:`Transport.send`. Ends within 50 ms of ``timeout_s``."""
        now = current_time()
        pool = self._pool_for(request.origin)
        data = pool.serializer.serialize(request)
        while pool.idle:
            connection = pool.idle.pop()
            if connection.used_at + self._idle_s > now and not connection.is_stale():
                break
            await aclose_forcefully(connection.stream)
        else:
            connection = await self._connect(request.origin, now + timeout_s)
        connection.used_at = now
        connection.deadline = now + timeout_s
        self._busy.add(connection)
        if self._sweeper is None:
            self._swept = Event()
            self._sweeper = _start(self._sweep)
        try:
            return await connection.exchange(data)
        except (BrokenResourceError, ClosedResourceError, OSError) as exc:
            # A kept-alive connection that the server closed just now ends here, too. Unlike browsers, we do not send
            # the request again: the server may have acted on it before the connection broke, and only the caller
            # knows how it recognises a duplicate.
            if connection.expired:
                raise TransportError("timeout", "no complete reply by the deadline", maybe_sent=True) from exc
            raise TransportError("closed", "the connection broke before the reply", maybe_sent=True) from exc
        finally:
            self._busy.discard(connection)
            fit = connection.parser.reusable and not connection.expired and not self._closed
            if fit and len(pool.idle) < self._max_idle:
                pool.idle.append(connection)
            else:
                await aclose_forcefully(connection.stream)

    def _pool_for(self, origin: Origin) -> _Pool:
        if self._closed:
            raise TransportError("closed", "the transport is closed", maybe_sent=False)
        pool = self._pools.get(origin)
        if pool is None:
            pool = _Pool(origin)
            if origin.scheme == "http" and not self._allow_insecure_http and not _is_loopback(origin.host):
                raise TransportError("refused_plaintext", "http is for this host only; use https", maybe_sent=False)
            self._pools[origin] = pool
        return pool

    async def _connect(self, origin: Origin, deadline: float) -> _Connection:
        # Connecting is rare, so it can afford a cancel scope of its own; an exchange is left to the sweeper.
        with CancelScope(deadline=deadline):
            try:
                stream = await self._open_stream(origin)
            except (ssl.SSLError, BrokenResourceError, EndOfStream) as exc:
                detail = getattr(exc, "verify_message", None) or "the handshake failed"
                raise TransportError("tls", detail, maybe_sent=False) from exc
            except (gaierror, UnicodeError) as exc:
                raise TransportError("connect", "the host name was not found", maybe_sent=False) from exc
            except OSError as exc:
                raise TransportError("connect", "the host did not accept a connection", maybe_sent=False) from exc
            if self._closed:
                await aclose_forcefully(stream)
                raise TransportError("closed", "the transport is closed", maybe_sent=False)
            return _Connection(stream, _ReplyParser(self._max_head_bytes, self._max_body_bytes))
        raise TransportError("timeout", "no connection by the deadline", maybe_sent=False)

    async def _open_stream(self, origin: Origin) -> ByteStream:
        if origin.scheme == "http":
            return await connect_tcp(origin.host, origin.port)
        if self._ssl_context is None:
            # Reading the system's certificates takes 20 ms and more: not on the event loop.
            self._ssl_context = await to_thread.run_sync(_default_ssl_context, abandon_on_cancel=True)
        return await connect_tcp(
            origin.host,
            origin.port,
            ssl_context=self._ssl_context,
            tls_hostname=origin.host,
            tls_standard_compatible=False,  # as HTTP has it: the length says where a reply ends, not a TLS alert
        )

    async def _sweep(self) -> None:
        """Close what is overdue: one task for all exchanges, and only while there are any.

        A cancel scope around each exchange takes a fifth (asyncio) to a third (trio) of the throughput.
        """
        try:
            while self._busy:
                await sleep(_TICK_S)
                now = current_time()
                overdue = [connection for connection in self._busy if connection.deadline <= now]
                for connection in overdue:
                    connection.expired = True
                for pool in self._pools.values():
                    while pool.idle and pool.idle[0].used_at + self._idle_s <= now:
                        overdue.append(pool.idle.pop(0))
                for connection in overdue:
                    await aclose_forcefully(connection.stream)  # whoever waits on it gets ClosedResourceError
        finally:
            self._sweeper = None
            assert self._swept is not None
            self._swept.set()
