"""A conversation, by example: what each reply and each answer makes."""

from datetime import timedelta
from typing import Any

import pytest
from tests.conversation.talk import DOWN, NOW, PROBLEM, Talk, context, documents, proposals

from caseassist.conversation.conversation import Classify, Conversation, FileTicket, SuggestDocuments
from caseassist.conversation.dialogue import Dialogue, Field, Stage
from caseassist.conversation.steps import ENDS
from caseassist.conversation.texts import ENGLISH, FRENCH
from caseassist.core.errors import IllegalTransition, InvalidAction, NoSuggestions, TicketNotCreated
from caseassist.core.events import DocumentsOffered, Ticket, TicketClassificationClick, TicketNextStage
from caseassist.core.session import Session

DESCRIBE = Stage(name="describe", fields=(Field(name="description"),))
LONG = "x" * 70_000


def asks_for(*fields: Field, **members: Any) -> Dialogue:
    return Dialogue(stages=(DESCRIBE, Stage(name="ask", classify=True, fields=fields)), **members)


def resumed(talk: Talk, dialogue: Dialogue) -> Talk:
    return Talk(dialogue, talk.conversation.session)


# The beginning


def test_who_comes_is_greeted_and_who_says_hello_too() -> None:
    for first in (None, "", "  ", "Hello!", "good  morning", "HELP"):
        talk = Talk()
        assert talk.start(first).text == ENGLISH.greeting
        assert talk.told == ["ticket_create_start"]
        assert talk.conversation.step == "describing"


def test_a_greeting_is_no_problem() -> None:
    talk = Talk()
    talk.start()
    assert talk.say("Hi!").text == ENGLISH.describe_again
    assert talk.say(" ").text == ENGLISH.describe_again
    assert talk.ticket == Ticket()
    assert talk.say("Hi! My pump leaks").step == "asking"
    assert talk.ticket.description == "Hi! My pump leaks"


def test_a_greeting_is_known_in_every_language_that_the_dialogue_speaks() -> None:
    for language in ("fr", "en", "ja"):
        talk = Talk()
        talk.start("Bonjour", language=language)
        assert talk.ticket == Ticket()
    talk = Talk(Dialogue(texts={"en": ENGLISH}))
    talk.start("Bonjour")
    assert talk.ticket.description == "Bonjour"


def test_who_begins_with_the_problem_is_not_asked_for_it() -> None:
    talk = Talk()
    assert talk.start(f"  {PROBLEM}\n").step == "asking"
    assert talk.ticket.description == PROBLEM


def test_what_is_known_is_not_asked_for() -> None:
    talk = Talk()
    assert talk.start(ticket=Ticket(description=PROBLEM, category="Fuel")).step == "reading"
    assert "offer_classifications" not in talk.told


def test_what_is_said_first_is_added_to_a_description_that_is_known() -> None:
    talk = Talk()
    talk.start("It smells", ticket={"subject": "Form 7", "description": PROBLEM})
    assert talk.ticket == Ticket(subject="Form 7", description=f"{PROBLEM}\nIt smells")
    talk = Talk()
    talk.start("Hello", ticket={"description": PROBLEM})
    assert talk.ticket.description == PROBLEM


def test_a_session_without_a_language_has_the_dialogues() -> None:
    talk = Talk(Dialogue(language="fr"))
    assert talk.start(language=None).text == FRENCH.greeting
    assert talk.conversation.session.context.language == "fr"
    talk = Talk(Dialogue(language="fr"))
    assert talk.start(language="ja").text == FRENCH.greeting
    assert talk.conversation.session.context.language == "ja"


def test_what_cannot_be_started_is_refused() -> None:
    with pytest.raises(InvalidAction, match=r"\$.ticket.id"):
        Talk().start(ticket={"id": "1"})
    with pytest.raises(InvalidAction, match="messageId"):
        Talk().conversation.start(context=context(), message_id="a\nb", at=NOW)
    talk = Talk()
    talk.start()
    with pytest.raises(IllegalTransition):
        talk.start()
    with pytest.raises(InvalidAction, match="messageId"):
        talk.say("x", message_id="")


def test_a_first_message_that_is_too_long_is_told_and_the_session_begins() -> None:
    talk = Talk()
    assert talk.start(LONG).text == ENGLISH.too_long
    assert talk.told == ["ticket_create_start"]
    talk = Talk()
    talk.start(LONG, ticket={"description": PROBLEM})
    assert talk.ticket.description == PROBLEM


# The subject


