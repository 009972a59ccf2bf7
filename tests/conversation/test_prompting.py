"""What is said at each step, and which choice a reply is."""

from typing import Any

import msgspec
import pytest
from tests.conversation.talk import DOWN, NOW, PROBLEM, Talk, documents, proposals

from caseassist.conversation.conversation import Conversation
from caseassist.conversation.dialogue import Dialogue, Field, Stage
from caseassist.conversation.prompting import chosen_by, is_greeting, plain_words, says_solved
from caseassist.conversation.prompts import Prompt
from caseassist.conversation.texts import ENGLISH, FRENCH, GERMAN, LANGUAGES, Texts
from caseassist.core.errors import TicketNotCreated
from caseassist.core.events import Ticket
from caseassist.core.session import Session
from caseassist.core.suggestions import read_classifications

DESCRIBE = Stage(name="describe", fields=(Field(name="description"),))


def asks_for(*fields: Field, **members: Any) -> Dialogue:
    return Dialogue(stages=(DESCRIBE, Stage(name="ask", fields=fields, **members)))


def at(step: str, language: str = "en") -> Prompt:
    """The prompt of a step of the default dialogue."""
    talk = Talk(suggested=documents("Le résumé", "Air & fuel (GC110)"))
    talk.start(PROBLEM, language=language)
    for press in {"reading": ["skip"], "rating": ["skip", "open:1.1"], "reviewing": ["skip", "none"]}.get(step, ()):
        talk.press(press)
    assert talk.conversation.step == step
    return talk.prompt


@pytest.mark.parametrize(
    ("step", "written", "chosen"),
    [
        ("asking", "1", "category:0.1"),
        ("asking", " 2. ", "category:0.2"),
        ("asking", "(2)", "category:0.2"),
        ("asking", "٢", "category:0.2"),  # Arabic
        ("asking", "२", "category:0.2"),  # Devanagari
        ("asking", "２", "category:0.2"),  # full width # noqa: RUF001
        ("asking", "3", "skip:category"),
        ("asking", "5", None),
        ("asking", "0", None),
        ("asking", "-1", None),
        ("asking", "1.5", None),
        ("asking", "0001", None),
        ("asking", "one", None),
        ("asking", "fuel", "category:0.2"),
        ("asking", "FUEL!", "category:0.2"),
        ("asking", "« Fuel »", "category:0.2"),
        ("asking", "category:0.2", "category:0.2"),
        ("asking", "fuel pump", None),
        ("asking", "I don\u2019t know", "skip:category"),
        ("asking", "Skip this", "skip:category"),
        ("asking", "no", "skip:category"),
        ("asking", "skip", "skip:category"),
        ("asking", "skip:category", "skip:category"),
        ("asking", "#2", "category:0.2"),
        ("asking", "None of these.", "skip:category"),
        ("asking", "no fuel", None),
        ("asking", "?!", None),
        ("asking", "", None),
        ("reading", "no", "none:1"),
        ("reading", "I need a human", "none:1"),
        ("reading", "no idea", None),
        ("reading", "None", "none:1"),
        ("reading", "none of these helps.", "none:1"),
        ("reading", "solved", "solved"),
        ("reading", "yes", None),
        ("reading", "open:1.2", "open:1.2"),
        ("reading", "open:9.9", None),
        ("reading", "Open “Air & fuel (GC110)”", "open:1.2"),
        ("reading", "open air & fuel (gc110", None),
        ("reading", "air & fuel (gc110)", "open:1.2"),
        ("reading", "Le resume", "open:1.1"),
        ("rating", "Le resume", None),
        ("reading", "open “le resume”", "open:1.1"),
        ("reading", "thanks", None),
        ("rating", "no", "no:1.1"),
        ("rating", "Not really", "no:1.1"),
        ("rating", "No, it did not", "no:1.1"),
        ("rating", "No! One two three", "no:1.1"),
        ("rating", "no one two three four", None),
        ("rating", "Yes, thank you", "yes:1.1"),
        ("rating", "It worked, yes", None),
        ("rating", "It didn\u2019t", "no:1.1"),
        ("rating", "back to work", None),
        ("rating", "none", None),
        ("rating", "yes", "yes:1.1"),
        ("rating", "solved", "yes:1.1"),
        ("rating", "1", "yes:1.1"),
        ("rating", "BACK", "back:1.1"),
        ("reviewing", "yes", "file"),
        ("reviewing", "Yes please!", "file"),
        ("reviewing", "looks good", "file"),
        ("reviewing", "please", "file"),
        ("reviewing", "please wait", None),
        ("reviewing", "do it later", None),
        ("reviewing", "no", None),
        ("reviewing", "change the  category", "change:category"),
        ("reviewing", "change category", "change:category"),
        ("reviewing", "Description!", "change:description"),
        ("reviewing", "change", None),
        ("reviewing", "cancel", "leave"),
        ("describing", "1", None),
    ],
)
def test_a_choice_can_be_typed(step: str, written: str, chosen: str | None) -> None:
    if step == "describing":
        talk = Talk()
        prompt = talk.start()
    else:
        prompt = at(step)
    assert chosen_by(prompt, ENGLISH, written, None) == chosen


