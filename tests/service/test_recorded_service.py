"""Real traffic: our client asks the Customer Service API as Coveo's does, and what it offers is logged the same.

``data/service_api.jsonl`` holds what @coveo/headless 4.0.0 asked, and the answers. Each exchange is made again over a
real socket: our request must be the recorded one, but for two members of its analytics, and its answer must become an
offer. Then suggestions are taken from these offers, and what :class:`HTTPSink` sends is held against what Coveo's
client was recorded to send for the same suggestions (``data/captures.jsonl``; the deviations are those of
``test_recorded_traffic``).
"""

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from tests.fakes import Pauses
from tests.test_recorded_traffic import BROWSER, DEVIATIONS, NEEDED, RECORDINGS, body_of, recorder, understand
from tests.test_recorded_traffic import TOKEN as UA_TOKEN

from caseassist import Case, CaseAssist, HTTPSink
from caseassist.core.errors import NoSuggestions
from caseassist.core.events import ClassificationsOffered, DocumentsOffered, OfferedDocument
from caseassist.service.client import CustomerService
from caseassist.testing.http import ReceivedRequest, ScriptServer, reply
from caseassist.wire.requests import PRODUCT

Json = dict[str, Any]

DATA = Path(__file__).parents[1] / "data"
EXCHANGES: list[Json] = [
    json.loads(line) for line in (DATA / "service_api.jsonl").read_text(encoding="utf-8").splitlines()
]
TOKEN = "xx12345678-aaaa-bbbb-cccc-1234567890ab"
ID = "00000000-1111-2222-3333-444444444444"

DESCRIPTION = "My GC110 electrical panel is cutting off intermittently"
WRITTEN = {"subject": "GC110 malfunction", "description": DESCRIPTION}
OF_AN_ERROR = {"id": "5003000000D8cuI", "subject": "", "description": "x", "category": "Mechanical"}
"""The program that was recorded had made its id a case input: an oddity of its own."""

TICKETS: dict[str, Json] = {
    "caseInput-update-with-fetches": WRITTEN,
    "caseField-update-auto": WRITTEN | {"category": "Electrical"},
    "caseField-update-user": WRITTEN | {"category": "Mechanical"},
    "documentSuggestionList-fetch": WRITTEN | {"category": "Mechanical", "custom": {"urgency": "High"}},
    "empty-values-omitted": OF_AN_ERROR,
    **{f"customer-service-error-{what}": OF_AN_ERROR for what in (400, 401, 419, 404, 500, "429once", 429)},
}
"""The ticket, as it was when the recorded program asked."""


def name_of(exchange: Json) -> str:
    return f"{exchange['scenario']}#{exchange['seq']}"


def ticket_of(exchange: Json) -> Json:
    return TICKETS[exchange["scenario"].rpartition("/")[2]]


def as_recorded(received: ReceivedRequest) -> Json:
    """What arrived, in the form of the recordings."""
    path, _, query = received.path.partition("?")
    return {
        "method": received.method,
        "path": path,
        "query": dict(parse_qsl(query, strict_parsing=True)) if query else {},
        "headers": {name: received.header(name) for name in ("authorization", "content-type")},
        "body": json.loads(received.body),
    }


def context_of(recorded: Json) -> Json:
    """What the recorded program knew of the person and the page."""
    analytics = recorded["body"].get("analytics", {})
    members = {
        "clientId": recorded["body"]["clientId"],
        "language": "en",
        "originContext": analytics.get("originContext"),
        "trackingId": analytics.get("trackingId"),
        "referrer": analytics.get("documentReferrer"),
        "location": analytics.get("documentLocation"),
    }
    return {name: value for name, value in members.items() if value is not None}


