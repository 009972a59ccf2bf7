"""eventsourcing: the ten actions as an aggregate, saved after each; values as plain as its JSON transcoder wants."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.data import ACTIONS
from benchmarks.peers.by_hand import PLAN

__all__ = ["Case", "play", "rebuild"]

PLAIN: list[tuple[str, list[Any]]] = [(name, [msgspec.to_builtins(arg) for arg in args]) for name, args, _ in ACTIONS]


class Case(Aggregate):
    """A session."""

    @event("Started")
    def __init__(self, ticket: dict[str, Any], context: dict[str, Any]) -> None:
        self.state = PLAN["new", "start"]
        self.ticket = ticket
        self.context = context
        self.stage = 0
        self.classifications: dict[str, Any] = {}
        self.documents: dict[str, Any] = {}

    @event("FieldUpdated")
    def update_field(self, field_name: str, value: str) -> None:
        self.state = PLAN[self.state, "update_field"]
        self.ticket[field_name] = value

    @event("ClassificationsOffered")
    def offer_classifications(self, offer: dict[str, Any]) -> None:
        self.state = PLAN[self.state, "offer_classifications"]
        self.classifications |= {item["classificationId"]: item for item in offer["classifications"]}

    @event("ClassificationSelected")
    def select_classification(self, classification_id: str) -> None:
        self.state = PLAN[self.state, "select_classification"]
        item = self.classifications[classification_id]
        self.ticket[item["fieldName"]] = item["classification"]["value"]

    @event("StageEntered")
    def next_stage(self) -> None:
        self.state = PLAN[self.state, "next_stage"]
        self.stage += 1

    @event("DocumentsOffered")
    def offer_documents(self, offer: dict[str, Any]) -> None:
        self.state = PLAN[self.state, "offer_documents"]
        self.documents |= {item["suggestionId"]: item for item in offer["documents"]}

    @event("DocumentOpened")
    def open_document(self, suggestion_id: str) -> None:
        self.state = PLAN[self.state, "open_document"]
        self.opened = self.documents[suggestion_id]

    @event("DocumentRated")
    def rate_document(self, suggestion_id: str, rate: float) -> None:
        self.state = PLAN[self.state, "rate_document"]
        self.rated = self.documents[suggestion_id], rate

    @event("Created")
    def create(self, ticket_id: str) -> None:
        self.state = PLAN[self.state, "create"]
        self.ticket["id"] = ticket_id


def play(application: Application[UUID]) -> UUID:
    """Play a session of ten actions, each saved before the next, and return its id."""
    (_, (ticket, context)), *rest = PLAIN
    case = Case(dict(ticket), context)
    application.save(case)
    for name, args in rest:
        getattr(case, name)(*args)
        application.save(case)
    return case.id


def rebuild(application: Application[UUID], ids: Iterable[UUID]) -> list[Aggregate]:
    """Rebuild sessions from what was saved."""
    return [application.repository.get(case_id) for case_id in ids]
