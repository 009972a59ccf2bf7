"""A session: what its actions decide, and what its records fold to."""

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.core.life_cycle import (
    ACTIONS,
    ARGUMENTS,
    CELLS,
    CLASSIFICATIONS,
    CLICK,
    CLIENT_ID,
    CONTEXT,
    CUSTOM,
    DOCUMENTS,
    EVENTS,
    EXPECTED,
    NOW,
    act,
    records_of,
    session_in,
)

from caseassist.core.checked import checked_context, checked_ticket
from caseassist.core.errors import (
    CorruptRecord,
    IllegalTransition,
    InvalidAction,
    RepeatedMessage,
    UnknownSuggestion,
    UnsupportedRecord,
)
from caseassist.core.events import (
    Classification,
    ClassificationsOffered,
    ClickEvent,
    Context,
    CustomEvent,
    Document,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    OfferedClassification,
    OfferedDocument,
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
from caseassist.core.records import Record, decode, encode
from caseassist.core.session import IDLE_S, Session, action_of

DOCUMENT = Document(
    document_title="Ignition",
    document_url="https://docs.example.com/ignition",
    document_position=1,
    source_name="Docs",
)
WHOLE_DOCUMENT = {
    "documentTitle": "Panel",
    "documentUrl": "https://docs.example.com/panel",
    "documentPosition": 2,
    "sourceName": "Docs",
}


# Every cell of the table, through the methods.


@pytest.mark.parametrize(("state", "action"), CELLS)
def test_every_action_is_possible_where_the_design_has_it_and_refused_elsewhere(state: str, action: str) -> None:
    session = session_in(state)
    before = msgspec.json.encode([session.ticket, session.context, session.offers])
    if action in EXPECTED[state]:
        records = getattr(session, action)(*ARGUMENTS[action], at=NOW)
        assert [type(record.event) for record in records] == [EVENTS[action][0]]
        assert action_of(records[0].event) == action
        assert Session.fold(records, session).state == EXPECTED[state][action]
    else:
        with pytest.raises(IllegalTransition) as caught:
            getattr(session, action)(*ARGUMENTS[action], at=NOW)
        assert (caught.value.state, caught.value.action) == (state, action)
        assert set(caught.value.allowed or ()) == set(EXPECTED[state])
    assert session == session_in(state)
    assert msgspec.json.encode([session.ticket, session.context, session.offers]) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_a_record_has_its_place_its_time_the_ticket_and_the_context(action: str) -> None:
    state = next(state for state in ("new", "suggested") if action in EXPECTED[state])
    session = session_in(state)
    at = NOW + timedelta(minutes=3)
    (record,) = getattr(session, action)(*ARGUMENTS[action], at=at)
    after = session.apply(record)
    assert (record.v, record.session_id, record.seq, record.time) == (1, "a1", session.next_seq, at)
    assert (after.ticket, after.context) == (record.ticket, record.context)
    assert (after.next_seq, after.last_at) == (session.next_seq + 1, at)
    assert after.started_at == (at if action == "start" else NOW)


def test_methods_and_actions_have_the_same_names() -> None:
    assert all(callable(getattr(Session, action)) for action in ACTIONS)


# start


def test_start_fills_in_what_the_context_leaves_open() -> None:
    (record,) = Session(id="a1").start(context={"clientId": CLIENT_ID}, at=NOW)
    assert record.event == TicketCreateStart()
    assert record.ticket == Ticket()
    assert record.context == Context(client_id=CLIENT_ID, origin_context="CaseAssist", origin_level2="default")


@pytest.mark.parametrize(
    ("given", "origin", "tab"),
    [
        ({"originContext": "Bot"}, "Bot", "default"),
        ({"originLevel2": "chat"}, "CaseAssist", "chat"),
        ({"originContext": "", "originLevel2": ""}, "", ""),
        ({"originContext": "Bot", "originLevel2": "chat"}, "Bot", "chat"),
    ],
)
def test_start_keeps_the_origin_that_the_context_has(given: dict[str, str], origin: str, tab: str) -> None:
    (record,) = Session(id="a1").start(context={"clientId": CLIENT_ID, **given}, at=NOW)
    assert (record.context.origin_context, record.context.origin_level2) == (origin, tab)


def test_start_takes_values_as_well_as_objects() -> None:
    context = Context(client_id=CLIENT_ID, origin_context="Bot", origin_level2="chat")
    ticket = Ticket(subject="GC110", custom={"rewardsMember": True})
    (record,) = Session(id="a1").start(ticket, context, at=NOW)
    assert (record.ticket, record.context) == (ticket, context)


def test_start_leaves_out_empty_members_of_the_ticket() -> None:
    given = {"id": None, "subject": "", "description": None, "category": "Electrical"}
    (record,) = Session(id="a1").start(given, CONTEXT, at=NOW)
    assert record.ticket == Ticket(category="Electrical")


def test_start_writes_the_client_id_in_lower_case() -> None:
    (record,) = Session(id="a1").start(context={"clientId": CLIENT_ID.upper()}, at=NOW)
    assert record.context.client_id == CLIENT_ID


def test_start_needs_a_client_id() -> None:
    with pytest.raises(InvalidAction) as caught:
        Session(id="a1").start(context={"language": "en"}, at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.context.clientId", "CA-013")


def test_start_gives_the_ticket_no_id() -> None:
    with pytest.raises(InvalidAction) as caught:
        Session(id="a1").start({"id": "500"}, CONTEXT, at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.ticket.id", "CC-003")


@pytest.mark.parametrize("session_id", ["", "a\n", "a\x00b", "\ud800", "x" * 1025])
def test_start_holds_the_session_id_against_the_rules(session_id: str) -> None:
    with pytest.raises(InvalidAction) as caught:
        Session(id=session_id).start(context=CONTEXT, at=NOW)
    assert caught.value.path == "$.session"


# update_field


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("subject", "subject"),
        ("description", "description"),
        ("category", "category"),
        ("productId", "product_id"),
    ],
)
@pytest.mark.parametrize("empty", ["", None])
def test_a_documented_field_sets_its_member_and_an_empty_value_clears_it(
    name: str, member: str, empty: str | None
) -> None:
    session = session_in("started")
    (record,) = session.update_field(name, "Ünïcode 🙂", at=NOW)
    assert record.event == TicketFieldUpdate(field_name=name)
    assert getattr(record.ticket, member) == "Ünïcode 🙂"
    assert record.ticket.custom is None
    cleared = act(session.apply(record), "update_field", name, empty)
    assert getattr(cleared.ticket, member) is None


@pytest.mark.parametrize("value", ["red", 0, 0.0, False, [], {}, [1, {"a": None}], 2**64 - 1, -(2**63)])
def test_any_other_field_is_a_custom_one_and_holds_any_json_value(value: Any) -> None:
    session = act(session_in("started"), "update_field", "colour", value)
    assert session.ticket.custom == {"colour": value}
    assert type((session.ticket.custom or {})["colour"]) is type(value)


@pytest.mark.parametrize("name", ["product_id", "Subject", "custom", "ID"])
def test_only_the_documented_names_are_documented_fields(name: str) -> None:
    assert act(session_in("started"), "update_field", name, "x").ticket.custom == {name: "x"}


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_value_clears_a_custom_field(empty: str | None) -> None:
    session = act(act(session_in("started"), "update_field", "a", 1), "update_field", "b", 2)
    session = act(session, "update_field", "a", empty)
    assert session.ticket.custom == {"b": 2}
    session = act(act(session, "update_field", "b", empty), "update_field", "never set", empty)
    assert session.ticket.custom is None


def test_a_custom_value_is_copied() -> None:
    value = {"a": [1]}
    session = act(session_in("started"), "update_field", "x", value)
    value["a"].append(2)
    assert session.ticket.custom == {"x": {"a": [1]}}


def test_the_id_is_not_a_field() -> None:
    with pytest.raises(InvalidAction) as caught:
        session_in("started").update_field("id", "500", at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.fieldName", "CC-003")
    assert "create" in str(caught.value)


def test_the_limits_hold_for_all_custom_fields_together() -> None:
    # Every record carries the whole ticket.
    session = session_in("started")
    for name in ("a", "b", "c"):
        session = act(session, "update_field", name, "x" * 80_000)
    with pytest.raises(InvalidAction) as caught:
        session.update_field("d", "x" * 80_000, at=NOW)
    assert caught.value.path == "$.ticket.custom.d"
    assert act(session, "update_field", "a", "y").next_seq == session.next_seq + 1


# offers


def test_offers_are_read_from_answers_of_the_service() -> None:
    session = session_in("suggested")
    assert session.offers == (
        ClassificationsOffered(
            response_id="classify-1",
            classifications=tuple(
                OfferedClassification(
                    classification_id=classification_id,
                    field_name="category",
                    classification=Classification(value=value, confidence=confidence),
                )
                for classification_id, value, confidence in [("c1", "Electrical", 0.76), ("c2", "Mechanical", 0.2)]
            ),
        ),
        DocumentsOffered(
            response_id="suggest-1",
            documents=(
                OfferedDocument(
                    suggestion_id="d1", suggestion=DOCUMENT, click_uri="https://support.example.com/ignition"
                ),
            ),
        ),
    )


@pytest.mark.parametrize("state", ["started", "filling", "suggested"])
@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("offer_classifications", {"responseId": "r", "fields": {}}),
        ("offer_classifications", {"responseId": "r", "fields": {"category": {"predictions": []}}}),
        ("offer_documents", {"responseId": "r", "documents": []}),
    ],
)
def test_an_offer_with_nothing_in_it_is_recorded_and_leaves_the_state(state: str, action: str, answer: Any) -> None:
    session = session_in(state)
    after = act(session, action, answer)
    assert (after.state, after.next_seq) == (state, session.next_seq + 1)
    assert len(after.offers) == len(session.offers) + 1


