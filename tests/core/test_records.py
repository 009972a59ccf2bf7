"""Records: how they are written down and read, today's and others'."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.core.life_cycle import ACTIONS, CLIENT_ID, EVENTS, NOW, act, records_of, session_in

from caseassist.core import records
from caseassist.core.errors import CorruptRecord, UnsupportedRecord
from caseassist.core.events import Context, DocumentsOffered, Ticket, TicketCreateStart, TicketFieldUpdate, UnknownEvent
from caseassist.core.records import (
    VERSION,
    KeptRecord,
    Record,
    action_name,
    decode,
    decode_blocks,
    decode_lines,
    decode_plain,
    encode,
    encode_lines,
    schema,
    with_ticket,
)
from caseassist.core.session import Session

GOLDEN = Path(__file__).parents[1] / "data" / "records-v1.jsonl"

RECORD = Record(
    session_id="a1",
    seq=3,
    time=datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC),
    event=TicketFieldUpdate(field_name="subject"),
    ticket=Ticket(subject="GC110 malfunction", custom={"rewardsMember": True}),
    context=Context(client_id=CLIENT_ID, search_hub="support-bot", language="en", origin_context="CaseAssist"),
)
LINE = (
    b'{"v":1,"sessionId":"a1","seq":3,"time":"2026-11-20T12:00:00.123000Z",'
    b'"event":{"action":"ticket_field_update","fieldName":"subject"},'
    b'"ticket":{"subject":"GC110 malfunction","custom":{"rewardsMember":true}},'
    b'"context":{"clientId":"489aa3e3-aed2-4563-8e81-62bb73178a56","searchHub":"support-bot","language":"en",'
    b'"originContext":"CaseAssist"}}'
)
ALL_ACTIONS = tuple(action for action in ACTIONS if action not in ("solve", "quit"))


def changed(*path: str | int, to: Any) -> bytes:
    """The line with one member changed or added; removed if ``to`` is ``...``."""
    data = msgspec.json.decode(LINE)
    place = data
    for step in path[:-1]:
        place = place[step]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return msgspec.json.encode(data)


# Written and read


def test_a_record_is_one_line_of_json() -> None:
    assert encode(RECORD) == LINE
    assert decode(LINE) == RECORD
    assert type(decode(LINE)) is Record


@given(record=strategies.record())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_record_is_the_same_after_being_written_and_read(record: Record) -> None:
    line = encode(record)
    assert b"\n" not in line
    assert decode(line) == record
    assert encode(decode(line)) == line


@given(log=st.lists(strategies.record(), max_size=4))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_lines_are_records_each_ended_by_a_newline(log: list[Record]) -> None:
    lines = encode_lines(log)
    assert lines == b"".join(encode(record) + b"\n" for record in log)
    assert list(decode_lines(lines.splitlines(keepends=True))) == log
    assert encode_lines(iter(log)) == lines


@given(record=strategies.record())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_record_that_is_written_fits_the_json_schema(record: Record) -> None:
    VALIDATOR.validate(msgspec.json.decode(encode(record)))


VALIDATOR = jsonschema.Draft202012Validator(schema(), format_checker=jsonschema.FormatChecker())


def test_the_schema_is_one_and_knows_nothing_of_how_we_read_what_we_do_not_know() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert "Unknown" not in msgspec.json.encode(schema()).decode()
    assert set(schema()["$defs"]["Record"]["properties"]["event"]["discriminator"]["mapping"]) == {
        tag for _, tag, _ in EVENTS.values()
    } | {"suggestion_click"}


@pytest.mark.parametrize(
    "line",
    [
        changed("seq", to=-1),
        changed("sessionId", to=""),
        changed("sessionId", to="a\n"),
        changed("event", "action", to="unknown"),
        changed("event", "extra", to=1),
        changed("context", "language", to="xx"),
        changed("ticket", "subject", to=5),
        changed("event", to=...),
    ],
)
def test_what_we_would_not_write_does_not_fit_the_schema(line: bytes) -> None:
    assert VALIDATOR.is_valid(msgspec.json.decode(LINE))
    assert not VALIDATOR.is_valid(msgspec.json.decode(line))


def test_a_record_shows_its_place_and_its_action_and_no_more() -> None:
    assert repr(RECORD) == "<Record a1#3 ticket_field_update>"
    assert repr(decode(changed("new", to=1))) == "<KeptRecord a1#3 ticket_field_update>"


def test_actions_go_by_their_documented_names() -> None:
    for record, action in zip(records_of(*ALL_ACTIONS), ALL_ACTIONS, strict=True):
        assert action_name(record.event) == EVENTS[action][1]
    assert action_name(UnknownEvent(name="escalated")) == "escalated"


# For ever


def test_records_of_version_1_are_read_for_ever_and_written_as_they_were() -> None:
    lines = GOLDEN.read_bytes().splitlines(keepends=True)
    log = list(decode_lines(lines, name=GOLDEN.name))
    assert encode_lines(log) == b"".join(lines)
    assert all(type(record) is Record for record in log)
    sessions: dict[str, list[Record]] = {}
    for record in log:
        sessions.setdefault(record.session_id, []).append(record)
    assert {name: Session.fold(part).state for name, part in sessions.items()} == {
        "golden-created": "created",
        "golden-solved": "solved",
        "golden-quit": "quit",
        "golden-turns": "quit",
    }
    tags = {action_name(record.event) for record in log}
    assert tags == {tag for _, tag, _ in EVENTS.values()}


def test_the_first_line_for_ever_is_this() -> None:
    # The file above could be written anew; this could not without a second thought.
    assert GOLDEN.read_bytes().startswith(
        b'{"v":1,"sessionId":"golden-created","seq":0,"time":"2026-11-20T12:00:00Z",'
        b'"event":{"action":"ticket_create_start"},"ticket":{"subject":"GC110","custom":{"rewardsMember":true}},'
        b'"context":{"clientId":"489aa3e3-aed2-4563-8e81-62bb73178a56"'
    )


# What others wrote

UNKNOWN = [
    pytest.param(changed("new", to={"a": [1, 2.50]}), id="record"),
    pytest.param(changed("ticket", "priority", to="high"), id="ticket"),
    pytest.param(changed("context", "tenant", to=None), id="context"),
    pytest.param(changed("event", "widget", to=1), id="event"),
    pytest.param(changed("ticket", "", to=1), id="no name"),
]


def line_of(action: str, *path: str | int) -> bytes:
    """The line of an action's record, with a member ``new`` added at a place in its event."""
    actions = ("start", "offer_classifications", "offer_documents", action)
    data = msgspec.json.decode(encode(records_of(*actions)[-1]))
    place = data["event"]
    for step in path:
        place = place[step]
    place["new"] = "CANARY-7431"
    return msgspec.json.encode(data)


