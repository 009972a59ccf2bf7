"""Names in order, found by what they begin with."""

from hypothesis import given, settings
from hypothesis import strategies as st

from caseassist.stores import names
from caseassist.stores.names import Names

TEXTS = st.text(alphabet="ab\ud7ff\U0010ffff", max_size=3)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard"]), TEXTS), max_size=200)


@given(STEPS, TEXTS, st.integers(0, 9), st.sampled_from([2, 3, 512]))
@settings(deadline=None, max_examples=300, derandomize=True)
def test_names_are_what_was_put_in_and_found_by_their_beginning(
    steps: list[tuple[str, str]], prefix: str, limit: int, block: int
) -> None:
    size, names.BLOCK = names.BLOCK, block
    try:
        kept, there = Names(), set[str]()
        for step, name in steps:
            getattr(kept, step)(name)
            getattr(there, step)(name)
    finally:
        names.BLOCK = size
    assert list(kept) == sorted(there)
    begin = [name for name in sorted(there, reverse=True) if prefix <= name < f"{prefix}\U0010ffff"]
    assert kept.latest(prefix, limit) == begin[:limit]
