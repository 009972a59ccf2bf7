"""Erasure: what stays of a record when the person in it must be forgotten.

The record keeps its place, its time and what kind of thing happened, so sessions still fold and figures stay true. What
could tell who it was, or what they wrote, is gone: the ticket, and of the context all but the name of the interface and
the language. What was suggested and taken stays: it says something of documents, and of nobody any more.

A record without a client id is an erased one: no session starts without.
"""

import msgspec

from caseassist.core.events import AnyEvent, ClickEvent, Context, CustomEvent, Ticket, TurnTaken, UnknownEvent
from caseassist.core.records import KeptRecord, Record, decode
from caseassist.core.session import OWN_ACTION

__all__ = ["erased", "is_erased"]

NIL = "00000000-0000-0000-0000-000000000000"
GONE = "erased"


def is_erased(record: Record) -> bool:
    """Whether the person in a record was forgotten."""
    return record.context.client_id is None


def erased(record: Record) -> Record:
    """Return what stays of a record: see above. Members that this version does not know are gone, too."""
    event = _event(record.event)
    context = Context(
        search_hub=record.context.search_hub,
        language=record.context.language,
        origin_context=record.context.origin_context,
        origin_level2=record.context.origin_level2,
    )
    if not isinstance(record, KeptRecord):
        return msgspec.structs.replace(record, event=event, ticket=Ticket(), context=context)
    members = {
        "v": record.v,
        "sessionId": record.session_id,
        "seq": record.seq,
        "time": record.time,
        "event": {"action": event.name} if isinstance(event, UnknownEvent) else event,
        "ticket": {},
        "context": context,
    }
    return decode(msgspec.json.encode(members))


def _event(event: AnyEvent) -> AnyEvent:
    if isinstance(event, ClickEvent):
        return ClickEvent(
            action_cause=event.action_cause,
            search_query_uid=NIL,
            source_name=event.source_name,
            document_position=event.document_position,
        )
    if isinstance(event, CustomEvent):
        own = event.event_type == OWN_ACTION  # the session's state hangs on it
        return CustomEvent(event_type=event.event_type, event_value=event.event_value if own else GONE)
    if isinstance(event, TurnTaken):
        return TurnTaken()
    return event
