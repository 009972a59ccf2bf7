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

from caseassist.core.errors import UnsupportedRecord
from caseassist.core.events import (
    ClickEvent,
    Context,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    Event,
    SuggestionRate,
    Ticket,
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
        event = record.event
        try:
            kind = _KINDS[type(event)]
        except KeyError:
            raise UnsupportedRecord(f"how to send {action_name(event)!r}") from None
        if kind is None:
            return None
        body = self.body(record)
        headers = [("Content-Type", "application/json"), ("User-Agent", _header(record.context.user_agent))]
        if token:
            headers.insert(0, ("Authorization", f"Bearer {token}"))
        return Request(
            origin=self.endpoint.origin,
            path=self.endpoint.path_of(kind),
            headers=tuple(headers),
            body=msgspec.json.encode(body),
        )

    def body(self, record: Record) -> dict[str, Any]:
        """The members of the request's body, empty ones left out."""
        event, context = record.event, record.context
        if isinstance(event, WebEvent):
            return self._web_event(event, context)
        if isinstance(event, DocumentSuggestionClick | DocumentSuggestionQuickview):
            return self._document_click(event, context)
        return self._collect(record)

    def _collect(self, record: Record) -> dict[str, Any]:
        event, context = record.event, record.context
        data: dict[str, Any] = msgspec.to_builtins(event)
        action = data.pop("action")
        data.pop("cause", None)
        if isinstance(event, SuggestionRate):  # the documented members only
            data["suggestion"].pop("fromQuickview", None)
        return _clean(
            _ticket(record.ticket)
            | {
                "t": "event",
                "pid": page_view_id(record.session_id),
                "dr": _cut(context.referrer, LOCATION_MAX),
                "dl": _cut(context.location, LOCATION_MAX),
                "tm": (record.time - EPOCH) // MILLISECOND,
                "z": event_id(record.session_id, record.seq),
                "sr": context.screen_resolution,
                "sd": context.screen_color,
                "ul": context.language,
                "ua": context.user_agent or PRODUCT,
                "dt": context.title,
                "de": "UTF-8",
                "svc_action": action,
                "svc_action_data": data or None,
                "ec": "svc",
                "ea": "flowStart" if isinstance(event, TicketCreateStart) else "click",
                "searchHub": context.search_hub,
                "cid": context.client_id,
                "uid": self._username(context, context.anonymous) or ("anonymous" if self.auth == "api_key" else None),
                "trackingId": context.tracking_id,
            }
        )

    def _document_click(
        self, event: DocumentSuggestionClick | DocumentSuggestionQuickview, context: Context
    ) -> dict[str, Any]:
        document = event.suggestion
        return _clean(
            self._from_context(context, context.anonymous)
            | {
                "actionCause": action_name(event),
                "documentPosition": document.document_position,
                "documentTitle": document.document_title,
                "documentUrl": document.document_url,
                "sourceName": document.source_name,
                "customData": {"contentIDKey": "permanentid", "contentIDValue": event.suggestion_id},
                "searchQueryUid": event.response_id,
            }
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


def _ticket(ticket: Ticket) -> dict[str, Any]:
    return {
        "svc_ticket_id": ticket.id,
        "svc_ticket_subject": ticket.subject,
        "svc_ticket_description": ticket.description,
        "svc_ticket_category": ticket.category,
        "svc_ticket_product_id": ticket.product_id,
        "svc_ticket_custom": ticket.custom,
    }


def _clean(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out top-level members that are None or empty, as the library does; 0, false, [] and {} stay."""
    return {name: value for name, value in body.items() if value is not None and value != ""}


def _cut(url: str | None, limit: int) -> str | None:
    return None if url is None else truncate_url(url, limit)


def _header(user_agent: str | None) -> str:
    """The context's user agent, if it can stand in a header."""
    if user_agent and user_agent.isascii() and user_agent.isprintable():
        return user_agent
    return PRODUCT
