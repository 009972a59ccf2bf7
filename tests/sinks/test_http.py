"""HTTPSink against a real server on a real socket: what becomes of an event for every sort of answer."""

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import msgspec
import pytest
from tests.core.life_cycle import records_of
from tests.fakes import LONG_S, Pauses, idle, until
from tests.fakes import records_of as updates_of

from caseassist import CaseAssist, HTTPSink
from caseassist.core.errors import SinkRefused, SinkUnavailable
from caseassist.core.records import KeptRecord, decode, encode
from caseassist.testing.http import Behaviour, Connection, ScriptServer, raw, reply
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Origin, Reply, Request, TransportError
from caseassist.wire.requests import WireFormat
from caseassist.wire.secret import Secret

TOKEN = "xx-canary-token"


RECORDS = records_of("start", "offer_documents", "update_field", "solve")
SENT = len(RECORDS) - 1  # the offer is never sent


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_what_is_accepted_is_delivered_and_offers_are_not_sent(status: int) -> None:
    async with ScriptServer(then=reply(status, b"" if status == 204 else b"not even JSON")) as server:
        sink = HTTPSink(server.url, token=TOKEN)
        await sink.deliver(RECORDS)
        await sink.aclose()
    assert [msgspec.json.decode(request.body)["svc_action"] for request in server.requests] == [
        "ticket_create_start",
        "ticket_field_update",
        "ticket_cancel",
    ]
    assert server.connections == 1
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/rest/ua/v15/analytics/collect")
        assert request.header("authorization") == f"Bearer {TOKEN}"
        assert b"canary" not in request.body


@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 410, 413, 414, 415, 418, 422, 431, 451])
async def test_one_event_is_refused_and_those_before_it_are_delivered(status: int) -> None:
    body = b'{"type": "BadEvent", "message": "canary"}'
    async with ScriptServer(reply(), reply(status, body)) as server:
        sink = HTTPSink(server.url, token=TOKEN)
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
    headers = {"Location": "http://127.0.0.1:1/evil", "Retry-After": "7"}
    async with ScriptServer(reply(), reply(status, b"", headers)) as server:
        sink = HTTPSink(server.url, token=TOKEN)
        with pytest.raises(SinkUnavailable) as caught:
            await sink.deliver(RECORDS)
        await sink.aclose()
    assert caught.value.delivered == 2
    assert str(status) in str(caught.value)
    later = status >= 500 or status in (408, 425, 429)
    assert caught.value.retry_after_s == (7.0 if later else None)
    assert caught.value.paused is not later
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_broken_exchange_is_to_be_tried_again(answer: bytes) -> None:
    async with ScriptServer(reply(), raw(answer, close=True)) as server:
        sink = HTTPSink(server.url, token=TOKEN)
        with pytest.raises(SinkUnavailable) as caught:
            await sink.deliver(RECORDS)
        await sink.aclose()
    assert caught.value.delivered == 2
    assert not caught.value.paused
    assert "canary" not in f"{caught.value} {caught.value!r}"


