"""One HTTP/1.1 exchange at a time: a request in, a reply or a typed failure out, by a deadline.

The pure half is :mod:`caseassist.wire.http1`: a request into bytes, bytes into a reply. This half opens, keeps and
closes connections and moves the bytes.
docs/explanation/transport.md has the reasons and the measurements.
"""

import ssl
from socket import gaierror
from types import TracebackType
from typing import Protocol, Self

from anyio import BrokenResourceError, CancelScope, ClosedResourceError, current_time, to_thread
from anyio.lowlevel import checkpoint

from caseassist.background import Ticker, on_trio
from caseassist.connections.base import Connection, HandshakeError
from caseassist.wire.http import Origin, Reply, Request, TransportError
from caseassist.wire.http1 import ReplyParser, RequestSerializer

__all__ = ["HTTPTransport", "Transport", "TransportError"]


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


class _Pool:
    """What is kept for one origin: its serializer, and its idle connections, the last used at the end."""

    def __init__(self, origin: Origin) -> None:
        self.serializer = RequestSerializer(origin)
        self.idle: list[Connection] = []


def _default_ssl_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


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
        self._busy: set[Connection] = set()
        self._sweeper = Ticker(self._sweep)
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
        for pool in self._pools.values():
            while pool.idle:
                pool.idle.pop().close()
        for connection in self._busy:
            connection.close()
        with CancelScope(shield=True):  # it takes a tick at most, and a cancelled caller wants the sockets closed, too
            await checkpoint()  # asyncio closes a socket when it comes round
            await self._sweeper.wait_stopped()

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        """Exchange one request for one reply: see :meth:`Transport.send`. Ends within 50 ms of ``timeout_s``."""
        now = current_time()
        pool = self._pool_for(request.origin)
        data = pool.serializer.serialize(request)
        while pool.idle:
            connection = pool.idle.pop()
            if connection.used_at + self._idle_s > now and not connection.is_stale():
                break
            connection.close()
        else:
            connection = await self._connect(request.origin, now + timeout_s)
        connection.used_at = now
        connection.deadline = now + timeout_s
        self._busy.add(connection)
        self._sweeper.wake()
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
                connection.close()

    def _pool_for(self, origin: Origin) -> _Pool:
        if self._closed:
            raise TransportError("closed", "the transport is closed", maybe_sent=False)
        pool = self._pools.get(origin)
        if pool is None:
            pool = _Pool(origin)
            if origin.scheme == "http" and not self._allow_insecure_http and not origin.is_loopback:
                raise TransportError("refused_plaintext", "http is for this host only; use https", maybe_sent=False)
            self._pools[origin] = pool
        return pool

    async def _connect(self, origin: Origin, deadline: float) -> Connection:
        # Connecting is rare, so it can afford a cancel scope of its own; an exchange is left to the sweeper.
        with CancelScope(deadline=deadline):
            try:
                connection = await self._open(origin, deadline)
            except HandshakeError as exc:
                raise TransportError("tls", str(exc), maybe_sent=False) from exc
            except (gaierror, UnicodeError) as exc:
                raise TransportError("connect", "the host name was not found", maybe_sent=False) from exc
            except OSError as exc:
                raise TransportError("connect", "the host did not accept a connection", maybe_sent=False) from exc
            if self._closed:
                connection.close()
                raise TransportError("closed", "the transport is closed", maybe_sent=False)
            return connection
        raise TransportError("timeout", "no connection by the deadline", maybe_sent=False)

    async def _open(self, origin: Origin, deadline: float) -> Connection:
        tls = self._ssl_context
        if origin.scheme == "http":
            tls = None
        elif tls is None:
            # Reading the system's certificates takes 20 ms and more: not on the event loop.
            tls = self._ssl_context = await to_thread.run_sync(_default_ssl_context, abandon_on_cancel=True)
        parser = ReplyParser(self._max_head_bytes, self._max_body_bytes)
        # Only the loop that runs: asyncio takes its time to import, and trio may not be there.
        if on_trio():
            from caseassist.connections.on_trio import connect

            return await connect(origin.host, origin.port, parser, tls=tls)
        from caseassist.connections import on_asyncio

        return await on_asyncio.connect(origin.host, origin.port, parser, tls=tls, timeout_s=deadline - current_time())

    async def _sweep(self) -> bool:
        """Close what is overdue: one task for all exchanges, and only while there are any."""
        now = current_time()
        overdue = [connection for connection in self._busy if connection.deadline <= now]
        for connection in overdue:
            connection.expired = True
        for pool in self._pools.values():
            while pool.idle and pool.idle[0].used_at + self._idle_s <= now:
                overdue.append(pool.idle.pop(0))
        for connection in overdue:
            connection.close()  # whoever waits on it is told
        return bool(self._busy)
