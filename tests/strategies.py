"""Hypothesis strategies for what the core is made of: contexts, tickets, events, records, answers of the service.

Everything drawn here keeps the rules, and reaches into their corners: any Unicode but halves of surrogate pairs, empty
texts where they are allowed, the smallest and largest numbers.
"""

from datetime import UTC
from typing import Any, TypeVar

from hypothesis import strategies as st

from caseassist.core.events import (
    AnyEvent,
    Classification,
    ClassificationsOffered,
    ClickEvent,
    Context,
    CustomEvent,
    Document,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    OfferedClassification,
    OfferedDocument,
    RatedDocument,
    SuggestionClick,
    SuggestionRate,
    Ticket,
    TicketCancel,
    TicketClassificationClick,
    TicketCreate,
    TicketCreateStart,
    TicketFieldUpdate,
    TicketNextStage,
    TurnTaken,
)
from caseassist.core.fields import LANGUAGES
from caseassist.core.records import Record

T = TypeVar("T")

_UNICODE = st.characters(exclude_categories=["Cs"])
_NO_CONTROLS = st.characters(exclude_categories=["Cs", "Cc"])


def text(max_size: int = 30, *, min_size: int = 0) -> st.SearchStrategy[str]:
    """Any text."""
    return st.text(_UNICODE, min_size=min_size, max_size=max_size)


def identifier(max_size: int = 20) -> st.SearchStrategy[str]:
    """Text as identifiers may be: not empty, without control characters."""
    return st.text(_NO_CONTROLS, min_size=1, max_size=max_size)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """The strategy's values, or None."""
    return st.none() | strategy


def json_value() -> st.SearchStrategy[Any]:
    """Any JSON value that a custom member may hold."""
    whole = st.integers(-(2**63), 2**64 - 1)
    scalar = st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | text()
    return st.recursive(
        scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(10), inner, max_size=3), max_leaves=8
    )


def client_id() -> st.SearchStrategy[str]:
    """A UUID in lower case."""
    return st.uuids().map(str)


def language() -> st.SearchStrategy[str]:
    """A code of ISO 639-1."""
    return st.sampled_from(sorted(LANGUAGES))


def time() -> st.SearchStrategy[Any]:
    """A datetime in UTC."""
    return st.datetimes(timezones=st.just(UTC))


@st.composite
def context(draw: st.DrawFn, *, full: bool = False) -> Context:
    """A context. ``full``: it has all that every action needs, so that none is refused for lack of it."""
    anonymous = draw(st.booleans())
    name = st.none() if anonymous else maybe(text())
    least = 1 if full else 0
    return Context(
        client_id=draw(client_id() if full else maybe(client_id())),
        search_hub=draw(text(min_size=1) if full else maybe(text())),
        language=draw(language() if full else maybe(language())),
        origin_context=draw(maybe(text(min_size=least))),
        origin_level2=draw(maybe(text())),
        origin_level3=draw(maybe(text(200))),
        user_agent=draw(maybe(text())),
        anonymous=anonymous,
        username=draw(name),
        user_display_name=draw(name),
        tracking_id=draw(maybe(identifier())),
        location=draw(maybe(text())),
        referrer=draw(maybe(text())),
        title=draw(maybe(text())),
        screen_resolution=draw(maybe(text())),
        screen_color=draw(maybe(text())),
    )


def ticket(*, with_id: bool = False) -> st.SearchStrategy[Ticket]:
    """A ticket. ``with_id``: it may have an id, as it has after ``create``."""
    return st.builds(
        Ticket,
        id=maybe(identifier()) if with_id else st.none(),
        subject=maybe(text()),
        description=maybe(text()),
        category=maybe(text()),
        product_id=maybe(text()),
        custom=maybe(st.dictionaries(text(10), json_value(), max_size=3)),
    )


def classification() -> st.SearchStrategy[Classification]:
    """A proposed value."""
    return st.builds(Classification, value=text(min_size=1), confidence=st.floats(0, 1))


def document() -> st.SearchStrategy[Document]:
    """A suggested document."""
    return st.builds(
        Document,
        document_title=text(min_size=1),
        document_url=text(min_size=1),
        document_position=st.integers(1, 2**63 - 1),
        source_name=text(min_size=1),
        document_uri_hash=maybe(text(32)),
    )


def rated_document() -> st.SearchStrategy[RatedDocument]:
    """A rated document."""
    return st.builds(
        RatedDocument,
        document_title=text(min_size=1),
        document_url=text(min_size=1),
        document_position=st.integers(1, 2**63 - 1),
        document_uri_hash=maybe(text(32)),
        from_quickview=maybe(st.booleans()),
    )


def offered_classification() -> st.SearchStrategy[OfferedClassification]:
    """An item of an offer of classifications."""
    return st.builds(
        OfferedClassification,
        classification_id=identifier(),
        field_name=identifier(),
        classification=classification(),
    )


def offered_document() -> st.SearchStrategy[OfferedDocument]:
    """An item of an offer of documents."""
    return st.builds(
        OfferedDocument,
        suggestion_id=identifier(),
        suggestion=document(),
        excerpt=maybe(text()),
        click_uri=maybe(identifier()),
    )


