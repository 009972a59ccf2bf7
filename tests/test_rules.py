"""All 250 rules of the documents: refused when broken, kept by construction, or not ours to keep.

``docs/reference/rules.toml`` says which, rule by rule, and the reference page is made of it. Here it is held against
the code: every *enforced* rule has values that break it and values that keep it, every rule kept by *construction* has
a check on what is really sent.
"""

import json
import pickle
import runpy
import tomllib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from caseassist import CaseAssist, HTTPSink
from caseassist.core.errors import ActionError, IllegalTransition, UnsupportedRecord
from caseassist.core.events import SuggestionClick
from caseassist.core.machine import TABLE
from caseassist.core.records import Record, encode
from caseassist.core.session import Session
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Request
from caseassist.wire.reading import read_body
from caseassist.wire.requests import PRODUCT, Auth, WireFormat
from caseassist.wire.secret import Secret

ROOT = Path(__file__).parents[1]
RULES: dict[str, dict[str, Any]] = {
    rule["id"]: rule for rule in json.loads((ROOT / "tests/data/rules.json").read_text(encoding="utf-8"))
}
HOW: dict[str, dict[str, str]] = tomllib.loads((ROOT / "docs/reference/rules.toml").read_text(encoding="utf-8"))

Json = dict[str, Any]

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"
ABSENT = object()


def text(length: int) -> str:
    return "é" * length


# Things to do, each with a good input of which single members are changed.


def changed(good: Json, changes: Mapping[str, Any]) -> Json:
    """The input with changes; a dot leads into an object, ABSENT takes a member away."""
    data = deepcopy(good)
    for place, value in changes.items():
        *outer, name = place.split(".")
        inner = data
        for key in outer:
            inner = inner[key]
        inner[name] = value
        if value is ABSENT:
            del inner[name]
    return data


CONTEXT: Json = {"clientId": CLIENT_ID, "searchHub": "bot", "language": "en"}
TICKET: Json = {"subject": "s", "description": "d", "category": "c", "custom": {"visitorAge": 18}}
CLASSIFICATION: Json = {
    "classificationId": "c1",
    "responseId": "r1",
    "fieldName": "category",
    "classification": {"value": "Electrical", "confidence": 0.76},
    "autoSelection": False,
}
DOCUMENT: Json = {
    "suggestionId": "d1",
    "responseId": "r1",
    "suggestion": {
        "documentTitle": "Ignition",
        "documentUrl": "https://docs.example/1",
        "documentPosition": 1,
        "sourceName": "Answers",
        "documentUriHash": "gizDGrXcVñbV7mñy",
    },
}
CLICK: Json = {"actionCause": "documentOpen", "searchQueryUid": "q", "sourceName": "s", "customData": {}}
CUSTOM: Json = {"eventType": "facet", "eventValue": "facetSearch"}


class Done(tuple[Record, ...]):
    """Records, and the session as of before them."""

    before: Session

    @classmethod
    def of(cls, session: Session, records: tuple[Record, ...]) -> "Done":
        done = cls(records)
        done.before = session
        return done

    @property
    def last(self) -> Record:
        return self[-1]

    @property
    def after(self) -> Session:
        return Session.fold(self, self.before)


def start(**changes: Any) -> Done:
    data = changed({"context": CONTEXT, "ticket": TICKET}, changes)
    session = Session(id="a1")
    return Done.of(session, session.start(data["ticket"], data["context"], at=AT))


def begun(changes: Mapping[str, Any]) -> tuple[Session, Json]:
    """A session in which things were offered, under other ids, and the changes that are not about its context."""
    context = {name: value for name, value in changes.items() if name.startswith("context.")}
    session = start(**context).after
    classified = {"fields": {"category": {"predictions": [{"id": "c0", "value": "v", "confidence": 1}]}}}
    session = Session.fold(session.offer_classifications(classified | {"responseId": "r0"}, at=AT), session)
    document = {"title": "t", "clickUri": "u", "fields": {"permanentid": "d0", "source": "s"}}
    session = Session.fold(session.offer_documents({"documents": [document], "responseId": "r0"}, at=AT), session)
    return session, {name: value for name, value in changes.items() if name not in context}


def update(**changes: Any) -> Done:
    session, changes = begun(changes)
    data = changed({"fieldName": "category", "value": "Electrical"}, changes)
    return Done.of(session, session.update_field(data["fieldName"], data["value"], at=AT))


def classify(**changes: Any) -> Done:
    session, changes = begun(changes)
    data = changed(CLASSIFICATION, changes)
    records = session.select_classification(
        data["classificationId"],
        response_id=data.get("responseId"),
        auto_selection=data["autoSelection"],
        field_name=data.get("fieldName"),
        classification=data.get("classification"),
        at=AT,
    )
    return Done.of(session, records)


def rate(**changes: Any) -> Done:
    session, changes = begun(changes)
    data = changed(DOCUMENT | {"rate": 0.75}, changes)
    records = session.rate_document(
        data["suggestionId"],
        data["rate"],
        response_id=data.get("responseId"),
        suggestion=data.get("suggestion"),
        at=AT,
    )
    return Done.of(session, records)


