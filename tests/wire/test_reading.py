"""Requests, read back: what is put right, what cannot be, and that nothing is put right in silence."""

import json
import re
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from caseassist.core.errors import InvalidAction
from caseassist.core.events import (
    Classification,
    ClickEvent,
    Context,
    CustomEvent,
    Document,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    RatedDocument,
    SuggestionClick,
    SuggestionRate,
    Ticket,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketNextStage,
)
from caseassist.wire.reading import Coercion, Received, read_body, read_request

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"

START: Json = {"t": "event", "ec": "svc", "ea": "flowStart", "svc_action": "ticket_create_start", "cid": CLIENT_ID}
CLASSIFIED: Json = START | {
    "ea": "click",
    "svc_action": "ticket_classification_click",
    "svc_action_data": {
        "classificationId": "c",
        "responseId": "r",
        "fieldName": "category",
        "classification": {"value": "Electrical", "confidence": 0.76},
        "autoSelection": False,
    },
}
RATED: Json = START | {
    "ea": "click",
    "svc_action": "suggestion_rate",
    "svc_action_data": {
        "rate": 0.75,
        "suggestionId": "d",
        "responseId": "r",
        "suggestion": {"documentTitle": "t", "documentUrl": "u", "documentPosition": 1, "documentUriHash": "h"},
    },
}
OLD_CLICK: Json = RATED | {
    "svc_action": "suggestion_click",
    "svc_action_data": {key: value for key, value in RATED["svc_action_data"].items() if key != "rate"},
}
SUGGESTED: Json = {
    "actionCause": "documentSuggestionClick",
    "anonymous": False,
    "clientId": CLIENT_ID,
    "customData": {"contentIDKey": "permanentid", "contentIDValue": "d"},
    "documentPosition": 2,
    "documentTitle": "t",
    "documentUrl": "u",
    "language": "en",
    "originContext": "CaseAssist",
    "originLevel1": "bot",
    "originLevel2": "default",
    "searchQueryUid": "r",
    "sourceName": "s",
    "userAgent": "bot/1",
}
CLICK: Json = {"actionCause": "documentOpen", "documentPosition": 1, "language": "en", "searchQueryUid": "q",
               "sourceName": "s"}  # fmt: skip
CUSTOM: Json = {"eventType": "facet", "eventValue": "facetSearch", "language": "en"}


def put(body: Json, **places: Any) -> Json:
    """A copy with members set; ``__`` leads into objects, ``...`` takes a member away."""
    body = deepcopy(body)
    for place, value in places.items():
        *outer, name = place.split("__")
        inner = body
        for key in outer:
            inner = inner[key]
        if value is ...:
            del inner[name]
        else:
            inner[name] = value
    return body


def ids(received: Received) -> list[tuple[str, str]]:
    return [(coercion.id, coercion.path) for coercion in received.coercions]


# Requests


@pytest.mark.parametrize(
    "path",
    ["/collect", "collect", "/rest/ua/v15/analytics/collect", "/x/collect?visitor=a/b", "/rest/v99/analytics/collect?"],
)
def test_a_path_says_the_kind_by_its_end(path: str) -> None:
    assert read_request(path, json.dumps(START).encode()).event == TicketCreateStart()


@pytest.mark.parametrize("path", ["", "/", "/view", "/collect/", "/Collect", "/x?/collect"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidAction, match="a path that ends in") as refused:
        read_request(path, b"{}")
    assert refused.value.path == "$.path"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"a":1,}',
        b"\xff{}",
        b"{\xff:1}",
        b'{"a":"\\ud800"}',
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_what_is_no_json_object_in_utf8_is_refused(body: bytes) -> None:
    for form in (False, True):
        with pytest.raises(InvalidAction, match="expected a JSON object in UTF-8"):
            read_request("/collect", body, form=form)


def test_a_beacons_form_is_read() -> None:
    form = urlencode({"access_token": "secret", "collectEvent": json.dumps(START)}).encode()
    assert read_request("/collect", form, form=True).event == TicketCreateStart()
    with pytest.raises(InvalidAction):
        read_request("/click", form, form=True)
    with pytest.raises(InvalidAction):
        read_request("/click", b"clickEvent=%7B", form=True)


def test_an_unknown_kind_of_body_is_refused() -> None:
    with pytest.raises(InvalidAction, match="expected collect, click or custom"):
        read_body("view", {})