_CUSTOM_DATA = st.dictionaries(
    st.from_regex("[a-z0-9_]{1,10}", fullmatch=True), json_value(), max_size=3
)  # in small letters: no two keys are one to the service
_CONTEXT_MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "client_id": maybe(client_id()),
    "language": maybe(language()),
    "origin_context": maybe(text()),
    "origin_level1": maybe(text()),
    "origin_level2": maybe(text()),
    "origin_level3": maybe(text(200)),
    "user_agent": maybe(text()),
    "anonymous": maybe(st.booleans()),
    "username": maybe(text()),
    "user_display_name": maybe(text()),
    "tracking_id": maybe(identifier()),
    "outcome": maybe(st.integers(-5, 5)),
    "split_test_run_name": maybe(text()),
    "split_test_run_version": maybe(text()),
    "custom_data": maybe(_CUSTOM_DATA),
}


def event() -> st.SearchStrategy[AnyEvent]:
    """An event of any kind that can stand in a record."""
    reference = {"suggestion_id": identifier(), "response_id": identifier()}
    return st.one_of(
        st.builds(TicketCreateStart),
        st.builds(TicketFieldUpdate, field_name=identifier()),
        st.builds(
            ClassificationsOffered,
            response_id=identifier(),
            classifications=st.lists(offered_classification(), max_size=3).map(tuple),
        ),
        st.builds(
            DocumentsOffered, response_id=identifier(), documents=st.lists(offered_document(), max_size=3).map(tuple)
        ),
        st.builds(
            TicketClassificationClick,
            classification_id=identifier(),
            response_id=identifier(),
            field_name=identifier(),
            classification=classification(),
            auto_selection=st.booleans(),
        ),
        st.builds(DocumentSuggestionClick, **reference, suggestion=document()),
        st.builds(DocumentSuggestionQuickview, **reference, suggestion=document()),
        st.builds(SuggestionRate, **reference, rate=st.floats(0, 1), suggestion=rated_document()),
        st.builds(SuggestionClick, **reference, suggestion=rated_document()),
        st.builds(TicketNextStage, stage=maybe(identifier())),
        st.builds(
            TurnTaken,
            message_id=maybe(identifier()),
            memory=maybe(st.dictionaries(text(10), json_value(), max_size=3)),
        ),
        st.builds(TicketCreate),
        st.builds(
            TicketCancel,
            reason=st.sampled_from(["Quit", "Solved"]),
            cause=st.sampled_from([None, "user", "unload", "timeout"]),
        ),
        st.builds(
            ClickEvent,
            action_cause=identifier(),
            search_query_uid=identifier(),
            source_name=text(min_size=1),
            document_position=st.integers(1, 2**63 - 1),
            document_title=maybe(text(min_size=1)),
            document_url=maybe(text(min_size=1)),
            document_author=maybe(text()),
            document_uri=maybe(text()),
            document_uri_hash=maybe(text()),
            document_category=maybe(text()),
            collection_name=maybe(text()),
            ranking_modifier=maybe(text()),
            query_pipeline=maybe(text()),
            **_CONTEXT_MEMBERS,
        ),
        st.builds(
            CustomEvent,
            event_type=identifier(),
            event_value=identifier(),
            last_search_query_uid=maybe(identifier()),
            **_CONTEXT_MEMBERS,
        ),
    )


def record() -> st.SearchStrategy[Record]:
    """A record on its own: it need not follow from any other."""
    return st.builds(
        Record,
        session_id=identifier(),
        seq=st.integers(0, 2**63 - 1),
        time=time(),
        event=event(),
        ticket=ticket(with_id=True),
        context=context(),
    )


def classifications_answer(
    classification_ids: st.SearchStrategy[str], response_ids: st.SearchStrategy[str]
) -> st.SearchStrategy[dict[str, Any]]:
    """An answer of ``classify``."""
    prediction = st.fixed_dictionaries(
        {"id": classification_ids, "value": text(min_size=1), "confidence": st.floats(0, 1)}
    )
    predictions = st.lists(prediction, max_size=3, unique_by=lambda item: item["id"])
    field = st.fixed_dictionaries({"predictions": predictions})
    names = st.sampled_from(["category", "subject", "productId", "urgency"])
    return st.fixed_dictionaries(
        {"responseId": response_ids, "fields": st.dictionaries(names, field, max_size=1)},
        optional={"timing": st.integers()},
    )


def documents_answer(
    suggestion_ids: st.SearchStrategy[str], response_ids: st.SearchStrategy[str]
) -> st.SearchStrategy[dict[str, Any]]:
    """An answer of ``documents/suggest``."""
    members = st.fixed_dictionaries(
        {"permanentid": suggestion_ids, "source": text(min_size=1)},
        optional={"uri": text(min_size=1), "urihash": text(32), "filetype": text()},
    )
    one = st.fixed_dictionaries(
        {"title": text(min_size=1), "clickUri": text(min_size=1), "fields": members},
        optional={"excerpt": maybe(text())},
    )

    def permanentid(item: Any) -> str:
        return str(item["fields"]["permanentid"])

    documents = st.lists(one, max_size=3, unique_by=permanentid)
    return st.fixed_dictionaries({"responseId": response_ids, "documents": documents})