def service_at(url: str, exchange: Json) -> CustomerService:
    recorded = exchange["request"]
    asked_at = recorded["body"].get("analytics", {}).get("clientTimestamp", "2026-11-21T00:04:04.150Z")
    return CustomerService(
        url,
        organization="myorg123",
        case_assist_id=ID,
        token=TOKEN,
        locale="en-US",
        input_fields=("subject", "description", "id"),
        sleep=Pauses(),
        clock=lambda: datetime.fromisoformat(asked_at).astimezone(UTC),
    )


async def ask(service: CustomerService, what: str, case: Case) -> ClassificationsOffered | DocumentsOffered:
    ask = service.classify if what == "classify" else service.suggest_documents
    return await ask(case.ticket, case.session.context)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=name_of)
async def test_a_recorded_request_is_made_the_same_and_its_answer_becomes_an_offer(exchange: Json) -> None:
    recorded, answer = deepcopy(exchange["request"]), exchange["response"]
    what = recorded["path"].partition(f"{ID}/")[2]
    last = reply(400)  # ends what is tried again
    async with (
        ScriptServer(reply(answer["status"], json.dumps(answer["body"]).encode()), then=last) as server,
        service_at(server.url, exchange) as service,
        CaseAssist() as assist,
    ):
        ticket = dict(ticket_of(exchange))
        created = ticket.pop("id", None)
        case = await assist.start(ticket, context=context_of(recorded))
        if created is not None:
            await case.create(created)
        if answer["status"] == 200:
            offer = await ask(service, what, case)
            assert offer.response_id == answer["body"]["responseId"]
            if created is None:
                act = case.offer_classifications if what == "classify" else case.offer_documents
                assert (await act(offer)).event == offer  # type: ignore[arg-type]
        else:
            with pytest.raises(NoSuggestions) as failed:
                await ask(service, what, case)
            assert failed.value.status == (400 if answer["status"] in (429, 500) else answer["status"])
            assert "Something is wrong" not in f"{failed.value!r}"
    requests = [as_recorded(request) for request in server.requests]
    assert len(requests) == (2 if answer["status"] in (429, 500) else 1)
    assert all(request == requests[0] for request in requests)
    if "analytics" in recorded["body"]:  # browser-only: who asks is another program
        assert recorded["body"]["analytics"].pop("source") == ["@coveo/headless@4.0.0"]
        assert requests[0]["body"]["analytics"].pop("source") == [PRODUCT.replace("/", "@")]
    assert requests[0] == recorded


async def test_what_coveos_client_tried_again_we_try_again() -> None:
    first, second = (one for one in EXCHANGES if one["scenario"].endswith("429once"))
    script = [reply(one["response"]["status"], json.dumps(one["response"]["body"]).encode()) for one in (first, second)]
    async with (
        ScriptServer(*script, then=reply(400)) as server,
        service_at(server.url, first) as service,
        CaseAssist() as assist,
    ):
        case = await assist.start({"description": "x"}, context=context_of(first["request"]))
        await case.create("5003000000D8cuI")
        offer = await ask(service, "classify", case)
    assert offer.response_id == second["response"]["body"]["responseId"]
    assert [as_recorded(request) for request in server.requests] == [first["request"], second["request"]]


def test_all_14_exchanges_are_compared() -> None:
    assert len(EXCHANGES) == 14
    assert {one["scenario"].rpartition("/")[2] for one in EXCHANGES} == TICKETS.keys()


# What is taken from an offer is logged the same.

CLASSIFIED = next(one for one in EXCHANGES if one["request"]["path"].endswith("/classify"))
SUGGESTED = next(one for one in EXCHANGES if one["request"]["path"].endswith("/suggest"))


def first_of(offer: ClassificationsOffered | DocumentsOffered) -> str:
    if isinstance(offer, DocumentsOffered):
        return offer.documents[0].suggestion_id
    return offer.classifications[0].classification_id


