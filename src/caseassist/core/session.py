"""A session: the value that its records fold to, and the place where actions are decided.

A session is never changed. A method named after an action decides and returns the records that the action makes (one,
or two where a suggestion is offered and taken at once), or raises an error and has done nothing;
:meth:`Session.apply` gives the session as of after a record. There is no clock and no I/O here: the time comes in as
``at``.

    >>> session = Session(id="a1")
    >>> for record in session.start(context=Context(client_id=client_id_from("jo", "bot")), at=now):
    ...     session = session.apply(record)
    >>> session.state
    'started'
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta
from msgspec.structs import astuple, replace

from caseassist.core import fields, gate
from caseassist.core.checked import check_anonymous, checked_context, checked_ticket, with_field
from caseassist.core.errors import (
    CorruptRecord,
    IllegalTransition,
    InvalidAction,
    RepeatedMessage,
    UnknownSuggestion,
    UnsupportedRecord,
)
from caseassist.core.events import (
    AnyEvent,
    Classification,
    ClassificationsOffered,
    ClickEvent,
    Context,
    CustomEvent,
    Document,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    Event,
    OfferedClassification,
    OfferedDocument,
    SuggestionRate,
    Ticket,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketFieldUpdate,
    TicketNextStage,
    TurnTaken,
    UnknownEvent,
    WebEvent,
)
from caseassist.core.fields import MAX_ID
from caseassist.core.gate import is_id, members_of
from caseassist.core.machine import ACTIVE, ENDS, LIFE_CYCLE, NEW, PLAN, TABLE, LifeCycle
from caseassist.core.offers import (
    Offer,
    Offers,
    add_offer,
    as_rated,
    check_taken,
    find_classification,
    find_document,
    is_offered,
    offered_items,
)
from caseassist.core.records import Record
from caseassist.core.suggestions import Answer, read_classifications, read_documents

__all__ = ["IDLE_S", "OWN_ACTION", "Session", "action_of"]

IDLE_S = 30 * 60
"""Seconds without an action after which a session counts as left: the length of a visit in Coveo's analytics."""

OWN_ACTION = "caseassist"
"""``event_type`` of the custom events that record a user's own actions of the machine."""

MAX_MESSAGES = 256
"""So many of the latest messages are known by their ids: a platform delivers one again within minutes."""

_ACTIONS = {row.event: row.action for row in TABLE if row.event not in (TicketCancel, CustomEvent)}
"""Of the events that tell their action by their type alone."""
_NEXT: Mapping[str, Mapping[type, str]] = {
    state: {event: plan[action] for event, action in _ACTIONS.items() if action in plan} for state, plan in PLAN.items()
}
"""The same as the plan, by events that lead to one state whatever is in them."""
_NOWHERE: Mapping[Any, str] = {}
_TAKING = frozenset((TicketClassificationClick, DocumentSuggestionClick, DocumentSuggestionQuickview, SuggestionRate))
_OWN_EVENTS = {row.action for row in TABLE if row.event is not CustomEvent}

Records = tuple[Record, ...]


