"""Records: an event with its place and time, and how it is written down.

One record is one line of JSON. ``(sessionId, seq)`` is its identity; ``seq`` counts from 0 without gaps. Every record
carries the whole ticket as of after the event and the context, so it can be delivered with no other state.

A record that this version does not wholly understand (unknown members, a newer ``v``, an unknown action) is read as a
:class:`KeptRecord`: what is known of it can be used, and it is written again as the very bytes that were read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from caseassist.core import fields, gate
from caseassist.core.errors import CorruptRecord, InvalidAction
from caseassist.core.events import AnyEvent, Context, Event, Ticket, UnknownEvent
from caseassist.core.fields import is_client_id

__all__ = [
    "VERSION",
    "KeptRecord",
    "Record",
    "Time",
    "action_name",
    "decode",
    "decode_blocks",
    "decode_lines",
    "decode_plain",
    "encode",
    "encode_lines",
    "schema",
    "whole_lines",
    "with_ticket",
]

VERSION = 1
"""The version of the record format that is written."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Mapping[int, Upcaster] = {}
"""By version: what turns a record of that version into one of the next. There is only one version yet."""

Time = Annotated[
    datetime,
    Meta(
        tz=True,
        description="the time when it happened, as RFC 3339 with an offset",
        extra_json_schema={"examples": ["2026-11-20T12:00:00.123Z"]},
    ),
]


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, gc=False):
    """An event with its place and time: what is stored and delivered."""

    v: Annotated[int, Meta(ge=1, description="the version of the format, from 1")] = VERSION
    session_id: fields.Identifier
    seq: Annotated[int, Meta(ge=0, description="the place in the session, from 0")]
    """Place in the session: 0, 1, 2, …"""
    time: Time
    """When it happened, in UTC."""
    event: AnyEvent
    ticket: Ticket
    """The ticket as of after the event."""
    context: Context

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.session_id}#{self.seq} {action_name(self.event)}>"


class KeptRecord(Record, frozen=True, kw_only=True, gc=False):
    """A record with something in it that this version does not know. ``line`` is what was read."""

    line: bytes


def action_name(event: Event) -> str:
    """The documented name of an event's action, such as ``ticket_field_update``."""
    return event.name if isinstance(event, UnknownEvent) else str(type(event).__struct_config__.tag)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """Return the record as one line of JSON, without the newline."""
    return record.line if isinstance(record, KeptRecord) else _encoder.encode(record)


_PLAIN = frozenset((Record,))


def encode_lines(records: Iterable[Record]) -> bytes:
    """Return the records as JSON lines, each ended by a newline."""
    records = list(records)
    if _PLAIN.issuperset(map(type, records)):
        return _encoder.encode_lines(records)
    return b"".join(encode(record) + b"\n" for record in records)


def decode(line: bytes, *, where: str = "") -> Record:
    """Read one line of JSON. ``where`` names its place in errors, such as ``line 12``.

    Raises CorruptRecord when it is no record.
    """
    try:
        record = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _decode_other(line, where, VERSION, UPCASTERS)
    if (
        record.v == VERSION
        and type(record.event) is not UnknownEvent
        and (record.context.client_id is None or is_client_id(record.context.client_id))
        and (not _may_be_unclean(line) or gate.is_clean(record))
    ):
        return record
    return _decode_other(line, where, VERSION, UPCASTERS)


def _may_be_unclean(data: bytes) -> bool:
    """Whether control characters can be in the texts: JSON escapes all of them but DEL and U+0080 to U+009F."""
    return b"\\" in data or b"\x7f" in data or b"\xc2" in data


def decode_lines(lines: Iterable[bytes], *, name: str = "") -> Iterator[Record]:
    """Read JSON lines; empty lines are passed over. ``name`` is put before the line number in errors.

    Raises CorruptRecord at the first line that is no record. To go on after it, decode line by line.
    """
    prefix = f"{name}, line " if name else "line "
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            yield decode(line, where=f"{prefix}{number}")


def decode_plain(lines: bytes) -> list[Record] | None:
    """Read JSON lines at once, which takes less time than one by one.

    ``lines``: whole lines. Returns None when one of them is empty, or no record, or one that :func:`decode` has to look
    at: nothing but reading them one by one tells which.
    """
    try:
        records = _decoder.decode_lines(lines)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if len(records) != lines.count(b"\n") + (not lines.endswith(b"\n")):  # one over two lines, or two on one
        return None
    for client_id in {record.context.client_id for record in records}:
        if client_id is not None and not is_client_id(client_id):
            return None
    for record in records:
        if record.v != VERSION or type(record.event) is UnknownEvent:
            return None
    if _may_be_unclean(lines) and not all(map(gate.is_clean, records)):
        return None
    return records


