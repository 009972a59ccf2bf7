"""Requests of the Usage Analytics Write API, read back into events.

For looking at recorded traffic, for collectors in tests, and for moving over from other clients. We are strict in what
we send and lenient in what we read: what the documents' own examples and the real clients get wrong is put right, and
every such *coercion* is listed with the id that docs/explanation/conflicts gives it. ``strict=True`` refuses instead.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, TypeVar, cast
from urllib.parse import parse_qs

import msgspec

from caseassist.core import fields, gate
from caseassist.core.errors import InvalidAction
from caseassist.core.events import (
    AnyEvent,
    ClickEvent,
    Context,
    CustomEvent,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    Event,
    SuggestionClick,
    SuggestionRate,
    Ticket,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketFieldUpdate,
    TicketNextStage,
    WebEvent,
)
from caseassist.core.fields import CONTENT_ID_KEYS, LANGUAGES, language_from_locale

__all__ = ["Coercion", "Received", "read_body", "read_request"]

Body: TypeAlias = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LATEST_MS = 2**42  # in the year 2109: a later time is some other unit


class Coercion(msgspec.Struct, frozen=True):
    """One thing that was put right."""

    id: str
    """As in docs/explanation/conflicts: ``A-01`` and so on. ``X-01``: a member that no document knows was left out.
    ``X-02``: one that the event has no place for was left out."""
    path: str
    what: str


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says."""

    event: AnyEvent
    ticket: Ticket = Ticket()
    context: Context = Context()
    time: datetime | None = None
    """When it happened; only collect requests say."""
    event_id: str | None = None
    """The ``z`` of a collect request."""
    coercions: tuple[Coercion, ...] = ()


def read_request(path: str, body: bytes, *, form: bool = False, strict: bool = False) -> Received:
    """Read a request by its path and body.

    ``path``: ends in ``/collect``, ``/click`` or ``/custom``; a query is passed over. ``form``: the body is form data
    as a browser's beacon sends it (``clickEvent=…``), not JSON. ``strict``: raise instead of coercing.

    Raises InvalidAction when it is none of them, no JSON object in UTF-8, or cannot be put right.
    """
    kind = path.partition("?")[0].rpartition("/")[2]
    if kind not in _READERS:
        raise InvalidAction("expected a path that ends in /collect, /click or /custom", path="$.path")
    try:
        if form:
            text = parse_qs(body.decode(), strict_parsing=True)[f"{kind}Event"][0]
            data = msgspec.json.decode(text, type=Body)
        else:
            data = msgspec.json.decode(body, type=Body)
    except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
        raise InvalidAction("expected a JSON object in UTF-8") from None
    return read_body(kind, data, strict=strict)


def read_body(kind: str, body: Mapping[str, Any], *, strict: bool = False) -> Received:
    """Read the decoded body of a ``collect``, ``click`` or ``custom`` request. Otherwise as :func:`read_request`."""
    if kind not in _READERS:
        raise InvalidAction("expected collect, click or custom", path="$.kind")
    reader = _Reader(strict)
    data = cast("Body", gate.plain(gate.members_of(body)))
    received = _READERS[kind](reader, data)
    return msgspec.structs.replace(received, coercions=tuple(reader.coercions))


