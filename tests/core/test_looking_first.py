"""What is let through by a look is what the gate would have made of it, and what the gate refuses gets no further."""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.core.life_cycle import CLASSIFICATIONS, CLIENT_ID, DOCUMENTS, NOW, session_in

from caseassist.core import fields, gate
from caseassist.core.checked import checked_context, checked_ticket
from caseassist.core.errors import InvalidAction, UnknownSuggestion
from caseassist.core.events import ClassificationsOffered, Context, DocumentsOffered, Ticket
from caseassist.core.gate import build, is_clean, is_id, is_scalar, is_text, members_of, plain
from caseassist.core.offers import Checked
from caseassist.core.records import encode
from caseassist.core.session import Session
from caseassist.core.suggestions import read_classifications, read_documents


class Colour(StrEnum):
    RED = "red"


ODD_TEXTS = ("", "a\n", "\x7f", "\x85", "\ud800", "a\xa0b", "\u2028", "\U0010ffff", "x" * 129, "x" * 1025, "x" * 65_537)
ODD = (*ODD_TEXTS, None, True, 5, 2**64, -(2**63), -(2**63) - 1, 0.5, float("nan"), b"x", UUID(CLIENT_ID), Colour.RED)
"""Values at the edge of what is taken, and of what is not."""

odd = st.sampled_from(ODD)
text = st.one_of(strategies.text(), strategies.identifier(), odd)


def outcome(function: Callable[[], Any]) -> Any:
    """What comes out: the value as JSON, or the error."""
    try:
        return msgspec.json.encode(function())
    except InvalidAction as error:
        return str(error)


class Holder(msgspec.Struct):
    id: fields.Identifier
    text: fields.Text


@given(value=text)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_a_look_at_a_text_says_what_the_gate_says(value: Any) -> None:
    for takes, member in ((is_id(value, fields.MAX_ID), "id"), (is_text(value, fields.MAX_TEXT), "text")):
        try:
            build(Holder, {"id": "a", "text": "", member: value})
            is_taken = True
        except InvalidAction:
            is_taken = False
        assert takes == (is_taken and type(value) is str)


@given(value=st.one_of(strategies.json_value(), odd))
@settings(deadline=None, max_examples=300, derandomize=True)
def test_a_scalar_is_carried_unharmed(value: Any) -> None:
    if is_scalar(value):
        assert plain(value) is value


@given(
    ticket=st.builds(
        Ticket,
        id=st.one_of(st.none(), text),
        subject=st.one_of(st.none(), text),
        category=st.one_of(st.none(), text),
        custom=st.one_of(
            st.none(),
            odd,
            st.dictionaries(text.filter(lambda key: key == key), st.one_of(odd, strategies.json_value())),
        ),
    )
)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_a_ticket_comes_out_as_the_gate_makes_it(ticket: Ticket) -> None:
    # As an object, it has to be looked at member by member.
    assert outcome(lambda: checked_ticket(ticket)) == outcome(lambda: checked_ticket(members_of(ticket)))


@given(
    context=st.builds(
        Context,
        client_id=st.one_of(st.none(), strategies.client_id(), strategies.client_id().map(str.upper), text),
        search_hub=st.one_of(st.none(), text),
        language=st.one_of(st.none(), strategies.language(), text),
        anonymous=st.one_of(st.booleans(), odd),
        username=st.one_of(st.none(), text),
        tracking_id=st.one_of(st.none(), text),
        user_agent=st.one_of(st.none(), text),
    )
)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_a_context_comes_out_as_the_gate_makes_it(context: Context) -> None:
    assert outcome(lambda: checked_context(context)) == outcome(lambda: checked_context(members_of(context)))


@pytest.mark.parametrize("value", ["", 0, False, 0.0, [], {}, b"", (), "x", "x" * 129, "a\n", CLIENT_ID, "en", True])
@pytest.mark.parametrize("member", Context.__struct_fields__)
def test_no_member_of_a_context_gets_past_the_gate(member: str, value: Any) -> None:
    context = Context(**{member: value})
    assert outcome(lambda: checked_context(context)) == outcome(lambda: checked_context(members_of(context)))


