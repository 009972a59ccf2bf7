"""Redaction: what one sink is not to get is taken out of every record before it gets it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from caseassist.core import gate
from caseassist.core.errors import CaseAssistError, InvalidAction, SinkRefused
from caseassist.core.events import (
    AnyEvent,
    Classification,
    ClassificationsOffered,
    OfferedClassification,
    Ticket,
    TicketClassificationClick,
)
from caseassist.core.records import KeptRecord, Record, action_name, decode, with_ticket
from caseassist.sinks.base import Sink

__all__ = ["REDACTED", "RedactingSink", "Redaction", "ticket_members"]

Redaction: TypeAlias = Callable[[Record], Record]
"""Returns the record as a sink may have it. It must be quick, and give the same for the same record every time."""

REDACTED = "redacted"
"""What stands for a value that cannot be left out."""


class RedactingSink(Sink):
    """Hands records on to a sink after a function has taken out what that sink is not to get.

    ``sink``: gets what ``redact`` returns, and nothing else. It is opened and closed with this one, which bears its
    name and works with batches as it does. ``redact``: such as :func:`ticket_members`, or one of your own; the record's
    place in its session and the kind of its event must stay.

    If ``redact`` raises, or returns what it must not, that one record is refused: SinkRefused tells the type of the
    exception only. The store keeps the whole record, whatever becomes of it here.
    """

    def __init__(self, sink: Sink, redact: Redaction) -> None:
        self._sink = sink
        self._redact = redact
        self.name = sink.name
        for attribute in Sink.__annotations__:  # whatever a sink tells of itself is true of this one
            setattr(self, attribute, getattr(sink, attribute))

    def __repr__(self) -> str:
        return f"<RedactingSink {self._sink!r}>"

    async def open(self) -> None:
        await self._sink.open()

    async def deliver(self, records: Sequence[Record]) -> None:
        """Redact the records and deliver them. Those before one that cannot be redacted are delivered first."""
        redacted: list[Record] = []
        problem = ""
        for record in records:
            result, problem = self._redacted(record)
            if problem:
                break
            redacted.append(result)
        if redacted:
            await self._sink.deliver(redacted)
        if problem:
            raise SinkRefused(problem, delivered=len(redacted))

    async def aclose(self) -> None:
        await self._sink.aclose()

    def _redacted(self, record: Record) -> tuple[Record, str]:
        """The record as the sink may have it, and what is wrong with it."""
        try:
            result: object = self._redact(record)
        except Exception as error:  # noqa: BLE001 (somebody else's code: whatever it raises, the record must not leave)
            return record, f"the redaction failed: {type(error).__name__}"
        if not isinstance(result, Record):
            return record, f"the redaction returned no record, but {gate.kind_of(result)}"
        same_place = (result.session_id, result.seq) == (record.session_id, record.seq)
        if not same_place or action_name(result.event) != action_name(record.event):
            return record, "the redaction changed the record's place or the kind of its event"
        if isinstance(result, KeptRecord) and result is not record and not _is_written(result):
            return record, "the redaction changed a record of a newer version, but not its line: see with_ticket"
        return result, ""


def _is_written(record: KeptRecord) -> bool:
    """Whether the line, which is what a sink writes, says the same as the record."""
    try:
        return decode(record.line) == record
    except CaseAssistError:
        return False


_MEMBERS = {"subject": "subject", "description": "description", "category": "category", "productId": "product_id"}
"""The members that can be redacted, as they are named in JSON and in Python."""
_CUSTOM = "custom."


def ticket_members(
    *drop: str, replace: Mapping[str, Any] | None = None, keep_classifications: bool = False
) -> Redaction:
    """Return a function that drops or replaces members of the ticket, for a :class:`RedactingSink`.

    ``drop``: the members to leave out: ``subject``, ``description``, ``category``, ``productId``, ``custom`` or one
    custom field, ``custom.NAME``. ``replace``: by such a name, the value to put there if the ticket has that member.
    The ticket's ``id`` stays: creating a ticket is nothing without it.

    The value of a field stands in events, too: in the classifications that were offered for it and in the one that was
    taken. There the replacement stands instead if it is text, and else ``redacted``; ``keep_classifications``: leave
    them as they are, as where they come from a list that tells nothing of anybody.

    Of records of a newer version, members of the ticket that are not known here are dropped, too. What you put into
    ``log_click``, ``log_custom`` and ``take_turn``, and what is in the context, is not touched.

    Raises ValueError for a name that is none of these or named twice, and for a value that cannot stand there.
    """
    new: dict[str, Any] = dict(replace or {})
    _check_names([*drop, *new])
    values = _checked(new)
    gone = frozenset(drop)
    touched = gone | values.keys()

    def redact(record: Record) -> Record:
        ticket = _redacted_ticket(record.ticket, gone, values)
        event = None if keep_classifications else _redacted_event(record.event, touched, values)
        return with_ticket(record, ticket, event=event)

    return redact


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name not in _MEMBERS and name != "custom" and not (name.startswith(_CUSTOM) and name != _CUSTOM):
            known = ", ".join([*_MEMBERS, "custom"])
            raise ValueError(f"{name!r} cannot be redacted; a ticket has {known} and custom.NAME")
        if names.count(name) > 1 or (name.startswith(_CUSTOM) and "custom" in names):
            raise ValueError(f"{name!r} is named twice")


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The replacements, by their names, as they may stand in a ticket."""
    custom = {name.removeprefix(_CUSTOM): value for name, value in values.items() if name.startswith(_CUSTOM)}
    plain = {name: value for name, value in values.items() if not name.startswith(_CUSTOM)}
    for name, value in plain.items():
        if value is None:
            raise ValueError(f"{name!r} is replaced by nothing; to leave it out, drop it")
    try:
        ticket = gate.build(Ticket, plain, path="$.ticket")
        named = gate.plain(custom, "$.ticket.custom")
    except InvalidAction as error:
        raise ValueError(str(error)) from None
    checked = {name: getattr(ticket, _MEMBERS.get(name, name)) for name in plain}
    return checked | {_CUSTOM + name: value for name, value in named.items()}


