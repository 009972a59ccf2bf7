"""What a conversation says, as plain data: every chat platform shows it in its own way."""

import msgspec

__all__ = ["Card", "Choice", "Prompt"]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to press or to type: an answer that the conversation understands."""

    id: str
    """What comes back when it is chosen, such as ``solved`` or ``open:2.1``; the same in every language."""
    label: str
    """What the person reads."""


class Card(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A document to show."""

    suggestion_id: str
    """The document's ``permanentid``."""
    title: str
    url: str
    """Where the person opens it."""
    source: str
    """The name of where it comes from."""
    excerpt: str | None = None
    """What of it to show."""
    choice: str | None = None
    """The id of the choice that opens it, where there is one."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the conversation says, and what it understands as an answer."""

    text: str
    """Plain text: notices about what has happened first, then the question; paragraphs are separated by empty lines."""
    choices: tuple[Choice, ...] = ()
    """What may be answered, in the order to show it. It may be typed, too: the label, the id, the place in the order if
    the choices are ``numbered``, or other words that the texts know."""
    cards: tuple[Card, ...] = ()
    """The documents to show, the best first."""
    takes_text: bool = False
    """Whether an answer in the person's own words is asked for."""
    numbered: bool = True
    """Whether a number tells a choice by its place. Where there is little but text to give, a number is text."""
    step: str
    """Where the conversation stands: see docs/reference/conversation."""
    ended: bool = False
    """Whether the session has ended. There still is a way on: to a new one."""

    def __repr__(self) -> str:  # the ticket is in its text
        return f"<Prompt {self.step}>"
