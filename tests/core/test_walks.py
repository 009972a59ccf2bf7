"""Sessions that walk at random, through every action, with good and bad arguments, in and out of order."""

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests import strategies
from tests.core.life_cycle import ACTIONS, ARGUMENTS, CLICK, CUSTOM, EVENTS, EXPECTED, NOW, act, session_in

from caseassist.core.errors import ActionError, IllegalTransition
from caseassist.core.events import (
    ClassificationsOffered,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    OfferedClassification,
    SuggestionRate,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketNextStage,
    TurnTaken,
)
from caseassist.core.offers import offered_items
from caseassist.core.records import Record, decode, encode
from caseassist.core.session import Session
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.requests import WireFormat

WIRE = WireFormat(endpoint=Endpoint.for_organization("myorg"))
NEW = Session(id="walk")

# Few ids, so that they meet.
IDS = st.sampled_from(["s1", "s2", "s3"])
RESPONSES = st.sampled_from(["r1", "r2", "r3"])
NAMES = st.sampled_from(["subject", "description", "category", "productId", "urgency", "id", ""])
VALUES = strategies.text() | st.none() | st.integers() | st.just("\ud800") | strategies.json_value()
WHOLE_CLASSIFICATION = st.fixed_dictionaries(
    {"value": st.sampled_from(["High", "Low", ""]), "confidence": st.sampled_from([0.5, 1, 1.5])}
)
WHOLE_DOCUMENT = st.fixed_dictionaries(
    {
        "documentTitle": st.sampled_from(["One", "Two", ""]),
        "documentUrl": st.just("u"),
        "documentPosition": st.integers(0, 3),
        "sourceName": st.just("S"),
    }
)
ACTIVE = ("started", "filling", "suggested")

accepted: Counter[str] = Counter()
"""How often each action was accepted in all walks."""


