"""A token that does not show."""

import copy
import json
import pickle
import traceback

import msgspec
import pytest

from caseassist.wire.secret import Secret

TOKEN = "xx12345678-aaaa-bbbb-cccc-1234567890ab"


def test_a_token_comes_back_only_by_reveal() -> None:
    secret = Secret(TOKEN)
    assert secret.reveal() == TOKEN
    assert Secret(secret).reveal() == TOKEN
    assert Secret(secret) is not secret


@pytest.mark.parametrize("shown", [repr, str, lambda s: f"{s}", lambda s: f"{s!r:>20}", lambda s: repr([s])])
def test_a_token_is_in_no_representation(shown: "object") -> None:
    assert callable(shown)
    text = shown(Secret(TOKEN))
    assert TOKEN not in text
    assert "Secret('…')" in text


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy, lambda s: pickle.dumps({"token": s}, 0)])
def test_a_token_cannot_be_pickled_or_copied(copied: "object") -> None:
    assert callable(copied)
    with pytest.raises(TypeError, match="cannot be pickled or copied") as refused:
        copied(Secret(TOKEN))
    assert TOKEN not in str(refused.value)


def test_a_token_has_no_attributes_to_dump() -> None:
    assert not hasattr(Secret(TOKEN), "__dict__")
    with pytest.raises(TypeError):
        json.dumps(Secret(TOKEN))


@pytest.mark.parametrize(
    "value", ["", " ", "two words", "a\r\nX-Evil: 1", "a\nb", "a\tb", "a\x00b", "tökén", "a\x7f", "٣"]
)
def test_what_could_break_out_of_a_header_is_refused_without_an_echo(value: str) -> None:
    with pytest.raises(ValueError, match="a token is printable ASCII") as refused:
        Secret(value)
    shown = "".join(traceback.format_exception_only(refused.value))
    assert not value.strip() or value not in shown


@pytest.mark.parametrize("value", [b"token", 5, None, ["token"]])
def test_a_token_is_text(value: object) -> None:
    with pytest.raises(TypeError, match="a token is a str or a Secret"):
        Secret(value)  # type: ignore[arg-type]


def test_what_looks_into_an_object_finds_nothing() -> None:
    secret = Secret(TOKEN)
    with pytest.raises(TypeError, match="cannot be pickled"):
        secret.__getstate__()
    with pytest.raises(TypeError):
        msgspec.json.encode({"token": secret})
    with pytest.raises(TypeError) as refused:
        format(secret, ">40")
    assert TOKEN not in str(refused.value)


def test_comparing_tells_nothing() -> None:
    others: list[object] = [Secret(TOKEN), TOKEN]
    assert Secret(TOKEN) not in others
    assert len({Secret(TOKEN), Secret(TOKEN)}) == 2


@pytest.mark.parametrize(
    ("token", "text", "scrubbed"),
    [
        (TOKEN, TOKEN, "…"),
        (TOKEN, f"before {TOKEN} after {TOKEN}", "before … after …"),
        (TOKEN, f"before {TOKEN.upper()}", "before …"),
        (TOKEN, "begins with xx123456", "begins with …"),
        (TOKEN, "ends with 90ab", "ends with 90ab"),
        (TOKEN, "ends with 7890ab.", "ends with …."),
        (TOKEN, "nothing of it", "nothing of it"),
        (TOKEN, "", ""),
        (TOKEN, f"İ {TOKEN}", "…"),
        (TOKEN, "İ nothing", "İ nothing"),
        ("abc", "xABCabc, ab", "x…, ab"),
    ],
)
def test_a_token_is_scrubbed_from_text(token: str, text: str, scrubbed: str) -> None:
    assert Secret(token).scrub(text) == scrubbed
