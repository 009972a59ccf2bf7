"""The 69 examples of the documents get the verdict that their own rules give: when read, strictly and leniently, and
when the same thing is done in a session.

Three of them are not valid by the reference that stands beside them (``autoSelection`` as a string, conflict A-01).
The others are. A fragment is looked at inside the smallest whole that is valid; parts of one event are put together.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from caseassist.core.errors import ActionError
from caseassist.core.events import Context
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.reading import Received, read_body, read_request
from caseassist.wire.requests import WireFormat

Json = dict[str, Any]

DATA = Path(__file__).parent / "data"
EXAMPLES: dict[str, Json] = {
    example["id"]: example for example in json.loads((DATA / "examples.json").read_text(encoding="utf-8"))
}
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"
ORGANIZATION = "myorganizationid9sd8df7s"

# The smallest wholes.
ACTION: Json = {"action": "ticket_next_stage", "actionData": None, "ticket": {}, "event": "click"}
SUGGESTED = EXAMPLES["EX-3437-11"]["payload"]
CLICK: Json = {"actionCause": "documentOpen", "documentPosition": 1, "language": "en", "searchQueryUid": "q",
               "sourceName": "s"}  # fmt: skip
CUSTOM: Json = {"eventType": "facet", "eventValue": "facetSearch", "language": "en"}
COMPANIONS: dict[str, Json] = {  # what an example needs beside it
    "splitTestRunName": {"splitTestRunVersion": "a", "queryPipeline": "p"},
    "splitTestRunVersion": {"splitTestRunName": "a", "queryPipeline": "p"},
}


def whole(example: Json) -> tuple[str, Json]:
    """The kind of request that the example belongs to, and a whole payload with the example in it."""
    payload: Json = example["payload"]
    match example["kind"]:
        case "svc":
            return "collect", payload
        case "svc-part":
            return "collect", ACTION | payload
        case "ticket-fragment" if "id" in payload:
            return "collect", ACTION | {"action": "ticket_create", "ticket": payload}
        case "ticket-fragment":
            return "collect", ACTION | {"ticket": payload}
        case "click" | "custom" as kind:
            return kind, payload
        case "click-fragment" if example["doc"] == "3437":
            cause = example["name"].strip("`")
            return "click", SUGGESTED | {"actionCause": cause} | payload
        case "click-fragment":
            return "click", CLICK | COMPANIONS.get(next(iter(payload)), {}) | payload
        case "custom-fragment":
            companions = {**COMPANIONS.get(next(iter(payload)), {})}
            companions.pop("queryPipeline", None)  # not a property of custom events
            return "custom", CUSTOM | companions | payload
    raise AssertionError(example["kind"])


def on_the_wire(kind: str, payload: Json) -> Json:
    if kind != "collect":
        return payload
    ticket = {f"svc_ticket_{name}": value for name, value in payload["ticket"].items()}
    body = {
        "t": "event",
        "ec": "svc",
        "ea": payload["event"],
        "svc_action": payload["action"],
        "svc_action_data": payload.get("actionData"),
        "searchHub": payload.get("searchHub"),
        "cid": CLIENT_ID,
    }
    return body | ticket


def read(example: Json, *, strict: bool) -> Received:
    kind, payload = whole(example)
    return read_body(kind, on_the_wire(kind, payload), strict=strict)


def do(example: Json) -> Session:
    """Do in a session what the example logs. Raises ActionError where the rules are broken."""
    kind, payload = whole(example)
    context = {"clientId": CLIENT_ID, "searchHub": payload.get("searchHub", "bot"), "language": "en"}
    session = Session(id="a1")
    ticket = {name: value for name, value in payload.get("ticket", {}).items() if name != "id"}
    session = Session.fold(session.start(ticket, context, at=AT), session)
    data = payload.get("actionData") or {}
    records: tuple[Record, ...] = ()
    match kind, payload.get("action") or payload.get("actionCause") or "":
        case "collect", "ticket_create_start":
            pass  # that was it
        case "collect", "ticket_field_update":
            name = data["fieldName"]
            records = session.update_field(name, ticket[name], at=AT)
        case "collect", "ticket_classification_click":
            records = session.select_classification(
                data["classificationId"],
                response_id=data["responseId"],
                field_name=data["fieldName"],
                classification=data["classification"],
                auto_selection=data["autoSelection"],
                at=AT,
            )
        case "collect", "suggestion_rate":
            suggestion = data["suggestion"] | {"sourceName": "s"}  # where it comes from, a rating does not say
            records = session.rate_document(
                data["suggestionId"], data["rate"], response_id=data["responseId"], suggestion=suggestion, at=AT
            )
        case "collect", "ticket_next_stage":
            records = session.next_stage(at=AT)
        case "collect", "ticket_cancel":
            assert data == {"reason": "Solved"}
            records = session.solve(at=AT)
        case "collect", "ticket_create":
            records = session.create(payload["ticket"]["id"], at=AT)
        case "click", ("documentSuggestionClick" | "documentSuggestionQuickview") as cause:
            act = session.open_document if cause == "documentSuggestionClick" else session.quickview_document
            members = ("documentTitle", "documentUrl", "documentPosition", "sourceName")
            records = act(
                payload["customData"]["contentIDValue"],
                response_id=payload["searchQueryUid"],
                suggestion={name: payload[name] for name in members},
                at=AT,
            )
        case "click", _:
            records = session.log_click(payload, at=AT)
        case _:
            records = session.log_custom(payload, at=AT)
    return Session.fold(records, session)


PAYLOADS = [name for name, example in EXAMPLES.items() if example["kind"] != "http"]
BROKEN = {"EX-3437-01", "EX-3437-04", "EX-3437-10"}


def verdict(name: str, *, strict: bool) -> str:
    try:
        read(EXAMPLES[name], strict=strict)
    except ActionError:
        return "reject"
    return "accept"


@pytest.mark.parametrize("name", PAYLOADS)
def test_an_example_gets_its_verdict_when_read(name: str) -> None:
    assert verdict(name, strict=True) == EXAMPLES[name]["strict"]
    assert verdict(name, strict=False) == EXAMPLES[name]["lenient"]


@pytest.mark.parametrize("name", PAYLOADS)
def test_an_example_can_be_done_in_a_session_if_it_keeps_the_rules(name: str) -> None:
    if EXAMPLES[name]["strict"] == "accept":
        session = do(EXAMPLES[name])
        assert session.next_seq >= 1
    else:
        with pytest.raises(ActionError) as refused:
            do(EXAMPLES[name])
        assert refused.value.rule == "CA-068"


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_an_example_says_is_there_after_reading(name: str) -> None:
    kind, payload = whole(EXAMPLES[name])
    received = read(EXAMPLES[name], strict=False)
    if kind == "collect":
        assert type(received.event).__struct_config__.tag == payload["action"]
        assert msgspec.to_builtins(received.ticket) == payload["ticket"]
        assert received.context.search_hub == payload.get("searchHub")
    else:
        found = msgspec.to_builtins(received.event) | msgspec.to_builtins(received.context)
        moved = {"originLevel1": "searchHub", "searchQueryUid": "responseId"}
        suggested = "suggestion" in found
        for member, value in payload.items():
            if member == "customData" and suggested:
                assert found["suggestionId"] == value["contentIDValue"]
            elif member == "actionCause" and suggested:
                assert found["action"] == value
            elif suggested and member in found["suggestion"]:
                assert found["suggestion"][member] == value
            elif member == "originLevel1" or (member == "searchQueryUid" and suggested):
                assert found[moved[member]] == value
            elif member == "documentPosition" and value == 1:
                assert member not in found  # the default
            elif member == "anonymous" and value is False:
                assert received.context.anonymous is False
            else:
                assert found[member] == value, member


def test_only_three_examples_break_their_own_rules_and_none_cannot_be_put_right() -> None:
    assert len(EXAMPLES) == 69
    assert {name for name in PAYLOADS if verdict(name, strict=True) == "reject"} == BROKEN
    assert all(verdict(name, strict=False) == "accept" for name in PAYLOADS)
    for name in BROKEN:
        assert [coercion.id for coercion in read(EXAMPLES[name], strict=False).coercions] == ["A-01"]
    for name in set(PAYLOADS) - BROKEN:
        assert read(EXAMPLES[name], strict=False).coercions == ()


@pytest.mark.parametrize(
    "names", [("EX-3437-01", "EX-3437-02", "EX-3437-03"), ("EX-3437-04", "EX-3437-05", "EX-3437-06")]
)
def test_the_three_parts_of_an_event_make_a_whole_one(names: tuple[str, ...]) -> None:
    payload: Json = {}
    for name in names:
        payload |= EXAMPLES[name]["payload"]
    received = read_body("collect", on_the_wire("collect", payload))
    assert msgspec.to_builtins(received.ticket) == payload["ticket"]
    assert [coercion.id for coercion in received.coercions] == ["A-01"]


@pytest.mark.parametrize("name", ["EX-2064-HTTP", "EX-2650-HTTP"])
def test_the_request_line_and_headers_are_the_documented_ones(name: str) -> None:
    example = EXAMPLES[name]["payload"]
    kind, payload = whole(EXAMPLES[name.replace("HTTP", "01")])
    context = Context(client_id=CLIENT_ID, search_hub="bot", language="en")
    session = Session(id="a1")
    session = Session.fold(session.start(context=context, at=AT), session)
    (record,) = (session.log_click if kind == "click" else session.log_custom)(payload, at=AT)
    wire_format = WireFormat(endpoint=Endpoint.for_organization(ORGANIZATION))
    request = wire_format.request(record, "**********-****-****-****-************")
    assert request is not None
    assert request.method == example["method"]
    assert f"{request.origin}{request.path}" == example["url"]
    assert {name: value for name, value in request.headers if name != "User-Agent"} == example["headers"]


def test_the_custom_event_as_it_is_printed_is_no_json_and_is_not_repaired() -> None:
    printed = json.dumps(EXAMPLES["EX-2650-01"]["payload"])[:-1] + ",}"
    for strict in (True, False):
        with pytest.raises(ActionError, match="expected a JSON object"):
            read_request("/custom", printed.encode(), strict=strict)