def test_reading_leaves_what_it_reads_as_it_was() -> None:
    for kind, body in (("collect", OLD_CLICK), ("click", SUGGESTED), ("click", CLICK), ("custom", CUSTOM)):
        before = deepcopy(body)
        read_body(kind, body)
        assert body == before


# collect


def test_a_collect_request_gives_event_ticket_context_time_and_id() -> None:
    body = CLASSIFIED | {
        "svc_ticket_id": "T",
        "svc_ticket_subject": "s",
        "svc_ticket_description": "d",
        "svc_ticket_category": "Electrical",
        "svc_ticket_product_id": "p",
        "svc_ticket_custom": {"VisitorAge": 18},
        "searchHub": "bot",
        "ul": "en-US",
        "ua": "bot/1",
        "uid": "alice",
        "trackingId": "site",
        "dl": "l",
        "dr": "r",
        "dt": "t",
        "sr": "1x1",
        "sd": "24-bit",
        "de": "UTF-8",
        "pid": "p",
        "tm": 1795176000123,
        "z": "z1",
    }
    assert read_body("collect", body, strict=True) == Received(
        event=TicketClassificationClick(
            classification_id="c",
            response_id="r",
            field_name="category",
            classification=Classification(value="Electrical", confidence=0.76),
            auto_selection=False,
        ),
        ticket=Ticket(
            id="T", subject="s", description="d", category="Electrical", product_id="p", custom={"VisitorAge": 18}
        ),
        context=Context(
            client_id=CLIENT_ID,
            search_hub="bot",
            language="en",
            user_agent="bot/1",
            username="alice",
            tracking_id="site",
            location="l",
            referrer="r",
            title="t",
            screen_resolution="1x1",
            screen_color="24-bit",
        ),
        time=datetime(2026, 11, 20, 12, 0, 0, 123_000, UTC),
        event_id="z1",
    )


@pytest.mark.parametrize("tm", [None, "1795176000123", 1.5, True, -1, 2**42, [1]])
def test_a_time_that_is_none_is_passed_over(tm: object) -> None:
    assert read_body("collect", START | {"tm": tm, "z": 5}).time is None
    assert read_body("collect", START | {"z": 5}).event_id is None


def test_the_earliest_time_counts() -> None:
    assert read_body("collect", START | {"tm": 0}).time == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_librarys_word_for_nobody_is_no_username_and_an_odd_locale_no_language() -> None:
    context = read_body("collect", START | {"uid": "anonymous", "ul": "unknown", "dr": "", "dt": None}).context
    assert context == Context(client_id=CLIENT_ID)
    with pytest.raises(InvalidAction):
        read_body("collect", START | {"ua": 5})


@pytest.mark.parametrize("action", [None, 5, "", "ticket_merge", "documentSuggestionClick", ["x"]])
def test_the_set_of_actions_is_closed(action: object) -> None:
    with pytest.raises(InvalidAction) as refused:
        read_body("collect", START | {"svc_action": action})
    assert (refused.value.path, refused.value.rule) == ("$.svc_action", "CA-004")


@pytest.mark.parametrize("data", [5, "fieldName", ["fieldName"], True])
def test_action_data_that_is_no_object_is_refused(data: object) -> None:
    with pytest.raises(InvalidAction, match="expected an object"):
        read_body("collect", START | {"svc_action_data": data})


@pytest.mark.parametrize(
    ("body", "event"),
    [
        (put(START, ea="click", svc_action="ticket_next_stage", svc_action_data={}), TicketNextStage()),
        (put(START, ea="click", svc_action="ticket_next_stage", svc_action_data=None), TicketNextStage()),
        (put(START, ea="click", svc_action="ticket_create", svc_ticket_id="T"), TicketCreate()),
    ],
)
def test_empty_action_data_is_none(body: Json, event: object) -> None:
    assert read_body("collect", body, strict=True).event == event


def test_a_created_ticket_needs_its_id() -> None:
    for missing in ({}, {"svc_ticket_id": ""}, {"svc_ticket_id": None}):
        with pytest.raises(InvalidAction) as refused:
            read_body("collect", put(START, ea="click", svc_action="ticket_create") | missing)
        assert (refused.value.path, refused.value.rule) == ("$.svc_ticket_id", "CC-003")


