"""What a sink is not to get does not get there: over a real socket and into a real file."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes import LONG_S, Pauses, ScriptedSink

from caseassist import CaseAssist, FileSink, HTTPSink, MemorySink
from caseassist.core.errors import SinkRefused, SinkUnavailable
from caseassist.core.events import Ticket, TurnTaken
from caseassist.core.records import KeptRecord, Record, action_name, decode, encode
from caseassist.core.session import Session
from caseassist.sinks.base import Sink
from caseassist.sinks.redacting import REDACTED, RedactingSink, Redaction, ticket_members
from caseassist.testing.http import ScriptServer

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CANARY = "canary of a person"
PLAIN = "may be known"

CLASSIFICATIONS: dict[str, Any] = {
    "responseId": "r1",
    "fields": {
        "category": {"predictions": [{"id": "c1", "value": CANARY, "confidence": 0.9}]},
        "email": {"predictions": [{"id": "c2", "value": CANARY, "confidence": 0.8}]},
        "plan": {"predictions": [{"id": "c3", "value": PLAIN, "confidence": 0.7}]},
    },
}


def records() -> list[Record]:
    """A session with everything personal that a ticket can hold."""
    session = Session(id="a1")
    found: list[Record] = []

    def take(taken: Sequence[Record]) -> None:
        nonlocal session
        for record in taken:
            session = session.apply(record)
            found.append(record)

    take(
        session.start({"custom": {"plan": PLAIN}}, context={"clientId": "0" * 8 + "-0000-4000-8000-" + "0" * 12}, at=AT)
    )
    for name in ("subject", "description", "productId", "email"):
        take(session.update_field(name, CANARY, at=AT))
    take(session.offer_classifications(CLASSIFICATIONS, at=AT))
    take(session.take_turn("m1", {"step": "asking"}, at=AT))
    for classification in ("c1", "c2", "c3"):
        take(session.select_classification(classification, at=AT))
    take(session.create("5003", at=AT))
    return found


RECORDS = records()
ALL = ("subject", "description", "category", "productId", "custom.email")
NEWER = (
    encode(RECORDS[-1])
    .replace(b'"v":1', b'"v":2,"extra":[1, 2]')
    .replace(b'"ticket":{', b'"ticket":{"assignee":"canary of a person",')
)


def newer() -> Record:
    record = decode(NEWER)
    assert isinstance(record, KeptRecord)
    return record


def same(record: Record) -> Record:
    return record


async def test_what_is_dropped_does_not_arrive_over_http() -> None:
    async with ScriptServer() as server:
        sink = RedactingSink(HTTPSink(server.url, token="t"), ticket_members(*ALL))
        async with CaseAssist(sinks=[sink], drain_timeout_s=LONG_S, sleep=Pauses()) as assist:
            await assist.append(RECORDS)
        (books,) = assist.report().sinks
    assert (books.delivered, books.pending) == (len(RECORDS), 0)
    sent = [msgspec.json.decode(request.body) for request in server.requests]
    assert len(sent) == len(RECORDS) - 2  # the offer and the turn are never sent
    assert "canary" not in str(sent)
    assert all(event["svc_ticket_custom"] == {"plan": PLAIN} for event in sent)
    taken = [event["svc_action_data"]["classification"]["value"] for event in sent if "classif" in event["svc_action"]]
    assert taken == [REDACTED, REDACTED, PLAIN]
    assert sent[-1]["svc_ticket_id"] == "5003"


async def test_what_is_dropped_is_not_in_the_file_and_the_rest_is(tmp_path: Path) -> None:
    sink = RedactingSink(FileSink(tmp_path / "log.jsonl"), ticket_members(*ALL))
    await sink.open()
    await sink.deliver([*RECORDS, newer()])
    await sink.aclose()
    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    assert b"canary" not in b"".join(lines)
    assert [decode(line).seq for line in lines] == [record.seq for record in [*RECORDS, newer()]]
    assert [action_name(decode(line).event) for line in lines] == [
        action_name(record.event) for record in [*RECORDS, newer()]
    ]
    kept = msgspec.json.decode(lines[-1])
    assert (kept["v"], kept["extra"], kept["ticket"]) == (2, [1, 2], {"id": "5003", "custom": {"plan": PLAIN}})
    assert Session.fold(map(decode, lines[:-1])).state == "created"


def redacted(redact: Redaction, record: Record) -> Record:
    assert decode(encode(redact(record))) == redact(record)
    return redact(record)


def test_members_are_replaced_where_the_ticket_has_them() -> None:
    redact = ticket_members(
        "description", replace={"subject": "a subject", "category": "cat", "custom.email": {"a": 1}, "custom.x": 5}
    )
    assert redacted(redact, RECORDS[0]).ticket == Ticket(custom={"plan": PLAIN})
    ticket = redacted(redact, RECORDS[-1]).ticket
    expected = {"email": {"a": 1}, "plan": PLAIN}
    assert ticket == Ticket(id="5003", subject="a subject", category="cat", product_id=CANARY, custom=expected)
    assert redacted(redact, newer()).ticket == ticket


def test_a_turn_passes_with_its_message_and_its_memory() -> None:
    # There is nothing personal in a memory, by its contract, and the id of a message is the platform's.
    (turn,) = [record for record in RECORDS if isinstance(record.event, TurnTaken)]
    result = redacted(ticket_members(*ALL), turn)
    assert result.event == TurnTaken(message_id="m1", memory={"step": "asking"})
    assert b"canary" in encode(turn)
    assert b"canary" not in encode(result)


def test_all_custom_fields_are_dropped_or_replaced_by_one_name() -> None:
    assert redacted(ticket_members("custom"), RECORDS[-1]).ticket.custom is None
    assert redacted(ticket_members(replace={"custom": {"x": 1}}), RECORDS[-1]).ticket.custom == {"x": 1}
    assert redacted(ticket_members(replace={"custom": {"x": 1}}), Record(**members(ticket=Ticket()))).ticket == Ticket()
    assert redacted(ticket_members("custom.plan"), RECORDS[0]).ticket.custom is None


def members(**changes: Any) -> dict[str, Any]:
    return {name: getattr(RECORDS[0], name) for name in Record.__struct_fields__} | changes


def values_of(record: Record) -> list[str]:
    event: Any = record.event
    offered = getattr(event, "classifications", None)
    return [each.classification.value for each in offered] if offered else [event.classification.value]


def test_classifications_tell_nothing_of_redacted_fields() -> None:
    offer, *clicks = [record for record in RECORDS if "classification" in action_name(record.event)]
    for redact, values in (
        (ticket_members(*ALL), [REDACTED, REDACTED, PLAIN]),
        (ticket_members("custom"), [CANARY, REDACTED, REDACTED]),
        (ticket_members(replace={"category": "cat", "custom.email": 5}), ["cat", REDACTED, PLAIN]),
        (ticket_members(replace={"category": ""}), [REDACTED, CANARY, PLAIN]),
        (ticket_members(*ALL, keep_classifications=True), [CANARY, CANARY, PLAIN]),
        (ticket_members(), [CANARY, CANARY, PLAIN]),
    ):
        assert sorted(values_of(redacted(redact, offer))) == sorted(values)
        assert [values_of(redacted(redact, click))[0] for click in clicks] == values
    for record in (offer, *clicks):  # as a newer version writes them
        kept = decode(
            encode(record).replace(b'"v":1', b'"v":2').replace(b'"event":{', b'"event":{"hint":"canary of a",')
        )
        assert isinstance(kept, KeptRecord)
        changed = redacted(ticket_members(*ALL, "custom.plan"), kept)
        assert b"canary" not in encode(changed)
        assert changed.v == 2


@pytest.mark.parametrize(
    ("drop", "replace"),
    [
        (["id"], {}),
        ([], {"id": "5"}),
        (["Subject"], {}),
        (["product_id"], {}),
        (["custom."], {}),
        (["subjects"], {}),
        (["subject", "subject"], {}),
        (["subject"], {"subject": "x"}),
        (["custom", "custom.x"], {}),
        (["custom.x"], {"custom": {}}),
        ([], {"subject": 5}),
        ([], {"subject": None}),
        ([], {"custom": "text"}),
        ([], {"custom.x": float("nan")}),
        ([], {"custom.x": object()}),
        ([], {"subject": "x" * 70_000}),
    ],
)
def test_what_cannot_be_redacted_or_stand_there_is_refused_at_once(drop: list[str], replace: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        ticket_members(*drop, replace=replace)
    assert "xxxx" not in str(caught.value)


# Redactions that fail


def fails(record: Record) -> Record:
    raise ValueError(CANARY)


def leaks_in_the_line(record: Record) -> Record:
    return msgspec.structs.replace(record, ticket=Ticket())


def changed(**changes: Any) -> Redaction:
    return lambda record: msgspec.structs.replace(record, **changes)


BAD: list[tuple[Callable[[Record], Any], str]] = [
    (fails, "the redaction failed: ValueError"),
    (lambda _: None, "the redaction returned no record, but null"),
    (encode, "the redaction returned no record, but a Python bytes"),
    (changed(session_id="other"), "changed the record's place"),
    (changed(seq=99), "changed the record's place"),
    (changed(event=RECORDS[-2].event), "the kind of its event"),
]


@pytest.mark.parametrize(("redact", "says"), BAD)
async def test_a_record_that_cannot_be_redacted_is_refused_and_those_before_it_are_delivered(
    redact: Redaction, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    inner = MemorySink()
    sink = RedactingSink(inner, lambda record: redact(record) if record.seq == 2 else record)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SinkRefused, match=says) as caught:
        await sink.deliver(RECORDS[:4])
    assert caught.value.delivered == 2
    assert list(inner.records) == RECORDS[:2]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "canary" not in f"{caught.value!r} {caplog.text}"
    with pytest.raises(SinkRefused, match=says) as caught:
        await sink.deliver(RECORDS[2:4])
    assert caught.value.delivered == 0
    await sink.deliver(RECORDS[3:4])
    assert list(inner.records) == [*RECORDS[:2], RECORDS[3]]


@pytest.mark.parametrize("line", [None, b"no record", encode(RECORDS[-1])])
async def test_the_line_of_a_newer_record_must_say_what_the_record_says(line: bytes | None) -> None:
    inner = MemorySink()

    def redact(record: Record) -> Record:
        return changed(ticket=Ticket(), **({} if line is None else {"line": line}))(record)

    with pytest.raises(SinkRefused, match="but not its line"):
        await RedactingSink(inner, redact).deliver([newer()])
    assert not inner.records
    await RedactingSink(inner, same).deliver([newer()])
    assert list(inner.records) == [newer()]


async def test_what_the_sink_says_passes() -> None:
    for error in (SinkUnavailable("not now", delivered=1, paused=True), SinkRefused("never", delivered=1)):
        inner = ScriptedSink(error)
        with pytest.raises(type(error)) as caught:
            await RedactingSink(inner, lambda r: fails(r) if r.seq == 3 else r).deliver(RECORDS[:4])
        assert caught.value is error
        assert inner.taken == RECORDS[:1]


async def test_it_is_opened_closed_and_described_as_the_sink_is() -> None:
    inner = ScriptedSink(name="inner", sessions_at_once=3, batch_records=7, linger_s=0.5)
    inner.on_refused = "hold"
    sink = RedactingSink(inner, same)
    for attribute in Sink.__annotations__:
        assert getattr(sink, attribute) == getattr(inner, attribute)
    assert (sink.name, sink.sessions_at_once, sink.batch_records, sink.linger_s) == ("inner", 3, 7, 0.5)
    await sink.open()
    await sink.aclose()
    assert (inner.opened, inner.closed) == (1, 1)
    assert repr(RedactingSink(HTTPSink("https://host", token="t"), same)) == (
        "<RedactingSink <HTTPSink https://host/rest/ua>>"
    )