class Session(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt to get a support case solved or opened, as of after its latest record."""

    id: str
    state: str = NEW
    next_seq: int = 0
    """Sequence number of the record to come: how many there are."""
    stage: int = 0
    """How often the person moved on to the next stage."""
    ticket: Ticket = Ticket()
    context: Context = Context()
    offers: Offers = ()
    """What was offered, oldest first."""
    message_ids: tuple[str, ...] = ()
    """The messages that had their turn, oldest first: the latest 256."""
    memory: Mapping[str, Any] | None = None
    """What the latest turn left for the next one."""
    started_at: datetime | None = None
    last_at: datetime | None = None
    """Time of the latest record."""
    life_cycle: LifeCycle = LIFE_CYCLE
    """The machine that rules over this session; see :class:`LifeCycle` for how to extend it."""

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.state}, {self.next_seq} records>"

    @classmethod
    def fold(cls, records: Iterable[Record], session: "Session | None" = None) -> "Session":
        """Return the session that records make, oldest first, from the beginning or on top of ``session``.

        Raises CorruptRecord when a record does not follow from those before it, UnsupportedRecord when it holds an
        event that this version does not know, and ValueError when there is neither a record nor a session.
        """
        for record in records:
            session = (session or cls(id=record.session_id)).apply(record)
        if session is None:
            raise ValueError("no records: there is no session without its first record")
        return session

    @property
    def active(self) -> bool:
        """Whether the session was started and has not ended: something can still happen."""
        if self.state in ACTIVE or self.state in ENDS or self.state == NEW:
            return self.state in ACTIVE
        return bool(self.life_cycle.allowed(self.state))

    def apply(self, record: Record) -> "Session":
        """Return the session as of after ``record``. Raises as :meth:`fold` does."""
        event = record.event
        kind = type(event)  # not isinstance(): of a Struct, it asks the abstract classes, for five times as long
        if record.session_id != self.id or record.seq != self.next_seq:
            raise CorruptRecord(f"expected record {self.next_seq} of session {self.id!r}", where=_where(record))
        if type(event) is UnknownEvent:
            raise UnsupportedRecord(f"the event {event.name!r}", where=_where(record))
        offers, message_ids, memory = self.offers, self.message_ids, self.memory
        state = _NEXT.get(self.state, _NOWHERE).get(kind) if self.life_cycle is LIFE_CYCLE else None
        try:
            if state is None:
                state = self._destination(event)
            if type(event) is DocumentsOffered or type(event) is ClassificationsOffered:
                offers = add_offer(offers, event)
                state = state if offered_items(event) else self.state
            elif kind in _TAKING:
                check_taken(offers, event)
        except (IllegalTransition, InvalidAction, UnknownSuggestion) as error:
            raise CorruptRecord(str(error), where=_where(record)) from None
        if type(event) is TurnTaken:
            memory = memory if event.memory is None else event.memory
            if event.message_id is not None:
                message_ids = (*message_ids[1 - MAX_MESSAGES :], event.message_id)
        return Session(
            id=self.id,
            state=state,
            next_seq=record.seq + 1,
            stage=self.stage + 1 if kind is TicketNextStage else self.stage,
            ticket=record.ticket,
            context=record.context,
            offers=offers,
            message_ids=message_ids,
            memory=memory,
            started_at=self.started_at or record.time,
            last_at=record.time,
            life_cycle=self.life_cycle,
        )

    # The actions, in the order of the table. Each returns records and changes nothing.

    def start(
        self,
        ticket: Ticket | Mapping[str, Any] | None = None,
        context: Context | Mapping[str, Any] | None = None,
        *,
        at: datetime,
    ) -> Records:
        """The person enters. ``context`` must hold a client id; ``ticket`` is what is already known."""
        self._require("start")
        if not is_id(self.id, MAX_ID):
            gate.build(_SessionId, {"session": self.id})
        ticket = checked_ticket(ticket)
        if ticket.id is not None:
            problem = "only `create` gives a ticket its id"
            raise InvalidAction(problem, path="$.ticket.id", rule="CC-003")
        context = checked_context(context)
        if context.client_id is None:
            raise InvalidAction("is required: a UUID", path="$.context.clientId", rule="CA-013")
        if context.origin_context is None or context.origin_level2 is None:
            context = replace(
                context,
                origin_context="CaseAssist" if context.origin_context is None else context.origin_context,
                origin_level2="default" if context.origin_level2 is None else context.origin_level2,
            )
        return (self._record(TicketCreateStart(), at, ticket, context),)

    def update_field(self, field_name: str, value: Any, *, at: datetime) -> Records:
        """The person fills a field, or clears it with ``""`` or None.

        ``field_name``: ``subject``, ``description``, ``category``, ``productId``, or the name of a custom field.
        ``value``: text; any JSON value for a custom field.
        """
        self._require("update_field")
        if is_id(field_name, MAX_ID):
            event = TicketFieldUpdate(field_name=field_name)
        else:
            event = gate.build(TicketFieldUpdate, {"fieldName": field_name}, rules="CA")
        return (self._record(event, at, with_field(self.ticket, event.field_name, value)),)

    def offer_classifications(self, response: Answer | ClassificationsOffered, *, at: datetime) -> Records:
        """Field values are proposed. ``response``: the answer of the Customer Service API as it came."""
        self._require("offer_classifications")
        return self._offer(read_classifications(response), at)

    def offer_documents(self, response: Answer | DocumentsOffered, *, at: datetime) -> Records:
        """Documents are suggested. ``response``: the answer of the Customer Service API as it came."""
        self._require("offer_documents")
        return self._offer(read_documents(response), at)

    def select_classification(
        self,
        classification_id: str,
        *,
        response_id: str | None = None,
        auto_selection: bool = False,
        field_name: str | None = None,
        classification: Classification | Mapping[str, Any] | None = None,
        at: datetime,
    ) -> Records:
        """A proposed value is taken and the ticket's field set to it.

        ``response_id``: which response offered it; the latest that did, if not given. ``auto_selection``: chosen by the
        program, not by the person. ``field_name`` and ``classification`` make the suggestion whole: for values that
        were shown without being offered here.
        """
        if not _may_be_ids(classification_id, response_id) or type(auto_selection) is not bool:
            given = {
                "classificationId": classification_id,
                "responseId": response_id,
                "autoSelection": auto_selection,
            }
            selection = gate.build(_Selection, given, rules=ClassificationsOffered.rules)
            classification_id, response_id, auto_selection = astuple(selection)
        records: Records = ()
        session = self
        if field_name is None and classification is None:
            self._require("select_classification")
        else:
            whole = {
                "classificationId": classification_id,
                "fieldName": field_name,
                "classification": members_of(classification, "$.classification"),
            }
            item = gate.build(OfferedClassification, whole, rules=ClassificationsOffered.rules)
            offer = ClassificationsOffered(
                response_id=_needed_response_id(response_id, "CA-062"), classifications=(item,)
            )
            records, session = self._before_taking("select_classification", offer, at)
        item, response_id = find_classification(session.offers, classification_id, response_id)
        event = TicketClassificationClick(
            classification_id=item.classification_id,
            response_id=response_id,
            field_name=item.field_name,
            classification=item.classification,
            auto_selection=auto_selection,
        )
        ticket = with_field(session.ticket, item.field_name, item.classification.value)
        return (*records, session._record(event, at, ticket))

    def open_document(
        self,
        suggestion_id: str,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime,
    ) -> Records:
        """The person opens a suggested document.

        ``suggestion_id``: its permanentid. ``response_id``: which response suggested it; the latest that did, if not
        given. ``suggestion``: the whole document, if it was shown without being offered here.
        """
        return self._view("open_document", DocumentSuggestionClick, suggestion_id, response_id, suggestion, at)

    def quickview_document(
        self,
        suggestion_id: str,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime,
    ) -> Records:
        """The person looks at a suggested document in the quick view. Arguments as for :meth:`open_document`."""
        return self._view("quickview_document", DocumentSuggestionQuickview, suggestion_id, response_id, suggestion, at)

    def rate_document(
        self,
        suggestion_id: str,
        rate: float,
        *,
        response_id: str | None = None,
        suggestion: Document | Mapping[str, Any] | None = None,
        at: datetime,
    ) -> Records:
        """The person rates a suggested document, from 0 (terrible) to 1 (perfect).

        No click is needed before. It may be repeated; reports count the last one.
        """
        if type(rate) is not float or not 0.0 <= rate <= 1.0:
            rate = gate.build(_Rating, {"rate": rate}, rules="CA").rate
        suggestion_id, response_id = _taken(suggestion_id, response_id, "CA")
        records: Records = ()
        session = self
        if suggestion is None:
            self._require("rate_document")
        else:
            offer = _whole_document(suggestion_id, response_id, suggestion, "CA-044", "CA")
            records, session = self._before_taking("rate_document", offer, at)
        item, response_id = find_document(session.offers, suggestion_id, response_id, "CA")
        event = SuggestionRate(
            rate=rate,
            suggestion_id=item.suggestion_id,
            response_id=response_id,
            suggestion=as_rated(item.suggestion),
        )
        return (*records, session._record(event, at))

    def next_stage(self, stage: str | None = None, *, at: datetime) -> Records:
        """The person goes on to the next stage. ``stage``: its name, if it has one."""
        self._require("next_stage")
        event = TicketNextStage() if stage is None else gate.build(TicketNextStage, {"stage": stage})
        return (self._record(event, at),)

    def log_click(self, event: ClickEvent | Mapping[str, Any], *, at: datetime) -> Records:
        """Any other click, as article 2064 describes it; the context fills in what it knows."""
        self._require("log_click")
        click = gate.build(ClickEvent, members_of(event, "$.event"), path="$.event", rules="CL")
        self._check_web_event(click)
        if click.query_pipeline is None and (click.split_test_run_name or click.split_test_run_version):
            problem = "is required while an A/B test runs: the name of the query pipeline"
            raise InvalidAction(problem, path="$.event.queryPipeline", rule="CL-046")
        return (self._record(click, at),)

    def log_custom(self, event: CustomEvent | Mapping[str, Any], *, at: datetime) -> Records:
        """Any other interaction, as article 2650 describes it; the context fills in what it knows.

        An event of type ``caseassist`` stands for an action of your own, which your :class:`LifeCycle` must know.
        """
        custom = gate.build(CustomEvent, members_of(event, "$.event"), path="$.event", rules="CU")
        self._destination(custom)
        self._check_web_event(custom)
        return (self._record(custom, at),)

    def take_turn(
        self, message_id: str | None = None, memory: Mapping[str, Any] | None = None, *, at: datetime
    ) -> Records:
        """A conversation heard a message, or an answer that it was waiting for: record it before acting on it.

        ``message_id``: the platform's id of the message, of any kind. ``memory``: what the conversation must know to go
        on, in words of its own; nothing personal; None keeps what it knew. Raises RepeatedMessage for a message
        that had its turn, so that a bot does not act twice when its platform delivers one twice.
        """
        self._require("take_turn")
        event = gate.build(TurnTaken, {"messageId": message_id, "memory": memory})
        if event.message_id in self.message_ids:
            raise RepeatedMessage(self.id, event.message_id or "")
        return (self._record(event, at),)

    def create(self, ticket_id: str, *, at: datetime) -> Records:
        """The ticket was created. ``ticket_id``: its id, not empty. Ends the session."""
        self._require("create")
        if not is_id(ticket_id, MAX_ID):
            ticket_id = gate.build(_TicketId, {"id": ticket_id}, rules="CC").id
        return (self._record(TicketCreate(), at, replace(self.ticket, id=ticket_id)),)

    def solve(self, *, at: datetime) -> Records:
        """The person says that the case is solved. Ends the session."""
        self._require("solve")
        return (self._record(TicketCancel(reason="Solved"), at),)

    def quit(self, cause: str = "user", *, at: datetime) -> Records:
        """The person leaves. ``cause``: ``user``, ``unload`` (closed the page) or ``timeout``. Ends the session."""
        self._require("quit")
        cause = gate.build(_Quit, {"cause": cause}, rules="CX").cause
        return (self._record(TicketCancel(reason="Quit", cause=cause), at),)

    def expire(self, now: datetime, *, idle_s: float = IDLE_S) -> Records:
        """Quit with cause ``timeout`` if nothing happened for ``idle_s`` seconds; otherwise no records."""
        now = _utc(now, "$.now")
        idle_s = gate.build(_Idle, {"idleS": idle_s}).idle_s
        if not self.active or self.last_at is None or (now - self.last_at).total_seconds() < idle_s:
            return ()
        return self.quit("timeout", at=now)

    # How actions are decided.

    def _require(self, action: str) -> None:
        """Raise IllegalTransition unless the action is allowed."""
        if self.life_cycle is not LIFE_CYCLE or action not in PLAN.get(self.state, _NOWHERE):
            self.life_cycle.destination(self.state, action, self)

    def _destination(self, event: Event) -> str:
        """Return the state that the event leads to, or raise as :meth:`_require` does, or InvalidAction."""
        action = _ACTIONS.get(type(event))
        if action is None:
            action = action_of(event)
            if isinstance(event, CustomEvent) and action in _OWN_EVENTS:
                problem = f"names an action that has an event of its own; use Session.{action}"
                raise InvalidAction(problem, path="$.event.eventValue")
        return self.life_cycle.destination(self.state, action, self)

    def _record(
        self, event: AnyEvent, at: datetime, ticket: Ticket | None = None, context: Context | None = None
    ) -> Record:
        return Record(
            session_id=self.id,
            seq=self.next_seq,
            time=at if type(at) is datetime and at.tzinfo is UTC else _utc(at, "$.at"),
            event=event,
            ticket=self.ticket if ticket is None else ticket,
            context=self.context if context is None else context,
        )

    def _offer(self, offer: Offer, at: datetime) -> Records:
        add_offer(self.offers, offer)
        return (self._record(offer, at),)

    def _before_taking(self, action: str, offer: Offer, at: datetime) -> "tuple[Records, Session]":
        """Return the record that offers a whole suggestion, if it was not offered yet, and the session after it."""
        if not self.active or is_offered(self.offers, offer):
            self._require(action)
            return (), self
        self._destination(offer)
        records = self._offer(offer, at)
        session = self.apply(records[0])
        session._require(action)
        return records, session

    def _view(
        self,
        action: str,
        cls: type[DocumentSuggestionClick | DocumentSuggestionQuickview],
        suggestion_id: str,
        response_id: str | None,
        suggestion: Document | Mapping[str, Any] | None,
        at: datetime,
    ) -> Records:
        suggestion_id, response_id = _taken(suggestion_id, response_id, cls.rules)
        records: Records = ()
        session = self
        if suggestion is None:
            self._require(action)
        else:
            offer = _whole_document(suggestion_id, response_id, suggestion, f"{cls.rules}-013", cls.rules)
            records, session = self._before_taking(action, offer, at)
        item, response_id = find_document(session.offers, suggestion_id, response_id, cls.rules)
        context = self.context
        if not (context.language and context.origin_context and context.search_hub):
            _refuse_context(context, cls.rules)
        event = cls(suggestion_id=item.suggestion_id, response_id=response_id, suggestion=item.suggestion)
        return (*records, session._record(event, at))

    def _check_web_event(self, event: WebEvent) -> None:
        """What articles 2064 and 2650 ask for beyond single members, the context's members counted in."""
        rules = event.rules
        if not (event.language or self.context.language):
            rule = "CL-008" if rules == "CL" else "CU-003"
            raise InvalidAction("is required, here or in the context", path="$.event.language", rule=rule)
        if event.client_id not in (None, self.context.client_id):
            problem = "differs from the session's client id; all events of a person must bear the same"
            raise InvalidAction(problem, path="$.event.clientId", rule="CA-014")
        anonymous = self.context.anonymous if event.anonymous is None else event.anonymous
        check_anonymous(anonymous, event, "$.event", "CL-036" if rules == "CL" else "CU-011")
        if (event.split_test_run_name is None) != (event.split_test_run_version is None):
            missing = "Name" if event.split_test_run_name is None else "Version"
            rule = ("CL-047" if rules == "CL" else "CU-023") if missing == "Name" else (
                "CL-048" if rules == "CL" else "CU-024")  # fmt: skip
            problem = "the name and the version of an A/B test come together"
            raise InvalidAction(problem, path=f"$.event.splitTestRun{missing}", rule=rule)
        if event.custom_data is not None:
            fields.check_custom_data(event.custom_data, rules, path="$.event.customData")


def action_of(event: Event) -> str:
    """The action of the machine that an event records."""
    if isinstance(event, TicketCancel):
        return "solve" if event.reason == "Solved" else "quit"
    if isinstance(event, CustomEvent):
        return event.event_value if event.event_type == OWN_ACTION else "log_custom"
    return _ACTIONS.get(type(event), type(event).__name__)


def _taken(suggestion_id: str, response_id: str | None, rules: str) -> tuple[str, str | None]:
    if _may_be_ids(suggestion_id, response_id):
        return suggestion_id, response_id
    taken = gate.build(_Taken, {"suggestionId": suggestion_id, "responseId": response_id}, rules=rules)
    return taken.suggestion_id, taken.response_id


def _may_be_ids(item_id: object, response_id: object) -> bool:
    """Whether these can be looked up among the offers as they are: the gate takes longer than the whole action."""
    return (
        type(item_id) is str
        and 0 < len(item_id) <= MAX_ID
        and (response_id is None or (type(response_id) is str and 0 < len(response_id) <= MAX_ID))
    )


def _whole_document(
    suggestion_id: str,
    response_id: str | None,
    suggestion: Document | Mapping[str, Any],
    response_rule: str,
    rules: str,
) -> DocumentsOffered:
    whole = {"suggestionId": suggestion_id, "suggestion": members_of(suggestion, "$.suggestion")}
    item = gate.build(OfferedDocument, whole, rules=rules)
    return DocumentsOffered(response_id=_needed_response_id(response_id, response_rule), documents=(item,))


def _refuse_context(context: Context, rules: str) -> NoReturn:
    needed = (
        ("language", context.language, "008"),
        ("originContext", context.origin_context, "009"),
        ("searchHub", context.search_hub, "010"),
    )
    member, rule = next((member, rule) for member, value, rule in needed if not value)
    problem = "is required in the session's context before documents can be opened"
    raise InvalidAction(problem, path=f"$.context.{member}", rule=f"{rules}-{rule}")


def _needed_response_id(response_id: str | None, rule: str) -> str:
    if response_id is None:
        problem = "is required with a whole suggestion: the id of the response that offered it"
        raise InvalidAction(problem, path="$.responseId", rule=rule)
    return response_id


def _utc(at: datetime, path: str) -> datetime:
    if type(at) is datetime and at.tzinfo is UTC:
        return at
    if not issubclass(type(at), datetime):
        raise InvalidAction(f"expected a datetime with a time zone, got {gate.kind_of(at)}", path=path)
    try:
        offset = at.utcoffset()
        if offset is not None:
            # Not astimezone(): a subclass, such as pandas.Timestamp, would stay one, and cannot be written as JSON.
            return datetime.combine(datetime.date(at), datetime.time(at), UTC) - offset
    except Exception:  # noqa: BLE001 (somebody else's time zone, or a time too early or too late for UTC)
        raise InvalidAction("expected a datetime that can be told in UTC", path=path) from None
    raise InvalidAction("expected a datetime with a time zone, such as datetime.now(UTC), got one without", path=path)


def _where(record: Record) -> str:
    return f"record {record.seq} of session {record.session_id!r}"


# What the gate makes of single arguments.


class _SessionId(msgspec.Struct):
    session: fields.Identifier


class _Selection(msgspec.Struct, rename="camel"):
    classification_id: fields.ClassificationId
    response_id: fields.ResponseId | None
    auto_selection: fields.AutoSelection


class _Taken(msgspec.Struct, rename="camel"):
    suggestion_id: fields.SuggestionId
    response_id: fields.ResponseId | None


class _Rating(msgspec.Struct):
    rate: fields.Rate


class _TicketId(msgspec.Struct):
    id: fields.TicketId


class _Quit(msgspec.Struct):
    cause: fields.Cause


class _Idle(msgspec.Struct, rename="camel"):
    idle_s: Annotated[float, Meta(ge=0, description="a number of seconds, 0 or more")]