def test_the_subject_is_taken_from_the_description_and_follows_it() -> None:
    talk = Talk()
    talk.start(f"\n{PROBLEM}\n\nIt smells.")
    assert talk.ticket.subject == PROBLEM
    for press in ("skip", "none", "change:description"):
        talk.press(press)
    assert "replaces the description" in talk.prompt.text
    talk.say("It does not start")
    assert talk.ticket == Ticket(subject="It does not start", description="It does not start")


def test_a_subject_of_ones_own_stays() -> None:
    for ticket in ({"subject": "Form 7"}, {"subject": "Form 7", "description": "a"}):
        talk = Talk(Dialogue(stages=(DESCRIBE,)))
        talk.start(ticket=ticket)
        if talk.conversation.step == "reviewing":
            talk.press("change:description")
        talk.say(PROBLEM)
        assert talk.ticket == Ticket(subject="Form 7", description=PROBLEM)


def test_a_subject_that_somebody_has_set_meanwhile_stays() -> None:
    talk = Talk(Dialogue(stages=(DESCRIBE,)))
    talk.start(PROBLEM)
    session = talk.conversation.session
    talk = Talk(talk.conversation.dialogue, Session.fold(session.update_field("subject", "Mine", at=NOW), session))
    talk.press("change:description")
    talk.say("It does not start")
    assert talk.ticket.subject == "Mine"


@pytest.mark.parametrize(
    ("description", "subject"),
    [
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("word " * 30, "word " * 14 + "word…"),
        ("one two\nthree", "one two"),
        ("a\u2028b", "a"),
    ],
)
def test_a_subject_is_the_first_line_cut_at_a_word(description: str, subject: str) -> None:
    talk = Talk()
    talk.start(description)
    assert talk.ticket.subject == subject
    assert len(subject) <= 80


# Values


@pytest.mark.parametrize(("confidence", "taken"), [(0.8, True), (0.79, False), (1.0, True)])
def test_a_value_is_taken_without_asking_from_the_threshold_on(confidence: float, taken: bool) -> None:
    talk = Talk(classified=proposals(category={"Oil": 0.1, "Fuel": confidence}))
    prompt = talk.start(PROBLEM)
    assert (talk.ticket.category == "Fuel") == taken
    assert prompt.step == ("reading" if taken else "asking")
    assert ("I have set the category to “Fuel”." in prompt.text) == taken
    clicks = [record.event for record in talk.log if isinstance(record.event, TicketClassificationClick)]
    assert [(click.auto_selection, click.classification_id) for click in clicks] == [(True, "category-2")] * taken


def test_more_than_one_means_never_and_zero_always() -> None:
    sure = proposals(category={"Fuel": 1.0})
    talk = Talk(Dialogue(auto_select_from=1.1), classified=sure)
    assert talk.start(PROBLEM).step == "asking"
    talk = Talk(Dialogue(auto_select_from=0), classified=proposals(category={"Fuel": 0.0}))
    assert talk.start(PROBLEM).step == "reading"


def test_only_values_that_the_field_may_have_are_taken() -> None:
    dialogue = asks_for(Field(name="category", values=("Oil", "Air")))
    talk = Talk(dialogue, classified=proposals(category={"Fuel": 0.99, "Oil": 0.7, "Air": 0.85}))
    talk.start(PROBLEM)
    assert talk.ticket.category == "Air"
    talk = Talk(dialogue, classified=proposals(category={"Fuel": 0.99, "Oil": 0.7}))
    talk.start(PROBLEM)
    assert talk.ticket.category is None
    assert talk.labels == ["Oil", "Air", "Leave"]


def test_several_fields_are_taken_at_once_known_ones_and_unheard_ones_are_not() -> None:
    dialogue = asks_for(Field(name="category"), Field(name="productId"), Field(name="urgency"), Field(name="where"))
    fields: dict[str, Any] = {
        "category": {"Fuel": 0.9},
        "productId": {"GC110": 0.95},
        "urgency": {"high": 0.9},
        "other": {"x": 0.99},
        "where": {"here": 0.1},
    }
    talk = Talk(dialogue, classified=proposals(**fields))
    prompt = talk.start(PROBLEM, {"custom": {"urgency": "low"}})
    assert (talk.ticket.category, talk.ticket.product_id) == ("Fuel", "GC110")
    assert talk.ticket.custom == {"urgency": "low"}
    assert prompt.text == (
        "I have set the category to “Fuel”.\n\nI have set the product to “GC110”.\n\nWhat is the where?"
    )