# What is put right: the id, the place, and the rule that strict reading names

COERCED: list[tuple[str, Json, list[tuple[str, str]], str | None]] = [
    ("collect", put(START, t="pageview"), [("D-04", "$.t")], None),
    ("collect", put(START, ec=...), [("D-04", "$.ec")], "CA-012"),
    ("collect", put(START, ea="click"), [("D-04", "$.ea")], "CA-006"),
    ("collect", put(CLASSIFIED, ea="flowStart"), [("D-04", "$.ea")], "CA-006"),
    ("collect", put(START, foobar=1), [("X-01", "$.foobar")], None),
    ("collect", put(START, svc_action_data={"x": 1}), [("X-01", "$.svc_action_data.x")], None),
    ("collect", put(START, svc_action_data={"action": "x"}), [("X-01", "$.svc_action_data.action")], None),
    (
        "collect",
        put(START, ea="click", svc_action="ticket_cancel", svc_action_data={"reason": "Quit", "cause": "user"}),
        [("X-01", "$.svc_action_data.cause")],
        None,
    ),
    (
        "collect",
        put(START, ea="click", svc_action="ticket_cancel", svc_action_data={"reason": "solved"}),
        [("D-13", "$.svc_action_data.reason")],
        "CX-002",
    ),
    ("collect", put(START, cid=CLIENT_ID.upper()), [("C-10", "$.cid")], "CA-013"),
    ("collect", put(START, svc_ticket_description={"a": 1}), [("A-02", "$.svc_ticket_description")], "TK-003"),
    ("collect", put(START, svc_ticket_subject=5), [("A-02", "$.svc_ticket_subject")], "TK-003"),
    (
        "collect",
        put(CLASSIFIED, svc_action_data__autoSelection="false"),
        [("A-01", "$.svc_action_data.autoSelection")],
        "CA-068",
    ),
    (
        "collect",
        put(CLASSIFIED, svc_action_data__autoSelection=...),
        [("A-01", "$.svc_action_data.autoSelection")],
        "CA-068",
    ),
    (
        "collect",
        put(RATED, svc_action_data__suggestion__documentPosition=0),
        [("A-03", "$.svc_action_data.suggestion.documentPosition")],
        "CA-049",
    ),
    (
        "collect",
        put(RATED, svc_action_data__suggestion__documentUriHash=..., svc_action_data__suggestion__documentURIhash="h"),
        [("C-09", "$.svc_action_data.suggestion.documentURIhash")],
        None,
    ),
    (
        "collect",
        put(RATED, svc_action_data__suggestion__sourceName="s"),
        [("X-01", "$.svc_action_data.suggestion.sourceName")],
        None,
    ),
    (
        "collect",
        put(RATED, svc_action_data__suggestion__fromQuickview=True),
        [("X-01", "$.svc_action_data.suggestion.fromQuickview")],
        None,
    ),
    (
        "collect",
        put(RATED, svc_action_data__openDocument=True, svc_action_data__fromQuickview=True),
        [("X-01", "$.svc_action_data.openDocument"), ("X-01", "$.svc_action_data.fromQuickview")],
        None,
    ),
    (
        "collect",
        put(OLD_CLICK, svc_action_data__suggestion__documentPosition=0),
        [("A-03", "$.svc_action_data.suggestion.documentPosition")],
        "CS-008",
    ),
    (
        "collect",
        put(OLD_CLICK, svc_action_data__fromQuickview=True),
        [("X-01", "$.svc_action_data.fromQuickview")],
        None,
    ),
    (
        "click",
        put(SUGGESTED, customData__contentIDKey="permanentId"),
        [("C-05", "$.customData.contentIDKey")],
        "CD-003",
    ),
    ("click", put(SUGGESTED, customData__contentIDKey=...), [("C-05", "$.customData.contentIDKey")], "CD-003"),
    ("click", put(SUGGESTED, customData__role="admin"), [("X-02", "$.customData.role")], None),
    ("click", put(SUGGESTED, documentUri="u"), [("X-02", "$.documentUri")], None),
    (
        "click",
        put(SUGGESTED, queryPipeline="p", visitor="v"),
        [("X-02", "$.queryPipeline"), ("X-01", "$.visitor")],
        None,
    ),
    ("click", put(SUGGESTED, documentPosition=0), [("A-03", "$.documentPosition")], "CL-004"),
    ("click", put(SUGGESTED, language="fr-CA"), [("D-01", "$.language")], "CD-008"),
    ("click", put(SUGGESTED, clientId=...), [("C-10", "$.clientId")], "CD-002"),
    ("click", put(SUGGESTED, clientId=CLIENT_ID.upper()), [("C-10", "$.clientId")], "CD-002"),
    ("click", put(SUGGESTED, originContext=...), [("B-01", "$.originContext")], "CD-009"),
    ("click", put(SUGGESTED, originLevel1=""), [("B-02", "$.originLevel1")], "CD-010"),
    ("click", put(SUGGESTED, userAgent=...), [("B-03", "$.userAgent")], "CD-015"),
    (
        "click",
        put(SUGGESTED, customData=..., contentIDKey="permanentid", contentIdValue="d"),
        [("C-01", "$.contentIDKey"), ("C-01", "$.contentIdValue")],
        "CL-018",
    ),
    (
        "click",
        put(SUGGESTED, customData={"contentidkey": "permanentid", "contentIDValue": "d"}),
        [("C-01", "$.customData.contentidkey")],
        "CL-018",
    ),
    ("click", put(CLICK, customData={"contentIdKey": "k"}), [("C-01", "$.customData.contentIdKey")], "CL-018"),
    ("click", put(CLICK, documentURIhash="h"), [("C-09", "$.documentURIhash")], None),
    ("click", put(CLICK, name="alice"), [("C-07", "$.name")], "CL-052"),
    ("click", put(CLICK, language="en_GB"), [("D-01", "$.language")], "CL-009"),
    ("click", put(CLICK, anonymous=True, username="a"), [("B-07", "$.username")], "CL-036"),
    ("click", put(CLICK, anonymous=True, userDisplayName="a"), [("B-07", "$.username")], "CL-036"),
    ("click", put(CLICK, action="click"), [("X-01", "$.action")], None),
    ("custom", put(CUSTOM, name="alice"), [("C-07", "$.name")], "CU-028"),
    ("custom", put(CUSTOM, language="EN"), [("D-01", "$.language")], "CU-004"),
    ("custom", put(CUSTOM, clientId=CLIENT_ID.upper()), [("C-10", "$.clientId")], "CU-032"),
    ("custom", put(CUSTOM, anonymous=True, username="a"), [("B-07", "$.username")], "CU-011"),
    ("custom", put(CUSTOM, queryPipeline="p"), [("X-01", "$.queryPipeline")], None),
]


