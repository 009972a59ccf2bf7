"""What an HTTP reply of the analytics service means for the event that was sent."""

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

import msgspec

from caseassist.wire.http import Reply

__all__ = ["MAX_RETRY_AFTER_S", "Verdict", "judge", "retry_after_s"]

MAX_RETRY_AFTER_S = 3600.0
"""The longest wait in seconds that a server can ask for: a mistake of its must not silence us for ever."""

RETRIED = frozenset({408, 425, 429})
_TYPE = re.compile("[A-Za-z][A-Za-z0-9_]{0,63}")


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a reply means.

    ``accepted``: the service has the event. ``later``: try the same again. ``paused``: nothing will be accepted until
    somebody changes something (a token, an address). ``refused``: this one event will never be accepted.
    """

    outcome: Literal["accepted", "later", "paused", "refused"]
    status: int
    reason: str
    """For people: the status, and the type of error that the service names."""
    retry_after_s: float | None = None
    """Seconds that the service asked for, 0 to 3600."""


def judge(reply: Reply) -> Verdict:
    """Return what a reply means, by its status: what a 2xx says in its body does not matter."""
    status = reply.status
    if 200 <= status < 300:
        return Verdict(outcome="accepted", status=status, reason=_reason(reply))
    if status in RETRIED or status >= 500:
        return Verdict(outcome="later", status=status, reason=_reason(reply), retry_after_s=retry_after_s(reply))
    if status < 400 or status in (401, 403, 407):
        return Verdict(outcome="paused", status=status, reason=_reason(reply))
    return Verdict(outcome="refused", status=status, reason=_reason(reply))


def retry_after_s(reply: Reply) -> float | None:
    """Seconds that ``Retry-After`` asks for, 0 to 3600; None when it is absent or makes no sense.

    A date is read against the reply's own ``Date``, so that a wrong clock here or there does not matter.
    """
    value = (reply.header("retry-after") or "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value)
        sent = parsedate_to_datetime(reply.header("date") or "")
        return min(max((until - sent).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(reply: Reply) -> str:
    """The status in words. The body stays out of it, for servers echo tokens and tickets; the error's type may come."""
    try:
        phrase = f"HTTP {reply.status} {HTTPStatus(reply.status).phrase}"
    except ValueError:
        phrase = f"HTTP {reply.status}"
    if reply.status < 400:
        return phrase
    try:
        kind = msgspec.json.decode(reply.body, type=_Error).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        kind = ""
    return f"{phrase} ({kind})" if _TYPE.fullmatch(kind) else phrase


class _Error(msgspec.Struct):
    type: str = ""
