"""How a turn is decided: what a reply makes at each step."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from caseassist.conversation.dialogue import DESCRIPTION, Dialogue, Field
from caseassist.conversation.memory import Memory, documents_of, field_of, value_of, values_of
from caseassist.conversation.prompting import is_greeting, kind_of
from caseassist.conversation.steps import Work, follow
from caseassist.core.events import ClassificationsOffered, TurnTaken
from caseassist.core.records import Record
from caseassist.core.session import Session

__all__ = ["REPLIES", "Turning", "add", "describe", "greets", "select_automatically"]

SUBJECT_CHARACTERS = 80


class Turning:
    """A turn while it is decided: the records so far, the session after them, and what to remember."""

    def __init__(
        self,
        dialogue: Dialogue,
        session: Session,
        memory: Memory,
        message_id: str | None,
        at: datetime,
        started: tuple[Record, ...],
        said: tuple[str, ...],
    ) -> None:
        self.dialogue = dialogue
        self.session = session
        self.memory = memory
        self.said = said
        """The notices that went with the question."""
        self.at = at
        self._records: list[Record] = []
        self.act(started)
        self._place = len(self._records)
        self.act(self.session.take_turn(message_id, at=at))

    def act(self, records: tuple[Record, ...]) -> None:
        """Something happens."""
        self._records += records
        self.session = Session.fold(records, self.session)

    def remember(self, **members: Any) -> None:
        self.memory = msgspec.structs.replace(self.memory, **members)

    def notice(self, name: str) -> None:
        """Have something said before the next question."""
        if name not in self.memory.notices:
            self.remember(notices=(*self.memory.notices, name))

    def follow(self, trigger: str) -> None:
        self.remember(step=follow(self.memory.step, trigger, self.work()))

    def work(self) -> Work:
        """What is to be done in the stage."""
        stage = self.dialogue.stages[self.memory.stage]
        missing = [field.name for field in self.missing(stage.fields)]
        to_ask = any(name != DESCRIPTION for name in missing)
        return Work(
            to_describe=DESCRIPTION in missing,
            to_classify=stage.classify and to_ask and not self.memory.classified,
            to_ask=to_ask,
            to_suggest=stage.documents and not self.memory.suggested,
            documents_left=any(True for _ in documents_of(self.dialogue, self.session, self.memory)),
        )

    def missing(self, fields: tuple[Field, ...]) -> list[Field]:
        """The fields that are neither known nor skipped."""
        return [
            field
            for field in fields
            if value_of(self.session.ticket, field.name) is None and field.name not in self.memory.skipped
        ]

    def go_on(self) -> None:
        """Go to what is to be done next: in this stage, or in one to come."""
        while not (work := self.work()).any and self.memory.stage + 1 < len(self.dialogue.stages):
            stage = self.memory.stage + 1
            self.remember(stage=stage, classified=False, suggested=False)
            self.act(self.session.next_stage(self.dialogue.stages[stage].name, at=self.at))
        self.remember(step=follow(self.memory.step, "go_on", work), document=None, field=None)
        if self.memory.step == "asking":
            fields = self.missing(self.dialogue.stages[self.memory.stage].fields)
            self.remember(field=next(field.name for field in fields if field.name != DESCRIPTION))

    def done(self) -> tuple[Record, ...]:
        """The records, with what to remember in the one of the turn."""
        event = self._records[self._place].event
        assert isinstance(event, TurnTaken)
        event = msgspec.structs.replace(event, memory=msgspec.json.decode(msgspec.json.encode(self.memory)))
        self._records[self._place] = msgspec.structs.replace(self._records[self._place], event=event)
        return tuple(self._records)


# What a reply makes, by the step. ``chosen``: the id of the choice that it is, if it is one; ``text``: what it says.


def describe(turn: Turning, text: str) -> None:
    if greets(turn, text):
        turn.notice("describe_again")
        return
    for name in turn.memory.automatic:  # they were taken for what was told before
        if value_of(turn.session.ticket, name) is not None:
            turn.act(turn.session.update_field(name, "", at=turn.at))
    turn.remember(automatic=())
    _set_description(turn, text)
    turn.go_on()


def greets(turn: Turning, text: str) -> bool:
    """Whether a text says nothing of a problem."""
    return not text or is_greeting(turn.dialogue, text)


def add(turn: Turning, text: str) -> None:
    """Add to the description. The stage stays, and what it asked for is asked for anew."""
    before = turn.session.ticket.description
    stage = turn.memory.stage
    _set_description(turn, f"{before}\n{text}" if before else text)
    turn.remember(stage=stage)


def _set_description(turn: Turning, text: str) -> None:
    """Set the description, and the subject with it where that was taken from the description."""
    ticket = turn.session.ticket
    ours = ticket.subject is None or ticket.subject == _subject_of(ticket.description or "")
    if ours and _subject_of(text) != ticket.subject:
        turn.act(turn.session.update_field("subject", _subject_of(text), at=turn.at))
    turn.act(turn.session.update_field(DESCRIPTION, text, at=turn.at))
    turn.remember(stage=0, classified=False, suggested=False, useless=())


def _when_describing(turn: Turning, chosen: str | None, text: str) -> None:
    if chosen is None:
        describe(turn, text)
    else:  # it stays as it is
        turn.go_on()


def _when_waiting(turn: Turning, chosen: str | None, text: str) -> None:
    """More is told while suggestions are on their way: they will be asked for anew."""
    del chosen
    if not greets(turn, text):
        add(turn, text)


def _when_asking(turn: Turning, chosen: str | None, text: str) -> None:
    name = turn.memory.field or ""
    values = values_of(turn.dialogue, turn.session, name)
    if chosen is not None and chosen not in values:
        if kind_of(chosen) == "skip":
            turn.remember(skipped=(*turn.memory.skipped, name))
        turn.go_on()
        return
    if chosen is not None:
        value = values[chosen]
        if value.classification_id is None:
            turn.act(turn.session.update_field(name, value.value, at=turn.at))
        else:
            turn.act(
                turn.session.select_classification(value.classification_id, response_id=value.response_id, at=turn.at)
            )
    elif not text:
        turn.notice("not_understood")
        return
    elif field_of(turn.dialogue, name).values:
        turn.notice(f"ask_again:{name}")
        return
    elif values and (
        f"say_again:{name}" not in turn.said or greets(turn, text)
    ):  # it may have been meant for one of the proposals
        turn.notice(f"say_again:{name}")
        return
    else:
        turn.act(turn.session.update_field(name, text, at=turn.at))
    turn.remember(automatic=tuple(other for other in turn.memory.automatic if other != name))
    turn.go_on()


def _when_reading(turn: Turning, chosen: str | None, text: str) -> None:
    del text
    if chosen == "solved":
        turn.follow("help")
        turn.act(turn.session.solve(at=turn.at))
    elif chosen is not None and kind_of(chosen) == "none":
        turn.go_on()
    elif chosen is not None:
        document, response_id = dict(documents_of(turn.dialogue, turn.session, turn.memory))[chosen]
        turn.act(turn.session.open_document(document.suggestion_id, response_id=response_id, at=turn.at))
        turn.remember(document=document.suggestion_id)
        turn.follow("open")
    else:
        turn.notice("not_understood")


def _when_rating(turn: Turning, chosen: str | None, text: str) -> None:
    del text
    document = turn.memory.document or ""
    chosen = None if chosen is None else kind_of(chosen)
    if chosen == "yes":
        turn.act(turn.session.rate_document(document, 1.0, at=turn.at))
        turn.follow("help")
        turn.act(turn.session.solve(at=turn.at))
    elif chosen == "no":
        turn.act(turn.session.rate_document(document, 0.0, at=turn.at))
        turn.remember(useless=(*turn.memory.useless, document), document=None)
        if turn.work().documents_left:
            turn.follow("fail")
        else:
            turn.go_on()
    elif chosen == "back":
        turn.follow("back")
        turn.remember(document=None)
    else:
        turn.notice("not_understood")


def _when_reviewing(turn: Turning, chosen: str | None, text: str) -> None:
    del text
    if chosen == "file":
        turn.follow("file")
    elif chosen == f"change:{DESCRIPTION}":
        turn.follow("change_description")
    elif chosen is not None:
        turn.follow("change_field")
        name = chosen.removeprefix("change:")
        turn.remember(field=name, skipped=tuple(other for other in turn.memory.skipped if other != name))
    else:
        turn.notice("not_understood")


def _when_filing(turn: Turning, chosen: str | None, text: str) -> None:
    """The ticket may be filed already: nothing can be changed."""


REPLIES: dict[str, Callable[[Turning, str | None, str], None]] = {
    "describing": _when_describing,
    "classifying": _when_waiting,
    "asking": _when_asking,
    "suggesting": _when_waiting,
    "reading": _when_reading,
    "rating": _when_rating,
    "reviewing": _when_reviewing,
    "filing": _when_filing,
}


def select_automatically(turn: Turning, offer: ClassificationsOffered) -> None:
    """Take the surest value for each field that is not known, if it is sure enough."""
    for field in turn.missing(turn.dialogue.fields):
        proposed = [
            item
            for item in offer.classifications
            if item.field_name == field.name and (not field.values or item.classification.value in field.values)
        ]
        best = max(proposed, key=lambda item: item.classification.confidence, default=None)
        if best is not None and best.classification.confidence >= turn.dialogue.auto_select_from:
            turn.act(
                turn.session.select_classification(
                    best.classification_id, response_id=offer.response_id, auto_selection=True, at=turn.at
                )
            )
            turn.remember(automatic=(*turn.memory.automatic, field.name))
            turn.notice(f"auto_selected:{field.name}")


def _subject_of(description: str) -> str:
    """The first line, cut at a word."""
    line = next((line for line in map(str.strip, description.splitlines()) if line), description.strip())
    if len(line) <= SUBJECT_CHARACTERS:
        return line
    return f"{line[: SUBJECT_CHARACTERS - 1].rpartition(' ')[0] or line[: SUBJECT_CHARACTERS - 1]}…"
