"""Scripts: actions as JSON lines, and their answers, for people and for programs in any language.

One line is one action: ``{"session": "a1", "do": "update_field", "fieldName": "subject", "value": "GC110"}``. The
argument names are the documents' own. One answer comes for every line, in order. docs/reference/pipe.md has what a
program at the other end of a pipe can rely on.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar, cast

import msgspec

from caseassist.core import fields, gate
from caseassist.core.errors import CaseAssistError, InvalidAction, UnknownSession
from caseassist.core.events import AnyEvent, Classification, Document
from caseassist.core.records import Record, Time
from caseassist.live import Case, CaseAssist

__all__ = [
    "LINES",
    "PROTOCOL",
    "Agreement",
    "Answer",
    "Demand",
    "Failure",
    "Line",
    "Player",
    "Refusal",
    "answer_schema",
    "read_line",
    "schema",
]

PROTOCOL = 1
"""The version of lines and answers."""


class Line(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag_field="do", gc=False
):
    """What all lines have in common."""

    rules: ClassVar[str] = "CA"

    session: fields.Identifier
    """Your id of the session, of your choice."""
    at: Time | None = None
    """When it happened; now, if not given."""


class Start(Line, frozen=True, kw_only=True, tag="start"):
    client_id: str | None = None
    ticket: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None
    """Members that replace those of the command line."""


class UpdateField(Line, frozen=True, kw_only=True, tag="update_field"):
    field_name: fields.FieldName
    value: Any
    """Text, or any JSON value for a custom field; ``""`` or null clears."""


class OfferClassifications(Line, frozen=True, kw_only=True, tag="offer_classifications"):
    response: Mapping[str, Any]
    """The answer of the Customer Service API as it comes."""


class OfferDocuments(Line, frozen=True, kw_only=True, tag="offer_documents"):
    response: Mapping[str, Any]
    """The answer of the Customer Service API as it comes."""


class SelectClassification(Line, frozen=True, kw_only=True, tag="select_classification"):
    classification_id: fields.ClassificationId
    response_id: fields.ResponseId | None = None
    auto_selection: fields.AutoSelection = False
    field_name: fields.FieldName | None = None
    classification: Classification | None = None


class _Document(Line, frozen=True, kw_only=True):
    suggestion_id: fields.SuggestionId
    response_id: fields.ResponseId | None = None
    suggestion: Document | None = None


class OpenDocument(_Document, frozen=True, kw_only=True, tag="open_document"):
    rules: ClassVar[str] = "CD"


class QuickviewDocument(_Document, frozen=True, kw_only=True, tag="quickview_document"):
    rules: ClassVar[str] = "CQ"


class RateDocument(_Document, frozen=True, kw_only=True, tag="rate_document"):
    rate: fields.Rate


class NextStage(Line, frozen=True, kw_only=True, tag="next_stage"):
    stage: fields.Stage | None = None


class LogClick(Line, frozen=True, kw_only=True, tag="log_click"):
    event: Mapping[str, Any]
    """The body of article 2064; members that the context knows are filled in from it."""


class LogCustom(Line, frozen=True, kw_only=True, tag="log_custom"):
    event: Mapping[str, Any]
    """The body of article 2650; members that the context knows are filled in from it."""


class TakeTurn(Line, frozen=True, kw_only=True, tag="take_turn"):
    message_id: fields.MessageId | None = None
    """Your platform's id of the message: the same one is refused a second time."""
    memory: fields.Memory | None = None


class Create(Line, frozen=True, kw_only=True, tag="create"):
    rules: ClassVar[str] = "CC"

    id: fields.TicketId


class Solve(Line, frozen=True, kw_only=True, tag="solve"):
    pass


class Quit(Line, frozen=True, kw_only=True, tag="quit"):
    cause: fields.Cause = "user"


LINES: dict[str, type[Line]] = {
    str(cls.__struct_config__.tag): cls
    for cls in (Start, UpdateField, OfferClassifications, OfferDocuments, SelectClassification, OpenDocument,
                QuickviewDocument, RateDocument, NextStage, LogClick, LogCustom, TakeTurn, Create, Solve, Quit)
}  # fmt: skip
"""The kinds of lines, by what they do."""


class Demand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that is no action: it asks for a version of the protocol, before all others."""

    protocol: int
    """The version that whoever writes the lines was made for."""


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a line was refused."""

    type: str
    message: str
    rule: str | None = None
    path: str | None = None
    allowed: tuple[str, ...] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A line was accepted: what was recorded."""

    ok: bool = True
    session: str
    seq: int
    state: str
    event: AnyEvent


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The version of the protocol is the one that was asked for."""

    ok: bool = True
    protocol: int
    caseassist: str
    """The version of the package."""
    actions: tuple[str, ...]
    """What ``do`` can be."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A line was refused: nothing was recorded."""

    ok: bool = False
    session: str | None
    line: int
    """Counted from 1."""
    error: Failure


def read_line(text: bytes) -> Line:
    """Read one line. Raises InvalidAction with what was expected."""
    return _line(_members(text))


