"""What is said at each step, and which choice a reply is."""

import unicodedata

from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.memory import Memory, documents_of, field_of, value_of, values_of
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.conversation.steps import ENDS
from caseassist.conversation.texts import Texts
from caseassist.core.events import OfferedDocument, Ticket
from caseassist.core.session import Session

__all__ = ["chosen_by", "is_greeting", "plain_words", "prompt_of"]

_AROUND = " \t\n\r!.?,;:¡¿…()\"'“”„«»"
"""Punctuation that makes no difference around what is written."""


def prompt_of(dialogue: Dialogue, session: Session, memory: Memory) -> Prompt:
    texts = dialogue.texts_for(session.context.language)
    cards: tuple[Card, ...] = ()
    choices: list[tuple[str, str]] = []
    takes_text = False
    match memory.step:
        case "describing":
            question = texts.greeting if session.ticket.description is None else texts.describe
            question = question if {"describe_again", "too_long"}.isdisjoint(memory.notices) else ""
            takes_text = True
        case "asking":
            name = memory.field or ""
            question = texts.ask.format(field=texts.label(name))
            choices += [(one, value.value) for one, value in values_of(dialogue, session, name).items()]
            field = field_of(dialogue, name)
            takes_text = not field.values
            if not field.required:
                choices.append(("skip", texts.skip))
        case "reading":
            question = texts.documents
            documents = list(documents_of(dialogue, session, memory))
            cards = tuple(_card(document) for _, (document, _) in documents)
            choices += [
                (one, texts.open.format(title=document.suggestion.document_title)) for one, (document, _) in documents
            ]
            choices += [("solved", texts.helped), ("none", texts.none_helped)]
        case "rating":
            found = documents_of(dialogue, session, memory)
            document = next(one for _, (one, _) in found if one.suggestion_id == memory.document)
            question = texts.did_it_help.format(title=document.suggestion.document_title)
            cards = (_card(document),)
            choices += [("yes", texts.yes), ("no", texts.no), ("back", texts.back)]
        case "reviewing":
            question = texts.review.format(ticket=_known(dialogue, session.ticket, texts))
            choices.append(("file", texts.file))
            choices += [
                (f"change:{one.name}", texts.change.format(field=texts.label(one.name))) for one in dialogue.fields
            ]
        case "solved":
            question = texts.solved
        case "created":
            question = texts.created.format(ticket_id=session.ticket.id)
        case "left":
            question = texts.left if "expired" not in memory.notices else ""
        case _:
            question, takes_text = texts.one_moment, True
    ended = memory.step in ENDS
    if memory.step != "filing":
        choices.append(("new", texts.new_case) if ended else ("leave", texts.leave))
    notices = [_notice(notice, session.ticket, texts) for notice in memory.notices]
    return Prompt(
        text="\n\n".join(text for text in (*notices, question) if text),
        choices=tuple(Choice(id=one, label=label) for one, label in choices),
        cards=cards,
        takes_text=takes_text,
        step=memory.step,
        ended=ended,
    )


def _notice(notice: str, ticket: Ticket, texts: Texts) -> str:
    name, _, field = notice.partition(":")
    text = getattr(texts, name, "")
    if not field:
        return str(text)
    value = value_of(ticket, field)
    if name == "auto_selected" and value is None:  # somebody has cleared it since
        return ""
    return str(text).format(field=texts.label(field), value=value)


def _known(dialogue: Dialogue, ticket: Ticket, texts: Texts) -> str:
    names = ["subject", *(field.name for field in dialogue.fields)]
    values = {"subject": ticket.subject} | {name: value_of(ticket, name) for name in names if name != "subject"}
    return "\n".join(f"{texts.label(name)}: {value}" for name, value in values.items() if value is not None)


def _card(document: OfferedDocument) -> Card:
    told = document.suggestion
    return Card(
        suggestion_id=document.suggestion_id,
        title=told.document_title,
        url=document.click_uri or told.document_url,
        source=told.source_name,
        excerpt=document.excerpt,
    )


def chosen_by(prompt: Prompt, texts: Texts, text: str | None, choice: str | None) -> str | None:
    """The id of the choice that a reply is: given by its id, or typed: by a name, in words, or as its place.

    What is written as it stands there counts before what differs in punctuation and capitals, and that before what
    differs in accents.
    """
    if choice is not None:
        return choice if any(choice == one.id for one in prompt.choices) else None
    names = _names(prompt, texts)
    for plain in (str.strip, plain_words, _without_accents):
        written = plain(text or "")
        if not written:
            return None
        for choice_id, called in names:
            if written in map(plain, called):
                return choice_id
        for one in prompt.choices:
            if written in map(plain, texts.words.get(one.id, ())):
                return one.id
    number = plain_words(text or "")
    if prompt.numbered and number.isdecimal() and len(number) <= 3 and 0 < int(number) <= len(prompt.choices):
        return prompt.choices[int(number) - 1].id
    return None


def _names(prompt: Prompt, texts: Texts) -> list[tuple[str, tuple[str, ...]]]:
    """What each choice may be called: as it is labelled, by its id, or by the document or the field alone."""
    alone: dict[str, str] = {}
    if prompt.step == "reading":
        alone = {choice.id: card.title for choice, card in zip(prompt.choices, prompt.cards, strict=False)}
    elif prompt.step == "reviewing":
        alone = {choice.id: texts.label(choice.id.removeprefix("change:")) for choice in prompt.choices}
    return [
        (one.id, (one.label, one.id, one.id.replace(":", " "), alone.get(one.id, one.label))) for one in prompt.choices
    ]


def is_greeting(dialogue: Dialogue, text: str) -> bool:
    """Whether a text says hello, in any language: who says hello need not know which one we speak."""
    greetings = (greeting for texts in dialogue.texts.values() for greeting in texts.greetings)
    return plain_words(text) in map(plain_words, greetings)


def plain_words(text: str) -> str:
    """Small letters, one space for any white space, plain apostrophes, and no punctuation around."""
    small = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return " ".join(small.strip(_AROUND).split())


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFKD", plain_words(text))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