@pytest.mark.parametrize(
    ("texts", "step", "written", "chosen"),
    [
        (FRENCH, "reading", "C'EST RESOLU", "solved"),
        (FRENCH, "reading", "c\u2019est résolu !", "solved"),
        (FRENCH, "reading", "Ca marche", "solved"),
        (FRENCH, "reading", "re\u0301solu", "solved"),
        (FRENCH, "reviewing", "creer", "file"),
        (FRENCH, "reviewing", "Arreter", "leave"),
        (FRENCH, "rating", "Oui\u00a0!", "yes:1.1"),
        (FRENCH, "rating", "Oui, merci", "yes:1.1"),
        (FRENCH, "reviewing", "D\u2019accord, merci", "file"),
        (GERMAN, "asking", "Weiß nicht", "skip:category"),
        (GERMAN, "asking", "WEISS NICHT", "skip:category"),
        (GERMAN, "reading", "„Nichts davon“", "none:1"),
        (GERMAN, "rating", "zuruck", "back:1.1"),
        (GERMAN, "rating", "zurück zur liste", "back:1.1"),
        (GERMAN, "reading", "Geloest", "solved"),
    ],
)
def test_accents_capitals_and_punctuation_make_no_difference(
    texts: Texts, step: str, written: str, chosen: str
) -> None:
    language = next(language for language, these in LANGUAGES.items() if these is texts)
    assert chosen_by(at(step, language), texts, written, None) == chosen


def test_what_is_written_exactly_counts_before_what_is_only_like_it() -> None:
    values = ("cote", "côte", "Côte", "coté")
    talk = Talk(asks_for(Field(name="where", values=values)))
    prompt = talk.start(PROBLEM)
    for number, value in enumerate(values, 1):
        assert chosen_by(prompt, FRENCH, value, None) == f"where:{number}"
    assert chosen_by(prompt, FRENCH, "CÔTE", None) == "where:2"
    assert chosen_by(prompt, FRENCH, "cöte", None) == "where:1"


def test_a_label_counts_before_a_word_and_a_place() -> None:
    talk = Talk(asks_for(Field(name="count", values=("3", "none", "1", "leave"), required=False)))
    prompt = talk.start(PROBLEM)
    found = [chosen_by(prompt, ENGLISH, written, None) for written in ("1", "2", "3", "none", "leave", "skip")]
    assert found == ["count:3", "count:2", "count:1", "count:2", "count:4", "skip:count"]


def test_words_of_ones_own_may_be_written_in_any_way() -> None:
    texts = msgspec.structs.replace(ENGLISH, words={"leave": ("Größe!",)}, greetings=("Ahoy!",))
    talk = Talk(Dialogue(texts={"en": texts}))
    talk.start("ahoy")
    assert talk.told == ["ticket_create_start"]
    assert talk.say("GRÖSSE").ended


def test_a_number_is_text_where_there_is_nothing_to_choose() -> None:
    talk = Talk(asks_for(Field(name="pieces", required=False), Field(name="category", required=False), classify=True))
    assert not talk.start().numbered
    assert not talk.say("42").numbered
    assert talk.ticket.description == "42"
    assert talk.say("2").numbered, "now there are proposals"
    assert talk.ticket.custom == {"pieces": "2"}
    talk.say("2")
    assert talk.ticket.category == "Fuel"


def test_other_words_than_the_proposed_are_a_value_unless_the_field_has_values() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    assert talk.prompt.takes_text
    assert talk.say("Something else").text == (
        "Choose one of these, or write in your own words what the category is.\n\nWhat is the category?"
    )
    assert talk.ticket == Ticket(subject=PROBLEM, description=PROBLEM), "it may have been meant for a proposal"
    talk.say("Something else")
    assert talk.ticket.category == "Something else"
    strict = Talk(asks_for(Field(name="category", values=("Fuel", "Oil")), classify=True))
    assert not strict.start(PROBLEM).takes_text
    assert "choose one of the values for the category" in strict.say("Something else").text
    assert strict.say("  ?  ").text.startswith("Please choose")
    assert strict.ticket.category is None


