"""What a connection is: bytes of a request in, a reply out, one after the other."""

import selectors
from typing import Protocol

from caseassist.wire.http import Reply
from caseassist.wire.http1 import ReplyParser

__all__ = ["Connection", "HandshakeError", "Pollable"]


class HandshakeError(Exception):
    """There is a connection, but no TLS. The text says why, for people."""


class Pollable(Protocol):
    """A socket, or what an event loop shows of it."""

    def fileno(self) -> int: ...


# Both ask the operating system without a descriptor of their own. poll() has no limit on the number of a descriptor;
# Windows has select() only, without such a limit.
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Connection:
    """An open connection, the parser of its replies, and its times."""

    def __init__(self, raw_socket: Pollable, parser: ReplyParser) -> None:
        self.parser = parser
        self.used_at = 0.0
        self.deadline = 0.0
        self.expired = False
        self._selector = _Selector()
        self._selector.register(raw_socket.fileno(), selectors.EVENT_READ)

    async def exchange(self, data: bytes) -> Reply:
        """Write a request and read the reply. A call that is cancelled before it begins writes nothing.

        Raises TransportError for what is no reply, OSError or anyio's BrokenResourceError and ClosedResourceError when
        the connection breaks or is closed meanwhile.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close it at once, without a word to the server; whoever waits on it is told. May be repeated."""
        raise NotImplementedError

    def is_stale(self) -> bool:
        """Whether the server closed the idle connection, or said something on it unasked: both make it readable.

        A server that closes it a moment later is not found out: see ``HTTPTransport.send`` for what happens then.
        """
        return not self.parser.reusable or bool(self._selector.select(0))
