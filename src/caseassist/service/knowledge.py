"""A knowledge base: documents that can be searched, and examples of what people write, in a file of the user's own.

The file is TOML, or JSON with the same members; docs/reference/knowledge-base.md describes it. Documents are searched
with SQLite's FTS5, in memory; fields are classified by :mod:`caseassist.service.classifier`.
"""

import hashlib
import re
import sqlite3
import threading
import tomllib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, NamedTuple, Self

import msgspec
from msgspec import Meta

from caseassist.core import fields
from caseassist.core.errors import InvalidAction
from caseassist.core.gate import convert, members_of
from caseassist.service.classifier import Classifier, words_of

__all__ = ["Document", "Found", "InvalidKnowledge", "Knowledge", "Prediction", "Value", "example_text", "schema"]

MAX_FILE_BYTES = 64 << 20
MAX_QUERY_WORDS = 200
"""Different words of a text that are searched for, the first ones: a person has said by then what it is about."""
TITLE_WEIGHT = 3.0
"""How much more a word counts in the title than in the text."""
OTHER_LANGUAGE_WEIGHT = 0.2
"""How much a match counts in a language that is not the person's."""
LEAST_SHARE = 0.25
"""Documents that match less than so much of the best one are not worth reading."""
EXCERPT_CHARACTERS = 200

_COMMON = frozenset(
    # Words that say nothing about a problem, in the languages of the example, as words_of gives them.
    """
    a about am an and any are as at be been but by can could did do does for from had has have how i if in is it its
    just me my no not of on or our please s so t that the their then there they this to up was we were what when where
    which who why will with would you your
    ai au aux avec c ca ce ces cette d dans de des du elle en est et etre il ils j je l la le les leur lui m ma mais me
    mes mon n ne nous on ou par pas plus pour qu que qui s sa se ses si son sont suis sur t un une vos votre vous y
    aber als am an auch auf aus bei bin bis da das dass dem den der des die doch du ein eine einem einen einer er es fur
    haben hat hatte ich ihr im in ist ja kann kein keine man mein meine mich mir mit nach nicht noch nur oder sich sie
    sind so und uns von vor war was wenn wer wie wir wo zu zum zur
    """.split()  # noqa: SIM905 (one in a line would be two hundred lines)
)

_NAMESPACE = uuid.UUID("0f3f6a0e-6a86-4c0e-8a55-0f1c6f2f5d0a")


def _meta(expected: str, rule: str, **limits: Any) -> Meta:
    return Meta(description=expected, extra={"rules": (rule,)}, extra_json_schema={"x-rules": [rule]}, **limits)


_BodyText = Annotated[
    str, _meta("the text of the document: 1 to 65536 characters", "KB-001", min_length=1, max_length=65_536)
]
_Example = Annotated[
    str, _meta("a text that people may write: 1 to 4096 characters", "KB-003", min_length=1, max_length=4096)
]
_SOME_EXAMPLES = "1 or more texts that people may write"
_Examples = Annotated[
    tuple[_Example, ...],
    # The gate's message for a tuple that is too short would speak of a number: _by_field has a better one.
    Meta(description=_SOME_EXAMPLES, extra={"rules": ("KB-002",)}, extra_json_schema={"minItems": 1}),
]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document that may solve a case."""

    title: fields.DocumentTitle
    text: _BodyText
    """Paragraphs, with an empty line between them. Lines that begin with ``1. `` or ``- `` are items of a list."""
    language: fields.Language | None = None
    """A document without a language is for everybody."""
    source: fields.SourceName = "Knowledge base"
    url: fields.DocumentUrl | None = None
    """Where it can be read; without one, the stand-in has a page for it."""
    id: fields.SuggestionId | None = None

    @property
    def permanentid(self) -> str:
        """The id; without one, an id made of the URL, or else of language and title: the text may change."""
        if self.id is not None:
            return self.id
        name = self.url if self.url is not None else f"{self.language}\n{self.title}"
        return hashlib.sha256(name.encode()).hexdigest()[:40]


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that a field of the ticket can have, and what people write when it fits."""

    field: fields.FieldName
    value: fields.FieldValue
    examples: _Examples


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    documents: Annotated[tuple[Document, ...], _meta("documents, each a table [[documents]]", "KB-004")] = ()
    values: Annotated[tuple[Value, ...], _meta("values of fields, each a table [[values]]", "KB-005")] = ()


