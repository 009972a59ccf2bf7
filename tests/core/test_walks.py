"""Sessions that walk at random, through every action, with good and bad arguments, in and out of order."""

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests import strategies
from tests.core.life_cycle import CLICK, CUSTOM, EXPECTED, NOW

from caseassist.core.errors import ActionError, IllegalTransition
from caseassist.core.events import (
    ClassificationsOffered,
    Context,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    SuggestionRate,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
)
from caseassist.core.records import Record, decode, encode
from caseassist.core.session import Session
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.requests import WireFormat

WIRE = WireFormat(endpoint=Endpoint.for_organization("myorg"))

# Few ids, so that they meet.
IDS = st.sampled_from(["c1", "c2", "d1", "d2", "d3", "nobody"])
RESPONSES = st.sampled_from(["r1", "r2", "r3"])
FIELDS = st.sampled_from(["subject", "category", "productId", "urgency", "id", ""])
VALUES = strategies.text() | st.none() | st.integers() | st.just("\ud800")
VIEWS = st.sampled_from(["open_document", "quickview_document"])
WHOLE_CLASSIFICATION = st.fixed_dictionaries({"value": strategies.text(), "confidence": st.floats(-0.5, 1.5)})
WHOLE_DOCUMENT = st.fixed_dictionaries(
    {
        "documentTitle": st.sampled_from(["One", "Two", ""]),
        "documentUrl": st.just("u"),
        "documentPosition": st.integers(0, 2),
        "sourceName": st.just("S"),
    }
)


class Walk(RuleBasedStateMachine):
    session: Session
    log: list[Record]

    @initialize()
    def begin(self) -> None:
        self.session = Session(id="walk")
        self.log = []

    def act(self, action: str, *args: Any, **options: Any) -> None:
        before = self.session
        allowed = action in EXPECTED[before.state]
        at = NOW + timedelta(seconds=len(self.log))
        try:
            records = getattr(before, action)(*args, at=at, **options)
        except ActionError as error:
            assert isinstance(error, IllegalTransition) <= (not allowed)  # noqa: PT017
            assert self.session == before == Session.fold(self.log, Session(id="walk"))
            return
        assert 1 <= len(records) <= 2
        for record in records:
            self.session = self.session.apply(record)
        self.log += records
        if len(records) == 2:  # a whole suggestion was offered first, which makes taking it possible
            assert self.session.state == "suggested"
        else:
            empty = (
                records[0].event
                in (
                    ClassificationsOffered(response_id=args[0]["responseId"]),
                    DocumentsOffered(response_id=args[0]["responseId"]),
                )
                if action.startswith("offer_")
                else False
            )
            assert self.session.state == (before.state if empty else EXPECTED[before.state][action])

    @rule(ticket=strategies.ticket(), context=strategies.context(full=True))
    def start(self, ticket: Any, context: Context) -> None:
        self.act("start", ticket, context)

    @rule(name=FIELDS, value=VALUES)
    def update_field(self, name: str, value: Any) -> None:
        self.act("update_field", name, value)

    @rule(answer=strategies.classifications_answer(IDS, RESPONSES))
    def offer_classifications(self, answer: Any) -> None:
        self.act("offer_classifications", answer)

    @rule(answer=strategies.documents_answer(IDS, RESPONSES))
    def offer_documents(self, answer: Any) -> None:
        self.act("offer_documents", answer)

    @rule(item=IDS, response=st.none() | RESPONSES, auto=st.booleans() | st.just("true"))
    def select_classification(self, item: str, response: str | None, auto: Any) -> None:
        self.act("select_classification", item, response_id=response, auto_selection=auto)

    @rule(item=IDS, response=RESPONSES, whole=WHOLE_CLASSIFICATION)
    def select_whole_classification(self, item: str, response: str, whole: Any) -> None:
        self.act("select_classification", item, response_id=response, field_name="category", classification=whole)

    @rule(action=VIEWS, item=IDS, response=st.none() | RESPONSES)
    def view_document(self, action: str, item: str, response: str | None) -> None:
        self.act(action, item, response_id=response)

    @rule(action=VIEWS, item=IDS, response=RESPONSES, whole=WHOLE_DOCUMENT)
    def view_whole_document(self, action: str, item: str, response: str, whole: Any) -> None:
        self.act(action, item, response_id=response, suggestion=whole)

    @rule(item=IDS, rate=st.floats(-0.2, 1.2), response=st.none() | RESPONSES, whole=st.none() | WHOLE_DOCUMENT)
    def rate_document(self, item: str, rate: float, response: str | None, whole: Any) -> None:
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

    @rule(ticket_id=strategies.identifier() | st.just(""))
    def create(self, ticket_id: str) -> None:
        self.act("create", ticket_id)

    @rule()
    def solve(self) -> None:
        self.act("solve")

    @rule(cause=st.sampled_from(["user", "unload", "timeout", "boredom"]))
    def quit(self, cause: str) -> None:
        self.act("quit", cause)

    @invariant()
    def the_log_is_a_session(self) -> None:
        log = self.log
        events = [record.event for record in log]
        assert [record.seq for record in log] == list(range(len(log)))
        assert all(isinstance(event, TicketCreateStart) == (place == 0) for place, event in enumerate(events))
        ends = [place for place, event in enumerate(events) if isinstance(event, TicketCreate | TicketCancel)]
        assert ends in ([], [len(log) - 1])
        for record in log:
            assert (record.ticket.id is not None) == isinstance(record.event, TicketCreate)
        self.check_references()

    def check_references(self) -> None:
        offered: set[tuple[str, str, Any]] = set()
        for record in self.log:
            match record.event:
                case ClassificationsOffered(response_id=response, classifications=items):
                    offered |= {(response, item.classification_id, item.classification) for item in items}
                case DocumentsOffered(response_id=response, documents=documents):
                    offered |= {(response, item.suggestion_id, item.suggestion) for item in documents}
                case TicketClassificationClick() as event:
                    assert (event.response_id, event.classification_id, event.classification) in offered
                case DocumentSuggestionClick() | DocumentSuggestionQuickview() as event:
                    assert (event.response_id, event.suggestion_id, event.suggestion) in offered
                case SuggestionRate() as event:
                    assert (event.response_id, event.suggestion_id) in {(r, i) for r, i, _ in offered}
                case _:
                    pass

    def teardown(self) -> None:
        log = getattr(self, "log", [])
        read = [decode(encode(record)) for record in log]
        assert read == log
        assert [WIRE.request(record, "t") for record in read] == [WIRE.request(record, "t") for record in log]
        for split in range(1, len(log) + 1):
            half = Session.fold(log[:split])
            assert Session.fold(log[split:], half) == Session.fold(log) == self.session


Walk.TestCase.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestWalk = Walk.TestCase
