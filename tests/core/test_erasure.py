"""What stays of a record when the person in it is forgotten."""

import msgspec
import pytest
from tests.core.life_cycle import records_of

from caseassist.core.erasure import erased, is_erased
from caseassist.core.events import Context, CustomEvent, Ticket, TurnTaken
from caseassist.core.records import KeptRecord, Record, decode, encode
from caseassist.core.session import Session

CANARY = "CANARY"

WHOLE = Context(
    client_id="489aa3e3-aed2-4563-8e81-62bb73178a56",
    search_hub="hub",
    language="en",
    origin_context="CaseAssist",
    origin_level2="tab",
    origin_level3=f"https://{CANARY}.example",
    user_agent=CANARY,
    username=CANARY,
    user_display_name=CANARY,
    tracking_id=CANARY,
    location=CANARY,
    referrer=CANARY,
    title=CANARY,
    screen_resolution=CANARY,
    screen_color=CANARY,
)
TICKET = Ticket(id=CANARY, subject=CANARY, description=CANARY, category=CANARY, product_id=CANARY, custom={"a": CANARY})
ACTIONS = (
    "start", "update_field", "offer_classifications", "select_classification", "offer_documents", "open_document",
    "quickview_document", "rate_document", "next_stage", "log_click", "log_custom", "take_turn", "create",
)  # fmt: skip
RECORDS = [msgspec.structs.replace(record, context=WHOLE, ticket=TICKET) for record in records_of(*ACTIONS)]


def test_a_whole_context_was_erased() -> None:
    assert all(value for name, value in msgspec.structs.asdict(WHOLE).items() if name != "anonymous")


@pytest.mark.parametrize("record", RECORDS, ids=ACTIONS)
def test_nothing_of_the_person_stays_and_the_record_keeps_its_place(record: Record) -> None:
    rest = erased(record)
    assert CANARY in encode(record).decode()
    line = encode(rest).decode()
    assert CANARY not in line
    assert "489aa3e3" not in line
    assert (rest.session_id, rest.seq, rest.time) == (record.session_id, record.seq, record.time)
    assert type(rest.event) is type(record.event)
    assert (is_erased(record), is_erased(rest)) == (False, True)
    assert decode(encode(rest)) == rest
    assert erased(rest) == rest


def test_an_erased_session_still_folds() -> None:
    whole, rest = Session.fold(RECORDS), Session.fold(map(erased, RECORDS))
    assert (rest.state, rest.stage, rest.offers) == (whole.state, whole.stage, whole.offers)
    assert rest.ticket == Ticket()


def test_what_a_custom_event_says_is_gone_unless_it_is_an_action_of_ones_own() -> None:
    (record,) = [record for record in RECORDS if isinstance(record.event, CustomEvent)]
    for kind, value in (("chat", "erased"), ("caseassist", "escalate")):
        event = CustomEvent(event_type=kind, event_value="escalate", custom_data={"a": CANARY}, username=CANARY)
        rest = erased(msgspec.structs.replace(record, event=event))
        assert rest.event == CustomEvent(event_type=kind, event_value=value)


def test_of_a_turn_it_stays_only_that_there_was_one() -> None:
    (record,) = [record for record in RECORDS if isinstance(record.event, TurnTaken)]
    rest = erased(msgspec.structs.replace(record, event=TurnTaken(message_id=CANARY, memory={"step": CANARY})))
    assert rest.event == TurnTaken()
    assert b'"event":{"action":"turn_taken"}' in encode(rest)
    session = Session.fold(map(erased, RECORDS))
    assert (session.message_ids, session.memory) == ((), None)


@pytest.mark.parametrize(
    ("member", "event"),
    [
        (b'"v":1', b'"v":99'),
        (b'"ticket":{', b'"extra":"CANARY","ticket":{"extra":"CANARY",'),
        (b'"action":"ticket_next_stage"', b'"action":"ticket_next_stage","extra":"CANARY"'),
        (b'"action":"ticket_next_stage"', b'"extra":"CANARY","action":"ticket_reopen"'),
    ],
)
def test_of_a_record_of_a_newer_version_what_is_not_known_goes_too(member: bytes, event: bytes) -> None:
    (record,) = [record for record in RECORDS if b"ticket_next_stage" in encode(record)]
    kept = decode(encode(record).replace(member, event))
    assert isinstance(kept, KeptRecord)
    rest = erased(kept)
    assert CANARY not in encode(rest).decode()
    assert (rest.session_id, rest.seq, rest.v, rest.event) == (kept.session_id, kept.seq, kept.v, kept.event)
    assert is_erased(rest)
