"""HTTPSink against a real server on a real socket: what becomes of an event for every sort of answer."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import msgspec
import pytest
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.core.life_cycle import records_of
from tests.fakes import LONG_S, Pauses
from tests.fakes import records_of as updates_of

from caseassist import CaseAssist, HTTPSink
from caseassist.core.errors import SinkRefused, SinkUnavailable
from caseassist.core.records import KeptRecord, Record, decode, encode
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Origin, Reply, Request, TransportError
from caseassist.wire.requests import WireFormat

TOKEN = "xx-canary-token"


class Server:
    """Answers with what ``answer`` gives for the number of the request; None closes the connection."""

    def __init__(self, answer: Callable[[int], bytes | None]) -> None:
        self.answer = answer
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections = self.at_once = self.most_at_once = 0

    async def serve(self, stream: SocketStream) -> None:
        self.connections += 1
        lines = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while True:
                    head = await lines.receive_until(b"\r\n\r\n", 8192)
                    self.at_once += 1
                    self.most_at_once = max(self.most_at_once, self.at_once)
                    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                    self.requests.append((head, await lines.receive_exactly(length)))
                    answer = self.answer(len(self.requests))
                    for _ in range(10):
                        await anyio.lowlevel.checkpoint()
                    self.at_once -= 1
                    if answer is None:
                        return
                    await stream.send(answer)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        with anyio.fail_after(LONG_S):
            yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


def reply(status: int, body: bytes = b"{}", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


RECORDS = records_of("start", "offer_documents", "update_field", "solve")
SENT = len(RECORDS) - 1  # the offer is never sent


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_what_is_accepted_is_delivered_and_offers_are_not_sent(status: int) -> None:
    server = Server(lambda _: reply(status, b"" if status == 204 else b"not even JSON"))
    async with running(server) as url:
        sink = HTTPSink(url, token=TOKEN)
        await sink.deliver(RECORDS)
        await sink.aclose()
    assert [msgspec.json.decode(body)["svc_action"] for _, body in server.requests] == [
        "ticket_create_start",
        "ticket_field_update",
        "ticket_cancel",
    ]
    assert server.connections == 1
    for head, body in server.requests:
        assert head.startswith(b"POST /rest/ua/v15/analytics/collect HTTP/1.1\r\n")
        assert b"\r\nAuthorization: Bearer xx-canary-token\r\n" in head
        assert b"canary" not in body


@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 410, 413, 414, 415, 418, 422, 431, 451])
async def test_one_event_is_refused_and_those_before_it_are_delivered(status: int) -> None:
    body = b'{"type": "BadEvent", "message": "canary"}'
    server = Server(lambda number: reply(status, body) if number == 2 else reply(200))
    async with running(server) as url:
        sink = HTTPSink(url, token=TOKEN)
        with pytest.raises(SinkRefused) as caught:
            await sink.deliver(RECORDS)
        await sink.aclose()
    assert (caught.value.status, caught.value.delivered) == (status, 2)
    assert "BadEvent" in str(caught.value)
    assert "canary" not in repr(caught.value)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "status", [300, 301, 302, 307, 308, 401, 403, 407, 408, 425, 429, 500, 502, 503, 504, 505, 599]
)
async def test_what_is_not_taken_now_is_to_be_tried_again(status: int) -> None:
    headers = (b"Location: http://127.0.0.1:1/evil", b"Retry-After: 7")
    server = Server(lambda number: reply(status, b"", *headers) if number == 2 else reply(200))
    async with running(server) as url:
        sink = HTTPSink(url, token=TOKEN)
        with pytest.raises(SinkUnavailable) as caught:
            await sink.deliver(RECORDS)
        await sink.aclose()
    assert caught.value.delivered == 2
    assert str(status) in str(caught.value)
    asked = 7.0 if status >= 500 or status in (408, 425, 429) else None
    assert caught.value.retry_after_s == asked
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [None, b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_broken_exchange_is_to_be_tried_again(answer: bytes | None) -> None:
    server = Server(lambda number: reply(200) if number == 1 else answer)
    async with running(server) as url:
        sink = HTTPSink(url, token=TOKEN, timeout_s=0.3)
        with pytest.raises(SinkUnavailable) as caught:
            await sink.deliver(RECORDS)
        await sink.aclose()
    assert caught.value.delivered == 2
    assert "canary" not in f"{caught.value} {caught.value!r}"


async def test_sessions_go_side_by_side_and_each_in_order() -> None:
    server = Server(lambda _: reply(200))
    async with running(server) as url:
        sink = HTTPSink(url, token=TOKEN, sessions_at_once=4)
        async with CaseAssist(sinks=[sink], drain_timeout_s=LONG_S) as assist:
            for number in range(20):
                await assist.append(updates_of(f"s{number}", 5))
    assert len(server.requests) == 100
    assert 1 < server.most_at_once <= 4
    assert server.connections <= 4
    pages: dict[str, list[int]] = {}
    for _, body in server.requests:
        event = msgspec.json.decode(body)
        subject = event.get("svc_ticket_subject", "x0")
        pages.setdefault(event["pid"], []).append(int(subject[1:]))
    assert len(pages) == 20
    assert all(order == [0, 1, 2, 3, 4] for order in pages.values())


async def test_a_refused_event_does_not_keep_others_back() -> None:
    server = Server(lambda number: reply(400) if number == 2 else reply(200))
    async with running(server) as url:
        sink = HTTPSink(url, token=TOKEN)
        async with CaseAssist(sinks=[sink], drain_timeout_s=LONG_S, sleep=Pauses()) as assist:
            await assist.append(RECORDS)
        (books,) = assist.report().sinks
    assert (books.accepted, books.delivered, books.pending, books.dropped) == (4, 3, 0, {"refused": 1})
    assert len(server.requests) == SENT


class Wires:
    """A transport in 10 lines: notes what it is given, and answers 200."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        assert timeout_s == 3
        self.requests.append(request)
        return Reply(status=200)