def test_what_is_asked_later_is_taken_when_it_is_proposed_early() -> None:
    stages = (DESCRIBE, Stage(name="a", classify=True, fields=(Field(name="category"),)))
    later = Stage(name="b", fields=(Field(name="productId"),))
    talk = Talk(Dialogue(stages=(*stages, later)), classified=proposals(productId={"GC110": 0.9}))
    assert talk.start(PROBLEM).step == "asking"
    talk.say("Fuel")
    assert talk.ticket.product_id == "GC110"
    assert talk.conversation.step == "reviewing"


def test_a_proposed_value_is_selected_and_any_other_is_filled_in() -> None:
    dialogue = asks_for(Field(name="category", values=("Fuel", "Oil")))
    for said, told in (("Fuel", "ticket_classification_click"), ("Oil", "ticket_field_update")):
        talk = Talk(dialogue)
        talk.start(PROBLEM)
        talk.say(said)
        assert talk.ticket.category == said
        assert talk.told[-1] == told


def test_what_is_skipped_is_not_asked_again_unless_it_is_to_be_changed() -> None:
    talk = Talk(asks_for(Field(name="category", required=False), Field(name="urgency")))
    talk.start(PROBLEM)
    assert talk.press("skip").text == "What is the urgency?"
    assert "skip" not in talk.choices
    assert talk.say("high").step == "reviewing"
    talk.press("change:description")
    assert talk.say("It does not start").step == "reviewing"
    assert talk.press("change:category").step == "asking"
    talk.press("skip")
    assert talk.ticket.category is None
    talk.press("change:category")
    talk.say("Fuel")
    assert talk.ticket.category == "Fuel"


def test_what_is_required_cannot_be_skipped() -> None:
    talk = Talk(asks_for(Field(name="category", values=("Oil",))))
    talk.start(PROBLEM)
    assert talk.say("skip").step == "asking"
    assert "no longer on offer" in talk.press("skip").text


def test_a_field_is_changed_in_the_review_and_nothing_else_is_asked() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    talk.say("Fuel")
    talk.press("none")
    talk.press("change:category")
    talk.say("Electrical")
    assert talk.conversation.step == "reviewing"
    assert "category: Electrical" in talk.prompt.text
    assert talk.told[-1] == "ticket_classification_click"
    assert talk.told.count("documents_offered") == 1


def test_a_new_description_is_led_through_the_stages_and_proposed_for_anew() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    talk.press("skip")
    talk.press("open:1.1")
    talk.press("no")
    talk.press("none")
    talk.press("change:description")
    talk.suggested = documents("Ignition", "Oil", response="s2")
    assert talk.say("It does not start").step == "reading"
    assert [card.title for card in talk.prompt.cards] == ["Ignition", "Oil"], "what was useless may help now"
    stages = [record.event.stage for record in talk.log if isinstance(record.event, TicketNextStage)]
    assert stages == ["classify", "documents", "review", "classify", "documents"]


def at_the_review(**options: Any) -> Talk:
    talk = Talk(**options)
    talk.start(PROBLEM)
    if talk.conversation.step == "asking":
        talk.say("Fuel")
    assert talk.press("none").step == "reviewing"
    return talk


@pytest.mark.parametrize("change", ["change:category", "change:description"])
@pytest.mark.parametrize("keeps", ["Keep it as it is", "back", "keep it as it is."])
def test_who_wants_to_change_a_value_can_keep_it_and_it_costs_nothing(change: str, keeps: str) -> None:
    talk = at_the_review()
    ticket, told, prompt, memory = talk.ticket, talk.told, talk.prompt, talk.conversation.memory
    talk.press(change)
    assert talk.choices[-2:] == [f"back:{change.removeprefix('change:')}", "leave"]
    assert talk.prompt.choices[-2].label == ENGLISH.keep
    talk.say(keeps)
    assert (talk.ticket, talk.told, talk.prompt, talk.conversation.memory) == (ticket, told, prompt, memory)
    talk.press(change)
    talk.press(talk.choices[-2])
    assert (talk.ticket, talk.told, talk.prompt, talk.conversation.memory) == (ticket, told, prompt, memory)


def test_a_value_that_was_taken_automatically_is_kept_with_the_description() -> None:
    talk = at_the_review(classified=proposals(category={"Fuel": 0.9}))
    talk.press("change:description")
    assert talk.press("back").step == "reviewing"
    assert talk.ticket.category == "Fuel"