@pytest.mark.parametrize("state", ["new", "created", "solved", "quit"])
def test_an_offer_with_nothing_in_it_is_refused_where_offers_are(state: str) -> None:
    with pytest.raises(IllegalTransition):
        session_in(state).offer_documents({"responseId": "r", "documents": []}, at=NOW)


def test_an_offer_that_contradicts_an_earlier_one_is_refused() -> None:
    answer = {"responseId": "classify-1", "fields": {"category": {"predictions": [
        {"id": "c1", "value": "Other", "confidence": 0.76}]}}}  # fmt: skip
    session = session_in("suggested")
    with pytest.raises(InvalidAction) as caught:
        session.offer_classifications(answer, at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.response", "CA-061")
    assert act(session, "offer_classifications", answer | {"responseId": "classify-2"}).state == "suggested"


# select_classification


def test_a_selected_classification_is_taken_from_its_offer_and_sets_the_field() -> None:
    (record,) = session_in("suggested").select_classification("c2", auto_selection=True, at=NOW)
    assert record.event == TicketClassificationClick(
        classification_id="c2",
        response_id="classify-1",
        field_name="category",
        classification=Classification(value="Mechanical", confidence=0.2),
        auto_selection=True,
    )
    assert record.ticket.category == "Mechanical"


def answer(response_id: str, value: str) -> dict[str, Any]:
    return {
        "responseId": response_id,
        "fields": {"colour": {"predictions": [{"id": "c1", "value": value, "confidence": 1}]}},
    }


def test_the_latest_response_counts_unless_another_is_named() -> None:
    session = act(session_in("suggested"), "offer_classifications", answer("classify-2", "red"))
    latest = act(session, "select_classification", "c1")
    assert latest.ticket.custom == {"colour": "red"}
    named = act(session, "select_classification", "c1", response_id="classify-1")
    assert named.ticket.category == "Electrical"


@pytest.mark.parametrize(
    ("classification_id", "response_id"),
    [("c9", None), ("c1", "classify-9"), ("c1", "suggest-1"), ("d1", None), ("C1", None)],
)
def test_a_classification_that_was_not_offered_cannot_be_selected(
    classification_id: str, response_id: str | None
) -> None:
    with pytest.raises(UnknownSuggestion) as caught:
        session_in("suggested").select_classification(classification_id, response_id=response_id, at=NOW)
    error = caught.value
    assert (error.kind, error.suggestion_id, error.response_id) == ("classification", classification_id, response_id)
    assert (error.path, error.rule) == ("$.classificationId", "CA-060")


@pytest.mark.parametrize("state", ["started", "filling", "suggested"])
@pytest.mark.parametrize("as_value", [False, True])
def test_a_whole_classification_is_offered_first(state: str, as_value: bool) -> None:
    session = session_in(state)
    classification: Any = Classification(value="High", confidence=0.5) if as_value else {
        "value": "High", "confidence": 0.5}  # fmt: skip
    offer, click = session.select_classification(
        "u1", response_id="own-1", field_name="urgency", classification=classification, at=NOW
    )
    assert isinstance(offer.event, ClassificationsOffered)
    assert (offer.seq, click.seq) == (session.next_seq, session.next_seq + 1)
    assert offer.ticket == session.ticket
    after = Session.fold((offer, click), session)
    assert after.state == "suggested"
    assert after.ticket.custom == {"urgency": "High"}


def test_a_whole_classification_that_was_offered_is_not_offered_again() -> None:
    arguments: Any = {"response_id": "classify-1", "field_name": "category",
                 "classification": {"value": "Electrical", "confidence": 0.76}}  # fmt: skip
    (record,) = session_in("suggested").select_classification("c1", **arguments, at=NOW)
    assert isinstance(record.event, TicketClassificationClick)


def test_a_whole_classification_that_contradicts_its_response_is_refused() -> None:
    with pytest.raises(InvalidAction) as caught:
        session_in("suggested").select_classification(
            "c1",
            response_id="classify-1",
            field_name="category",
            classification={"value": "Electrical", "confidence": 0.75},
            at=NOW,
        )
    assert (caught.value.path, caught.value.rule) == ("$.response", "CA-061")


@pytest.mark.parametrize(
    ("arguments", "path", "rule"),
    [
        ({"field_name": "category"}, "$.classification", None),
        ({"classification": {"value": "v", "confidence": 1}}, "$.fieldName", "CA-063"),
        ({"field_name": "f", "classification": {"value": "v"}}, "$.classification.confidence", "CA-067"),
        ({"field_name": "f", "classification": {"value": "v", "confidence": 1}}, "$.responseId", "CA-062"),
    ],
)
def test_a_whole_classification_is_whole(arguments: dict[str, Any], path: str, rule: str | None) -> None:
    with pytest.raises(InvalidAction) as caught:
        session_in("suggested").select_classification("x", at=NOW, **arguments)
    assert (caught.value.path, caught.value.rule) == (path, rule)


def test_a_classification_of_the_id_can_be_offered_but_not_selected() -> None:
    offered = {"responseId": "r", "fields": {"id": {"predictions": [{"id": "x", "value": "v", "confidence": 1}]}}}
    session = act(session_in("started"), "offer_classifications", offered)
    with pytest.raises(InvalidAction) as caught:
        session.select_classification("x", at=NOW)
    assert caught.value.rule == "CC-003"


# open_document, quickview_document, rate_document

VIEWS = [
    ("open_document", DocumentSuggestionClick, "CD"),
    ("quickview_document", DocumentSuggestionQuickview, "CQ"),
]


@pytest.mark.parametrize(("action", "cls", "rules"), VIEWS)
def test_a_viewed_document_is_taken_from_its_offer(action: str, cls: type, rules: str) -> None:
    (record,) = getattr(session_in("suggested"), action)("d1", response_id="suggest-1", at=NOW)
    assert record.event == cls(suggestion_id="d1", response_id="suggest-1", suggestion=DOCUMENT)


def test_a_rating_holds_the_documented_members_of_the_document() -> None:
    (record,) = session_in("suggested").rate_document("d1", 1, at=NOW)
    assert record.event == SuggestionRate(
        rate=1.0,
        suggestion_id="d1",
        response_id="suggest-1",
        suggestion=RatedDocument(
            document_title="Ignition", document_url="https://docs.example.com/ignition", document_position=1
        ),
    )


@pytest.mark.parametrize("rate", [0, 1, 0.0, 1.0, 0.5, 5e-324])
def test_a_rating_is_a_number_from_0_to_1_and_may_be_repeated(rate: float) -> None:
    session = session_in("suggested")
    for _ in range(2):
        session = act(session, "rate_document", "d1", rate)


def test_a_number_of_a_subclass_of_float_is_a_number() -> None:
    class Float64(float):  # as numpy's
        def __float__(self) -> float:
            raise AssertionError

    (record,) = session_in("suggested").rate_document("d1", Float64(0.5), at=NOW)
    assert type(record.event) is SuggestionRate
    assert type(record.event.rate) is float


@pytest.mark.parametrize(
    ("action", "more", "rule"),
    [("open_document", (), "CD-021"), ("quickview_document", (), "CQ-021"), ("rate_document", (0.5,), "CA-052")],
)
@pytest.mark.parametrize(("suggestion_id", "response_id"), [("d9", None), ("d1", "suggest-9"), ("c1", None)])
def test_a_document_that_was_not_offered_cannot_be_taken(
    action: str, more: tuple[float, ...], rule: str, suggestion_id: str, response_id: str | None
) -> None:
    with pytest.raises(UnknownSuggestion) as caught:
        getattr(session_in("suggested"), action)(suggestion_id, *more, response_id=response_id, at=NOW)
    assert (caught.value.kind, caught.value.path, caught.value.rule) == ("document", "$.suggestionId", rule)


@pytest.mark.parametrize("state", ["started", "filling", "suggested"])
@pytest.mark.parametrize(
    ("action", "more"), [("open_document", ()), ("quickview_document", ()), ("rate_document", (0.5,))]
)
def test_a_whole_document_is_offered_first(state: str, action: str, more: tuple[float, ...]) -> None:
    session = session_in(state)
    offer, taken = getattr(session, action)("d2", *more, response_id="own-1", suggestion=WHOLE_DOCUMENT, at=NOW)
    assert isinstance(offer.event, DocumentsOffered)
    after = Session.fold((offer, taken), session)
    assert (after.state, after.next_seq) == ("suggested", session.next_seq + 2)
    (again,) = getattr(after, action)("d2", *more, response_id="own-1", suggestion=WHOLE_DOCUMENT, at=NOW)
    assert again.seq == after.next_seq


@pytest.mark.parametrize(
    ("action", "more"), [("open_document", ()), ("quickview_document", ()), ("rate_document", (0.5,))]
)
def test_a_whole_document_that_was_offered_with_more_to_show_is_not_offered_again(
    action: str, more: tuple[float, ...]
) -> None:
    documents = [{**DOCUMENTS["documents"][0], "excerpt": "Loose wires."}]
    session = act(session_in("started"), "offer_documents", {**DOCUMENTS, "documents": documents})
    (record,) = getattr(session, action)("d1", *more, response_id="suggest-1", suggestion=DOCUMENT, at=NOW)
    assert type(record.event) is EVENTS[action][0]
    offer = session.apply(record).offers[-1]
    assert isinstance(offer, DocumentsOffered)
    assert (offer.documents[0].excerpt, len(session.apply(record).offers)) == ("Loose wires.", 1)
    for shown in (b"Loose", b"excerpt", b"support.example.com", b"clickUri"):
        assert shown not in encode(record)


@pytest.mark.parametrize(
    ("action", "more", "rule"),
    [("open_document", (), "CD-013"), ("quickview_document", (), "CQ-013"), ("rate_document", (0.5,), "CA-044")],
)
def test_a_whole_document_names_its_response(action: str, more: tuple[float, ...], rule: str) -> None:
    with pytest.raises(InvalidAction) as caught:
        getattr(session_in("suggested"), action)("d2", *more, suggestion=WHOLE_DOCUMENT, at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.responseId", rule)


@pytest.mark.parametrize("change", [{"documentTitle": "Other"}, {"documentPosition": 2}])
def test_a_whole_document_that_contradicts_its_response_is_refused(change: dict[str, Any]) -> None:
    whole = msgspec.to_builtins(DOCUMENT) | change
    with pytest.raises(InvalidAction) as caught:
        session_in("suggested").open_document("d1", response_id="suggest-1", suggestion=whole, at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.response", "CL-022")


@pytest.mark.parametrize("state", ["new", "created", "solved", "quit"])
def test_a_whole_suggestion_is_refused_where_the_action_is(state: str) -> None:
    with pytest.raises(IllegalTransition) as caught:
        session_in(state).open_document("d2", response_id="own-1", suggestion=WHOLE_DOCUMENT, at=NOW)
    assert caught.value.action == "open_document"


@pytest.mark.parametrize(("action", "cls", "rules"), VIEWS)
@pytest.mark.parametrize(
    ("member", "path", "rule"),
    [
        ({"language": None}, "$.context.language", "008"),
        ({"originContext": ""}, "$.context.originContext", "009"),
        ({"searchHub": None}, "$.context.searchHub", "010"),
        ({"searchHub": ""}, "$.context.searchHub", "010"),
    ],
)
def test_viewing_a_document_needs_a_full_context(
    action: str, cls: type, rules: str, member: dict[str, Any], path: str, rule: str
) -> None:
    session = act(Session(id="a1"), "start", None, {**CONTEXT, **member})
    session = act(session, "offer_documents", DOCUMENTS)
    with pytest.raises(InvalidAction) as caught:
        getattr(session, action)("d1", at=NOW)
    assert (caught.value.path, caught.value.rule) == (path, f"{rules}-{rule}")
    assert act(session, "rate_document", "d1", 1).state == "suggested"


# next_stage


def test_the_stage_counts_how_often_the_person_went_on() -> None:
    session = session_in("filling")
    assert session.stage == 0
    session = act(act(session, "next_stage"), "next_stage", "documents")
    assert (session.stage, session.state) == (2, "filling")


def test_a_stage_may_have_a_name() -> None:
    (record,) = session_in("filling").next_stage("documents", at=NOW)
    assert record.event == TicketNextStage(stage="documents")


# log_click, log_custom


@pytest.mark.parametrize("as_value", [False, True])
def test_other_events_are_recorded_as_they_are(as_value: bool) -> None:
    click = ClickEvent(action_cause="searchFromLink", search_query_uid="q1", source_name="Docs")
    (record,) = session_in("started").log_click(click if as_value else CLICK, at=NOW)
    assert record.event == click
    custom = CustomEvent(event_type="chat", event_value="hello")
    (record,) = session_in("started").log_custom(custom if as_value else CUSTOM, at=NOW)
    assert record.event == custom


def test_an_event_of_the_other_kind_is_refused() -> None:
    click = ClickEvent(action_cause="searchFromLink", search_query_uid="q1", source_name="Docs")
    with pytest.raises(InvalidAction):
        session_in("started").log_custom(click, at=NOW)  # type: ignore[arg-type]


AB = {"splitTestRunName": "n", "splitTestRunVersion": "v"}


@pytest.mark.parametrize(
    ("action", "members", "path", "rule"),
    [
        ("log_click", {"clientId": CLIENT_ID.replace("4", "5")}, "clientId", "CA-014"),
        ("log_custom", {"clientId": CLIENT_ID.replace("4", "5")}, "clientId", "CA-014"),
        ("log_click", {"anonymous": True, "username": "x"}, "username", "CL-036"),
        ("log_click", {"anonymous": True, "userDisplayName": "x"}, "userDisplayName", "CL-036"),
        ("log_custom", {"anonymous": True, "username": "x"}, "username", "CU-011"),
        ("log_click", {"splitTestRunVersion": "v", "queryPipeline": "p"}, "splitTestRunName", "CL-047"),
        ("log_click", {"splitTestRunName": "n", "queryPipeline": "p"}, "splitTestRunVersion", "CL-048"),
        ("log_custom", {"splitTestRunVersion": "v"}, "splitTestRunName", "CU-023"),
        ("log_custom", {"splitTestRunName": "n"}, "splitTestRunVersion", "CU-024"),
        ("log_click", AB, "queryPipeline", "CL-046"),
        ("log_click", {"customData": {"a-b": 1}}, "customData", "CL-D05"),
        ("log_custom", {"customData": {"a-b": 1}}, "customData", "CU-D05"),
    ],
)
def test_other_events_keep_the_rules_between_members(
    action: str, members: dict[str, Any], path: str, rule: str
) -> None:
    with pytest.raises(InvalidAction) as caught:
        getattr(session_in("started"), action)(ARGUMENTS[action][0] | members, at=NOW)
    assert (caught.value.path, caught.value.rule) == (f"$.event.{path}", rule)


@pytest.mark.parametrize(
    ("action", "members"),
    [
        ("log_click", {"clientId": CLIENT_ID, "username": "x", "customData": {"a": 1}}),
        ("log_click", {**AB, "queryPipeline": "p"}),
        ("log_custom", AB),
        ("log_custom", {"anonymous": False, "username": "x"}),
    ],
)
def test_other_events_may_have_all_that_the_documents_name(action: str, members: dict[str, Any]) -> None:
    assert act(session_in("started"), action, ARGUMENTS[action][0] | members).next_seq == 2


@pytest.mark.parametrize(("action", "rule"), [("log_click", "CL-008"), ("log_custom", "CU-003")])
def test_other_events_need_a_language_from_somewhere(action: str, rule: str) -> None:
    session = act(Session(id="a1"), "start", None, {"clientId": CLIENT_ID})
    with pytest.raises(InvalidAction) as caught:
        getattr(session, action)(*ARGUMENTS[action], at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.event.language", rule)
    assert act(session, action, ARGUMENTS[action][0] | {"language": "fr"}).next_seq == 2


def test_an_anonymous_person_is_not_named_by_an_event_either() -> None:
    session = act(Session(id="a1"), "start", None, {**CONTEXT, "anonymous": True})
    with pytest.raises(InvalidAction) as caught:
        session.log_custom(CUSTOM | {"username": "x"}, at=NOW)
    assert caught.value.rule == "CU-011"
    assert act(session, "log_custom", CUSTOM | {"username": "x", "anonymous": False}).next_seq == 2


# take_turn


def test_a_turn_records_the_message_and_what_to_remember() -> None:
    session = session_in("started")
    (record,) = session.take_turn("m1", {"step": "asking", "tries": 2}, at=NOW)
    assert record.event == TurnTaken(message_id="m1", memory={"step": "asking", "tries": 2})
    assert (record.ticket, record.context) == (session.ticket, session.context)
    after = session.apply(record)
    assert (after.message_ids, after.memory) == (("m1",), {"step": "asking", "tries": 2})
    assert (session.message_ids, session.memory) == ((), None)
    assert (after.state, after.stage, after.offers) == (session.state, session.stage, session.offers)


def test_a_message_has_one_turn_in_a_session() -> None:
    session = act(session_in("started"), "take_turn", "m1", {"step": "one"})
    session = act(act(session, "take_turn", "m2", {"step": "two"}), "update_field", "subject", "x")
    for message_id in ("m1", "m2"):
        with pytest.raises(RepeatedMessage) as caught:
            session.take_turn(message_id, {"step": "three"}, at=NOW)
        assert (caught.value.session_id, caught.value.message_id) == ("a1", message_id)
    assert (session.message_ids, session.memory) == (("m1", "m2"), {"step": "two"})
    other = act(Session(id="b2"), "start", None, CONTEXT)
    assert act(other, "take_turn", "m1").message_ids == ("m1",)


def test_a_message_that_repeats_is_refused_after_the_session_was_folded_anew() -> None:
    records = records_of("start", "take_turn", "update_field")
    session = Session.fold(decode(encode(record)) for record in records)
    with pytest.raises(RepeatedMessage):
        session.take_turn("m1", at=NOW)
    assert act(session, "take_turn", "M1").message_ids == ("m1", "M1")


def test_after_the_end_a_message_that_repeats_finds_no_session() -> None:
    session = act(act(session_in("started"), "take_turn", "m1"), "solve")
    with pytest.raises(IllegalTransition):
        session.take_turn("m1", at=NOW)


def test_a_turn_without_a_message_may_come_any_number_of_times() -> None:
    session = act(session_in("started"), "take_turn", "m1")
    for number in range(3):
        session = act(session, "take_turn", None, {"answers": number})
    assert (session.message_ids, session.memory, session.next_seq) == (("m1",), {"answers": 2}, 5)


def test_the_latest_256_messages_are_known() -> None:
    session = session_in("started")
    names = [f"m{number}" for number in range(257)]
    for name in names[:256]:
        session = act(session, "take_turn", name)
    assert session.message_ids == tuple(names[:256])
    with pytest.raises(RepeatedMessage):
        session.take_turn("m0", at=NOW)
    session = act(session, "take_turn")  # no message: none is forgotten
    session = act(session, "take_turn", names[256])
    assert session.message_ids == tuple(names[1:])
    with pytest.raises(RepeatedMessage):
        session.take_turn("m1", at=NOW)
    assert act(session, "take_turn", "m0").message_ids == (*names[2:], "m0")


@pytest.mark.parametrize(("memory", "left"), [({"b": 2}, {"b": 2}), ({}, {}), (None, {"a": 1})])
def test_the_memory_is_that_of_the_latest_turn(memory: Any, left: Any) -> None:
    session = act(session_in("started"), "take_turn", "m1", {"a": 1})
    session = act(session, "update_field", "subject", "x")
    assert session.memory == {"a": 1}
    assert act(session, "take_turn", None, memory).memory == left


def test_a_memory_is_copied() -> None:
    memory = {"steps": ["one"]}
    session = act(session_in("started"), "take_turn", "m1", memory)
    memory["steps"].append("two")
    assert session.memory == {"steps": ["one"]}


@pytest.mark.parametrize("bad", [7, "", "x" * 1025, "a\nb", b"m1", ["m1"], True])
def test_the_id_of_a_message_is_an_identifier(bad: Any) -> None:
    with pytest.raises(InvalidAction) as caught:
        session_in("started").take_turn(bad, at=NOW)
    assert (caught.value.path, caught.value.rule) == ("$.messageId", None)


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        (7, ""),
        ("asking", ""),
        ([1], ""),
        ({1: 2}, ""),
        ({"a": float("nan")}, ".a"),
        ({"a": object()}, ".a"),
        ({"a": ["x" * 200_000, "x" * 62_144]}, ".a[1]"),
        ({str(number): number for number in range(1025)}, ""),
    ],
    ids=["number", "text", "array", "key", "nan", "object", "characters", "members"],
)
def test_a_memory_is_an_object_and_keeps_the_limits_of_all_that_is_handed_in(bad: Any, path: str) -> None:
    session = session_in("started")
    with pytest.raises(InvalidAction) as caught:
        session.take_turn("m1", bad, at=NOW)
    assert caught.value.path == f"$.memory{path}"
    assert act(session, "take_turn", "m1").next_seq == session.next_seq + 1


# create, solve, quit, expire


def test_create_gives_the_ticket_its_id() -> None:
    session = session_in("suggested")
    (record,) = session.create("5003000000D8cuI", at=NOW)
    assert record.event == TicketCreate()
    assert record.ticket == msgspec.structs.replace(session.ticket, id="5003000000D8cuI")
    assert not session.apply(record).active


def test_solve_and_quit_give_their_reason() -> None:
    (solved,) = session_in("started").solve(at=NOW)
    assert solved.event == TicketCancel(reason="Solved")
    for cause in ("user", "unload", "timeout"):
        (left,) = session_in("started").quit(cause, at=NOW)
        assert left.event == TicketCancel(reason="Quit", cause=cause)
    (left,) = session_in("started").quit(at=NOW)
    assert left.event == TicketCancel(reason="Quit", cause="user")


@pytest.mark.parametrize("state", ["started", "filling", "suggested"])
def test_a_session_expires_when_it_was_idle(state: str) -> None:
    session = session_in(state)
    almost = NOW + timedelta(seconds=IDLE_S) - timedelta(microseconds=1)
    assert session.expire(almost) == ()
    (record,) = session.expire(NOW + timedelta(minutes=30))
    assert record.event == TicketCancel(reason="Quit", cause="timeout")
    assert record.time == NOW + timedelta(minutes=30)
    assert session.expire(NOW + timedelta(seconds=5), idle_s=5.5) == ()
    assert len(session.expire(NOW + timedelta(seconds=5), idle_s=5)) == 1


@pytest.mark.parametrize("state", ["new", "created", "solved", "quit"])
def test_a_session_that_is_not_active_does_not_expire(state: str) -> None:
    assert session_in(state).expire(NOW + timedelta(days=365)) == ()


def test_a_session_does_not_expire_when_the_clock_goes_back() -> None:
    assert session_in("started").expire(NOW - timedelta(days=1), idle_s=0.1) == ()


@pytest.mark.parametrize("idle_s", [-1, float("nan"), float("inf"), "60", None, True])
def test_idle_seconds_are_a_number_from_0(idle_s: Any) -> None:
    with pytest.raises(InvalidAction) as caught:
        session_in("started").expire(NOW, idle_s=idle_s)
    assert caught.value.path == "$.idleS"


# time


class NoOffset(tzinfo):
    dst = tzname = lambda self, dt: None

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None


class BrokenZone(NoOffset):
    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        raise RuntimeError("CANARY-7431")


class Stamp(datetime):
    """A subclass, such as pandas.Timestamp or pendulum.DateTime: msgspec writes none."""


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 11, 20, 13, 0, 0, 123000, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 11, 20, 6, 30, 0, 123000, tzinfo=timezone(-timedelta(hours=5, minutes=30))),
        datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=timezone(timedelta(0), "Z")),
        Stamp(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC),
        Stamp(2026, 11, 20, 13, 0, 0, 123000, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_time_with_another_offset_is_told_in_utc(at: datetime) -> None:
    (record,) = session_in("started").solve(at=at)
    assert record.time == NOW
    assert record.time.tzinfo is UTC
    assert type(record.time) is datetime
    assert b'"time":"2026-11-20T12:00:00.123000Z"' in encode(record)


@given(at=st.datetimes(timezones=st.timezones() | st.builds(timezone, st.timedeltas(-timedelta(1), timedelta(1)).filter(
    lambda offset: abs(offset) < timedelta(1)))))  # fmt: skip
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_time_that_utc_can_tell_is_the_same_instant(at: datetime) -> None:
    try:
        expected = at.astimezone(UTC)
    except OverflowError:
        with pytest.raises(InvalidAction):
            session_in("started").solve(at=at)
    else:
        (record,) = session_in("started").solve(at=at)
        assert record.time.replace(tzinfo=None) == expected.replace(tzinfo=None)


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 11, 20, 12),  # noqa: DTZ001
        datetime(2026, 11, 20, 12, tzinfo=NoOffset()),
        datetime(2026, 11, 20, 12, tzinfo=BrokenZone()),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
        date(2026, 11, 20),
        "2026-11-20T12:00:00Z",
        1_795_000_000,
        True,
        None,
    ],
)
def test_a_time_that_utc_cannot_tell_is_refused(at: Any) -> None:
    with pytest.raises(InvalidAction) as caught:
        session_in("started").solve(at=at)
    assert caught.value.path == "$.at"
    with pytest.raises(InvalidAction) as caught:
        session_in("started").expire(at)
    assert caught.value.path == "$.now"


