"""Whole conversations: what is said in each language, what is logged, and what is sent of it."""

import json
from typing import Any

import pytest
from tests.conversation.talk import NOW, PROBLEM, Talk, documents, proposals
from tests.core.life_cycle import EXPECTED

from caseassist.conversation.dialogue import Dialogue, Field, Stage
from caseassist.core.errors import TicketNotCreated
from caseassist.core.events import Ticket
from caseassist.core.records import Record, action_name
from caseassist.core.session import Session
from caseassist.wire.endpoints import Endpoint
from caseassist.wire.requests import WireFormat

FORMAT = WireFormat(endpoint=Endpoint.for_organization("myorg"))

WALKS = {
    "solved": ["hello", PROBLEM, "Fuel", "open:1.2", "no", "open:1.1", "yes"],
    "solved at sight": [PROBLEM, "skip", "solved"],
    "created": [PROBLEM, "category:0.1", "none", "change:category", "Oil", "Oil", "change:description",
                "It hums", "none", "file"],
    "not filed at first": [PROBLEM, "skip", "none", "file", "file"],
    "left": [PROBLEM, "what?", "leave"],
}  # fmt: skip


def walk(name: str, **options: Any) -> Talk:
    tickets: list[str | TicketNotCreated] = (
        [TicketNotCreated("down"), "T-1"] if name == "not filed at first" else ["T-1"]
    )
    talk = Talk(tickets=tickets, **options)
    talk.start()
    for said in WALKS[name]:
        talk.say(said)
    assert talk.conversation.ended
    return talk


def of(talk: Talk, action: str) -> list[dict[str, Any]]:
    return [sent(record) for record in talk.log if action_name(record.event) == action]


def sent(record: Record) -> dict[str, Any]:
    request = FORMAT.request(record, "token")
    assert request is not None
    data: dict[str, Any] = json.loads(request.body)
    return data


# The log


@pytest.mark.parametrize("name", WALKS)
def test_the_log_takes_the_ways_of_the_life_cycle(name: str) -> None:
    talk = walk(name)
    session = Session(id="c1")
    for record in talk.log:
        before = session.state
        session = session.apply(record)
        action = {
            "ticket_create_start": "start",
            "turn_taken": "take_turn",
            "ticket_field_update": "update_field",
            "classifications_offered": "offer_classifications",
            "documents_offered": "offer_documents",
            "ticket_classification_click": "select_classification",
            "documentSuggestionClick": "open_document",
            "suggestion_rate": "rate_document",
            "ticket_next_stage": "next_stage",
            "ticket_create": "create",
        }.get(action_name(record.event), "solve" if session.state == "solved" else "quit")
        assert session.state == EXPECTED[before][action]
    assert [record.seq for record in talk.log] == list(range(len(talk.log)))
    assert {record.context for record in talk.log} == {session.context}


def test_the_log_of_a_case_that_is_solved() -> None:
    assert walk("solved").told == [
        "ticket_create_start",
        "ticket_field_update",
        "ticket_field_update",
        "ticket_next_stage",
        "classifications_offered",
        "ticket_classification_click",
        "ticket_next_stage",
        "documents_offered",
        "documentSuggestionClick",
        "suggestion_rate",
        "documentSuggestionClick",
        "suggestion_rate",
        "ticket_cancel",
    ]


def test_the_log_of_a_ticket_that_is_filed_after_changes() -> None:
    assert walk("created").told == [
        "ticket_create_start",
        "ticket_field_update",
        "ticket_field_update",
        "ticket_next_stage",
        "classifications_offered",
        "ticket_classification_click",
        "ticket_next_stage",
        "documents_offered",
        "ticket_next_stage",
        "ticket_field_update",
        "ticket_field_update",
        "ticket_field_update",
        "ticket_next_stage",
        "ticket_next_stage",
        "documents_offered",
        "ticket_next_stage",
        "ticket_create",
    ]


def test_every_message_and_every_answer_has_one_turn() -> None:
    talk = walk("not filed at first")
    turns = [record for record in talk.log if action_name(record.event) == "turn_taken"]
    assert len(turns) == 1 + len(WALKS["not filed at first"]) + 4, "the start, the messages, the answers"