def test_a_new_description_clears_what_was_taken_automatically_and_nothing_else() -> None:
    dialogue = asks_for(Field(name="category"), Field(name="urgency"), Field(name="productId"), auto_select_from=0.8)
    sure = proposals(category={"Fuel": 0.9}, urgency={"high": 0.9}, productId={"GC110": 0.3})
    talk = Talk(dialogue, classified=sure)
    talk.start(PROBLEM)
    talk.say("GC110")
    talk.press("change:urgency")
    assert talk.say("high").step == "reviewing"
    assert talk.conversation.memory.automatic == ("category",)
    talk.press("change:description")
    talk.take(talk.conversation.reply("It does not start", at=NOW))
    assert talk.conversation.step == "classifying"
    assert talk.ticket == Ticket(
        subject="It does not start",
        description="It does not start",
        product_id="GC110",
        custom={"urgency": "high"},
    )
    talk.classified = proposals("r2", category={"Electrical": 0.95})
    assert talk.serve().step == "reviewing"
    assert talk.ticket.category == "Electrical"
    assert talk.conversation.memory.automatic == ("category",)


def test_a_value_that_was_taken_automatically_and_cleared_since_is_not_cleared_again() -> None:
    talk = at_the_review(classified=proposals(category={"Fuel": 0.9}))
    session = talk.conversation.session
    cleared = Session.fold(session.update_field("category", "", at=NOW), session)
    talk = Talk(session=cleared, classified=proposals())
    talk.press("change:description")
    talk.say("It does not start")
    assert talk.told == ["ticket_field_update", "ticket_field_update", "ticket_next_stage", "classifications_offered"]


def test_what_is_added_while_documents_are_looked_for_keeps_what_was_taken_automatically() -> None:
    """The stage that would ask for it is over."""
    talk = Talk(classified=proposals(category={"Fuel": 0.9}))
    talk.take(talk.conversation.start(PROBLEM, context=context(), at=NOW))
    need = talk.conversation.need
    assert need is not None
    talk.take(talk.conversation.answer(need, talk.classified, at=NOW))
    assert talk.conversation.step == "suggesting"
    talk.take(talk.conversation.reply("It smells", at=NOW))
    assert talk.ticket.category == "Fuel"
    assert talk.serve().step == "reading"


def test_other_words_count_when_they_are_said_again_at_once() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    assert "in your own words" in talk.say("Oil").text
    assert talk.say(" ").text.startswith(ENGLISH.not_understood)
    assert "in your own words" in talk.say("Oil").text
    assert talk.press("category:9.9").text.startswith(ENGLISH.gone)
    assert "in your own words" in talk.say("Oil").text
    assert talk.say("Oil").step == "reading"
    assert talk.ticket.category == "Oil"


# Documents


def test_documents_that_did_not_help_disappear_and_after_the_last_it_goes_on() -> None:
    talk = Talk(suggested=documents("One", "Two"))
    talk.start(PROBLEM)
    talk.press("skip")
    talk.press("open:1.1")
    assert talk.press("no").step == "reading"
    assert [card.title for card in talk.prompt.cards] == ["Two"]
    assert talk.choices == ["open:1.2", "solved", "none:1", "leave"]
    assert "no longer on offer" in talk.press("open:1.1").text
    talk.press("open:1.2")
    assert talk.press("no").step == "reviewing"
    assert talk.told.count("suggestion_rate") == 2


def test_whoever_goes_back_has_rated_nothing() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    talk.press("skip")
    talk.press("open:1.1")
    assert "did not understand" in talk.say("hm").text
    assert talk.press("back").step == "reading"
    assert len(talk.prompt.cards) == 2
    assert "suggestion_rate" not in talk.told
    assert "did not understand" in talk.say("hm").text


def test_the_buttons_of_another_document_are_gone() -> None:
    """They stay on the screen: pressed late, they must not say anything of the document that is open now."""
    talk = Talk()
    talk.start(PROBLEM)
    talk.press("skip")
    talk.press("open:1.1")
    assert talk.choices == ["yes:1.1", "no:1.1", "back:1.1", "leave"]
    talk.press("back:1.1")
    talk.press("open:1.2")
    for stale in ("yes:1.1", "no:1.1", "back:1.1", "skip:category", "none:1"):
        assert talk.press(stale).text.startswith(ENGLISH.gone)
    assert talk.conversation.step == "rating"
    assert "suggestion_rate" not in talk.told
    assert talk.press("no:1.2").step == "reading"