@pytest.mark.parametrize(("kind", "body", "coercions", "rule"), COERCED)
def test_what_is_put_right_is_listed_and_strict_reading_refuses_it(
    kind: str, body: Json, coercions: list[tuple[str, str]], rule: str | None
) -> None:
    received = read_body(kind, body)
    assert ids(received) == coercions
    assert all(coercion.what for coercion in received.coercions)
    with pytest.raises(InvalidAction) as refused:
        read_body(kind, body, strict=True)
    assert (refused.value.path, refused.value.rule) == (coercions[0][1], rule)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("collect", START),
        ("collect", CLASSIFIED),
        ("collect", RATED),
        ("collect", OLD_CLICK),
        ("click", SUGGESTED),
        ("click", CLICK),
        ("custom", CUSTOM),
    ],
)
def test_what_keeps_the_rules_is_read_as_it_is_in_both_modes(kind: str, body: Json) -> None:
    received = read_body(kind, body, strict=True)
    assert received == read_body(kind, body)
    assert received.coercions == ()


def test_what_is_put_right_comes_out_right() -> None:
    def event(kind: str, body: Json) -> object:
        return read_body(kind, body).event

    right = read_body("collect", CLASSIFIED).event
    assert event("collect", put(CLASSIFIED, svc_action_data__autoSelection="FALSE")) == right
    assert event("collect", put(CLASSIFIED, svc_action_data__autoSelection=None)) == right
    selected = event("collect", put(CLASSIFIED, svc_action_data__autoSelection="True"))
    assert isinstance(selected, TicketClassificationClick)
    assert selected.auto_selection is True
    cancel = put(START, ea="click", svc_action="ticket_cancel")
    for reason, read in (("quit", "Quit"), ("SOLVED", "Solved"), ("Quit", "Quit")):
        assert event("collect", cancel | {"svc_action_data": {"reason": reason}}) == TicketCancel(reason=read)  # type: ignore[arg-type]
    ticket = read_body("collect", START | {"svc_ticket_description": {"b": [1]}, "svc_ticket_category": False}).ticket
    assert ticket == Ticket(description='{"b":[1]}', category="false")

    rated = RatedDocument(document_title="t", document_url="u", document_position=1, document_uri_hash="h")
    assert event("collect", put(RATED, svc_action_data__suggestion__documentPosition=0)) == SuggestionRate(
        rate=0.75, suggestion_id="d", response_id="r", suggestion=rated
    )
    moved = event("collect", put(OLD_CLICK, svc_action_data__fromQuickview=True))
    inside = event("collect", put(OLD_CLICK, svc_action_data__suggestion__fromQuickview=True))
    assert isinstance(moved, SuggestionClick)
    assert moved == inside
    assert moved.suggestion.from_quickview is True

    suggested = read_body("click", SUGGESTED).event
    assert suggested == DocumentSuggestionClick(
        suggestion_id="d",
        response_id="r",
        suggestion=Document(document_title="t", document_url="u", document_position=2, source_name="s"),
    )
    assert event("click", put(SUGGESTED, customData=..., contentIDKEY="permanentid", contentidvalue="d")) == suggested
    assert event("click", put(SUGGESTED, customData__contentIdValue="other")) == suggested
    view = event("click", put(SUGGESTED, actionCause="documentSuggestionQuickview"))
    assert isinstance(view, DocumentSuggestionQuickview)

    click = event("click", put(CLICK, customData={"contentIdKey": "k", "Role": "x"}, contentIDValue="v"))
    assert isinstance(click, ClickEvent)
    assert click.custom_data == {"contentIDKey": "k", "contentIDValue": "v", "Role": "x"}
    names = read_body("custom", put(CUSTOM, name="alice", language="fr-CA", clientId=CLIENT_ID.upper())).context
    assert names == Context(username="alice", language="fr", client_id=CLIENT_ID)
    nobody = read_body("click", put(CLICK, anonymous=True, username="a", userDisplayName="b")).context
    assert nobody == Context(anonymous=True, language="en")


