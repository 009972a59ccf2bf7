"""Tickets as requests of Zendesk's API, and its replies read."""

from typing import Any

import msgspec
import pytest

from caseassist.core.events import Context, Ticket
from caseassist.wire import zendesk
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Reply
from caseassist.wire.secret import Secret

ACCOUNT = zendesk.Account(
    endpoint=Endpoint.parse("https://example.zendesk.com/api/v2"), token=Secret("xx-token"), email="agent@example.com"
)


def body(ticket: Ticket, **options: Any) -> Any:
    return msgspec.json.decode(
        zendesk.body_of(ticket, reference="a1", custom_fields=options.pop("fields", {}), **options)
    )["ticket"]


def test_a_ticket_is_filed_with_its_key() -> None:
    request = ACCOUNT.to_create(b"{}", reference="a1")
    assert (request.method, str(request.origin)) == ("POST", "https://example.zendesk.com")
    assert (request.path, request.body) == ("/api/v2/tickets.json", b"{}")
    assert dict(request.headers) == {
        "Authorization": "Basic YWdlbnRAZXhhbXBsZS5jb20vdG9rZW46eHgtdG9rZW4=",
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Idempotency-Key": "a1",
    }


def test_a_ticket_is_looked_for_by_its_key() -> None:
    request = msgspec.structs.replace(ACCOUNT, email=None).to_find(reference="a&b=/é")
    assert (request.method, request.path) == ("GET", "/api/v2/tickets.json?external_id=a%26b%3D%2F%C3%A9")
    assert dict(request.headers) == {"Authorization": "Bearer xx-token", "Accept": "application/json"}


def test_an_account_does_not_show_its_token() -> None:
    assert repr(ACCOUNT) == "<Account https://example.zendesk.com/api/v2>"


@pytest.mark.parametrize("key", ["a1", "5a3c4d1e-7f64-4b0e-9d50-0c7f3a1b2c3d", "x" * 255])
def test_a_plain_key_stays_as_it_is(key: str) -> None:
    assert zendesk.reference_of(key) == key


@pytest.mark.parametrize("key", ["", "a b", "a\n", "é", "x" * 256, "\ud800"])
def test_any_other_key_becomes_one_of_its_own(key: str) -> None:
    reference = zendesk.reference_of(key)
    assert reference.startswith("sha256-")
    assert len(reference) == 71
    assert zendesk.reference_of(key) == reference != zendesk.reference_of(key + "x")


@pytest.mark.parametrize("name", [None, "", "login", "a b@example.com", "a@b@c.com", "a@example", "<a@example.com>"])
def test_who_has_no_address_is_no_requester(name: str | None) -> None:
    assert zendesk.requester_of(Context(username=name, user_display_name="Ann")) is None


def test_who_has_an_address_is_the_requester_but_for_the_anonymous() -> None:
    ann = Context(username="a@example.com", user_display_name="Ann")
    assert zendesk.requester_of(ann) == {"email": "a@example.com", "name": "Ann"}
    assert zendesk.requester_of(msgspec.structs.replace(ann, user_display_name=None)) == {
        "email": "a@example.com",
        "name": "a@example.com",
    }
    assert zendesk.requester_of(msgspec.structs.replace(ann, anonymous=True)) is None


def test_a_ticket_says_what_is_known_of_it() -> None:
    ticket = Ticket(
        subject="It hums", description="All day.", category="c", product_id="p", custom={"a": [1], "b": {"c": None}}
    )
    assert body(
        ticket,
        fields={"category": 1, "b": 2, "productId": None},
        tags=("bot",),
        requester={"email": "a@example.com"},
        signature="Ann",
    ) == {
        "subject": "It hums",
        "comment": {"body": "All day.\n\na: [1]\nuserDisplayName: Ann"},
        "external_id": "a1",
        "custom_fields": [{"id": 1, "value": "c"}, {"id": 2, "value": '{"c":null}'}],
        "tags": ["bot"],
        "requester": {"email": "a@example.com"},
    }


def test_an_empty_ticket_has_a_comment_all_the_same() -> None:
    assert body(Ticket()) == {"comment": {"body": "-"}, "external_id": "a1"}


@pytest.mark.parametrize(
    ("content", "location", "expected"),
    [
        (b'{"ticket":{"id":35436,"subject":"s"}}', None, "35436"),
        (b'{"ticket":{"id":35436}', "https://x/api/v2/tickets/35436.json", "35436"),
        (b"", "https://x/tickets/35436", "35436"),
        (b"", "https://x/tickets/35436.json/other", None),
        (b"", None, None),
        (b'{"ticket":{"id":0}}', None, None),
        (b'{"ticket":{"id":"1"}}', None, None),
        (b"\xff", None, None),
        (b"[" * 5000, None, None),
    ],
)
def test_the_id_is_read_from_the_body_or_the_location(content: bytes, location: str | None, expected: str) -> None:
    headers = () if location is None else (("location", location),)
    assert zendesk.created_id(Reply(status=201, headers=headers, body=content)) == expected


def test_the_first_ticket_with_the_key_is_found() -> None:
    tickets = b'{"tickets":[{"id":3,"external_id":"a1"},{"id":1,"external_id":"b"},{"id":2,"external_id":"a1"}]}'
    assert zendesk.found_id(Reply(status=200, body=tickets), "a1") == "2"
    assert zendesk.found_id(Reply(status=200, body=tickets), "c") is None
    with pytest.raises(ValueError, match="cannot be read"):
        zendesk.found_id(Reply(status=200, body=b"{}"), "a1")


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (422, b'{"error":"RecordInvalid","details":{"requester":[],"Ann":[]}}', "HTTP 422 (RecordInvalid, requester)"),
        (422, b'{"error":"Ann","details":{"base":[]}}', "HTTP 422 (base)"),
        (422, b'{"error":{"title":"Ann"},"details":["Ann",{}]}', "HTTP 422"),
        (401, b"Ann", "HTTP 401"),
    ],
)
def test_a_refusal_is_told_in_words_that_zendesk_has(status: int, content: bytes, expected: str) -> None:
    assert zendesk.reason_of(Reply(status=status, body=content)) == expected


@pytest.mark.parametrize(("status", "error", "expected"), [
    (400, "IdempotentRequestError", True), (422, "IdempotentRequestError", False), (400, "RecordInvalid", False),
])  # fmt: skip
def test_a_key_of_another_ticket_is_recognised(status: int, error: str, expected: bool) -> None:
    reply = Reply(status=status, body=msgspec.json.encode({"error": error}))
    assert zendesk.is_key_of_another(reply) is expected
