"""CustomerService against a real server on a real socket: what becomes of a call for every sort of answer."""

import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import LONG_S, Pauses, until
from tests.sinks.test_http import Provider

from caseassist.core.errors import InvalidAction, NoSuggestions
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.service.base import SuggestionService
from caseassist.service.client import CustomerService
from caseassist.testing.cancellation import cut_off
from caseassist.testing.http import (
    Behaviour,
    ScriptServer,
    closes_after_request,
    drips_body,
    endless_body,
    never_answers,
    raw,
    reply,
    resets_mid_reply,
    wrong_length,
)
from caseassist.wire.http import Origin, Reply, Request, TransportError
from caseassist.wire.secret import Secret
from caseassist.wire.service import MAX_ANSWER_BYTES, CaseAssistEndpoint

TOKEN = "xx-canary-token"
ID = "00000000-1111-2222-3333-444444444444"
TICKET = Ticket(subject="canary text", description="d")
CONTEXT = Context(client_id="489aa3e3-aed2-4563-8e81-62bb73178a56", language="en")

CLASSIFIED = json.dumps(
    {
        "responseId": "r1",
        "fields": {"category": {"predictions": [{"id": "c1", "value": "Electrical", "confidence": 1}]}},
    }
).encode()
SUGGESTED = json.dumps(
    {"responseId": "r2", "documents": [{"title": "t", "fields": {"permanentid": "p", "source": "s", "uri": "u"}}]}
).encode()


def service_at(url: str, **options: Any) -> CustomerService:
    defaults: dict[str, Any] = {"token": TOKEN, "timeout_s": LONG_S, "sleep": Pauses(), "rng": random.Random(1)}
    return CustomerService(url, organization="myorg", case_assist_id=ID, **(defaults | options))


async def ask(service: SuggestionService) -> ClassificationsOffered:
    return await service.classify(TICKET, CONTEXT)


async def problem_of(service: SuggestionService) -> NoSuggestions:
    with pytest.raises(NoSuggestions) as caught:
        await service.classify(TICKET, CONTEXT)
    assert "canary" not in f"{caught.value} {caught.value!r}"
    return caught.value


async def test_answers_become_offers() -> None:
    async with ScriptServer(reply(200, CLASSIFIED), reply(200, SUGGESTED)) as server, service_at(server.url) as service:
        classified = await service.classify(TICKET, CONTEXT)
        suggested = await service.suggest_documents(TICKET, CONTEXT)
    assert (classified.response_id, classified.classifications[0].classification_id) == ("r1", "c1")
    assert (suggested.response_id, suggested.documents[0].suggestion_id) == ("r2", "p")
    assert server.connections == 1
    assert [request.header("authorization") for request in server.requests] == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize("body", [b'{"responseId":"r","fields":{}}', b'{"responseId":"r","fields":{"x":{}}}'])
async def test_nothing_to_propose_is_an_answer_too(body: bytes) -> None:
    async with ScriptServer(reply(200, body)) as server, service_at(server.url) as service:
        assert await ask(service) == ClassificationsOffered(response_id="r")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 403, 404, 405, 413, 422])
async def test_what_cannot_help_is_not_tried_again(status: int) -> None:
    body = b'{"statusCode": 400, "message": "canary", "type": "BadThing"}'
    headers = {"Location": "http://127.0.0.1:1/evil", "Retry-After": "1"}
    async with ScriptServer(then=reply(status, body, headers)) as server, service_at(server.url) as service:
        problem = await problem_of(service)
    assert problem.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again_after_growing_random_pauses(status: int) -> None:
    pauses = Pauses()
    async with (
        ScriptServer(*[reply(status)] * 5, reply(200, CLASSIFIED)) as server,
        service_at(server.url, sleep=pauses) as service,
    ):
        assert (await ask(service)).response_id == "r1"
    assert len(server.requests) == 6
    assert len({request.body for request in server.requests}) == 1
    assert all(0 <= pause <= bound for pause, bound in zip(pauses.seconds, (0.1, 0.2, 0.4, 0.8, 1.6), strict=True))
    assert len(set(pauses.seconds)) == 5


BROKEN: list[Behaviour] = [
    closes_after_request(),
    resets_mid_reply(),
    raw(b"garbage\r\n\r\n", close=True),
    wrong_length(999, CLASSIFIED),
]


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_exchange_is_tried_again(broken: Behaviour) -> None:
    async with ScriptServer(broken, reply(200, CLASSIFIED)) as server, service_at(server.url) as service:
        assert (await ask(service)).response_id == "r1"
    assert len(server.requests) == 2