def test_time_may_go_backwards_for_seq_is_the_order() -> None:
    session = session_in("started")
    (record,) = session.next_stage(at=NOW - timedelta(hours=1))
    after = session.apply(record)
    assert (after.last_at, after.started_at) == (NOW - timedelta(hours=1), NOW)


# fold and apply


def test_folding_nothing_gives_nothing() -> None:
    with pytest.raises(ValueError, match="no records"):
        Session.fold([])
    session = session_in("filling")
    assert Session.fold([], session) is session


def test_folding_begins_with_the_session_of_the_first_record() -> None:
    assert Session.fold(records_of("start", "update_field")) == session_in("filling") != session_in("started")


def corrupted(record: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(record, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0},
        {"seq": 2},
        {"session_id": "a2"},
        {"event": TicketCreateStart()},
        {"event": TicketClassificationClick(
            classification_id="c1", response_id="r", field_name="f",
            classification=Classification(value="v", confidence=1), auto_selection=True)},
        {"event": CustomEvent(event_type="caseassist", event_value="escalate")},
        {"event": CustomEvent(event_type="caseassist", event_value="create")},
        {"event": SuggestionClick(suggestion_id="d1", response_id="r", suggestion=RatedDocument(
            document_title="t", document_url="u", document_position=1))},
    ],
)  # fmt: skip
def test_a_record_that_does_not_follow_is_corrupt(changes: dict[str, Any]) -> None:
    record = records_of("start", "update_field")[1]
    with pytest.raises(CorruptRecord) as caught:
        session_in("started").apply(corrupted(record, **changes))
    assert caught.value.where == f"record {changes.get('seq', 1)} of session '{changes.get('session_id', 'a1')}'"