@pytest.mark.parametrize("value", ["", 0, False, 0.0, [], {}, b"", (), "x", "x" * 70_000, "a\n", True])
@pytest.mark.parametrize("member", Ticket.__struct_fields__)
def test_no_member_of_a_ticket_gets_past_the_gate(member: str, value: Any) -> None:
    ticket = Ticket(**{member: value})
    assert outcome(lambda: checked_ticket(ticket)) == outcome(lambda: checked_ticket(members_of(ticket)))


def test_the_ticket_of_a_session_does_not_change_with_what_was_handed_in() -> None:
    custom = {"a": 1}
    ticket = checked_ticket(Ticket(custom=custom))
    custom["a"] = 2
    assert ticket == Ticket(custom={"a": 1})


ANSWERS = [
    pytest.param(read_classifications, CLASSIFICATIONS, id="classifications"),
    pytest.param(read_documents, DOCUMENTS, id="documents"),
]
Read = Callable[[Any], ClassificationsOffered | DocumentsOffered]


@pytest.mark.parametrize(("read", "answer"), ANSWERS)
def test_an_answer_is_the_same_offer_in_every_form(read: Read, answer: dict[str, Any]) -> None:
    encoded = msgspec.json.encode(answer)
    offer = read(answer)
    assert read(encoded) == offer == read(encoded.decode())
    assert read(msgspec.json.encode({**answer, "more": "x" * 70_000})) == offer


def with_odd_members(answer: Any) -> st.SearchStrategy[Any]:
    """The answer with any of its members replaced."""
    if isinstance(answer, dict):
        return st.one_of(
            st.fixed_dictionaries({name: with_odd_members(member) for name, member in answer.items()}),
            st.sampled_from([None, "x", {}]),
        )
    if isinstance(answer, list):
        return st.one_of(st.tuples(*map(with_odd_members, answer)).map(list), st.just(answer * 2))
    return st.one_of(st.just(answer), st.sampled_from([odd for odd in ODD if not isinstance(odd, bytes | UUID)]))


@pytest.mark.parametrize(("read", "answer"), ANSWERS)
@given(data=st.data())
@settings(deadline=None, max_examples=200, derandomize=True)
def test_a_bad_answer_is_refused_in_the_same_words_in_every_form(
    read: Read, answer: dict[str, Any], data: st.DataObject
) -> None:
    changed = data.draw(with_odd_members(answer).filter(lambda changed: isinstance(changed, dict)))
    try:
        encoded = msgspec.json.encode(changed)
        decoded = msgspec.json.decode(encoded)  # a NaN is null there
    except (UnicodeError, msgspec.MsgspecError, OverflowError):
        return
    assert outcome(lambda: read(encoded)) == outcome(lambda: read(decoded))


@pytest.mark.parametrize(("read", "answer"), ANSWERS)
def test_an_offer_that_was_read_is_not_read_again(read: Read, answer: dict[str, Any]) -> None:
    offer = read(answer)
    assert read(offer) is offer


@pytest.mark.parametrize(("read", "answer"), ANSWERS)
def test_an_offer_that_was_read_and_given_another_response_is_held_against_the_rules(
    read: Read, answer: dict[str, Any]
) -> None:
    offer = msgspec.structs.replace(read(answer), response_id="a\n")
    with pytest.raises(InvalidAction, match=r"\$\.response\.responseId"):
        read(offer)


def test_an_offer_made_by_hand_is_held_against_the_rules() -> None:
    documents = read_documents(DOCUMENTS).documents
    changed = msgspec.structs.replace(documents[0], suggestion_id="a\n")
    with pytest.raises(InvalidAction, match=r"documents\[0\]\.suggestionId"):
        read_documents(DocumentsOffered(response_id="r", documents=(changed,)))