def test_only_what_is_shown_is_offered() -> None:
    talk = Talk(Dialogue(documents=2), suggested=documents(*"abcde"))
    talk.start(PROBLEM)
    talk.press("skip")
    (offer,) = [record.event for record in talk.log if isinstance(record.event, DocumentsOffered)]
    assert [document.suggestion_id for document in offer.documents] == ["d1", "d2"]


@pytest.mark.parametrize("presses", [[], ["skip", "open:1.1"], ["skip", "none"]], ids=["asking", "rating", "reviewing"])
def test_who_says_that_it_is_solved_is_believed_whatever_was_asked(presses: list[str]) -> None:
    talk = Talk()
    talk.start(PROBLEM)
    for press in presses:
        talk.press(press)
    assert talk.say("It works now!").step == "solved"
    assert talk.conversation.session.state == "solved"
    assert "suggestion_rate" not in talk.told


def test_what_the_problem_is_may_be_said_in_words_that_say_solved() -> None:
    talk = Talk()
    talk.start()
    assert talk.say("Fixed").step == "asking"
    assert talk.ticket.description == "Fixed"


def test_no_document_and_no_proposal_lead_on() -> None:
    talk = Talk(classified=proposals(), suggested=documents())
    prompt = talk.start(PROBLEM)
    assert prompt.text == "What is the category?"
    assert talk.choices == ["skip:category", "leave"]
    prompt = talk.press("skip")
    assert prompt.step == "reviewing"
    assert prompt.text.startswith("I found no document about this.\n\n")


def test_only_documents_known_to_be_useless_are_no_documents() -> None:
    stages = (DESCRIBE, Stage(name="a", documents=True), Stage(name="b", documents=True))
    talk = Talk(Dialogue(stages=stages), suggested=documents("One"))
    talk.start(PROBLEM)
    talk.press("open:0.1")
    assert talk.press("no").text.startswith("I found no document about this.")
    assert talk.conversation.step == "reviewing"


# While a service is asked


def waiting(step: str) -> Talk:
    talk = Talk()
    talk.start()
    talk.take(talk.conversation.reply(PROBLEM, at=NOW))
    if step != "classifying":
        talk.serve()
        talk.take(talk.conversation.reply(choice="skip", at=NOW))
    if step == "filing":
        talk.serve()
        talk.press("none")
        talk.take(talk.conversation.reply(choice="file", at=NOW))
    assert talk.conversation.step == step
    assert talk.prompt.text == "One moment, please."
    return talk


@pytest.mark.parametrize(
    ("step", "kind"), [("classifying", Classify), ("suggesting", SuggestDocuments), ("filing", FileTicket)]
)
def test_what_is_waited_for_is_told_and_shows_nothing_personal(step: str, kind: type) -> None:
    talk = waiting(step)
    need = talk.conversation.need
    assert need is not None
    assert type(need) is kind
    assert (need.session_id, need.ticket) == ("c1", talk.ticket)
    assert repr(need) == f"<{kind.__name__} of c1>"
    assert repr(talk.conversation) == f"<Conversation c1 {step}>"


@pytest.mark.parametrize("step", ["classifying", "suggesting"])
def test_what_is_added_meanwhile_makes_the_answer_late(step: str) -> None:
    talk = waiting(step)
    need = talk.conversation.need
    assert need is not None
    talk.take(talk.conversation.reply("It smells", at=NOW))
    talk.take(talk.conversation.reply("  ", at=NOW))
    talk.take(talk.conversation.reply("Hello?", at=NOW))
    assert talk.conversation.step == step
    assert talk.ticket == Ticket(subject=PROBLEM, description=f"{PROBLEM}\nIt smells")
    answer = talk.classified if step == "classifying" else talk.suggested
    late = talk.conversation.answer(need, answer, at=NOW)
    assert (late.late, late.records) == (True, ())
    assert late.conversation is talk.conversation
    again = talk.conversation.need
    assert again is not None
    assert again.ticket.description == f"{PROBLEM}\nIt smells"
    assert not talk.conversation.answer(again, answer, at=NOW).late


def test_an_answer_that_came_already_is_late() -> None:
    talk = waiting("classifying")
    need = talk.conversation.need
    assert need is not None
    talk.serve()
    assert talk.conversation.answer(need, talk.classified, at=NOW).late


def test_what_is_added_meanwhile_and_is_too_long_is_told() -> None:
    talk = waiting("classifying")
    assert talk.take(talk.conversation.reply(LONG, at=NOW)).text.startswith(ENGLISH.too_long)
    assert talk.ticket.description == PROBLEM
    assert talk.serve().text.startswith(ENGLISH.too_long), "it stays said until the next message"
    assert ENGLISH.too_long not in talk.press("skip").text


