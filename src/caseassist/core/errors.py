"""What can go wrong, as a tree by who must act::

    CaseAssistError
    ├── ActionError            your call: nothing was recorded
    │   ├── InvalidAction      an argument breaks a rule
    │   ├── IllegalTransition  the session's state does not allow this action
    │   ├── UnknownSuggestion  the suggestion was not offered in this session
    │   ├── UnknownSession     no record of that session
    │   ├── RepeatedMessage    the message had its turn already
    │   ├── NotRunning         the CaseAssist is not open
    │   └── Forked             it was opened in another process
    ├── StoreError             the stored data
    │   ├── CorruptRecord      a record that cannot be read or does not follow from those before it
    │   ├── UnsupportedRecord  a record that a newer version wrote
    │   ├── SequenceConflict   somebody else appended first
    │   ├── PositionConflict   somebody else delivers
    │   ├── SessionErased      the session's personal data was erased
    │   ├── StoreFull          no room, and the store's policy is to say so
    │   ├── StoreUnavailable   the data cannot be reached
    │   └── AppendUnknown      cut off while writing: stored or not, nobody knows
    ├── DeliveryError          the other side
    │   ├── SinkUnavailable    not now: worth another try
    │   └── SinkRefused        not this event: no use trying again
    └── ServiceError           a service that the conversation asks
        ├── NoSuggestions      the Customer Service API gave none: go on without
        └── TicketNotCreated   the helpdesk filed none: tell the person, try again

Every error keeps its data in attributes; the sentence is built from them. No message holds a value that
may be personal: it names the place, what was expected, and the kind of thing that was found.
"""

from typing import Any

__all__ = [
    "ActionError",
    "AppendUnknown",
    "CaseAssistError",
    "CorruptRecord",
    "DeliveryError",
    "Forked",
    "IllegalTransition",
    "InvalidAction",
    "NoSuggestions",
    "NotRunning",
    "PositionConflict",
    "RepeatedMessage",
    "SequenceConflict",
    "ServiceError",
    "SessionErased",
    "SinkRefused",
    "SinkUnavailable",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "TicketNotCreated",
    "UnknownSession",
    "UnknownSuggestion",
    "UnsupportedRecord",
]


class CaseAssistError(Exception):
    """The root: catch this to catch everything that caseassist raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is pickled as a call with its `args`, which our keyword-only arguments do not take. A process
        # pool whose worker raises what cannot be unpickled hangs.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(cls: type[CaseAssistError], args: tuple[Any, ...], members: dict[str, Any]) -> CaseAssistError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(members)
    return error


class ActionError(CaseAssistError):
    """An action was refused. Nothing was recorded or sent; the session is as it was."""

    rule: str | None = None
    """Id of the broken rule (see docs/reference/rules), where there is one."""
    path: str | None = None
    """Place of the offending value, such as ``$.suggestion.documentPosition``."""
    allowed: tuple[str, ...] | None = None
    """What would have been possible instead, where that is a list of names."""


class InvalidAction(ActionError):
    """An argument breaks a rule.

    ``problem`` says what was expected and what kind of thing was found, never the value itself.
    """

    def __init__(self, problem: str, *, path: str = "$", rule: str | None = None) -> None:
        super().__init__(problem, path, rule)
        self.problem = problem
        self.path = path
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" + (f" (rule {self.rule})" if self.rule else "")


class IllegalTransition(ActionError):
    """The session's state does not allow the action."""

    def __init__(self, state: str, action: str, allowed: tuple[str, ...]) -> None:
        super().__init__(state, action, allowed)
        self.state = state
        self.action = action
        self.allowed = allowed

    def __str__(self) -> str:
        if not self.allowed:
            return f"{self.action!r} is not possible: the session has ended ({self.state}); start a new session"
        return f"{self.action!r} is not possible in state {self.state!r}; possible are: {', '.join(self.allowed)}"


class UnknownSuggestion(ActionError):
    """The classification or document was not offered in this session.

    Offer it first, or pass the whole suggestion, so that the log stays complete.
    """

    def __init__(self, kind: str, suggestion_id: str, response_id: str | None, *, rule: str, path: str) -> None:
        super().__init__(kind, suggestion_id, response_id, rule, path)
        self.kind = kind
        self.suggestion_id = suggestion_id
        self.response_id = response_id
        self.rule = rule
        self.path = path

    def __str__(self) -> str:
        where = "in this session" if self.response_id is None else f"in response {self.response_id!r} of this session"
        return (
            f"{self.path}: {self.kind} {self.suggestion_id!r} was not offered {where}; "
            f"offer it first, or pass the whole suggestion with its response id (rule {self.rule})"
        )


class UnknownSession(ActionError):
    """There is no record of the session: it was never started here, or its records are gone."""

    path = "$.session"

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id

    def __str__(self) -> str:
        return f"there is no session {self.session_id!r} in this store; start it first"


class RepeatedMessage(ActionError):
    """The session has taken its turn on this message already: the platform delivered it twice."""

    path = "$.messageId"

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(session_id, message_id)
        self.session_id = session_id
        self.message_id = message_id

    def __str__(self) -> str:
        return f"session {self.session_id!r} has had its turn on message {self.message_id!r}: do nothing"


class NotRunning(ActionError):
    """The CaseAssist is not open: not entered yet, or closed already."""

    def __str__(self) -> str:
        return "the CaseAssist is not open: use it inside `async with CaseAssist(...)`"