def test_a_ticket_that_could_not_be_filed_leaves_no_other_trace_than_its_turn() -> None:
    assert walk("not filed at first").told.count("ticket_create") == 1


# The wire


@pytest.mark.parametrize("name", WALKS)
def test_what_is_sent_of_it_has_what_every_event_needs(name: str) -> None:
    talk = walk(name)
    ours = {"turn_taken", "classifications_offered", "documents_offered"}
    for record in talk.log:
        request = FORMAT.request(record, "token")
        action = action_name(record.event)
        assert (request is None) == (action in ours)
        if request is None:
            continue
        body = json.loads(request.body)
        if action == "documentSuggestionClick":
            assert request.path.endswith("/analytics/click")
            assert body["language"] == "en"
            assert body["originLevel1"] == "support-bot"
            assert body["actionCause"] == action
            assert "svc_ticket_subject" not in body
        else:
            assert request.path.endswith("/analytics/collect")
            assert (body["searchHub"], body["ul"]) == ("support-bot", "en")
            assert body["svc_action"] == action
            assert body["ea"] == ("flowStart" if action == "ticket_create_start" else "click")
            assert body["cid"] == record.context.client_id
        assert "memory" not in body


def test_the_first_and_the_last_event_of_every_walk_are_a_start_and_an_end() -> None:
    ends = {"solved": "Solved", "solved at sight": "Solved", "left": "Quit"}
    for name in WALKS:
        bodies = [sent(record) for record in walk(name).log if FORMAT.request(record, None) is not None]
        assert bodies[0]["svc_action"] == "ticket_create_start"
        if name in ends:
            assert bodies[-1]["svc_action"] == "ticket_cancel"
            assert bodies[-1]["svc_action_data"]["reason"] == ends[name]
        else:
            assert bodies[-1]["svc_action"] == "ticket_create"
            assert bodies[-1]["svc_ticket_id"] == "T-1"


def test_what_is_sent_of_suggestions_is_what_was_offered() -> None:
    talk = walk("solved")
    (click,) = of(talk, "ticket_classification_click")
    assert click["svc_action_data"] == {
        "classificationId": "category-2",
        "responseId": "r1",
        "fieldName": "category",
        "classification": {"value": "Fuel", "confidence": 0.3},
        "autoSelection": False,
    }
    assert click["svc_ticket_category"] == "Fuel"
    opened = of(talk, "documentSuggestionClick")
    assert [(one["documentPosition"], one["documentTitle"]) for one in opened] == [(2, "Air & fuel"), (1, "Ignition")]
    rated = of(talk, "suggestion_rate")
    assert [(one["svc_action_data"]["rate"], one["svc_action_data"]["suggestionId"]) for one in rated] == [
        (0, "d2"),
        (1, "d1"),
    ]


def test_a_value_that_was_taken_automatically_is_sent_as_such() -> None:
    talk = walk("solved at sight", classified=proposals(category={"Fuel": 0.95}))
    (click,) = of(talk, "ticket_classification_click")
    assert click["svc_action_data"]["autoSelection"] is True


def test_fields_and_stages_are_sent_by_name() -> None:
    stages = (Stage(name="tell", fields=(Field(name="description"), Field(name="serial"))), Stage(name="check"))
    talk = Talk(Dialogue(stages=stages))
    talk.start(PROBLEM)
    talk.say("007")
    fields = of(talk, "ticket_field_update")
    assert [one["svc_action_data"]["fieldName"] for one in fields] == ["subject", "description", "serial"]
    assert fields[-1]["svc_ticket_subject"] == PROBLEM
    assert fields[-1]["svc_ticket_custom"] == {"serial": "007"}
    (stage,) = of(talk, "ticket_next_stage")
    assert stage["svc_action_data"] == {"stage": "check"}


# Languages


