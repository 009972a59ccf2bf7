"""What was offered, and what may be taken from it."""

from typing import Any

import msgspec
import pytest

from caseassist.core.errors import InvalidAction, UnknownSuggestion
from caseassist.core.events import (
    Classification,
    ClassificationsOffered,
    Document,
    DocumentsOffered,
    OfferedClassification,
    OfferedDocument,
    RatedDocument,
    TicketCreate,
)
from caseassist.core.offers import (
    Offer,
    Offers,
    add_offer,
    as_rated,
    check_taken,
    find_classification,
    find_document,
    is_offered,
    offered_items,
)


def classification(item_id: str, value: str = "v", *, field: str = "f", confidence: float = 0.5) -> Any:
    return OfferedClassification(
        classification_id=item_id,
        field_name=field,
        classification=Classification(value=value, confidence=confidence),
    )


def document(item_id: str, position: int, *, title: str = "t", **shown: str) -> OfferedDocument:
    suggestion = Document(document_title=title, document_url="u", document_position=position, source_name="s")
    return OfferedDocument(suggestion_id=item_id, suggestion=suggestion, **shown)


def values(response_id: str, *items: OfferedClassification) -> ClassificationsOffered:
    return ClassificationsOffered(response_id=response_id, classifications=items)


def documents(response_id: str, *items: OfferedDocument) -> DocumentsOffered:
    return DocumentsOffered(response_id=response_id, documents=items)


def all_of(*offers: Offer) -> Offers:
    added: Offers = ()
    for offer in offers:
        added = add_offer(added, offer)
    return added


def test_offers_are_kept_as_they_were_made_oldest_first() -> None:
    made = (values("r1", classification("a")), documents("r2", document("d", 1)), values("r3"))
    assert all_of(*made) == made
    assert [len(offered_items(offer)) for offer in made] == [1, 1, 0]


@pytest.mark.parametrize(
    "offers",
    [
        (values("r", classification("a")), values("r", classification("a"))),
        (values("r", classification("a")), values("r", classification("b"))),
        (values("r1", classification("a")), values("r2", classification("a", "other"))),
        (values("r", classification("a"), classification("a")),),
        (documents("r", document("d", 1)), documents("r", document("d", 1), document("e", 2))),
        (documents("r1", document("d", 1)), documents("r2", document("e", 1))),
        (documents("r", document("a", 1)), values("r", classification("a"))),  # an id of each kind
        (documents("r"), documents("r", document("d", 1))),
    ],
)
def test_offers_that_agree_are_added(offers: tuple[Offer, ...]) -> None:
    assert all_of(*offers) == offers


@pytest.mark.parametrize(
    ("offers", "rule"),
    [
        ((values("r", classification("a")), values("r", classification("a", "other"))), "CA-061"),
        ((values("r", classification("a")), values("r", classification("a", confidence=0.6))), "CA-061"),
        ((values("r", classification("a")), values("r", classification("a", field="g"))), "CA-061"),
        ((values("r", classification("a"), classification("a", "other")),), "CA-061"),
        ((documents("r", document("d", 1)), documents("r", document("d", 2))), "CL-022"),
        ((documents("r", document("d", 1)), documents("r", document("d", 1, title="other"))), "CL-022"),
        ((documents("r", document("d", 1)), documents("r", document("e", 1))), "CL-022"),
        ((documents("r", document("d", 1), document("e", 1)),), "CL-022"),
        ((documents("r", document("d", 1)), documents("r2"), documents("r", document("e", 1))), "CL-022"),
    ],
)
def test_offers_that_contradict_each_other_are_refused(offers: tuple[Offer, ...], rule: str) -> None:
    before = all_of(*offers[:-1])
    with pytest.raises(InvalidAction) as caught:
        add_offer(before, offers[-1])
    assert (caught.value.path, caught.value.rule) == ("$.response", rule)


def test_something_is_offered_when_the_same_response_said_so() -> None:
    offers = all_of(values("r", classification("a"), classification("b")), documents("r", document("d", 1)))
    assert is_offered(offers, values("r", classification("b")))
    assert is_offered(offers, documents("r", document("d", 1)))
    assert not is_offered(offers, values("r", classification("c")))
    assert not is_offered(offers, values("r2", classification("a")))
    assert not is_offered(offers, values("r", classification("a", "other")))
    assert not is_offered((), values("r", classification("a")))


SHOWN = [{"excerpt": "e"}, {"click_uri": "c"}, {"excerpt": "e", "click_uri": "c"}]


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("other", [{}, {"excerpt": "another"}, {"click_uri": "another"}])
def test_what_only_serves_to_show_a_document_makes_no_other_suggestion_of_it(
    shown: dict[str, str], other: dict[str, str]
) -> None:
    one, same = documents("r", document("d", 1, **shown)), documents("r", document("d", 1, **other))
    assert all_of(one, same) == (one, same)
    assert all_of(same, one) == (same, one)
    assert is_offered((one,), same)
    assert is_offered((same,), one)
    assert add_offer((), documents("r", *one.documents, *same.documents))
    assert find_document((one,), "d", None, "CD") == (document("d", 1, **shown), "r")


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("other", [document("d", 2), document("d", 1, title="other"), document("e", 1)])
def test_what_serves_to_show_a_document_hides_no_contradiction(shown: dict[str, str], other: OfferedDocument) -> None:
    other = msgspec.structs.replace(other, **shown)
    for offers in ((document("d", 1, **shown), other), (document("d", 1), other), (other, document("d", 1))):
        with pytest.raises(InvalidAction, match="contradicts"):
            all_of(*(documents("r", each) for each in offers))
    assert not is_offered(all_of(documents("r", document("d", 1, **shown))), documents("r", other))


def test_the_latest_response_is_found_unless_another_is_named() -> None:
    offers = all_of(
        values("r1", classification("a", "old"), classification("b")),
        documents("r1", document("d", 1, title="old")),
        values("r2", classification("a", "new")),
        documents("r2", document("d", 1, title="new")),
        values("r3"),
        documents("r3"),
    )
    assert find_classification(offers, "a", None) == (classification("a", "new"), "r2")
    assert find_classification(offers, "b", None) == (classification("b"), "r1")
    assert find_classification(offers, "a", "r1") == (classification("a", "old"), "r1")
    assert find_document(offers, "d", None, "CD") == (document("d", 1, title="new"), "r2")
    assert find_document(offers, "d", "r1", "CD") == (document("d", 1, title="old"), "r1")


@pytest.mark.parametrize(("item_id", "response_id"), [("z", None), ("a", "r9"), ("d", "r")])
def test_what_was_not_offered_is_not_found(item_id: str, response_id: str | None) -> None:
    offers = all_of(values("r", classification("a")))
    with pytest.raises(UnknownSuggestion) as caught:
        find_classification(offers, item_id, response_id)
    assert caught.value.rule == "CA-060"
    offers = all_of(documents("r", document("a", 1)), values("r", classification("d")))
    with pytest.raises(UnknownSuggestion) as caught:
        find_document(offers, item_id, response_id, "CD")
    assert (caught.value.rule, caught.value.path) == ("CD-021", "$.suggestionId")


def test_a_rating_says_of_a_document_what_the_documents_name() -> None:
    offered = msgspec.structs.replace(document("d", 3).suggestion, document_uri_hash="h")
    assert as_rated(offered) == RatedDocument(
        document_title="t", document_url="u", document_position=3, document_uri_hash="h"
    )


def test_an_event_that_takes_nothing_needs_no_offer() -> None:
    check_taken((), TicketCreate())