@pytest.mark.parametrize("step", ["classifying", "suggesting"])
def test_one_can_leave_while_suggestions_are_waited_for(step: str) -> None:
    talk = waiting(step)
    assert talk.say("leave").step == "left"


def test_nobody_can_leave_or_change_what_is_being_filed() -> None:
    talk = waiting("filing")
    assert talk.prompt.choices == ()
    for reply in ({"text": "leave"}, {"text": "wait!"}, {"choice": "leave"}):
        talk.take(talk.conversation.reply(**reply, at=NOW))
        assert talk.conversation.step == "filing"
    assert talk.ticket.description == PROBLEM
    assert talk.serve().text.endswith("Your ticket is filed: T-1. Somebody will take care of it.")


# Failures


@pytest.mark.parametrize("answer", [DOWN, NoSuggestions("slow"), documents("One"), None, 17, "x"])
def test_without_proposals_it_goes_on_and_says_so(answer: Any) -> None:
    talk = waiting("classifying")
    need = talk.conversation.need
    assert need is not None
    prompt = talk.take(talk.conversation.answer(need, answer, at=NOW))
    assert prompt.text == f"{ENGLISH.no_suggestions}\n\nWhat is the category?"


@pytest.mark.parametrize("answer", [DOWN, proposals(category={"Fuel": 0.9}), None, "x"])
def test_without_documents_it_goes_on_and_says_so(answer: Any) -> None:
    talk = waiting("suggesting")
    need = talk.conversation.need
    assert need is not None
    prompt = talk.take(talk.conversation.answer(need, answer, at=NOW))
    assert prompt.text.startswith(ENGLISH.no_suggestions)
    assert prompt.step == "reviewing"
    assert talk.ticket.category is None


def not_filed(answer: Any) -> Talk:
    """At the review again, after filing had this answer."""
    talk = waiting("filing")
    need = talk.conversation.need
    assert need is not None
    talk.take(talk.conversation.answer(need, answer, at=NOW))
    assert talk.conversation.step == "reviewing"
    assert "ticket_create" not in talk.told
    return talk


def test_a_ticket_that_was_not_filed_can_be_tried_again_or_changed() -> None:
    talk = not_filed(TicketNotCreated("down"))
    assert talk.prompt.text.startswith(ENGLISH.not_filed)
    assert talk.choices == ["file", "change:description", "change:category", "leave"]
    assert talk.press("file").ended
    assert talk.ticket.id == "T-1"


@pytest.mark.parametrize("answer", [TicketNotCreated("?", maybe_created=True), DOWN, "", "x" * 2000, 7])
def test_a_ticket_that_may_have_been_filed_can_only_be_tried_again_or_left(answer: Any) -> None:
    talk = not_filed(answer)
    assert talk.prompt.text.startswith(ENGLISH.not_known)
    assert talk.choices == ["file", "leave"]
    assert talk.say("change category").text.startswith(ENGLISH.not_understood)
    assert talk.press("change:description").text.startswith(ENGLISH.gone)
    talk.tickets = [TicketNotCreated("down"), "T-1"]
    assert talk.press("file").text.startswith(ENGLISH.not_filed)
    assert talk.choices == ["file", "leave"], "it may have been filed the first time"
    again = Conversation(Dialogue(), Session.fold(talk.log))
    assert again.prompt == talk.prompt
    assert talk.press("file").ended
    assert talk.ticket.id == "T-1"
    assert not_filed(answer).press("leave").step == "left"


def test_a_failure_is_said_once_for_both_services() -> None:
    stage = Stage(name="all", classify=True, documents=True, fields=(Field(name="urgency", required=False),))
    talk = Talk(Dialogue(stages=(DESCRIBE, stage)), classified=DOWN, suggested=DOWN)
    talk.start(PROBLEM, ticket={"custom": {"urgency": None}})
    assert talk.prompt.text.startswith(ENGLISH.no_suggestions)
    assert talk.press("skip").text.count(ENGLISH.no_suggestions) == 1


def test_what_cannot_be_logged_is_told_as_trouble_and_nothing_is_recorded() -> None:
    """A document cannot be opened without a search hub. Typing its number is no text that is too long."""
    for reply in ({"choice": "open:1.1"}, {"text": "1"}):
        talk = Talk()
        talk.start(PROBLEM, search_hub=None)
        talk.press("skip")
        prompt = talk.take(talk.conversation.reply(**reply, at=NOW))
        assert prompt.text.startswith(ENGLISH.trouble)
        assert prompt.step == "reading"
        assert "documentSuggestionClick" not in talk.told