NESTED = [
    line_of("select_classification", "classification"),
    line_of("open_document", "suggestion"),
    line_of("rate_document", "suggestion"),
    line_of("offer_classifications", "classifications", 1),
    line_of("offer_classifications", "classifications", 0, "classification"),
    line_of("offer_documents", "documents", 0),
    line_of("offer_documents", "documents", 0, "suggestion"),
    line_of("take_turn"),
]


@pytest.mark.parametrize("line", [*UNKNOWN, *NESTED])
def test_a_record_with_unknown_members_at_any_level_is_kept_as_it_was_read(line: bytes) -> None:
    record = decode(line)
    assert isinstance(record, KeptRecord)
    assert encode(record) == line == record.line
    assert encode(decode(encode(record))) == line
    known = msgspec.json.decode(line)
    assert (record.session_id, record.seq, record.v) == (known["sessionId"], known["seq"], 1)
    assert action_name(record.event) == known["event"]["action"]


def test_what_is_known_of_a_kept_record_is_used() -> None:
    lines = [line_of("open_document", "suggestion")]
    log = [*records_of("start", "offer_classifications", "offer_documents"), *map(decode, lines)]
    assert Session.fold(log) == act(session_in("suggested"), "open_document", "d1")


def test_of_a_turn_that_a_newer_version_wrote_message_and_memory_are_known() -> None:
    record = decode(line_of("take_turn"))
    assert isinstance(record, KeptRecord)
    session = Session.fold([*records_of("start", "offer_classifications", "offer_documents"), record])
    assert (session.message_ids, session.memory) == (("m1",), {"step": "asking"})


