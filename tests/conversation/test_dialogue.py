"""The part that is configured: what makes no dialogue is refused at once."""

from typing import Any

import pytest

from caseassist.conversation.dialogue import DEFAULT_STAGES, DESCRIPTION, Dialogue, Field, Stage
from caseassist.conversation.texts import ENGLISH, FRENCH, GERMAN


def stages(*fields: Field) -> tuple[Stage, ...]:
    return (Stage(name="one", fields=fields),)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"stages": ()}, "a dialogue needs stages"),
        ({"stages": (Stage(name="a"), Stage(name="a"))}, "a name of its own"),
        ({"stages": (Stage(name=""),)}, "a name of its own"),
        ({"stages": (Stage(name="a\nb"),)}, "a name of its own"),
        ({"stages": (Stage(name="a" * 1025),)}, "a name of its own"),
        ({"stages": stages(Field(name="a"), Field(name="a"))}, "asked for once"),
        ({"stages": (*stages(Field(name="a")), Stage(name="two", fields=(Field(name="a"),)))}, "asked for once"),
        ({"stages": stages(Field(name=""))}, "has a name"),
        ({"stages": stages(Field(name="a\x00"))}, "has a name"),
        ({"stages": stages(Field(name="subject"))}, "subject and id are not asked for"),
        ({"stages": stages(Field(name="id"))}, "subject and id are not asked for"),
        ({"stages": stages(Field(name="a", values=("x", "x")))}, "values of 'a' must be different"),
        ({"stages": stages(Field(name="a", values=("x", " ")))}, "values of 'a' must be different and not empty"),
        ({"auto_select_from": -0.1}, "0 or more"),
        ({"auto_select_from": float("nan")}, "0 or more"),
        ({"proposals": -1}, "0 or more"),
        ({"documents": 0}, "documents 1 or more"),
        ({"language": "ja"}, "no texts for the language 'ja'"),
        ({"language": "en", "texts": {"fr": FRENCH}}, "no texts for the language 'en'"),
        ({"texts": {}}, "no texts"),
    ],
)
def test_what_makes_no_dialogue_is_refused(members: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dialogue(**members)


def test_what_is_at_a_limit_is_taken() -> None:
    dialogue = Dialogue(
        stages=stages(Field(name="serial number"), Field(name="naïve\u00a0name")),
        auto_select_from=0,
        proposals=0,
        documents=1,
        language="fr",
        texts={"fr": FRENCH},
    )
    assert [field.name for field in dialogue.fields] == ["serial number", "naïve\u00a0name"]


def test_nothing_needs_to_be_configured() -> None:
    dialogue = Dialogue()
    assert dialogue.stages is DEFAULT_STAGES
    assert [field.name for field in dialogue.fields] == [DESCRIPTION, "category"]
    assert [stage.name for stage in dialogue.stages] == ["describe", "classify", "documents", "review"]


def test_without_suggestions_the_same_is_asked_and_no_service() -> None:
    dialogue = Dialogue(language="de").without_suggestions()
    assert dialogue.fields == Dialogue().fields
    assert dialogue.language == "de"
    assert [stage.name for stage in dialogue.stages] == ["describe", "classify", "documents", "review"]
    assert not any(stage.classify or stage.documents for stage in dialogue.stages)
    assert any(stage.classify for stage in Dialogue().stages)


def test_texts_are_those_of_the_language_or_else_of_the_dialogue() -> None:
    dialogue = Dialogue(language="de")
    assert dialogue.texts_for("fr") is FRENCH
    assert dialogue.texts_for("ja") is GERMAN
    assert dialogue.texts_for(None) is GERMAN
    assert dialogue.texts_for("en") is ENGLISH