def test_a_whole_conversation_in_french() -> None:
    talk = Talk(classified=proposals(category={"Carburant": 0.6}), suggested=documents("Le carburateur"))
    assert (
        talk.start("Bonjour !", language="fr").text == "Bonjour ! Quel est le problème ? Une phrase ou deux suffisent."
    )
    assert talk.say("Allô ?").text == "Dites-moi en une phrase ce qui ne fonctionne pas."
    assert talk.say("Mon groupe s'arrête").text == "Quelle valeur pour le champ « catégorie » ?"
    assert talk.labels == ["Carburant", "Passer", "Quitter"]
    prompt = talk.say("carburant")
    assert prompt.text == "Ces documents peuvent vous aider. Ouvrez-en un, ou dites-moi qu'aucun ne convient."
    assert talk.labels == ["Ouvrir « Le carburateur »", "C'est résolu", "Aucun ne convient", "Quitter"]
    assert talk.say("1").text == "Est-ce que « Le carburateur » a résolu le problème ?"
    assert talk.labels == ["Oui", "Non", "Retour à la liste", "Quitter"]
    prompt = talk.say("Non.")
    assert prompt.text == (
        "Voici votre ticket :\n\nsujet: Mon groupe s'arrête\ndescription: Mon groupe s'arrête\ncatégorie: Carburant\n\n"
        "Faut-il le créer, ou y a-t-il quelque chose à modifier ?"
    )
    assert talk.labels[1:3] == ["Modifier le champ « description »", "Modifier le champ « catégorie »"]
    assert talk.say("pardon ?").text.startswith("Désolé, je n'ai pas compris.\n\n")
    assert talk.say("d\u2019accord").text == "Votre ticket est créé : T-1. Quelqu'un va s'en occuper."
    assert talk.labels == ["Ouvrir un nouveau dossier"]
    assert talk.conversation.wants_new("Oui")
    assert talk.ticket == Ticket(
        id="T-1", subject="Mon groupe s'arrête", description="Mon groupe s'arrête", category="Carburant"
    )
    assert talk.log[0].context.language == "fr"


def test_a_whole_conversation_in_german() -> None:
    talk = Talk(classified=proposals(category={"Kraftstoff": 0.9}), suggested=documents("Vergaser reinigen"))
    assert talk.start(language="de").text == "Guten Tag! Was ist das Problem? Ein oder zwei Sätze genügen."
    assert talk.say("Grüezi").text == "Bitte sagen Sie in einem Satz, was nicht funktioniert."
    prompt = talk.say("Mein Aggregat geht aus")
    assert prompt.text == (
        "Ich habe bei „Kategorie“ „Kraftstoff“ eingetragen.\n\n"
        "Diese Dokumente könnten helfen. Öffnen Sie eines davon, oder sagen Sie mir, dass keines passt."
    )
    assert talk.labels == ["„Vergaser reinigen“ öffnen", "Das hat geholfen", "Keines davon passt", "Beenden"]
    assert talk.say("vergaser reinigen öffnen").text.startswith("Das habe ich leider nicht verstanden.")
    assert talk.say("„Vergaser reinigen“ öffnen").text == "Hat „Vergaser reinigen“ das Problem gelöst?"
    assert talk.say("zurück").step == "reading"
    prompt = talk.say("Keins davon!")
    assert prompt.text == (
        "Das ist Ihr Ticket:\n\nBetreff: Mein Aggregat geht aus\nBeschreibung: Mein Aggregat geht aus\n"
        "Kategorie: Kraftstoff\n\nSoll ich es anlegen, oder möchten Sie etwas ändern?"
    )
    assert talk.say("„Kategorie“ ändern").text == "Was soll ich bei „Kategorie“ eintragen?"
    assert talk.labels == ["Kraftstoff", "So lassen", "Beenden"]
    assert talk.say("Strom").text.startswith("Wählen Sie etwas davon aus, oder schreiben Sie bei „Kategorie“ ")
    assert talk.say("So lassen!").step == "reviewing"
    assert talk.ticket.category == "Kraftstoff"
    assert talk.say("Klar").text == "Ihr Ticket ist angelegt: T-1. Es kümmert sich jemand darum."
    assert talk.log[0].context.language == "de"


def test_times_are_those_that_were_given() -> None:
    assert {record.time for record in walk("left").log} == {NOW}
