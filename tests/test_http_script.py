"""What becomes of an event for everything that a server can do: one table, played on real sockets.

``CASES`` is the table and ``playing`` sets a case up; what is called here is the sink itself, without a courier.
"""

import logging
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

import anyio
import msgspec
import pytest
import trustme
from tests.fakes import LONG_S

from caseassist import HTTPSink
from caseassist.core.errors import SinkRefused, SinkUnavailable
from caseassist.core.identity import event_id
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.testing.http import (
    Behaviour,
    Connection,
    ScriptServer,
    closes_after_head,
    closes_after_reply,
    closes_after_request,
    closes_before_reading,
    drips_body,
    drips_head,
    endless_body,
    endless_head,
    gzip_bomb,
    half_closes_after_reply,
    half_closes_before_reply,
    informational,
    never_answers,
    never_reads,
    raw,
    reply,
    resets_after_request,
    resets_before_reading,
    resets_mid_reply,
    resets_mid_request,
    wrong_length,
)
from caseassist.transport import HTTPTransport
from caseassist.wire.replies import MAX_RETRY_AFTER_S

SHORT_S = 0.3
"""A deadline that ends a wait."""

WORD = "k4n4ry"
"""Stands in the token and in the ticket, and may show nowhere."""
TOKEN = f"xx{WORD}Token0123456789"
OTHER = f"xx{WORD}Other0123456789"
SUBJECT = f"{WORD}Subject"
ECHO = msgspec.json.encode({"type": TOKEN, "message": f"{TOKEN} {SUBJECT}", "errorCode": SUBJECT})
"""What a server says that repeats what it was sent."""
DATE = "Fri, 20 Nov 2026 12:00:00 GMT"

CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def _records() -> tuple[Record, ...]:
    session = Session(id="a1")
    (first,) = session.start({"subject": SUBJECT}, context={"clientId": CLIENT_ID}, at=AT)
    session = session.apply(first)
    (second,) = session.update_field("description", SUBJECT, at=AT)
    (third,) = session.apply(second).solve(at=AT)
    return first, second, third


RECORDS = _records()
"""Three records of one session, each sent as one request."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the sink says when it is given RECORDS."""

    what: Literal["delivered", "unavailable", "refused"]
    delivered: int
    says: str = ""
    """Part of the reason."""
    status: int | None = None
    paused: bool = False
    retry_after_s: float | None = None


DELIVERED = Outcome(what="delivered", delivered=3)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A script and what comes of it. ``elsewhere`` is a second server's URL, which is never to be asked."""

    name: str
    script: Callable[[str], Sequence[Behaviour]]
    """Given ``elsewhere``, the behaviours: for the first request, the second, …; then 200."""
    outcome: Outcome
    requests: int
    """How many came whole."""
    connections: int = 1
    timeout_s: float = LONG_S
    tokens: Sequence[str | Exception | None] | None = None
    """What a token provider gives, raises, or (None) never gives; no provider, but TOKEN, unless given."""
    asked: int = 0
    """How often the provider is asked."""
    sent_with: Sequence[str] | None = None
    """The tokens of the requests; TOKEN for all unless given."""
    tls: Literal["", "good", "unknown authority", "expired", "wrong host"] = ""
    url: str = "{url}"
    """The sink's endpoint: ``{url}``, ``{port}`` are the server's, ``{unused}`` is a port where nobody listens."""

    def __str__(self) -> str:
        return self.name

    @property
    def is_passing(self) -> bool:
        """Whether it is over with the script: the next call delivers what is left."""
        return self.url == "{url}" and self.outcome.what == "unavailable" and self.tls in ("", "good")


def case(name: str, *script: Behaviour, outcome: Outcome = DELIVERED, requests: int = 3, **members: Any) -> Case:
    return Case(name=name, script=lambda _: script, outcome=outcome, requests=requests, **members)


def second(name: str, behaviour: Behaviour, *, outcome: Outcome = DELIVERED, **members: Any) -> Case:
    """The first request is taken, the second finds a kept connection and this behaviour, the third is taken."""
    requests = members.pop("requests", 3 if outcome is DELIVERED else 2)
    return case(name, reply(), behaviour, outcome=outcome, requests=requests, **members)


def unavailable(says: str, *, delivered: int = 1, paused: bool = False, after_s: float | None = None) -> Outcome:
    return Outcome(what="unavailable", delivered=delivered, says=says, paused=paused, retry_after_s=after_s)


def refused(status: int) -> Outcome:
    return Outcome(what="refused", delivered=1, says=f"HTTP {status}", status=status)