def open_document(**changes: Any) -> Done:
    session, changes = begun(changes)
    data = changed(DOCUMENT, changes)
    arguments = {"response_id": data.get("responseId"), "suggestion": data.get("suggestion")}
    return Done.of(session, session.open_document(data["suggestionId"], **arguments, at=AT))


def quickview(**changes: Any) -> Done:
    session, changes = begun(changes)
    data = changed(DOCUMENT, changes)
    arguments = {"response_id": data.get("responseId"), "suggestion": data.get("suggestion")}
    return Done.of(session, session.quickview_document(data["suggestionId"], **arguments, at=AT))


def next_stage(**changes: Any) -> Done:
    session, changes = begun(changes)
    return Done.of(session, session.next_stage(changes.get("stage"), at=AT))


def create(**changes: Any) -> Done:
    session, changes = begun(changes)
    return Done.of(session, session.create(changes.get("id", "T1"), at=AT))


def solve(**changes: Any) -> Done:
    session, _ = begun(changes)
    return Done.of(session, session.solve(at=AT))


def leave(**changes: Any) -> Done:
    session, _ = begun(changes)
    return Done.of(session, session.quit(at=AT))


def click(**changes: Any) -> Done:
    session, changes = begun(changes)
    return Done.of(session, session.log_click(changed(CLICK, changes), at=AT))


def custom(**changes: Any) -> Done:
    session, changes = begun(changes)
    return Done.of(session, session.log_custom(changed(CUSTOM, changes), at=AT))


SVC: Json = {"t": "event", "ec": "svc", "cid": CLIENT_ID}
OLD_CLICK: Json = {
    "suggestionId": "d1",
    "responseId": "r1",
    "suggestion": {"documentTitle": "t", "documentUrl": "u", "documentPosition": 1, "documentUriHash": "h"},
}
SUGGESTED: Json = {
    "clientId": CLIENT_ID,
    "customData": {"contentIDKey": "permanentid", "contentIDValue": "d1"},
    "documentPosition": 1,
    "documentTitle": "t",
    "documentUrl": "u",
    "language": "en",
    "originContext": "CaseAssist",
    "originLevel1": "bot",
    "searchQueryUid": "r1",
    "sourceName": "s",
    "userAgent": "bot/1",
}


def read_svc(**changes: Any) -> object:
    good = SVC | {"ea": "flowStart", "svc_action": "ticket_create_start"}
    return read_body("collect", changed(good, changes), strict=True)


def read_rating(**changes: Any) -> object:
    data = changed(OLD_CLICK | {"rate": 0.5}, changes)
    return read_body("collect", SVC | {"ea": "click", "svc_action": "suggestion_rate", "svc_action_data": data})


def read_selection(**changes: Any) -> object:
    data = changed(CLASSIFICATION, changes)
    action = {"ea": "click", "svc_action": "ticket_classification_click", "svc_action_data": data}
    return read_body("collect", SVC | action, strict=True)


def read_old_click(**changes: Any) -> object:
    data = changed(OLD_CLICK, changes)
    action = {"ea": "click", "svc_action": "suggestion_click", "svc_action_data": data}
    return read_body("collect", SVC | action, strict=True)


def read_cancel(**changes: Any) -> object:
    data = changed({"reason": "Quit"}, changes)
    return read_body("collect", SVC | {"ea": "click", "svc_action": "ticket_cancel", "svc_action_data": data})


def read_open(**changes: Any) -> object:
    return read_body("click", changed(SUGGESTED | {"actionCause": "documentSuggestionClick"}, changes), strict=True)


def read_view(**changes: Any) -> object:
    return read_body("click", changed(SUGGESTED | {"actionCause": "documentSuggestionQuickview"}, changes), strict=True)


def read_click(**changes: Any) -> object:
    return read_body("click", changed(CLICK | {"language": "en", "documentPosition": 1}, changes), strict=True)


# Rules that are enforced


@dataclass(frozen=True)
class Row:
    """One rule at one place: values that break it, and values that keep it."""

    rule: str
    act: Callable[..., object]
    place: str
    """Which member of the input; empty where several change at once, and values are all that changes."""
    bad: tuple[Any, ...]
    good: tuple[Any, ...]

    def changes(self, value: Any) -> Json:
        return {self.place: value} if self.place else value


def at_most(limit: int) -> "Values":
    return (text(limit + 1), 5, False, ["x"]), (text(limit), "x")


def name(limit: int = 1024) -> "Values":
    return ("", text(limit + 1), 5, "a\nb", "a\x00"), (text(limit), "x", " ")


Values = tuple[tuple[Any, ...], tuple[Any, ...]]