async def slowly(connection: Connection) -> None:
    """Answers after others had their turn."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    await reply()(connection)


async def test_sessions_go_side_by_side_and_each_in_order() -> None:
    async with ScriptServer(then=slowly) as server:
        sink = HTTPSink(server.url, token=TOKEN, sessions_at_once=4)
        async with CaseAssist(sinks=[sink], drain_timeout_s=LONG_S) as assist:
            for number in range(20):
                await assist.append(updates_of(f"s{number}", 5))
    assert len(server.requests) == 100
    assert 1 < server.most_at_once <= 4
    assert server.connections <= 4
    pages: dict[str, list[int]] = {}
    for request in server.requests:
        event = msgspec.json.decode(request.body)
        subject = event.get("svc_ticket_subject", "0")
        pages.setdefault(event["pid"], []).append(int(subject[-1]))
    assert len(pages) == 20
    assert all(order == [0, 1, 2, 3, 4] for order in pages.values())


async def test_a_refused_event_does_not_keep_others_back() -> None:
    async with ScriptServer(reply(), reply(400)) as server:
        sink = HTTPSink(server.url, token=TOKEN)
        async with CaseAssist(sinks=[sink], drain_timeout_s=LONG_S, sleep=Pauses()) as assist:
            await assist.append(RECORDS)
        (books,) = assist.report().sinks
    assert (books.accepted, books.delivered, books.pending, books.quarantined) == (4, 3, 0, 1)
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
        "myorg", token="abc", hipaa=True, timeout_s=3, transport=wires, normalise_keys=False
    )
    record = records_of("start", "log_custom")[1]
    record = msgspec.structs.replace(record, event=msgspec.structs.replace(record.event, custom_data={"A b": 1}))
    await sink.deliver([record])
    await sink.aclose()
    (request,) = wires.requests
    assert request.origin == Origin("https", "myorg.analytics.orghipaa.coveo.com", 443)
    assert msgspec.json.decode(request.body)["customData"] == {"A b": "1"}
    assert dict(request.headers)["Authorization"] == "Bearer abc"
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
    with pytest.raises(TypeError, match="an async function"):
        HTTPSink("https://host", token=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive"):
        HTTPSink("https://host", token=None, sessions_at_once=0)
    with pytest.raises(ValueError, match="positive"):
        HTTPSink("https://host", token=None, timeout_s=0)
    with pytest.raises(ValueError, match="begins with"):
        HTTPSink("ftp://host", token=None)
    with pytest.raises(ValueError, match="on_refused"):
        HTTPSink("https://host", token=None, on_refused="stop")  # type: ignore[arg-type]
    assert HTTPSink.for_organization("myorg", token="abc", on_refused="hold").on_refused == "hold"
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
    members = vars(sink)
    inner = [vars(member) for member in members.values() if hasattr(member, "__dict__")]
    secrets = [one.reveal() for member in inner for one in member.values() if isinstance(one, Secret)]
    assert secrets == [TOKEN], "it is there"
    assert "canary" not in f"{sink!r} {members} {inner}"


async def test_a_connection_that_is_refused_is_to_be_tried_again(free_tcp_port: int) -> None:
    sink = HTTPSink(f"http://127.0.0.1:{free_tcp_port}", token=None)
    with pytest.raises(SinkUnavailable, match="connect") as caught:
        await sink.deliver(RECORDS[:1])
    assert isinstance(caught.value.__cause__, TransportError)
    assert not caught.value.__cause__.maybe_sent


# The token provider


class Provider:
    """Gives one token after the other, as soon as it may."""

    def __init__(self, *tokens: str | Secret | Exception) -> None:
        self.tokens = list(tokens)
        self.asked = 0
        self.may = anyio.Event()
        self.may.set()
        self.was_asked = anyio.Event()

    async def __call__(self) -> str | Secret:
        self.asked += 1
        self.was_asked.set()
        await self.may.wait()
        token = self.tokens.pop(0)
        if isinstance(token, Exception):
            raise token
        return token


class Service:
    """A transport that takes one token only, and lets requests wait until it may answer."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.tokens: list[str] = []
        self.bodies: list[bytes] = []
        self.waiting = 0
        self.may = anyio.Event()
        self.may.set()

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        sent_with = dict(request.headers)["Authorization"].removeprefix("Bearer ")
        self.tokens.append(sent_with)
        self.bodies.append(request.body)
        self.waiting += 1
        await self.may.wait()
        self.waiting -= 1
        return Reply(status=200 if sent_with == self.token else 401)


async def at_once(sink: HTTPSink, count: int, meanwhile: Callable[[], Awaitable[None]]) -> list[SinkUnavailable]:
    """Deliver one record of each of many sessions at the same time. Returns how that failed."""
    failures: list[SinkUnavailable] = []

    async def deliver(number: int) -> None:
        try:
            await sink.deliver(updates_of(f"s{number}", 1))
        except SinkUnavailable as failure:
            failures.append(failure)

    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(deliver, number)
            await meanwhile()
    return failures


@pytest.mark.parametrize(("renewed", "failures", "requests"), [("new", 0, 32), ("old", 16, 16), (OSError(), 16, 16)])
async def test_many_refused_at_once_ask_the_provider_once(
    renewed: str | Exception, failures: int, requests: int
) -> None:
    provider, service = Provider("old", renewed), Service("new")
    sink = HTTPSink("https://host", token=provider, transport=service)
    service.may = anyio.Event()

    async def meanwhile() -> None:
        await until(lambda: service.waiting == 16)
        assert provider.asked == 1
        provider.may, provider.was_asked = anyio.Event(), anyio.Event()
        service.may.set()
        await provider.was_asked.wait()
        await until(lambda: service.waiting == 0)
        provider.may.set()

    failed = await at_once(sink, 16, meanwhile)
    assert (provider.asked, len(failed), len(service.tokens)) == (2, failures, requests)
    assert service.tokens == ["old"] * 16 + ["new"] * (requests - 16)
    assert all(failure.paused is (renewed == "old") for failure in failed)


