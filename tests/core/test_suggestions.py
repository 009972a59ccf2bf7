"""Answers of the Customer Service API, read into offers."""

import json
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from tests import strategies
from tests.core.life_cycle import CLASSIFICATIONS, DOCUMENTS

from caseassist.core.errors import InvalidAction
from caseassist.core.events import (
    Classification,
    ClassificationsOffered,
    Document,
    DocumentsOffered,
    OfferedClassification,
    OfferedDocument,
)
from caseassist.core.suggestions import read_classifications, read_documents

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "service_api.jsonl").read_text(encoding="utf-8").splitlines()
]


def test_an_answer_of_classify_is_read_field_by_field() -> None:
    assert read_classifications(CLASSIFICATIONS) == ClassificationsOffered(
        response_id="classify-1",
        classifications=(
            OfferedClassification(
                classification_id="c1",
                field_name="category",
                classification=Classification(value="Electrical", confidence=0.76),
            ),
            OfferedClassification(
                classification_id="c2",
                field_name="category",
                classification=Classification(value="Mechanical", confidence=0.2),
            ),
        ),
    )


def test_an_answer_of_documents_suggest_is_read_in_its_order() -> None:
    answer = {
        "responseId": "r",
        "documents": [
            {"title": "A", "clickUri": "https://a.co", "fields": {"permanentid": "a", "source": "s", "uri": "uri-a"}},
            {"title": "B", "clickUri": "https://b.co", "fields": {"permanentid": "b", "source": "s", "urihash": "h"}},
            {"title": "C", "clickUri": "https://c.co", "fields": {"permanentid": "c", "source": "s", "uri": ""}},
        ],
    }
    assert read_documents(answer) == DocumentsOffered(
        response_id="r",
        documents=tuple(
            OfferedDocument(
                suggestion_id=name.lower(),
                suggestion=Document(
                    document_title=name,
                    document_url=url,
                    document_position=position,
                    source_name="s",
                    document_uri_hash=uri_hash,
                ),
                click_uri=click_uri,
            )
            for position, (name, url, uri_hash, click_uri) in enumerate(
                [
                    ("A", "uri-a", None, "https://a.co"),
                    ("B", "https://b.co", "h", None),
                    ("C", "https://c.co", None, None),
                ],
                1,
            )
        ),
    )


@pytest.mark.parametrize(
    "as_it_came",
    [
        lambda answer: json.dumps(answer),
        lambda answer: json.dumps(answer).encode(),
        lambda answer: OrderedDict(answer),
        lambda answer: MappingProxyType(answer),
        lambda answer: json.loads(json.dumps(answer), object_pairs_hook=OrderedDict),
    ],
)
def test_an_answer_may_be_text_bytes_or_what_was_decoded_from_them(as_it_came: Any) -> None:
    assert read_classifications(as_it_came(CLASSIFICATIONS)) == read_classifications(CLASSIFICATIONS)
    assert read_documents(as_it_came(DOCUMENTS)) == read_documents(DOCUMENTS)


@pytest.mark.parametrize("line", RECORDED, ids=lambda line: f"{line['scenario']}-{line['seq']}")
def test_recorded_answers_are_read_and_recorded_refusals_are_refused(line: dict[str, Any]) -> None:
    path, body = line["request"]["path"], line["response"]["body"]
    read: Any = read_classifications if path.endswith("/classify") else read_documents
    if line["response"]["status"] == 200:
        assert read(body).response_id == body["responseId"]
    else:
        with pytest.raises(InvalidAction):
            read(body)


def test_members_that_we_have_no_use_for_are_passed_over_however_many_and_whatever_they_are() -> None:
    # An index has hundreds of fields, and an answer may name them all for each document.
    many = {f"field{i}": [object(), float("nan"), "\ud800", "x" * 10_000] for i in range(500)}
    documents = [
        {**document, "score": 2**70, "fields": {**document["fields"], **many, 1: 2}}
        for document in DOCUMENTS["documents"]
    ]
    assert read_documents({**DOCUMENTS, "documents": documents, "more": many}) == read_documents(DOCUMENTS)
    fields = {name: {**value, "more": many} for name, value in CLASSIFICATIONS["fields"].items()}
    assert read_classifications({**CLASSIFICATIONS, "fields": fields, "more": many}) == read_classifications(
        CLASSIFICATIONS
    )


def shown(uri: str | None = "uri", **members: Any) -> tuple[str | None, str | None]:
    """The excerpt and the URL to open that stay of a document."""
    fields = {"permanentid": "a", "source": "s"} | ({} if uri is None else {"uri": uri})
    document = {"title": "A", "clickUri": "https://click", "fields": fields} | members
    answer = {"responseId": "r", "documents": [document]}
    (offered,) = read_documents(answer).documents
    assert read_documents(json.dumps(answer)).documents == (offered,)
    assert offered.suggestion == Document(
        document_title="A", document_url=uri or document["clickUri"], document_position=1, source_name="s"
    )
    return offered.excerpt, offered.click_uri


