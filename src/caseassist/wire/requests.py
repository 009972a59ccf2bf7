"""Records, written as requests of the Usage Analytics Write API.

Three kinds, as the life cycle's table says: ``collect`` in the measurement form of Coveo's JavaScript library (the
documents do not say how svc events look on the wire; the recorded traffic of coveo.analytics 2.30.55 does), ``click``
as in article 2064, ``custom`` as in article 2650. Offers are facts of ours and are never sent.

Where we differ from the library on purpose, docs/explanation/conflicts says why.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from caseassist.core.errors import UnsupportedRecord
from caseassist.core.events import (
    ClickEvent,
    Context,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    Event,
    SuggestionRate,
    TicketCancel,
    TicketCreateStart,
    WebEvent,
)
from caseassist.core.fields import content_key
from caseassist.core.identity import event_id, page_view_id
from caseassist.core.machine import TABLE
from caseassist.core.records import Record, action_name
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Request

__all__ = ["PRODUCT", "Auth", "WireFormat", "auth_of", "truncate_url"]

PRODUCT = f"caseassist/{version('caseassist')}"
"""The user agent that is named when the context has none."""

Auth: TypeAlias = Literal["search_token", "api_key", "oauth"]

ORIGIN_LEVEL3_MAX = 128
LOCATION_MAX = 2048

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)  # a float of seconds times 1000 is one millisecond short now and then

_KINDS: dict[type[Event], str | None] = {row.event: row.wire for row in TABLE}


def auth_of(token: str) -> Auth:
    """What sort of credential a token is, as Coveo's library tells: API keys begin with ``xx``.

    OAuth tokens cannot be told from search tokens; say so where it matters.
    """
    return "api_key" if token.startswith("xx") else "search_token"


class WireFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How records are written as requests to one endpoint."""

    endpoint: Endpoint
    auth: Auth = "search_token"
    """Decides who names the user: a search token does it itself, so ``username`` is sent with the others only."""
    normalise_keys: bool = True
    """Write customData keys as the service would: underscores for spaces, small letters (C-02)."""
    custom_values: Literal["text", "raw"] = "text"
    """``text``: customData values that are not strings are sent as their JSON text, so that the service, which
    handles them as strings, alters nothing (A-04). ``raw``: as they are."""

    def request(self, record: Record, token: str | None) -> Request | None:
        """Return the request that logs a record, or None for a record that is never sent.

        Raises UnsupportedRecord for an event that has no form on the wire.
        """
        event, context = record.event, record.context
        try:
            kind = _KINDS[type(event)]
        except KeyError:
            raise UnsupportedRecord(f"how to send {action_name(event)!r}") from None
        if kind is None:
            return None
        if kind == "collect":
            body: object = self._collect(record)
        elif isinstance(event, WebEvent):
            body = self._web_event(event, context)
        else:
            assert isinstance(event, DocumentSuggestionClick | DocumentSuggestionQuickview)
            body = self._document_click(event, context)
        user_agent = ("User-Agent", _header(context.user_agent))
        return Request(
            origin=self.endpoint.origin,
            path=self.endpoint.path_of(kind),
            headers=(("Authorization", f"Bearer {token}"), _CONTENT_TYPE, user_agent)
            if token
            else (_CONTENT_TYPE, user_agent),
            body=_encode(body),
        )

    def _collect(self, record: Record) -> "_Collect":
        event, ticket, context = record.event, record.ticket, record.context
        uid = self._username(context, context.anonymous) or ("anonymous" if self.auth == "api_key" else None)
        return _Collect(  # in the order of its members
            ticket.id or None,
            ticket.subject or None,
            ticket.description or None,
            ticket.category or None,
            ticket.product_id or None,
            ticket.custom,
            "event",
            page_view_id(record.session_id),
            _cut(context.referrer, LOCATION_MAX),
            _cut(context.location, LOCATION_MAX),
            (record.time - EPOCH) // MILLISECOND,
            event_id(record.session_id, record.seq),
            context.screen_resolution or None,
            context.screen_color or None,
            context.language or None,
            context.user_agent or PRODUCT,
            context.title or None,
            "UTF-8",
            _ACTIONS[type(event)],
            _data(event),
            "svc",
            "flowStart" if isinstance(event, TicketCreateStart) else "click",
            context.search_hub or None,
            context.client_id or None,
            uid,
            context.tracking_id or None,
        )

    def _document_click(
        self, event: DocumentSuggestionClick | DocumentSuggestionQuickview, context: Context
    ) -> "_DocumentClick":
        document = event.suggestion
        return _DocumentClick(  # in the order of its members
            context.language or None,
            context.user_agent or PRODUCT,
            context.anonymous,
            context.client_id or None,
            context.origin_context or None,
            context.search_hub or None,
            context.origin_level2 or None,
            _cut(context.origin_level3, ORIGIN_LEVEL3_MAX),
            self._username(context, context.anonymous) or None,
            None if context.anonymous else context.user_display_name or None,
            context.tracking_id or None,
            _ACTIONS[type(event)],
            document.document_position,
            document.document_title or None,
            document.document_url or None,
            document.source_name or None,
            _ContentId("permanentid", event.suggestion_id),
            event.response_id or None,
        )

    def _web_event(self, event: WebEvent, context: Context) -> dict[str, Any]:
        anonymous = context.anonymous if event.anonymous is None else event.anonymous
        own: dict[str, Any] = msgspec.to_builtins(event)
        del own["action"]
        if isinstance(event, ClickEvent):
            own["documentPosition"] = event.document_position
        if event.origin_level3 is not None:
            own["originLevel3"] = truncate_url(event.origin_level3, ORIGIN_LEVEL3_MAX)
        if not event.user_agent:  # there always is one (B-03)
            own.pop("userAgent", None)
        if event.custom_data is not None:
            own["customData"] = self._custom_data(event.custom_data)
        if self.auth == "search_token":
            own.pop("username", None)
        return _clean(self._from_context(context, anonymous) | own)

    def _from_context(self, context: Context, anonymous: bool) -> dict[str, Any]:
        return {
            "language": context.language,
            "userAgent": context.user_agent or PRODUCT,
            "anonymous": anonymous,
            "clientId": context.client_id,
            "originContext": context.origin_context,
            "originLevel1": context.search_hub,
            "originLevel2": context.origin_level2,
            "originLevel3": _cut(context.origin_level3, ORIGIN_LEVEL3_MAX),
            "username": self._username(context, anonymous),
            "userDisplayName": None if anonymous else context.user_display_name,
            "trackingId": context.tracking_id,
        }

    def _username(self, context: Context, anonymous: bool) -> str | None:
        return None if anonymous or self.auth == "search_token" else context.username

    def _custom_data(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {
            content_key(key) if self.normalise_keys else key: value
            if isinstance(value, str) or self.custom_values == "raw"
            else msgspec.json.encode(value, order="deterministic").decode()
            for key, value in data.items()
        }


def truncate_url(url: str, limit: int) -> str:
    """Cut a URL to at most ``limit`` characters, never inside ``%XX`` nor inside a percent-encoded UTF-8 character."""
    if len(url) <= limit:
        return url
    for run in re.finditer("(?:%[0-9A-Fa-f]{2})+", url):
        if run.start() < limit < run.end():
            octets = bytes.fromhex(run[0].replace("%", ""))
            keep = (limit - run.start()) // 3
            # A character is a leading octet and up to three continuations (0x80 to 0xBF): cut before its lead.
            for lead in range(keep, max(keep - 4, -1), -1):
                if not 0x80 <= octets[lead] < 0xC0:
                    return url[: run.start() + 3 * lead]
            return url[: run.start() + 3 * keep]
    return url[:limit]


def _clean(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out top-level members that are None or empty, as the library does; 0, false, [] and {} stay."""
    return {name: value for name, value in body.items() if value is not None and value != ""}


def _cut(url: str | None, limit: int) -> str | None:
    return truncate_url(url, limit) if url else None


def _header(user_agent: str | None) -> str:
    """The context's user agent, if it can stand in a header."""
    if user_agent and user_agent.isascii() and user_agent.isprintable():
        return user_agent
    return PRODUCT


def _data(event: Event) -> msgspec.Raw | None:
    """The documented members of an event as JSON, None if it has none."""
    if isinstance(event, SuggestionRate) and event.suggestion.from_quickview is not None:
        event = replace(event, suggestion=replace(event.suggestion, from_quickview=None))
    elif isinstance(event, TicketCancel) and event.cause is not None:
        event = replace(event, cause=None)
    # The action is the first member, always the same for a class: what follows is taken as it is written.
    encoded = _encode(event)
    start = _DATA_STARTS[type(event)]
    return msgspec.Raw(b"{" + encoded[start + 1 :]) if encoded[start] == _COMMA else None


_encode = msgspec.json.Encoder().encode
_CONTENT_TYPE = ("Content-Type", "application/json")
_ACTIONS: dict[type[Event], str] = {event: str(event.__struct_config__.tag) for event in _KINDS}
_DATA_STARTS: dict[type[Event], int] = {event: len(f'{{"action":"{action}"') for event, action in _ACTIONS.items()}
_COMMA = ord(",")


# The bodies, their members in order; those that are None are left out. A struct is made and written in a fifth of the
# time that a dict takes, if its members are given by position: by name, making one takes ten times as long.


class _Collect(
    msgspec.Struct,
    rename={"search_hub": "searchHub", "tracking_id": "trackingId"},
    omit_defaults=True,
    gc=False,
):
    svc_ticket_id: str | None = None
    svc_ticket_subject: str | None = None
    svc_ticket_description: str | None = None
    svc_ticket_category: str | None = None
    svc_ticket_product_id: str | None = None
    svc_ticket_custom: Mapping[str, Any] | None = None
    t: str | None = None
    pid: str | None = None
    dr: str | None = None
    dl: str | None = None
    tm: int | None = None
    z: str | None = None
    sr: str | None = None
    sd: str | None = None
    ul: str | None = None
    ua: str | None = None
    dt: str | None = None
    de: str | None = None
    svc_action: str | None = None
    svc_action_data: msgspec.Raw | None = None
    ec: str | None = None
    ea: str | None = None
    search_hub: str | None = None
    cid: str | None = None
    uid: str | None = None
    tracking_id: str | None = None


class _ContentId(msgspec.Struct, rename={"key": "contentIDKey", "value": "contentIDValue"}, gc=False):
    key: str
    value: str


class _DocumentClick(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    language: str | None = None
    user_agent: str | None = None
    anonymous: bool | None = None
    client_id: str | None = None
    origin_context: str | None = None
    origin_level1: str | None = None
    origin_level2: str | None = None
    origin_level3: str | None = None
    username: str | None = None
    user_display_name: str | None = None
    tracking_id: str | None = None
    action_cause: str | None = None
    document_position: int | None = None
    document_title: str | None = None
    document_url: str | None = None
    source_name: str | None = None
    custom_data: _ContentId | None = None
    search_query_uid: str | None = None
