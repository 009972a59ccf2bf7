"""Tickets, written as requests of Coveo's Customer Service API, and what its replies mean.

Two requests, as Coveo's own client (@coveo/headless 4.0.0) was recorded to send them: ``classify`` with ``{clientId,
locale, fields}``, and ``documents/suggest`` with ``{clientId, locale, fields, context, analytics}``, where ``fields``
is ``{name: {value}}`` and ``context`` is ``{name: value}``. What is empty is left out.

Coveo tells *case inputs* from *case fields*: an input is what the person writes (subject, description) and is what the
service predicts from; a field is what is chosen (category, urgency) and only narrows the search for documents.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

import msgspec

from caseassist.core.errors import InvalidAction, NoSuggestions
from caseassist.core.events import Context, Ticket
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Origin, Reply, Request, TransportError
from caseassist.wire.replies import judge
from caseassist.wire.requests import PRODUCT
from caseassist.wire.secret import Secret

__all__ = [
    "MAX_ANSWER_BYTES",
    "CaseAssistEndpoint",
    "Failure",
    "ServiceFormat",
    "failure_of",
    "read_answer",
]

MAX_ANSWER_BYTES = 1 << 20
"""The longest answer that is read. A document with 60 fields and its excerpt has 5,000 bytes; at most 100 come."""

_CASE_ASSIST_ID = re.compile("[A-Za-z0-9_-]{1,128}")
_UNAUTHORIZED = frozenset({401, 419})
"""Statuses upon which Coveo's client renews its token, too: 419 is the service's own, for a token that has expired."""
_NAMES = {"product_id": "productId"}


class CaseAssistEndpoint(msgspec.Struct, frozen=True, gc=False):
    """Where one Case Assist configuration of an organization is found."""

    origin: Origin
    path: str
    """Such as ``/rest/organizations/myorg/caseassists/00000000-1111-2222-3333-444444444444``."""

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"

    @classmethod
    def for_organization(cls, organization: str, case_assist_id: str, *, hipaa: bool = False) -> "CaseAssistEndpoint":
        """At the organization's own address, ``https://{organization}.org.coveo.com``, or ``.orghipaa.``.

        ``organization``: its id, 1 to 63 lower-case letters, digits and hyphens. ``case_assist_id``: the id of the
        configuration, 1 to 128 letters, digits, hyphens and underscores; Coveo's are UUIDs. Raises ValueError for
        anything else.
        """
        # The analytics of an organization have an address of their own, the same but for this label.
        analytics = str(Endpoint.for_organization(organization, hipaa=hipaa).origin)
        return cls.parse(analytics.replace(".analytics.", ".", 1), organization, case_assist_id)

    @classmethod
    def parse(cls, base_url: str, organization: str, case_assist_id: str) -> "CaseAssistEndpoint":
        """Below a base URL, such as ``https://platform.cloud.coveo.com``: scheme, host, port, and a path if need be.

        Otherwise as :meth:`for_organization`. Raises ValueError.
        """
        Endpoint.for_organization(organization)  # says what is wrong with it
        if not _CASE_ASSIST_ID.fullmatch(case_assist_id):
            raise ValueError("a Case Assist id is 1 to 128 letters, digits, hyphens and underscores; Coveo's are UUIDs")
        base = Endpoint.parse(f"{base_url.rstrip('/')}/rest")  # a path of its own, or it would get one of analytics
        return cls(base.origin, f"{base.path}/organizations/{organization}/caseassists/{case_assist_id}")


class ServiceFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How tickets are written as requests to one Case Assist configuration.

    Members of a ticket go by their names in JSON: ``subject``, ``description``, ``category``, ``productId``, ``id``,
    and the names in ``custom``. The id of a created ticket is sent only if it is named.
    """

    endpoint: CaseAssistEndpoint
    number_of_results: int | None = None
    """Documents to suggest, 1 to 100; None leaves it to the service, which suggests 5 (third-party copies of the
    OpenAPI description say so)."""
    debug: bool = False
    """Ask the service to explain its answer; offers have no room for it, so look at it with a transport of your own."""
    locale: str | None = None
    """Such as ``en-US``; None sends the context's language."""
    input_fields: tuple[str, ...] = ("subject", "description")
    """The members that are case inputs: what the service predicts from."""
    context_fields: tuple[str, ...] | None = None
    """The members that go along when documents are asked for; None: all that are no inputs."""
    analytics: bool = True
    """Tell the service who asks (the client id), and have it count the suggestions."""

    def classify(self, ticket: Ticket, context: Context, token: str | None) -> Request:
        """Return the request that asks for classifications of a ticket."""
        return self._request("classify", {"debug": "1"} if self.debug else {}, self._body(ticket, context), token)

    def suggest_documents(self, ticket: Ticket, context: Context, token: str | None, *, now: datetime) -> Request:
        """Return the request that asks for documents. ``now``: the time, aware, for the service's analytics."""
        query = {"debug": "1"} if self.debug else {}
        if self.number_of_results is not None:
            query["numberOfResults"] = f"{self.number_of_results:d}"
        body = self._body(ticket, context) | {"context": self._context(ticket)}
        if self.analytics and context.client_id:
            body["analytics"] = _analytics(context, now)
        return self._request("documents/suggest", query, body, token)

    def _body(self, ticket: Ticket, context: Context) -> dict[str, Any]:
        members = _members_of(ticket)
        inputs = ((name, _text(members.get(name))) for name in self.input_fields)
        return _clean(
            {
                "clientId": context.client_id if self.analytics else None,
                "locale": self.locale or context.language,
                "fields": {name: {"value": value} for name, value in inputs if value},
            }
        )

    def _context(self, ticket: Ticket) -> dict[str, str | list[str]]:
        members = _members_of(ticket)
        names = self.context_fields
        if names is None:
            names = tuple(name for name in members if name != "id" and name not in self.input_fields)
        values = ((name, _context_value(members.get(name))) for name in names)
        return {name: value for name, value in values if value}

    def _request(self, what: str, query: dict[str, str], body: dict[str, Any], token: str | None) -> Request:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        headers = [("Content-Type", "application/json"), ("User-Agent", PRODUCT)]
        if token:
            headers.insert(0, ("Authorization", f"Bearer {token}"))
        return Request(
            origin=self.endpoint.origin,
            path=f"{self.endpoint.path}/{what}" + (f"?{asked}" if asked else ""),
            headers=tuple(headers),
            body=msgspec.json.encode(body),
        )


