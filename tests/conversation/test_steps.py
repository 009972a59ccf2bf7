"""The steps: what the table says can happen, all of it, and nothing else."""

from itertools import product
from typing import Any

import pytest
from tests.conversation.talk import DOWN, NOW, PROBLEM, Talk, context, documents, proposals
from transitions import MachineError

from caseassist.conversation import steps, turning
from caseassist.conversation.conversation import Classify, Conversation, FileTicket, SuggestDocuments, Turn
from caseassist.conversation.dialogue import Dialogue, Field, Stage
from caseassist.conversation.steps import ENDS, STEPS, TABLE, WAITING, Work, follow
from caseassist.core.errors import TicketNotCreated
from caseassist.core.session import Session

TRIGGERS = list(dict.fromkeys(row.trigger for row in TABLE))
EVERYTHING = Work(*([True] * len(Work._fields)))
ROWS = [(step, row) for row in TABLE for step in row.sources]


@pytest.mark.parametrize(("step", "row"), ROWS, ids=[f"{step}-{row.trigger}-{row.dest}" for step, row in ROWS])
def test_a_row_leads_where_it_says_if_its_condition_holds(step: str, row: steps.Row) -> None:
    work = Work(**{row.condition: True}) if row.condition else Work()
    assert follow(step, row.trigger, work) == row.dest


@pytest.mark.parametrize(("step", "trigger"), list(product(STEPS, TRIGGERS)))
def test_what_is_in_no_row_is_refused(step: str, trigger: str) -> None:
    rows = [row for row in TABLE if row.trigger == trigger and step in row.sources]
    if rows:
        assert follow(step, trigger, EVERYTHING) == rows[0].dest, "the first row that holds is taken"
    else:
        with pytest.raises(MachineError, match="Can't trigger"):
            follow(step, trigger, EVERYTHING)


def test_a_condition_that_does_not_hold_leads_nowhere() -> None:
    assert follow("rating", "fail", Work()) == "rating"


def test_what_is_to_be_done_comes_in_the_order_of_the_table() -> None:
    told = []
    for number in range(4):
        work = Work(*([False] * number + [True] * (4 - number)))
        assert work.any
        told.append(follow("asking", "go_on", work))
    assert told == ["describing", "classifying", "asking", "suggesting"]
    assert not Work(documents_left=True).any
    assert follow("asking", "go_on", Work()) == "reviewing"


def test_the_table_names_steps_and_work_only() -> None:
    for row in TABLE:
        assert {*row.sources, row.dest} <= set(STEPS)
        assert row.condition is None or row.condition in Work._fields
        assert not set(row.sources) & set(ENDS)
    assert set(WAITING) < set(STEPS)


DESCRIBE = Stage(name="describe", fields=(Field(name="description"),))
CATEGORY = (Field(name="category", required=False),)
FREE = (Field(name="productId", required=False),)
DIALOGUES = [
    Dialogue(),
    Dialogue(stages=(Stage(name="only"),)),
    Dialogue(stages=(Stage(name="a", documents=True), Stage(name="b", documents=True), DESCRIBE)),
    Dialogue(
        stages=(
            Stage(name="a", classify=True, fields=CATEGORY, documents=True),
            Stage(name="b", classify=True, fields=FREE),
            DESCRIBE,
        )
    ),
    Dialogue(
        stages=(
            Stage(name="a", fields=FREE, documents=True),
            Stage(name="b", classify=True, fields=CATEGORY),
            Stage(name="c", fields=(Field(name="urgency"),), documents=True),
        )
    ),
    Dialogue(stages=(Stage(name="a", classify=True, fields=CATEGORY), DESCRIBE)),
    Dialogue(
        stages=(Stage(name="a", classify=True, fields=CATEGORY), Stage(name="b", classify=True, fields=FREE), DESCRIBE)
    ),
    Dialogue(stages=(Stage(name="a", fields=FREE), DESCRIBE)),
    Dialogue(
        stages=(
            Stage(name="a", classify=True, fields=CATEGORY),
            Stage(name="b", documents=True),
            Stage(name="c", fields=FREE),
        )
    ),
    Dialogue(
        stages=(
            Stage(name="a", fields=FREE),
            Stage(name="b", documents=True),
            Stage(name="c", classify=True, fields=CATEGORY),
        )
    ),
    Dialogue(stages=(Stage(name="a", documents=True), Stage(name="b", classify=True, fields=CATEGORY))),
    Dialogue(stages=(Stage(name="a", documents=True), Stage(name="b", fields=FREE))),
]
"""Together, they have everything come after everything else."""


def turns(conversation: Conversation) -> list[Turn]:
    """Whatever can come next."""
    need = conversation.need
    answers: list[Any] = []
    match need:
        case Classify():
            answers = [proposals(category={"Fuel": 0.9}), proposals(category={"Fuel": 0.3}), DOWN]
        case SuggestDocuments():
            answers = [documents("One"), documents("One", "Two"), documents(), DOWN]
        case FileTicket():
            answers = ["T-1", TicketNotCreated("down")]
        case None:
            pass
    found = [conversation.answer(need, answer, at=NOW) for answer in answers] if need else []
    found += [conversation.reply(choice=choice.id, at=NOW) for choice in conversation.prompt.choices]
    if conversation.step in ("asking", "rating", "reviewing"):
        found.append(conversation.reply("It works now", at=NOW))
    return [*found, conversation.reply(PROBLEM, at=NOW)]


def walked(monkeypatch: pytest.MonkeyPatch, deep: int) -> set[tuple[str, str, str]]:
    """Every way that conversations took: from, by, to."""
    ways: set[tuple[str, str, str]] = set()

    def watched(step: str, trigger: str, work: Work) -> str:
        dest = follow(step, trigger, work)
        ways.add((step, trigger, dest))
        return dest

    monkeypatch.setattr(turning, "follow", watched)
    for dialogue in DIALOGUES:
        conversation = Conversation(dialogue, Session(id="c1"))
        front = [conversation.start(context=context(), at=NOW).conversation]
        seen: set[str] = set()
        for _ in range(deep):
            found = [turn.conversation for one in front if not one.ended for turn in turns(one)]
            front = []
            for one in found:
                ticket = one.session.ticket
                place = repr((one.memory, ticket.category, ticket.product_id, one.prompt.choices))
                if place not in seen:
                    seen.add(place)
                    front.append(one)
    return ways


def test_every_row_happens_from_every_step_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {(step, row.trigger, row.dest) for step, row in ROWS}
    assert walked(monkeypatch, 14) == expected


def test_every_dialogue_that_goes_the_shortest_way_comes_to_its_end() -> None:
    for dialogue in DIALOGUES:
        talk = Talk(dialogue)
        talk.start(PROBLEM)
        for _ in range(12):
            if talk.conversation.ended:
                break
            ways = {"describing": PROBLEM, "asking": "Fuel", "reading": "none", "reviewing": "file"}
            talk.say(ways[talk.conversation.step])
        assert talk.conversation.step == "created"