async def test_a_request_that_hangs_has_a_time_of_its_own() -> None:
    async with (
        ScriptServer(never_answers(), drips_body(), reply(200, CLASSIFIED)) as server,
        service_at(server.url, request_timeout_s=0.2) as service,
    ):
        assert (await ask(service)).response_id == "r1"
    assert len(server.requests) == 3


# The deadline


@pytest.mark.parametrize("behaviour", [never_answers(), drips_body(), reply(503)])
async def test_a_call_ends_by_its_deadline(behaviour: Behaviour) -> None:
    async with (
        ScriptServer(then=behaviour) as server,
        service_at(server.url, timeout_s=0.5, sleep=anyio.sleep) as service,
    ):
        with anyio.fail_after(LONG_S):
            before = anyio.current_time()
            problem = await problem_of(service)
            assert anyio.current_time() - before < 5
    assert str(problem).startswith("no answer within 0.5 s")
    assert problem.status in (None, 503)


async def test_the_last_reply_is_told_when_the_deadline_comes() -> None:
    async with (
        ScriptServer(reply(503), then=never_answers()) as server,
        service_at(server.url, timeout_s=0.5) as service,
    ):
        problem = await problem_of(service)
    assert str(problem) == "no answer within 0.5 s; last: HTTP 503 Service Unavailable"
    assert problem.status == 503


async def test_what_the_service_asks_for_is_waited_for() -> None:
    pauses = Pauses()
    async with (
        ScriptServer(reply(429, headers={"Retry-After": "7"}), reply(200, CLASSIFIED)) as server,
        service_at(server.url, sleep=pauses) as service,
    ):
        await ask(service)
    (pause,) = pauses.seconds
    assert 7.0 <= pause <= 7.7


async def test_there_is_no_waiting_beyond_the_deadline() -> None:
    pauses = Pauses()
    async with (
        ScriptServer(then=reply(429, headers={"Retry-After": "60"})) as server,
        service_at(server.url, sleep=pauses) as service,
    ):
        problem = await problem_of(service)
    assert (problem.status, pauses.seconds, len(server.requests)) == (429, [], 1)
    assert "429 Too Many Requests" in str(problem)


async def test_a_provider_that_hangs_does_not_hold_a_call_longer_than_its_deadline() -> None:
    provider = Provider("never")
    provider.may = anyio.Event()
    service = service_at("http://127.0.0.1:9", token=provider, timeout_s=0.2)
    problem = await problem_of(service)
    assert problem.status is None


# Answers that are no answers


@pytest.mark.parametrize(
    "behaviour", [reply(204, b""), reply(200, b"canary"), reply(200, b'{"fields":{"x":"canary"},"responseId":"r"}')]
)
async def test_an_answer_that_cannot_be_read_gives_no_suggestions(behaviour: Behaviour) -> None:
    async with ScriptServer(then=behaviour) as server, service_at(server.url) as service:
        problem = await problem_of(service)
    assert isinstance(problem.__cause__, InvalidAction)
    assert problem.status in (200, 204)
    assert len(server.requests) == 1


@pytest.mark.parametrize("behaviour", [endless_body(), reply(200, CLASSIFIED.ljust(MAX_ANSWER_BYTES + 1, b"\0"))])
async def test_an_answer_that_is_too_long_gives_no_suggestions(behaviour: Behaviour) -> None:
    async with ScriptServer(then=behaviour) as server, service_at(server.url) as service:
        assert "too long" in str(await problem_of(service))


async def test_an_answer_of_a_hundred_documents_with_many_fields_is_read_whole() -> None:
    documents = [
        {
            "title": "t",
            "excerpt": "e" * 500,
            "fields": {"permanentid": f"p{n}", "source": "s", "uri": "u", **{f"f{m}": "v" * 50 for m in range(60)}},
        }
        for n in range(100)
    ]
    body = json.dumps({"responseId": "r", "totalCount": 100, "documents": documents}).encode()
    assert 65536 * 4 < len(body) < MAX_ANSWER_BYTES
    async with ScriptServer(reply(200, body)) as server, service_at(server.url, number_of_results=100) as service:
        offer = await service.suggest_documents(TICKET, CONTEXT)
    assert [document.suggestion_id for document in offer.documents] == [f"p{n}" for n in range(100)]
    assert server.requests[0].path.endswith("/documents/suggest?numberOfResults=100")


class Wires:
    """A transport in 10 lines: answers the same again and again, and notes what it is given."""

    def __init__(self, *answers: Reply | TransportError) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.timeouts: list[float] = []

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        self.requests.append(request)
        self.timeouts.append(timeout_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TransportError):
            raise answer
        return answer