def test_empty_top_level_members_of_clicks_and_customs_count_as_absent() -> None:
    click = read_body("click", CLICK | {"documentTitle": "", "outcome": None, "customData": None}, strict=True)
    assert click.event == ClickEvent(action_cause="documentOpen", search_query_uid="q", source_name="s")
    custom = read_body("custom", CUSTOM | {"lastSearchQueryUid": "", "username": ""}, strict=True)
    assert custom.event == CustomEvent(event_type="facet", event_value="facetSearch")
    assert custom.context == Context(language="en")


# What cannot be put right: the place in the request, and the rule

REFUSED: list[tuple[str, Json, str, str | None]] = [
    ("collect", put(START, cid="not-a-uuid"), "$.cid", "CA-013"),
    ("collect", put(START, searchHub="h" * 129), "$.searchHub", "CA-009"),
    ("collect", put(START, ua="u" * 1025), "$.ua", "CD-015"),
    ("collect", put(START, svc_ticket_custom="x"), "$.svc_ticket_custom", "TK-002"),
    ("collect", put(START, svc_ticket_subject="s" * 65_537), "$.svc_ticket_subject", "TK-004"),
    ("collect", put(START, ea="click", svc_action="ticket_field_update"), "$.svc_action_data.fieldName", "CA-031"),
    (
        "collect",
        put(START, ea="click", svc_action="ticket_cancel", svc_action_data={"reason": "Bored"}),
        "$.svc_action_data.reason",
        "CX-002",
    ),
    (
        "collect",
        put(START, ea="click", svc_action="ticket_cancel", svc_action_data={"reason": 5}),
        "$.svc_action_data.reason",
        "CX-002",
    ),
    ("collect", put(CLASSIFIED, svc_action_data__autoSelection="maybe"), "$.svc_action_data.autoSelection", "CA-068"),
    ("collect", put(CLASSIFIED, svc_action_data__autoSelection=1), "$.svc_action_data.autoSelection", "CA-068"),
    ("collect", put(RATED, svc_action_data__rate=1.01), "$.svc_action_data.rate", "CA-041"),
    ("collect", put(RATED, svc_action_data__suggestion="x"), "$.svc_action_data.suggestion", None),
    (
        "collect",
        put(RATED, svc_action_data__suggestion__documentPosition=False),
        "$.svc_action_data.suggestion.documentPosition",
        "CA-049",
    ),
    (
        "collect",
        put(OLD_CLICK, svc_action_data__suggestion__fromQuickview="yes"),
        "$.svc_action_data.suggestion.fromQuickview",
        None,
    ),
    ("click", put(SUGGESTED, customData__contentIDValue=...), "$.customData.contentIDValue", "CD-004"),
    ("click", put(SUGGESTED, customData="x"), "$.customData", "CL-D01"),
    ("click", put(SUGGESTED, customData="x", contentIDValue="d"), "$.customData", "CL-D01"),
    ("click", put(SUGGESTED, searchQueryUid=""), "$.searchQueryUid", "CD-013"),
    ("click", put(SUGGESTED, documentTitle=...), "$.documentTitle", "CD-006"),
    ("click", put(SUGGESTED, documentPosition="2"), "$.documentPosition", "CD-005"),
    ("click", put(SUGGESTED, language=...), "$.language", "CD-008"),
    ("click", put(SUGGESTED, language="xx-XX"), "$.language", "CD-008"),
    ("click", put(SUGGESTED, originLevel1="h" * 129), "$.originLevel1", "CD-010"),
    ("click", put(SUGGESTED, originLevel2="h" * 129), "$.originLevel2", "CD-011"),
    ("click", put(SUGGESTED, clientId="x"), "$.clientId", "CD-002"),
    ("click", put(SUGGESTED, actionCause="documentSuggestionQuickview", language=...), "$.language", "CQ-008"),
    ("click", put(CLICK, actionCause=...), "$.actionCause", "CL-001"),
    ("click", put(CLICK, actionCause=5), "$.actionCause", "CL-001"),
    ("click", put(CLICK, language=...), "$.language", "CL-008"),
    ("click", put(CLICK, language="unknown"), "$.language", "CL-009"),
    ("click", put(CLICK, outcome=6), "$.outcome", "CL-033"),
    ("click", put(CLICK, customData={"a-b": 1}), "$.customData", "CL-D05"),
    ("click", put(CLICK, customData={"contentIDKey": 5}), "$.customData.contentIDKey", "CL-019"),
    ("custom", put(CUSTOM, language=...), "$.language", "CU-003"),
    ("custom", put(CUSTOM, eventType=""), "$.eventType", "CU-001"),
    ("custom", put(CUSTOM, customData={"A": 1, "a": 2}), "$.customData", "CU-D07"),
    ("custom", put(CUSTOM, customData={"big": 2**64}), "$.customData.big", None),
]