def test_an_answer_to_a_question_that_is_too_long_is_told() -> None:
    talk = Talk(classified=proposals())
    talk.start(PROBLEM)
    assert talk.say(LONG).text == f"{ENGLISH.too_long}\n\nWhat is the category?"


def test_a_choice_of_before_is_told_to_be_gone() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    talk.press("category:0.1")
    for stale in ("category:0.2", "skip", "skip:category", "none:0", "file", "nonsense", ""):
        prompt = talk.press(stale)
        assert prompt.text.startswith(ENGLISH.gone)
        assert prompt.step == "reading"
    assert talk.ticket.category == "Electrical"


def test_a_choice_of_an_older_offer_is_gone() -> None:
    talk = Talk(asks_for(Field(name="category")))
    talk.start(PROBLEM)
    session = talk.conversation.session
    newer = session.offer_classifications(proposals("r2", category={"Oil": 0.5}), at=NOW)
    talk = Talk(talk.conversation.dialogue, Session.fold(newer, session))
    assert talk.choices == ["category:1.1", "leave"]
    assert talk.press("category:0.1").text.startswith(ENGLISH.gone)


# Messages


def test_a_message_has_one_turn() -> None:
    talk = Talk()
    talk.take(talk.conversation.start(PROBLEM, context=context(), message_id="m1", at=NOW))
    again = talk.conversation.reply("again", message_id="m1", at=NOW)
    assert (again.repeated, again.records) == (True, ())
    assert again.conversation is talk.conversation


def test_after_the_end_nothing_is_done_but_a_new_case_can_be_wanted() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    talk.say("leave", message_id="m1")
    ended = talk.conversation
    for reply in ({"text": "hello?"}, {"choice": "leave"}, {"text": "new", "message_id": "m2"}):
        turn = ended.reply(**reply, at=NOW)
        assert (turn.records, turn.repeated, turn.conversation) == ((), False, ended)
    assert ended.reply("x", message_id="m1", at=NOW).repeated
    assert ended.wants_new(choice="new")
    assert ended.wants_new("Start a new case!")
    assert ended.wants_new("1")
    assert ended.wants_new("Hello!")
    assert ended.wants_new("Bonjour"), "in any language"
    assert not ended.wants_new("")
    assert not ended.wants_new("thanks")
    assert not ended.wants_new(choice="leave")
    assert not Talk().conversation.wants_new("new")


# Ends


@pytest.mark.parametrize(
    ("presses", "step", "state", "text"),
    [
        (["solved"], "solved", "solved", ENGLISH.solved),
        (["open:1.1", "yes"], "solved", "solved", ENGLISH.solved),
        (["none", "file"], "created", "created", "Your ticket is filed: T-1. Somebody will take care of it."),
        (["leave"], "left", "quit", ENGLISH.left),
    ],
)
def test_each_end_says_what_it_is_and_leads_to_a_new_case(presses: list[str], step: str, state: str, text: str) -> None:
    talk = Talk()
    talk.start(PROBLEM)
    for press in ["skip", *presses]:
        talk.press(press)
    assert step in ENDS
    assert (talk.conversation.step, talk.conversation.session.state) == (step, state)
    assert talk.conversation.ended
    assert talk.conversation.need is None
    assert talk.prompt.text == text
    assert talk.choices == ["new"]
    assert not talk.prompt.takes_text


def test_a_session_that_somebody_else_ended_says_so() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    session = talk.conversation.session
    for records, step, text in (
        (session.quit(cause="timeout", at=NOW), "left", ENGLISH.expired),
        (session.solve(at=NOW), "solved", ENGLISH.solved),
        (session.create("T-9", at=NOW), "created", "Your ticket is filed: T-9. Somebody will take care of it."),
    ):
        ended = Conversation(talk.conversation.dialogue, Session.fold(records, session))
        assert (ended.step, ended.prompt.text, ended.ended) == (step, text, True)


def test_an_end_is_in_mind_for_the_length_of_a_visit_unless_it_expired() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    session = talk.conversation.session
    assert not talk.conversation.left_long_ago(NOW + timedelta(days=9))
    assert not Talk().conversation.left_long_ago(NOW)
    expired = Session.fold(session.quit(cause="timeout", at=NOW), session)
    assert Conversation(Dialogue(), expired).left_long_ago(NOW)
    talk.press("leave")
    assert not talk.conversation.left_long_ago(NOW + timedelta(minutes=29))
    assert talk.conversation.left_long_ago(NOW + timedelta(minutes=30))


