"""ZendeskTickets against a server that does what Zendesk documents: one ticket a key, whatever happens in between."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.canaries import TEXT
from tests.cancelling import cut_off
from tests.fakes import LONG_S, MiddleOfRange, Pauses, outcome
from tests.helpdesks.zendesk_server import BASIC, BEARER, EMAIL, TOKEN, Zendesk

from caseassist.core.errors import TicketNotCreated
from caseassist.core.events import Context, Ticket
from caseassist.helpdesks.zendesk import ZendeskTickets
from caseassist.testing.http import Behaviour, ScriptServer, closes_before_reading, never_answers, reply
from caseassist.wire.http import Reply, Request, TransportError
from caseassist.wire.secret import Secret

TICKET = Ticket(subject=TEXT, description=f"{TEXT} at length", category="generators", custom={"plan": "gold"})
PERSON = Context(username="canary@example.com", user_display_name="Canary Person", language="en")
KEY = "session-1"


@asynccontextmanager
async def helpdesk(
    *script: Behaviour, zendesk: Zendesk | None = None, then: Behaviour | None = None, **options: Any
) -> AsyncGenerator[tuple[ZendeskTickets, ScriptServer, Pauses]]:
    pauses = Pauses()
    answers = (zendesk or Zendesk()).answers
    settings: dict[str, Any] = {"token": TOKEN, "email": EMAIL, "sleep": pauses, "rng": MiddleOfRange()}
    async with (
        ScriptServer(*script, then=then or answers) as server,
        ZendeskTickets(server.url, **(settings | {"timeout_s": LONG_S} | options)) as tickets,
    ):
        yield tickets, server, pauses


async def refused(*script: Behaviour, context: Context = PERSON, **options: Any) -> TicketNotCreated:
    async with helpdesk(*script, **options) as (tickets, _, _):
        with pytest.raises(TicketNotCreated) as caught:
            await tickets.create_ticket(TICKET, context, key=KEY)
    assert "canary" not in f"{caught.value} {caught.value!r}".lower()
    return caught.value


# One ticket a key


async def test_a_ticket_is_filed_once_though_it_is_asked_for_twice() -> None:
    zendesk = Zendesk()
    async with helpdesk(zendesk=zendesk) as (tickets, server, _):
        ids = [await tickets.create_ticket(TICKET, PERSON, key=KEY) for _ in range(2)]
        other = await tickets.create_ticket(TICKET, PERSON, key="session-2")
    assert ids == ["35436", "35436"]
    assert other == "35437"
    assert [request.method for request in server.requests] == ["GET", "POST", "GET", "GET", "POST"]
    assert [ticket["external_id"] for ticket in zendesk.tickets] == [KEY, "session-2"]
    assert server.requests[1].header("idempotency-key") == KEY


async def test_two_calls_at_once_file_one_ticket() -> None:
    zendesk = Zendesk()
    ids: list[str] = []
    async with helpdesk(zendesk=zendesk) as (tickets, _, _), anyio.create_task_group() as group:

        async def file() -> None:
            ids.append(await tickets.create_ticket(TICKET, PERSON, key=KEY))

        group.start_soon(file)
        group.start_soon(file)
    assert ids == ["35436", "35436"]
    assert len(zendesk.tickets) == 1


async def test_a_lost_answer_is_asked_for_again_and_gives_the_same_ticket() -> None:
    zendesk = Zendesk()
    async with helpdesk(zendesk.answers, zendesk.loses_answer, zendesk=zendesk) as (tickets, server, pauses):
        assert await tickets.create_ticket(TICKET, PERSON, key=KEY) == "35436"
    assert len(zendesk.tickets) == 1
    assert len(server.requests) == 3
    assert len(pauses.seconds) == 1


@pytest.mark.parametrize("ticket", [TICKET, Ticket(description="told better")])
async def test_after_two_hours_the_ticket_is_found_by_its_external_id(ticket: Ticket) -> None:
    zendesk = Zendesk()
    async with helpdesk(zendesk.answers, zendesk.loses_answer, then=never_answers(), timeout_s=0.3) as (tickets, _, _):
        with pytest.raises(TicketNotCreated) as caught:
            await tickets.create_ticket(TICKET, PERSON, key=KEY)
    assert caught.value.maybe_created
    zendesk.forget_keys()
    async with helpdesk(zendesk=zendesk) as (tickets, _, _):
        assert await tickets.create_ticket(ticket, PERSON, key=KEY) == "35436"
    assert len(zendesk.tickets) == 1


async def test_a_key_that_came_with_another_ticket_gives_that_one() -> None:
    zendesk = Zendesk()
    async with helpdesk(zendesk=zendesk) as (tickets, _, _):
        await tickets.create_ticket(TICKET, PERSON, key=KEY)
    nothing = reply(200, b'{"tickets":[]}')  # the list is behind
    async with helpdesk(nothing, zendesk=zendesk) as (tickets, server, _):
        assert await tickets.create_ticket(Ticket(description="other"), PERSON, key=KEY) == "35436"
    assert [request.method for request in server.requests] == ["GET", "POST", "GET"]
    async with helpdesk(nothing, zendesk.answers, nothing, zendesk=zendesk) as (tickets, _, _):
        with pytest.raises(TicketNotCreated, match=r"400 \(IdempotentRequestError\)") as caught:
            await tickets.create_ticket(Ticket(description="other"), PERSON, key=KEY)
    assert caught.value.maybe_created
    assert len(zendesk.tickets) == 1


@pytest.mark.parametrize("key", ["a b", "é", "x" * 256, "🙂" * 256, "", "a&external_id=b#?/%"])
async def test_any_key_gives_its_own_ticket(key: str) -> None:
    zendesk = Zendesk()
    async with helpdesk(zendesk=zendesk) as (tickets, _, _):
        first = await tickets.create_ticket(TICKET, PERSON, key=key)
        assert await tickets.create_ticket(TICKET, PERSON, key=key) == first
        assert await tickets.create_ticket(TICKET, PERSON, key=f"{key}2") != first
    assert len(zendesk.tickets) == 2


async def test_a_call_that_is_cut_off_anywhere_can_be_made_again() -> None:
    zendesk = Zendesk()
    k, was_cut = 0, True
    async with helpdesk(zendesk=zendesk) as (tickets, _, _):
        while was_cut:
            k += 1
            was_cut, cut_id = await cut_off(tickets.create_ticket(TICKET, PERSON, key=f"cut-{k}"), k)
            got = await tickets.create_ticket(TICKET, PERSON, key=f"cut-{k}")
            assert cut_id in (None, got)
            assert await tickets.create_ticket(TICKET, PERSON, key=f"cut-{k}") == got
            assert len(zendesk.tickets) == k
    assert k > 2


# What is refused, and what is tried again


async def test_what_zendesk_does_not_take_is_told_with_the_member_and_without_its_value() -> None:
    error = await refused(context=Context(username="canary.suspended@example.com"))
    assert (str(error), error.status, error.maybe_created) == ("HTTP 422 (RecordInvalid, requester)", 422, False)


async def test_a_wrong_token_is_told() -> None:
    error = await refused(token="xx-canary-wrong")
    assert (error.status, error.maybe_created) == (401, False)
    assert str(error) == "HTTP 401 to the search for an earlier ticket"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 301, 302])
async def test_a_refusal_is_final(status: int) -> None:
    zendesk = Zendesk()
    body = b'{"error":"canary","description":"canary","details":{"canary":[{"description":"canary"}]}}'
    error = await refused(zendesk.answers, reply(status, body, {"Location": "/canary/tickets/1.json"}))
    assert (error.status, error.maybe_created) == (status, False)
    assert str(error) == f"HTTP {status}"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(status: int) -> None:
    zendesk = Zendesk()
    again = reply(status)
    async with helpdesk(again, zendesk.answers, again, again, zendesk=zendesk) as (tickets, _, pauses):
        assert await tickets.create_ticket(TICKET, PERSON, key=KEY) == "35436"
    assert pauses.seconds == [0.25, 0.25, 0.5]  # the middle of 0 to 0.5, 0.5, 1.0
    assert len(zendesk.tickets) == 1


async def test_it_waits_as_long_as_zendesk_asks() -> None:
    zendesk = Zendesk()
    busy = reply(429, headers={"Retry-After": "5"})
    async with helpdesk(zendesk.answers, busy, zendesk=zendesk) as (tickets, _, pauses):
        assert await tickets.create_ticket(TICKET, PERSON, key=KEY) == "35436"
    assert pauses.seconds == [pytest.approx(5.25)]


@pytest.mark.parametrize(("status", "maybe"), [(429, False), (503, True)])
async def test_it_does_not_wait_longer_than_it_has(status: int, maybe: bool) -> None:
    zendesk = Zendesk()
    busy = reply(status, headers={"Retry-After": "93"})
    async with helpdesk(zendesk.answers, busy) as (tickets, server, pauses):
        with pytest.raises(TicketNotCreated, match=f"HTTP {status}; asked to wait 93 s") as caught:
            await tickets.create_ticket(TICKET, PERSON, key=KEY)
    assert (caught.value.status, caught.value.maybe_created) == (status, maybe)
    assert (len(server.requests), pauses.seconds) == (2, [])


async def test_it_ends_when_time_is_up_and_says_that_a_ticket_may_be_there() -> None:
    zendesk = Zendesk()
    with anyio.fail_after(LONG_S):
        error = await refused(zendesk.answers, never_answers(), timeout_s=0.3)
        assert error.maybe_created
        error = await refused(never_answers(), timeout_s=0.3)
        assert not error.maybe_created


async def test_nobody_there_is_told() -> None:
    async with ScriptServer() as server:
        url = server.url
    async with ZendeskTickets(url, token=TOKEN, timeout_s=0.3) as tickets:
        with pytest.raises(TicketNotCreated, match="connect") as caught:
            await tickets.create_ticket(TICKET, PERSON, key=KEY)
    assert not caught.value.maybe_created


async def test_a_closed_one_files_nothing() -> None:
    async with helpdesk() as (tickets, server, _):
        await tickets.aclose()
        with pytest.raises(TicketNotCreated, match="closed"):
            await tickets.create_ticket(TICKET, PERSON, key=KEY)
    assert server.requests == []


async def test_a_connection_that_breaks_is_made_again() -> None:
    async with helpdesk(closes_before_reading()) as (tickets, _, _):
        assert await tickets.create_ticket(TICKET, PERSON, key=KEY) == "35436"


async def test_an_answer_that_is_cut_still_has_the_id_in_its_location() -> None:
    zendesk = Zendesk()
    async with helpdesk(zendesk.answers, zendesk.cuts_answer, zendesk=zendesk) as (tickets, _, _):
        assert await tickets.create_ticket(TICKET, PERSON, key=KEY) == "35436"


async def test_an_answer_without_an_id_leaves_open_whether_there_is_a_ticket() -> None:
    error = await refused(Zendesk().answers, reply(201, b'{"ticket":{"id":"canary"}}'))
    assert (error.status, error.maybe_created) == (201, True)


async def test_a_search_that_cannot_be_read_files_nothing() -> None:
    async with helpdesk(reply(200, b"[]")) as (tickets, server, _):
        with pytest.raises(TicketNotCreated, match="cannot be read"):
            await tickets.create_ticket(TICKET, PERSON, key=KEY)
    assert len(server.requests) == 1


async def test_a_search_that_finds_tickets_of_others_is_no_find() -> None:
    others = reply(200, b'{"tickets":[{"id":1,"external_id":"other"},{"id":2},{"id":3,"external_id":7}]}')
    async with helpdesk(others) as (tickets, _, _):
        assert await tickets.create_ticket(TICKET, PERSON, key=KEY) == "35436"


# What is sent


async def sent(ticket: Ticket, context: Context, **options: Any) -> dict[str, Any]:
    zendesk = Zendesk()
    async with helpdesk(zendesk=zendesk, **options) as (tickets, _, _):
        number = await tickets.create_ticket(ticket, context, key=KEY)
    (filed,) = zendesk.tickets
    assert str(filed.pop("id")) == number
    assert filed.pop("external_id") == KEY
    return filed


async def test_fields_go_where_the_user_says_and_the_rest_below_the_description() -> None:
    custom = {"plan": "gold", "urgent": True, "models": ["GC110", "GC120"], "size": {"w": 1}, "score": 7, "void": ""}
    ticket = Ticket(subject="It hums", description="All day.", category="generators", product_id="GC110", custom=custom)
    fields = {"category": 360000000001, "size": 2, "models": 3, "score": None}
    filed = await sent(ticket, PERSON, custom_fields=fields, tags=["bot"])
    assert filed == {
        "subject": "It hums",
        "comment": {"body": "All day.\n\nproductId: GC110\nplan: gold\nurgent: true"},
        "custom_fields": [
            {"id": 360000000001, "value": "generators"},
            {"id": 3, "value": ["GC110", "GC120"]},
            {"id": 2, "value": '{"w":1}'},
        ],
        "tags": ["bot"],
        "requester": {"email": "canary@example.com", "name": "Canary Person"},
    }


@pytest.mark.parametrize(
    ("ticket", "body"),
    [
        (Ticket(), "-"),
        (Ticket(subject="It hums"), "It hums"),
        (Ticket(description="  "), "-"),
        (Ticket(category="generators"), "category: generators"),
    ],
)
async def test_there_is_always_a_comment(ticket: Ticket, body: str) -> None:
    assert (await sent(ticket, Context()))["comment"] == {"body": body}


async def test_who_asks_is_taken_from_the_context_or_from_the_user() -> None:
    ticket = Ticket(description="d", custom={"email": "p@example.com"})
    assert "requester" not in await sent(ticket, Context())
    assert (await sent(ticket, Context(username="a@example.com")))["requester"] == {
        "email": "a@example.com",
        "name": "a@example.com",
    }
    named = await sent(ticket, Context(username="login", user_display_name="Ann"))
    assert "requester" not in named
    assert named["comment"]["body"].endswith("\nuserDisplayName: Ann")

    def from_ticket(ticket: Ticket, context: Context) -> dict[str, Any]:
        return {"email": (ticket.custom or {})["email"], "name": "P", "locale_id": 8}

    given = await sent(ticket, Context(username="a@example.com"), requester=from_ticket)
    assert given["requester"] == {"email": "p@example.com", "name": "P", "locale_id": 8}


async def test_the_anonymous_stay_so() -> None:
    context = Context(anonymous=True, username="a@example.com", user_display_name="Ann")
    filed = await sent(Ticket(description="d"), context)
    assert filed == {"comment": {"body": "d"}}


async def test_a_function_that_fails_is_told_without_its_text() -> None:
    def fails(ticket: Ticket, context: Context) -> None:
        raise LookupError(ticket.subject)

    error = await refused(requester=fails)
    assert str(error) == "the requester function failed: LookupError"


async def test_a_requester_that_is_no_json_is_told_without_its_text() -> None:
    error = await refused(requester=lambda ticket, context: {"email": object()})
    assert str(error) == "the ticket cannot be written as JSON: TypeError"


@pytest.mark.parametrize(("email", "expected"), [(EMAIL, BASIC), (None, BEARER)])
async def test_an_api_token_goes_with_an_address_and_an_oauth_token_alone(email: str | None, expected: str) -> None:
    async with helpdesk(email=email, token=Secret(TOKEN)) as (tickets, server, _):
        await tickets.create_ticket(TICKET, PERSON, key=KEY)
        assert "canary" not in repr(tickets)
    assert {request.header("authorization") for request in server.requests} == {expected}
    assert not any(b"zendesk-token" in request.body for request in server.requests)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://example.zendesk.com", {}),
        ("example.zendesk.com", {}),
        ("https://me:pw@example.zendesk.com", {}),
        ("https://example.zendesk.com", {"timeout_s": 0}),
        ("https://example.zendesk.com", {"token": "two words"}),
        ("https://example.zendesk.com", {"email": "a:b@example.com"}),
        ("https://example.zendesk.com", {"email": "é@example.com"}),
    ],
)
def test_what_cannot_be_is_refused_at_once(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        ZendeskTickets(url, **({"token": TOKEN} | options))
    assert "canary" not in str(caught.value)


def test_plain_http_to_another_host_is_allowed_by_name_only() -> None:
    tickets = ZendeskTickets("http://example.internal/", token=TOKEN, allow_insecure_http=True)
    assert repr(tickets) == "<ZendeskTickets http://example.internal>"


# Whatever comes


class Scripted:
    """A transport that gives what it is told to, without any waiting."""

    def __init__(self, answers: list[Reply | TransportError]) -> None:
        self.answers = answers

    async def send(self, request: Request, *, timeout_s: float) -> Reply:
        answer = self.answers.pop(0) if self.answers else Reply(status=403)
        if isinstance(answer, TransportError):
            raise answer
        return answer


async def no_pause(seconds: float) -> None:
    pass


bodies = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b'{"tickets":[]}',
            b'{"tickets":[{"id":1,"external_id":"session-1"}]}',
            b'{"ticket":{"id":5}}',
            b'{"ticket":{"id":-5}}',
            b'{"ticket":{"id":1e400}}',
            b'{"error":"IdempotentRequestError"}',
            b'{"error":{"title":"x"},"details":[]}',
            b"[" * 5000,
        ]
    ),
)
headers = st.sampled_from([(), (("retry-after", "1"),), (("retry-after", "x"),), (("location", "/tickets/7.json"),)])
replies = st.builds(
    lambda status, headers, body: Reply(status=status, headers=headers, body=body),
    st.one_of(st.sampled_from([200, 201, 400, 422, 429, 503]), st.integers(100, 599)),
    headers,
    bodies,
)
troubles = st.builds(
    lambda reason, sent: TransportError(reason, "detail", maybe_sent=sent),
    st.sampled_from(["connect", "tls", "timeout", "closed", "protocol", "too_large", "refused_plaintext"]),
    st.booleans(),
)


@given(st.lists(st.one_of(replies, troubles), max_size=6))
@example([Reply(status=200, body=b'{"tickets":[]}'), Reply(status=201, body=b'{"ticket":{"id":' + b"9" * 300 + b"}}")])
def test_whatever_is_answered_there_is_an_id_or_an_error(answers: list[Reply | TransportError]) -> None:
    async def call() -> str | TicketNotCreated:
        tickets = ZendeskTickets(
            "https://example.zendesk.com",
            token=TOKEN,
            transport=Scripted(answers),
            sleep=no_pause,
            rng=random.Random(1),
        )
        try:
            return await tickets.create_ticket(TICKET, PERSON, key=KEY)
        except TicketNotCreated as error:
            return error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anyio, "current_time", lambda: 0.0)  # there is no event loop to ask
        result = outcome(call())
    if isinstance(result, str):
        assert 1 <= len(result) <= 256
        assert result.isdigit()
    else:
        assert str(result)
        assert "canary" not in str(result)