CONFIDENCES = (-0.001, 1.001, "0.5", True, 2), (0, 1, 0.0, 1.0, 0.5)
POSITIONS = (0, -1, 1.5, "1", True), (1, 2, 2**63 - 1)
FLAGS: Values = (0, 1, "true", "", []), (True, False)
UUIDS = ("", "x", CLIENT_ID[:-1], CLIENT_ID + "0", "{" + CLIENT_ID + "}", 5)
CODES = ("xx", "EN", "en-US", "eng", " en", 5), ("en", "fr", "zu")
OUTCOMES = (-6, 6, 0.5, "0", True), (-5, 0, 5)
OBJECTS: Values = (5, "x", [], True), ({}, {"a": 1})
KEYS = ({"a-b": 1}, {"a.b": 1}, {"": 1}, {"é": 1}, {"a\n": 1}), ({"a_B 9": 1}, {"_": 1})
COLLISIONS = ({"A": 1, "a": 2}, {"a b": 1, "a_b": 2}), ({"a": 1, "b": 2},)
UNJSON = ({"a": float("nan")}, {"a": float("inf")}, {"a": "\ud800"}, {"a": object()}, {"a": {1}}), ({"a": [1.5, None]},)
ANONYMOUS: Values = (
    ({"anonymous": True, "username": "a"}, {"anonymous": True, "userDisplayName": "a"}),
    ({"anonymous": False, "username": "a"}, {"anonymous": True}),
)
TESTED = {"splitTestRunName": "n", "splitTestRunVersion": "v", "queryPipeline": "p"}
RUN = {"splitTestRunName": "n", "splitTestRunVersion": "v"}


def document_rows(
    letters: str, act: Callable[..., object], read: Callable[..., object], other_title: Json
) -> list[Row]:
    """The rules of the two document events are the same, under other letters."""
    unknown = ({"suggestion": ABSENT}, {"suggestion": ABSENT, "suggestionId": "d0", "responseId": "r1"})
    known: tuple[Json, ...] = ({}, {"suggestion": ABSENT, "suggestionId": "d0", "responseId": "r0"})
    required = ("actionCause", "clientId", "documentPosition", "documentTitle", "documentUrl", "language",
                "originContext", "originLevel1", "searchQueryUid", "sourceName", "userAgent")  # fmt: skip
    assert len(required) == len(RULES["CD-017"]["constraint"]["requiredFields"]) - 2  # and two of customData
    return [
        Row(f"{letters}-002", read, "clientId", (*UUIDS, ABSENT), (CLIENT_ID,)),
        Row(f"{letters}-003", read, "customData.contentIDKey", ("permanentId", "uniqueid", ABSENT), ("permanentid",)),
        Row(f"{letters}-004", act, "suggestionId", *name(512)),
        Row(f"{letters}-004", read, "customData.contentIDValue", (ABSENT, "", text(513)), (text(512),)),
        Row(f"{letters}-005", act, "suggestion.documentPosition", (*POSITIONS[0], ABSENT), POSITIONS[1]),
        Row(f"{letters}-006", act, "suggestion.documentTitle", ("", text(1025), 5, ABSENT), (text(1024), "x")),
        Row(f"{letters}-007", act, "suggestion.documentUrl", ("", text(1025), 5, ABSENT), (text(1024), "x")),
        Row(f"{letters}-008", act, "context.language", (ABSENT, None), ("en",)),
        Row(f"{letters}-008", read, "language", (*CODES[0], ABSENT), CODES[1]),
        Row(f"{letters}-009", act, "context.originContext", ("",), ("CaseAssist", ABSENT, None, "Search")),
        Row(f"{letters}-009", read, "originContext", ("", text(129), ABSENT), (text(128),)),
        Row(f"{letters}-010", act, "context.searchHub", (ABSENT, "", None), (text(128),)),
        Row(f"{letters}-010", read, "originLevel1", (ABSENT, "", text(129)), (text(128),)),
        Row(f"{letters}-011", read, "originLevel2", (text(129), 5), (text(128), "", ABSENT)),
        Row(f"{letters}-013", act, "responseId", ("", text(1025), 5, ABSENT), (text(1024), "x")),
        Row(f"{letters}-013", read, "searchQueryUid", ("", ABSENT), ("x",)),
        Row(f"{letters}-014", act, "suggestion.sourceName", ("", text(513), 5, ABSENT), (text(512), "x")),
        Row(f"{letters}-015", read, "userAgent", ("", text(1025), ABSENT), (text(1024),)),
        Row(f"{letters}-017", read, "documentUrl", (ABSENT,), ("u",)),
        Row(f"{letters}-020", act, "suggestion.documentTitle", (text(1025),), (text(1024),)),
        Row(f"{letters}-021", act, "", unknown, known),
        Row("CL-022", act, "", (other_title,), ({},)),
        Row("CL-024", act, "", (OTHER_URL,), ({},)),
    ]


SAME_DOCUMENT: Json = {
    "suggestionId": "d0",
    "responseId": "r0",
    "suggestion": {"documentTitle": "t", "documentUrl": "u", "documentPosition": 1, "sourceName": "s"},
}
OTHER_TITLE = changed(SAME_DOCUMENT, {"suggestion.documentTitle": "T"})
OTHER_URL = changed(SAME_DOCUMENT, {"suggestion.documentUrl": "U"})

