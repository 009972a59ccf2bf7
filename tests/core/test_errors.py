"""The tree of errors: what they hold, what they say, and that they travel."""

import copy
import pickle

import pytest

from caseassist.core import errors
from caseassist.core.errors import (
    ActionError,
    AppendUnknown,
    CaseAssistError,
    CorruptRecord,
    DeliveryError,
    Forked,
    IllegalTransition,
    InvalidAction,
    NoSuggestions,
    NotRunning,
    PositionConflict,
    RepeatedMessage,
    SequenceConflict,
    ServiceError,
    SessionErased,
    SinkRefused,
    SinkUnavailable,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TicketNotCreated,
    UnknownSession,
    UnknownSuggestion,
    UnsupportedRecord,
)

EXAMPLES: list[tuple[CaseAssistError, type[CaseAssistError], str]] = [
    (InvalidAction("expected text"), ActionError, "$: expected text"),
    (
        InvalidAction("expected text", path="$.subject", rule="TK-003"),
        ActionError,
        "$.subject: expected text (rule TK-003)",
    ),
    (
        IllegalTransition("started", "rate_document", ("create", "quit")),
        ActionError,
        "'rate_document' is not possible in state 'started'; possible are: create, quit",
    ),
    (
        IllegalTransition("solved", "create", ()),
        ActionError,
        "'create' is not possible: the session has ended (solved); start a new session",
    ),
    (
        UnknownSuggestion("document", "d1", None, rule="CD-021", path="$.suggestionId"),
        ActionError,
        (
            "$.suggestionId: document 'd1' was not offered in this session; "
            "offer it first, or pass the whole suggestion with its response id (rule CD-021)"
        ),
    ),
    (
        UnknownSuggestion("classification", "c1", "r1", rule="CA-060", path="$.classificationId"),
        ActionError,
        (
            "$.classificationId: classification 'c1' was not offered in response 'r1' of this session; "
            "offer it first, or pass the whole suggestion with its response id (rule CA-060)"
        ),
    ),
    (UnknownSession("a1"), ActionError, "there is no session 'a1' in this store; start it first"),
    (RepeatedMessage("a1", "m1"), ActionError, "session 'a1' has had its turn on message 'm1': do nothing"),
    (NotRunning(), ActionError, "the CaseAssist is not open: use it inside `async with CaseAssist(...)`"),
    (
        Forked(),
        ActionError,
        "this was open when the process was forked: fork first and open then, or start a new process",
    ),
    (CorruptRecord("no JSON"), StoreError, "no JSON"),
    (CorruptRecord("no JSON", where="line 3"), StoreError, "line 3: no JSON"),
    (UnsupportedRecord("the event 'x'"), StoreError, "the event 'x' is not known here; a newer caseassist wrote it"),
    (
        UnsupportedRecord("the event 'x'", where="line 3"),
        StoreError,
        "line 3: the event 'x' is not known here; a newer caseassist wrote it",
    ),
    (
        SequenceConflict("a1", expected=2, found=3),
        StoreError,
        "session 'a1' stands at 3, not at 2: somebody else appended; resume the session and decide again",
    ),
    (
        StoreFull("10 records, 900 bytes"),
        StoreError,
        "the store is full (10 records, 900 bytes): see why the sinks do not deliver, or raise its limits",
    ),
    (
        StoreFull("the disk", remedy="free some space"),
        StoreError,
        "the store is full (the disk): free some space",
    ),
    (
        PositionConflict("http", expected=2, found=3),
        StoreError,
        "sink 'http' stands at 3, not at 2: somebody else delivers to it",
    ),
    (
        SessionErased("a1"),
        StoreError,
        "session 'a1' was erased and takes no more records; start a new session",
    ),
    (StoreUnavailable("the disk hangs"), StoreError, "the store is not available: the disk hangs"),
    (
        AppendUnknown("a1", 4),
        StoreError,
        "record 4 of session 'a1' may or may not be stored; append it again to be sure",
    ),
    (SinkUnavailable("HTTP 503"), DeliveryError, "HTTP 503"),
    (
        SinkUnavailable("HTTP 429", retry_after_s=1.5, delivered=2),
        DeliveryError,
        "HTTP 429; asked to wait 1.5 s",
    ),
    (SinkRefused("HTTP 400", status=400, delivered=1), DeliveryError, "HTTP 400"),
    (NoSuggestions("no reply in time"), ServiceError, "no reply in time"),
    (NoSuggestions("HTTP 503", status=503), ServiceError, "HTTP 503"),
    (TicketNotCreated("HTTP 422", status=422), ServiceError, "HTTP 422"),
    (TicketNotCreated("no reply in time", maybe_created=True), ServiceError, "no reply in time"),
]