class Walk(RuleBasedStateMachine):
    session: Session
    log: list[Record]
    length: int
    """From how many records on the session may end."""

    # Most sessions start at once and do not end too soon: otherwise most walks would be refusals from end to end.
    @initialize(
        begun=st.integers(0, 9),
        ticket=strategies.ticket(),
        context=strategies.context(full=True),
        length=st.integers(2, 20),
    )
    def begin(self, begun: int, ticket: Any, context: Any, length: int) -> None:
        self.session, self.log, self.length = NEW, [], length
        if begun:
            self.act("start", ticket, context)

    def act(self, action: str, *args: Any, **options: Any) -> None:
        before = self.session
        written = msgspec.json.encode([before.ticket, before.context, before.offers, before.memory])
        at = NOW + timedelta(seconds=len(self.log) % 7)  # back and forth
        try:
            records = getattr(before, action)(*args, at=at, **options)
        except ActionError as error:
            wrong_moment = isinstance(error, IllegalTransition)
            named = error.rule or error.path or wrong_moment
        else:
            self.accept(action, before, records)
            return
        assert named
        assert not (wrong_moment and action in EXPECTED[before.state])
        assert self.session is before
        assert msgspec.json.encode([before.ticket, before.context, before.offers, before.memory]) == written

    def accept(self, action: str, before: Session, records: tuple[Record, ...]) -> None:
        accepted[action] += 1
        *offers, record = records
        assert isinstance(record.event, EVENTS[action][0])
        state = before.state
        if offers:  # a whole suggestion was offered first, which makes taking it possible
            assert state in ACTIVE
            assert len(offers) == 1
            assert len(offered_items(offers[0].event)) == 1  # type: ignore[arg-type]
            state = "suggested"
        expected = EXPECTED[state][action]
        if isinstance(record.event, ClassificationsOffered | DocumentsOffered) and not offered_items(record.event):
            expected = state
        self.session = Session.fold(records, before)
        self.log += records
        assert self.session.state == expected

    def offered(self, data: st.DataObject, cls: type) -> tuple[str, str | None]:
        """The ids of a suggestion: of one that was offered, if there is one and chance wants it."""
        known = [
            (item.classification_id if isinstance(item, OfferedClassification) else item.suggestion_id, response)
            for offer in self.session.offers
            if isinstance(offer, cls)
            for item in offered_items(offer)
            for response in (offer.response_id, None)
        ]
        some = st.tuples(IDS, st.none() | RESPONSES)
        return data.draw(st.sampled_from(known) | some if known else some)

    @rule(ticket=strategies.ticket(with_id=True), context=strategies.context())
    @precondition(lambda self: self.session.state == "new" or len(self.log) % 5 == 4)
    def start(self, ticket: Any, context: Any) -> None:
        self.act("start", ticket, context)

    @rule(name=NAMES, value=VALUES)
    def update_field(self, name: str, value: Any) -> None:
        self.act("update_field", name, value)

    @rule(answer=strategies.classifications_answer(IDS, RESPONSES))
    def offer_classifications(self, answer: Any) -> None:
        self.act("offer_classifications", answer)

    @rule(answer=strategies.documents_answer(IDS, RESPONSES))
    def offer_documents(self, answer: Any) -> None:
        self.act("offer_documents", answer)

    @rule(data=st.data(), auto=st.sampled_from([True, False, "true"]))
    def select_classification(self, data: st.DataObject, auto: Any) -> None:
        item, response = self.offered(data, ClassificationsOffered)
        self.act("select_classification", item, response_id=response, auto_selection=auto)

    @rule(item=IDS, response=st.none() | RESPONSES, name=NAMES, whole=WHOLE_CLASSIFICATION)
    def select_whole_classification(self, item: str, response: str | None, name: str, whole: Any) -> None:
        self.act("select_classification", item, response_id=response, field_name=name, classification=whole)

    @rule(data=st.data(), quick=st.booleans())
    def view_document(self, data: st.DataObject, quick: bool) -> None:
        item, response = self.offered(data, DocumentsOffered)
        self.act("quickview_document" if quick else "open_document", item, response_id=response)

    @rule(quick=st.booleans(), item=IDS, response=st.none() | RESPONSES, whole=WHOLE_DOCUMENT)
    def view_whole_document(self, quick: bool, item: str, response: str | None, whole: Any) -> None:
        self.act("quickview_document" if quick else "open_document", item, response_id=response, suggestion=whole)

    @rule(data=st.data(), rate=st.sampled_from([0, 0.75, 1, 1.5, "1"]))
    def rate_document(self, data: st.DataObject, rate: Any) -> None:
        item, response = self.offered(data, DocumentsOffered)
        self.act("rate_document", item, rate, response_id=response)

    @rule(item=IDS, response=RESPONSES, rate=st.floats(0, 1), whole=WHOLE_DOCUMENT)
    def rate_whole_document(self, item: str, response: str, rate: float, whole: Any) -> None:
        self.act("rate_document", item, rate, response_id=response, suggestion=whole)

    @rule(stage=st.none() | strategies.identifier() | st.just(""))
    def next_stage(self, stage: str | None) -> None:
        self.act("next_stage", stage)

    @rule(data=st.none() | st.dictionaries(strategies.text(5), strategies.json_value(), max_size=2))
    def log_click(self, data: Any) -> None:
        self.act("log_click", CLICK | ({} if data is None else {"customData": data}))

    @rule(data=st.none() | st.dictionaries(strategies.text(5), strategies.json_value(), max_size=2))
    def log_custom(self, data: Any) -> None:
        self.act("log_custom", CUSTOM | ({} if data is None else {"customData": data}))

    @rule(
        message=st.none() | st.sampled_from(["m1", "m2", "m3", "m4", ""]) | strategies.identifier(),
        memory=st.none() | st.dictionaries(strategies.text(5), strategies.json_value(), max_size=2),
    )
    def take_turn(self, message: str | None, memory: Any) -> None:
        self.act("take_turn", message, memory)

    @rule(action=st.sampled_from(ACTIONS))
    def log_custom_that_claims_to_be_an_action(self, action: str) -> None:
        self.act("log_custom", {"eventType": "caseassist", "eventValue": action})

    def may_end(self) -> bool:
        return self.session.state not in ACTIVE or len(self.log) >= self.length

    @rule(ticket_id=st.just("5003000000D8cuI") | strategies.identifier() | st.just(""))
    @precondition(may_end)
    def create(self, ticket_id: str) -> None:
        self.act("create", ticket_id)

    @rule()
    @precondition(may_end)
    def solve(self) -> None:
        self.act("solve")

    @rule(cause=st.sampled_from(["user", "unload", "timeout", "boredom"]))
    @precondition(may_end)
    def quit(self, cause: str) -> None:
        self.act("quit", cause)

    @rule(idle_s=st.sampled_from([0, 60]))
    @precondition(may_end)
    def expire(self, idle_s: int) -> None:
        records = self.session.expire(NOW + timedelta(seconds=30), idle_s=idle_s)
        if records:
            self.accept("quit", self.session, records)

    @invariant()
    def the_log_is_that_of_one_session(self) -> None:
        log = self.log
        events = [record.event for record in log]
        assert [record.seq for record in log] == list(range(len(log)))
        assert [place for place, event in enumerate(events) if isinstance(event, TicketCreateStart)] == [0] * bool(log)
        ends = [place for place, event in enumerate(events) if isinstance(event, TicketCreate | TicketCancel)]
        assert ends in ([], [len(log) - 1])
        assert bool(ends) == (self.session.state in ("created", "solved", "quit"))
        assert [record.ticket.id is not None for record in log] == [isinstance(event, TicketCreate) for event in events]
        assert all(record.context == self.session.context and record.session_id == "walk" for record in log)
        assert self.session.stage == sum(isinstance(event, TicketNextStage) for event in events)
        assert self.session.next_seq == len(log)
        turns = [event for event in events if isinstance(event, TurnTaken)]
        heard = [turn.message_id for turn in turns if turn.message_id is not None]
        assert list(self.session.message_ids) == heard
        assert len(set(heard)) == len(heard)
        memories = [turn.memory for turn in turns if turn.memory is not None]
        assert self.session.memory == (memories[-1] if memories else None)

    @invariant()
    def what_is_taken_was_offered(self) -> None:
        values: dict[tuple[str, str], Any] = {}
        documents: dict[tuple[str, str], Any] = {}
        for record in self.log:
            match record.event:
                case ClassificationsOffered() as offer:
                    for item in offer.classifications:
                        key = (offer.response_id, item.classification_id)
                        assert values.setdefault(key, item) == item
                case DocumentsOffered() as offer:
                    for shown in offer.documents:
                        key = (offer.response_id, shown.suggestion_id)
                        assert documents.setdefault(key, shown.suggestion) == shown.suggestion
                case TicketClassificationClick() as event:
                    item = values[event.response_id, event.classification_id]
                    assert (event.field_name, event.classification) == (item.field_name, item.classification)
                case DocumentSuggestionClick() | DocumentSuggestionQuickview() as event:
                    assert event.suggestion == documents[event.response_id, event.suggestion_id]
                case SuggestionRate() as event:
                    shown = documents[event.response_id, event.suggestion_id]
                    for name in ("document_title", "document_url", "document_position", "document_uri_hash"):
                        assert getattr(event.suggestion, name) == getattr(shown, name)
                case _:
                    pass

    def teardown(self) -> None:
        log = self.log
        lines = [encode(record) for record in log]
        read = [decode(line) for line in lines]
        assert read == log
        assert [encode(record) for record in read] == lines
        assert [WIRE.request(record, "token") for record in read] == [WIRE.request(record, "token") for record in log]
        whole = Session.fold(read, NEW)
        assert whole == self.session
        half = NEW
        for split, record in enumerate(log):
            assert Session.fold(log[split:], half) == whole
            half = half.apply(record)


Walk.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class TestWalk(Walk.TestCase):  # type: ignore[misc,valid-type]
    def runTest(self) -> None:  # noqa: N802 (unittest's)
        accepted.clear()
        super().runTest()
        # A walk that gets nowhere proves nothing.
        assert all(accepted[action] >= 5 for action in ACTIONS), accepted


def test_the_invariants_hold_for_a_session_that_is_not_random() -> None:
    walk = Walk()
    walk.session, walk.log, walk.length = session_in("new", NEW), [], 0
    for action in ("start", "offer_classifications", "offer_documents", "select_classification", "create", "solve"):
        walk.act(action, *ARGUMENTS[action])
        walk.the_log_is_that_of_one_session()
        walk.what_is_taken_was_offered()
    assert walk.session == act(session_in("suggested", NEW), "select_classification", "c1").apply(walk.log[-1])
    walk.teardown()
