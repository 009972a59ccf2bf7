"""An HTTP exchange as plain data: what the wire layer makes and what a transport carries.

Nothing here performs I/O. A :class:`Request` holds everything that goes on the wire apart from the
framing headers (``Host``, ``Content-Length``, ``Connection``), which belong to the transport.
"""

from typing import Literal

import msgspec

__all__ = ["Origin", "Reply", "Request"]


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a request goes: the scheme, host and port, and nothing else of a URL."""

    scheme: Literal["http", "https"]
    host: str
    """Lower-case ASCII host name, or an IP address; an IPv6 address without brackets."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}" + ("" if self.port == default else f":{self.port}")


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request."""

    method: str = "POST"
    origin: Origin
    path: str
    """Absolute path with its query, percent-encoded."""
    headers: tuple[tuple[str, str], ...] = ()
    """In order; names as written on the wire. The transport refuses CR, LF and NUL in them."""
    body: bytes = b""

    def __repr__(self) -> str:
        # Headers hold the token and the body holds the ticket: neither belongs in a log or a traceback.
        return f"<Request {self.method} {self.origin}{self.path} {len(self.body)} body bytes>"


class Reply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP reply, its body read whole (up to the transport's cap)."""

    status: int
    """100 to 599, as the server sent it."""
    headers: tuple[tuple[str, str], ...] = ()
    """In order; names in lower case."""
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)