def _analytics(context: Context, now: datetime) -> dict[str, Any]:
    """What the service's analytics are told. What only a browser knows is sent when the context has it."""
    return _clean(
        {
            "clientId": context.client_id,
            "clientTimestamp": f"{now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z",
            "documentReferrer": context.referrer or context.origin_level3,
            "documentLocation": context.location,
            "originContext": context.origin_context,
            "actionCause": "documentSuggestion",
            "trackingId": context.tracking_id,
            "userDisplayName": None if context.anonymous else context.user_display_name,
            "capture": True,
            "source": [PRODUCT.replace("/", "@")],
        }
    )


def _members_of(ticket: Ticket) -> dict[str, Any]:
    """Every member by its name in JSON, those of ``custom`` among them; of two by one name, the ticket's own."""
    own = {_NAMES.get(name, name): getattr(ticket, name) for name in ticket.__struct_fields__ if name != "custom"}
    return {**(ticket.custom or {}), **{name: value for name, value in own.items() if value is not None}}


def _text(value: Any) -> str:
    """A value as text: what is none as its JSON text, and what is empty as ``""``."""
    if isinstance(value, str):
        return value
    empty = value is None or value == [] or value == {}
    return "" if empty else msgspec.json.encode(value).decode()


def _context_value(value: Any) -> str | list[str]:
    """A value as a query context has it: a text or a list of texts."""
    if isinstance(value, list | tuple):
        return [text for text in map(_text, cast("Sequence[Any]", value)) if text]
    return _text(value)


def _clean(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out members that are None or an empty text."""
    return {name: value for name, value in body.items() if value is not None and value != ""}


# --- Replies --------------------------------------------------------------------------------------------------------


class Failure(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a request has no answer, and what may help."""

    remedy: Literal["retry", "new_token", "none"]
    reason: str
    """For people. Holds nothing of what was sent, and of what came back only the type of an error."""
    status: int | None = None
    """The HTTP status, where there was a reply."""
    retry_after_s: float | None = None
    """Seconds that the service asked for, 0 to 3600."""


def failure_of(reply: Reply | TransportError, *, request: Request, token: Secret | None) -> Failure | None:
    """Return what is wrong with a reply, or with there being none; None if it is a 2xx.

    Tried again: 408, 425, 429, 5xx, and everything that can befall a connection, for asking twice does no harm. Not: a
    transport that was closed or refuses to send, and what the service refuses. 401 and 419 want a new token.
    """
    if isinstance(reply, TransportError):
        for_good = reply.reason in ("refused_plaintext", "too_large") or (
            reply.reason == "closed" and not reply.maybe_sent
        )
        return Failure(remedy="none" if for_good else "retry", reason=str(reply))
    verdict = judge(reply, request=request, token=token)
    if verdict.outcome == "accepted":
        return None
    if verdict.status in _UNAUTHORIZED:
        return Failure(remedy="new_token", reason=verdict.reason, status=verdict.status)
    return Failure(
        remedy="retry" if verdict.outcome == "later" else "none",
        reason=verdict.reason,
        status=verdict.status,
        retry_after_s=verdict.retry_after_s,
    )


T = TypeVar("T")


def read_answer(reply: Reply, read: Callable[[bytes], T]) -> T:
    """Return what ``read`` makes of a 2xx reply's body. ``read``: raises InvalidAction for what it cannot read.

    Raises NoSuggestions then. Its text says nothing of what came; the error that it comes from names the place.
    """
    try:
        return read(reply.body)
    except InvalidAction as error:
        length = reply.header("content-length") or ""
        declared = int(length[:12]) if length.isascii() and length.isdigit() else 0
        if len(reply.body) >= MAX_ANSWER_BYTES or declared > len(reply.body):
            problem = "the answer is too long, and was cut"
        else:
            problem = "the answer cannot be read" + (f" (rule {error.rule})" if error.rule else "")
        raise NoSuggestions(f"HTTP {reply.status}, but {problem}", status=reply.status) from error