@pytest.mark.parametrize(
    ("excerpt", "kept"),
    [
        ("Loose wires.", "Loose wires."),
        ("two\nlines\x00", "two\nlines\x00"),
        ("", None),
        (None, None),
        ("x" * 1024, "x" * 1024),
        ("x" * 1025, "x" * 1023 + "…"),
        ("🙂" * 50_000, "🙂" * 1023 + "…"),
    ],
    ids=["short", "controls", "empty", "null", "longest", "too long", "far too long"],
)
def test_an_excerpt_is_kept_and_cut_where_it_is_too_long(excerpt: str | None, kept: str | None) -> None:
    assert shown(excerpt=excerpt) == (kept, "https://click")


def test_a_document_may_have_no_excerpt() -> None:
    assert shown() == (None, "https://click")


@pytest.mark.parametrize(
    ("click_uri", "kept"),
    [
        ("https://click", "https://click"),
        ("http://click", "http://click"),
        ("javascript:alert(1)", None),
        ("click", None),
        ("uri", None),  # nothing that is not known
        ("", None),
        (None, None),
        ("https://" + "u" * 2040, "https://" + "u" * 2040),
        ("https://" + "u" * 2041, None),  # a cut URL leads nowhere
        ("https://a\nb", None),
    ],
)
def test_a_url_to_open_is_kept_if_it_can_be_one_and_is_not_the_one_that_is_logged(
    click_uri: str | None, kept: str | None
) -> None:
    assert shown(clickUri=click_uri) == (None, kept)


@pytest.mark.parametrize("uri", [None, ""])
def test_a_url_to_open_that_is_logged_for_want_of_another_is_not_kept_twice(uri: str | None) -> None:
    assert shown(uri) == (None, None)


@pytest.mark.parametrize("member", ["excerpt", "clickUri"])
@pytest.mark.parametrize("bad", [7, ["x"], {}, True])
def test_an_excerpt_and_a_url_are_text(member: str, bad: Any) -> None:
    with pytest.raises(InvalidAction) as caught:
        shown(**{member: bad})
    assert caught.value.path == f"$.response.documents[0].{member}"


@pytest.mark.parametrize(
    ("member", "value"), [("excerpt", "x" * 1025), ("click_uri", "u" * 2049), ("click_uri", ""), ("click_uri", "a\nb")]
)
def test_an_offer_of_ones_own_keeps_the_limits_of_what_is_shown(member: str, value: str) -> None:
    (offered,) = read_documents(DOCUMENTS).documents
    offer = DocumentsOffered(response_id="r", documents=(msgspec.structs.replace(offered, **{member: value}),))
    with pytest.raises(InvalidAction) as caught:
        read_documents(offer)
    assert caught.value.path == f"$.response.documents[0].{'excerpt' if member == 'excerpt' else 'clickUri'}"


def test_a_field_without_predictions_proposes_nothing() -> None:
    assert read_classifications({"responseId": "r", "fields": {"category": {}}}) == ClassificationsOffered(
        response_id="r"
    )


@given(answer=strategies.classifications_answer(strategies.identifier(), strategies.identifier()))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_an_offer_of_classifications_reads_as_itself(answer: dict[str, Any]) -> None:
    offer = read_classifications(answer)
    assert read_classifications(offer) == offer


@given(answer=strategies.documents_answer(strategies.identifier(), strategies.identifier()))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_an_offer_of_documents_reads_as_itself(answer: dict[str, Any]) -> None:
    offer = read_documents(answer)
    assert read_documents(offer) == offer


def test_an_offer_is_held_against_the_rules_like_an_answer() -> None:
    # Constructing one checks nothing.
    with pytest.raises(InvalidAction) as caught:
        read_classifications(ClassificationsOffered(response_id=""))
    assert (caught.value.path, caught.value.rule) == ("$.response.responseId", "CA-062")
    with pytest.raises(InvalidAction) as caught:
        read_documents(DocumentsOffered(response_id=5))  # type: ignore[arg-type]
    assert (caught.value.path, caught.value.rule) == ("$.response.responseId", "CD-013")


def test_an_error_names_the_place_in_the_answer() -> None:
    answer = {"responseId": "r", "fields": {"my field": {"predictions": [{"id": "c", "value": "v", "confidence": 2}]}}}
    with pytest.raises(InvalidAction) as caught:
        read_classifications(answer)
    assert caught.value.path == "$.response.fields['my field'].predictions[0].confidence"
    assert caught.value.rule == "CA-067"
    with pytest.raises(InvalidAction) as caught:
        read_documents({"responseId": "r", "documents": [{"title": "t", "fields": {"permanentid": "d"}}]})
    assert (caught.value.path, caught.value.rule) == ("$.response.documents[0].fields.source", "CD-014")


@pytest.mark.parametrize("text", ["", b"", "no", b"\xff", b'{"a":' * 100_000, '"\ud800"', b"7", b"[]", "null"])
def test_what_is_no_json_object_is_no_answer(text: Any) -> None:
    for read in (read_classifications, read_documents):
        with pytest.raises(InvalidAction, match="object") as caught:
            read(text)
        assert caught.value.path == "$.response"