ENFORCED = [
    Row("CA-003", update, "fieldName", ("", None), ("x",)),
    Row("CA-004", read_svc, "svc_action", ("ticket_merge", "", None, 5, ABSENT), ("ticket_create_start",)),
    Row("CA-006", read_svc, "ea", ("view", "", "click", None, ABSENT), ("flowStart",)),
    Row("CA-009", read_svc, "searchHub", *at_most(128)),
    Row("CA-012", read_svc, "ec", ("case", "", None, ABSENT), ("svc",)),
    Row("CA-013", start, "context.clientId", (ABSENT, None), (CLIENT_ID, CLIENT_ID.upper())),
    Row("CA-014", click, "clientId", ("00000000-0000-4000-8000-000000000000",), (CLIENT_ID, None)),
    Row("CA-014", custom, "clientId", ("00000000-0000-4000-8000-000000000000",), (CLIENT_ID, None)),
    Row("CA-031", update, "fieldName", *name()),
    Row("CA-041", rate, "rate", (*CONFIDENCES[0], None), CONFIDENCES[1]),
    Row("CA-043", rate, "suggestionId", *name(512)),
    Row("CA-044", rate, "responseId", ("", text(1025), 5, ABSENT), (text(1024),)),
    Row("CA-045", read_rating, "suggestion", (ABSENT, 5, "x", []), (OLD_CLICK["suggestion"],)),
    Row("CA-046", rate, "suggestion.documentUriHash", (text(33), 5), (text(32), ABSENT)),
    Row("CA-047", rate, "suggestion.documentUrl", ("", text(1025), 5, ABSENT), (text(1024),)),
    Row("CA-048", rate, "suggestion.documentTitle", ("", text(1025), 5, ABSENT), (text(1024),)),
    Row("CA-049", rate, "suggestion.documentPosition", (*POSITIONS[0], ABSENT), POSITIONS[1]),
    Row("CA-051", read_rating, "suggestionId", (ABSENT,), ("x",)),
    Row("CA-052", rate, "", ({"suggestion": ABSENT},),
        ({}, {"suggestion": ABSENT, "suggestionId": "d0", "responseId": "r0"})),
    Row("CA-060", classify, "", ({"fieldName": ABSENT, "classification": ABSENT},),
        ({}, {"fieldName": ABSENT, "classification": ABSENT, "classificationId": "c0", "responseId": "r0"})),
    Row("CA-061", classify, "classificationId", *name()),
    Row("CA-062", classify, "responseId", ("", text(1025), 5), (text(1024),)),
    Row("CA-063", classify, "fieldName", *name()),
    Row("CA-064", classify, "classification", (ABSENT, 5, "x", []), (CLASSIFICATION["classification"],)),
    Row("CA-064", read_selection, "classification", (ABSENT, 5, "x", []), (CLASSIFICATION["classification"],)),
    Row("CA-065", classify, "classification", ({"value": "v"},), ({"value": "v", "confidence": 1},)),
    Row("CA-066", classify, "classification.value", ("", 5, ABSENT, text(65_537)), ("v", text(65_536))),
    Row("CA-067", classify, "classification.confidence", (*CONFIDENCES[0], ABSENT), CONFIDENCES[1]),
    Row("CA-068", classify, "autoSelection", (*FLAGS[0], None, "false"), FLAGS[1]),
    Row("CA-068", read_selection, "autoSelection", (ABSENT, "false"), FLAGS[1]),
    Row("CA-071", read_selection, "classificationId", (ABSENT,), ("x",)),
    *document_rows("CD", open_document, read_open, OTHER_TITLE),
    *document_rows("CQ", quickview, read_view, OTHER_TITLE),
    Row("CS-002", read_old_click, "suggestionId", (*name(512)[0], ABSENT), name(512)[1]),
    Row("CS-003", read_old_click, "responseId", (*name()[0], ABSENT), name()[1]),
    Row("CS-004", read_old_click, "suggestion", (ABSENT, 5, "x", []), (OLD_CLICK["suggestion"],)),
    Row("CS-005", read_old_click, "suggestion.documentUriHash", (text(33), 5), (text(32), ABSENT)),
    Row("CS-006", read_old_click, "suggestion.documentUrl", ("", text(1025), ABSENT), (text(1024),)),
    Row("CS-007", read_old_click, "suggestion.documentTitle", ("", text(1025), ABSENT), (text(1024),)),
    Row("CS-008", read_old_click, "suggestion.documentPosition", (*POSITIONS[0], ABSENT), POSITIONS[1]),
    Row("CS-009", read_old_click, "suggestion.fromQuickview", FLAGS[0], (*FLAGS[1], ABSENT)),
    Row("CS-010", read_old_click, "suggestionId", (ABSENT,), ("x",)),
    Row("CX-002", read_cancel, "reason", ("Bored", "", None, 5, ABSENT), ("Quit", "Solved")),
    Row("CC-003", create, "id", (*name()[0], None), name()[1]),
    Row("CC-003", start, "ticket.id", ("T1",), (ABSENT, "", None)),
    Row("CC-003", update, "fieldName", ("id",), ("subject",)),
    Row("TK-001", start, "ticket.category", (text(65_537), 5, {}), (text(65_536), "", None)),
    Row("TK-002", start, "ticket.custom", OBJECTS[0], OBJECTS[1]),
    Row("TK-003", start, "ticket.description", (text(65_537), 5, {}), (text(65_536), "", None)),
    Row("TK-004", start, "ticket.subject", (text(65_537), 5, {}), (text(65_536), "", None)),
    Row("TK-005", start, "ticket.id", (5, text(1025)), (ABSENT,)),
    Row("CL-001", click, "actionCause", (*name()[0], ABSENT), name()[1]),
    Row("CL-004", click, "documentPosition", POSITIONS[0], (*POSITIONS[1], ABSENT)),
    Row("CL-006", click, "documentUriHash", *at_most(32)),
    Row("CL-007", click, "documentUriHash", *at_most(32)),
    Row("CL-008", click, "context.language", (ABSENT,), ("en",)),
    Row("CL-009", click, "language", *CODES),
    Row("CL-011", click, "searchQueryUid", (*name()[0], ABSENT), name()[1]),
    Row("CL-013", click, "sourceName", ("", text(513), 5, ABSENT), (text(512), "x")),
    Row("CL-014", click, "originLevel1", *at_most(128)),
    Row("CL-014", start, "context.searchHub", *at_most(128)),
    Row("CL-018", read_click, "contentIDKey", ("permanentid",), (ABSENT,)),
    Row("CL-019", click, "customData.contentIDKey", ("", text(129), 5, None), (text(128),)),
    Row("CL-020", click, "customData.contentIDValue", ("", text(513), 5, None), (text(512),)),
    Row("CL-021", click, "documentTitle", ("", text(1025), 5), (text(1024), None, ABSENT)),
    Row("CL-023", click, "documentUrl", ("", text(1025), 5), (text(1024), None, ABSENT)),
    Row("CL-025", click, "rankingModifier", *at_most(128)),
    Row("CL-027", click, "userAgent", *at_most(1024)),
    Row("CL-027", start, "context.userAgent", *at_most(1024)),
    Row("CL-030", click, "originLevel2", *at_most(128)),
    Row("CL-030", start, "context.originLevel2", *at_most(128)),
    Row("CL-033", click, "outcome", *OUTCOMES),
    Row("CL-034", click, "anonymous", *FLAGS),
    Row("CL-036", click, "", *ANONYMOUS),
    Row("CL-036", start, "context", tuple(CONTEXT | it for it in ANONYMOUS[0]),
        tuple(CONTEXT | it for it in ANONYMOUS[1])),
    Row("CL-038", click, "documentAuthor", *at_most(128)),
    Row("CL-039", click, "documentUri", (5, text(65_537)), (text(1025), ABSENT)),
    Row("CL-040", click, "originContext", *at_most(128)),
    Row("CL-040", start, "context.originContext", *at_most(128)),
    Row("CL-043", click, "queryPipeline", *at_most(128)),
    Row("CL-046", click, "", (RUN,), (TESTED, {"queryPipeline": "p"}, {})),
    Row("CL-047", click, "", (TESTED | {"splitTestRunName": None}, TESTED | {"splitTestRunName": text(129)}),
        (TESTED | {"splitTestRunName": text(128)},)),
    Row("CL-048", click, "", (TESTED | {"splitTestRunVersion": None}, TESTED | {"splitTestRunVersion": text(129)}),
        (TESTED | {"splitTestRunVersion": text(128)},)),
    Row("CL-049", click, "trackingId", *name()),
    Row("CL-050", click, "userDisplayName", *at_most(128)),
    Row("CL-052", click, "username", *at_most(128)),
    Row("CL-056", click, "clientId", UUIDS, (CLIENT_ID,)),
    Row("CL-056", start, "context.clientId", UUIDS[1:5], (CLIENT_ID,)),
    Row("CL-D01", click, "customData", *OBJECTS),
    Row("CL-D02", click, "customData", *UNJSON),
    Row("CL-D05", click, "customData", *KEYS),
    Row("CL-D07", click, "customData", COLLISIONS[0] + ({"contentIDKey": "a", "contentidkey": "b"},), COLLISIONS[1]),
    Row("CU-001", custom, "eventType", (*name(128)[0], ABSENT), name(128)[1]),
    Row("CU-002", custom, "eventValue", (*name(128)[0], ABSENT), name(128)[1]),
    Row("CU-003", custom, "context.language", (ABSENT,), ("en",)),
    Row("CU-004", custom, "language", *CODES),
    Row("CU-010", custom, "anonymous", *FLAGS),
    Row("CU-011", custom, "", *ANONYMOUS),
    Row("CU-013", custom, "lastSearchQueryUid", name()[0], (*name()[1], ABSENT)),
    Row("CU-015", custom, "originContext", *at_most(128)),
    Row("CU-016", custom, "originLevel1", *at_most(128)),
    Row("CU-019", custom, "originLevel2", *at_most(128)),
    Row("CU-022", custom, "outcome", *OUTCOMES),
    Row("CU-023", custom, "", (RUN | {"splitTestRunName": None}, RUN | {"splitTestRunName": text(129)}), (RUN,)),
    Row("CU-024", custom, "", (RUN | {"splitTestRunVersion": None}, RUN | {"splitTestRunVersion": text(129)}), (RUN,)),
    Row("CU-025", custom, "trackingId", *name()),
    Row("CU-026", custom, "userDisplayName", *at_most(128)),
    Row("CU-028", custom, "username", *at_most(128)),
    Row("CU-032", custom, "clientId", UUIDS, (CLIENT_ID,)),
    Row("CU-D01", custom, "customData", *OBJECTS),
    Row("CU-D02", custom, "customData", *UNJSON),
    Row("CU-D05", custom, "customData", *KEYS),
    Row("CU-D07", custom, "customData", *COLLISIONS),
]  # fmt: skip