BY_CLASS = [pytest.param(*example, id=f"{n}-{type(example[0]).__name__}") for n, example in enumerate(EXAMPLES)]


def test_every_error_has_an_example_here() -> None:
    roots = {CaseAssistError, ActionError, StoreError, DeliveryError, ServiceError}
    assert {type(error) for error, _, _ in EXAMPLES} | roots == {getattr(errors, name) for name in errors.__all__}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert f"{name} " in errors.__doc__ or f"{name}\n" in errors.__doc__


@pytest.mark.parametrize(("error", "parent", "sentence"), BY_CLASS)
def test_an_error_says_what_happened_and_what_to_do(
    error: CaseAssistError, parent: type[CaseAssistError], sentence: str
) -> None:
    assert str(error) == sentence
    assert type(error).__base__ is parent
    assert isinstance(error, CaseAssistError)


@pytest.mark.parametrize(("error", "parent", "sentence"), BY_CLASS)
@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_an_error_arrives_whole_in_another_process(
    error: CaseAssistError, parent: type[CaseAssistError], sentence: str, travel: object
) -> None:
    assert callable(travel)
    arrived = travel(error)
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.args, vars(arrived)) == (str(error), error.args, vars(error))


def test_what_is_written_on_an_error_travels_with_it() -> None:
    error = NotRunning()
    error.add_note("while testing")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while testing"]


def test_an_action_error_has_rule_path_and_allowed_even_where_they_do_not_apply() -> None:
    error = NotRunning()
    assert (error.rule, error.path, error.allowed) == (None, None, None)
    assert IllegalTransition("new", "quit", ("start",)).allowed == ("start",)


def test_errors_keep_their_data_in_attributes() -> None:
    conflict = SequenceConflict("a1", expected=2, found=3)
    assert (conflict.session_id, conflict.expected, conflict.found) == ("a1", 2, 3)
    unavailable = SinkUnavailable("r", retry_after_s=2, delivered=1)
    assert (unavailable.reason, unavailable.retry_after_s, unavailable.delivered) == ("r", 2, 1)
    refused = SinkRefused("r", status=400)
    assert (refused.reason, refused.status, refused.delivered) == ("r", 400, 0)
    assert (AppendUnknown("a1", 4).session_id, AppendUnknown("a1", 4).seq) == ("a1", 4)
    assert StoreFull("l").limit == "l"
    assert UnsupportedRecord("w").what == "w"
    repeated = RepeatedMessage("a1", "m1")
    assert (repeated.session_id, repeated.message_id, repeated.path) == ("a1", "m1", "$.messageId")
    none = NoSuggestions("r", status=503)
    assert (none.reason, none.status, NoSuggestions("r").status) == ("r", 503, None)
    not_created = TicketNotCreated("r", status=502, maybe_created=True)
    assert (not_created.reason, not_created.status, not_created.maybe_created) == ("r", 502, True)
    assert not TicketNotCreated("r").maybe_created
    assert (UnknownSession("a1").session_id, UnknownSession("a1").path) == ("a1", "$.session")