def test_an_empty_answer_is_not_understood_and_no_value() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    assert talk.say(" \n").text.startswith(ENGLISH.not_understood)
    assert talk.ticket.category is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Hello,\n World!! ", "hello, world"),
        ("…", ""),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("e\u0301", "é"),
    ],
)
def test_plain_words(text: str, plain: str) -> None:
    assert plain_words(text) == plain


# What is shown


def test_values_that_are_proposed_come_first_the_surest_at_the_top_and_no_value_twice() -> None:
    field = Field(name="category", values=("Oil", "Fuel", "Air"))
    dialogue = msgspec.structs.replace(asks_for(field, classify=True), proposals=2)
    classified = proposals(category={"Air": 0.1, "Strange": 0.7, "Fuel": 0.5, "Oil": 0.05}, other={"x": 0.7})
    talk = Talk(dialogue, classified=classified)
    talk.start(PROBLEM)
    assert talk.labels == ["Fuel", "Air", "Oil", "Leave"]


def test_a_value_that_is_proposed_twice_is_shown_once_with_the_greater_confidence() -> None:
    twice = {
        "predictions": [{"id": "a", "value": "Oil", "confidence": 0.1}, {"id": "b", "value": "Oil", "confidence": 0.3}]
    }
    talk = Talk(classified=read_classifications({"responseId": "r1", "fields": {"category": twice}}))
    talk.start(PROBLEM)
    assert talk.choices == ["category:0.2", "skip:category", "leave"]


def test_no_proposals_are_shown_where_none_are_wanted() -> None:
    talk = Talk(Dialogue(proposals=0))
    talk.start(PROBLEM)
    assert talk.choices == ["skip:category", "leave"]


def test_of_many_offers_the_latest_that_has_values_counts() -> None:
    talk = Talk(asks_for(Field(name="category"), Field(name="productId"), classify=True))
    talk.start(PROBLEM)
    session = talk.conversation.session
    for offer in (proposals("r2", category={"Oil": 0.2}), proposals("r3", productId={"GC110": 0.2})):
        session = Session.fold(session.offer_classifications(offer, at=NOW), session)
    session = Session.fold(session.offer_documents(documents("One"), at=NOW), session)
    talk.conversation = Conversation(talk.conversation.dialogue, session)
    assert talk.labels == ["Oil", "Leave"]


def test_a_card_shows_the_excerpt_and_where_the_document_is_opened() -> None:
    told: dict[str, Any] = {
        "clickUri": "https://support.example/a",
        "excerpt": "About air.",
        "fields": {"permanentid": "p1", "source": "Manuals", "uri": "https://docs.example/a"},
    }
    talk = Talk(suggested=documents("Air", **told))
    talk.start(PROBLEM)
    (card,) = talk.press("skip").cards
    assert (card.suggestion_id, card.title, card.url) == ("p1", "Air", "https://support.example/a")
    assert (card.source, card.excerpt) == ("Manuals", "About air.")
    assert card.choice == "open:1.1"
    (opened,) = talk.press("open:1.1").cards
    assert opened == msgspec.structs.replace(card, choice=None), "there is no choice that opens it once more"
    assert msgspec.to_builtins(card)["suggestionId"] == "p1"


def test_each_card_names_the_choice_that_opens_it() -> None:
    talk = Talk(suggested=documents("One", "Two", "Three"))
    talk.start(PROBLEM)
    talk.press("skip")
    talk.press("open:1.2")
    prompt = talk.press("no")
    assert [(card.title, card.choice) for card in prompt.cards] == [("One", "open:1.1"), ("Three", "open:1.3")]
    assert {card.choice for card in prompt.cards} < {choice.id for choice in prompt.choices}


def test_a_choice_is_taken_with_and_without_what_it_is_about() -> None:
    prompt = at("rating")
    for given, chosen in (("yes", "yes:1.1"), ("yes:1.1", "yes:1.1"), ("yes:1.2", None), ("yes:", None), ("", None)):
        assert chosen_by(prompt, ENGLISH, None, given) == chosen
    for given, chosen in (("none", "none:1"), ("none:0", None), ("open", None), ("open:1.1", "open:1.1")):
        assert chosen_by(at("reading"), ENGLISH, None, given) == chosen
    assert chosen_by(at("reviewing"), ENGLISH, None, "change") is None


def test_a_text_that_is_long_is_no_choice_and_no_greeting_and_solves_nothing() -> None:
    dialogue = Dialogue()
    for text in ("yes" + " " * 297, "yes" + " " * 298):
        assert chosen_by(at("rating"), ENGLISH, text, None) == ("yes:1.1" if len(text) <= 300 else None)
    for text in ("hello" + "!" * 295, "hello" + "!" * 296):
        assert is_greeting(dialogue, text) == (len(text) <= 300)
    for text in ("fixed" + "!" * 295, "fixed" + "!" * 296):
        assert says_solved(ENGLISH, text) == (len(text) <= 300)


