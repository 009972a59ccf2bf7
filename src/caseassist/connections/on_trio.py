"""Connections on trio: its sockets are driven directly.

After a request, the reply is not there yet. So this waits until the socket is readable and then reads it, where a
stream would first try to read, in vain; and a request that fits into the socket's buffer is written without giving up
control.
"""

import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, aclose_forcefully, connect_tcp
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from caseassist.connections.base import Connection, HandshakeError
from caseassist.wire.http import Reply
from caseassist.wire.http1 import ReplyParser

__all__ = ["connect"]

_CHUNK_BYTES = 65536


async def connect(host: str, port: int, parser: ReplyParser, *, tls: ssl.SSLContext | None) -> Connection:
    """Open a connection. ``tls``: the context of a handshake, if there is to be one.

    Raises OSError, gaierror and UnicodeError among them, and HandshakeError.
    """
    opened = await connect_tcp(host, port)
    raw_socket = opened.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django
    try:
        stream: ByteStream = _Socket(raw_socket)
        if tls is not None:
            stream = await _shake_hands(stream, tls, host)
        return _TrioConnection(stream, raw_socket, parser, opened)
    except BaseException:
        await aclose_forcefully(opened)
        raise


async def _shake_hands(stream: ByteStream, tls: ssl.SSLContext, host: str) -> ByteStream:
    try:
        # Not compatible with the standard, as HTTP has it: the length says where a reply ends, not a TLS alert.
        return await TLSStream.wrap(stream, hostname=host, ssl_context=tls, standard_compatible=False)
    except (ssl.SSLError, BrokenResourceError, EndOfStream, OSError) as exc:
        raise HandshakeError(getattr(exc, "verify_message", None) or "the handshake failed") from exc


class _Socket(ByteStream):
    """The stream of a socket without blocking, as far as an exchange or TLS needs it. Somebody else closes it."""

    def __init__(self, raw_socket: socket.socket) -> None:
        self._socket = raw_socket
        trio: Any = sys.modules["trio"]  # it runs, so it is there; anyio's detour costs a microsecond a wait
        self._wait_readable: Callable[[socket.socket], Awaitable[None]] = trio.lowlevel.wait_readable
        self._wait_writable: Callable[[socket.socket], Awaitable[None]] = trio.lowlevel.wait_writable
        self._checkpoint_if_cancelled: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint_if_cancelled
        self._closed: type[Exception] = trio.ClosedResourceError

    async def send(self, item: bytes) -> None:
        await self._checkpoint_if_cancelled()
        rest = memoryview(item)
        try:
            while True:
                rest = rest[self._write(rest) :]
                if not rest:
                    return
                await self._wait_writable(self._socket)
        except self._closed:
            raise ClosedResourceError from None

    async def receive(self, max_bytes: int = _CHUNK_BYTES) -> bytes:
        try:
            while True:
                await self._wait_readable(self._socket)
                try:
                    data = self._socket.recv(max_bytes)
                except BlockingIOError:
                    continue
                if data:
                    return data
                raise EndOfStream
        except self._closed:
            raise ClosedResourceError from None

    def _write(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        return


class _TrioConnection(Connection):
    def __init__(self, stream: ByteStream, raw_socket: socket.socket, parser: ReplyParser, opened: object) -> None:
        super().__init__(raw_socket, parser)
        self._send, self._receive = stream.send, stream.receive
        self._socket = raw_socket
        self._opened = opened  # it closes the socket when it is forgotten

    async def exchange(self, data: bytes) -> Reply:
        parser, receive = self.parser, self._receive
        parser.begin()
        await self._send(data)
        while True:
            try:
                chunk = await receive(_CHUNK_BYTES)
            except EndOfStream:
                return parser.finish()
            reply = parser.feed(chunk)
            if reply is not None:
                return reply

    def close(self) -> None:
        self.parser.reusable = False
        if self._socket.fileno() >= 0:
            sys.modules["trio"].lowlevel.notify_closing(self._socket)
            self._socket.close()
