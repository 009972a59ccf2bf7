"""What a dialogue asks and shows: the part of a conversation that you configure."""

from collections.abc import Mapping, Sequence

import msgspec

from caseassist.conversation.texts import LANGUAGES, Texts
from caseassist.core.fields import MAX_ID
from caseassist.core.gate import is_id

__all__ = ["DEFAULT_STAGES", "DESCRIPTION", "Dialogue", "Field", "Stage"]

DESCRIPTION = "description"
"""The field that the person fills by telling what is wrong."""
RESERVED = frozenset({"id", "subject"})


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the ticket to ask for, unless it is known."""

    name: str
    """``description``, ``category``, ``productId``, or the name of a custom field."""
    values: tuple[str, ...] = ()
    """The values to choose from, all different; any text will do if there are none."""
    required: bool = True
    """Whether it cannot be skipped."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the dialogue. Coming to a stage after the first is logged: ``ticket_next_stage``, with its name."""

    name: str
    """Different for each stage."""
    classify: bool = False
    """Have values for the fields proposed before asking for them."""
    fields: tuple[Field, ...] = ()
    """What to ask for, in this order."""
    documents: bool = False
    """Suggest documents at the end of the stage."""


DEFAULT_STAGES = (
    Stage(name="describe", fields=(Field(name=DESCRIPTION),)),
    Stage(name="classify", classify=True, fields=(Field(name="category", required=False),)),
    Stage(name="documents", documents=True),
    Stage(name="review"),
)


class Dialogue(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation asks, shows and says.

    Raises ValueError for what makes no dialogue: no stages, names that repeat or are missing, values that repeat or are
    empty, numbers out of range, or a language without texts.
    """

    stages: tuple[Stage, ...] = DEFAULT_STAGES
    """One after the other; after the last, the person is asked whether to file the ticket."""
    auto_select_from: float = 0.8
    """A proposed value is taken without asking from this confidence on, 0 to 1. More than 1: never."""
    proposals: int = 3
    """How many proposed values are shown as choices of a field."""
    documents: int = 3
    """How many documents are shown."""
    language: str = "en"
    """Spoken where the session has no language, or one that there are no texts for."""
    texts: Mapping[str, Texts] = msgspec.field(default_factory=lambda: LANGUAGES)
    """What is said, by language. English, French and German are there."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or not _different(names) or not all(is_id(name, MAX_ID) for name in names):
            raise ValueError("a dialogue needs stages, each with a name of its own")
        fields = [field.name for field in self.fields]
        if not _different(fields) or not all(is_id(name, MAX_ID) for name in fields) or RESERVED & set(fields):
            raise ValueError("each field is asked for once and has a name; subject and id are not asked for")
        for field in self.fields:
            if not _different(field.values) or not all(value.strip() for value in field.values):
                raise ValueError(f"the values of {field.name!r} must be different and not empty")
        if self.proposals < 0 or self.documents < 1 or not self.auto_select_from >= 0:
            raise ValueError("proposals and auto_select_from are 0 or more, documents 1 or more")
        if self.language not in self.texts:
            raise ValueError(f"there are no texts for the language {self.language!r}")

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, in the order in which they are asked for."""
        return tuple(field for stage in self.stages for field in stage.fields)

    def without_suggestions(self) -> "Dialogue":
        """The same, but that no service is asked for values and documents."""
        stages = tuple(msgspec.structs.replace(stage, classify=False, documents=False) for stage in self.stages)
        return msgspec.structs.replace(self, stages=stages)

    def texts_for(self, language: str | None) -> Texts:
        """The texts in a language, or in the dialogue's own."""
        return self.texts.get(language or self.language) or self.texts[self.language]


def _different(texts: Sequence[str]) -> bool:
    return len(set(texts)) == len(texts)
