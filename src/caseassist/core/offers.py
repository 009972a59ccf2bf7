"""What was offered in a session, and what may be taken from it.

Offers are kept as they were made, oldest first. A suggestion can be taken from any response of the session, not only
from the last. One response says one thing: offers that contradict each other under the same response id are refused.
"""

from operator import attrgetter
from typing import TypeAlias, TypeVar

from caseassist.core.errors import InvalidAction, UnknownSuggestion
from caseassist.core.events import (
    ClassificationsOffered,
    Document,
    DocumentsOffered,
    DocumentSuggestionClick,
    DocumentSuggestionQuickview,
    Event,
    OfferedClassification,
    OfferedDocument,
    RatedDocument,
    SuggestionRate,
    TicketClassificationClick,
)

__all__ = [
    "Checked",
    "Offer",
    "Offers",
    "add_offer",
    "are_distinct",
    "as_rated",
    "check_taken",
    "find_classification",
    "find_document",
    "is_offered",
    "offered_items",
]

Offer: TypeAlias = ClassificationsOffered | DocumentsOffered
Item: TypeAlias = OfferedClassification | OfferedDocument
Offers: TypeAlias = tuple[Offer, ...]
T = TypeVar("T")


class Checked(tuple[T, ...]):
    """The items of an offer, one at least, that were held against the rules, each said once.

    They cannot change, so nobody need look again. No items are ``()``: as such, they are left out of the JSON.
    """

    __slots__ = ()


def add_offer(offers: Offers, offer: Offer) -> Offers:
    """Return the offers with one more. Raises InvalidAction when it contradicts itself or an earlier one."""
    if _is_new(offers, offer):
        return (*offers, offer)
    told = {_key(item): item for item in _of_response(offers, offer)}
    places = {_place(item): _key(item) for item in told.values()}
    for item in offered_items(offer):
        known = told.setdefault(_key(item), item)
        if _said(known) != _said(item) or places.setdefault(_place(item), _key(item)) != _key(item):
            rule = "CA-061" if isinstance(item, OfferedClassification) else "CL-022"
            problem = (
                f"{_key(item)!r} contradicts what response {offer.response_id!r} has offered: "
                "in a response, one id and one position mean one suggestion"
            )
            raise InvalidAction(problem, path="$.response", rule=rule)
    return (*offers, offer)


def _is_new(offers: Offers, offer: Offer) -> bool:
    """Whether an offer says each thing once, and its response has offered nothing before."""
    for other in offers:
        if other.response_id == offer.response_id:
            return False
    items = offered_items(offer)
    return type(items) is Checked or are_distinct(items)


def are_distinct(items: tuple[Item, ...]) -> bool:
    """Whether each id, and each position of a document, is there once."""
    if not items or type(items[0]) is OfferedClassification:
        return len(set(map(_classification_id, items))) == len(items)
    return len(set(map(_suggestion_id, items))) == len(items) == len(set(map(_position, items)))


_classification_id = attrgetter("classification_id")
_suggestion_id = attrgetter("suggestion_id")
_position = attrgetter("suggestion.document_position")


def offered_items(offer: Offer) -> tuple[Item, ...]:
    """The suggestions of an offer."""
    if type(offer) is DocumentsOffered:
        return offer.documents
    assert type(offer) is ClassificationsOffered
    return offer.classifications


def is_offered(offers: Offers, offer: Offer) -> bool:
    """Whether everything in ``offer`` was offered before, under the same response id."""
    before = [_said(item) for item in _of_response(offers, offer)]
    return all(_said(item) in before for item in offered_items(offer))


def find_classification(
    offers: Offers, classification_id: str, response_id: str | None
) -> tuple[OfferedClassification, str]:
    """Return an offered classification and the id of its response; the latest, if ``response_id`` is None."""
    for offer in reversed(offers):
        if type(offer) is ClassificationsOffered and (response_id is None or response_id == offer.response_id):
            for item in offer.classifications:
                if item.classification_id == classification_id:
                    return item, offer.response_id
    raise UnknownSuggestion("classification", classification_id, response_id, rule="CA-060", path="$.classificationId")


def find_document(
    offers: Offers, suggestion_id: str, response_id: str | None, rules: str
) -> tuple[OfferedDocument, str]:
    """Return an offered document and the id of its response; the latest, if ``response_id`` is None.

    ``rules``: how the ids of the rules of the event begin that takes it.
    """
    for offer in reversed(offers):
        if type(offer) is DocumentsOffered and (response_id is None or response_id == offer.response_id):
            for item in offer.documents:
                if item.suggestion_id == suggestion_id:
                    return item, offer.response_id
    rule = "CA-052" if rules == "CA" else f"{rules}-021"
    raise UnknownSuggestion("document", suggestion_id, response_id, rule=rule, path="$.suggestionId")


def as_rated(document: Document) -> RatedDocument:
    """What a rating says of an offered document."""
    return RatedDocument(
        document_title=document.document_title,
        document_url=document.document_url,
        document_position=document.document_position,
        document_uri_hash=document.document_uri_hash,
    )


def check_taken(offers: Offers, event: Event) -> None:
    """Raise unless what the event takes is what was offered."""
    if type(event) is TicketClassificationClick:
        item, _ = find_classification(offers, event.classification_id, event.response_id)
        same = item.field_name == event.field_name and item.classification == event.classification
    elif type(event) is DocumentSuggestionClick or type(event) is DocumentSuggestionQuickview:
        document, _ = find_document(offers, event.suggestion_id, event.response_id, event.rules)
        same = document.suggestion == event.suggestion
    elif type(event) is SuggestionRate:
        document, _ = find_document(offers, event.suggestion_id, event.response_id, event.rules)
        same = as_rated(document.suggestion) == event.suggestion
    else:
        return
    if not same:
        raise InvalidAction("differs from what was offered", path="$.event")


def _of_response(offers: Offers, offer: Offer) -> list[Item]:
    return [
        item
        for other in offers
        if type(other) is type(offer) and other.response_id == offer.response_id
        for item in offered_items(other)
    ]


def _key(item: Item) -> str:
    return item.classification_id if isinstance(item, OfferedClassification) else item.suggestion_id


def _said(item: Item) -> Item:
    """What an item says of the suggestion: what only serves to show it may be left out when it is told again."""
    if isinstance(item, OfferedClassification) or item.excerpt is item.click_uri is None:
        return item
    return OfferedDocument(suggestion_id=item.suggestion_id, suggestion=item.suggestion)


def _place(item: Item) -> object:
    """What else can be there only once in a response: a document's position."""
    return item if isinstance(item, OfferedClassification) else item.suggestion.document_position
