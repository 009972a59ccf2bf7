"""Logs of many sessions, replayed."""

import gc
import itertools
import tracemalloc
from collections.abc import Iterator

import pytest
from tests.core.life_cycle import CONTEXT, NOW, act

from caseassist.core.errors import CorruptRecord
from caseassist.core.machine import LifeCycle
from caseassist.core.records import Record, decode_blocks, encode_lines
from caseassist.core.replay import replay
from caseassist.core.session import Session

WALK = (
    ("start", None, CONTEXT),
    ("update_field", "subject", "GC110"),
    ("take_turn", "m1", {"step": "asking"}),
    ("next_stage",),
    ("solve",),
)


def log_of(session_id: str, steps: int = len(WALK)) -> list[Record]:
    session, log = Session(id=session_id), list[Record]()
    for action, *arguments in WALK[:steps]:
        records = getattr(session, action)(*arguments, at=NOW)
        session = Session.fold(records, session)
        log += records
    return log


def interleaved(logs: list[list[Record]]) -> list[Record]:
    return [record for records in itertools.zip_longest(*logs) for record in records if record is not None]


def test_each_session_comes_as_it_is_folded_by_itself() -> None:
    logs = [log_of("a"), log_of("b", 3), log_of("c"), log_of("d", 1)]
    sessions = list(replay([interleaved(logs)]))
    assert {session.id: session for session in sessions} == {log[0].session_id: Session.fold(log) for log in logs}


def test_sessions_that_end_come_first_and_in_that_order() -> None:
    logs = [log_of("open", 3), log_of("late"), log_of("early")]
    records = [*logs[0][:1], *logs[1][:2], *logs[2], *logs[1][2:], *logs[0][1:]]
    assert [session.id for session in replay([records])] == ["early", "late", "open"]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_it_makes_no_difference_how_a_log_is_cut(size: int) -> None:
    records = interleaved([log_of(name) for name in "abcde"])
    lines = encode_lines(records)
    blocks = (lines[n : n + size] for n in range(0, len(lines), size))
    assert list(replay(decode_blocks(blocks))) == list(replay([records]))


@pytest.mark.parametrize("place", [1, 4])
def test_a_record_that_does_not_follow_is_refused(place: int) -> None:
    log = log_of("a")
    with pytest.raises(CorruptRecord, match="expected record"):
        list(replay([log[:place], log[place - 1 :]]))


def test_a_record_after_the_end_is_refused() -> None:
    log = log_of("a")
    with pytest.raises(CorruptRecord, match=r"expected record 0 of session 'a'"):
        list(replay([[*log, log[-1]]]))


def test_an_end_of_ones_own_ends_a_session() -> None:
    machine = LifeCycle()
    machine.add_states(["escalated"])
    machine.add_transition("escalate", "started", "escalated")
    session = act(Session(id="a", life_cycle=machine), "start", None, CONTEXT)
    records = Session(id="a", life_cycle=machine).start(None, CONTEXT, at=NOW)
    records += session.log_custom({"eventType": "caseassist", "eventValue": "escalate"}, at=NOW)
    replayed = replay([records, log_of("b", 1)], life_cycle=machine)
    assert [(session.id, session.state) for session in replayed] == [("a", "escalated"), ("b", "started")]


def test_an_end_that_may_be_left_is_none() -> None:
    machine = LifeCycle()
    machine.add_transition("reopen", "solved", "filling")
    session, log = Session(id="a", life_cycle=machine), list[Record]()
    for action, *arguments in (
        ("start", None, CONTEXT),
        ("solve",),
        ("log_custom", {"eventType": "caseassist", "eventValue": "reopen"}),
        ("next_stage",),
    ):
        records = getattr(session, action)(*arguments, at=NOW)
        session = Session.fold(records, session)
        log += records
    assert list(replay([log], life_cycle=machine)) == [session]
    assert session.state == "filling"


def test_memory_does_not_grow_with_the_length_of_the_log() -> None:
    def endless(count: int) -> Iterator[list[Record]]:
        for number in range(count):
            yield log_of(f"session-{number}")

    peaks = []
    for count in (200, 2000):
        gc.collect()
        tracemalloc.start()
        assert sum(1 for _ in replay(endless(count))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000
