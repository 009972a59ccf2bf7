"""The ten actions, written by hand with as little as they can do with: look up, check, build, record, apply.

No rule is written down more than once, no error says what was wrong, a suggestion must be whole, and nothing can be
added: what a life cycle costs at least. ``destination`` is exchangeable: a look-up, or somebody's machine.
"""

from collections.abc import Callable

import msgspec

from benchmarks.data import ACTIONS, TIMES, next_id
from caseassist.core.events import (
    AnyEvent,
    ClassificationsOffered,
    Context,
    DocumentsOffered,
    DocumentSuggestionClick,
    OfferedClassification,
    OfferedDocument,
    RatedDocument,
    SuggestionRate,
    Ticket,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketFieldUpdate,
    TicketNextStage,
)
from caseassist.core.machine import NEW, cells
from caseassist.core.records import Record

__all__ = ["PLAN", "Destination", "play"]

PLAN = {(state, action): dest for action, state, dest in cells()}

Destination = Callable[[tuple[str, str]], str]
"""Gives the state that an action leads to, by the state and the action. Raises when it is not allowed."""

replace = msgspec.structs.replace


class State(msgspec.Struct, frozen=True, gc=False):
    """A session as of after a record."""

    id: str
    name: str = NEW
    seq: int = 0
    stage: int = 0
    ticket: Ticket = Ticket()
    context: Context = Context()
    offers: tuple[ClassificationsOffered | DocumentsOffered, ...] = ()


Decided = tuple[AnyEvent, Ticket]


def play(destination: Destination = PLAN.__getitem__) -> list[Record]:
    """Play one session and return its ten records."""
    session = State(next_id())
    log: list[Record] = []
    for (action, args, options), at in zip(ACTIONS, TIMES, strict=True):
        name = destination((session.name, action))
        event, ticket = _ACTIONS[action](session, *args, **options)
        context = session.context
        if action == "start":
            context = replace(args[1], origin_context="CaseAssist", origin_level2="default")
        record = Record(session_id=session.id, seq=session.seq, time=at, event=event, ticket=ticket, context=context)
        log.append(record)
        session = _applied(session, record, name)
    return log


def _applied(session: State, record: Record, name: str) -> State:
    event = record.event
    offers, stage = session.offers, session.stage
    if type(event) is ClassificationsOffered or type(event) is DocumentsOffered:
        offers = (*offers, event)
    elif type(event) is TicketNextStage:
        stage += 1
    return State(record.session_id, name, record.seq + 1, stage, record.ticket, record.context, offers)


def _start(_: State, ticket: Ticket, context: Context) -> Decided:
    if context.client_id is None or ticket.id is not None:
        raise ValueError
    return TicketCreateStart(), ticket


def _update_field(session: State, name: str, value: str) -> Decided:
    if not 0 < len(name) <= 1024 or len(value) > 65_536:
        raise ValueError
    return TicketFieldUpdate(field_name=name), replace(session.ticket, **{name: value})


def _offer_classifications(session: State, offer: ClassificationsOffered) -> Decided:
    for item in offer.classifications:
        if not item.classification_id or not 0 <= item.classification.confidence <= 1:
            raise ValueError
    return offer, session.ticket


def _offer_documents(session: State, offer: DocumentsOffered) -> Decided:
    for item in offer.documents:
        if not item.suggestion_id or not 0 < len(item.suggestion.document_title) <= 1024:
            raise ValueError
    return offer, session.ticket


def _select_classification(session: State, classification_id: str) -> Decided:
    item, response_id = _classification(session, classification_id)
    event = TicketClassificationClick(
        classification_id=classification_id,
        response_id=response_id,
        field_name=item.field_name,
        classification=item.classification,
        auto_selection=False,
    )
    return event, replace(session.ticket, **{item.field_name: item.classification.value})


def _open_document(session: State, suggestion_id: str) -> Decided:
    item, response_id = _document(session, suggestion_id)
    event = DocumentSuggestionClick(suggestion_id=suggestion_id, response_id=response_id, suggestion=item.suggestion)
    return event, session.ticket


def _rate_document(session: State, suggestion_id: str, rate: float) -> Decided:
    if not 0 <= rate <= 1:
        raise ValueError
    item, response_id = _document(session, suggestion_id)
    document = item.suggestion
    rated = RatedDocument(
        document_title=document.document_title,
        document_url=document.document_url,
        document_position=document.document_position,
        document_uri_hash=document.document_uri_hash,
    )
    event = SuggestionRate(rate=rate, suggestion_id=suggestion_id, response_id=response_id, suggestion=rated)
    return event, session.ticket


def _next_stage(session: State) -> Decided:
    return TicketNextStage(), session.ticket


def _create(session: State, ticket_id: str) -> Decided:
    if not 0 < len(ticket_id) <= 1024:
        raise ValueError
    return TicketCreate(), replace(session.ticket, id=ticket_id)


def _classification(session: State, classification_id: str) -> tuple[OfferedClassification, str]:
    for offer in reversed(session.offers):
        if type(offer) is ClassificationsOffered:
            for item in offer.classifications:
                if item.classification_id == classification_id:
                    return item, offer.response_id
    raise ValueError


def _document(session: State, suggestion_id: str) -> tuple[OfferedDocument, str]:
    for offer in reversed(session.offers):
        if type(offer) is DocumentsOffered:
            for item in offer.documents:
                if item.suggestion_id == suggestion_id:
                    return item, offer.response_id
    raise ValueError


_ACTIONS: dict[str, Callable[..., Decided]] = {
    "start": _start,
    "update_field": _update_field,
    "offer_classifications": _offer_classifications,
    "select_classification": _select_classification,
    "next_stage": _next_stage,
    "offer_documents": _offer_documents,
    "open_document": _open_document,
    "rate_document": _rate_document,
    "create": _create,
}