def test_of_a_document_that_a_newer_version_offered_what_to_show_is_known() -> None:
    record = decode(line_of("offer_documents", "documents", 0))
    assert isinstance(record, KeptRecord)
    assert isinstance(record.event, DocumentsOffered)
    (document,) = record.event.documents
    assert (document.excerpt, document.click_uri) == (None, "https://support.example.com/ignition")


def test_an_offer_from_before_there_was_something_to_show_reads_as_it_was() -> None:
    (record,) = [record for record in records_of("start", "offer_documents") if record.seq == 1]
    line = encode(record).replace(b',"clickUri":"https://support.example.com/ignition"', b"")
    assert line != encode(record)
    old = decode(line)
    assert type(old) is Record
    assert encode(old) == line


@pytest.mark.parametrize("v", [2, 3, 2**31, 10**40])
def test_a_newer_record_is_kept_even_if_all_its_members_are_known(v: int) -> None:
    line = LINE.replace(b'"v":1', b'"v":%d' % v).replace(b'":', b'": ')
    record = decode(line)
    assert isinstance(record, KeptRecord)
    assert record.v == v
    assert encode(record) == line
    assert record.event == RECORD.event
    assert Session.fold([RECORD, msgspec.structs.replace(record, seq=4)], in_place(3)).ticket == RECORD.ticket


def in_place(seq: int) -> Session:
    return msgspec.structs.replace(session_in("filling"), next_seq=seq)


@pytest.mark.parametrize("action", ["escalated", "Ticket_create", "unknown", "ünknown"])
def test_an_event_that_is_not_known_is_kept_by_its_name(action: str) -> None:
    line = changed("event", to={"action": action, "anything": [1]})
    record = decode(line)
    assert isinstance(record, KeptRecord)
    assert record.event == UnknownEvent(name=action)
    assert (encode(record), record.ticket, record.context) == (line, RECORD.ticket, RECORD.context)
    with pytest.raises(UnsupportedRecord):
        in_place(3).apply(record)


def test_the_name_that_we_give_to_unknown_events_is_no_name_to_write() -> None:
    record = decode(changed("event", to={"action": "unknown", "name": "solve"}))
    assert isinstance(record, KeptRecord)
    assert action_name(record.event) == "unknown"


@given(record=strategies.record(), extra=strategies.json_value(), v=st.integers(1, 5))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_whatever_is_added_to_a_record_what_is_known_is_read_and_all_of_it_kept(
    record: Record, extra: Any, v: int
) -> None:
    line = msgspec.json.encode(msgspec.json.decode(encode(record)) | {"~": extra, "v": v})
    kept = decode(line)
    assert encode(kept) == line
    for name in ("session_id", "seq", "time", "event", "ticket", "context"):
        assert getattr(kept, name) == getattr(record, name)


def test_kept_records_are_written_among_others_as_lines() -> None:
    new, old = changed("new", to=1), LINE
    assert encode_lines([decode(old), decode(new), decode(old)]) == old + b"\n" + new + b"\n" + old + b"\n"


@pytest.mark.parametrize("around", [b"%s\n", b"  %s", b"%s\r\n", b"\t%s \n"])
def test_blanks_around_a_line_are_no_part_of_it(around: bytes) -> None:
    for line in (LINE, changed("new", to=1)):
        assert encode(decode(around % line)) == line


def test_a_record_that_was_spread_over_lines_is_kept_on_one() -> None:
    line = changed("new", to="a\nb")
    spread = msgspec.json.format(line, indent=2)
    assert b"\n" in spread
    assert encode(decode(spread)) == line


