"""The peers do what we do: the same records, the same lines, and the same refused."""

import json
from collections.abc import Callable
from importlib import import_module

import msgspec
import pytest
from benchmarks.data import ACTIONS_JSON, play
from benchmarks.encode import TYPED
from benchmarks.peers import by_hand, transitions

from caseassist.core.machine import LIFE_CYCLE
from caseassist.core.records import Record, encode

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # others' own


def anonymous(records: list[Record]) -> list[Record]:
    return [msgspec.structs.replace(record, session_id="a") for record in records]


def test_what_is_written_by_hand_makes_the_same_records() -> None:
    expected = anonymous(play())
    assert anonymous(by_hand.play()) == expected
    assert anonymous(by_hand.play(transitions.destination())) == expected
    assert anonymous(play(LIFE_CYCLE, ACTIONS_JSON)) == expected


def test_a_machine_of_python_statemachine_goes_the_same_way() -> None:
    pytest.importorskip("statemachine")
    from benchmarks.peers import statemachine

    assert anonymous(by_hand.play(statemachine.destination())) == anonymous(play())


def test_aggregates_of_eventsourcing_end_as_our_sessions_do() -> None:
    application = pytest.importorskip("eventsourcing.application").Application()
    from benchmarks.peers import eventsourcing

    (case,) = eventsourcing.rebuild(application, [eventsourcing.play(application)])
    assert isinstance(case, eventsourcing.Case)
    assert (case.state, case.stage) == ("created", 1)
    assert case.ticket == msgspec.to_builtins(play()[-1].ticket)


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line.replace(b'"fieldName":"subject"', b'"fieldName":""'),
        lambda line: line.replace(b'"fieldName":"subject"', b'"fieldName":"\\u0007"'),
        lambda line: line.replace(b'"ticket_field_update"', b'"ticket_field_updated"'),
        lambda line: line.replace(b'"language":"en"', b'"language":"xx"'),
        lambda line: line.replace(b'"clientId":"4', b'"clientId":"G'),
        lambda line: line.replace(b'"searchHub":"support-bot"', b'"searchHub":"%s"' % (b"x" * 129)),
        lambda line: line.replace(b'"seq":1', b'"seq":-1'),
        lambda line: line.replace(b'"time":"2026', b'"time":"then'),
        lambda line: line.replace(b'{"v":1', b'{"w":1,"v":1'),
    ],
)
def test_typed_peers_read_and_write_our_lines_and_refuse_what_breaks_a_rule(
    name: str, spoil: Callable[[bytes], bytes]
) -> None:
    pytest.importorskip(name)
    read, write = import_module(f"benchmarks.peers.{name}").codec()
    lines = [encode(record) for record in play()]
    written = write(read(lines)).splitlines()
    assert [json.loads(line) for line in written] == [json.loads(line) for line in lines]
    bad = spoil(lines[1])
    assert bad != lines[1]
    with pytest.raises(Exception) as refused:
        read([bad])
    assert not isinstance(refused.value, TypeError | AttributeError), "a mistake in the translation"