def test_a_record_after_the_end_is_corrupt() -> None:
    records = records_of("start", "solve")
    late = corrupted(records_of("start", "update_field")[1], seq=2)
    with pytest.raises(CorruptRecord, match="ended"):
        Session.fold([*records, late])


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        ("select_classification", {"field_name": "subject"}),
        ("select_classification", {"classification": Classification(value="Electrical", confidence=0.5)}),
        ("select_classification", {"response_id": "classify-2"}),
        ("open_document", {"suggestion": msgspec.structs.replace(DOCUMENT, source_name="Other")}),
        ("open_document", {"suggestion_id": "d2"}),
        ("quickview_document", {"suggestion": msgspec.structs.replace(DOCUMENT, document_position=2)}),
        ("rate_document", {"suggestion": RatedDocument(
            document_title="Other", document_url=DOCUMENT.document_url, document_position=1)}),
        ("rate_document", {"response_id": "suggest-2"}),
    ],
)  # fmt: skip
def test_a_record_that_takes_what_was_not_offered_is_corrupt(action: str, changes: dict[str, Any]) -> None:
    session = session_in("suggested")
    (record,) = getattr(session, action)(*ARGUMENTS[action], at=NOW)
    assert session.apply(record)
    with pytest.raises(CorruptRecord):
        session.apply(corrupted(record, event=msgspec.structs.replace(record.event, **changes)))