class InvalidKnowledge(ValueError):
    """A knowledge base that cannot be used: ``place`` is where in the file, ``problem`` what was expected there."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(place, problem)
        self.place = place
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class Found(NamedTuple):
    """What a search has found."""

    documents: Sequence[tuple[Document, str]]
    """The best first, each with an excerpt."""
    total: int
    """How many there are in all."""


class Prediction(NamedTuple):
    """A value that a field may have. The id is always the same for the same field and value."""

    id: str
    value: str
    confidence: float


class Knowledge:
    """Documents to search, and examples to classify by. It may be used from any thread.

    Close it, or use it with ``with``: the index is an open database, in memory.

    ``documents``, ``values``: as in a file. Raises InvalidKnowledge if two of them are the same, or one is of no use.
    """

    def __init__(self, documents: Iterable[Document] = (), values: Iterable[Value] = ()) -> None:
        self.documents: Mapping[str, Document] = _by_id(documents)
        """By their permanentids."""
        self.fields: Mapping[str, Sequence[str]]
        """The fields that can be classified, each with its values."""
        examples = _by_field(values)
        self.fields = {field: tuple(by_value) for field, by_value in examples.items()}
        self._classifiers = {field: Classifier(by_value) for field, by_value in examples.items()}
        self._listed = tuple(self.documents.values())
        self._lock = threading.Lock()
        self._index = _index_of(self._listed)

    @classmethod
    def load(cls, path: Path | str | None = None) -> Self:
        """Read a file; without a path, the example that comes with caseassist.

        A name that ends in ``.json`` is for JSON. Raises InvalidKnowledge, and OSError.
        """
        if path is None:
            return cls.read(example_text().encode())
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InvalidKnowledge("the file", f"more than {MAX_FILE_BYTES >> 20} MiB (rule KB-006)")
        return cls.read(data, json=Path(path).suffix.lower() == ".json")

    @classmethod
    def read(cls, data: bytes, *, json: bool = False) -> Self:
        """Read what is in a file, TOML or JSON. Raises InvalidKnowledge."""
        members = _read_json(data) if json else _read_toml(data)
        try:
            file = convert(_File, members_of(members), rules="CD")
        except InvalidAction as error:
            rule = f" (rule {error.rule})" if error.rule else ""
            raise InvalidKnowledge(error.path or "$", error.problem + rule) from None
        if not file.documents and not file.values:
            raise InvalidKnowledge("$", "expected documents or values, got neither (rule KB-007)")
        return cls(file.documents, file.values)

    def classify(self, text: str) -> dict[str, list[Prediction]]:
        """The values that a text speaks for, the surest first, field by field.

        A field is left out if the text has no word of its examples; an empty text gives nothing.
        """
        guessed = {field: classifier.guess(text) for field, classifier in self._classifiers.items()}
        return {
            field: [Prediction(_prediction_id(field, guess.value), guess.value, guess.confidence) for guess in guesses]
            for field, guesses in guessed.items()
            if guesses
        }

    def search(self, text: str, *, language: str | None = None, limit: int = 5) -> Found:
        """The documents that have words of a text, those in a language (a two-letter code) first.

        ``text``: any; nothing in it has a meaning of its own.
        """
        words = [word for word in dict.fromkeys(words_of(text)) if word not in _COMMON][:MAX_QUERY_WORDS]
        if not words:
            return Found((), 0)
        query = " OR ".join(f'"{word}"' for word in words)
        with self._lock:
            asked = {"language": language, "query": query}
            rows: list[tuple[int, float]] = self._index.execute(_SEARCH, asked).fetchall()
        best = max((score for _, score in rows), default=0.0)
        good = [number for number, score in rows if score >= best * LEAST_SHARE]
        chosen = [self._listed[number] for number in good[:limit]]
        return Found([(document, _excerpt(document.text, frozenset(words))) for document in chosen], len(good))

    def close(self) -> None:
        """Let go of the index. Closing again does nothing."""
        with self._lock:
            self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def example_text() -> str:
    """The example knowledge base, as text."""
    return files("caseassist.service").joinpath("example-kb.toml").read_text(encoding="utf-8")


def schema() -> dict[str, Any]:
    """The JSON Schema of a knowledge base."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(_File)}