class Forked(ActionError):
    """It was opened in the process that this one was forked from. Nothing was done."""

    def __str__(self) -> str:
        return "this was open when the process was forked: fork first and open then, or start a new process"


class StoreError(CaseAssistError):
    """The stored data is not what it should be, or could not be written."""


class CorruptRecord(StoreError):
    """A stored record that cannot be read, or that does not follow from those before it.

    ``position``: its position in the store, where it was read from one.
    """

    def __init__(self, problem: str, *, where: str = "", position: int | None = None) -> None:
        super().__init__(problem, where, position)
        self.problem = problem
        self.where = where
        self.position = position

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}" if self.where else self.problem


class UnsupportedRecord(StoreError):
    """A record of a newer version or an unknown kind. It is kept and passed on, but not interpreted."""

    def __init__(self, what: str, *, where: str = "") -> None:
        super().__init__(what, where)
        self.what = what
        self.where = where

    def __str__(self) -> str:
        return f"{self.where + ': ' if self.where else ''}{self.what} is not known here; a newer caseassist wrote it"


class SequenceConflict(StoreError):
    """The record's place in its session is taken, or records before it are missing.

    Nothing was stored. Resume the session from the store and decide again.
    """

    def __init__(self, session_id: str, *, expected: int, found: int) -> None:
        super().__init__(session_id, expected, found)
        self.session_id = session_id
        self.expected = expected
        """The sequence number that the caller wanted to write."""
        self.found = found
        """The sequence number that the store would take next."""

    def __str__(self) -> str:
        return (
            f"session {self.session_id!r} stands at {self.found}, not at {self.expected}: "
            "somebody else appended; resume the session and decide again"
        )


class PositionConflict(StoreError):
    """Somebody else delivers to this sink: it does not stand where we left it. Nothing was stored."""

    def __init__(self, sink: str, *, expected: int, found: int) -> None:
        super().__init__(sink, expected, found)
        self.sink = sink
        self.expected = expected
        """The position where the caller left the sink."""
        self.found = found
        """The position where it stands."""

    def __str__(self) -> str:
        return f"sink {self.sink!r} stands at {self.found}, not at {self.expected}: somebody else delivers to it"


class SessionErased(StoreError):
    """The session's personal data was erased, so it takes no more records. Nothing was stored."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id

    def __str__(self) -> str:
        return f"session {self.session_id!r} was erased and takes no more records; start a new session"


class StoreUnavailable(StoreError):
    """The stored data cannot be reached now. Nothing was stored."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """What is wrong, in words without personal data."""

    def __str__(self) -> str:
        return f"the store is not available: {self.reason}"


class StoreFull(StoreError):
    """The store has no room. Nothing was stored."""

    def __init__(self, limit: str, *, remedy: str = "see why the sinks do not deliver, or raise its limits") -> None:
        super().__init__(limit, remedy)
        self.limit = limit
        self.remedy = remedy

    def __str__(self) -> str:
        return f"the store is full ({self.limit}): {self.remedy}"


class AppendUnknown(StoreError):
    """The call was cut off while the store was writing. Repeating the same append is safe."""

    def __init__(self, session_id: str, seq: int) -> None:
        super().__init__(session_id, seq)
        self.session_id = session_id
        self.seq = seq

    def __str__(self) -> str:
        return f"record {self.seq} of session {self.session_id!r} may or may not be stored; append it again to be sure"


class DeliveryError(CaseAssistError):
    """A sink could not take what it was given."""


class SinkUnavailable(DeliveryError):
    """The sink cannot take anything at the moment; the same records are worth another try.

    ``delivered``: how many of the records of the call were taken before this happened.
    ``retry_after_s``: seconds that the other side asked for, if it did.
    ``paused``: it will not take anything before somebody changes something, such as a token or an address.
    """

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, delivered: int = 0, paused: bool = False
    ) -> None:
        super().__init__(reason, retry_after_s, delivered, paused)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.delivered = delivered
        self.paused = paused

    def __str__(self) -> str:
        later = "" if self.retry_after_s is None else f"; asked to wait {self.retry_after_s:g} s"
        return f"{self.reason}{later}"


class SinkRefused(DeliveryError):
    """The sink will never take this one record; those after it may be fine.

    ``delivered``: how many of the records of the call were taken before the refused one.
    ``status``: the HTTP status, where there is one.
    """

    def __init__(self, reason: str, *, status: int | None = None, delivered: int = 0) -> None:
        super().__init__(reason, status, delivered)
        self.reason = reason
        self.status = status
        self.delivered = delivered

    def __str__(self) -> str:
        return self.reason


class ServiceError(CaseAssistError):
    """A service that the conversation asks has no answer. Nothing was recorded; the conversation can go on.

    ``reason``: for people, without tokens and personal data. ``status``: the HTTP status, where there is one.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason, status)
        self.reason = reason
        self.status = status

    def __str__(self) -> str:
        return self.reason


class NoSuggestions(ServiceError):
    """The Customer Service API gave no suggestions in the time it had. Go on without."""


class TicketNotCreated(ServiceError):
    """The helpdesk did not file the ticket, or did not say so.

    ``maybe_created``: whether it may have filed it all the same. Filing again under the same key is safe.
    """

    def __init__(self, reason: str, *, status: int | None = None, maybe_created: bool = False) -> None:
        super().__init__(reason, status=status)
        self.maybe_created = maybe_created
