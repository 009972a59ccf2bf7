"""Connections on asyncio: a protocol of our own.

The loop hands what it receives to the protocol, which hands it to the parser, and the task that waits is woken once: by
the whole reply. A stream wakes it for every piece, and takes the socket out of the loop's selector and puts it back
around each: together more than three times the work of an exchange.
"""

import asyncio
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, SOCK_STREAM

from anyio import Event, create_task_group, getaddrinfo, move_on_after
from anyio.lowlevel import checkpoint_if_cancelled

from caseassist.connections.base import Connection, HandshakeError
from caseassist.wire.http import Reply, TransportError
from caseassist.wire.http1 import ReplyParser

__all__ = ["connect"]

_HEAD_START_S = 0.25
"""How long an address has before the next one is tried as well (RFC 8305, section 5)."""


_BUFFER_BYTES = 16384
"""A reply is far smaller. Where asyncio has no buffer to read into, it allocates 256 KiB for every piece, as a rule
from the operating system: that takes as long as all the rest of an exchange."""


async def connect(
    host: str, port: int, parser: ReplyParser, *, tls: ssl.SSLContext | None, timeout_s: float
) -> Connection:
    """Open a connection. ``tls``: the context of a handshake, if there is to be one.

    ``timeout_s``: for the handshake; the caller limits the whole. Raises OSError, gaierror and UnicodeError among them,
    and HandshakeError.
    """
    transport = await _race(await _addresses(host, port), port)
    try:
        if tls is not None:
            transport = await _shake_hands(transport, tls, host, timeout_s)
        return _AsyncioConnection(transport, parser)
    except BaseException:
        transport.abort()
        raise


async def _addresses(host: str, port: int) -> Sequence[str]:
    try:
        return [str(ip_address(host))]
    except ValueError:
        found = await getaddrinfo(host, port, type=SOCK_STREAM)
    # The first of IPv6 and the first of IPv4 go ahead of the others: one of the two kinds may not work here.
    firsts = {family: address[0] for family, *_, address in reversed(found) if family in (AF_INET6, AF_INET)}
    ahead = [firsts[family] for family in (AF_INET6, AF_INET) if family in firsts]
    return [*ahead, *(str(address[0]) for *_, address in found if address[0] not in ahead)]


async def _open(address: str, port: int) -> asyncio.Transport:
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, address, port)
    return transport


async def _race(addresses: Sequence[str], port: int) -> asyncio.Transport:
    """Connect to the address that answers first, each with a head start on the next (Happy Eyeballs)."""
    if len(addresses) == 1:
        return await _open(addresses[0], port)
    won: list[asyncio.Transport] = []
    failures: list[OSError] = []

    async def run(address: str, over: Event) -> None:
        try:
            transport = await _open(address, port)
        except OSError as failure:
            failures.append(failure)
        else:
            if won:
                transport.abort()
            else:
                won.append(transport)
                tasks.cancel_scope.cancel()
        finally:
            over.set()

    try:
        async with create_task_group() as tasks:
            for address in addresses:
                over = Event()
                tasks.start_soon(run, address, over)
                with move_on_after(_HEAD_START_S):
                    await over.wait()
    except BaseException:
        for transport in won:
            transport.abort()
        raise
    if not won:
        raise OSError("no address of the host accepted a connection") from (failures[0] if failures else None)
    return won[0]


async def _shake_hands(
    transport: asyncio.Transport, tls: ssl.SSLContext, host: str, timeout_s: float
) -> asyncio.Transport:
    try:
        wrapped = await asyncio.get_running_loop().start_tls(
            transport,
            asyncio.Protocol(),
            tls,
            server_hostname=host,
            ssl_handshake_timeout=max(timeout_s, 0.0) + 1.0,  # never the first to end it
        )
    except OSError as exc:  # ssl.SSLError is one
        raise HandshakeError(getattr(exc, "verify_message", None) or "the handshake failed") from exc
    assert wrapped is not None
    return wrapped


class _AsyncioConnection(Connection, asyncio.BufferedProtocol):
    def __init__(self, transport: asyncio.Transport, parser: ReplyParser) -> None:
        super().__init__(transport.get_extra_info("socket"), parser)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[Reply] | None = None
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        transport.set_protocol(self)

    async def exchange(self, data: bytes) -> Reply:
        await checkpoint_if_cancelled()
        self.parser.begin()
        if self._transport.is_closing():  # it would take what is written, and say nothing
            raise ConnectionAbortedError
        waiter = self._waiter = self._loop.create_future()
        self._transport.write(data)
        try:
            reply: Reply = await waiter
            return reply
        finally:
            self._waiter = None

    def close(self) -> None:
        self._transport.abort()
        self._break(None)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.close()  # nobody asked for it
            return
        try:
            reply = self.parser.feed(self._buffer[:nbytes])
        except TransportError as exc:
            waiter.set_exception(exc)
        else:
            if reply is not None:
                waiter.set_result(reply)

    def eof_received(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.parser.reusable = False
            return
        try:
            waiter.set_result(self.parser.finish())
        except TransportError as exc:
            waiter.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(exc)

    def _break(self, cause: Exception | None) -> None:
        self.parser.reusable = False
        if self._waiter is not None and not self._waiter.done():
            broken = ConnectionAbortedError()
            broken.__cause__ = cause
            self._waiter.set_exception(broken)