def test_a_record_that_contradicts_an_offer_is_corrupt() -> None:
    session = session_in("suggested")
    (record,) = session.offer_documents(DOCUMENTS | {"responseId": "suggest-2"}, at=NOW)
    other = OfferedDocument(suggestion_id="d1", suggestion=msgspec.structs.replace(DOCUMENT, document_title="Other"))
    offer = DocumentsOffered(response_id="suggest-1", documents=(other,))
    with pytest.raises(CorruptRecord, match="contradicts"):
        session.apply(corrupted(record, event=offer))


def test_an_event_of_a_newer_version_cannot_be_folded() -> None:
    record = corrupted(records_of("start", "update_field")[1], event=UnknownEvent(name="escalated"))
    with pytest.raises(UnsupportedRecord, match="escalated") as caught:
        session_in("started").apply(record)
    assert caught.value.where == "record 1 of session 'a1'"


def test_an_event_that_no_action_makes_has_the_name_of_its_class() -> None:
    assert action_of(UnknownEvent(name="x")) == "UnknownEvent"


def test_a_session_does_not_show_what_it_holds() -> None:
    session = act(session_in("started"), "update_field", "subject", "CANARY-7431")
    assert repr(session) == "<Session a1 filling, 2 records>"
    assert "CANARY" not in repr(session.ticket)