def _redacted_ticket(ticket: Ticket, gone: frozenset[str], values: Mapping[str, Any]) -> Ticket:
    changes: dict[str, Any] = {}
    for name, attribute in (*_MEMBERS.items(), ("custom", "custom")):
        if getattr(ticket, attribute) is not None and (name in gone or name in values):
            changes[attribute] = values.get(name)
    if ticket.custom is not None and "custom" not in changes:
        changes["custom"] = {
            name: values.get(_CUSTOM + name, value)
            for name, value in ticket.custom.items()
            if _CUSTOM + name not in gone
        } or None
    return msgspec.structs.replace(ticket, **changes)


def _redacted_event(event: AnyEvent, touched: frozenset[str], values: Mapping[str, Any]) -> AnyEvent | None:
    """The event without what it tells of redacted fields; None if it tells nothing of them."""

    def redacted(field: str, classification: Classification) -> Classification:
        name = field if field in _MEMBERS else _CUSTOM + field
        if name not in touched and not (name.startswith(_CUSTOM) and "custom" in touched):
            return classification
        value = values.get(name)
        return Classification(
            value=value if isinstance(value, str) and value else REDACTED, confidence=classification.confidence
        )

    changed: AnyEvent
    if isinstance(event, TicketClassificationClick):
        changed = msgspec.structs.replace(event, classification=redacted(event.field_name, event.classification))
    elif isinstance(event, ClassificationsOffered):
        offered = tuple(
            OfferedClassification(
                classification_id=each.classification_id,
                field_name=each.field_name,
                classification=redacted(each.field_name, each.classification),
            )
            for each in event.classifications
        )
        changed = msgspec.structs.replace(event, classifications=offered)
    else:
        return None
    return None if changed == event else changed
