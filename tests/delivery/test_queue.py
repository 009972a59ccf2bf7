"""What was read and is not settled, and who is served next."""

from collections import Counter, deque
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import records_of

from caseassist.core.records import Record
from caseassist.delivery.queue import AHEAD_WINDOWS, Outcome, Queue
from caseassist.stores.base import Stored

DELIVERED: list[Outcome] = ["delivered"] * 1000


def settle(queue: Queue, batch: list[Stored], *outcomes: Outcome) -> None:
    """The first ones have these outcomes, the others wait again."""
    delivered = sum(outcome == "delivered" for outcome in outcomes)
    assert outcomes[:delivered] == ("delivered",) * delivered, "what is delivered comes first"
    queue.settle(batch, delivered, dict(zip((at for at, _ in batch[delivered:]), outcomes[delivered:], strict=False)))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=12),
    st.integers(1, 3),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["put", "take", "settle"]), st.integers(0, 5)), max_size=80),
)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_a_queue_hands_everything_out_once_in_order_and_knows_how_far_it_is_settled(
    lots: list[tuple[str, int]], batch_records: int, by_session: bool, steps: list[tuple[str, int]]
) -> None:
    seqs = dict.fromkeys("abc", 0)
    waiting: deque[tuple[int, Record]] = deque()
    position = 0
    for name, count in lots:
        for record in records_of(name, seqs[name] + count)[seqs[name] :]:
            position += 1 + (position % 5 == 4)  # now and then a position is missing
            waiting.append((position, record))
        seqs[name] += count
    everything = list(waiting)
    queue = Queue(0, batch_records=batch_records, by_session=by_session, window=6)
    out: list[list[tuple[int, Record]]] = []
    settled: list[tuple[int, Record]] = []

    def check() -> None:
        done = {item[0] for item in settled}
        known = [item[0] for item in everything if item[0] <= queue.read]
        open_ = [at for at in known if at not in done]
        assert queue.position == (open_[0] - 1 if open_ else queue.read)
        assert queue.passed.total() == queue.position
        assert queue.size == len(open_) - sum(map(len, out))
        sessions = [{record.session_id for _, record in batch} for batch in out]
        if by_session:
            assert all(len(names) == 1 for names in sessions)
            assert len(set().union(*sessions)) == len(sessions)
        else:
            assert len(out) <= 1

    finish = [("put", 99), *[("take", 0), ("settle", 99)] * 200]
    for step, amount in [*steps, *finish]:
        if step == "put":
            queue.put([waiting.popleft() for _ in range(min(amount, len(waiting)))])
        elif step == "take" and (batch := queue.take()):
            assert len(batch) <= batch_records
            out.append(batch)
        elif step == "settle" and out:
            batch = out.pop(0)
            settled += batch[:amount]
            done = min(amount, len(batch))
            settle(queue, batch, *DELIVERED[:done])
        check()
    while waiting:
        queue.put([waiting.popleft()])
        while batch := queue.take():
            settled += batch
            settle(queue, batch, *DELIVERED[: len(batch)])
    assert sorted(settled, key=lambda item: item[0]) == everything
    for name in "abc":
        own = [record.seq for _, record in settled if record.session_id == name]
        assert own == sorted(own)
    missing = sum(b - a - 1 for a, b in pairwise([0, *(place for place, _ in everything)]))
    assert queue.settled == queue.passed == Counter(delivered=len(everything), removed=missing)


def queue_of(*stored: Stored, by_session: bool = True, batch_records: int = 10) -> Queue:
    queue = Queue(0, batch_records=batch_records, by_session=by_session, window=100)
    queue.put(stored)
    return queue


def places(stored: list[Stored]) -> list[int]:
    return [position for position, _ in stored]


A = records_of("a", 4)
B = records_of("b", 4)
MIXED = [(1, A[0]), (2, B[0]), (3, A[1]), (4, B[1]), (5, A[2]), (6, B[2])]


def settle_all(queue: Queue) -> None:
    while batch := queue.take():
        settle(queue, batch, *DELIVERED[: len(batch)])


@pytest.mark.parametrize("by_session", [False, True])
def test_a_refused_record_is_put_aside_and_its_session_goes_on(by_session: bool) -> None:
    queue = queue_of(*MIXED, by_session=by_session)
    batch = queue.take()
    settle(queue, batch, "delivered", "quarantined")
    assert queue.settled == Counter(delivered=1, quarantined=1)
    rest = queue.take() + queue.take()
    assert sorted(places(rest)) == sorted({1, 2, 3, 4, 5, 6} - set(places(batch[:2])))


@pytest.mark.parametrize("by_session", [False, True])
def test_of_a_session_all_that_waits_is_pulled_and_of_others_nothing(by_session: bool) -> None:
    queue = queue_of(*MIXED, by_session=by_session, batch_records=2)
    settle(queue, queue.take())
    assert places(queue.pull("a", "erased")) == [1, 3, 5]
    assert queue.pull("a", "erased") == queue.pull("nobody", "erased") == []
    assert (queue.settled, queue.size) == (Counter(erased=3), 3)
    rest = queue.take() + queue.take()
    assert [record.session_id for _, record in rest] == ["b", "b", "b"][: len(rest)]