def test_words_that_say_that_it_is_solved_are_known_whatever_their_accents() -> None:
    assert says_solved(FRENCH, "RESOLU !")
    assert says_solved(GERMAN, "gelost")
    assert not says_solved(ENGLISH, "")
    assert not says_solved(msgspec.structs.replace(ENGLISH, words={}), "solved")


def test_a_prompt_shows_nothing_personal_in_short() -> None:
    talk = Talk()
    talk.start("SECRET")
    talk.press("skip")
    assert "SECRET" in talk.press("none").text
    assert repr(talk.prompt) == "<Prompt reviewing>"


def test_a_card_without_a_second_address_shows_the_one_that_is_logged() -> None:
    talk = Talk(suggested=documents("Air"))
    talk.start(PROBLEM)
    (card,) = talk.press("skip").cards
    assert (card.url, card.excerpt) == ("https://docs.example/1", None)


def test_no_more_documents_are_shown_than_wanted() -> None:
    talk = Talk(Dialogue(documents=2), suggested=documents(*"abcde"))
    talk.start(PROBLEM)
    assert [card.title for card in talk.press("skip").cards] == ["a", "b"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("odd", ["{title}", "{0} {", "}} {value!r}", "%s", "x" * 1024, "a\nb", "<b>&", "👍"])
def test_whatever_stands_in_titles_values_and_labels_is_shown_as_it_is(language: str, odd: str) -> None:
    texts = msgspec.structs.replace(LANGUAGES[language], fields={"category": odd})
    talk = Talk(
        Dialogue(texts={"en": texts}, auto_select_from=0.5),
        classified=proposals(category={odd: 0.4}),
        suggested=documents(odd),
        tickets=[odd if odd.isprintable() else "T-1"],
    )
    assert odd in talk.start(odd).text
    assert talk.labels[0] == odd
    talk.press("category:0.1")
    assert talk.ticket.category == odd
    assert any(odd in label for label in talk.labels)
    assert talk.prompt.cards[0].title == odd
    assert odd in talk.press("open:1.1").text
    talk.press("back")
    assert odd in talk.press("none").text
    assert odd in "".join(talk.labels)
    assert talk.press("file").ended


def test_the_prompt_never_says_none() -> None:
    """Where a value could be missing: nothing known, a value cleared since it was taken, no suggestions."""
    stages = (Stage(name="a", classify=True, fields=(Field(name="category"), Field(name="urgency", required=False))),)
    talk = Talk(Dialogue(stages=stages), classified=proposals(category={"Fuel": 0.9}))
    talk.start()
    assert "I have set the category to “Fuel”." in talk.prompt.text
    session = talk.conversation.session
    cleared = Conversation(
        talk.conversation.dialogue, Session.fold(session.update_field("category", "", at=NOW), session)
    )
    assert cleared.prompt.text == "What is the urgency?"
    nothing = Talk(Dialogue(stages=(Stage(name="only"),)), tickets=[TicketNotCreated("down"), "T-1"])
    for prompt in (talk.prompt, cleared.prompt, talk.press("skip"), nothing.start(), nothing.press("file")):
        assert "None" not in prompt.text
        assert "None" not in "".join(choice.label for choice in prompt.choices)
    down = Talk(classified=DOWN, suggested=DOWN)
    assert "None" not in down.start(PROBLEM).text + down.press("skip").text + down.press("file").text


def test_the_review_shows_what_is_known_and_nothing_else() -> None:
    dialogue = asks_for(
        Field(name="category", required=False), Field(name="urgent", required=False), Field(name="count")
    )
    talk = Talk(dialogue)
    talk.start(ticket={"description": PROBLEM, "custom": {"urgent": False, "count": 3, "secret": "x"}})
    prompt = talk.press("skip")
    assert "description: My GC110 stops after a minute\nurgent: False\ncount: 3\n\n" in prompt.text
    assert "secret" not in prompt.text
    assert "category:" not in prompt.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_step_says_something_and_has_a_way_on(language: str) -> None:
    talk = Talk(suggested=documents("Air"))
    prompts = [talk.start(language=language), talk.say(PROBLEM), talk.press("skip"), talk.press("open:1.1")]
    prompts += [talk.press("no"), talk.press("change:category"), talk.press("leave")]
    steps = [prompt.step for prompt in prompts]
    assert steps == ["describing", "asking", "reading", "rating", "reviewing", "asking", "left"]
    for prompt in prompts:
        assert prompt.text.strip()
        assert prompt.choices[-1].id == ("new" if prompt.ended else "leave")
        assert prompt.ended == (prompt.step == "left")
