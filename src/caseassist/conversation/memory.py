"""What a conversation knows: what its turns remember, and what the session holds to choose from."""

from collections.abc import Iterator
from typing import Any

import msgspec

from caseassist.conversation.dialogue import Dialogue, Field
from caseassist.conversation.steps import ENDS, STEPS
from caseassist.core.events import ClassificationsOffered, DocumentsOffered, OfferedDocument, Ticket
from caseassist.core.session import Session

__all__ = ["Memory", "Value", "documents_of", "field_of", "remembered", "value_of", "values_of"]

_ENDS = {"solved": "solved", "created": "created", "quit": "left"}


class Memory(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is not in the session: kept in its turns. Nothing that the person has written is in it."""

    step: str = STEPS[0]
    """Where the conversation stands."""
    stage: int = 0
    """The place of the stage in the dialogue, from 0."""
    classified: bool = False
    """Whether the stage's proposals were asked for."""
    suggested: bool = False
    """Whether the stage's documents were asked for."""
    field: str | None = None
    """The field that is asked for."""
    skipped: tuple[str, ...] = ()
    """Fields that the person did not want to fill."""
    document: str | None = None
    """The document that was opened, by its suggestion id."""
    automatic: tuple[str, ...] = ()
    """Fields whose values were taken without asking."""
    unsure: bool = False
    """Whether the ticket may have been filed, though the helpdesk did not say so."""
    useless: tuple[str, ...] = ()
    """Documents that did not help."""
    notices: tuple[str, ...] = ()
    """What to say before the question: names of texts, with a field after a colon where one is needed."""


def remembered(dialogue: Dialogue, session: Session) -> Memory:
    """What the session's latest turn left, as far as it makes sense for this dialogue, which may have been changed."""
    try:
        memory = msgspec.convert(session.memory or {}, Memory)
    except msgspec.ValidationError:  # another conversation's
        memory = Memory()
    if session.state in _ENDS or (session.next_seq and not session.active):
        step = _ENDS.get(session.state, "left")
        return memory if memory.step == step else Memory(step=step, notices=("expired",) if step == "left" else ())
    if memory.step not in STEPS or memory.step in ENDS or not 0 <= memory.stage < len(dialogue.stages):
        return Memory()
    known = {field.name for field in dialogue.fields}
    documents = {document.suggestion_id for _, (document, _) in documents_of(dialogue, session, memory)}
    lost = (
        (memory.step == "asking" and memory.field not in known)
        or (memory.step == "rating" and memory.document not in documents)
        or (memory.step == "reading" and not documents)
    )
    memory = msgspec.structs.replace(memory, automatic=tuple(name for name in memory.automatic if name in known))
    return msgspec.structs.replace(memory, step="reviewing", notices=()) if lost else memory


class Value(msgspec.Struct, frozen=True):
    """A value for a field, and the suggestion that it is, if it is one."""

    value: str
    classification_id: str | None = None
    response_id: str | None = None


def values_of(dialogue: Dialogue, session: Session, name: str) -> dict[str, Value]:
    """The values of a field by the id of the choice: of the latest offer that has some first."""
    field = field_of(dialogue, name)
    found: dict[str, Value] = {}
    for place, offer in reversed(list(enumerate(session.offers))):
        if not isinstance(offer, ClassificationsOffered):
            continue
        items = [
            (number, item)
            for number, item in enumerate(offer.classifications, 1)
            if item.field_name == name and (not field.values or item.classification.value in field.values)
        ]
        items.sort(key=lambda one: -one[1].classification.confidence)
        for number, item in items[: dialogue.proposals]:
            value = item.classification.value
            if all(value != other.value for other in found.values()):
                found[f"{name}:{place}.{number}"] = Value(value, item.classification_id, offer.response_id)
        if items:
            break
    told = {value.value for value in found.values()}
    for number, text in enumerate(field.values, 1):
        if text not in told:
            found[f"{name}:{number}"] = Value(text)
    return found


def documents_of(
    dialogue: Dialogue, session: Session, memory: Memory
) -> Iterator[tuple[str, tuple[OfferedDocument, str]]]:
    """The documents of the latest offer that are left, by the id of the choice, and the id of the response."""
    for place, offer in reversed(list(enumerate(session.offers))):
        if isinstance(offer, DocumentsOffered):
            for number, document in enumerate(offer.documents[: dialogue.documents], 1):
                if document.suggestion_id not in memory.useless:
                    yield f"open:{place}.{number}", (document, offer.response_id)
            return


def field_of(dialogue: Dialogue, name: str) -> Field:
    return next(field for field in dialogue.fields if field.name == name)


def value_of(ticket: Ticket, name: str) -> Any:
    member = {"description": ticket.description, "category": ticket.category, "productId": ticket.product_id}
    return member[name] if name in member else (ticket.custom or {}).get(name)
