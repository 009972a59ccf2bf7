"""An HTTP exchange as plain data: what the wire layer makes and what a transport carries.

Nothing here performs I/O. A :class:`Request` holds everything that goes on the wire apart from the
framing headers (``Host``, ``Content-Length``, ``Connection``), which belong to the transport.
"""

from ipaddress import ip_address
from typing import Literal, TypeAlias

import msgspec

from caseassist.core.errors import DeliveryError

__all__ = ["Origin", "Reason", "Reply", "Request", "TransportError"]

Reason: TypeAlias = Literal["connect", "tls", "timeout", "closed", "protocol", "too_large", "refused_plaintext"]


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a request goes: the scheme, host and port, and nothing else of a URL."""

    scheme: Literal["http", "https"]
    host: str
    """Lower-case ASCII host name, or an IP address; an IPv6 address without brackets."""
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this host."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

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