class _Reader:
    """Puts right what it meets, and keeps a list of it."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.coercions: list[Coercion] = []

    def note(self, coercion_id: str, path: str, what: str, rule: str | None = None) -> None:
        if self.strict:
            raise InvalidAction(what, path=path, rule=rule)
        self.coercions.append(Coercion(coercion_id, path, what))

    # collect

    def collect(self, body: Body) -> Received:
        action = body.get("svc_action")
        cls = _ACTIONS.get(action) if isinstance(action, str) else None
        if cls is None:
            raise InvalidAction("expected the name of a Case Assist action", path="$.svc_action", rule="CA-004")
        event = self._svc_event(cls, _object(body, "svc_action_data", None))
        kind = "flowStart" if cls is TicketCreateStart else "click"
        for key, expected, rule in (("t", "event", None), ("ec", "svc", "CA-012"), ("ea", kind, "CA-006")):
            if body.get(key) != expected:
                self.note("D-04", f"$.{key}", f"expected {expected!r} for this action", rule)
        for key in body:
            if key not in _COLLECT:
                self.note("X-01", gate.path_of("$", key), "no document knows this member")
        ticket = self._ticket({name: body[key] for key, name in _TICKET.items() if key in body})
        if cls is TicketCreate and ticket.id is None:
            raise InvalidAction("is required when a ticket is created", path="$.svc_ticket_id", rule="CC-003")
        members = {name: body[key] for key, name in _COLLECT_CONTEXT.items() if body.get(key) not in (None, "")}
        if members.get("username") == "anonymous":
            del members["username"]  # the library's own word for an API key without a user
        if isinstance(locale := members.pop("language", None), str):  # here it is the browser's, such as en-US
            with suppress(ValueError):
                members["language"] = language_from_locale(locale)
        time, event_id = body.get("tm"), body.get("z")
        return Received(
            event=event,
            ticket=ticket,
            context=self._context(members, "CA", _COLLECT_NAMES),
            time=EPOCH + time * MILLISECOND if type(time) is int and 0 <= time < LATEST_MS else None,
            event_id=event_id if isinstance(event_id, str) else None,
        )

    def _svc_event(self, cls: type[Event], data: Body) -> AnyEvent:
        where = "$.svc_action_data"
        if cls is TicketClassificationClick:
            self._auto_selection(data, f"{where}.autoSelection")
        if cls is TicketCancel and isinstance(reason := data.get("reason"), str):
            word = reason.capitalize()
            if word != reason and word in ("Quit", "Solved"):
                data["reason"] = word
                self.note("D-13", f"{where}.reason", "expected a capital first letter", "CX-002")
        if cls in (SuggestionRate, SuggestionClick):
            suggestion = data.get("suggestion")
            if isinstance(suggestion, dict):
                rated, rule = _RATED, "CA-049"
                suggestion = dict(cast("Body", suggestion))
                if cls is SuggestionClick:
                    rated, rule = _RATED | {"fromQuickview"}, "CS-008"
                    if isinstance(data.get("fromQuickview"), bool):  # where the library of that time put it
                        suggestion["fromQuickview"] = data.pop("fromQuickview")
                        self.note("X-01", f"{where}.fromQuickview", "expected it as a member of the suggestion")
                data["suggestion"] = self._document(suggestion, f"{where}.suggestion", rule)
                self._drop_unknown(suggestion, rated, f"{where}.suggestion")
        self._drop_unknown(data, set(cls.__struct_encode_fields__) - {"cause"}, where)
        return cast("AnyEvent", gate.build(cls, data, path=where, rules=cls.rules))

    def _auto_selection(self, data: Body, path: str) -> None:
        value = data.get("autoSelection")
        if isinstance(value, str) and value.lower() in ("true", "false"):
            data["autoSelection"] = value.lower() == "true"
            self.note("A-01", path, "expected true or false, got a string", "CA-068")
        elif value is None:
            data["autoSelection"] = False
            self.note("A-01", path, "is required: true or false", "CA-068")

    def _ticket(self, members: Body) -> Ticket:
        ticket: Body = {}
        for name, value in members.items():
            if name != "custom" and value is not None and not isinstance(value, str):
                value = msgspec.json.encode(value).decode()
                self.note("A-02", f"$.{_TICKET_NAMES[name]}", "expected a string", "TK-003")
            if value not in (None, ""):
                ticket[name] = value
        return _build(Ticket, ticket, "TK", _TICKET_NAMES)

    # click and custom

    def click(self, body: Body) -> Received:
        body = self._document(_filled(body), "$", "CL-004")
        self._content_id(body)
        cause = body.get("actionCause")
        cls = _DOCUMENT_EVENTS.get(cause) if isinstance(cause, str) else None
        context = self._web_context(body, cls.rules if cls else "CL")
        if cls is not None:
            return Received(event=self._document_event(cls, body, context), context=context)
        self._drop_unknown(body, set(ClickEvent.__struct_encode_fields__), "$")
        event = gate.build(ClickEvent, body, rules="CL")
        self._custom_data(event, "CL")
        return Received(event=event, context=context)

    def custom(self, body: Body) -> Received:
        body = _filled(body)
        context = self._web_context(body, "CU")
        self._drop_unknown(body, set(CustomEvent.__struct_encode_fields__), "$")
        event = gate.build(CustomEvent, body, rules="CU")
        self._custom_data(event, "CU")
        return Received(event=event, context=context)

    def _document_event(
        self,
        cls: type[DocumentSuggestionClick | DocumentSuggestionQuickview],
        body: Body,
        context: Context,
    ) -> AnyEvent:
        content: Body = body.pop("customData", {})
        if content.pop("contentIDKey", None) != "permanentid":
            self.note("C-05", "$.customData.contentIDKey", "expected 'permanentid'", f"{cls.rules}-003")
        for coercion_id, member, value, rule in (
            ("C-10", "clientId", context.client_id, "002"),
            ("B-01", "originContext", context.origin_context, "009"),
            ("B-02", "originLevel1", context.search_hub, "010"),
            ("B-03", "userAgent", context.user_agent, "015"),
        ):
            if not value:
                self.note(coercion_id, f"$.{member}", "is required for document suggestions", f"{cls.rules}-{rule}")
        event: Body = {
            "suggestionId": content.pop("contentIDValue", None),
            "responseId": body.pop("searchQueryUid", None),
            "suggestion": {name: body.pop(name) for name in _DOCUMENT if name in body},
        }
        del body["actionCause"]
        for name in content:
            self.note("X-02", gate.path_of("$.customData", name), "a document suggestion's event has no place for it")
        for name in [name for name in body if name in ClickEvent.__struct_encode_fields__]:
            del body[name]
            self.note("X-02", f"$.{name}", "a document suggestion's event has no place for it")
        self._drop_unknown(body, set(), "$")
        return _build(cls, event, cls.rules, _DOCUMENT_NAMES)

    def _document(self, data: Body, path: str, rule: str) -> Body:
        """Put right what is known to go wrong with a document's members."""
        for alias in ("documentURIhash", "documentUriHASH"):
            if alias in data:
                data["documentUriHash"] = data.pop(alias)
                self.note("C-09", f"{path}.{alias}", "expected 'documentUriHash'")
        if data.get("documentPosition") == 0 and data["documentPosition"] is not False:
            data["documentPosition"] = 1
            self.note("A-03", f"{path}.documentPosition", "expected a position counted from 1", rule)
        return data

    def _content_id(self, body: Body) -> None:
        """Bring contentIDKey and contentIDValue to their place and spelling."""
        custom = _object(body, "customData", "CL-D01")
        for key in CONTENT_ID_KEYS:
            for place, path in ((body, "$"), (custom, "$.customData")):
                for name in [name for name in place if name.lower() == key.lower()]:
                    if place is custom and name == key:
                        continue
                    custom.setdefault(key, place.pop(name))
                    self.note("C-01", f"{path}.{name}", f"expected it as customData.{key}", "CL-018")
        if custom:
            body["customData"] = custom

    def _custom_data(self, event: WebEvent, rules: str) -> None:
        if event.custom_data is not None:
            fields.check_custom_data(event.custom_data, rules)

    def _web_context(self, body: Body, rules: str) -> Context:
        if "name" in body:
            body["username"] = body.pop("name")
            self.note("C-07", "$.name", "expected 'username'", "CU-028" if rules == "CU" else "CL-052")
        members = {name: body.pop(key) for key, name in _WEB_CONTEXT.items() if key in body}
        context = self._context(members, rules, _WEB_NAMES)
        if context.language is None:
            raise InvalidAction("is required: an ISO 639-1 code", path="$.language", rule=_LANGUAGE_RULES[rules])
        return context

    def _context(self, members: Body, rules: str, names: Mapping[str, str]) -> Context:
        language = members.get("language")
        if isinstance(language, str) and language not in LANGUAGES:
            with suppress(ValueError):  # the gate says what is wrong
                members["language"] = language_from_locale(language)
                self.note("D-01", "$.language", "expected an ISO 639-1 code", _CODE_RULES[rules])
        client_id = members.get("clientId")
        if isinstance(client_id, str) and client_id != client_id.lower():
            members["clientId"] = client_id.lower()
            self.note("C-10", f"$.{names['clientId']}", "expected a UUID in lower case", _CLIENT_RULES[rules])
        context = _build(Context, members, rules, names)
        if context.anonymous and (context.username or context.user_display_name):
            rule = "CU-011" if rules == "CU" else "CL-036"
            self.note("B-07", "$.username", "an anonymous person has no name here", rule)
            context = msgspec.structs.replace(context, username=None, user_display_name=None)
        return context

    def _drop_unknown(self, data: Body, known: set[str] | frozenset[str], path: str) -> None:
        for name in [name for name in data if name not in known]:
            del data[name]
            self.note("X-01", gate.path_of(path, name), "no document knows this member")


