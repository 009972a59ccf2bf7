"""Zendesk's ticket API: tickets as requests, and its replies read. No I/O.

Facts are from Zendesk's API reference: Tickets ("Create Ticket", "List Tickets"), Introduction ("Idempotency"),
Security and authentication, Requests ("Status codes"); and from its guide "Creating and updating tickets".
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from caseassist.core.events import Context, Ticket
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.http import Reply, Request
from caseassist.wire.secret import Secret

__all__ = [
    "Account",
    "body_of",
    "created_id",
    "found_id",
    "is_key_of_another",
    "reason_of",
    "reference_of",
    "requester_of",
]

_PLAIN = re.compile(r"[\x21-\x7e]{1,255}")
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+")
_LOCATION = re.compile(r"/tickets/([1-9][0-9]{0,18})(?:\.json)?\Z")

_CODES = frozenset({
    "BlankValue", "CouldntAuthenticateYou", "DuplicateValue", "Forbidden", "IdempotentRequestError", "InvalidFormat",
    "InvalidValue", "RecordInvalid", "RecordNotFound", "SuspendedUser", "TooManyRequests", "ValueTooLong",
    "ValueTooShort", "invalid", "invalid_token", "unavailable",
})  # fmt: skip
_PLACES = frozenset({
    "base", "comment", "custom_fields", "description", "email", "external_id", "fields", "name", "requester",
    "requester_id", "subject", "tags", "value",
})  # fmt: skip
"""The words of an error that are told. Others could repeat what was sent."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where tickets go, and who files them.

    ``endpoint``: its path is that of the API, such as ``/api/v2``. ``email``: of the agent whose API token it is; None
    for an OAuth access token.
    """

    endpoint: Endpoint
    token: Secret
    email: str | None = None

    def __repr__(self) -> str:
        return f"<Account {self.endpoint}>"

    def to_create(self, body: bytes, *, reference: str) -> Request:
        """The request that files a ticket (Tickets, "Create Ticket").

        Repeated with the same ``Idempotency-Key`` and the same body within two hours, it is answered with the ticket of
        the first time; with another body, with 400 ``IdempotentRequestError`` (Introduction, "Idempotency").
        """
        headers = (*self._headers(), ("Content-Type", "application/json"), ("Idempotency-Key", reference))
        return Request(
            origin=self.endpoint.origin, path=f"{self.endpoint.path}/tickets.json", headers=headers, body=body
        )

    def to_find(self, *, reference: str) -> Request:
        """The request that lists the tickets with an ``external_id`` (Tickets, "List Tickets")."""
        path = f"{self.endpoint.path}/tickets.json?external_id={quote(reference, safe='')}"
        return Request(method="GET", origin=self.endpoint.origin, path=path, headers=self._headers())

    def _headers(self) -> tuple[tuple[str, str], ...]:
        token = self.token.reveal()
        if self.email is None:
            value = f"Bearer {token}"
        else:
            value = f"Basic {b64encode(f'{self.email}/token:{token}'.encode()).decode()}"
        return ("Authorization", value), ("Accept", "application/json")


def reference_of(key: str) -> str:
    """What a key is in Zendesk, as ``Idempotency-Key`` and ``external_id``: at most 255 printable ASCII characters.

    A key that is none of that is replaced by its SHA-256. Zendesk documents no limit; 255 is what its users report.
    """
    return key if _PLAIN.fullmatch(key) else f"sha256-{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def requester_of(context: Context) -> dict[str, str] | None:
    """Who asks, if the context has an e-mail address as its username; nobody who wants to stay anonymous.

    Zendesk knows people by their address and needs it to make a new user; if it knows the address, it changes nothing
    about the user ("Creating a ticket with a new requester").
    """
    name = context.username
    if context.anonymous or name is None or not _ADDRESS.fullmatch(name):
        return None
    return {"email": name, "name": context.user_display_name or name}


def body_of(
    ticket: Ticket,
    *,
    reference: str,
    custom_fields: Mapping[str, int | None],
    tags: Sequence[str] = (),
    requester: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> bytes:
    """The body of a request that files a ticket.

    ``custom_fields``: ids of fields in Zendesk by their names in the ticket. ``category``, ``productId`` and custom
    fields that have none are listed below the description; those with None are left out. ``signature``: the name of
    somebody who cannot be the requester; it stands below the description, too. Raises an error of the encoder for what
    no session accepts in a ticket.
    """
    named: dict[str, Any] = {"category": ticket.category, "productId": ticket.product_id, **(ticket.custom or {})}
    fields: list[dict[str, Any]] = []
    lines: list[str] = []
    for name, value in named.items():
        if value is None or value == "":
            continue
        if name not in custom_fields:
            lines.append(f"{name}: {_text(value)}")
        elif (field := custom_fields[name]) is not None:
            fields.append({"id": field, "value": _text(value) if isinstance(value, Mapping) else value})
    if signature is not None:
        lines.append(f"userDisplayName: {signature}")
    paragraphs = [ticket.description or ticket.subject or "", "\n".join(lines)]
    members: dict[str, Any] = {
        # Zendesk takes no ticket without a comment.
        "comment": {"body": "\n\n".join(text for text in paragraphs if text.strip()) or "-"},
        "external_id": reference,
    }
    if ticket.subject:
        members["subject"] = ticket.subject
    if fields:
        members["custom_fields"] = fields
    if tags:
        members["tags"] = list(tags)
    if requester is not None:
        members["requester"] = dict(requester)
    return msgspec.json.encode({"ticket": members})


def created_id(reply: Reply) -> str | None:
    """The id of the ticket that was filed, from the body or else from ``Location``; None if there is none."""
    try:
        return str(msgspec.json.decode(reply.body, type=_Created).ticket.id)
    except _UNREADABLE:
        # A body may have been cut by the transport: it holds all that was sent, three times over.
        found = _LOCATION.search(reply.header("location") or "")
        return None if found is None else found[1]


def found_id(reply: Reply, reference: str) -> str | None:
    """The id of the first ticket with that ``external_id``; None if there is none.

    External ids need not be unique, and are compared here once more. Raises ValueError when the reply cannot be read.
    """
    try:
        tickets = msgspec.json.decode(reply.body, type=_Found).tickets
    except _UNREADABLE:
        raise ValueError("the list of tickets cannot be read") from None
    ids = [ticket.id for ticket in tickets if ticket.external_id == reference]
    return str(min(ids)) if ids else None


def is_key_of_another(reply: Reply) -> bool:
    """Whether Zendesk says that the idempotency key came with another body before."""
    return reply.status == 400 and "IdempotentRequestError" in _words_of(reply)


def reason_of(reply: Reply) -> str:
    """A refusal in words: the status, and what Zendesk calls the problem, with the members it is about.

    Nothing of the reply's own text is told, for it repeats what was sent.
    """
    words = _words_of(reply)
    return f"HTTP {reply.status}" + (f" ({', '.join(words)})" if words else "")


def _words_of(reply: Reply) -> list[str]:
    try:
        refusal = msgspec.json.decode(reply.body, type=_Refusal)
    except _UNREADABLE:
        return []
    words = [refusal.error] if isinstance(refusal.error, str) and refusal.error in _CODES else []
    return words + sorted(_PLACES.intersection(refusal.details if isinstance(refusal.details, dict) else ()))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class _Filed(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    external_id: Any = None


class _Created(msgspec.Struct):
    ticket: _Filed


class _Found(msgspec.Struct):
    tickets: list[_Filed]


class _Refusal(msgspec.Struct):
    error: Any = None
    details: dict[str, Any] | list[Any] | None = None


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