async def test_one_refused_after_others_had_the_answer_shares_it() -> None:
    provider, service = Provider("old", "old"), Service("new")
    sink = HTTPSink("https://host", token=provider, transport=service)
    service.may = anyio.Event()
    late = anyio.Event()
    send = service.send

    async def send_first_and_second(request: Request, *, timeout_s: float) -> Reply:
        first = not service.tokens
        reply = await send(request, timeout_s=timeout_s)
        if not first:
            await late.wait()
        return reply

    service.send = send_first_and_second  # type: ignore[method-assign]

    async def meanwhile() -> None:
        await until(lambda: service.waiting == 2)
        service.may.set()
        await until(lambda: provider.asked == 2)
        late.set()

    failed = await at_once(sink, 2, meanwhile)
    assert (provider.asked, len(failed), len(service.tokens)) == (2, 2, 2)


async def test_the_next_one_asks_if_the_one_that_asked_is_cancelled() -> None:
    provider, service = Provider("new", "new"), Service("new")
    sink = HTTPSink("https://host", token=provider, transport=service)
    provider.may = anyio.Event()
    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:

                async def cancel() -> None:
                    await until(lambda: provider.asked)
                    tasks.start_soon(sink.deliver, updates_of("b", 1))
                    await idle()
                    assert provider.asked == 1
                    scope.cancel()
                    provider.may.set()

                tasks.start_soon(cancel)
                await sink.deliver(updates_of("a", 1))
    assert scope.cancelled_caught
    assert (provider.asked, service.tokens) == (2, ["new"])


async def test_the_provider_is_asked_at_the_first_event_that_is_sent() -> None:
    provider, service = Provider(Secret("new")), Service("new")
    sink = HTTPSink("https://host", token=provider, transport=service)
    await sink.open()
    await sink.deliver([RECORDS[1]])  # an offer
    assert provider.asked == 0
    await sink.deliver(RECORDS)
    assert (provider.asked, service.tokens) == (1, ["new"] * SENT)
    assert "new" not in f"{sink!r} {vars(sink)}"


async def test_what_is_sent_again_says_who_the_user_is_as_the_new_token_wants_it() -> None:
    record = msgspec.structs.replace(
        RECORDS[0], context=msgspec.structs.replace(RECORDS[0].context, username="jo@example.com")
    )
    for auth, users in ((None, [None, "jo@example.com"]), ("oauth", ["jo@example.com"] * 2)):
        service = Service("xx-new")
        sink = HTTPSink("https://host", token=Provider("old", "xx-new"), auth=auth, transport=service)  # type: ignore[arg-type]
        await sink.deliver([record])
        assert [msgspec.json.decode(body).get("uid") for body in service.bodies] == users
        assert len({msgspec.json.decode(body)["z"] for body in service.bodies}) == 1
        assert sink.format.auth == (auth or "api_key")


async def test_after_a_failure_the_provider_is_asked_again() -> None:
    provider, service = Provider(OSError("canary"), "old", ValueError("canary"), "new"), Service("new")
    sink = HTTPSink("https://host", token=provider, transport=service)
    for says in ("OSError", "401 Unauthorized, and the token provider failed: ValueError"):
        with pytest.raises(SinkUnavailable, match=says) as caught:
            await sink.deliver(RECORDS)
        assert (caught.value.delivered, caught.value.paused) == (0, False)
        assert "canary" not in f"{caught.value!r}"
        assert caught.value.__cause__ is None
    await sink.deliver(RECORDS)
    assert (provider.asked, service.tokens) == (4, ["old", "old", *["new"] * SENT])


@pytest.mark.parametrize("token", [None, 5, "", "a\r\nb", "é"])
async def test_what_the_provider_gives_must_be_a_token(token: str) -> None:
    sink = HTTPSink("https://host", token=Provider(token), transport=Service("new"))
    with pytest.raises(SinkUnavailable, match=r"the token provider failed: (Value|Type)Error"):
        await sink.deliver(RECORDS)


async def test_cancelling_passes_a_provider_that_hangs() -> None:
    provider = Provider("never")
    provider.may = anyio.Event()
    sink = HTTPSink("https://host", token=provider, transport=Service("never"))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.deliver, RECORDS)
            await provider.was_asked.wait()
            scope.cancel()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "kind", ["T0ken", "xxCanaryT0ken", "RefusedXXCANARYT0KENToo", "SamSubject", "NoSAMSUBJECTHere"]
)
async def test_what_a_server_echoes_as_the_type_of_its_error_does_not_show(kind: str) -> None:
    records = updates_of("a", 2, text="SamSubject")
    answer: Behaviour = reply(400, msgspec.json.encode({"type": kind}))
    async with ScriptServer(reply(), answer) as server:
        sink = HTTPSink(server.url, token="xxCanaryT0ken")
        with pytest.raises(SinkRefused) as caught:
            await sink.deliver(records)
        await sink.aclose()
    assert not any(word in repr(caught.value).lower() for word in ("canaryt0ken", "samsubject"))
