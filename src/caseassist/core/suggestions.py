"""Answers of Coveo's Customer Service API, read into offers.

``classify`` answers ``{fields: {name: {predictions: [{id, value, confidence}]}}, responseId}``, and
``documents/suggest`` answers ``{documents: [{title, excerpt, clickUri, fields: {permanentid, source, uri,
urihash}}], responseId}``.
Members that we have no use for are passed over. What the documents name must be there: a suggestion that cannot be
logged by the rules is refused when it is offered, not when somebody clicks it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from caseassist.core import fields, gate
from caseassist.core.errors import InvalidAction
from caseassist.core.events import ClassificationsOffered, DocumentsOffered
from caseassist.core.gate import members_of

__all__ = ["Answer", "read_classifications", "read_documents"]

Answer = Mapping[str, Any] | bytes | str
"""An answer as it came: the JSON text, or what was decoded from it."""


class _Lenient(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    pass


class _Prediction(_Lenient, frozen=True, kw_only=True):
    id: fields.ClassificationId
    value: fields.FieldValue
    confidence: fields.Confidence


class _Predictions(_Lenient, frozen=True, kw_only=True):
    predictions: tuple[_Prediction, ...] = ()


class _Classify(_Lenient, frozen=True, kw_only=True):
    response_id: fields.ResponseId


class _DocumentFields(_Lenient, frozen=True, kw_only=True):
    permanentid: fields.SuggestionId
    source: fields.SourceName
    uri: str | None = None
    urihash: str | None = None


class _Document(_Lenient, frozen=True, kw_only=True):
    title: fields.DocumentTitle
    fields: _DocumentFields
    click_uri: str | None = None
    excerpt: str | None = None


class _Documents(_Lenient, frozen=True, kw_only=True):
    rules: ClassVar[str] = "CD"

    response_id: fields.ResponseId
    documents: tuple[_Document, ...]


def read_classifications(answer: Answer | ClassificationsOffered) -> ClassificationsOffered:
    """Return the offer that an answer of ``classify`` makes. Raises InvalidAction."""
    if type(answer) is ClassificationsOffered:
        return _offer(ClassificationsOffered, members_of(answer, "$.response"))
    data = _decode(answer)
    head = gate.build(_Classify, data, path="$.response", rules=ClassificationsOffered.rules)
    offered = [
        {
            "classificationId": prediction.id,
            "fieldName": name,
            "classification": {"value": prediction.value, "confidence": prediction.confidence},
        }
        for name, value in members_of(data.get("fields"), "$.response.fields").items()
        for prediction in _predictions(value, gate.path_of("$.response.fields", name))
    ]
    return _offer(ClassificationsOffered, {"responseId": head.response_id, "classifications": offered})


def _predictions(value: Any, path: str) -> tuple[_Prediction, ...]:
    return gate.build(_Predictions, value, path=path, rules=ClassificationsOffered.rules).predictions


def read_documents(answer: Answer | DocumentsOffered) -> DocumentsOffered:
    """Return the offer that an answer of ``documents/suggest`` makes. Raises InvalidAction.

    The position is counted from 1 in the order of the answer. The URL is the document's ``uri``, as article 2064
    wants it, or else its ``clickUri``. The excerpt, cut at 1,024 characters, and the ``clickUri`` stay with the offer,
    to be shown.
    """
    if type(answer) is DocumentsOffered:
        return _offer(DocumentsOffered, members_of(answer, "$.response"))
    head = gate.build(_Documents, _decode(answer), path="$.response", rules="CD")
    offered = [
        {
            "suggestionId": document.fields.permanentid,
            "suggestion": {
                "documentTitle": document.title,
                "documentUrl": document.fields.uri or document.click_uri,
                "documentPosition": position,
                "sourceName": document.fields.source,
                "documentUriHash": document.fields.urihash,
            },
            "excerpt": _cut(document.excerpt),
            "clickUri": _opened_at(document),
        }
        for position, document in enumerate(head.documents, 1)
    ]
    return _offer(DocumentsOffered, {"responseId": head.response_id, "documents": offered})


def _cut(excerpt: str | None) -> str | None:
    if excerpt is None or len(excerpt) <= fields.MAX_EXCERPT:
        return excerpt or None
    return f"{excerpt[: fields.MAX_EXCERPT - 1]}…"


def _opened_at(document: _Document) -> str | None:
    """Where a person opens the document, if that is another URL than the one that is logged."""
    if not document.fields.uri or document.click_uri == document.fields.uri:
        return None
    if not (document.click_uri or "").startswith(("https://", "http://")):  # a bot makes a link of it
        return None
    try:
        return msgspec.convert(document.click_uri, fields.ClickUri)
    except msgspec.ValidationError:  # it would only be shown: no reason to refuse what can be logged
        return None


def _decode(answer: Any) -> dict[str, Any]:
    if issubclass(type(answer), bytes | str):
        try:
            answer = msgspec.json.decode(answer)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise InvalidAction("expected a JSON object in UTF-8", path="$.response") from None
    return members_of(answer, "$.response")


T = TypeVar("T", ClassificationsOffered, DocumentsOffered)


def _offer(cls: type[T], data: dict[str, Any]) -> T:
    return gate.build(cls, data, path="$.response", rules=cls.rules)