@pytest.mark.parametrize(("kind", "body", "path", "rule"), REFUSED)
def test_what_cannot_be_put_right_is_refused_with_its_place_and_rule(
    kind: str, body: Json, path: str, rule: str | None
) -> None:
    for strict in (False, True):
        with pytest.raises(InvalidAction) as refused:
            read_body(kind, body, strict=strict)
        assert (refused.value.path, refused.value.rule) == (path, rule)


def test_a_coercion_says_what_was_put_right() -> None:
    assert read_body("collect", put(START, ea="click")).coercions == (
        Coercion("D-04", "$.ea", "expected 'flowStart' for this action"),
    )


def test_every_id_of_a_coercion_is_explained_and_occurs_here() -> None:
    page = (ROOT / "docs" / "explanation" / "conflicts.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| ([A-DX]-\d\d) \|", page.partition("## What reading puts right")[2], re.MULTILINE)
    source = (ROOT / "src" / "caseassist" / "wire" / "reading.py").read_text(encoding="utf-8")
    used = set(re.findall(r'"([A-DX]-\d\d)"', source))
    assert used == set(explained)
    assert used == {coercion_id for _, _, coercions, _ in COERCED for coercion_id, _ in coercions}
    everywhere = set(re.findall(r"^\| ([A-D]-\d\d) \|", page, re.MULTILINE))
    assert len(everywhere) == 44
    named = {rule["conflict"] for rule in json.loads((ROOT / "tests" / "data" / "rules.json").read_text("utf-8"))}
    assert named - {None} <= everywhere
