"""Who the client is, and ids that follow from others.

The client id is a UUID that stands for one person or browser. Every source of events of one person must use
the same one (rule CA-014). Somebody who has an own name for the person instead, such as a chat user id, gets the
same UUID from it as Coveo's JavaScript library does.
"""

import re
from functools import lru_cache
from hashlib import sha1
from uuid import UUID, uuid5

__all__ = ["client_id_from", "event_id", "page_view_id"]

COVEO_CLIENT_ID_NAMESPACE = UUID("38824e1f-37f5-42d3-8372-a4b8fa9df946")
"""The namespace under which coveo.analytics 2.30.55 (``setClientId``) derives client ids."""

EVENT_NAMESPACE = UUID("8d9ad1a2-3e0a-5f6e-9c0b-7a4c3f1e2d55")
"""Our own namespace: ids on the wire are derived from the record's identity, so that a resend is recognisable."""

# UUID() also takes braces, a urn: prefix, underscores, digits of other scripts, and hyphens in any place.
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def client_id_from(name: str, namespace: str | None = None) -> str:
    """Return the client id (a lower-case UUID) for an own name of a person.

    ``name``: a UUID of any version, which is returned in lower case, or any other non-empty string.
    ``namespace``: your own, for instance the name of your bot; needed unless ``name`` is a UUID. The same name in
    the same namespace gives the same id in every process, and in Coveo's JavaScript library.

    Raises ValueError when ``name`` is empty, is no UUID and there is no namespace, or is no valid Unicode.

    >>> client_id_from("jo@example.com", "my-tracker")
    '95ac99b8-5ff9-5f36-bae5-aaa5ff1f8a30'
    """
    if _UUID.fullmatch(name):
        return name.lower()
    if not name:
        raise ValueError("a client's name cannot be empty")
    if not namespace:
        raise ValueError("a client's name that is not a UUID needs a namespace")
    try:
        return str(uuid5(uuid5(COVEO_CLIENT_ID_NAMESPACE, namespace), name))
    except UnicodeEncodeError:  # it would hold the name
        raise ValueError("a client's name and its namespace cannot hold half of a surrogate pair") from None


def event_id(session_id: str, seq: int) -> str:
    """The id of an event on the wire (``z``): always the same UUID for the same record."""
    return _uuid5_of_event(f"{seq}/{session_id}")


@lru_cache(maxsize=256)  # as a rule, several records of a session are sent one after the other
def page_view_id(session_id: str) -> str:
    """The id of a session's page view on the wire (``pid``), constant over the session."""
    return _uuid5_of_event(session_id)


_NAMESPACE_HASHED = sha1(EVENT_NAMESPACE.bytes, usedforsecurity=False)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _uuid5_of_event(name: str) -> str:
    """What ``str(uuid5(EVENT_NAMESPACE, name))`` gives, in a quarter of the time: no UUID is made on the way."""
    hashed = _NAMESPACE_HASHED.copy()
    hashed.update(name.encode())
    digits = hashed.hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"
