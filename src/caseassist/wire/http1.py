"""HTTP/1.1 as bytes: requests written, replies read. No I/O."""

import re

import httptools

from caseassist.wire.http import Origin, Reply, Request, TransportError

__all__ = ["ReplyParser", "RequestSerializer"]

# RFC 9110, section 5: field names are tokens; field values have no control character but the tab.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch
_PATH = re.compile(r"/[\x21-\x7e]*").fullmatch
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?|[0-9a-f:.]*:[0-9a-f:.]*").fullmatch

_FRAMING = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"}
)
"""Headers that belong to the transport. Two opinions about where a message ends are an attack (request smuggling)."""


_HEADS = 64
"""So many heads are kept: a client sends to a few paths, for people with a few different user agents at a time."""


class RequestSerializer:
    """The requests to one origin, as bytes. No I/O."""

    def __init__(self, origin: Origin) -> None:
        if not _HOST(origin.host) or not 0 < origin.port < 65536:
            raise ValueError("the origin is not a host name or IP address with a port")
        self._host = str(origin).partition("://")[2]
        self._heads: dict[tuple[object, ...], bytes] = {}

    def serialize(self, request: Request) -> bytes:
        """Head and body in one piece: one system call, and never a head that waits for its body."""
        parts = (request.method, request.path, request.headers)
        head = self._heads.get(parts)  # as a rule, only the body is new
        if head is None:
            head = self._checked_head(request)
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[parts] = head
        body = request.body
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)

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


_UNKNOWN_STATUS = -1


class ReplyParser:
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

    def feed(self, data: bytes | memoryview) -> Reply | None:
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
