"""The texts: each language says everything, with the right places to fill in."""

from string import Formatter

import msgspec
import pytest

from caseassist.conversation.dialogue import Dialogue
from caseassist.conversation.prompting import plain_words
from caseassist.conversation.texts import ENGLISH, FRENCH, GERMAN, LANGUAGES, PLACES, Texts
from caseassist.core.fields import LANGUAGES as CODES

NAMES = [field.name for field in msgspec.structs.fields(Texts)]
SAID = [name for name in NAMES if isinstance(getattr(ENGLISH, name), str)]
CHOICES = {
    "asking": {"skip", "leave"},
    "reading": {"solved", "none", "leave"},
    "rating": {"yes", "no", "back", "leave"},
    "reviewing": {"file", "leave"},
    "ended": {"new"},
}
"""The choices that always are there, by step."""
EVERY = pytest.mark.parametrize("language", LANGUAGES)


def places(text: str) -> set[str]:
    return {place for _, place, _, _ in Formatter().parse(text) if place is not None}


@EVERY
@pytest.mark.parametrize("name", SAID)
def test_each_language_says_everything_with_all_that_is_to_be_filled_in(language: str, name: str) -> None:
    text = getattr(LANGUAGES[language], name)
    assert text == text.strip() != ""
    assert places(text) == PLACES.get(name, set())


@EVERY
def test_each_language_has_words_for_every_choice_and_no_word_for_two_of_them(language: str) -> None:
    texts = LANGUAGES[language]
    assert texts.words.keys() == set().union(*CHOICES.values())
    for choices in CHOICES.values():
        words = [plain_words(word) for choice in choices for word in texts.words[choice]]
        assert words
        assert len(words) == len(set(words))


@EVERY
def test_each_language_names_the_fields_of_a_ticket_and_can_greet(language: str) -> None:
    texts = LANGUAGES[language]
    assert texts.fields.keys() == {"subject", "description", "category", "productId"}
    assert plain_words(texts.greeting.split("!")[0]) in map(plain_words, texts.greetings)


@EVERY
def test_labels_that_are_shown_together_differ(language: str) -> None:
    texts = LANGUAGES[language]
    for labels in (
        (texts.helped, texts.none_helped, texts.leave),
        (texts.yes, texts.no, texts.back, texts.leave),
        (texts.file, texts.change, texts.leave),
        (texts.skip, texts.leave),
        (texts.keep, texts.leave),
    ):
        assert len({plain_words(label) for label in labels}) == len(labels)


def test_the_languages_do_not_share_what_they_say() -> None:
    assert set(LANGUAGES) <= CODES
    for name in SAID:
        assert len({getattr(texts, name) for texts in (ENGLISH, FRENCH, GERMAN)}) == 3 or name == "no"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("greeting", "Hello {name}!"),
        ("greeting", "Hello {}!"),
        ("greeting", "Hello {0}!"),
        ("greeting", "Hello {"),
        ("greeting", "Hello }"),
        ("ask", "What is the {field.name}?"),
        ("ask", "What is the {field[0]}?"),
        ("ask", "What is the {field:d}?"),
        ("ask", "What is the {field:{value}}?"),
        ("ask", "What is the {title}?"),
        ("did_it_help", "Did {field} help?"),
        ("created", "{ticket}"),
        ("not_understood", "What is {field}?"),
        ("auto_selected", "{field} is {value} and {confidence}"),
    ],
)
def test_what_cannot_be_filled_in_is_refused_at_once(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' may hold these places to fill in: ") as caught:
        msgspec.structs.replace(ENGLISH, **{name: text})
    assert all(f"{{{place}}}" in str(caught.value) for place in PLACES.get(name, ()))
    assert PLACES.get(name) or "none" in str(caught.value)


def test_braces_can_be_said_and_places_left_out() -> None:
    texts = msgspec.structs.replace(ENGLISH, greeting="Say {{what}}!", created="Done.", ask="{field!s:.10}?")
    assert places(texts.ask) == {"field"}
    dialogue = Dialogue(texts={"en": texts})
    assert dialogue.texts_for("en") is texts


def test_a_field_without_a_label_is_called_by_its_name() -> None:
    assert GERMAN.label("category") == "Kategorie"
    assert GERMAN.label("serial number") == "serial number"


def test_texts_show_in_short() -> None:
    assert repr(ENGLISH).startswith("<Texts 'Hello!")
    assert len(repr(ENGLISH)) < 100