async def test_a_transport_of_ones_own_and_a_format_of_ones_own() -> None:
    wires = Wires()
    sink = HTTPSink.for_organization(
        "myorg", token=None, hipaa=True, timeout_s=3, transport=wires, normalise_keys=False
    )
    record = records_of("start", "log_custom")[1]
    record = msgspec.structs.replace(record, event=msgspec.structs.replace(record.event, custom_data={"A b": 1}))
    await sink.deliver([record])
    await sink.aclose()
    (request,) = wires.requests
    assert request.origin == Origin("https", "myorg.analytics.orghipaa.coveo.com", 443)
    assert msgspec.json.decode(request.body)["customData"] == {"A b": "1"}
    assert "Authorization" not in dict(request.headers)
    assert sink.format == WireFormat(endpoint=Endpoint.for_organization("myorg", hipaa=True), normalise_keys=False)


async def test_an_event_of_a_newer_version_is_refused() -> None:
    record = decode(encode(RECORDS[0]).replace(b"ticket_create_start", b"ticket_reopen"))
    assert isinstance(record, KeptRecord)
    sink = HTTPSink("http://127.0.0.1:9", token=None)
    with pytest.raises(SinkRefused, match="ticket_reopen"):
        await sink.deliver([record])


@pytest.mark.parametrize("token", ["", "a b", "a\r\nb", "é", "a\n"])
def test_a_token_that_could_break_out_of_a_header_is_refused_without_an_echo(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        HTTPSink("https://host", token=f"canary{token}" if token else "")
    assert "canary" not in str(caught.value)


def test_what_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="positive"):
        HTTPSink("https://host", token=None, sessions_at_once=0)
    with pytest.raises(ValueError, match="positive"):
        HTTPSink("https://host", token=None, timeout_s=0)
    with pytest.raises(ValueError, match="begins with"):
        HTTPSink("ftp://host", token=None)
    with pytest.raises(ValueError, match="allow_insecure_http"):
        HTTPSink("http://host.example", token="t")
    assert HTTPSink("http://host.example", token="t", allow_insecure_http=True).name == "http://host.example/rest/ua"


def test_what_sort_of_token_it_is_is_told_or_seen() -> None:
    assert HTTPSink("https://host", token="xx-key").format.auth == "api_key"
    assert HTTPSink("https://host", token="other").format.auth == "search_token"
    assert HTTPSink("https://host", token="other", auth="oauth").format.auth == "oauth"
    assert HTTPSink("https://host", token=None).format.auth == "search_token"


def test_the_token_does_not_show() -> None:
    sink = HTTPSink("https://host", token=TOKEN)
    assert "canary" not in f"{sink!r} {vars(sink)}"


async def test_a_connection_that_is_refused_is_to_be_tried_again(free_tcp_port: int) -> None:
    sink = HTTPSink(f"http://127.0.0.1:{free_tcp_port}", token=None)
    with pytest.raises(SinkUnavailable, match="connect") as caught:
        await sink.deliver(RECORDS[:1])
    assert isinstance(caught.value.__cause__, TransportError)
    assert not caught.value.__cause__.maybe_sent


def test_records_have_what_the_tests_need() -> None:
    assert all(isinstance(record, Record) for record in RECORDS)
