"""Requests of the Customer Service API, and what its replies mean."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseassist.core.errors import InvalidAction, NoSuggestions
from caseassist.core.events import Context, Ticket
from caseassist.core.suggestions import read_classifications, read_documents
from caseassist.wire.http import Origin, Reason, Reply, Request, TransportError
from caseassist.wire.requests import PRODUCT
from caseassist.wire.secret import Secret
from caseassist.wire.service import (
    MAX_ANSWER_BYTES,
    CaseAssistEndpoint,
    ServiceFormat,
    failure_of,
    read_answer,
)

ID = "00000000-1111-2222-3333-444444444444"
ENDPOINT = CaseAssistEndpoint.for_organization("myorg", ID)
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"
CONTEXT = Context(client_id=CLIENT_ID, language="en", origin_context="CaseAssist")
NOW = datetime(2026, 11, 20, 12, 0, 0, 123999, tzinfo=UTC)
TICKET = Ticket(
    id="5003",
    subject="s",
    description="d",
    category="Electrical",
    product_id="P1",
    custom={"urgency": "High", "visitorAge": 18},
)


def body_of(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


def classify(ticket: Ticket, context: Context = CONTEXT, **options: Any) -> dict[str, Any]:
    return body_of(ServiceFormat(endpoint=ENDPOINT, **options).classify(ticket, context, None))


def suggest(ticket: Ticket, context: Context = CONTEXT, **options: Any) -> dict[str, Any]:
    return body_of(ServiceFormat(endpoint=ENDPOINT, **options).suggest_documents(ticket, context, None, now=NOW))


# Where


def test_an_organization_has_an_address_of_its_own() -> None:
    path = f"/rest/organizations/myorg/caseassists/{ID}"
    assert CaseAssistEndpoint(Origin("https", "myorg.org.coveo.com", 443), path) == ENDPOINT
    assert str(ENDPOINT) == f"https://myorg.org.coveo.com{path}"
    hipaa = CaseAssistEndpoint.for_organization("myorg", ID, hipaa=True)
    assert str(hipaa) == f"https://myorg.orghipaa.coveo.com{path}"


@pytest.mark.parametrize(
    ("base", "start"),
    [
        ("https://platform.cloud.coveo.com", "https://platform.cloud.coveo.com"),
        ("https://Platform.Cloud.Coveo.com/", "https://platform.cloud.coveo.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://proxy.example.com/coveo/", "https://proxy.example.com/coveo"),
    ],
)
def test_a_base_url_may_have_a_path(base: str, start: str) -> None:
    endpoint = CaseAssistEndpoint.parse(base, "myorg", ID)
    assert str(endpoint) == f"{start}/rest/organizations/myorg/caseassists/{ID}"


@pytest.mark.parametrize(
    "base", ["", "myorg", "ftp://host", "https://", "https://u:p@host", "https://host/?a", "https://h#"]
)
def test_what_is_no_base_url_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        CaseAssistEndpoint.parse(base, "myorg", ID)


@pytest.mark.parametrize("organization", ["", "My Org", "a/b", "..", "a.b", "-a"])
def test_what_is_no_organization_is_refused(organization: str) -> None:
    with pytest.raises(ValueError, match="organization id"):
        CaseAssistEndpoint.parse("https://host", organization, ID)
    with pytest.raises(ValueError, match="organization id"):
        CaseAssistEndpoint.for_organization(organization, ID)


@pytest.mark.parametrize("case_assist_id", ["", "..", "a/b", "a?b", "a b", "é", "a" * 129])
def test_what_is_no_case_assist_id_is_refused(case_assist_id: str) -> None:
    with pytest.raises(ValueError, match="Case Assist id"):
        CaseAssistEndpoint.for_organization("myorg", case_assist_id)


# What is asked


def test_classify_sends_what_the_person_wrote() -> None:
    request = ServiceFormat(endpoint=ENDPOINT).classify(TICKET, CONTEXT, "tok")
    assert (request.method, request.origin) == ("POST", ENDPOINT.origin)
    assert request.path == f"/rest/organizations/myorg/caseassists/{ID}/classify"
    assert dict(request.headers) == {
        "Authorization": "Bearer tok",
        "Content-Type": "application/json",
        "User-Agent": PRODUCT,
    }
    assert body_of(request) == {
        "clientId": CLIENT_ID,
        "locale": "en",
        "fields": {"subject": {"value": "s"}, "description": {"value": "d"}},
    }


def test_documents_are_asked_for_with_what_was_chosen_as_well() -> None:
    request = ServiceFormat(endpoint=ENDPOINT).suggest_documents(TICKET, CONTEXT, None, now=NOW)
    assert request.path == f"/rest/organizations/myorg/caseassists/{ID}/documents/suggest"
    assert "Authorization" not in dict(request.headers)
    assert body_of(request) == {
        "clientId": CLIENT_ID,
        "locale": "en",
        "fields": {"subject": {"value": "s"}, "description": {"value": "d"}},
        "context": {"urgency": "High", "visitorAge": "18", "category": "Electrical", "productId": "P1"},
        "analytics": {
            "clientId": CLIENT_ID,
            "clientTimestamp": "2026-11-20T12:00:00.123Z",
            "originContext": "CaseAssist",
            "actionCause": "documentSuggestion",
            "capture": True,
            "source": [PRODUCT.replace("/", "@")],
        },
    }


def test_the_analytics_say_what_the_context_knows() -> None:
    context = Context(
        client_id=CLIENT_ID,
        origin_level3="https://before",
        location="https://here",
        tracking_id="portal",
        user_display_name="Jo",
    )
    there = timezone(timedelta(hours=-5))
    request = ServiceFormat(endpoint=ENDPOINT).suggest_documents(
        Ticket(), context, None, now=NOW.astimezone(there).replace(microsecond=0)
    )
    analytics = body_of(request)["analytics"]
    assert analytics["clientTimestamp"] == "2026-11-20T12:00:00.000Z"
    assert analytics["documentReferrer"] == "https://before"
    assert analytics["documentLocation"] == "https://here"
    assert (analytics["trackingId"], analytics["userDisplayName"]) == ("portal", "Jo")
    page = msgspec.structs.replace(context, referrer="https://page", anonymous=True)
    analytics = suggest(Ticket(), page)["analytics"]
    assert analytics["documentReferrer"] == "https://page"
    assert "userDisplayName" not in analytics


def test_without_analytics_nobody_is_named() -> None:
    assert classify(TICKET, analytics=False).keys() == {"locale", "fields"}
    assert suggest(TICKET, analytics=False).keys() == {"locale", "fields", "context"}
    assert suggest(TICKET, Context()).keys() == {"fields", "context"}


def test_a_locale_goes_before_the_language() -> None:
    assert classify(TICKET, locale="fr-CA")["locale"] == "fr-CA"
    assert "locale" not in classify(TICKET, Context())


@pytest.mark.parametrize(
    ("options", "classified", "suggested"),
    [
        ({}, "", ""),
        ({"debug": True}, "?debug=1", "?debug=1"),
        ({"number_of_results": 7}, "", "?numberOfResults=7"),
        ({"debug": True, "number_of_results": 100}, "?debug=1", "?debug=1&numberOfResults=100"),
    ],
)
def test_debug_and_the_number_of_results_are_in_the_query(
    options: dict[str, Any], classified: str, suggested: str
) -> None:
    form = ServiceFormat(endpoint=ENDPOINT, **options)
    assert form.classify(TICKET, CONTEXT, None).path.partition("classify")[2] == classified
    assert form.suggest_documents(TICKET, CONTEXT, None, now=NOW).path.partition("suggest")[2] == suggested


def test_which_members_are_inputs_and_which_go_along_can_be_said() -> None:
    inputs = ("subject", "productId", "visitorAge", "id", "nothing")
    body = suggest(TICKET, input_fields=inputs)
    assert body["fields"] == {
        "subject": {"value": "s"},
        "productId": {"value": "P1"},
        "visitorAge": {"value": "18"},
        "id": {"value": "5003"},
    }
    assert body["context"] == {"urgency": "High", "description": "d", "category": "Electrical"}
    assert suggest(TICKET, context_fields=("category", "nothing"))["context"] == {"category": "Electrical"}
    assert suggest(TICKET, context_fields=())["context"] == {}


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_what_is_empty_is_left_out(empty: Any) -> None:
    ticket = Ticket(subject="", description="d", custom={"a": empty, "b": 0, "c": False})
    body = suggest(ticket, input_fields=("subject", "description", "a"))
    assert body["fields"] == {"description": {"value": "d"}}
    assert body["context"] == {"b": "0", "c": "false"}
    assert suggest(ticket)["context"] == {"b": "0", "c": "false"}


def test_values_that_are_no_text_are_sent_as_text() -> None:
    custom = {"tags": ["a", 1, "", None, True], "plan": {"level": "é"}, "none": ["", None]}
    body = suggest(Ticket(custom=custom))
    assert body["context"] == {"tags": ["a", "1", "true"], "plan": '{"level":"é"}'}
    fields = classify(Ticket(custom=custom), input_fields=("tags", "plan"))["fields"]
    assert fields == {"tags": {"value": '["a",1,"",null,true]'}, "plan": {"value": '{"level":"é"}'}}


def test_of_two_members_by_one_name_the_tickets_own_is_sent() -> None:
    assert suggest(Ticket(category="mine", custom={"category": "other"}))["context"] == {"category": "mine"}
    assert suggest(Ticket(custom={"category": "other"}))["context"] == {"category": "other"}


# What comes back

REQUEST = ServiceFormat(endpoint=ENDPOINT).classify(Ticket(subject="SamSubject"), CONTEXT, "xxCanaryT0ken")


@pytest.mark.parametrize(
    ("remedy", "statuses"),
    [
        ("retry", [408, 425, 429, 500, 502, 503, 504, 599]),
        ("new_token", [401, 419]),
        ("none", [100, 301, 302, 304, 400, 403, 404, 407, 410, 413, 418, 422, 499]),
    ],
)
def test_the_status_says_what_may_help(remedy: str, statuses: list[int]) -> None:
    for status in statuses:
        failure = failure_of(Reply(status=status), request=REQUEST, token=None)
        assert failure is not None
        assert (failure.remedy, failure.status) == (remedy, status)
        assert failure.reason.startswith(f"HTTP {status}")


def test_a_success_is_no_failure() -> None:
    assert failure_of(Reply(status=200), request=REQUEST, token=None) is None
    assert failure_of(Reply(status=204), request=REQUEST, token=None) is None


def test_what_the_service_asks_for_is_read() -> None:
    reply = Reply(status=429, headers=(("retry-after", "7"),), body=b'{"type": "TooManyRequests"}')
    failure = failure_of(reply, request=REQUEST, token=None)
    assert failure is not None
    assert (failure.retry_after_s, failure.reason) == (7.0, "HTTP 429 Too Many Requests (TooManyRequests)")


@pytest.mark.parametrize("kind", ["xxCanaryT0ken", "NoSAMSUBJECTHere"])
def test_what_a_server_echoes_does_not_show(kind: str) -> None:
    reply = Reply(status=400, body=json.dumps({"type": kind, "message": kind}).encode())
    failure = failure_of(reply, request=REQUEST, token=Secret("xxCanaryT0ken"))
    assert failure is not None
    assert not any(word in repr(failure).lower() for word in ("canaryt0ken", "samsubject"))


@pytest.mark.parametrize(
    ("reason", "maybe_sent", "remedy"),
    [
        ("connect", False, "retry"),
        ("tls", False, "retry"),
        ("timeout", True, "retry"),
        ("closed", True, "retry"),
        ("protocol", True, "retry"),
        ("closed", False, "none"),  # the transport was closed
        ("too_large", True, "none"),
        ("refused_plaintext", False, "none"),
    ],
)
def test_a_broken_connection_is_worth_another_try(reason: Reason, maybe_sent: bool, remedy: str) -> None:
    error = TransportError(reason, "why", maybe_sent=maybe_sent)
    failure = failure_of(error, request=REQUEST, token=None)
    assert failure is not None
    assert (failure.remedy, failure.reason, failure.status) == (remedy, str(error), None)


CLASSIFIED = b'{"responseId":"r","fields":{"category":{"predictions":[{"id":"c","value":"v","confidence":0.5}]}}}'


def test_an_answer_is_read_into_an_offer() -> None:
    offer = read_answer(Reply(status=200, body=CLASSIFIED), read_classifications)
    assert (offer.response_id, offer.classifications[0].classification.value) == ("r", "v")


@pytest.mark.parametrize(
    ("body", "length", "says"),
    [
        (b"", None, "cannot be read"),
        (b"", "0", "cannot be read"),
        (b"[]", "2", "cannot be read"),
        (CLASSIFIED.replace(b"0.5", b'"canary"'), None, r"cannot be read \(rule CA-067\)"),
        (CLASSIFIED[:-9], str(len(CLASSIFIED)), "too long"),
        (CLASSIFIED[:-9], "nonsense", "cannot be read"),
        (b" " * MAX_ANSWER_BYTES, None, "too long"),
    ],
)
def test_what_cannot_be_read_gives_no_suggestions(body: bytes, length: str | None, says: str) -> None:
    headers = () if length is None else (("content-length", length),)
    with pytest.raises(NoSuggestions, match=says) as caught:
        read_answer(Reply(status=200, headers=headers, body=body), read_classifications)
    assert caught.value.status == 200
    assert isinstance(caught.value.__cause__, InvalidAction)
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


@given(st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["fields", "documents", "responseId", "a"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_an_offer_or_no_suggestions(body: bytes) -> None:
    for read in (read_classifications, read_documents):
        with suppress(NoSuggestions):
            read_answer(Reply(status=200, body=body), read)