def decode_blocks(blocks: Iterable[bytes], *, name: str = "") -> Iterator[list[Record]]:
    """Read JSON lines that come in blocks, such as a large file read by the megabyte. Gives the records of each block.

    A line may begin in one block and end in another. ``name`` and errors are as for :func:`decode_lines`; the records
    before the bad line are given first.
    """
    prefix = f"{name}, line " if name else "line "
    number = 0
    for lines in whole_lines(blocks):
        records = decode_plain(lines)
        if records is not None:
            number += len(records)
            yield records
            continue
        records = list[Record]()
        for line in lines.removesuffix(b"\n").split(b"\n"):
            number += 1
            if line and not line.isspace():
                try:
                    records.append(decode(line, where=f"{prefix}{number}"))
                except CorruptRecord:
                    if records:
                        yield records
                    raise
        yield records


PIECE_BYTES = 1 << 16
"""Records are read from so many bytes at a time: the records of a megabyte do not fit into the processor's cache."""


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut blocks anew, into pieces of at most 64 KiB, or one line: no line is in two of them."""
    rest: list[bytes] = []
    for block in blocks:
        start = 0
        while start < len(block):
            end = 0 if rest else block.rfind(b"\n", start, start + PIECE_BYTES) + 1
            if not end:  # only up to the end of the line that has begun
                end = block.find(b"\n", start) + 1
            if not end:
                rest.append(block[start:])
                break
            piece = block[start:end]
            start = end
            if rest:
                piece = b"".join((*rest, piece))
                rest.clear()
            yield piece
    if rest:
        yield b"".join(rest)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a record as this version writes it."""
    record = msgspec.json.schema(Record)
    event = record["$defs"]["Record"]["properties"]["event"]
    unknown = record["$defs"].pop("UnknownEvent")  # how we read what others wrote
    event["anyOf"].remove({"$ref": "#/$defs/UnknownEvent"})
    for action in unknown["properties"]["action"]["enum"]:
        del event["discriminator"]["mapping"][action]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | record


def with_ticket(record: Record, ticket: Ticket, *, event: AnyEvent | None = None) -> Record:
    """Return the record with another ticket, and with another event if one is given.

    The line of a :class:`KeptRecord` is written anew with them: what this version does not know of its ticket, and of
    an event that is given, is gone. Everything else in it stays as it was read, byte for byte.
    """
    if not isinstance(record, KeptRecord):
        return msgspec.structs.replace(record, ticket=ticket, event=record.event if event is None else event)
    members = msgspec.json.decode(record.line, type=dict[str, msgspec.Raw])
    members["ticket"] = msgspec.Raw(_encoder.encode(ticket))
    if event is not None:
        members["event"] = msgspec.Raw(_encoder.encode(event))
    return decode(_encoder.encode(members))


def _decode_other(line: bytes, where: str, version: int, upcasters: Mapping[int, Upcaster]) -> Record:
    """Read a line that is no plain record of this version: an older one, one with unknown parts, or garbage."""
    try:
        data = original = msgspec.json.decode(line, type=dict[str, Any])
    except RecursionError:
        raise CorruptRecord("nested too deep", where=where) from None
    except (msgspec.MsgspecError, UnicodeError):
        raise CorruptRecord("not a JSON object in UTF-8", where=where) from None
    v = data.get("v", VERSION)
    if type(v) is not int or v < 1:
        raise CorruptRecord(f"$.v: expected a version, from 1, got {gate.kind_of(v)}", where=where)
    while v < version and v in upcasters:
        data = upcasters[v](data)
        v += 1
        data["v"] = v
    if v < version:
        raise CorruptRecord(f"there is no reader for records of version {v}", where=where)
    try:
        record, whole = _convert_known(data)
    except InvalidAction as error:
        raise CorruptRecord(str(error), where=where) from None
    if whole and v == version:
        return record
    line = _one_line(line) if data is original else _encoder.encode(data)
    return KeptRecord(line=line, **{name: getattr(record, name) for name in Record.__struct_fields__})


def _convert_known(data: dict[str, Any]) -> tuple[Record, bool]:
    """Build a record of what is known. The second value says whether that is all there is."""
    known = gate.known_part(data, Record)
    event = known.get("event")
    if not isinstance(event, dict):
        return gate.convert(Record, known), False  # raises: there is no record without an event
    whole = known == data
    action = cast("dict[str, Any]", event).get("action")
    if not isinstance(action, str) or not action:
        raise InvalidAction(f"expected the name of an action, got {gate.kind_of(action)}", path="$.event.action")
    cls = _EVENTS.get(action)
    if cls is None:
        return gate.convert(Record, known | {"event": UnknownEvent(name=action)}), False
    part = gate.known_part(event, cls)
    built = gate.convert(cls, part, path="$.event", rules=cls.rules)
    return gate.convert(Record, known | {"event": built}), whole and part == event


def _one_line(line: bytes) -> bytes:
    line = line.strip()
    return msgspec.json.format(line, indent=-1) if b"\n" in line else line


_EVENTS: dict[str, type[Event]] = {
    str(cls.__struct_config__.tag): cls for cls in AnyEvent.__args__ if cls is not UnknownEvent
}