def test_a_record_may_be_larger_than_what_callers_may_hand_in() -> None:
    big = {f"{n}": "x" * 60_000 for n in range(20)} | {"deep": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]], "n": 2**80}
    for line in (changed("ticket", "custom", to=big), changed("new", to=big)):
        assert encode(decode(line)) == line
    data = msgspec.json.decode(changed("ticket", "custom", to=big)) | {"new": 1}
    record = decode(msgspec.json.encode(data))
    assert isinstance(record, KeptRecord)
    assert record.ticket.custom == big


def test_a_line_without_a_version_is_of_the_first() -> None:
    assert decode(changed("v", to=...)) == RECORD


def test_times_with_other_offsets_are_read_and_written_as_the_same_instant() -> None:
    record = decode(LINE.replace(b"12:00:00.123000Z", b"13:00:00.123+01:00"))
    assert record == RECORD
    assert record.time - RECORD.time == timedelta(0)


# Upcasters: there are none yet, so they come in as arguments.


def to_2(data: dict[str, Any]) -> dict[str, Any]:
    data = dict(data)
    data["sessionId"] = data.pop("session")
    return data


def to_3(data: dict[str, Any]) -> dict[str, Any]:
    return data | {"ticket": data["ticket"] | {"category": "Other"}}


OLD = LINE.replace(b'"sessionId"', b'"session"')


def upcast(line: bytes, version: int = 3, **upcasters: Any) -> Record:
    named = {int(name[1:]): upcaster for name, upcaster in upcasters.items()}
    return records._decode_other(line, "line 1", version, named)


def test_old_records_pass_the_upcasters_one_after_the_other() -> None:
    record = upcast(OLD, _1=to_2, _2=to_3)
    assert type(record) is Record
    assert (record.v, record.session_id, record.ticket.category) == (3, "a1", "Other")
    assert b'"v":3' in encode(record)
    assert upcast(LINE.replace(b'"v":1', b'"v":2'), _1=to_2, _2=to_3).ticket.category == "Other"
    assert upcast(LINE.replace(b'"v":1', b'"v":3'), _1=to_2, _2=to_3).ticket.category is None


def test_an_old_record_with_unknown_members_is_kept_in_its_new_form() -> None:
    line = msgspec.json.encode(msgspec.json.decode(OLD) | {"new": "x"})
    record = upcast(line, version=2, _1=to_2)
    assert isinstance(record, KeptRecord)
    kept = msgspec.json.decode(encode(record))
    assert (kept["v"], kept["sessionId"], kept["new"]) == (2, "a1", "x")


def test_an_old_record_without_an_upcaster_is_corrupt() -> None:
    with pytest.raises(CorruptRecord, match=r"^line 1: there is no reader for records of version 2$"):
        upcast(OLD, _1=to_2)


def test_there_is_one_version_yet() -> None:
    assert (VERSION, records.UPCASTERS) == (1, {})


# What is no record