@pytest.mark.parametrize("row", ENFORCED, ids=lambda row: f"{row.rule}-{row.act.__qualname__}")
def test_what_breaks_a_rule_is_refused_by_its_name_and_what_keeps_it_is_not(row: Row) -> None:
    reported = HOW["reported"].get(row.rule, row.rule) or None
    for value in row.bad:
        with pytest.raises(ActionError) as refused:
            row.act(**row.changes(value))
        assert refused.value.rule == reported, str(refused.value)
        assert not isinstance(refused.value, IllegalTransition)
        if row.place and not isinstance(value, dict):  # in an object, the error may name a member
            assert (refused.value.path or "").endswith(f".{row.place.rpartition('.')[2]}"), str(refused.value)
    for value in row.good:
        row.act(**row.changes(value))


# Rules that are kept by construction

CHECKS: dict[str, Callable[[], None]] = {}


def holds(*rules: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(check: Callable[[], None]) -> Callable[[], None]:
        for rule in rules:
            assert rule not in CHECKS, rule
            CHECKS[rule] = check
        return check

    return register


TOKEN = "xx12345678-aaaa-bbbb-cccc-1234567890ab"


def request_of(done: Done, auth: Auth = "search_token", *, hipaa: bool = False) -> Request:
    endpoint = Endpoint.for_organization("myorg", hipaa=hipaa)
    request = WireFormat(endpoint=endpoint, auth=auth).request(done.last, TOKEN)
    assert request is not None
    return request


def sent(done: Done, auth: Auth = "search_token") -> Json:
    body: Json = json.loads(request_of(done, auth).body)
    return body


SVC_ACTIONS: dict[str, Callable[..., Done]] = {
    "ticket_create_start": start,
    "ticket_field_update": update,
    "ticket_classification_click": classify,
    "suggestion_rate": rate,
    "ticket_next_stage": next_stage,
    "ticket_create": create,
}
TICKET_SENT = {
    "svc_ticket_subject": "s",
    "svc_ticket_description": "d",
    "svc_ticket_category": "c",
    "svc_ticket_custom": {"visitorAge": 18},
}


@holds("CA-001")
def one_request_per_interaction() -> None:
    kinds = {row.action: row.wire for row in TABLE}
    acts = {"start": start, "update_field": update, "select_classification": classify, "open_document": open_document,
            "quickview_document": quickview, "rate_document": rate, "next_stage": next_stage, "log_click": click,
            "log_custom": custom, "create": create, "solve": solve, "quit": leave}  # fmt: skip
    assert acts.keys() == {action for action, kind in kinds.items() if kind is not None}
    for action, act in acts.items():
        done = act()
        assert request_of(done).path.endswith(f"/{kinds[action]}")
        wire_format = WireFormat(endpoint=Endpoint.for_organization("myorg"))
        assert all(wire_format.request(offer, None) is None for offer in done[:-1])


@holds("CA-002", "CA-050", "CN-003", "CX-005", "CC-004", "CA-022")
def the_whole_ticket_goes_along() -> None:
    for act in (start, next_stage, rate, solve, leave, create):
        body = sent(act())
        assert {key: body[key] for key in TICKET_SENT} == TICKET_SENT
        assert body.get("svc_ticket_id") == ("T1" if act is create else None)


@holds("CA-005")
def action_and_ticket_belong_to_one_event() -> None:
    first = update(fieldName="subject", value="first")
    second = Done.of(first.after, first.after.next_stage(at=AT))
    assert sent(first)["svc_action_data"] == {"fieldName": "subject"}
    assert sent(first)["svc_ticket_subject"] == "first"
    assert "svc_action_data" not in sent(second)
    assert sent(second)["svc_action"] == "ticket_next_stage"
    assert sent(second)["svc_ticket_subject"] == "first"


@holds("CA-007", "CA-008", "CA-020", "CA-030", "CA-040", "CN-001", "CC-001")
def every_action_has_its_name_and_kind() -> None:
    for action, act in SVC_ACTIONS.items():
        body = sent(act())
        assert body["svc_action"] == action
        assert body["ec"] == "svc"
        assert body["ea"] == ("flowStart" if act is start else "click")


@holds("CX-001", "CX-003", "CX-004")
def cancelling_has_its_reason() -> None:
    for act, reason in ((solve, "Solved"), (leave, "Quit")):
        body = sent(act())
        assert (body["svc_action"], body["ea"]) == ("ticket_cancel", "click")
        assert body["svc_action_data"] == {"reason": reason}


@holds("CA-010", "CA-011")
def one_search_hub_feeds_all() -> None:
    for act in (*SVC_ACTIONS.values(), solve, leave):
        assert sent(act())["searchHub"] == "bot"
    for act in (open_document, quickview, click, custom):
        assert sent(act())["originLevel1"] == "bot"
        assert "searchHub" not in sent(act())


@holds("CA-021", "CN-002", "CC-002")
def actions_without_data_send_none() -> None:
    for act in (start, next_stage, create):
        assert "svc_action_data" not in sent(act())
    assert sent(next_stage(stage="details"))["svc_action_data"] == {"stage": "details"}


@holds("CA-032", "CA-070")
def the_ticket_holds_the_new_value() -> None:
    assert sent(update(fieldName="category", value="New"))["svc_ticket_category"] == "New"
    assert sent(update(fieldName="Urgency", value=3))["svc_ticket_custom"] == {"visitorAge": 18, "Urgency": 3}
    assert "svc_ticket_category" not in sent(update(fieldName="category", value=""))
    assert sent(classify())["svc_ticket_category"] == "Electrical"
    assert sent(classify(fieldName="product"))["svc_ticket_custom"] == {"visitorAge": 18, "product": "Electrical"}


@holds("CA-042")
def a_rating_is_sent_as_given() -> None:
    for given in (0, 0.25, 0.75, 1):
        assert sent(rate(rate=given))["svc_action_data"]["rate"] == given


@holds("CA-069")
def auto_selection_is_a_boolean() -> None:
    for given in (True, False):
        assert sent(classify(autoSelection=given))["svc_action_data"]["autoSelection"] is given


@holds("CD-001", "CQ-001", "CD-016", "CQ-016", "CL-D11", "CL-D12", "CL-D13", "CL-D14")
def a_click_on_a_document_is_a_click_event() -> None:
    for act, cause in ((open_document, "documentSuggestionClick"), (quickview, "documentSuggestionQuickview")):
        done = act()
        body = sent(done)
        assert request_of(done).path.endswith("/click")
        assert body["actionCause"] == cause
        assert not [key for key in body if key.startswith("svc_")]
        assert body["customData"] == {"contentIDKey": "permanentid", "contentIDValue": "d1"}
        assert "documentUriHash" not in body
        assert done.last.event.suggestion.document_uri_hash is not None  # type: ignore[union-attr]
        required = RULES["CD-017"]["constraint"]["requiredFields"]
        assert set(required) <= body.keys() | body["customData"].keys()


@holds("CD-012", "CQ-012", "CL-042", "CU-021")
def the_third_origin_level_is_cut() -> None:
    long = "https://a.example/" + "%C3%A9" * 100
    for act in (open_document, quickview, click, custom):
        cut = sent(act(**{"context.originLevel3": long}))["originLevel3"]
        assert long.startswith(cut)
        assert 116 < len(cut) <= 128
        assert cut.endswith("%C3%A9")
        assert sent(act(**{"context.originLevel3": long[:128]}))["originLevel3"] == long[:128]


@holds("CD-019", "CQ-019", "CS-001")
def the_deprecated_action_is_never_sent() -> None:
    assert SuggestionClick not in {row.event for row in TABLE}
    received = read_body(
        "collect", SVC | {"ea": "click", "svc_action": "suggestion_click", "svc_action_data": OLD_CLICK}
    )
    assert isinstance(received.event, SuggestionClick)
    last = start().last
    record = Record(session_id="a1", seq=1, time=AT, event=received.event, ticket=last.ticket, context=last.context)
    with pytest.raises(UnsupportedRecord):
        WireFormat(endpoint=Endpoint.for_organization("myorg")).request(record, None)
    assert "fromQuickview" not in json.dumps(sent(quickview()))


@holds("TK-006")
def custom_ticket_members_keep_type_and_case() -> None:
    given = {"visitorAge": 18, "rewardsMember": True, "Nested Key": {"a": [None, ""]}}
    assert sent(start(**{"ticket.custom": given}))["svc_ticket_custom"] == given


@holds("TR-003", "TR-004", "CL-T02", "CL-T03", "CU-T02", "CU-T03")
def requests_go_to_the_organization() -> None:
    for hipaa, suffix in ((False, "org"), (True, "orghipaa")):
        sink = HTTPSink.for_organization("myorg", token="abc", hipaa=hipaa)
        assert sink.name == f"https://myorg.analytics.{suffix}.coveo.com/rest/ua"
        for act, kind in ((click, "click"), (custom, "custom"), (start, "collect")):
            request = request_of(act(), hipaa=hipaa)
            url = f"{request.origin}{request.path}"
            assert url == f"https://myorg.analytics.{suffix}.coveo.com/rest/ua/v15/analytics/{kind}"
    assert HTTPSink("https://proxy.example/x", token=None).name == "https://proxy.example/x"


@holds("CL-T01", "CL-T05", "CL-T06", "CU-T01", "CU-T05", "CU-T06")
def method_and_headers_are_the_documented_ones() -> None:
    for act in (click, custom, start):
        request = request_of(act())
        assert request.method == "POST"
        headers = dict(request.headers)
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert headers["Content-Type"] == "application/json"
        json.loads(request.body.decode("utf-8"))


@holds("CL-T08", "CL-053", "CU-T08", "CU-029")
def the_username_depends_on_the_token() -> None:
    for act in (click, custom):
        for changes in ({"username": "alice"}, {"context.username": "alice"}):
            assert sent(act(**changes), "api_key")["username"] == "alice"
            assert sent(act(**changes), "oauth")["username"] == "alice"
            assert "username" not in sent(act(**changes), "search_token")


@holds("CL-T09", "CU-T09")
def a_token_does_not_show() -> None:
    for act in (click, custom):
        done = act()
        request = request_of(done)
        sink = HTTPSink.for_organization("myorg", token=TOKEN)
        shown = (repr(Secret(TOKEN)), repr(request), request.path, str(request.origin), repr(sink), sink.name)
        assert all(TOKEN not in it for it in shown)
        assert TOKEN.encode() not in request.body + encode(done.last)
    with pytest.raises(TypeError):
        pickle.dumps(Secret(TOKEN))
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        Secret(TOKEN + "\n")
    assert TOKEN not in str(refused.value)


@holds("CL-002", "CL-005", "CL-026", "CL-028", "CL-035")
def members_of_a_click_have_their_defaults() -> None:
    body = sent(click())
    assert body["actionCause"] == "documentOpen"
    assert body["documentPosition"] == 1
    assert body["anonymous"] is False
    assert body["userAgent"] == PRODUCT
    assert sent(click(rankingModifier="Reveal ART"))["rankingModifier"] == "Reveal ART"


@holds("CL-D03", "CL-D04", "CL-D06", "CL-D08", "CL-D10", "CL-D15", "CU-D03", "CU-D04", "CU-D06", "CU-D08", "CU-D10")
def custom_data_is_sent_as_it_will_be_stored() -> None:
    given = {
        "plain": "value",
        "two words": "x",
        "list": ["value_1", "value_2"],
        "number": 18,
        "context_role": "admin",
        "documentURL": "https://docs.example/1",
        "facetId": "@objecttype",
    }
    for act in (click, custom):
        assert sent(act(customData=given))["customData"] == {
            "plain": "value",
            "two_words": "x",
            "list": '["value_1","value_2"]',
            "number": "18",
            "context_role": "admin",
            "documenturl": "https://docs.example/1",
            "facetid": "@objecttype",
        }


@pytest.mark.parametrize("rule", CHECKS)
def test_what_is_sent_keeps_the_rule(rule: str) -> None:
    CHECKS[rule]()


async def test_a_session_without_a_client_id_gets_a_new_one() -> None:  # CA-013, the other half
    async with CaseAssist() as assist:
        first, second = await assist.start(), await assist.start()
        one, two = first.session.context.client_id, second.session.context.client_id
        assert one != two
        start(**{"context.clientId": one})


# The table as a whole


def test_every_rule_has_one_place_in_the_table() -> None:
    assert len(RULES) == 250
    places = [rule for how in ("enforced", "construction", "elsewhere") for rule in HOW[how]]
    assert sorted(places) == sorted(RULES)
    assert HOW.keys() == {"enforced", "construction", "elsewhere", "reported"}


def test_every_enforced_rule_is_broken_and_kept_here() -> None:
    assert {row.rule for row in ENFORCED} == HOW["enforced"].keys()
    assert all(row.bad and row.good for row in ENFORCED)


def test_every_rule_kept_by_construction_is_checked_here() -> None:
    assert CHECKS.keys() == HOW["construction"].keys()


def test_what_is_not_ours_has_its_reason_and_what_needs_words_has_them() -> None:
    assert all(reason.endswith(".") for reason in HOW["elsewhere"].values())
    assert all(note.endswith(".") for note in HOW["construction"].values())
    assert HOW["reported"].keys() <= HOW["enforced"].keys()
    for rule, reported in HOW["reported"].items():
        assert reported in HOW["enforced"] if reported else HOW["enforced"][rule].count("names the place")


def test_the_reference_page_is_made_of_the_table() -> None:
    render = runpy.run_path(str(ROOT / "docs/generators/rules.py"))["render"]
    page = (ROOT / "docs/reference/rules.md").read_text(encoding="utf-8")
    assert page[page.index("# Rules") :] == render().rstrip("\n") + "\n"
    assert all(f"| `{rule}` |" in page for rule in RULES)