BODIES = st.binary(max_size=200) | st.sampled_from([CLASSIFIED, SUGGESTED]).flatmap(
    lambda body: st.tuples(st.integers(0, len(body) - 1), st.binary(max_size=3)).map(
        lambda cut: body[: cut[0]] + cut[1] + body[cut[0] + 1 :]
    )
)
REPLIES = st.builds(
    Reply,
    status=st.integers(100, 599),
    headers=st.lists(st.tuples(st.sampled_from(["retry-after", "content-length", "date"]), st.text())).map(tuple),
    body=BODIES,
)


@settings(max_examples=300)
@given(
    st.lists(REPLIES, max_size=3), REPLIES.filter(lambda one: one.status < 500 and one.status not in (408, 425, 429))
)
def test_whatever_comes_back_is_an_offer_or_no_suggestions(first: list[Reply], last: Reply) -> None:
    async def call() -> None:
        for kind in ("classify", "suggest_documents"):
            service = service_at("https://host", transport=Wires(*first, last), timeout_s=float("inf"))
            with suppress(NoSuggestions):
                offer = await getattr(service, kind)(TICKET, CONTEXT)
                assert isinstance(offer, ClassificationsOffered | DocumentsOffered)

    anyio.run(call)


# Tokens


class Gate:
    """A transport that takes one token only, answers others with a status, and lets requests wait until it may."""

    def __init__(self, token: str, status: int = 401) -> None:
        self.token, self.status = token, status
        self.tokens: list[str] = []
        self.waiting = 0
        self.may = anyio.Event()
        self.may.set()

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        token = dict(request.headers)["Authorization"].removeprefix("Bearer ")
        self.tokens.append(token)
        self.waiting += 1
        await self.may.wait()
        self.waiting -= 1
        return Reply(status=200, body=CLASSIFIED) if token == self.token else Reply(status=self.status)


@pytest.mark.parametrize("status", [401, 419])
async def test_an_expired_token_is_renewed_and_the_request_sent_again_at_once(status: int) -> None:
    provider, gate, pauses = Provider(Secret("old"), "new"), Gate("new", status), Pauses()
    service = service_at("https://host", token=provider, transport=gate, sleep=pauses)
    assert (await ask(service)).response_id == "r1"
    assert (await ask(service)).response_id == "r1"
    assert (provider.asked, gate.tokens, pauses.seconds) == (2, ["old", "new", "new"], [])


@pytest.mark.parametrize("status", [401, 419])
async def test_a_token_without_a_provider_is_not_tried_twice(status: int) -> None:
    gate = Gate("new", status)
    problem = await problem_of(service_at("https://host", token="old", transport=gate))
    assert (problem.status, gate.tokens) == (status, ["old"])


async def test_the_provider_is_asked_once_a_call() -> None:
    provider, gate = Provider("old", "other", "new"), Gate("new")
    service = service_at("https://host", token=provider, transport=gate)
    problem = await problem_of(service)
    assert (problem.status, provider.asked, gate.tokens) == (401, 2, ["old", "other"])
    await ask(service)
    assert (provider.asked, gate.tokens[2:]) == (3, ["other", "new"])


@pytest.mark.parametrize(
    ("second", "says"),
    [("old", "no other token"), (OSError("canary"), "failed: OSError"), ("a\r\nb", "failed: ValueError")],
)
async def test_a_provider_that_has_no_other_token_is_told(second: str | Exception, says: str) -> None:
    provider, gate = Provider("old", second), Gate("new")
    problem = await problem_of(service_at("https://host", token=provider, transport=gate))
    assert "401 Unauthorized, and the token provider" in str(problem)
    assert says in str(problem)
    assert (problem.status, gate.tokens) == (401, ["old"])


async def test_a_provider_that_fails_at_first_is_asked_again_by_the_next_call() -> None:
    provider, gate = Provider(OSError("canary"), "new"), Gate("new")
    service = service_at("https://host", token=provider, transport=gate)
    assert "failed: OSError" in str(await problem_of(service))
    assert (await ask(service)).response_id == "r1"


@pytest.mark.parametrize(("renewed", "failed", "requests"), [("new", 0, 32), ("old", 16, 16), (OSError(), 16, 16)])
async def test_many_refused_at_once_share_one_question(renewed: str | Exception, failed: int, requests: int) -> None:
    provider, gate = Provider("old", renewed), Gate("new")
    service = service_at("https://host", token=provider, transport=gate)
    gate.may = anyio.Event()
    failures: list[NoSuggestions] = []

    async def call() -> None:
        try:
            await ask(service)
        except NoSuggestions as failure:
            failures.append(failure)

    with anyio.fail_after(LONG_S):
        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(call)
            await until(lambda: gate.waiting == 16)
            assert provider.asked == 1
            provider.may, provider.was_asked = anyio.Event(), anyio.Event()
            gate.may.set()
            await provider.was_asked.wait()
            await until(lambda: gate.waiting == 0)
            provider.may.set()
    assert (provider.asked, len(failures), len(gate.tokens)) == (2, failed, requests)