NO_RECORDS: list[tuple[bytes, str]] = [
    (b"", "not a JSON object"),
    (b" ", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"[]", "not a JSON object"),
    (b'"CANARY-7431"', "not a JSON object"),
    (b"7", "not a JSON object"),
    (b"{", "not a JSON object"),
    (LINE[:-1], "not a JSON object"),
    (LINE[: len(LINE) // 2], "not a JSON object"),
    (LINE[1:], "not a JSON object"),
    (LINE + LINE, "not a JSON object"),
    (b"\xef\xbb\xbf" + LINE, "not a JSON object"),
    (LINE.replace(b"GC110", b"\xff\xfe"), "not a JSON object"),
    (LINE.replace(b"GC110", b"\\ud800"), "not a JSON object"),
    (LINE.replace(b"GC110", b"a\nb"), "not a JSON object"),
    (LINE.replace(b"true", b"NaN"), "not a JSON object"),
    (LINE.replace(b"true", b"1e999"), "not a JSON object"),
    (LINE.decode().encode("utf-16"), "not a JSON object"),
    (b'{"a":' * 100_000, "nested too deep"),
    (LINE.replace(b"true", b"[" * 100_000 + b"]" * 100_000), "nested too deep"),
    (changed("v", to=0), "$.v"),
    (changed("v", to=-1), "$.v"),
    (changed("v", to="1"), "$.v"),
    (changed("v", to=True), "$.v"),
    (changed("v", to=None), "$.v"),
    (changed("v", to=1.5), "$.v"),
    (b"{}", "$.sessionId"),
    (changed("sessionId", to=...), "$.sessionId"),
    (changed("sessionId", to=""), "$.sessionId"),
    (changed("sessionId", to=7), "$.sessionId"),
    (changed("sessionId", to="a\n"), "$.sessionId"),
    (changed("seq", to=...), "$.seq"),
    (changed("seq", to=-1), "$.seq"),
    (changed("seq", to=1.5), "$.seq"),
    (changed("seq", to="3"), "$.seq"),
    (changed("seq", to=True), "$.seq"),
    (changed("time", to=...), "$.time"),
    (changed("time", to=0), "$.time"),
    (changed("time", to="CANARY-7431"), "$.time"),
    (changed("time", to="2026-11-20T12:00:00"), "$.time"),
    (changed("time", to="2026-11-31T12:00:00Z"), "$.time"),
    (changed("event", to=...), "$.event"),
    (changed("event", to="CANARY-7431"), "$.event"),
    (changed("event", to=[]), "$.event"),
    (changed("event", to={}), "$.event.action"),
    (changed("event", "action", to=5), "$.event.action"),
    (changed("event", "action", to=""), "$.event.action"),
    (changed("event", "fieldName", to=...), "$.event.fieldName"),
    (changed("event", "fieldName", to=["CANARY-7431"]), "$.event.fieldName"),
    (changed("event", to={"action": "suggestion_rate", "rate": "CANARY-7431"}), "$.event.rate"),
    (changed("ticket", to=...), "$.ticket"),
    (changed("ticket", to=[]), "$.ticket"),
    (changed("ticket", "subject", to={"CANARY-7431": 1}), "$.ticket.subject"),
    (changed("ticket", "custom", to="CANARY-7431"), "$.ticket.custom"),
    (changed("ticket", "id", to=""), "$.ticket.id"),
    (changed("context", to=...), "$.context"),
    (changed("context", "language", to="CANARY-7431"), "$.context.language"),
    (changed("context", "clientId", to="CANARY-7431"), "$.context.clientId"),
    (changed("context", "anonymous", to="true"), "$.context.anonymous"),
]


@pytest.mark.parametrize(("line", "problem"), NO_RECORDS, ids=[f"{n}-{what}" for n, (_, what) in enumerate(NO_RECORDS)])
@pytest.mark.parametrize("also", [lambda line: line, lambda line: line.replace(b'{"v"', b'{"new":0,"v"')])
def test_what_is_no_record_is_corrupt_and_says_where_and_why(
    line: bytes, problem: str, also: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(CorruptRecord) as caught:
        decode(also(line), where="line 12")
    assert caught.value.where == "line 12"
    assert str(caught.value).startswith(f"line 12: {problem}")
    assert "CANARY" not in f"{caught.value} {caught.value!r} {caught.value.args}"


def test_what_is_no_text_either_is_corrupt() -> None:
    with pytest.raises(CorruptRecord):
        decode('"\ud800"')  # type: ignore[arg-type]


def test_reading_lines_passes_over_empty_ones_and_names_the_line_that_is_no_record() -> None:
    lines = [LINE, b"\n", b"", b" \t\r\n", LINE + b"\n", LINE[:40], LINE]
    read = decode_lines(lines, name="log.jsonl")
    assert [next(read), next(read)] == [RECORD, RECORD]
    with pytest.raises(CorruptRecord) as caught:
        next(read)
    assert caught.value.where == "log.jsonl, line 6"
    with pytest.raises(CorruptRecord, match=r"^line 1: "):
        list(decode_lines([b"x"]))


def test_a_record_made_here_is_of_this_version() -> None:
    assert records_of("start")[0] == Record(
        v=VERSION,
        session_id="a1",
        seq=0,
        time=NOW,
        event=TicketCreateStart(),
        ticket=Ticket(subject="GC110"),
        context=session_in("started").context,
    )


# Another ticket


KEPT = (
    b'{"v":2,"sessionId":"a1","seq":0,"time":"2026-11-20T12:00:00Z","event":{"action":"ticket_reopen","why":"w"},'
    b'"ticket":{"subject":"canary","assignee":"canary","custom":{"a":1}},"context":{},'
    b'"extra":{"big":123456789012345678901234567890,"n":1.50,"text": "\\u00e9"}}'
)


def test_a_plain_record_gets_another_ticket() -> None:
    changed = with_ticket(RECORD, Ticket(subject="other"))
    assert changed == msgspec.structs.replace(RECORD, ticket=Ticket(subject="other"))
    event = TicketFieldUpdate(field_name="category")
    assert with_ticket(RECORD, RECORD.ticket, event=event) == msgspec.structs.replace(RECORD, event=event)


def test_the_line_of_a_kept_record_is_written_anew_and_all_but_the_ticket_stays() -> None:
    changed = with_ticket(decode(KEPT), Ticket(custom={"a": 1}))
    assert isinstance(changed, KeptRecord)
    assert changed.ticket == Ticket(custom={"a": 1})
    assert b"canary" not in changed.line
    before, after = KEPT.partition(b'"ticket":')[0], KEPT.partition(b'"context":')[2]
    assert changed.line == before + b'"ticket":{"custom":{"a":1}},"context":' + after
    assert decode(encode(changed)) == changed
    event = TicketFieldUpdate(field_name="category")
    assert with_ticket(decode(KEPT), Ticket(), event=event).event == event


def test_a_record_that_was_kept_for_its_ticket_is_a_plain_one_without_it() -> None:
    line = LINE.replace(b'"ticket":{', b'"ticket":{"assignee":"canary",')
    record = decode(line)
    assert isinstance(record, KeptRecord)
    assert type(with_ticket(record, Ticket())) is Record


# Blocks.


def record(number: int) -> Record:
    return msgspec.structs.replace(RECORD, seq=number)


def cut(lines: bytes, size: int) -> list[bytes]:
    return [lines[n : n + size] for n in range(0, len(lines), size)]


@given(log=st.lists(strategies.record(), max_size=5), size=st.integers(min_value=1, max_value=3000), data=st.data())
@settings(deadline=None, max_examples=100, derandomize=True)
def test_blocks_give_what_lines_give_wherever_they_are_cut(log: list[Record], size: int, data: st.DataObject) -> None:
    empty = data.draw(st.lists(st.sampled_from([b"\n", b"  \n", b"\r\n"]), max_size=3))
    lines = b"".join(empty) + encode_lines(log).replace(b"\n", b"\n" + b"".join(empty))
    if data.draw(st.booleans()):
        lines = lines.rstrip(b"\r\n ")
    read = [record for block in decode_blocks(cut(lines, size)) for record in block]
    assert read == list(decode_lines(lines.splitlines(keepends=True))) == log


@pytest.mark.parametrize(
    "bad", [b"{}", b"x", b'{"v":', b"\xff", b'{"a":1}{"a":2}', b"\x00"], ids=["{}", "x", "cut", "ff", "two", "nul"]
)
@pytest.mark.parametrize("size", [50, 100_000])
def test_a_bad_line_in_a_block_is_named_and_what_comes_before_it_is_given(bad: bytes, size: int) -> None:
    log = [record(n) for n in range(4)]
    lines = b"\n" + encode_lines(log[:3]) + bad + b"\n" + encode_lines(log[3:])
    read: list[Record] = []
    blocks = decode_blocks(cut(lines, size), name="log.jsonl")
    with pytest.raises(CorruptRecord, match=r"log\.jsonl, line 5"):
        read.extend(record for block in blocks for record in block)
    assert read == log[:3]


@pytest.mark.parametrize("control", ["\\u0000", "\\n", "\\u001f", "\x7f", "\x80", "\x9f", "\\u0085"])
def test_a_control_character_in_an_identifier_is_found_in_a_line_and_in_a_block(control: str) -> None:
    good = encode(record(0))
    bad = good.replace(b'"sessionId":"', b'"sessionId":"' + control.encode())
    assert bad != good
    with pytest.raises(CorruptRecord, match=r"\$\.sessionId: expected an identifier"):
        decode(bad)
    assert decode_plain(good + b"\n" + bad) is None
    with pytest.raises(CorruptRecord, match=r"line 2: \$\.sessionId"):
        list(decode_blocks([good + b"\n" + bad]))


def test_an_identifier_deep_in_a_record_is_found_too() -> None:
    good = changed("context", "trackingId", to="shop")
    assert decode(good).context.tracking_id == "shop"
    with pytest.raises(CorruptRecord, match=r"\$\.context\.trackingId: expected the name of the web property"):
        decode(good.replace(b"shop", b"\\n"))
    assert decode_plain(good.replace(b"shop", b"\\n")) is None


@pytest.mark.parametrize("client_id", [CLIENT_ID.upper(), CLIENT_ID[:-1] + "x", CLIENT_ID[1:] + "\u00df"])
def test_a_client_id_that_is_none_is_found_in_a_line_and_in_a_block(client_id: str) -> None:
    bad = changed("context", "clientId", to=client_id)
    with pytest.raises(CorruptRecord, match=r"\$\.context\.clientId: expected a UUID"):
        decode(bad)
    assert decode_plain(encode(record(0)) + b"\n" + bad) is None


@pytest.mark.parametrize("client_id", ["N" * 36, CLIENT_ID.upper(), ""])
def test_a_client_id_of_an_event_that_is_none_is_found_too(client_id: str) -> None:
    event = {"action": "custom", "eventType": "chat", "eventValue": "hello", "clientId": CLIENT_ID}
    assert decode(changed("event", to=event))
    bad = changed("event", to=event | {"clientId": client_id})
    with pytest.raises(CorruptRecord, match=r"\$\.event\.clientId: expected a UUID"):
        decode(bad)
    assert decode_plain(bad) is None


def test_records_without_a_client_id_are_read() -> None:
    line = changed("context", "clientId", to=...)
    assert decode_plain(line) == [decode(line)]
    assert decode(line).context.client_id is None


def test_what_is_escaped_and_no_control_character_is_no_reason_to_look_again() -> None:
    lines = encode(record(0)).replace(b'"sessionId":"', b'"sessionId":"\\"\\\\\\u00e9\xc2\xa0')
    read = decode_plain(lines)
    assert read is not None
    assert read[0].session_id.startswith('"\\é\xa0')


@pytest.mark.parametrize("change", [(b'"v":1', b'"v":2'), (b'"action":"', b'"action":"new_')])
def test_a_record_that_is_not_wholly_known_is_kept_in_a_block_too(change: tuple[bytes, bytes]) -> None:
    lines = [encode(record(0)), encode(record(1)).replace(*change)]
    assert decode_plain(b"\n".join(lines)) is None
    known, kept = (record for block in decode_blocks([b"\n".join(lines)]) for record in block)
    assert type(known) is Record
    assert isinstance(kept, KeptRecord)
    assert encode(kept) == lines[1]


def test_two_records_on_a_line_and_one_on_two_lines_are_refused() -> None:
    line = encode(record(0))
    for lines in (line + line, line + b" " + line + b"\n", line.replace(b",", b",\n", 1)):
        assert decode_plain(lines) is None
        with pytest.raises(CorruptRecord, match="line 1: not a JSON object"):
            list(decode_blocks([lines]))


def test_no_blocks_and_empty_blocks_give_nothing() -> None:
    for blocks in ([], [b""], [b"\n\n"], [b"", b" \n"]):
        assert [record for block in decode_blocks(blocks) for record in block] == []