def _read_toml(data: bytes) -> Any:
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise InvalidKnowledge(_place_of(data, error.start), "expected text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        problem, place = _split_place(str(error))
        raise InvalidKnowledge(place, f"this is no TOML: {problem}") from None
    except (RecursionError, ValueError) as error:  # of depth; of numbers with too many digits
        raise InvalidKnowledge("the file", f"this is no TOML: {type(error).__name__}") from None


def _split_place(message: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", message, re.DOTALL)
    return (found[1], found[2]) if found else (message, "the file")


def _read_json(data: bytes) -> Any:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidKnowledge(_place_of(data, error.start), "expected text in UTF-8") from None
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except msgspec.DecodeError as error:
        found = re.search(r"\(byte (\d+)\)$", str(error))
        place = _place_of(data, int(found[1])) if found else "end of document"
        raise InvalidKnowledge(place, f"this is no JSON: {str(error).partition(' (byte')[0]}") from None
    except RecursionError:
        raise InvalidKnowledge("the file", "this is no JSON: nested too deep") from None


def _place_of(data: bytes, offset: int) -> str:
    line = data.count(b"\n", 0, offset) + 1
    return f"line {line}"


def _by_id(documents: Iterable[Document]) -> dict[str, Document]:
    found: dict[str, Document] = {}
    for i, document in enumerate(documents):
        if not words_of(document.title + " " + document.text):
            raise InvalidKnowledge(f"$.documents[{i}]", "expected words, got none: nobody could find it (rule KB-008)")
        if found.setdefault(document.permanentid, document) is not document:
            number = list(found).index(document.permanentid)
            problem = f"the same document as $.documents[{number}]: give one another title, url or id (rule KB-009)"
            raise InvalidKnowledge(f"$.documents[{i}]", problem)
    return found


def _by_field(values: Iterable[Value]) -> dict[str, dict[str, Sequence[str]]]:
    found: dict[str, dict[str, Sequence[str]]] = {}
    for i, value in enumerate(values):
        if not value.examples:
            raise InvalidKnowledge(f"$.values[{i}].examples", f"expected {_SOME_EXAMPLES}, got none (rule KB-002)")
        by_value = found.setdefault(value.field, {})
        if value.value in by_value:
            raise InvalidKnowledge(f"$.values[{i}]", "this field has this value already (rule KB-010)")
        by_value[value.value] = value.examples
    return found


def _prediction_id(field: str, value: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{field}\n{value}"))


# What is indexed are the words as words_of gives them, so that a query and a document are read in the same way.
_SEARCH = f"""
    SELECT rowid, -bm25(document, {TITLE_WEIGHT}, 1)
        * iif(:language IS NULL OR language IS NULL OR language = :language, 1, {OTHER_LANGUAGE_WEIGHT}) AS score
    FROM document WHERE document MATCH :query ORDER BY score DESC, rowid
"""  # noqa: S608 (two numbers of ours)


def _index_of(documents: Sequence[Document]) -> sqlite3.Connection:
    index = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        index.execute("CREATE VIRTUAL TABLE document USING fts5(title, text, language UNINDEXED, tokenize = 'porter')")
        index.executemany(
            "INSERT INTO document(rowid, title, text, language) VALUES (?, ?, ?, ?)",
            (
                (number, " ".join(words_of(document.title)), " ".join(words_of(document.text)), document.language)
                for number, document in enumerate(documents)
            ),
        )
        index.commit()
    except BaseException:
        index.close()
        raise
    return index


_MARK = re.compile(r"^(?:\d{1,3}\.|-) +", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


def _excerpt(text: str, words: frozenset[str]) -> str:
    """The sentence that has the most of the words, and as many of those after it as there is room for."""
    sentences = [" ".join(part.split()) for part in _SENTENCE_END.split(_MARK.sub("\n", text).strip())]
    counts = [len(words.intersection(words_of(sentence))) for sentence in sentences]
    chosen, *others = sentences[counts.index(max(counts)) :]
    for sentence in others:
        if len(chosen) + 1 + len(sentence) > EXCERPT_CHARACTERS:
            break
        chosen += f" {sentence}"
    return chosen if len(chosen) <= EXCERPT_CHARACTERS else chosen[: EXCERPT_CHARACTERS - 1].rstrip() + "…"
