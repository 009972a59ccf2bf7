"""What an HTTP reply of the analytics service means for the event that was sent."""

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

import msgspec

from caseassist.wire.http import Reply, Request
from caseassist.wire.secret import Secret

__all__ = ["MAX_RETRY_AFTER_S", "Verdict", "judge", "retry_after_s"]

MAX_RETRY_AFTER_S = 3600.0
"""The longest wait in seconds that a server can ask for: a mistake of its must not silence us for ever."""

_PHRASES = {int(status): f"HTTP {int(status)} {status.phrase}" for status in HTTPStatus}
RETRIED = frozenset({408, 425, 429})
_TYPE = re.compile("[A-Za-z][A-Za-z0-9_]{0,63}")
_ECHO = 6
"""So many characters in a row that were sent are an echo."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a reply means.

    ``accepted``: the service has the event. ``later``: try the same again. ``paused``: nothing will be accepted until
    somebody changes something (a token, an address). ``refused``: this one event will never be accepted.
    """

    outcome: Literal["accepted", "later", "paused", "refused"]
    status: int
    reason: str
    """For people: the status, and the type of error that the service names. Holds nothing of what was sent."""
    retry_after_s: float | None = None
    """Seconds that the service asked for, 0 to 3600."""


def judge(reply: Reply, *, request: Request | None = None, token: Secret | None = None) -> Verdict:
    """Return what a reply means, by its status: what a 2xx says in its body does not matter.

    ``request``, ``token``: what was sent, to be kept out of the reason: servers echo what they do not like.
    """
    status = reply.status
    reason = _reason(reply, request, token)
    if 200 <= status < 300:
        return Verdict(outcome="accepted", status=status, reason=reason)
    if status in RETRIED or status >= 500:
        return Verdict(outcome="later", status=status, reason=reason, retry_after_s=retry_after_s(reply))
    if status < 400 or status in (401, 403, 407):
        return Verdict(outcome="paused", status=status, reason=reason)
    return Verdict(outcome="refused", status=status, reason=reason)


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


def _reason(reply: Reply, request: Request | None, token: Secret | None) -> str:
    """The status in words. The body stays out of it, for servers echo tokens and tickets; the error's type may come."""
    phrase = _PHRASES.get(reply.status) or f"HTTP {reply.status}"
    if reply.status < 400:
        return phrase
    try:
        kind = msgspec.json.decode(reply.body, type=_Error).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        kind = ""
    if not _TYPE.fullmatch(kind) or (request is not None and _is_echo(kind, request.body)):
        return phrase
    return f"{phrase} ({kind if token is None else token.scrub(kind)})"


def _is_echo(kind: str, body: bytes) -> bool:
    """Whether a type of error repeats what was sent: it could be a name that stood in the ticket."""
    small, sent = kind.lower().encode(), body.lower()
    run = min(_ECHO, len(small))
    return any(small[start : start + run] in sent for start in range(len(small) - run + 1))


class _Error(msgspec.Struct):
    type: str = ""
