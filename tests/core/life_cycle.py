"""The life cycle as the design has it, written out a second time: what the machine is held against.

Nothing here comes from the package but the classes of events.
"""

from datetime import UTC, datetime
from typing import Any

from caseassist.core.events import (
    ClassificationsOffered,
    ClickEvent,
    CustomEvent,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    SuggestionRate,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketFieldUpdate,
    TicketNextStage,
    TurnTaken,
)
from caseassist.core.records import Record
from caseassist.core.session import Session

STATES = ("new", "started", "filling", "suggested", "created", "solved", "quit")

EXPECTED: dict[str, dict[str, str]] = {
    "new": {"start": "started"},
    "started": {
        "update_field": "filling",
        "offer_classifications": "suggested",
        "offer_documents": "suggested",
        "next_stage": "started",
        "log_click": "started",
        "log_custom": "started",
        "take_turn": "started",
        "create": "created",
        "solve": "solved",
        "quit": "quit",
    },
    "filling": {
        "update_field": "filling",
        "offer_classifications": "suggested",
        "offer_documents": "suggested",
        "next_stage": "filling",
        "log_click": "filling",
        "log_custom": "filling",
        "take_turn": "filling",
        "create": "created",
        "solve": "solved",
        "quit": "quit",
    },
    "suggested": {
        "update_field": "suggested",
        "offer_classifications": "suggested",
        "offer_documents": "suggested",
        "select_classification": "suggested",
        "open_document": "suggested",
        "quickview_document": "suggested",
        "rate_document": "suggested",
        "next_stage": "suggested",
        "log_click": "suggested",
        "log_custom": "suggested",
        "take_turn": "suggested",
        "create": "created",
        "solve": "solved",
        "quit": "quit",
    },
    "created": {},
    "solved": {},
    "quit": {},
}

EVENTS: dict[str, tuple[type, str, str | None]] = {
    "start": (TicketCreateStart, "ticket_create_start", "collect"),
    "update_field": (TicketFieldUpdate, "ticket_field_update", "collect"),
    "offer_classifications": (ClassificationsOffered, "classifications_offered", None),
    "offer_documents": (DocumentsOffered, "documents_offered", None),
    "select_classification": (TicketClassificationClick, "ticket_classification_click", "collect"),
    "open_document": (DocumentSuggestionClick, "documentSuggestionClick", "click"),
    "quickview_document": (DocumentSuggestionQuickview, "documentSuggestionQuickview", "click"),
    "rate_document": (SuggestionRate, "suggestion_rate", "collect"),
    "next_stage": (TicketNextStage, "ticket_next_stage", "collect"),
    "log_click": (ClickEvent, "click", "click"),
    "log_custom": (CustomEvent, "custom", "custom"),
    "take_turn": (TurnTaken, "turn_taken", None),
    "create": (TicketCreate, "ticket_create", "collect"),
    "solve": (TicketCancel, "ticket_cancel", "collect"),
    "quit": (TicketCancel, "ticket_cancel", "collect"),
}

ACTIONS = tuple(EVENTS)

CELLS = [(state, action) for state in STATES for action in ACTIONS]

NOW = datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC)
CLIENT_ID = "489aa3e3-aed2-4563-8e81-62bb73178a56"
CONTEXT = {"clientId": CLIENT_ID, "searchHub": "support-bot", "language": "en"}

CLASSIFICATIONS: dict[str, Any] = {
    "responseId": "classify-1",
    "fields": {
        "category": {
            "predictions": [
                {"id": "c1", "value": "Electrical", "confidence": 0.76},
                {"id": "c2", "value": "Mechanical", "confidence": 0.2},
            ]
        }
    },
}
DOCUMENTS: dict[str, Any] = {
    "responseId": "suggest-1",
    "totalCount": 1,
    "documents": [
        {
            "title": "Ignition",
            "clickUri": "https://support.example.com/ignition",
            "fields": {"permanentid": "d1", "source": "Docs", "uri": "https://docs.example.com/ignition"},
        }
    ],
}
CLICK = {"actionCause": "searchFromLink", "searchQueryUid": "q1", "sourceName": "Docs"}
CUSTOM = {"eventType": "chat", "eventValue": "hello"}

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "start": ({"subject": "GC110"}, CONTEXT),
    "update_field": ("subject", "GC110 malfunction"),
    "offer_classifications": (CLASSIFICATIONS,),
    "offer_documents": (DOCUMENTS,),
    "select_classification": ("c1",),
    "open_document": ("d1",),
    "quickview_document": ("d1",),
    "rate_document": ("d1", 0.75),
    "next_stage": (),
    "take_turn": ("m1", {"step": "asking"}),
    "log_click": (CLICK,),
    "log_custom": (CUSTOM,),
    "create": ("5003000000D8cuI",),
    "solve": (),
    "quit": (),
}
"""Arguments that every action takes in every state that allows it."""

_WAYS: dict[str, tuple[str, ...]] = {
    "new": (),
    "started": ("start",),
    "filling": ("start", "update_field"),
    "suggested": ("start", "offer_classifications", "offer_documents"),
    "created": ("start", "offer_classifications", "offer_documents", "create"),
    "solved": ("start", "offer_classifications", "offer_documents", "solve"),
    "quit": ("start", "offer_classifications", "offer_documents", "quit"),
}


def act(session: Session, action: str, *args: Any, **kwargs: Any) -> Session:
    """The session as of after an action."""
    return Session.fold(getattr(session, action)(*args, at=NOW, **kwargs), session)


def session_in(state: str, session: Session | None = None) -> Session:
    """A session that has come to a state by the actions of the table."""
    session = session or Session(id="a1")
    for action in _WAYS[state]:
        session = act(session, action, *ARGUMENTS[action])
    assert session.state == state
    return session


def records_of(*actions: str) -> list[Record]:
    """The records of a session that takes these actions."""
    session = Session(id="a1")
    records: list[Record] = []
    for action in actions:
        new = getattr(session, action)(*ARGUMENTS[action], at=NOW)
        records += new
        session = Session.fold(new, session)
    return records
