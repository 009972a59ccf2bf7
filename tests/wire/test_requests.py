"""Records, written as requests."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseassist.core.errors import UnsupportedRecord
from caseassist.core.events import (
    AnyEvent,
    Classification,
    ClassificationsOffered,
    ClickEvent,
    Context,
    CustomEvent,
    Document,
    DocumentsOffered,
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
    TicketFieldUpdate,
    TicketNextStage,
    TurnTaken,
    UnknownEvent,
)
from caseassist.core.identity import event_id, page_view_id
from caseassist.core.records import Record
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.requests import PRODUCT, Auth, WireFormat, auth_of, truncate_url

DATA = Path(__file__).parents[1] / "data"
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"
AT = datetime(2026, 11, 20, 12, 0, 0, 123_000, UTC)
MILLISECOND = timedelta(milliseconds=1)
FORMAT = WireFormat(endpoint=Endpoint.for_organization("myorg"))

CONTEXT = Context(
    client_id=CLIENT_ID, search_hub="bot", language="en", origin_context="CaseAssist", origin_level2="default"
)
TICKET = Ticket(subject="GC110 malfunction", category="Electrical", custom={"visitorAge": 18, "rewardsMember": True})
DOCUMENT = Document(
    document_title="Ignition",
    document_url="https://docs.example/1",
    document_position=2,
    source_name="Answers",
    document_uri_hash="gizDGrXcVñbV7mñy",
)
CLICK = ClickEvent(action_cause="documentOpen", search_query_uid="q", source_name="s")
CUSTOM = CustomEvent(event_type="facet", event_value="facetSearch")


def record(event: AnyEvent, *, ticket: Ticket = TICKET, context: Context = CONTEXT, at: datetime = AT) -> Record:
    return Record(session_id="a1", seq=3, time=at, event=event, ticket=ticket, context=context)


def written(event: AnyEvent, wire_format: WireFormat = FORMAT, **members: Any) -> dict[str, Any]:
    request = wire_format.request(record(event, **members), "token")
    assert request is not None
    body: dict[str, Any] = json.loads(request.body)
    return body


# collect


def test_a_collect_request_has_the_members_of_the_measurement_form_and_no_others() -> None:
    assert written(TicketFieldUpdate(field_name="subject")) == {
        "svc_ticket_subject": "GC110 malfunction",
        "svc_ticket_category": "Electrical",
        "svc_ticket_custom": {"visitorAge": 18, "rewardsMember": True},
        "t": "event",
        "pid": page_view_id("a1"),
        "tm": 1795176000123,
        "z": event_id("a1", 3),
        "ul": "en",
        "ua": PRODUCT,
        "de": "UTF-8",
        "svc_action": "ticket_field_update",
        "svc_action_data": {"fieldName": "subject"},
        "ec": "svc",
        "ea": "click",
        "searchHub": "bot",
        "cid": CLIENT_ID,
    }


@pytest.mark.parametrize(
    ("event", "kind", "data"),
    [
        (TicketCreateStart(), "flowStart", None),
        (TicketFieldUpdate(field_name="f"), "click", {"fieldName": "f"}),
        (
            TicketClassificationClick(
                classification_id="c",
                response_id="r",
                field_name="category",
                classification=Classification(value="Electrical", confidence=0.76),
                auto_selection=False,
            ),
            "click",
            {
                "classificationId": "c",
                "responseId": "r",
                "fieldName": "category",
                "classification": {"value": "Electrical", "confidence": 0.76},
                "autoSelection": False,
            },
        ),
        (
            SuggestionRate(
                rate=0.0,
                suggestion_id="d",
                response_id="r",
                suggestion=RatedDocument(document_title="t", document_url="u", document_position=1),
            ),
            "click",
            {
                "rate": 0.0,
                "suggestionId": "d",
                "responseId": "r",
                "suggestion": {"documentTitle": "t", "documentUrl": "u", "documentPosition": 1},
            },
        ),
        (TicketNextStage(), "click", None),
        (TicketNextStage(stage="details"), "click", {"stage": "details"}),
        (TicketCreate(), "click", None),
        (TicketCancel(reason="Solved"), "click", {"reason": "Solved"}),
        (TicketCancel(reason="Quit", cause="timeout"), "click", {"reason": "Quit"}),
    ],
)
def test_an_svc_event_has_its_kind_and_its_documented_data(
    event: AnyEvent, kind: str, data: dict[str, Any] | None
) -> None:
    body = written(event)
    assert body["ec"] == "svc"
    assert body["ea"] == kind
    assert body["svc_action"] == type(event).__struct_config__.tag
    assert body.get("svc_action_data") == data
    assert ("svc_action_data" in body) == (data is not None)


def test_a_ticket_is_sent_whole_and_its_custom_member_as_it_is() -> None:
    custom = {"Visitor Age": 18, "none": None, "empty": "", "nested": {"a": [1, 2.5, False]}}
    ticket = Ticket(id="T1", subject="s", description="d", category="c", product_id="p", custom=custom)
    body = written(TicketCreate(), ticket=ticket)
    assert {key: value for key, value in body.items() if key.startswith("svc_ticket")} == {
        "svc_ticket_id": "T1",
        "svc_ticket_subject": "s",
        "svc_ticket_description": "d",
        "svc_ticket_category": "c",
        "svc_ticket_product_id": "p",
        "svc_ticket_custom": custom,
    }


def test_empty_top_level_members_are_left_out_and_other_falsy_ones_stay() -> None:
    context = Context(client_id=CLIENT_ID, search_hub="", language=None, title="", tracking_id=None, anonymous=False)
    body = written(TicketCreateStart(), ticket=Ticket(subject="", custom={}), context=context)
    assert body["svc_ticket_custom"] == {}
    for key in ("svc_ticket_subject", "searchHub", "ul", "dt", "trackingId", "dl", "dr", "sr", "sd", "uid"):
        assert key not in body
    assert written(CLICK, context=context)["anonymous"] is False
    assert written(msgspec.structs.replace(CLICK, outcome=0), context=context)["outcome"] == 0


def test_browser_members_are_sent_when_the_context_has_them() -> None:
    context = msgspec.structs.replace(
        CONTEXT,
        location="https://support.example/new",
        referrer="https://support.example/",
        title="Contact",
        screen_resolution="1920x1080",
        screen_color="24-bit",
        user_agent="Mozilla/5.0",
        tracking_id="portal",
    )
    body = written(TicketCreateStart(), context=context)
    assert {key: body[key] for key in ("dl", "dr", "dt", "sr", "sd", "ua", "trackingId")} == {
        "dl": "https://support.example/new",
        "dr": "https://support.example/",
        "dt": "Contact",
        "sr": "1920x1080",
        "sd": "24-bit",
        "ua": "Mozilla/5.0",
        "trackingId": "portal",
    }
    click = written(DocumentSuggestionClick(suggestion_id="d", response_id="r", suggestion=DOCUMENT), context=context)
    assert click.keys().isdisjoint(body.keys() - {"trackingId"})


def test_locations_are_cut_to_2048_characters_and_the_third_origin_level_to_128() -> None:
    long = "https://host.example/" + "a" * 3000
    context = msgspec.structs.replace(CONTEXT, location=long, referrer=long, origin_level3=long)
    body = written(TicketCreateStart(), context=context)
    assert (body["dl"], body["dr"]) == (long[:2048], long[:2048])
    assert written(CLICK, context=context)["originLevel3"] == long[:128]
    assert written(CUSTOM, context=context)["originLevel3"] == long[:128]
    own = long.replace("host", "else")
    assert written(msgspec.structs.replace(CLICK, origin_level3=own), context=context)["originLevel3"] == own[:128]
    view = DocumentSuggestionQuickview(suggestion_id="d", response_id="r", suggestion=DOCUMENT)
    assert written(view, context=context)["originLevel3"] == long[:128]


@settings(deadline=None, derandomize=True)
@given(ms=st.integers(0, 2**42), micro=st.integers(0, 999))
def test_the_time_is_in_whole_milliseconds_and_never_one_short(ms: int, micro: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + ms * MILLISECOND + timedelta(microseconds=micro)
    assert written(TicketCreateStart(), at=at)["tm"] == ms


def test_a_rating_has_the_documented_members_only() -> None:
    suggestion = RatedDocument(document_title="t", document_url="u", document_position=1, from_quickview=True)
    body = written(SuggestionRate(rate=1, suggestion_id="d", response_id="r", suggestion=suggestion))
    assert body["svc_action_data"]["suggestion"] == {"documentTitle": "t", "documentUrl": "u", "documentPosition": 1}


def test_ids_are_the_same_for_the_same_record_and_differ_between_records() -> None:
    first, again = written(TicketCreateStart()), written(TicketCreateStart())
    assert (first["z"], first["pid"]) == (again["z"], again["pid"])
    later = FORMAT.request(msgspec.structs.replace(record(TicketCreateStart()), seq=4), "token")
    assert later is not None
    other = json.loads(later.body)
    assert other["z"] != first["z"]
    assert other["pid"] == first["pid"]


# click


@pytest.mark.parametrize("cls", [DocumentSuggestionClick, DocumentSuggestionQuickview])
def test_a_click_on_a_suggested_document_has_the_documented_members_and_no_ticket(
    cls: type[DocumentSuggestionClick | DocumentSuggestionQuickview],
) -> None:
    assert written(cls(suggestion_id="permanent", response_id="r", suggestion=DOCUMENT)) == {
        "actionCause": cls.__name__[0].lower() + cls.__name__[1:],
        "anonymous": False,
        "clientId": CLIENT_ID,
        "customData": {"contentIDKey": "permanentid", "contentIDValue": "permanent"},
        "documentPosition": 2,
        "documentTitle": "Ignition",
        "documentUrl": "https://docs.example/1",
        "language": "en",
        "originContext": "CaseAssist",
        "originLevel1": "bot",
        "originLevel2": "default",
        "searchQueryUid": "r",
        "sourceName": "Answers",
        "userAgent": PRODUCT,
    }


def test_a_click_event_says_its_position_even_when_nobody_gave_one() -> None:
    assert written(CLICK)["documentPosition"] == 1


def test_members_of_an_event_go_before_those_of_the_context() -> None:
    context = msgspec.structs.replace(
        CONTEXT, user_agent="bot/1", tracking_id="site", origin_level3="https://a.example/", user_display_name="Jo"
    )
    own = {
        "language": "fr",
        "originContext": "CommunitySearch",
        "originLevel1": "hub2",
        "originLevel2": "tab2",
        "originLevel3": "https://b.example/",
        "userAgent": "bot/2",
        "trackingId": "site2",
        "userDisplayName": "Alice",
        "anonymous": False,
        "clientId": CLIENT_ID,
    }
    for event, required in (
        (CLICK, {"actionCause": "a", "searchQueryUid": "q", "sourceName": "s"}),
        (CUSTOM, {"eventType": "t", "eventValue": "v"}),
    ):
        body = written(msgspec.convert(required | own, type(event)), context=context)
        assert {key: body[key] for key in own} == own
        body = written(msgspec.convert(required, type(event)), context=context)
        assert {key: body[key] for key in own} == {
            "language": "en",
            "originContext": "CaseAssist",
            "originLevel1": "bot",
            "originLevel2": "default",
            "originLevel3": "https://a.example/",
            "userAgent": "bot/1",
            "trackingId": "site",
            "userDisplayName": "Jo",
            "anonymous": False,
            "clientId": CLIENT_ID,
        }


def test_an_empty_origin_sends_nothing() -> None:
    context = msgspec.structs.replace(CONTEXT, origin_context="", origin_level2="")
    assert written(CUSTOM, context=context).keys().isdisjoint({"originContext", "originLevel2"})
    event = msgspec.structs.replace(CUSTOM, origin_context="", origin_level2="")
    assert written(event).keys().isdisjoint({"originContext", "originLevel2"})


def test_an_empty_user_agent_counts_as_none_for_there_always_is_one() -> None:
    named = msgspec.structs.replace(CONTEXT, user_agent="bot/1")
    for event in (CLICK, CUSTOM):
        unnamed = msgspec.structs.replace(event, user_agent="")
        assert written(unnamed, context=named)["userAgent"] == "bot/1"
        assert written(unnamed)["userAgent"] == PRODUCT


def test_a_custom_event_has_the_documented_members() -> None:
    event = msgspec.structs.replace(
        CUSTOM,
        last_search_query_uid="q",
        outcome=-5,
        split_test_run_name="ab",
        split_test_run_version="b",
        custom_data={"facetId": "@objecttype"},
    )
    assert written(event) == {
        "anonymous": False,
        "clientId": CLIENT_ID,
        "customData": {"facetid": "@objecttype"},
        "eventType": "facet",
        "eventValue": "facetSearch",
        "language": "en",
        "lastSearchQueryUid": "q",
        "originContext": "CaseAssist",
        "originLevel1": "bot",
        "originLevel2": "default",
        "outcome": -5,
        "splitTestRunName": "ab",
        "splitTestRunVersion": "b",
        "userAgent": PRODUCT,
    }


# customData

MIXED = {
    "contentIDKey": "permanentid",
    "contentIDValue": "p",
    "Facet Title": "Type",
    "count": 3,
    "ratio": 0.5,
    "flag": True,
    "nothing": None,
    "list": ["value_1", "value_2"],
    "object": {"b": 1, "a": {"d": "é", "c": None}},
    "context_role": "admin",
}


def test_custom_data_goes_out_as_the_service_would_make_it() -> None:
    assert written(msgspec.structs.replace(CLICK, custom_data=MIXED))["customData"] == {
        "contentIDKey": "permanentid",
        "contentIDValue": "p",
        "facet_title": "Type",
        "count": "3",
        "ratio": "0.5",
        "flag": "true",
        "nothing": "null",
        "list": '["value_1","value_2"]',
        "object": '{"a":{"c":null,"d":"é"},"b":1}',
        "context_role": "admin",
    }


def test_custom_data_can_go_out_as_it_is() -> None:
    raw = WireFormat(endpoint=FORMAT.endpoint, normalise_keys=False, custom_values="raw")
    for event in (CLICK, CUSTOM):
        assert written(msgspec.structs.replace(event, custom_data=MIXED), raw)["customData"] == MIXED


@pytest.mark.parametrize("key", ["contentIDKey", "contentIdKey", "contentidkey", "CONTENTIDKEY"])
def test_the_content_id_key_goes_out_as_it_is_printed_however_it_is_spelt(key: str) -> None:
    assert written(msgspec.structs.replace(CLICK, custom_data={key: "permanentid"}))["customData"] == {
        "contentIDKey": "permanentid"
    }


# Who the user is


NAMED = msgspec.structs.replace(CONTEXT, username="alice@example.com", user_display_name="Alice")
ANONYMOUS = msgspec.structs.replace(CONTEXT, anonymous=True)


@pytest.mark.parametrize(
    ("auth", "context", "uid"),
    [
        ("search_token", CONTEXT, None),
        ("search_token", NAMED, None),
        ("search_token", ANONYMOUS, None),
        ("api_key", CONTEXT, "anonymous"),
        ("api_key", NAMED, "alice@example.com"),
        ("api_key", ANONYMOUS, "anonymous"),
        ("oauth", CONTEXT, None),
        ("oauth", NAMED, "alice@example.com"),
        ("oauth", ANONYMOUS, None),
    ],
)
def test_the_sort_of_token_decides_about_the_user_of_a_collect_request(
    auth: Auth, context: Context, uid: str | None
) -> None:
    body = written(TicketCreateStart(), WireFormat(endpoint=FORMAT.endpoint, auth=auth), context=context)
    assert body.get("uid") == uid
    assert "anonymous" not in body


@pytest.mark.parametrize(
    ("auth", "named"), [("search_token", None), ("api_key", "alice@example.com"), ("oauth", "alice@example.com")]
)
def test_the_sort_of_token_decides_about_the_username_of_an_event(auth: Auth, named: str | None) -> None:
    wire_format = WireFormat(endpoint=FORMAT.endpoint, auth=auth)
    suggested = DocumentSuggestionClick(suggestion_id="d", response_id="r", suggestion=DOCUMENT)
    for event in (CLICK, CUSTOM, suggested):
        body = written(event, wire_format, context=NAMED)
        assert body.get("username") == named
        assert body["userDisplayName"] == "Alice"
        body = written(event, wire_format, context=CONTEXT)
        assert body.keys().isdisjoint({"username", "userDisplayName"})
    for event in (CLICK, CUSTOM):
        own = msgspec.structs.replace(event, username="alice@example.com")
        assert written(own, wire_format).get("username") == named


@pytest.mark.parametrize("auth", ["search_token", "api_key", "oauth"])
def test_an_anonymous_event_takes_no_name_from_the_context(auth: Auth) -> None:
    wire_format = WireFormat(endpoint=FORMAT.endpoint, auth=auth)
    for event in (CLICK, CUSTOM):
        body = written(msgspec.structs.replace(event, anonymous=True), wire_format, context=NAMED)
        assert body["anonymous"] is True
        assert body.keys().isdisjoint({"username", "userDisplayName"})


def test_api_keys_are_told_from_other_tokens() -> None:
    assert auth_of("xx12345678-aaaa") == "api_key"
    assert auth_of("x-search-token") == "search_token"
    assert auth_of("eyJhbGciOiJIUzI1NiJ9.x.y") == "search_token"


# The request around the body


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (TicketCreateStart(), "collect"),
        (DocumentSuggestionClick(suggestion_id="d", response_id="r", suggestion=DOCUMENT), "click"),
        (CLICK, "click"),
        (CUSTOM, "custom"),
    ],
)
def test_a_request_goes_to_the_path_of_its_kind_with_the_documented_headers(event: AnyEvent, kind: str) -> None:
    request = FORMAT.request(record(event), "secret")
    assert request is not None
    assert request.method == "POST"
    assert f"{request.origin}{request.path}" == f"https://myorg.analytics.org.coveo.com/rest/ua/v15/analytics/{kind}"
    assert request.headers == (
        ("Authorization", "Bearer secret"),
        ("Content-Type", "application/json"),
        ("User-Agent", PRODUCT),
    )
    assert b"secret" not in request.body


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_there_is_no_authorization(token: str | None) -> None:
    request = FORMAT.request(record(TicketCreateStart()), token)
    assert request is not None
    assert [name for name, _ in request.headers] == ["Content-Type", "User-Agent"]


@pytest.mark.parametrize(
    ("user_agent", "header"),
    [
        ("Mozilla/5.0 (X11)", "Mozilla/5.0 (X11)"),
        (None, PRODUCT),
        ("", PRODUCT),
        ("bot/1\r\nX: y", PRODUCT),
        ("bot\x00", PRODUCT),
        ("böt/1", PRODUCT),
    ],
)
def test_the_user_agent_is_in_the_header_too_if_it_can_be(user_agent: str | None, header: str) -> None:
    context = msgspec.structs.replace(CONTEXT, user_agent=user_agent)
    request = FORMAT.request(record(CLICK, context=context), None)
    assert request is not None
    assert dict(request.headers)["User-Agent"] == header
    assert json.loads(request.body)["userAgent"] == (user_agent or PRODUCT)


def test_offers_and_turns_are_never_sent() -> None:
    turn = TurnTaken(message_id="m1", memory={"step": "asking"})
    for event in (ClassificationsOffered(response_id="r"), DocumentsOffered(response_id="r"), turn):
        assert FORMAT.request(record(event), "token") is None


def test_what_has_no_form_on_the_wire_is_refused_by_name() -> None:
    old = SuggestionClick(
        suggestion_id="d",
        response_id="r",
        suggestion=RatedDocument(document_title="t", document_url="u", document_position=1),
    )
    for event, name in ((UnknownEvent(name="ticket_merge"), "ticket_merge"), (old, "suggestion_click")):
        with pytest.raises(UnsupportedRecord, match=name):
            FORMAT.request(record(event), None)


# Cutting URLs


def test_the_recorded_cuts_are_ours() -> None:
    compared = 0
    for line in (DATA / "captures.jsonl").read_text(encoding="utf-8").splitlines():
        recording = json.loads(line)
        if not recording["scenario"].startswith("edge/limit/originLevel3"):
            continue
        body = recording["request"]["body"]
        given = next(
            arg["originLevel3"]
            for call in recording["calls"]
            for arg in call.get("args", [])
            if isinstance(arg, dict) and "originLevel3" in arg
        )
        assert truncate_url(given, 1024) == body.get("clickEvent", body)["originLevel3"]
        compared += 1
    assert compared == 6


X = "x" * 1024


@pytest.mark.parametrize(
    ("url", "cut"),
    [
        ("", ""),
        (X, X),
        (X[:1023], X[:1023]),
        (X + "y", X),
        # an escape that ends, touches, straddles or begins at the limit
        (X[:1021] + "%41yyy", X[:1021] + "%41"),
        (X[:1022] + "%41yyy", X[:1022]),
        (X[:1023] + "%41yyy", X[:1023]),
        (X + "%41", X),
        # characters of two, three and four octets, cut at each of theirs
        (X[:1018] + "%C3%A9yyy", X[:1018] + "%C3%A9"),
        (X[:1020] + "%C3%A9yyy", X[:1020]),
        (X[:1021] + "%C3%A9yyy", X[:1021]),
        (X[:1019] + "%E2%82%ACyyy", X[:1019]),
        (X[:1015] + "%E2%82%ACyyy", X[:1015] + "%E2%82%AC"),
        (X[:1013] + "%F0%9F%98%80yyy", X[:1013]),
        (X[:1012] + "%F0%9F%98%80yyy", X[:1012] + "%F0%9F%98%80"),
        (X[:1009] + "%41%F0%9F%98%80%F0%9F%98%80", X[:1009] + "%41%F0%9F%98%80"),
        # no escapes, or no UTF-8: nothing to keep whole
        (X[:1022] + "%ZZ%ZZ", X[:1022] + "%Z"),
        (X[:1023] + "%", X[:1023] + "%"),
        (X[:1020] + "%A9%A9%A9", X[:1020] + "%A9"),
        ("%80" * 400, "%80" * 341),
        ("%FF%FE" * 200, "%FF%FE" * 170 + "%FF"),
        # raw characters count as one each
        ("é" * 1025, "é" * 1024),
        ("😀" * 1025, "😀" * 1024),
        # later escapes do not matter
        (X + "y%C3%A9", X),
    ],
)
def test_a_cut_keeps_percent_encoded_characters_whole(url: str, cut: str) -> None:
    assert truncate_url(url, 1024) == cut


@settings(deadline=None, derandomize=True)
@given(text=st.text("aé€😀%/ ", max_size=40), limit=st.integers(0, 100))
def test_a_cut_url_still_decodes_and_is_as_long_as_it_can_be(text: str, limit: int) -> None:
    url = quote(text, safe="/")
    cut = truncate_url(url, limit)
    assert url.startswith(cut)
    assert text.startswith(unquote_to_bytes(cut).decode())
    assert len(cut) == len(url) or limit - 12 < len(cut) <= limit
