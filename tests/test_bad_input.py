"""Bad input: each gives one typed error that names the rule or the place, and nothing is recorded or sent."""

import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import msgspec
import pytest
from tests.core.life_cycle import ARGUMENTS, CLASSIFICATIONS, CLICK, CLIENT_ID, CONTEXT, CUSTOM, DOCUMENTS, session_in

from caseassist import CaseAssist, MemorySink, MemoryStore
from caseassist.core.errors import (
    ActionError,
    CorruptRecord,
    IllegalTransition,
    InvalidAction,
    UnknownSession,
    UnknownSuggestion,
)
from caseassist.core.records import decode, encode
from caseassist.core.session import Session
from caseassist.script import Player, Refusal
from caseassist.wire.reading import read_request

CANARY = "CANARY-7431"
"""Stands in values that may be personal: it must not come back in an error."""


class Evil:
    """Raises from whatever is called on it."""

    def __str__(self) -> str:
        raise AssertionError(CANARY)

    __repr__ = __str__
    __bool__ = __len__ = __eq__ = __hash__ = __iter__ = __getitem__ = __str__  # type: ignore[assignment]


class Liar:
    """Says that it is something else, and raises when it is asked twice: what proxies and mocks do."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise AssertionError(CANARY)


class BrokenMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(CANARY)

    def __iter__(self) -> Iterator[str]:
        return iter(["subject"])

    def __len__(self) -> int:
        return 1


class NoOffset(tzinfo):
    dst = tzname = lambda self, dt: None

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None


class BrokenZone(NoOffset):
    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        raise RuntimeError(CANARY)


def deep(levels: int) -> Any:
    value: Any = CANARY
    for _ in range(levels):
        value = [value]
    return value


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def answer(base: dict[str, Any], *path: Any, to: Any = None) -> dict[str, Any]:
    """A copy of an answer with one member replaced, or removed if ``to`` is ``...``."""
    copy = json.loads(json.dumps(base))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return copy  # type: ignore[no-any-return]


class Bad(NamedTuple):
    state: str
    """The state of the session."""
    action: str
    args: tuple[Any, ...]
    options: Mapping[str, Any] = MappingProxyType({})
    error: type[ActionError] = InvalidAction
    rule: str | None = None
    path: str | None = None


WRONG_TEXT: list[Any] = [
    None,
    7,
    0.5,
    True,
    b"x",
    [],
    {},
    Evil(),
    Evil,
    MagicMock(spec=str),
    Decimal(1),
    2**70,
    -(10**400),
    float("nan"),
    "",
    "x" * 1025,
    CANARY + "\n",
    "a\x00b",
    "a\nb",
    "\x7f",
    "\x85",
    "\ud800",
]
"""What is no identifier."""

NO_TIMES: list[Any] = [
    datetime(2026, 11, 20),  # noqa: DTZ001
    datetime(2026, 11, 20, tzinfo=NoOffset()),
    datetime(2026, 11, 20, tzinfo=BrokenZone()),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
    date(2026, 11, 20),
    "2026-11-20T12:00:00Z",
    "",
    1_795_219_181,
    1_795_219_181.5,
    0,
    False,
    [],
    Evil(),
]
"""What is no time that can be told in UTC."""


def bad_identifiers(state: str, action: str, place: Callable[[Any], tuple[Any, ...]], path: str) -> list[Bad]:
    return [Bad(state, action, place(value), path=path) for value in WRONG_TEXT]


def each(*values: Any) -> list[Any]:
    """Values of no type in particular."""
    return list(values)


PREDICTIONS = ("fields", "category", "predictions")
DOCUMENT = {"documentTitle": "T", "documentUrl": "u", "documentPosition": 1, "sourceName": "S"}

TABLE: list[Bad] = [
    # start
    *[Bad("new", "start", ({"subject": value}, CONTEXT), path="$.ticket.subject")
      for value in each(7, 0.5, True, b"x", [CANARY], {"x": CANARY}, CANARY * 7000, f"{CANARY}\udc00", float("nan"),
            Evil())],
    *[Bad("new", "start", (value, CONTEXT)) for value in each(7, CANARY, [CANARY], b"{}", Evil(), {1: CANARY}, Liar(),
          BrokenMapping(), MagicMock(spec=dict), [("subject", CANARY)], {"subject": Liar()})],
    Bad("new", "start", ({"id": "5003"}, CONTEXT), rule="CC-003", path="$.ticket.id"),
    Bad("new", "start", ({"sbject": CANARY}, CONTEXT), path="$.ticket.sbject"),
    *[Bad("new", "start", ({"custom": value}, CONTEXT))
      for value in each(7, CANARY, [CANARY], {"a": float("nan")}, {"a": float("inf")}, {"a": 2**64},
                        {"a": -(2**63) - 1},
                    {"a": deep(20)}, {"a": endless()}, {"a": {CANARY, 1}}, {"a": Decimal("1.5")}, {"a": date(2026,
                          1, 1)},
                    {"a": Evil()}, {"a": [1] * 2000}, {str(n): n for n in range(2000)}, {"a": "\ud800"}, {"\ud800": 1},
                    {1: CANARY}, {None: CANARY}, {"a": {2: 3}}, {"a": CANARY * 30_000}, {"a": b"x"}, {"a": object()},
                    {"a": 1j}, {"a": lambda: None})],
    *[Bad("new", "start", (None, CONTEXT | {"clientId": value}), path="$.context.clientId")
      for value in each(7, "jo@example.com", "489aa3e3aed242638e8162bb73178a56", f"{CLIENT_ID}\n", f"{{{CLIENT_ID}}}",
            "", b"x", [])],
    Bad("new", "start", (None, {"searchHub": "bot"}), rule="CA-013", path="$.context.clientId"),
    Bad("new", "start", (None, None), rule="CA-013"),
    *[Bad("new", "start", (None, CONTEXT | {"language": value}), rule="CL-009", path="$.context.language")
      for value in each("en-US", "EN", "zz", "english", "e", "", 7, "en\n")],
    *[Bad("new", "start", (None, CONTEXT | {name: "x" * (limit + 1)}), path=f"$.context.{name}")
      for name, limit in (("searchHub", 128), ("originContext", 128), ("originLevel2", 128), ("userAgent", 1024),
                          ("username", 128), ("userDisplayName", 128), ("originLevel3", 65_536))],
    *[Bad("new", "start", (None, CONTEXT | {"anonymous": value}), path="$.context.anonymous")
      for value in each("false", 0, 1, "", [])],
    Bad("new", "start", (None, CONTEXT | {"anonymous": True, "username": CANARY}), rule="CL-036"),
    Bad("new", "start", (None, CONTEXT | {"anonymous": True, "userDisplayName": CANARY}), rule="CL-036"),
    Bad("new", "start", (None, CONTEXT | {"hub": "x"}), path="$.context.hub"),
    *[Bad("new", "start", (None, value)) for value in each(7, CANARY, [], Evil())],
    # update_field
    *bad_identifiers("started", "update_field", lambda value: (value, "text"), "$.fieldName"),
    Bad("started", "update_field", ("id", "5003"), rule="CC-003", path="$.fieldName"),
    *[Bad("started", "update_field", (name, value), path="$.value")
      for name in ("subject", "description", "category", "productId")
      for value in each(7, True, [CANARY], {"a": CANARY}, CANARY * 7000, f"{CANARY}\ud800")],
    *[Bad("started", "update_field", ("urgency", value)) for value in each(float("nan"), deep(20), endless(), Evil(),
          {1: 2}, b"x", 2**70)],
    # offers
    *[Bad("started", "offer_classifications", (value,)) for value in each(
        None, 7, [], "", b"", b"nonsense", b"[]", b"\xff", b'{"responseId": "r"}', b"{" * 100_000, "{}", {}, Evil(),
        answer(CLASSIFICATIONS, "responseId", to=...), answer(CLASSIFICATIONS, "responseId", to=""),
        answer(CLASSIFICATIONS, "responseId", to=7), answer(CLASSIFICATIONS, "fields", to=[]),
        answer(CLASSIFICATIONS, "fields", to=...), answer(CLASSIFICATIONS, "fields", "category", to=[]),
        answer(CLASSIFICATIONS, *PREDICTIONS, to={}), answer(CLASSIFICATIONS, *PREDICTIONS, 0, to="c1"),
        answer(CLASSIFICATIONS, *PREDICTIONS, 0, "id", to=...), answer(CLASSIFICATIONS, *PREDICTIONS, 0, "id", to=""),
        answer(CLASSIFICATIONS, *PREDICTIONS, 0, "value", to=""), answer(CLASSIFICATIONS, *PREDICTIONS, 0, "value",
        to=7),
        answer(CLASSIFICATIONS, *PREDICTIONS, 0, "value", to=...),
        answer(CLASSIFICATIONS, *PREDICTIONS, 0, "confidence", to=1.5),
        answer(CLASSIFICATIONS, *PREDICTIONS, 0, "confidence", to=-0.1),
        answer(CLASSIFICATIONS, *PREDICTIONS, 0, "confidence", to="0.5"),
        answer(CLASSIFICATIONS, *PREDICTIONS, 0, "confidence", to=float("nan")),
        answer(CLASSIFICATIONS, *PREDICTIONS, 1, "id", to="c1"))],
    *[Bad("started", "offer_documents", (value,)) for value in each(
        None, 7, {}, b"", b"\xff\xfe", answer(DOCUMENTS, "responseId", to=...), answer(DOCUMENTS, "documents", to=...),
        answer(DOCUMENTS, "documents", to={}), answer(DOCUMENTS, "documents", 0, to=7),
        answer(DOCUMENTS, "documents", 0, "title", to=...), answer(DOCUMENTS, "documents", 0, "title", to=""),
        answer(DOCUMENTS, "documents", 0, "title", to="x" * 1025), answer(DOCUMENTS, "documents", 0, "fields", to=...),
        answer(DOCUMENTS, "documents", 0, "fields", "permanentid", to=...),
        answer(DOCUMENTS, "documents", 0, "fields", "permanentid", to="x" * 513),
        answer(DOCUMENTS, "documents", 0, "fields", "source", to=...),
        answer(DOCUMENTS, "documents", 0, "fields", "source", to="x" * 513),
        answer(DOCUMENTS, "documents", 0, "fields", "uri", to="x" * 1025),
        answer(DOCUMENTS, "documents", 0, "fields", "uri", to=7))],
    Bad("suggested", "offer_documents", (answer(DOCUMENTS, "documents", 0, "title", to="Other"),), rule="CL-022"),
    Bad("suggested", "offer_classifications",
        (answer(CLASSIFICATIONS, *PREDICTIONS, 0, "value", to="Other"),), rule="CA-061"),
    # select_classification
    *[Bad("suggested", "select_classification", (value,), path="$.classificationId") for value in each(None, 7, [],
          Evil())],
    Bad("suggested", "select_classification", ("c9",), error=UnknownSuggestion, rule="CA-060"),
    Bad("suggested", "select_classification", ("d1",), error=UnknownSuggestion, rule="CA-060"),
    Bad("suggested", "select_classification", ("c1",), {"response_id": "other"}, UnknownSuggestion, "CA-060"),
    Bad("suggested", "select_classification", ("c1",), {"response_id": 7}),
    *[Bad("suggested", "select_classification", ("c1",), {"auto_selection": value}, rule="CA-068",
          path="$.autoSelection")
      for value in each("false", 0, 1, None)],
    Bad("suggested", "select_classification", ("c9",), {"field_name": "category"}),
    *[Bad("suggested", "select_classification", ("c9",),
          {"response_id": "r9", "field_name": "category", "classification": value})
      for value in each(7, {}, {"value": "x"}, {"confidence": 0.5}, {"value": "", "confidence": 0.5},
                    {"value": "x", "confidence": 2}, {"value": "x", "confidence": 0.5, "extra": 1})],
    Bad("suggested", "select_classification", ("c9",),
        {"field_name": "category", "classification": {"value": "x", "confidence": 0.5}}, path="$.responseId"),
    Bad("suggested", "select_classification", ("c9",),
        {"response_id": "r9", "field_name": "id", "classification": {"value": "x", "confidence": 0.5}}),
    Bad("suggested", "select_classification", ("c1",),
        {"response_id": "classify-1", "field_name": "category", "classification": {"value": "Fuel", "confidence": 0.5}},
        rule="CA-061"),
    # documents
    *[Bad("suggested", action, (value, *rest), path="$.suggestionId")
      for action, *rest in (("open_document",), ("quickview_document",), ("rate_document", 0.5))
      for value in each(None, 7, [])],
    *[Bad("suggested", action, ("d9", *rest), error=UnknownSuggestion, rule=rule)
      for action, rule, *rest in (("open_document", "CD-021"), ("quickview_document", "CQ-021"), ("rate_document",
            "CA-052", 0.5))],
    *[Bad("suggested", "rate_document", ("d1", value), rule="CA-041", path="$.rate")
      for value in each(7, -1, 1.0001, "0.5", None, True, [])],
    *[Bad("suggested", "rate_document", ("d1", value), path="$.rate") for value in each(Decimal("0.5"), Evil())],
    Bad("suggested", "rate_document", ("d1", float("nan")), path="$.rate"),
    Bad("suggested", "rate_document", ("d1", float("inf")), path="$.rate"),
    Bad("suggested", "rate_document", ("d1", 10**400), path="$.rate"),
    *[Bad("suggested", "open_document", ("d9",), {"response_id": "r9", "suggestion": DOCUMENT | change})
      for change in ({"documentPosition": 0}, {"documentPosition": -1}, {"documentPosition": 1.5},
                     {"documentPosition": True}, {"documentPosition": "1"}, {"documentTitle": ""},
                     {"documentTitle": "x" * 1025}, {"documentUrl": ""}, {"documentUrl": None}, {"sourceName": ""},
                     {"documentUriHash": "x" * 33}, {"extra": 1})],
    Bad("suggested", "open_document", ("d9",), {"suggestion": DOCUMENT}, path="$.responseId"),
    Bad("suggested", "open_document", ("d9",), {"response_id": "suggest-1", "suggestion": DOCUMENT}, rule="CL-022"),
    # the others
    *[Bad("started", "next_stage", (value,), path="$.stage") for value in each(7, "", "a\nb", "x" * 1025, [], True)],
    *[Bad("started", "take_turn", (value,), path="$.messageId") for value in WRONG_TEXT if value is not None],
    *[Bad("started", "take_turn", ("m1", value), path="$.memory") for value in each(7, "asking", [], True)],
    *[Bad("started", "take_turn", ("m1", {"a": value}), path="$.memory.a")
      for value in each(float("nan"), "\ud800", 2**70, Evil())],
    *bad_identifiers("started", "create", lambda value: (value,), "$.id"),
    *[Bad("started", "quit", (value,), path="$.cause") for value in each(None, "boredom", 7, "User", [], "")],
    *[Bad("started", "log_click", (value,)) for value in each(
        None, 7, [], {}, CUSTOM, CLICK | {"extra": 1}, CLICK | {"action": "custom"},
        *[{name: value for name, value in CLICK.items() if name != missing} for missing in CLICK],
        CLICK | {"actionCause": ""}, CLICK | {"sourceName": "x" * 513}, CLICK | {"documentPosition": 0},
        CLICK | {"documentPosition": None}, CLICK | {"outcome": 6}, CLICK | {"outcome": -6}, CLICK | {"outcome": 0.5},
        CLICK | {"anonymous": "false"}, CLICK | {"anonymous": True, "username": CANARY},
        CLICK | {"language": "en-US"}, CLICK | {"clientId": "0f8fad5b-d9cb-469f-a165-70867728950e"},
        CLICK | {"queryPipeline": "x" * 129}, CLICK | {"rankingModifier": "x" * 129},
        CLICK | {"documentUriHash": "x" * 33}, CLICK | {"customData": []},
        CLICK | {"customData": {"é": 1}}, CLICK | {"customData": {"a-b": 1}}, CLICK | {"customData": {"": 1}},
        CLICK | {"customData": {"a b": 1, "a_b": 2}}, CLICK | {"customData": {"A": 1, "a": 2}},
        CLICK | {"customData": {"contentIDKey": ""}}, CLICK | {"customData": {"contentIDValue": "x" * 513}},
        CLICK | {"customData": {"contentIDKey": 7}}, CLICK | {"customData": {"a": float("nan")}})],
    Bad("started", "log_click", (CLICK | {"splitTestRunName": "a", "splitTestRunVersion": "b"},), rule="CL-046"),
    Bad("started", "log_click", (CLICK | {"splitTestRunName": "a", "queryPipeline": "p"},), rule="CL-048"),
    *[Bad("started", "log_custom", (value,)) for value in each(
        None, {}, CLICK, {"eventType": "a"}, {"eventValue": "a"}, CUSTOM | {"eventType": ""},
        CUSTOM | {"eventType": "x" * 129}, CUSTOM | {"eventValue": "x" * 129}, CUSTOM | {"outcome": 7},
        CUSTOM | {"queryPipeline": "p"}, CUSTOM | {"customData": {"a/b": 1}}, CUSTOM | {"lastSearchQueryUid": ""},
        CUSTOM | {"anonymous": True, "userDisplayName": CANARY}, CUSTOM | {"splitTestRunVersion": "b"})],
    # the wrong moment
    *[Bad(state, action, ARGUMENTS[action], error=IllegalTransition)
      for state, action in (("new", "update_field"), ("new", "create"), ("new", "log_custom"), ("new", "take_turn"),
                            ("quit", "take_turn"), ("started", "start"),
                            ("started", "open_document"), ("started", "select_classification"),
                            ("filling", "rate_document"), ("filling", "quickview_document"), ("created", "create"),
                            ("created", "update_field"), ("solved", "solve"), ("solved", "start"), ("quit", "quit"),
                            ("quit", "offer_documents"))],
    Bad("started", "log_custom", (CUSTOM | {"eventType": "caseassist"},), error=IllegalTransition),
    Bad("quit", "open_document", ("d9",), {"response_id": "r9", "suggestion": DOCUMENT}, IllegalTransition),
    # times
    *[Bad("started", action, ARGUMENTS[action], {"at": value}, path="$.at")
      for action in ("update_field", "offer_documents", "solve") for value in NO_TIMES],
    *[Bad("suggested", "open_document", ("d9",), {"response_id": "r9", "suggestion": DOCUMENT, "at": value},
          path="$.at") for value in NO_TIMES],
]  # fmt: skip

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def described(value: Any) -> str:
    """What a value is, long ones cut, and nothing called on it: to tell inputs apart."""
    kind = type(value)
    if kind in (dict, MappingProxyType):
        return "{" + ", ".join(f"{described(key)}: {described(item)}" for key, item in list(value.items())[:20]) + "}"
    if kind in (list, tuple, set):
        return "[" + ", ".join(described(item) for item in list(value)[:9]) + f"…{len(value)}]"
    if kind in (str, bytes):
        return f"{value[:40]!r}…{len(value)}"
    if kind in (int, float, bool, complex, type(None), Decimal, date, datetime):
        return f"a number of {value.bit_length()} bits" if kind is int and abs(value) > 2**64 else repr(value)
    return f"a {kind.__name__}"


def the_same(value: Any, levels: int = 20) -> str:
    """As :func:`described`, for what may hold itself."""
    try:
        return described(value)
    except RecursionError:
        return "endless"


def test_there_are_at_least_200_different_ones() -> None:
    told = {the_same((bad.state, bad.action, list(bad.args), dict(bad.options))) for bad in TABLE}
    told |= {f"{line!r}" for line in (*LINES, *NO_RECORDS, *NO_REQUESTS, *NO_SESSIONS)}
    assert len(told) >= 400


def check(error: ActionError, bad: Bad) -> None:
    assert type(error) is bad.error
    assert bad.rule is None or error.rule == bad.rule
    assert bad.path is None or error.path == bad.path
    assert error.rule or error.path or error.allowed is not None
    check_discreet(error)


def check_discreet(error: Exception) -> None:
    assert CANARY not in f"{error} {error!r} {error.args}"
    assert CANARY not in "".join(traceback.format_exception_only(error))
    assert len(str(error)) < 1500
    assert str(error).isprintable()


@pytest.mark.parametrize("bad", TABLE, ids=[f"{n}-{bad.action}" for n, bad in enumerate(TABLE)])
def test_a_session_refuses_it_and_stays_as_it_was(bad: Bad) -> None:
    session = session_in(bad.state)
    before = {name: getattr(session, name) for name in session.__struct_fields__}
    written = msgspec.json.encode([session.ticket, session.context, session.offers])
    with pytest.raises(ActionError) as caught:
        getattr(session, bad.action)(*bad.args, **{"at": NOW, **bad.options})
    check(caught.value, bad)
    assert {name: getattr(session, name) for name in session.__struct_fields__} == before
    assert msgspec.json.encode([session.ticket, session.context, session.offers]) == written


ANSWERS = [bad for bad in TABLE if bad.action.startswith("offer_") and type(bad.args[0]) is dict and not bad.options]


@pytest.mark.parametrize("bad", ANSWERS, ids=[f"{n}-{bad.action}" for n, bad in enumerate(ANSWERS)])
def test_an_answer_is_refused_as_bytes_and_as_text_too(bad: Bad) -> None:
    text = json.dumps(bad.args[0])
    for form in (text, text.encode(), text.encode("utf-16")):
        with pytest.raises(ActionError) as caught:
            getattr(session_in(bad.state), bad.action)(form, at=NOW)
        assert caught.value.path or bad.error is IllegalTransition
        check_discreet(caught.value)


WAYS = {
    "started": (),
    "filling": ("update_field",),
    "suggested": ("offer_classifications", "offer_documents"),
    "created": ("create",),
    "solved": ("solve",),
    "quit": ("quit",),
}


async def test_a_case_refuses_all_of_it_and_nothing_is_recorded_or_delivered() -> None:
    sink, store = MemorySink(), MemoryStore()
    async with CaseAssist(CONTEXT, store=store, sinks=[sink]) as assist:
        cases = {state: await assist.start(session_id=f"in-{state}", client_id=CLIENT_ID) for state in WAYS}
        for state, case in cases.items():
            for action in WAYS[state]:
                await getattr(case, action)(*ARGUMENTS[action])
            assert case.state == state
        recorded = len(store)
        for bad in TABLE:
            if bad.state == "new":
                continue
            case = cases[bad.state]
            begun = case.session
            with pytest.raises((ActionError, AttributeError)) as caught:
                await getattr(case, bad.action)(*bad.args, **bad.options)
            if bad.action == "start":  # there is no way to start it again
                assert isinstance(caught.value, AttributeError)
                continue
            assert isinstance(caught.value, ActionError)
            check(caught.value, bad)
            assert case.session is begun
            assert len(store) == recorded
        for session_id in NO_SESSIONS:
            with pytest.raises(UnknownSession) as unknown:
                await assist.resume(session_id)
            assert unknown.value.path == "$.session"
            check_discreet(unknown.value)
        assert (await assist.flush(1)).complete
    assert len(store) == len(sink.records) == recorded


async def test_a_case_assist_starts_nothing_with_it() -> None:
    sink, store = MemorySink(), MemoryStore()
    async with CaseAssist(CONTEXT, store=store, sinks=[sink]) as assist:
        for bad in TABLE:
            if bad.action == "start" and bad.state == "new" and bad.rule != "CA-013":  # it makes the client id itself
                with pytest.raises(ActionError) as caught:
                    await assist.start(bad.args[0], context=bad.args[1])
                check(caught.value, bad)
        for value in WRONG_TEXT:
            if value is None:
                continue
            for name, path in (("client_id", "$.context.clientId"), ("session_id", "$.session")):
                with pytest.raises(InvalidAction) as refused:
                    await assist.start(**{name: value})
                assert refused.value.path == path
                check_discreet(refused.value)
        for at in NO_TIMES:
            with pytest.raises(InvalidAction) as refused:
                await assist.start(at=at)
            assert refused.value.path == "$.at"
        assert (await assist.flush(1)).complete
    assert (len(store), sink.records) == (0, [])


NO_SESSIONS: list[str] = [
    "nobody",
    "",
    "in-",
    "IN-STARTED",
    "in-started ",
    "in-started\n",
    "x" * 1000,
    "\ud800",
    "\x00",
]


@pytest.mark.parametrize("context", [7, {"language": "xx"}, {"extra": 1}, {"searchHub": "x" * 129}, "bot"])
def test_a_context_that_breaks_a_rule_does_not_make_a_case_assist(context: Any) -> None:
    with pytest.raises(InvalidAction) as caught:
        CaseAssist(context)
    assert caught.value.path is not None


LINES: list[bytes] = [
    b"", b" ", b"nonsense", b"{", b"[]", b"7", b"null", b'"text"', b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}",
    b'{"do":"start"}',
    b'{"session":"a1"}', b'{"session":"a1","do":7}', b'{"session":"a1","do":"Start"}', b'{"session":"a1","do":"dance"}',
    b'{"session":7,"do":"solve"}', b'{"session":"","do":"solve"}', b'{"session":"a\\u0000","do":"solve"}',
    b'{"session":"a1","do":"solve","cause":"user"}', b'{"session":"a1","do":"create"}',
    b'{"session":"a1","do":"create","id":7}',
    b'{"session":"a1","do":"solve","at":"yesterday"}', b'{"session":"a1","do":"solve","at":"2026-11-20T12:00:00"}',
    b'{"session":"a1","do":"rate_document","suggestionId":"d1","rate":NaN}',
    b'{"session":"a1","do":"rate_document","suggestionId":"d1","rate":1e999}',
    b'{"session":"a1","do":"update_field","fieldName":"subject"}',
    b'{"session":"a1","do":"update_field","fieldName":"subject","value":"\\ud800"}',
    b'{"session":"a1","do":"update_field","fieldName":"x","value":' + b"[" * 50 + b"]" * 50 + b"}",
    b'{"session":"a1","do":"offer_documents","response":"x"}', b'{"session":"a1","do":"offer_documents"}',
    b'{"session":"zz","do":"solve"}', b"[" * 100_000, b'{"session":"a1","do":"start"}',
]  # fmt: skip


async def test_lines_of_a_script_are_refused_one_by_one() -> None:
    sink = MemorySink()
    async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
        player = Player(assist)
        assert (await player.play(b'{"session":"a1","do":"start"}')).ok
        for line in LINES:
            refusal = await player.play(line)
            assert isinstance(refusal, Refusal)
            assert (
                refusal.error.path
                or refusal.error.rule
                or refusal.error.type == "UnknownSession"
                or refusal.error.allowed
            )
        assert (await player.play(b'{"session":"a1","do":"solve"}')).ok
    assert len(sink.records) == 2


RECORD = encode(session_in("started").update_field("subject", "text", at=NOW)[0])
NO_RECORDS: list[bytes] = [
    b"", b"{", b"[]", b"7", b"\xff", b"{}", b'{"v":1}', b'{"v":0}', b'{"v":"1"}', b'{"v":true}', RECORD[:-1],
    RECORD[1:],
    RECORD + b"x", RECORD.replace(b'"seq":1', b'"seq":-1'), RECORD.replace(b'"seq":1', b'"seq":"1"'),
    RECORD.replace(b'"sessionId":"a1"', b'"sessionId":""'), RECORD.replace(b'"sessionId":"a1",', b""),
    RECORD.replace(b"T12:00:00Z", b"T12:00:00"), RECORD.replace(b"2026", b"20260"), RECORD.replace(b'"ticket":{',
          b'"ticket":7,"x":{'),
    RECORD.replace(b'"fieldName":"subject"', b'"fieldName":7'), RECORD.replace(b'"action":"ticket_field_update",', b""),
    RECORD.replace(b'"language":"en"', b'"language":"english"'), b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("line", NO_RECORDS, ids=range(len(NO_RECORDS)))
def test_what_is_no_record_is_corrupt_and_says_where(line: bytes) -> None:
    with pytest.raises(CorruptRecord, match=r"^line 3: ") as caught:
        decode(line, where="line 3")
    check_discreet(caught.value)


NO_REQUESTS: list[tuple[str, bytes]] = [
    ("/collect", b""), ("/collect", b"[]"), ("/collect", b"\xff"), ("/collect", b"{}"), ("/view", b"{}"), ("", b"{}"),
    ("/collect", b'{"svc_action":"dance"}'), ("/collect", b'{"svc_action":7}'),
    ("/collect", b'{"svc_action":"ticket_create","ec":"svc","ea":"click"}'),
    ("/collect", b'{"svc_action":"ticket_field_update","ea":"click"}'),
    ("/collect", b'{"svc_action":"suggestion_rate","ea":"click","svc_action_data":{"rate":7}}'),
    ("/click", b"{}"), ("/click", b'{"language":"en"}'), ("/click", b'{"language":"xx","actionCause":"a"}'),
    ("/click", b'{"language":"en","actionCause":"documentSuggestionClick"}'),
    ("/custom", b"{}"), ("/custom", b'{"language":"en","eventType":"a"}'), ("/custom",
    b'{"eventType":"a","eventValue":"b"}'),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), NO_REQUESTS)
def test_what_is_no_request_is_refused(path: str, body: bytes) -> None:
    with pytest.raises(InvalidAction) as caught:
        read_request(path, body)
    assert caught.value.path


def test_a_record_that_does_not_follow_is_corrupt() -> None:
    session = session_in("suggested")
    for other in (
        session_in("started").solve(at=NOW)[0],  # another place
        Session(id="b2").start(context=CONTEXT, at=NOW)[0],  # another session
        session_in("suggested", Session(id="zz")).solve(at=NOW)[0],
    ):
        with pytest.raises(CorruptRecord):
            session.apply(other)
