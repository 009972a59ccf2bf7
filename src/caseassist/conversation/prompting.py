"""What is said at each step, and which choice a reply is."""

import unicodedata

from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.memory import Memory, documents_of, field_of, value_of, values_of
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.conversation.steps import ENDS, WAITING
from caseassist.conversation.texts import Texts
from caseassist.core.events import OfferedDocument, Ticket
from caseassist.core.session import Session

__all__ = ["chosen_by", "plain_words", "prompt_of"]


def prompt_of(dialogue: Dialogue, session: Session, memory: Memory) -> Prompt:
    texts = dialogue.texts_for(session.context.language)
    cards: tuple[Card, ...] = ()
    choices: list[tuple[str, str]] = []
    takes_text = False
    match memory.step:
        case "describing":
            question = texts.greeting if session.ticket.description is None else texts.describe
            question = "" if "describe_again" in memory.notices else question
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
    return str(text).format(field=texts.label(field), value=value_of(ticket, field)) if field else str(text)


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
    """The id of the choice that a reply is: given by its id, or typed as its place, its label, its id, or in words."""
    if choice is not None:
        return choice if any(choice == one.id for one in prompt.choices) else None
    written = plain_words(text or "")
    if not written:
        return None
    for one in prompt.choices:
        if written in (plain_words(one.label), plain_words(one.id)):
            return one.id
    for one in prompt.choices:
        if written in texts.words.get(one.id, ()):
            return one.id
    free = prompt.step == "describing" or prompt.step in WAITING  # a number is a description there
    if written.isdecimal() and len(written) <= 3 and not free and 0 < int(written) <= len(prompt.choices):
        return prompt.choices[int(written) - 1].id
    return None


def plain_words(text: str) -> str:
    """Small letters, without white space and punctuation around."""
    small = unicodedata.normalize("NFC", text).casefold().strip()
    return small.strip(" \t\n!.?,;:¡¿…\"'“”«»").strip()