TAKEN = (
    "caseAssist/chromium/provider/logSelectFieldSuggestion/autoSelection-true",
    "caseAssist/chromium/provider/logSelectFieldSuggestion/autoSelection-false",
    "caseAssist/chromium/provider/logSelectFieldSuggestion/autoSelection-absent",
    "caseAssist/chromium/provider/logSelectDocumentSuggestion",
    "caseAssist/chromium/provider/logQuickviewDocumentSuggestion",
    "caseAssist/chromium/provider/logRateDocumentSuggestion",
)


@pytest.mark.parametrize("scenario", TAKEN)
async def test_a_suggestion_that_is_taken_gives_the_event_that_coveos_client_logs(scenario: str) -> None:
    recording = RECORDINGS[scenario]
    done, expected = understand(recording), deepcopy(recording["request"])
    answer = CLASSIFIED if done.action == "ticket_classification_click" else SUGGESTED
    for name in NEEDED[scenario]:
        if name == "response-id-as-query":
            continue  # the recorded page knew the id of the response: it is the answer's
        DEVIATIONS[name].apply(expected, done)
    sent = body_of(expected)
    if done.action == "suggestion_rate":
        # The rated document is that of the answer, but the program that was recorded made up two ids: ours are those
        # that article 3437 asks for, the permanentid of the document and the id of the response.
        (document, *_) = answer["response"]["body"]["documents"]
        assert document["uniqueId"].endswith(sent["svc_action_data"]["suggestionId"])
        sent["svc_action_data"]["suggestionId"] = document["fields"]["permanentid"]
        sent["svc_action_data"]["responseId"] = answer["response"]["body"]["responseId"]

    recorded = body_of(recording["request"])
    context = {
        "clientId": recorded.get("cid") or recorded["clientId"],
        "userAgent": recorded.get("ua") or recorded["userAgent"],
        **{name: recorded[key] for key, name in BROWSER.items() if key in recorded},
        **done.context,
    }
    ticket = done.ticket
    if done.action == "ticket_classification_click":
        ticket = {name: value for name, value in ticket.items() if name != "category"}
    async with (
        ScriptServer(then=reply(200, json.dumps(answer["response"]["body"]).encode())) as server,
        recorder() as (address, events),
        service_at(server.url, answer) as service,
        CaseAssist(sinks=[HTTPSink(address, token=UA_TOKEN)]) as assist,
    ):
        case = await assist.start(ticket, context=context)
        if done.action == "ticket_classification_click":
            offer = await service.classify(case.ticket, case.session.context)
            await case.offer_classifications(offer)
            automatic = done.data.get("autoSelection") in (True, "true")
            await case.select_classification(first_of(offer), auto_selection=automatic)
        else:
            documents = await service.suggest_documents(case.ticket, case.session.context)
            await case.offer_documents(documents)
            match done.action:
                case "documentSuggestionClick":
                    await case.open_document(first_of(documents))
                case "documentSuggestionQuickview":
                    await case.quickview_document(first_of(documents))
                case _:
                    await case.rate_document(first_of(documents), done.data["rate"])
        assert (await assist.flush(10)).complete
    found = events[-1]
    for request in (found, expected):
        for name in ("pid", "z"):  # ids that are made for every page and every event
            if name in request["body"]:
                UUID(request["body"].pop(name))
        request["body"].pop("tm", None)
    assert found == expected


async def test_an_offered_document_has_what_is_shown_of_it() -> None:
    async with (
        ScriptServer(then=reply(200, json.dumps(SUGGESTED["response"]["body"]).encode())) as server,
        service_at(server.url, SUGGESTED) as service,
        CaseAssist() as assist,
    ):
        case = await assist.start()
        offer = await service.suggest_documents(case.ticket, case.session.context)
    first: OfferedDocument = offer.documents[0]
    assert first.suggestion.document_title == "GC3000 Series Propane Generator Ignition"
    assert first.suggestion.document_url.startswith("http://www.salesforce.com/org:organization/")
    assert (first.excerpt, first.click_uri) == ("How to fix ignition", "https://support.example.com/s/article/gc3000")