def _filled(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None and value != ""}


def _object(body: Body, key: str, rule: str | None) -> Body:
    """A copy of an object in the body; empty if it is absent or null."""
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidAction("expected an object", path=f"$.{key}", rule=rule)
    return dict(cast("Body", value))


T = TypeVar("T", bound=msgspec.Struct)


def _build(cls: type[T], members: Body, rules: str, names: Mapping[str, str]) -> T:
    """Pass the gate; an error names the place in the request. ``names``: where our members stand there."""
    try:
        return gate.build(cls, members, rules=rules)
    except InvalidAction as error:
        first, dot, rest = (error.path or "$.")[2:].removeprefix("suggestion.").partition(".")
        path = f"$.{names.get(first, first)}{dot}{rest}"
        raise InvalidAction(error.problem, path=path, rule=error.rule) from None


_READERS = {"collect": _Reader.collect, "click": _Reader.click, "custom": _Reader.custom}

_ACTIONS: dict[str, type[Event]] = {
    str(cls.__struct_config__.tag): cls
    for cls in (TicketCreateStart, TicketFieldUpdate, TicketClassificationClick, SuggestionRate, SuggestionClick,
                TicketNextStage, TicketCreate, TicketCancel)
}  # fmt: skip
_DOCUMENT_EVENTS: dict[str, type[DocumentSuggestionClick | DocumentSuggestionQuickview]] = {
    "documentSuggestionClick": DocumentSuggestionClick,
    "documentSuggestionQuickview": DocumentSuggestionQuickview,
}
_DOCUMENT = ("documentTitle", "documentUrl", "documentPosition", "sourceName", "documentUriHash")
_DOCUMENT_NAMES = {"suggestionId": "customData.contentIDValue", "responseId": "searchQueryUid"}
_RATED = frozenset({"documentTitle", "documentUrl", "documentPosition", "documentUriHash"})
_TICKET = {
    "svc_ticket_id": "id",
    "svc_ticket_subject": "subject",
    "svc_ticket_description": "description",
    "svc_ticket_category": "category",
    "svc_ticket_product_id": "productId",
    "svc_ticket_custom": "custom",
}
_TICKET_NAMES = {name: key for key, name in _TICKET.items()}
_COLLECT_CONTEXT = {
    "cid": "clientId",
    "searchHub": "searchHub",
    "ul": "language",
    "ua": "userAgent",
    "uid": "username",
    "trackingId": "trackingId",
    "dl": "location",
    "dr": "referrer",
    "dt": "title",
    "sr": "screenResolution",
    "sd": "screenColor",
}
_COLLECT_NAMES = {name: key for key, name in _COLLECT_CONTEXT.items()}
_COLLECT = {"t", "pid", "tm", "z", "de", "ec", "ea", "svc_action", "svc_action_data", *_TICKET, *_COLLECT_CONTEXT}
_WEB_CONTEXT = {
    "clientId": "clientId",
    "language": "language",
    "originContext": "originContext",
    "originLevel1": "searchHub",
    "originLevel2": "originLevel2",
    "originLevel3": "originLevel3",
    "userAgent": "userAgent",
    "anonymous": "anonymous",
    "username": "username",
    "userDisplayName": "userDisplayName",
    "trackingId": "trackingId",
}
_WEB_NAMES = {name: key for key, name in _WEB_CONTEXT.items()}
_LANGUAGE_RULES = {"CL": "CL-008", "CU": "CU-003", "CD": "CD-008", "CQ": "CQ-008"}
_CODE_RULES = _LANGUAGE_RULES | {"CL": "CL-009", "CU": "CU-004"}
_CLIENT_RULES = {"CA": "CA-013", "CL": "CL-056", "CU": "CU-032", "CD": "CD-002", "CQ": "CQ-002"}
