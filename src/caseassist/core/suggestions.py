"""Answers of Coveo's Customer Service API, read into offers.

``classify`` answers ``{fields: {name: {predictions: [{id, value, confidence}]}}, responseId}``, and
``documents/suggest`` answers ``{documents: [{title, excerpt, clickUri, fields: {permanentid, source, uri,
urihash}}], responseId}``.
Members that we have no use for are passed over. What the documents name must be there: a suggestion that cannot be
logged by the rules is refused when it is offered, not when somebody clicks it.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from caseassist.core import fields, gate
from caseassist.core.errors import InvalidAction
from caseassist.core.events import ClassificationsOffered, DocumentsOffered
from caseassist.core.gate import members_of
from caseassist.core.offers import Checked, are_distinct

__all__ = ["Answer", "read_classifications", "read_documents"]

MAX_AT_ONCE = 65_536
"""An answer so short, in bytes or characters, cannot fill a store, whatever it says: its members are not counted."""

Answer = Mapping[str, Any] | bytes | str
"""An answer as it came: the JSON text, or what was decoded from it."""


D = TypeVar("D")


class _Lenient(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    pass


class _Prediction(_Lenient, frozen=True, kw_only=True):
    id: fields.ClassificationId
    value: fields.FieldValue
    confidence: fields.Confidence


class _Predictions(_Lenient, frozen=True, kw_only=True):
    predictions: tuple[_Prediction, ...] = ()


class _Head(_Lenient, frozen=True, kw_only=True):
    response_id: fields.ResponseId


class _Classify(_Head, frozen=True, kw_only=True):
    fields: dict[str, _Predictions]


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


_read_classify = msgspec.json.Decoder(_Classify).decode
_read_suggest = msgspec.json.Decoder(_Documents).decode


def read_classifications(answer: Answer | ClassificationsOffered) -> ClassificationsOffered:
    """Return the offer that an answer of ``classify`` makes. Raises InvalidAction."""
    if type(answer) is ClassificationsOffered:
        if type(answer.classifications) is Checked and gate.is_id(answer.response_id, fields.MAX_ID):
            return answer
        members = members_of(answer, "$.response")
        return _checked_classifications(gate.build(ClassificationsOffered, members, path="$.response", rules="CA-06"))
    whole = _at_once(answer, _read_classify)
    if whole is not None:
        try:
            told = _told_classifications(whole.response_id, whole.fields)
            return _checked_classifications(gate.convert(ClassificationsOffered, told))
        except InvalidAction:
            pass  # to be told where in the answer it is
    data = _decode(answer)
    response_id = gate.build(_Head, data, path="$.response", rules="CA-06").response_id
    named = members_of(data.get("fields"), "$.response.fields").items()
    read = {name: _predictions(value, gate.path_of("$.response.fields", name)) for name, value in named}
    told = _told_classifications(response_id, read)
    return _checked_classifications(gate.build(ClassificationsOffered, told, path="$.response", rules="CA-06"))


def _told_classifications(response_id: str, predicted: Mapping[str, _Predictions]) -> dict[str, Any]:
    offered = [
        {
            "classificationId": prediction.id,
            "fieldName": name,
            "classification": {"value": prediction.value, "confidence": prediction.confidence},
        }
        for name, predictions in predicted.items()
        for prediction in predictions.predictions
    ]
    return {"responseId": response_id, "classifications": offered}


def _checked_classifications(offer: ClassificationsOffered) -> ClassificationsOffered:
    items = offer.classifications
    if not items or not are_distinct(items):
        return offer
    return msgspec.structs.replace(offer, classifications=Checked(items))


def _predictions(value: Any, path: str) -> _Predictions:
    return gate.build(_Predictions, value, path=path, rules="CA-06")


def read_documents(answer: Answer | DocumentsOffered) -> DocumentsOffered:
    """Return the offer that an answer of ``documents/suggest`` makes. Raises InvalidAction.

    The position is counted from 1 in the order of the answer. The URL is the document's ``uri``, as article 2064
    wants it, or else its ``clickUri``. The excerpt, cut at 1,024 characters, and the ``clickUri`` stay with the offer,
    to be shown.
    """
    if type(answer) is DocumentsOffered:
        if type(answer.documents) is Checked and gate.is_id(answer.response_id, fields.MAX_ID):
            return answer
        members = members_of(answer, "$.response")
        return _checked_documents(gate.build(DocumentsOffered, members, path="$.response", rules="CD"))
    whole = _at_once(answer, _read_suggest)
    if whole is not None:
        try:
            return _told_documents(whole)
        except InvalidAction:
            pass  # to be told where in the answer it is
    return _told_documents(gate.build(_Documents, _decode(answer), path="$.response", rules="CD"))


def _told_documents(answer: _Documents) -> DocumentsOffered:
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
        for position, document in enumerate(answer.documents, 1)
    ]
    told = {"responseId": answer.response_id, "documents": offered}
    return _checked_documents(gate.convert(DocumentsOffered, told, path="$.response", rules="CD"))


def _checked_documents(offer: DocumentsOffered) -> DocumentsOffered:
    items = offer.documents
    if not items or not are_distinct(items):
        return offer
    return msgspec.structs.replace(offer, documents=Checked(items))


def _at_once(answer: Any, read: Callable[[bytes | str], D]) -> D | None:
    """Read an answer straight from its text. None: it must be looked at part by part, to say what is wrong with it."""
    if (type(answer) is not bytes and type(answer) is not str) or len(answer) > MAX_AT_ONCE:
        return None
    try:
        return read(answer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


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
    # If it is too long or odd, it would only be shown: no reason to refuse what can be logged.
    return document.click_uri if gate.is_id(document.click_uri, fields.MAX_CLICK_URI) else None


def _decode(answer: Any) -> dict[str, Any]:
    if issubclass(type(answer), bytes | str):
        try:
            answer = msgspec.json.decode(answer)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise InvalidAction("expected a JSON object in UTF-8", path="$.response") from None
    return members_of(answer, "$.response")
