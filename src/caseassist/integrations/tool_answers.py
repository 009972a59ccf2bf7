"""What a language model is answered: errors and suggestions as plain data, in the words of the tools."""

from typing import Any

from caseassist.core.errors import (
    ActionError,
    CaseAssistError,
    IllegalTransition,
    InvalidAction,
    NoSuggestions,
    TicketNotCreated,
    UnknownSuggestion,
)
from caseassist.core.events import ClassificationsOffered, DocumentsOffered
from caseassist.core.offers import find_document
from caseassist.core.session import Session
from caseassist.integrations.tool_kinds import Arguments, OpenDocument

__all__ = ["UnknownTool", "next_step", "shown", "suggestions_of", "told"]


class UnknownTool(ActionError):
    """There is no such tool."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(allowed)
        self.allowed = allowed

    def __str__(self) -> str:
        return f"there is no such tool; possible are: {', '.join(self.allowed or ())}"


_ARGUMENTS = {
    "$.classificationId": "$.classification_id",
    "$.suggestionId": "$.suggestion_id",
    "$.fieldName": "$.field_name",
}
"""What the session calls a place in the arguments, and what it is called here."""


def told(error: CaseAssistError, session: Session | None) -> dict[str, Any]:
    """An error as plain data, in the words of the tools. No message holds a value that may be personal."""
    allowed = getattr(error, "allowed", None)
    path = getattr(error, "path", None)
    path = _ARGUMENTS.get(path or "", path)
    message = str(error)
    if isinstance(error, InvalidAction):
        message = f"{path}: {error.problem}"
    elif isinstance(error, UnknownSuggestion) and session is not None:
        allowed = tuple(_ids(session, error.kind))
        message = f"{path}: no {error.kind} with this id was suggested in this case"
    told = {
        "type": type(error).__name__,
        "message": message,
        "rule": getattr(error, "rule", None),
        "path": path,
        "allowed": None if allowed is None else list(allowed),
    }
    return {name: value for name, value in told.items() if value is not None}


def next_step(error: CaseAssistError, tool: str) -> str:
    """What to do about an error."""
    match error:
        case IllegalTransition() if tool == "start_case":
            return "The case is under way already. Go on with it: show_case tells how it stands."
        case IllegalTransition() if "start_case" in (error.allowed or ()):
            return "There is no case under way. Call start_case first."
        case IllegalTransition() | UnknownTool():
            return "Call one of the allowed tools. Suggestions can be taken once there are some."
        case InvalidAction():
            return "Correct the argument that path names, and call the tool again."
        case UnknownSuggestion():
            return "Use an id from suggestions. If what you need is not there, ask for suggestions again."
        case NoSuggestions():
            return "Go on without suggestions, and say so to the person. You can ask again later."
        case TicketNotCreated():
            return (
                "The ticket was not filed. Tell the person, and offer to try again: calling create_ticket again is "
                "safe and files no second ticket."
            )
        case _:
            return "Tell the person that this could not be recorded just now, and try once more a little later."


def suggestions_of(session: Session) -> dict[str, Any]:
    """What was suggested last, of both kinds."""
    classifications: ClassificationsOffered | None = None
    documents: DocumentsOffered | None = None
    for offer in session.offers:
        if isinstance(offer, ClassificationsOffered):
            classifications = offer
        else:
            documents = offer
    return {
        "classifications": [
            {
                "classification_id": item.classification_id,
                "field_name": item.field_name,
                "value": item.classification.value,
                "confidence": item.classification.confidence,
            }
            for item in (classifications.classifications if classifications else ())
        ],
        "documents": [
            {
                "suggestion_id": item.suggestion_id,
                "title": item.suggestion.document_title,
                "url": item.click_uri or item.suggestion.document_url,
            }
            | ({"excerpt": item.excerpt} if item.excerpt else {})
            for item in (documents.documents if documents else ())
        ],
    }


def shown(given: Arguments, session: Session) -> dict[str, Any]:
    """What the answer to a call has beside how the case stands."""
    if not isinstance(given, OpenDocument):
        return {}
    item, _ = find_document(session.offers, given.suggestion_id, None, "CD")
    url = item.click_uri or item.suggestion.document_url
    return {"document": {"title": item.suggestion.document_title, "url": url}}


def _ids(session: Session, kind: str) -> list[str]:
    """The ids of what was suggested last."""
    suggestions = suggestions_of(session)
    if kind == "classification":
        return [item["classification_id"] for item in suggestions["classifications"]]
    return [item["suggestion_id"] for item in suggestions["documents"]]