# Checked tickets and contexts


@given(ticket=strategies.ticket())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_ticket_that_keeps_the_rules_passes_but_for_its_empty_members(ticket: Ticket) -> None:
    checked = checked_ticket(ticket)
    assert checked == checked_ticket(msgspec.to_builtins(ticket)) == checked_ticket(checked)
    assert all(getattr(checked, name) == (getattr(ticket, name) or None) or name == "custom"
               for name in Ticket.__struct_fields__)  # fmt: skip
    assert checked.custom == ticket.custom


@given(context=strategies.context())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_context_that_keeps_the_rules_passes(context: Context) -> None:
    assert checked_context(context) == context == checked_context(msgspec.to_builtins(context))


def test_nothing_is_an_empty_ticket_and_an_empty_context() -> None:
    assert checked_ticket(None) == Ticket()
    assert checked_context(None) == Context()


@pytest.mark.parametrize("member", ["username", "userDisplayName"])
def test_an_anonymous_person_has_no_name(member: str) -> None:
    with pytest.raises(InvalidAction) as caught:
        checked_context({"anonymous": True, member: "x"})
    assert (caught.value.path, caught.value.rule) == (f"$.context.{member}", "CL-036")
    assert checked_context({"anonymous": True, member: ""}).anonymous


def test_names_may_be_members_of_an_enumeration() -> None:
    class Field(StrEnum):
        SUBJECT = "subject"

    class Id(StrEnum):
        FIRST = "c1"

    session = act(session_in("suggested"), "update_field", Field.SUBJECT, "x")
    assert session.ticket.subject == "x"
    (record,) = session.select_classification(Id.FIRST, at=NOW)
    assert isinstance(record.event, TicketClassificationClick)
    assert type(record.event.classification_id) is str
    assert (
        act(session, "offer_classifications", CLASSIFICATIONS | {"responseId": Id.FIRST}).offers[-1].response_id == "c1"
    )


@pytest.mark.parametrize("bad", [None, 7, "", "x" * 1025, b"d1"])
@pytest.mark.parametrize(
    ("action", "rest", "path"),
    [
        ("select_classification", (), "$.classificationId"),
        ("open_document", (), "$.suggestionId"),
        ("quickview_document", (), "$.suggestionId"),
        ("rate_document", (0.5,), "$.suggestionId"),
    ],
)
def test_what_is_no_id_is_not_looked_up(action: str, rest: tuple[float, ...], path: str, bad: Any) -> None:
    take = getattr(session_in("suggested"), action)
    with pytest.raises(InvalidAction) as caught:
        take(bad, *rest, at=NOW)
    assert caught.value.path == path
    if bad is not None:
        with pytest.raises(InvalidAction) as caught:
            take("c1", *rest, response_id=bad, at=NOW)
        assert caught.value.path == "$.responseId"