@pytest.mark.parametrize("by_session", [False, True])
def test_what_is_out_in_a_batch_is_not_pulled(by_session: bool) -> None:
    queue = queue_of(*MIXED, by_session=by_session, batch_records=1)
    batch = queue.take()
    assert places(queue.pull("a", "quarantined")) == [3, 5]
    settle(queue, batch, "delivered")
    settle_all(queue)
    assert (queue.position, queue.size) == (6, 0)
    assert queue.passed == Counter(delivered=4, quarantined=2)


def test_a_session_that_was_cut_short_is_next_once_the_sink_is_well_and_waits_its_turn_if_it_is_again() -> None:
    queue = queue_of(*MIXED, (7, records_of("c", 1)[0]), batch_records=1)
    settle(queue, queue.take())
    assert [queue.take()[0][1].session_id for _ in "bc"] == ["b", "c"]
    assert queue.go_on() == 1
    again = queue.take()
    assert places(again) == [1]
    settle(queue, queue_taken(queue, again))
    assert queue.go_on() == 0


def queue_taken(queue: Queue, batch: list[Stored]) -> list[Stored]:
    """A batch that is still out."""
    assert queue.position < batch[0][0]
    return batch


def test_while_the_sink_is_away_others_are_tried_before_those_that_failed() -> None:
    queue = queue_of(*MIXED, batch_records=1)
    first = queue.take()
    settle(queue, first)
    second = queue.take()
    settle(queue, second)
    assert (first[0][1].session_id, second[0][1].session_id) == ("a", "b")
    assert queue.take() == first  # there are no others left


def test_what_cannot_be_read_is_passed() -> None:
    queue = queue_of(*MIXED[:2])
    queue.skip(4, "corrupt")
    queue.put(MIXED[4:])
    settle_all(queue)
    assert queue.position == 6
    assert queue.passed == Counter(delivered=4, corrupt=1, removed=1)


def test_what_is_settled_ahead_passes_when_what_is_before_it_is_settled() -> None:
    queue = queue_of(*MIXED)
    a, b = queue.take(), queue.take()
    settle(queue, b, *DELIVERED[:3])
    assert (queue.position, queue.settled, queue.passed) == (0, Counter(delivered=3), Counter())
    settle(queue, a, "delivered")
    assert (queue.position, queue.passed) == (2, Counter(delivered=2))
    settle(queue, queue.take(), "delivered", "delivered")
    assert (queue.position, queue.passed) == (6, Counter(delivered=6))


def test_what_is_not_to_be_delivered_is_settled_when_it_is_read() -> None:
    outcomes: dict[int, Outcome] = {1: "erased", 3: "quarantined"}
    queue = Queue(0, batch_records=10, by_session=True, window=100)
    assert queue.put(MIXED[:3], outcomes) == 1
    assert (queue.position, queue.size) == (1, 1)
    settle(queue, queue.take(), "delivered")
    assert queue.position == 3
    assert queue.passed == Counter(erased=1, delivered=1, quarantined=1)


def test_missing_positions_are_passed_once_what_comes_before_them_is_settled() -> None:
    queue = queue_of((5, A[0]), (9, A[1]))
    assert (queue.position, queue.settled, queue.passed) == (4, Counter(removed=7), Counter(removed=4))
    settle(queue, queue.take(), "delivered")
    assert (queue.position, queue.passed) == (8, Counter(removed=7, delivered=1))
    settle_all(queue)
    assert (queue.position, queue.passed) == (9, Counter(removed=7, delivered=2))


def test_however_much_is_missing_a_record_that_does_not_get_through_holds_nobody_up() -> None:
    queue = Queue(0, batch_records=1, by_session=True, window=2)
    queue.put([(1, A[0])])
    out = queue.take()
    queue.put([(1_000_000, B[0])])
    settle(queue, queue.take(), "delivered")
    assert queue.room == 2
    settle(queue, out, "delivered")
    assert (queue.position, queue.passed) == (1_000_000, Counter(delivered=2, removed=999_998))


def test_what_waits_and_is_settled_behind_a_record_that_does_not_get_through_is_bounded() -> None:
    queue = Queue(0, batch_records=1, by_session=True, window=2)
    queue.put([(1, A[0])])
    out = queue.take()
    position = 1
    while queue.room:
        position += 1
        queue.put([(position, B[0])])
        settle(queue, queue.take(), "delivered")
    assert position == AHEAD_WINDOWS * 2
    settle(queue, out, "delivered")
    assert (queue.position, queue.room) == (position, 2)


def test_what_was_put_aside_before_is_not_handed_out_and_a_gap_there_is_not_counted_twice() -> None:
    queue = Queue(0, batch_records=10, by_session=True, window=100, settled=[2, 7])
    queue.put([*MIXED, (9, A[3])])
    assert queue.settled == Counter(quarantined=2, removed=1)  # of 7 and 8, which are missing, one is put aside
    while batch := queue.take():
        assert 2 not in places(batch)
        settle(queue, batch, *DELIVERED[: len(batch)])
    assert (queue.position, queue.passed) == (9, Counter(delivered=6, quarantined=2, removed=1))
