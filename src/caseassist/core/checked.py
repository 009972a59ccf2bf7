"""Tickets and contexts that keep the rules, whoever made them."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, cast

import msgspec
from msgspec.structs import astuple, replace

from caseassist.core import fields, gate
from caseassist.core.errors import InvalidAction
from caseassist.core.events import Context, Ticket, WebEvent
from caseassist.core.fields import MAX_ID, MAX_TEXT
from caseassist.core.gate import is_id, is_text, members_of

__all__ = ["check_anonymous", "checked_context", "checked_ticket", "with_field"]

_MEMBERS = {"subject": "subject", "description": "description", "category": "category", "productId": "product_id"}
_TEXTS = {
    name: msgspec.defstruct("_Text", [("value", kind)])
    for name, kind in {
        "subject": fields.Subject,
        "description": fields.Description,
        "category": fields.Category,
        "productId": fields.Text,
    }.items()
}


def checked_ticket(ticket: Ticket | Mapping[str, Any] | None, path: str = "$.ticket") -> Ticket:
    """Return a ticket that keeps the rules, its empty members left out. Raises InvalidAction."""
    if ticket is None:
        return _EMPTY
    if type(ticket) is Ticket and _is_ready(ticket):
        return ticket if ticket.custom is None else replace(ticket, custom=dict(ticket.custom))
    members = members_of(ticket, path).items()
    filled = {name: value for name, value in members if value is not None and not _is_empty(value)}
    return gate.build(Ticket, filled, path=path, rules="TK")


def checked_context(context: Context | Mapping[str, Any] | None, path: str = "$.context") -> Context:
    """Return a context that keeps the rules, its client id in lower case. Raises InvalidAction."""
    if context is None:
        return Context()
    if type(context) is Context and _is_usual(context):
        return context
    members = {name: value for name, value in members_of(context, path).items() if value is not None}
    if type(client_id := members.get("clientId")) is str:
        members["clientId"] = client_id.lower()
    checked = gate.build(Context, members, path=path, rules="CL")
    check_anonymous(checked.anonymous, checked, path, "CL-036")
    return checked


_EMPTY = Ticket()
_SHORT = 128
"""No text of a context or a ticket has less room than so many characters."""


def _is_ready(ticket: Ticket) -> bool:
    """Whether a ticket keeps the rules as it is, which is plain of the usual ones; the gate takes ten times as long."""
    custom = cast("dict[object, object] | None", ticket.custom)
    if custom is not None:
        if type(custom) is not dict or len(custom) > _SHORT:
            return False
        for name, value in custom.items():
            if type(name) is not str or len(name) > _SHORT or not name.isprintable() or not gate.is_scalar(value):
                return False
    for text in (ticket.id, ticket.subject, ticket.description, ticket.category, ticket.product_id):
        if text is not None and not is_id(text, MAX_ID):
            return False
    return True


_context_texts = attrgetter(*(name for name in Context.__struct_fields__ if name != "anonymous"))


def _is_usual(context: Context) -> bool:
    """Whether a context keeps the rules as it is: a known language, all of it short and clean."""
    for text in _context_texts(context):
        if text is not None and (type(text) is not str or not 0 < len(text) <= _SHORT or not text.isprintable()):
            return False
    return (
        context.anonymous is False
        and (context.language is None or context.language in fields.LANGUAGES)
        and (context.client_id is None or fields.is_client_id(context.client_id))
    )


def check_anonymous(anonymous: bool, names: Context | WebEvent, path: str, rule: str) -> None:
    """Raise InvalidAction if somebody who wants to stay anonymous has a name."""
    if anonymous:
        for member, value in (("username", names.username), ("userDisplayName", names.user_display_name)):
            if value:
                raise InvalidAction("an anonymous person has no name here", path=f"{path}.{member}", rule=rule)


def _is_empty(value: Any) -> bool:
    return type(value) is str and not value


def with_field(ticket: Ticket, name: str, value: Any) -> Ticket:
    """Return the ticket with one field set, or cleared by an empty value."""
    if name == "id":
        problem = "only `create` gives a ticket its id"
        raise InvalidAction(problem, path="$.fieldName", rule="CC-003")
    if (member := _MEMBERS.get(name)) is not None:
        if is_text(value, MAX_TEXT):
            value = value or None
            if member == "subject":
                return replace(ticket, subject=value)
            if member == "description":
                return replace(ticket, description=value)
            if member == "category":
                return replace(ticket, category=value)
            return replace(ticket, product_id=value)
        text = gate.build(_TEXTS[name], {"value": "" if value is None else value})
        return replace(ticket, **{member: astuple(text)[0] or None})
    custom = dict(ticket.custom or {})
    value = gate.plain(value, "$.value")
    if value is None or _is_empty(value):
        custom.pop(name, None)
        return replace(ticket, custom=custom or None)
    custom[name] = value
    if len(custom) > 1:  # every record carries them all, so the limits hold for them all
        gate.plain(custom, "$.ticket.custom")
    return replace(ticket, custom=custom)
