"""What is said at each step, and which choice a reply is."""

import unicodedata

from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.memory import Memory, documents_of, field_of, value_of, values_of
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.conversation.steps import ENDS
from caseassist.conversation.texts import Texts
from caseassist.core.events import OfferedDocument, Ticket
from caseassist.core.session import Session

__all__ = ["chosen_by", "is_greeting", "kind_of", "plain_words", "prompt_of", "says_solved"]

BOUND = frozenset({"skip", "yes", "no", "back", "none"})
"""Choices whose ids say what they are about, after a colon: buttons of an earlier question stay on the screen."""
MAX_CHOICE = 300
"""Nothing longer is looked for among the choices."""
MAX_WORDS = 4
"""In a reply of so many words, the first can say yes or no."""

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
            if session.ticket.description is not None:
                choices.append(("back:description", texts.keep))
        case "asking":
            name = memory.field or ""
            question = texts.ask.format(field=texts.label(name))
            choices += [(one, value.value) for one, value in values_of(dialogue, session, name).items()]
            field = field_of(dialogue, name)
            takes_text = not field.values
            if value_of(session.ticket, name) is not None:
                choices.append((f"back:{name}", texts.keep))
            elif not field.required:
                choices.append((f"skip:{name}", texts.skip))
        case "reading":
            question = texts.documents
            documents = list(documents_of(dialogue, session, memory))
            cards = tuple(_card(document, one) for one, (document, _) in documents)
            choices += [
                (one, texts.open.format(title=document.suggestion.document_title)) for one, (document, _) in documents
            ]
            place = documents[0][0].removeprefix("open:").partition(".")[0]
            choices += [("solved", texts.helped), (f"none:{place}", texts.none_helped)]
        case "rating":
            found = documents_of(dialogue, session, memory)
            opened, document = next((one, it) for one, (it, _) in found if it.suggestion_id == memory.document)
            question = texts.did_it_help.format(title=document.suggestion.document_title)
            cards = (_card(document, None),)
            place = opened.removeprefix("open:")
            choices += [(f"yes:{place}", texts.yes), (f"no:{place}", texts.no), (f"back:{place}", texts.back)]
        case "reviewing":
            question = texts.review.format(ticket=_known(dialogue, session.ticket, texts))
            choices.append(("file", texts.file))
            if not memory.unsure:  # what may be filed cannot be changed any more
                names = [field.name for field in dialogue.fields]
                choices += [(f"change:{name}", texts.change.format(field=texts.label(name))) for name in names]
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
        numbered=not takes_text or any(one.partition(":")[0] not in ("skip", "back", "leave") for one, _ in choices),
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


def _card(document: OfferedDocument, choice: str | None) -> Card:
    told = document.suggestion
    return Card(
        suggestion_id=document.suggestion_id,
        title=told.document_title,
        url=document.click_uri or told.document_url,
        source=told.source_name,
        excerpt=document.excerpt,
        choice=choice,
    )


def chosen_by(prompt: Prompt, texts: Texts, text: str | None, choice: str | None) -> str | None:
    """The id of the choice that a reply is: given by its id, or typed: by a name, in words, or as its place.

    What is written as it stands there counts before what differs in punctuation and capitals, and that before what
    differs in accents.
    """
    if choice is not None:
        return next((one.id for one in prompt.choices if choice == one.id or choice == kind_of(one.id)), None)
    if text is None or len(text) > MAX_CHOICE:
        return None
    names = _names(prompt, texts)
    for plain in (str.strip, plain_words, _without_accents):
        written = plain(text)
        if not written:
            return None
        for choice_id, called in names:
            if written in map(plain, called):
                return choice_id
        for one in prompt.choices:
            if written in map(plain, texts.words.get(kind_of(one.id), ())):
                return one.id
    number = plain_words(text).lstrip("#")
    first, *more = plain_words(text).split()
    if prompt.numbered and number.isdecimal() and len(number) <= 3 and 0 < int(number) <= len(prompt.choices):
        return prompt.choices[int(number) - 1].id
    if prompt.step in ("rating", "reviewing") and len(more) < MAX_WORDS:
        decides = plain_words(first)
        for one in prompt.choices:
            if decides in _first_words(texts, kind_of(one.id)):
                return one.id
    return None


def _first_words(texts: Texts, kind: str) -> set[str]:
    """Words that decide for a choice though more words follow. Only a yes files: "please" may go on with "wait"."""
    words = {name: set(map(plain_words, texts.words.get(name, ()))) for name in ("yes", "no", "file")}
    return words["yes"] & words["file"] if kind == "file" else words.get(kind, set())


def kind_of(choice_id: str) -> str:
    """A choice without what it is about: ``yes`` of ``yes:1.2``."""
    kind = choice_id.partition(":")[0]
    return kind if kind in BOUND else choice_id


def says_solved(texts: Texts, text: str) -> bool:
    """Whether somebody says that it is solved, whatever they were asked."""
    return len(text) <= MAX_CHOICE and _without_accents(text) in map(_without_accents, texts.words.get("solved", ()))


def _names(prompt: Prompt, texts: Texts) -> list[tuple[str, tuple[str, ...]]]:
    """What each choice may be called: as it is labelled, by its id, or by the document or the field alone."""
    alone: dict[str, str] = {}
    if prompt.step == "reading":
        alone = {choice.id: card.title for choice, card in zip(prompt.choices, prompt.cards, strict=False)}
    elif prompt.step == "reviewing":
        alone = {choice.id: texts.label(choice.id.removeprefix("change:")) for choice in prompt.choices}
    return [
        (one.id, (one.label, one.id, kind_of(one.id).replace(":", " "), alone.get(one.id, one.label)))
        for one in prompt.choices
    ]


def is_greeting(dialogue: Dialogue, text: str) -> bool:
    """Whether a text says hello, in any language: who says hello need not know which one we speak."""
    if len(text) > MAX_CHOICE:
        return False
    greetings = (greeting for texts in dialogue.texts.values() for greeting in texts.greetings)
    return plain_words(text) in map(plain_words, greetings)


def plain_words(text: str) -> str:
    """Small letters, one space for any white space, plain apostrophes, and no punctuation around."""
    small = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return " ".join(small.strip(_AROUND).split())


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFKD", plain_words(text))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
