"""What we write, we read: strictly, with nothing put right, as the same event, ticket and context."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests import strategies

from caseassist.core.events import (
    AnyEvent,
    ClassificationsOffered,
    ClickEvent,
    Context,
    CustomEvent,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    SuggestionClick,
    SuggestionRate,
    Ticket,
    TicketCancel,
    TicketCreate,
    TurnTaken,
)
from caseassist.core.identity import event_id
from caseassist.core.records import Record
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.reading import Received, read_request
from caseassist.wire.requests import PRODUCT, WireFormat, truncate_url

FORMAT = WireFormat(endpoint=Endpoint.for_organization("myorg"), auth="oauth", custom_values="raw")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

FROM_CONTEXT = {
    "client_id": "client_id",
    "language": "language",
    "origin_context": "origin_context",
    "origin_level1": "search_hub",
    "origin_level2": "origin_level2",
    "origin_level3": "origin_level3",
    "user_agent": "user_agent",
    "anonymous": "anonymous",
    "username": "username",
    "user_display_name": "user_display_name",
    "tracking_id": "tracking_id",
}
"""Members of click and custom events, and where the context has them."""


def there_and_back(record: Record) -> Received:
    request = FORMAT.request(record, "token")
    assert request is not None
    return read_request(request.path, request.body, strict=True)


def filled(value: Any) -> Any:
    """A Struct without its empty texts: these are not sent."""
    empty = {name: None for name in value.__struct_fields__ if getattr(value, name) == ""}
    return msgspec.structs.replace(value, **empty)


def sendable(context: Context, event: AnyEvent) -> tuple[Context, AnyEvent]:
    """What a session makes of them: it fills the origins in, and an anonymous event bears no name."""
    context = msgspec.structs.replace(context, origin_context=context.origin_context or "CaseAssist")
    if isinstance(event, ClickEvent | CustomEvent):
        anonymous = context.anonymous if event.anonymous is None else event.anonymous
        if anonymous:
            event = msgspec.structs.replace(event, username=None, user_display_name=None)
    return context, event


def expected_on_collect(record: Record) -> Received:
    context, event = record.context, record.event
    if isinstance(event, TicketCancel):
        event = msgspec.structs.replace(event, cause=None)
    if isinstance(event, SuggestionRate):
        suggestion = msgspec.structs.replace(event.suggestion, from_quickview=None)
        event = msgspec.structs.replace(event, suggestion=suggestion)
    ms = (record.time - EPOCH) // MILLISECOND
    return Received(
        event=event,
        ticket=filled(record.ticket),
        context=filled(
            Context(
                client_id=context.client_id,
                search_hub=context.search_hub,
                language=context.language,
                user_agent=context.user_agent or PRODUCT,
                username=None if context.anonymous else context.username,
                tracking_id=context.tracking_id,
                location=context.location,
                referrer=context.referrer,
                title=context.title,
                screen_resolution=context.screen_resolution,
                screen_color=context.screen_color,
            )
        ),
        time=EPOCH + ms * MILLISECOND if 0 <= ms < 2**42 else None,
        event_id=event_id(record.session_id, record.seq),
    )


def expected_otherwise(record: Record) -> Received:
    event: Any = record.event
    merged = {name: getattr(record.context, name) for name in FROM_CONTEXT.values()}
    merged["user_agent"] = merged["user_agent"] or PRODUCT
    if isinstance(event, ClickEvent | CustomEvent):
        own = {name: getattr(event, member) for member, name in FROM_CONTEXT.items()}
        own["user_agent"] = own["user_agent"] or None
        merged |= {name: value for name, value in own.items() if value is not None}
        event = filled(msgspec.structs.replace(event, **dict.fromkeys(FROM_CONTEXT)))
    else:
        suggestion = msgspec.structs.replace(event.suggestion, document_uri_hash=None)
        event = msgspec.structs.replace(event, suggestion=suggestion)
    if merged["anonymous"]:
        merged["username"] = merged["user_display_name"] = None
    if merged["origin_level3"]:
        merged["origin_level3"] = truncate_url(merged["origin_level3"], 128)
    return Received(event=event, context=filled(Context(**merged)))


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(
    event=strategies.event(),
    ticket=strategies.ticket(with_id=True),
    context=strategies.context(full=True),
    time=strategies.time(),
    seq=st.integers(0, 1000),
)
def test_what_is_written_reads_back_strictly_as_the_same(
    event: AnyEvent, ticket: Ticket, context: Context, time: datetime, seq: int
) -> None:
    assume(not isinstance(event, ClassificationsOffered | DocumentsOffered | SuggestionClick | TurnTaken))
    if isinstance(event, TicketCreate):
        ticket = msgspec.structs.replace(ticket, id=ticket.id or "T1")
    context, event = sendable(context, event)
    record = Record(session_id="a1", seq=seq, time=time, event=event, ticket=ticket, context=context)
    others = ClickEvent | CustomEvent | DocumentSuggestionClick | DocumentSuggestionQuickview
    expected = expected_otherwise(record) if isinstance(event, others) else expected_on_collect(record)

    received = there_and_back(record)

    assert received.coercions == ()
    assert received == expected


@settings(max_examples=200, deadline=None, derandomize=True)
@given(event=strategies.event(), context=strategies.context(full=True), time=strategies.time())
def test_what_was_read_is_written_as_the_same_request(event: AnyEvent, context: Context, time: datetime) -> None:
    assume(not isinstance(event, ClassificationsOffered | DocumentsOffered | SuggestionClick | TurnTaken))
    context, event = sendable(context, event)
    record = Record(session_id="a1", seq=0, time=time, event=event, ticket=Ticket(id="T1"), context=context)
    first = FORMAT.request(record, None)
    received = there_and_back(record)
    again = msgspec.structs.replace(
        record, event=received.event, ticket=received.ticket, context=received.context, time=received.time or time
    )
    second = FORMAT.request(again, None)
    assert first is not None
    assert second is not None
    assert (second.path, msgspec.json.decode(second.body)) == (first.path, msgspec.json.decode(first.body))