async def test_a_call_that_is_tried_again_takes_the_token_that_another_one_got() -> None:
    provider = Provider("old", "new")
    wires = Wires(Reply(status=503), Reply(status=200, body=CLASSIFIED))
    renewed: list[bool] = []

    async def sleep(_: float) -> None:  # while it waits
        await service._tokens.renew(1)
        renewed.append(True)

    service = service_at("https://host", token=provider, transport=wires, sleep=sleep)
    await ask(service)
    tokens = [dict(request.headers)["Authorization"] for request in wires.requests]
    assert (renewed, tokens) == ([True], ["Bearer old", "Bearer new"])


# Cancelling and closing


async def test_a_call_can_be_cut_off_at_every_wait() -> None:
    script = (reply(503), reply(401), reply(200, CLASSIFIED))
    k, more = 1, True
    while more:
        async with (
            ScriptServer(*script, then=reply(200, CLASSIFIED)) as server,
            service_at(server.url, token=Provider("a", "b", "c", "d")) as service,
        ):
            more, offer = await cut_off(ask(service), k)
            assert more or offer is not None
            assert (await ask(service)).response_id == "r1"  # it goes on working
        k += 1
    assert k > 5


async def test_cancelling_passes() -> None:
    async with ScriptServer(then=never_answers()) as server, service_at(server.url) as service:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, service)
                await until(lambda: server.requests)
                scope.cancel()
        assert scope.cancelled_caught


async def test_closing_ends_the_calls_that_are_under_way() -> None:
    problems: list[NoSuggestions] = []

    async def call() -> None:
        problems.append(await problem_of(service))

    async with ScriptServer(then=never_answers()) as server:
        service = service_at(server.url)
        with anyio.fail_after(LONG_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await until(lambda: server.requests)
                await service.aclose()
        assert len(problems) == 1
        assert "closed" in str(await problem_of(service))
    assert len(server.requests) == 1


async def test_a_transport_of_ones_own_is_not_closed() -> None:
    wires = Wires(Reply(status=200, body=CLASSIFIED))
    async with service_at("https://host", transport=wires):
        pass
    service = CustomerService.for_organization(
        "myorg", ID, token="abc", hipaa=True, timeout_s=60, request_timeout_s=3, locale="fr-CA", transport=wires
    )
    await ask(service)
    (request,) = wires.requests
    assert request.origin == Origin("https", "myorg.orghipaa.coveo.com", 443)
    assert wires.timeouts == [3]
    assert json.loads(request.body)["locale"] == "fr-CA"
    assert (
        repr(service) == f"<CustomerService https://myorg.orghipaa.coveo.com/rest/organizations/myorg/caseassists/{ID}>"
    )


def test_the_token_and_the_ticket_do_not_show() -> None:
    service = service_at("https://host")
    assert "canary" not in f"{service!r} {vars(service)} {vars(service._tokens)}"


def test_what_cannot_work_is_refused_at_once() -> None:
    endpoint = CaseAssistEndpoint.for_organization("myorg", ID)
    refused: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (TypeError, "an async function", lambda: service_at("https://host", token=5)),
        (ValueError, "printable ASCII", lambda: service_at("https://host", token="a\nb")),
        (ValueError, "positive", lambda: service_at("https://host", timeout_s=0)),
        (ValueError, "positive", lambda: service_at("https://host", request_timeout_s=float("nan"))),
        (ValueError, "from 1 to 100", lambda: service_at("https://host", number_of_results=0)),
        (ValueError, "from 1 to 100", lambda: service_at("https://host", number_of_results=101)),
        (ValueError, "from 1 to 100", lambda: service_at("https://host", number_of_results=2.5)),
        (TypeError, "lists of names", lambda: service_at("https://host", input_fields="subject")),
        (TypeError, "lists of names", lambda: service_at("https://host", context_fields="category")),
        (ValueError, "begins with", lambda: service_at("ftp://host")),
        (ValueError, "allow_insecure_http", lambda: service_at("http://host.example")),
        (ValueError, "needs an organization", lambda: CustomerService("https://host", token="t")),
        (ValueError, "leave them out", lambda: CustomerService(endpoint, organization="myorg", token="t")),
        (ValueError, "without a token", lambda: CustomerService.for_organization("myorg", ID, token=None)),  # type: ignore[arg-type]
        (ValueError, "organization id", lambda: CustomerService.for_organization("My Org", ID, token="t")),
    ]
    for kind, says, make in refused:
        with pytest.raises(kind, match=says):
            make()
    assert service_at("http://host.example", allow_insecure_http=True).format.endpoint.origin.host == "host.example"
    assert CustomerService(endpoint, token=None).format.endpoint is endpoint