def _redirect(status: int) -> Case:
    return Case(
        name=f"{status} with a Location",
        script=lambda elsewhere: (reply(), reply(status, ECHO, {"Location": f"{elsewhere}/?t={WORD}"})),
        outcome=unavailable(f"HTTP {status}", paused=True),
        requests=2,
    )


def _retry_after(name: str, value: str | None, seconds: float | None, *, status: int = 503, date: str = DATE) -> Case:
    headers = {"Date": date} | ({} if value is None else {"Retry-After": value})
    return second(
        f"{status}, Retry-After {name}",
        reply(status, ECHO, headers),
        outcome=unavailable(f"HTTP {status}", after_s=seconds),
    )


def _http_date(seconds: float) -> str:
    return (AT + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")


async def _is_no_tls(connection: Connection) -> None:
    await connection.read(5)
    await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await connection.wait_closed()


BROKEN = unavailable("closed")
LATE = unavailable("timeout", delivered=0)
NO_HTTP = unavailable("protocol")
NO_TLS = unavailable("tls", delivered=0)
OK_HEAD = b"HTTP/1.1 200 OK\r\n"

# fmt: off
CASES: list[Case] = [
    # What is accepted, whatever the body says
    *(second(f"{status}", reply(status, ECHO)) for status in (200, 201, 202, 203, 206, 226, 299)),
    second("204", reply(204, b"")),
    second("200 without a body", reply(200, b"")),
    # What was moved is never looked for elsewhere
    *(_redirect(status) for status in (300, 301, 302, 303, 305, 307, 308)),
    second("304", reply(304, b""), outcome=unavailable("HTTP 304", paused=True)),
    second("302 without a Location", reply(302, ECHO), outcome=unavailable("HTTP 302", paused=True)),
    # One event is refused
    *(
        second(f"{status}", reply(status, ECHO, {"Retry-After": "9"}), outcome=refused(status))
        for status in (400, 402, 404, 405, 406, 409, 410, 411, 413, 414, 415, 418, 421, 422, 423, 424, 426, 428, 431,
                       451, 499)
    ),
    # Nothing is taken before somebody changes something
    *(
        second(f"{status}", reply(status, ECHO, {"Retry-After": "9"}),
               outcome=unavailable(f"HTTP {status}", paused=True))
        for status in (401, 403, 407)
    ),
    # Later
    *(
        second(f"{status}", reply(status, ECHO), outcome=unavailable(f"HTTP {status}"))
        for status in (408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 511, 520, 599)
    ),
    *(second(f"{status}", raw(b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n" % status), outcome=NO_HTTP)
      for status in (0, 99, 101, 600, 999)),
    _retry_after("0", "0", 0.0),
    _retry_after("5", "5", 5.0),
    _retry_after("120", "120", 120.0, status=429),
    _retry_after("of two hours", "7200", MAX_RETRY_AFTER_S),
    _retry_after("with huge digits", "9" * 400, MAX_RETRY_AFTER_S),
    _retry_after("in the future", _http_date(90), 90.0),
    _retry_after("in the future, on a wrong clock", "Mon, 01 Jan 2001 00:00:45 GMT", 45.0,
                 date="Mon, 01 Jan 2001 00:00:00 GMT"),
    _retry_after("in the past", _http_date(-90), 0.0),
    _retry_after("far in the future", "Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
    _retry_after("without a date to hold it against", _http_date(90), None, date="yesterday"),
    _retry_after("negative", "-5", None),
    _retry_after("of abc", "abc", None),
    _retry_after("of 1e99", "1e99", None),
    _retry_after("of 1.5", "1.5", None),
    _retry_after("empty", "", None),
    _retry_after("that echoes", TOKEN, None),
    _retry_after("missing", None, None, status=429),
    second("503, two Retry-After", reply(503, ECHO, [("Retry-After", "3"), ("Retry-After", "9")]),
           outcome=unavailable("HTTP 503", after_s=3.0)),
    # Tokens
    case("401, another token, 200", reply(), reply(401, ECHO), tokens=(TOKEN, OTHER), asked=2, requests=4,
         sent_with=(TOKEN, TOKEN, OTHER, OTHER)),
    case("403, another token, 200", reply(403, ECHO), tokens=(TOKEN, OTHER), asked=2, requests=4,
         sent_with=(TOKEN, OTHER, OTHER, OTHER)),
    case("401, another token, 401", reply(), reply(401, ECHO), reply(401, ECHO), tokens=(TOKEN, OTHER), asked=2,
         requests=3, sent_with=(TOKEN, TOKEN, OTHER), outcome=unavailable("HTTP 401", paused=True)),
    case("401, another token, 400", reply(), reply(401, ECHO), reply(400, ECHO), tokens=(TOKEN, OTHER), asked=2,
         requests=3, sent_with=(TOKEN, TOKEN, OTHER), outcome=refused(400)),
    case("401, another token, 503", reply(), reply(401, ECHO), reply(503, ECHO, {"Retry-After": "2"}),
         tokens=(TOKEN, OTHER), asked=2, requests=3, sent_with=(TOKEN, TOKEN, OTHER),
         outcome=unavailable("HTTP 503", after_s=2.0)),
    case("401, another token, a closed connection", reply(), reply(401, ECHO), closes_after_request(),
         tokens=(TOKEN, OTHER), asked=2, requests=3, sent_with=(TOKEN, TOKEN, OTHER), outcome=BROKEN),
    case("401, the same token", reply(), reply(401, ECHO), tokens=(TOKEN, TOKEN), asked=2, requests=2,
         outcome=unavailable("no other token", paused=True)),
    case("401, the provider raises", reply(), reply(401, ECHO), tokens=(TOKEN, RuntimeError(OTHER)), asked=2,
         requests=2, outcome=unavailable("RuntimeError")),
    case("401, the provider gives what is no token", reply(), reply(401, ECHO), tokens=(TOKEN, f"{OTHER}\r\nX: 1"),
         asked=2, requests=2, outcome=unavailable("ValueError")),
    case("401, the provider hangs", reply(401, ECHO), tokens=(TOKEN, None), asked=2, requests=1, timeout_s=SHORT_S,
         outcome=unavailable("did not answer in time", delivered=0)),
    case("407, the provider is not asked", reply(), reply(407, ECHO), tokens=(TOKEN,), asked=1, requests=2,
         outcome=unavailable("HTTP 407", paused=True)),
    case("the provider raises at first", tokens=(OSError(TOKEN),), asked=1, requests=0, connections=0,
         outcome=unavailable("OSError", delivered=0)),
    case("the provider hangs at first", tokens=(None,), asked=1, requests=0, connections=0, timeout_s=SHORT_S,
         outcome=unavailable("did not answer in time", delivered=0)),
    # Closed and broken off
    second("closed before the request is read", closes_before_reading(), outcome=BROKEN, requests=1),
    second("closed after the head of the request", closes_after_head(), outcome=BROKEN, requests=1),
    second("closed after the request", closes_after_request(), outcome=BROKEN),
    case("closed before the first request is read", closes_before_reading(), requests=0,
         outcome=unavailable("closed", delivered=0)),
    second("closed after half of the reply's head", raw(b"HTTP/1.1 200", close=True), outcome=BROKEN),
    second("closed after 100", raw(b"HTTP/1.1 100 Continue\r\n\r\n", close=True), outcome=BROKEN),
    second("half closed before the reply", half_closes_before_reply(), outcome=BROKEN),
    second("half closed after the reply", half_closes_after_reply(), connections=2),
    second("half closed after a reply of 503", half_closes_after_reply(503, ECHO), outcome=unavailable("HTTP 503")),
    second("reset before the request is read", resets_before_reading(), outcome=BROKEN, requests=1),
    second("reset in the middle of the request", resets_mid_request(), outcome=BROKEN, requests=1),
    second("reset after the request", resets_after_request(), outcome=BROKEN),
    second("reset in the middle of the reply", resets_mid_reply(), outcome=BROKEN),
    second("reset in the middle of the reply's head", resets_mid_reply(b"HTTP/1.1 200 OK\r\nX"), outcome=BROKEN),
    second("kept connection that is stale", closes_after_reply(), connections=2),
    second("Connection: close", reply(200, ECHO, {"Connection": "close"}), connections=2),
    # Beyond the deadline
    case("never answered", never_answers(), outcome=LATE, requests=1, timeout_s=SHORT_S),
    case("never read", never_reads(), outcome=LATE, requests=0, timeout_s=SHORT_S),
    case("a head that drips", drips_head(), outcome=LATE, requests=1, timeout_s=SHORT_S),
    case("a body that drips", drips_body(), outcome=LATE, requests=1, timeout_s=SHORT_S),
    case("a body that stops", raw(OK_HEAD + b"Content-Length: 9\r\n\r\nhalf"), outcome=LATE, requests=1,
         timeout_s=SHORT_S),
    # Too much
    second("an endless head", endless_head(), outcome=unavailable("too_large")),
    second("an endless body", endless_body(), connections=2),
    second("an endless body without chunks", endless_body(chunked=False), connections=2),
    second("an endless body of 400", endless_body(status=400), outcome=refused(400)),
    second("an endless body of 503", endless_body(status=503), outcome=unavailable("HTTP 503")),
    second("a gzip bomb", gzip_bomb(), connections=1),
    second("a gzip bomb of 400", gzip_bomb(status=400), outcome=refused(400)),
    second("endless 1xx", raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000), outcome=unavailable("too_large")),
    # Not quite HTTP
    second("garbage", raw(f"{TOKEN} {SUBJECT}\r\n\r\n".encode()), outcome=NO_HTTP),
    second("binary garbage", raw(bytes(range(256))), outcome=NO_HTTP),
    second("HTTP/2", raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), outcome=NO_HTTP),
    second("HTTP/2 frames", raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)), outcome=NO_HTTP),
    second("HTTP/0.9", raw(b"<html>ok</html>", close=True), outcome=NO_HTTP),
    second("a bad chunk", raw(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n"), outcome=NO_HTTP),
    second("chunks without an end", raw(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", close=True),
           outcome=BROKEN),
    second("a length and chunks", raw(OK_HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"),
           outcome=NO_HTTP),
    second("two lengths", raw(OK_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), outcome=NO_HTTP),
    second("a negative length", raw(OK_HEAD + b"Content-Length: -2\r\n\r\nok"), outcome=NO_HTTP),
    second("a header without a colon", raw(OK_HEAD + b"No colon\r\n\r\n"), outcome=NO_HTTP),
    second("a length that is too long", wrong_length(9), outcome=BROKEN),
    second("a length that is too short", raw(OK_HEAD + b"Content-Length: 1\r\n\r\n{}"), connections=2),
    second("204 with a body", raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}"), connections=2),
    second("HTTP/1.0", raw(b"HTTP/1.0 200 OK\r\n\r\n{}", close=True), connections=2),
    second("HTTP/1.0 that is kept", reply(200, ECHO, {"Connection": "keep-alive"}, version="1.0")),
    second("100 before 200", informational(100)),
    second("100 and 103 before 200", informational(100, 103, 103)),
    second("100 before 503", informational(100, then=reply(503, ECHO)), outcome=unavailable("HTTP 503")),
    second("two replies", raw((OK_HEAD + b"Content-Length: 2\r\n\r\n{}") * 2), connections=2),
    second("chunks and trailers", raw(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: 1\r\n\r\n")),
    # No connection, no TLS
    case("the connection is refused", url="http://127.0.0.1:{unused}", requests=0, connections=0,
         outcome=unavailable("connect", delivered=0)),
    case("the name is not found", url="https://nowhere.invalid", requests=0, connections=0,
         outcome=unavailable("name was not found", delivered=0)),
    case("TLS", tls="good"),
    case("TLS, closed in the middle of the reply", reply(), resets_mid_reply(), tls="good", outcome=BROKEN, requests=2),
    case("TLS, another token", reply(), reply(401, ECHO), tls="good", tokens=(TOKEN, OTHER), asked=2, requests=4,
         sent_with=(TOKEN, TOKEN, OTHER, OTHER)),
    case("TLS, unknown authority", tls="unknown authority", outcome=NO_TLS, requests=0),
    case("TLS, expired", tls="expired", outcome=NO_TLS, requests=0),
    case("TLS, wrong host", tls="wrong host", outcome=NO_TLS, requests=0),
    case("TLS to a plain port", _is_no_tls, url="https://127.0.0.1:{port}", outcome=NO_TLS, requests=0),
    case("TLS, closed instead of a handshake", closes_before_reading(), url="https://127.0.0.1:{port}", outcome=NO_TLS,
         requests=0),
    case("TLS without a handshake", never_reads(), url="https://127.0.0.1:{port}", outcome=LATE, requests=0,
         timeout_s=SHORT_S),
]
# fmt: on


class Provider:
    """Gives, raises or never gives what it is told to, one after the other."""

    def __init__(self, tokens: Sequence[str | Exception | None]) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        token = self.tokens.pop(0)
        if token is None:
            await anyio.sleep_forever()
        if isinstance(token, Exception):
            raise token
        assert token is not None
        return token


@dataclass
class Play:
    """A case that is set up: the sink, and the servers that it meets or must not meet."""

    sink: HTTPSink
    server: ScriptServer
    elsewhere: ScriptServer
    provider: Provider | None = None


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


def _contexts(case: Case, authority: trustme.CA) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """The server's context and the client's."""
    if not case.tls and not case.url.startswith("https:"):
        return None, None
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    if not case.tls:
        return None, trusting
    issuer = trustme.CA() if case.tls == "unknown authority" else authority
    host = "other.example" if case.tls == "wrong host" else "127.0.0.1"
    until = datetime.now(UTC) + timedelta(days=-1 if case.tls == "expired" else 1)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer.issue_cert(host, not_before=until - timedelta(days=2), not_after=until).configure_cert(server)
    return server, trusting


@asynccontextmanager
async def playing(case: Case, authority: trustme.CA) -> AsyncIterator[Play]:
    """Set a case up; nothing is sent yet."""
    theirs, ours = _contexts(case, authority)
    async with AsyncExitStack() as stack:
        unused = stack.enter_context(socket.socket())
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        elsewhere = await stack.enter_async_context(ScriptServer())
        server = await stack.enter_async_context(ScriptServer(*case.script(elsewhere.url), tls=theirs))
        url = case.url.format(url=server.url, port=server.port, unused=unused.getsockname()[1])
        provider = None if case.tokens is None else Provider(case.tokens)
        transport = await stack.enter_async_context(HTTPTransport(ssl_context=ours))
        token = provider or TOKEN
        sink = HTTPSink(url, token=token, timeout_s=case.timeout_s, transport=transport, name="matrix")
        yield Play(sink, server, elsewhere, provider)
        await sink.aclose()


async def outcome_of(sink: HTTPSink) -> tuple[Outcome, str]:
    """What the sink says, and everything that could be read of it."""
    try:
        await sink.deliver(RECORDS)
    except SinkUnavailable as error:
        outcome = Outcome(
            what="unavailable",
            delivered=error.delivered,
            says=error.reason,
            paused=error.paused,
            retry_after_s=error.retry_after_s,
        )
        return outcome, f"{error!r} {''.join(traceback.format_exception(error))}"
    except SinkRefused as error:
        outcome = Outcome(what="refused", delivered=error.delivered, says=error.reason, status=error.status)
        return outcome, f"{error!r} {''.join(traceback.format_exception(error))}"
    return DELIVERED, ""


def test_the_table_is_long_enough_and_no_case_is_there_twice() -> None:
    assert len(CASES) >= 70
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.outcome.what != "delivered" or case.outcome is DELIVERED for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_sink_says_what_becomes_of_the_events(
    case: Case, authority: trustme.CA, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_getaddrinfo = anyio.getaddrinfo

    async def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "nowhere.invalid":  # without asking a real name server, which may take its time
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await real_getaddrinfo(host, *arguments, **options)

    monkeypatch.setattr("anyio._core._sockets.getaddrinfo", getaddrinfo)
    caplog.set_level(logging.DEBUG)
    with anyio.fail_after(LONG_S):
        async with playing(case, authority) as play:
            outcome, shown = await outcome_of(play.sink)
            shown += f"{play.sink!r} {vars(play.sink)} {play.server.requests!r}"

    assert case.outcome.says in outcome.says
    expected = {**vars(case.outcome), "says": outcome.says}
    assert vars(outcome) == expected
    assert len(play.server.requests) == case.requests
    assert play.server.connections == case.connections
    assert play.server.script == []
    assert play.elsewhere.connections == 0
    if play.provider is not None:
        assert play.provider.asked == case.asked

    bearers = [f"Bearer {token}" for token in case.sent_with or [TOKEN] * case.requests]
    assert [request.header("authorization") for request in play.server.requests] == bearers
    for request in play.server.requests:
        assert (request.method, request.path) == ("POST", "/rest/ua/v15/analytics/collect")
        assert request.header("accept-encoding") == "identity"
        assert WORD in request.body.decode()
    assert WORD.lower() not in (shown + caplog.text).lower()


@pytest.mark.parametrize("case", [case for case in CASES if case.is_passing and case.tokens is None], ids=str)
async def test_an_event_that_is_sent_again_is_recognised(case: Case, authority: trustme.CA) -> None:
    with anyio.fail_after(LONG_S):
        async with playing(case, authority) as play:
            outcome, _ = await outcome_of(play.sink)
            play.sink.timeout_s = LONG_S
            await play.sink.deliver(RECORDS[outcome.delivered :])
    ids = [msgspec.json.decode(request.body)["z"] for request in play.server.requests]
    assert [one for one, _ in groupby(ids)] == [event_id("a1", seq) for seq in range(3)]