# Taken over


def test_a_session_that_was_led_by_hand_can_be_taken_over() -> None:
    session = Session(id="c1")
    session = Session.fold(session.start({"category": "Fuel"}, context(), at=NOW), session)
    session = Session.fold(session.update_field("description", "It hums", at=NOW), session)
    session = Session.fold(session.offer_documents(documents("Old", response="s0"), at=NOW), session)
    talk = Talk(session=session)
    assert talk.prompt.text == ENGLISH.describe
    assert talk.say(PROBLEM).step == "reading"
    assert [card.title for card in talk.prompt.cards] == ["Ignition", "Air & fuel"]
    assert talk.press("solved").ended


def test_a_conversation_is_the_same_in_another_process_after_every_turn() -> None:
    talk = Talk()
    talk.start("hello")
    replies = ["hm, it is broken", "what?", "Fuel", "1", "no", "nonsense", "none", "change category", "Oil", "Oil"]
    for said in (*replies, "yes"):
        again = Conversation(Dialogue(), Session.fold(talk.log))
        assert again.prompt == talk.prompt
        assert again.memory == talk.conversation.memory
        talk.say(said)
    assert talk.conversation.step == "created"


def test_a_field_that_is_asked_for_no_more_leads_to_the_review() -> None:
    talk = Talk(asks_for(Field(name="urgency")))
    talk.start(PROBLEM)
    other = resumed(talk, asks_for(Field(name="category")))
    assert other.conversation.step == "reviewing"
    assert "urgency" not in other.prompt.text
    assert other.press("file").ended


def test_a_stage_that_is_gone_leads_to_the_beginning() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    talk.press("skip")
    other = resumed(talk, Dialogue(stages=(DESCRIBE,)))
    assert other.conversation.step == "describing"
    assert other.prompt.text == ENGLISH.describe
    assert other.say("It hums").step == "reviewing"


def test_documents_that_are_shown_no_more_lead_to_the_review() -> None:
    talk = Talk(suggested=documents("One", "Two"))
    talk.start(PROBLEM)
    talk.press("skip")
    talk.press("open:1.2")
    assert resumed(talk, Dialogue()).conversation.step == "rating"
    other = resumed(talk, Dialogue(documents=1))
    assert other.conversation.step == "reviewing"
    assert other.prompt.step == "reviewing"
    talk.press("back")
    talk.press("open:1.1")
    talk.press("no")
    assert resumed(talk, Dialogue()).conversation.step == "reading"
    assert resumed(talk, Dialogue(documents=1)).conversation.step == "reviewing"


@pytest.mark.parametrize("name", ["serialNumber", "", "x" * 999, "id"])
def test_a_value_of_a_field_that_is_gone_is_not_cleared_with_the_description(name: str) -> None:
    session = Session(id="c1")
    session = Session.fold(session.start({"description": "a"}, context(), at=NOW), session)
    memory = {"step": "reviewing", "stage": 3, "automatic": [name]}
    talk = Talk(session=Session.fold(session.take_turn("m1", memory, at=NOW), session))
    talk.press("change:description")
    assert talk.say(PROBLEM).step == "asking"
    assert talk.ticket.description == PROBLEM


@pytest.mark.parametrize("memory", [{"step": 7}, {"stage": "x"}, {"step": "solved"}, {"stage": -1}, {"other": 1}, {}])
def test_a_memory_that_is_not_ours_is_the_beginning(memory: dict[str, Any]) -> None:
    session = Session(id="c1")
    session = Session.fold(session.start(None, context(), at=NOW), session)
    session = Session.fold(session.take_turn("m1", memory, at=NOW), session)
    assert Conversation(Dialogue(), session).prompt.text == ENGLISH.greeting


def test_the_memory_holds_nothing_that_the_person_wrote() -> None:
    talk = Talk(asks_for(Field(name="category"), Field(name="urgency", required=False)))
    talk.start("SECRET")
    for said in ("SECRET", "SECRET", "change description", "SECRET 2", "file"):
        talk.say(said)
        assert "SECRET" not in repr(talk.conversation.session.memory)
    assert talk.conversation.ended


def test_a_hello_is_no_value_however_often_it_is_said() -> None:
    talk = Talk()
    talk.start(PROBLEM)
    for _ in range(3):
        assert talk.say("help").step == "asking"
    assert talk.say("I want to talk to a human").step != "asking", "they want no category"
    assert talk.conversation.session.ticket.category is None