def test_an_offer_that_says_a_thing_twice_is_not_taken_for_checked() -> None:
    twice = DOCUMENTS | {"documents": DOCUMENTS["documents"] * 2}
    offer = read_documents(twice)
    assert type(offer.documents) is not Checked
    with pytest.raises(InvalidAction, match="contradicts"):
        session_in("filling").offer_documents(offer, at=NOW)


@pytest.mark.parametrize(("read", "answer"), ANSWERS)
def test_an_empty_offer_is_written_as_one_made_by_hand(read: Read, answer: dict[str, Any]) -> None:
    empty = {name: type(member)() if name in ("fields", "documents") else member for name, member in answer.items()}
    offer = read(empty)
    assert msgspec.json.encode(offer) == msgspec.json.encode(type(offer)(response_id=offer.response_id))


def test_a_record_with_a_checked_offer_is_written_like_any_other() -> None:
    (record,) = session_in("filling").offer_documents(DOCUMENTS, at=NOW)
    offer = record.event
    assert isinstance(offer, DocumentsOffered)
    by_hand = msgspec.structs.replace(offer, documents=(*offer.documents,))
    assert offer == by_hand
    assert encode(record) == encode(msgspec.structs.replace(record, event=by_hand))


CALLS: dict[str, Callable[[Session, Any], Any]] = {
    "update_field, name": lambda session, value: session.update_field(value, "x", at=NOW),
    "update_field, subject": lambda session, value: session.update_field("subject", value, at=NOW),
    "update_field, custom": lambda session, value: session.update_field("size", value, at=NOW),
    "select_classification": lambda session, value: session.select_classification(value, at=NOW),
    "select_classification, response": lambda session, value: session.select_classification(
        "c1", response_id=value, at=NOW
    ),
    "open_document": lambda session, value: session.open_document(value, at=NOW),
    "rate_document": lambda session, value: session.rate_document("d1", value, at=NOW),
    "next_stage": lambda session, value: session.next_stage(value, at=NOW),
    "create": lambda session, value: session.create(value, at=NOW),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{type(value).__name__} {str(value)[:9]!a}")
def test_what_an_action_is_given_is_refused_or_can_be_written(call: str, value: Any) -> None:
    session = session_in("suggested")
    try:
        records = CALLS[call](session, value)
    except (InvalidAction, UnknownSuggestion):
        return
    for record in records:
        assert Session.fold([record], session).next_seq == session.next_seq + 1
        again = msgspec.json.decode(encode(record), type=type(record))
        assert again == record
        assert is_clean(again)


def test_a_session_id_that_breaks_the_rules_is_refused() -> None:
    for session_id in ("", "a\n", "x" * 1025, 5):
        with pytest.raises(InvalidAction, match=r"\$\.session"):
            Session(id=session_id).start(None, {"clientId": CLIENT_ID}, at=NOW)  # type: ignore[arg-type]


def test_a_time_of_another_zone_is_told_in_utc() -> None:
    (record,) = session_in("started").next_stage(at=datetime.fromisoformat("2026-11-20T13:00:00+01:00"))
    assert record.time == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert record.time.tzinfo is UTC


class Parts(msgspec.Struct):
    one: Holder
    other: Holder | None = None


def test_a_part_that_is_not_there_is_not_looked_at() -> None:
    good, bad = Holder(id="a", text=""), Holder(id="a\n", text="\n")
    assert is_clean(Parts(one=good))
    assert is_clean(Parts(one=good, other=good))
    assert not is_clean(Parts(one=good, other=bad))
    assert not is_clean(Parts(one=bad))


def test_where_an_identifier_is_not_clean_is_told() -> None:
    data = {"responseId": "r", "documents": [{"suggestionId": "a\x7f", "suggestion": {
        "documentTitle": "t", "documentUrl": "u", "documentPosition": 1, "sourceName": "s"}}]}  # fmt: skip
    with pytest.raises(InvalidAction) as caught:
        gate.convert(DocumentsOffered, data, path="$.response", rules="CD")
    assert caught.value.path == "$.response.documents[0].suggestionId"
    assert caught.value.rule == "CD-004"
    assert "control characters among them" in str(caught.value)