def _members(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidAction("expected a JSON object in UTF-8 on one line") from None


def _line(members: dict[str, Any]) -> Line:
    cls = LINES.get(do) if isinstance(do := members.get("do"), str) else None
    if cls is None:
        raise InvalidAction(f"expected one of {', '.join(LINES)}", path="$.do")
    return gate.convert(cls, members, rules=cls.rules)  # of any size: the session holds it against its limits


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a line."""
    _, definitions = msgspec.json.schema_components([_AnyLine, Demand], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in (*(cls.__name__ for cls in LINES.values()), "Demand")],
        "$defs": definitions,
    }


def answer_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an answer: members that it does not name may come with a later release."""
    kinds = (Answer, Agreement, Refusal)
    _, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for cls in kinds:
        definitions[cls.__name__]["properties"]["ok"] = {"const": cls is not Refusal}
        definitions[cls.__name__]["required"].insert(0, "ok")
    event = definitions["Answer"]["properties"]["event"]
    unknown = definitions.pop("UnknownEvent")  # is read only
    event["anyOf"].remove({"$ref": "#/$defs/UnknownEvent"})
    for action in unknown["properties"]["action"]["enum"]:
        del event["discriminator"]["mapping"][action]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in kinds],
        "$defs": _open(definitions),
    }


def _open(part: Any) -> Any:
    """A schema that takes members which it does not name."""
    if isinstance(part, dict):
        members = cast("dict[str, Any]", part)
        return {name: _open(one) for name, one in members.items() if (name, one) != ("additionalProperties", False)}
    return part


class Player:
    """Plays lines through a CaseAssist: it knows which session each line speaks of."""

    def __init__(self, assist: CaseAssist) -> None:
        self._assist = assist
        self._cases: dict[str, Case] = {}
        self.lines = 0
        self.refused = 0
        self._foreign = False

    async def play(self, text: bytes) -> Answer | Agreement | Refusal:
        """Play one line and answer it. A line that is refused changes nothing.

        After a version of the protocol was refused, all lines are, for nobody knows what they mean.
        """
        self.lines += 1
        session = None
        try:
            members = _members(text)
            session = named if isinstance(named := members.get("session"), str) else None
            if "protocol" in members and "do" not in members:
                demand = gate.convert(Demand, members)
                self._foreign = demand.protocol != PROTOCOL
                if not self._foreign:
                    return Agreement(protocol=PROTOCOL, caseassist=version("caseassist"), actions=tuple(LINES))
            if self._foreign:
                self.refused += 1
                return Refusal(session=session, line=self.lines, error=_UNSUPPORTED)
            line = _line(members)
            case, record = await self._act(line)
        except CaseAssistError as error:
            self.refused += 1
            return Refusal(session=session, line=self.lines, error=describe(error))
        if case.session.active:
            self._cases[line.session] = case
        else:
            self._cases.pop(line.session, None)
        return Answer(session=line.session, seq=record.seq, state=case.state, event=record.event)

    async def _act(self, line: Line) -> tuple[Case, Record]:
        if isinstance(line, Start):
            return await self._start(line)
        case = self._cases.get(line.session) or await self._assist.resume(line.session)
        at = line.at
        match line:
            case UpdateField():
                record = await case.update_field(line.field_name, line.value, at=at)
            case OfferClassifications():
                record = await case.offer_classifications(line.response, at=at)
            case OfferDocuments():
                record = await case.offer_documents(line.response, at=at)
            case SelectClassification():
                record = await case.select_classification(
                    line.classification_id,
                    response_id=line.response_id,
                    auto_selection=line.auto_selection,
                    field_name=line.field_name,
                    classification=line.classification,
                    at=at,
                )
            case OpenDocument(suggestion_id=document, response_id=response):
                record = await case.open_document(document, response_id=response, suggestion=line.suggestion, at=at)
            case QuickviewDocument(suggestion_id=document, response_id=response):
                record = await case.quickview_document(
                    document, response_id=response, suggestion=line.suggestion, at=at
                )
            case RateDocument(suggestion_id=document, response_id=response):
                record = await case.rate_document(
                    document, line.rate, response_id=response, suggestion=line.suggestion, at=at
                )
            case NextStage():
                record = await case.next_stage(line.stage, at=at)
            case LogClick():
                record = await case.log_click(line.event, at=at)
            case LogCustom():
                record = await case.log_custom(line.event, at=at)
            case TakeTurn():
                record = await case.take_turn(line.message_id, line.memory, at=at)
            case Create():
                record = await case.create(line.id, at=at)
            case Solve():
                record = await case.solve(at=at)
            case Quit():
                record = await case.quit(line.cause, at=at)
            case _:
                raise AssertionError(line)
        return case, record

    async def _start(self, line: Start) -> tuple[Case, Record]:
        if (case := self._cases.get(line.session)) is None:
            try:
                case = await self._assist.resume(line.session)
            except UnknownSession:
                case = await self._assist.start(
                    line.ticket, client_id=line.client_id, context=line.context, session_id=line.session, at=line.at
                )
                return case, (await self._assist.store.load(line.session))[0]
        case.session.start(line.ticket, at=line.at or self._assist.clock())  # refuses: there is such a session
        raise AssertionError(line)


_UNSUPPORTED = Failure(
    type="UnsupportedProtocol",
    message=f"the version of the protocol that was asked for is not spoken here; {PROTOCOL} is",
    path="$.protocol",
    allowed=(str(PROTOCOL),),
)


def describe(error: CaseAssistError) -> Failure:
    """An error as plain data."""
    return Failure(
        type=type(error).__name__,
        message=str(error),
        rule=getattr(error, "rule", None),
        path=getattr(error, "path", None),
        allowed=getattr(error, "allowed", None),
    )


_AnyLine = (
    Start
    | UpdateField
    | OfferClassifications
    | OfferDocuments
    | SelectClassification
    | OpenDocument
    | QuickviewDocument
    | RateDocument
    | NextStage
    | LogClick
    | LogCustom
    | TakeTurn
    | Create
    | Solve
    | Quit
)
