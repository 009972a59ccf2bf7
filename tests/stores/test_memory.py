"""The store in memory: the promises of a store, its bounds, and what it forgets."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import AT, LONG_S, identities, idle, outcome, records_of, until

from caseassist.core.erasure import erased
from caseassist.core.errors import PositionConflict, SequenceConflict, SessionErased, StoreFull
from caseassist.core.records import Record, encode
from caseassist.stores.base import Quarantined, SinkState, check_batch
from caseassist.stores.memory import MemoryStore, WhenFull

A = records_of("a", 9)
B = records_of("b", 9)
C = records_of("c", 9)
ENDED_A = records_of("a", 3, ended=True)
ENDED_B = records_of("b", 3, ended=True)


def append(store: MemoryStore, *records: Record) -> int:
    return outcome(store.append(records, timeout_s=0.0)).position


def read(store: MemoryStore, after: int = 0, limit: int = 1000) -> list[tuple[int, str, int]]:
    stored = outcome(store.read(after, limit))
    return [(position, record.session_id, record.seq) for position, record in stored]


def loaded(store: MemoryStore, session_id: str) -> list[Record]:
    return list(outcome(store.load(session_id)))


def register(store: MemoryStore, *sinks: str) -> None:
    for sink in sinks:
        outcome(store.state(sink))


async def commit(store: MemoryStore, sink: str, position: int) -> None:
    """Settle everything up to a position, from wherever the sink stands."""
    after = (await store.state(sink)).position
    await store.commit(sink, after=after, position=max(after, position))


def aside(position: int, record: Record) -> Quarantined:
    return Quarantined(position=position, record=record, reason="it was refused", status=400, at=AT)


def aside_at(store: MemoryStore, sink: str = "sink") -> list[int]:
    return [entry.position for entry in outcome(store.quarantined(sink))]


# --- What every store promises --------------------------------------------------------------------------------------


def test_positions_count_from_1_over_all_sessions() -> None:
    store = MemoryStore()
    register(store, "sink")
    assert [append(store, A[0]), append(store, B[0], B[1]), append(store, A[1])] == [1, 3, 4]
    assert read(store) == [(1, "a", 0), (2, "b", 0), (3, "b", 1), (4, "a", 1)]
    assert outcome(store.last_position()) == 4
    assert loaded(store, "a") == A[:2]
    assert loaded(store, "b") == B[:2]
    assert store.durability == "memory"


def test_an_empty_store_has_nothing() -> None:
    store = MemoryStore()
    register(store, "sink")
    assert read(store) == []
    assert outcome(store.last_position()) == 0
    assert loaded(store, "a") == []
    assert len(store) == 0


def test_a_reader_goes_on_after_a_position() -> None:
    store = MemoryStore()
    register(store, "sink")
    append(store, *A)
    assert [position for position, _, _ in read(store, after=3)] == [4, 5, 6, 7, 8, 9]
    assert [position for position, _, _ in read(store, after=3, limit=2)] == [4, 5]
    assert read(store, after=9) == []
    assert read(store, after=99) == []


def test_appending_the_same_records_again_stores_nothing() -> None:
    store = MemoryStore()
    append(store, *A[:3])
    append(store, B[0])
    assert append(store, *A[:3]) == 3
    assert append(store, A[1]) == 2
    assert append(store, *records_of("a", 2)) == 2  # equal is enough
    assert len(store) == 4


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (records_of("a", 2, text="y")[1:], 3),  # another record in that place
        (A[2:4], 3),  # the second would be new
        (A[4:5], 3),  # leaves a gap
        (B[1:2], 0),  # there is no such session
    ],
)
def test_a_place_is_taken_once(records: list[Record], found: int) -> None:
    store = MemoryStore()
    append(store, *A[:3])
    with pytest.raises(SequenceConflict) as caught:
        append(store, *records)
    assert (caught.value.expected, caught.value.found) == (records[0].seq, found)
    assert len(store) == 3


@pytest.mark.parametrize(
    "records",
    [[], records_of("a", 257), [A[0], A[2]], [A[0], B[1]], [A[1], A[0]]],
    ids=["none", "too many", "a gap", "two sessions", "backwards"],
)
def test_records_that_cannot_be_appended_at_once_are_refused_and_none_is_stored(records: list[Record]) -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="at once"):
        append(store, *records)
    assert len(store) == 0
    with pytest.raises(ValueError, match="at once"):
        check_batch(records)


def test_as_many_records_as_allowed_are_appended_at_once() -> None:
    assert append(MemoryStore(), *records_of("a", 256)) == 256


def test_positions_of_a_sink_never_go_back() -> None:
    store = MemoryStore()
    append(store, *A[:5])
    outcome(store.commit("sink", after=0, position=4))
    with pytest.raises(ValueError, match="positions go up"):
        outcome(store.commit("sink", after=4, position=2))
    with pytest.raises(PositionConflict):
        outcome(store.commit("sink", after=0, position=2))
    assert outcome(store.state("sink")).position == 4
    assert outcome(store.state("other")).position == 0


def test_what_was_dropped_lies_between_two_positions() -> None:
    store = MemoryStore()
    append(store, *A[:5])
    with pytest.raises(ValueError, match="between"):
        outcome(store.commit("sink", after=0, position=0, dropped={"store_full": 1}))


async def test_closing_is_repeatable_and_leaves_the_records() -> None:
    store = MemoryStore()
    await store.append(A[:2], timeout_s=0.0)
    await store.aclose()
    await store.aclose()
    assert list(await store.load("a")) == A[:2]


# --- Sinks ----------------------------------------------------------------------------------------------------------


def test_what_one_sink_has_settled_stays_for_the_other() -> None:
    store = MemoryStore()
    register(store, "fast", "slow")
    append(store, *A[:4])
    outcome(commit(store, "fast", 4))
    outcome(commit(store, "slow", 1))
    assert [position for position, _, _ in read(store, after=1)] == [2, 3, 4]
    outcome(commit(store, "slow", 4))
    assert read(store, after=0) == []


def test_a_sink_that_comes_late_has_its_turn_with_all_that_is_kept() -> None:
    store = MemoryStore()
    append(store, *A[:2])  # nobody reads yet
    assert read(store) == []
    register(store, "early")
    assert [position for position, _, _ in read(store)] == [1, 2]
    append(store, B[0])
    outcome(commit(store, "early", 3))
    assert read(store) == []
    outcome(commit(store, "late", 0))
    assert read(store) == [(1, "a", 0), (2, "a", 1), (3, "b", 0)]


def test_with_gaps_a_reader_still_goes_on_after_its_position() -> None:
    store = MemoryStore(max_records=3)
    append(store, *ENDED_A)
    append(store, *B[:2])  # "a" is forgotten
    append(store, C[0])
    register(store, "late")
    assert read(store) == [(4, "b", 0), (5, "b", 1), (6, "c", 0)]
    assert read(store, after=2, limit=2) == [(4, "b", 0), (5, "b", 1)]
    assert read(store, after=4) == [(5, "b", 1), (6, "c", 0)]


# --- Bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{"max_records": 0}, {"max_bytes": 0}, {"when_full": "panic"}])
def test_an_option_out_of_its_range_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"max_|when_full"):
        MemoryStore(**arguments)  # type: ignore[arg-type]


def size_of(records: Sequence[Record]) -> int:
    return sum(len(encode(record)) for record in records)


@pytest.mark.parametrize("bounds", [{"max_records": 3}, {"max_bytes": size_of(A[:3])}], ids=["records", "bytes"])
def test_a_full_store_rejects_at_once_and_stays_as_it_was(bounds: dict[str, int]) -> None:
    store = MemoryStore(when_full="reject", **bounds)
    register(store, "sink")
    append(store, *A[:3])
    with pytest.raises(StoreFull):
        append(store, A[3])
    assert loaded(store, "a") == A[:3]
    outcome(commit(store, "sink", 3))
    assert append(store, B[0]) == 4


@pytest.mark.parametrize("when_full", ["wait", "reject", "drop_oldest"])
@pytest.mark.parametrize("bounds", [{"max_records": 3}, {"max_bytes": size_of(A[:3])}], ids=["records", "bytes"])
def test_what_could_never_fit_costs_nothing_that_is_kept(when_full: WhenFull, bounds: dict[str, int]) -> None:
    store = MemoryStore(when_full=when_full, **bounds)
    append(store, *ENDED_A[:2])
    with pytest.raises(StoreFull, match="it can hold"):
        append(store, *B[:4])
    assert loaded(store, "a") == ENDED_A[:2]


def test_sessions_that_ended_are_forgotten_first_in_the_order_of_their_end() -> None:
    store = MemoryStore(max_records=7, when_full="reject")
    register(store, "sink")
    append(store, C[0])
    append(store, *ENDED_A[:2])
    append(store, *ENDED_B)
    append(store, ENDED_A[2])
    outcome(commit(store, "sink", 7))
    append(store, C[1])
    assert (loaded(store, "b"), loaded(store, "a"), loaded(store, "c")) == ([], ENDED_A, C[:2])
    outcome(commit(store, "sink", 8))
    append(store, *C[2:5])
    assert (loaded(store, "a"), loaded(store, "c")) == ([], C[:5])


def test_sessions_that_nobody_ends_do_not_fill_the_store_for_ever() -> None:
    store = MemoryStore(max_records=4, when_full="reject")
    register(store, "sink")
    append(store, *A[:2])
    append(store, *B[:2])
    append_again = A[2]
    outcome(commit(store, "sink", 4))
    append(store, C[0])  # "a" was idle the longest
    assert (loaded(store, "a"), loaded(store, "b"), loaded(store, "c")) == ([], B[:2], C[:1])
    assert append(store, append_again) == 6  # who has a handle on it goes on
    assert loaded(store, "a") == []
    assert read(store, after=4) == [(5, "c", 0), (6, "a", 2)]


def test_what_is_not_settled_everywhere_is_not_forgotten() -> None:
    store = MemoryStore(max_records=3, when_full="reject")
    register(store, "fast", "slow")
    append(store, *ENDED_A)
    outcome(commit(store, "fast", 3))
    with pytest.raises(StoreFull):
        append(store, B[0])
    outcome(commit(store, "slow", 3))
    assert append(store, B[0]) == 4


def test_a_forgotten_session_cannot_be_started_again() -> None:
    store = MemoryStore(max_records=3)
    append(store, *ENDED_A)
    append(store, *B[:3])
    with pytest.raises(SequenceConflict) as caught:
        append(store, ENDED_A[0])
    assert caught.value.found == 3


def test_of_forgotten_sessions_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseassist.stores.memory.MAX_PLACES", 2)
    store = MemoryStore(max_records=2)
    for n in range(5):
        append(store, *records_of(f"s{n}", 1))
    for forgotten, found in (("s0", 0), ("s1", 1), ("s2", 1)):
        with pytest.raises(SequenceConflict) as caught:
            append(store, *records_of(forgotten, 9)[8:])
        assert caught.value.found == found


def test_a_session_that_goes_on_after_an_end_is_forgotten_like_any_other() -> None:
    store = MemoryStore(max_records=4, when_full="reject")
    again = records_of("a", 4)[3]
    append(store, *ENDED_A)
    append(store, again)  # possible in a life cycle of the user's own
    append(store, *B[:4])
    assert (loaded(store, "a"), loaded(store, "b")) == ([], B[:4])
    append(store, *C[:4])
    assert len(store) == 4


def test_dropping_takes_the_oldest_that_is_not_settled_and_leaves_a_gap() -> None:
    store = MemoryStore(max_records=3, when_full="drop_oldest")
    register(store, "sink")
    append(store, A[0])
    append(store, *B[:2])
    append(store, A[1])
    assert read(store) == [(2, "b", 0), (3, "b", 1), (4, "a", 1)]
    assert loaded(store, "a") == []  # it has no beginning
    append(store, A[2])
    assert read(store) == [(3, "b", 1), (4, "a", 1), (5, "a", 2)]
    assert loaded(store, "b") == []
    assert append(store, B[2]) == 6
    assert len(store) == 3


def test_dropping_takes_what_is_settled_of_the_session_as_well() -> None:
    store = MemoryStore(max_records=4, when_full="drop_oldest")
    register(store, "sink")
    append(store, *A[:4])
    outcome(commit(store, "sink", 2))
    append(store, B[0])
    assert read(store, after=2) == [(4, "a", 3), (5, "b", 0)]
    assert len(store) == 2


def test_dropping_never_refuses() -> None:
    store = MemoryStore(max_records=2, when_full="drop_oldest")
    append(store, *A[:2])
    append(store, *B[:2])  # without a sink nothing waits for delivery: "a" is forgotten
    register(store, "sink")
    outcome(commit(store, "sink", 4))
    append(store, *C[:2])
    for n in range(20):
        append(store, *records_of(f"s{n}", 2))
    assert len(store) == 2


# --- Quarantine -----------------------------------------------------------------------------------------------------


def in_quarantine(
    *positions: int, sinks: str = "x", when_full: WhenFull = "reject", bounds: Mapping[str, int] = {}
) -> MemoryStore:
    """A store with the 3 records of a session that has ended, some of them in quarantine, all settled."""
    store = MemoryStore(when_full=when_full, **{"max_records": 3, **bounds})
    register(store, *sinks)
    append(store, *ENDED_A)
    for sink in sinks:
        entries = [aside(position, ENDED_A[position - 1]) for position in positions]
        outcome(store.commit(sink, after=0, position=3, quarantined=entries))
    return store


@pytest.mark.parametrize("sinks", ["x", "xy"])
@pytest.mark.parametrize("bounds", [{}, {"max_records": 9, "max_bytes": size_of(ENDED_A)}], ids=["records", "bytes"])
def test_what_is_in_quarantine_takes_its_room_once_and_is_not_forgotten(sinks: str, bounds: dict[str, int]) -> None:
    store = in_quarantine(2, sinks=sinks, bounds=bounds)
    assert len(store) == 3
    append(store, B[0])
    assert len(store) == 2
    assert loaded(store, "a") == []
    with pytest.raises(StoreFull):
        append(store, *C[:3])
    assert [aside_at(store, sink) for sink in sinks] == [[2]] * len(sinks)


def test_what_is_resolved_makes_room() -> None:
    store = in_quarantine(1, 2, 3)
    with pytest.raises(StoreFull):
        append(store, B[0])
    assert (len(store), loaded(store, "a")) == (3, [])  # the rest of the session was of no use
    assert outcome(store.drop("x", position=2))
    assert (len(store), append(store, B[0])) == (2, 4)


async def test_an_append_waits_for_what_is_resolved() -> None:
    store = in_quarantine(1, 2, 3, when_full="wait")
    positions: list[int] = []

    async def appending() -> None:
        positions.append((await store.append(B[:1], timeout_s=LONG_S)).position)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appending)
        await idle()
        assert positions == []
        await store.resolve("x", 1)
    assert positions == [4]


def test_what_is_in_quarantine_is_dropped_last_and_counted_as_removed() -> None:
    store = in_quarantine(1, 2, 3, sinks="xy", when_full="drop_oldest")
    outcome(store.resolve("x", 1))
    append(store, *B[:2])  # 1 and 2 are in its way
    assert [aside_at(store, "x"), aside_at(store, "y")] == [[3], [3]]
    assert outcome(store.state("x")) == SinkState(position=3, quarantined=1, dropped={"removed": 1})
    assert outcome(store.state("y")) == SinkState(position=3, quarantined=1, dropped={"removed": 2})
    append(store, *B[2:4])  # what waits for delivery goes first
    assert [aside_at(store, "x"), aside_at(store, "y"), len(store)] == [[3], [3], 3]
    append(store, *C[:3])
    assert [aside_at(store, "x"), aside_at(store, "y"), len(store)] == [[], [], 3]


def test_a_record_that_was_dropped_while_a_sink_refused_it_is_kept_in_quarantine() -> None:
    store = MemoryStore(max_records=3, when_full="drop_oldest")
    register(store, "sink")
    append(store, *A[:3])
    append(store, *B[:2])
    assert len(store) == 3
    outcome(store.commit("sink", after=0, position=1, quarantined=[aside(1, A[0])]))
    assert (len(store), aside_at(store)) == (4, [1])
    append(store, B[2])
    assert (len(store), aside_at(store)) == (3, [1])
    outcome(store.resolve("sink", 1))
    assert len(store) == 2


def test_a_record_in_quarantine_stays_when_it_is_dropped_from_the_middle_of_its_session() -> None:
    store = MemoryStore(max_records=4, when_full="drop_oldest")
    register(store, "sink")
    append(store, *A[:4])
    outcome(store.commit("sink", after=0, position=0, quarantined=[aside(2, A[1])]))
    append(store, *B[:2])
    assert (aside_at(store), len(store)) == ([2], 4)
    assert read(store) == [(4, "a", 3), (5, "b", 0), (6, "b", 1)]


def test_a_record_that_was_dropped_and_is_put_aside_once_more_stays_dropped_and_counts_once() -> None:
    store = MemoryStore()
    append(store, *A[:3])
    outcome(store.commit("sink", after=0, position=0, quarantined=[aside(2, A[1])]))
    outcome(store.drop("sink", position=2))
    outcome(store.commit("sink", after=0, position=3, quarantined=[aside(2, A[1])]))  # another run did not know
    assert outcome(store.state("sink")) == SinkState(position=3, dropped={"operator": 1})
    assert aside_at(store) == []


# --- Erasing --------------------------------------------------------------------------------------------------------


def test_an_erased_session_takes_less_room() -> None:
    store = MemoryStore(max_bytes=size_of(A), when_full="reject")
    register(store, "sink")
    append(store, *A)
    with pytest.raises(StoreFull):
        append(store, B[0])
    outcome(store.erase(session_id="a"))
    assert append(store, B[0]) == 10
    assert store._bytes == size_of(loaded(store, "a")) + size_of(B[:1])
    outcome(commit(store, "sink", 10))
    append(store, *C[:8])
    assert store._bytes == sum(size_of(loaded(store, session_id)) for session_id in "abc")


def test_what_is_read_of_an_erased_session_is_erased() -> None:
    store = MemoryStore()
    register(store, "sink")
    append(store, *A[:2])
    append(store, B[0])
    outcome(store.erase(session_id="a"))
    assert list(outcome(store.read(0, 9))) == [(1, erased(A[0])), (2, erased(A[1])), (3, B[0])]


def test_a_forgotten_session_stays_erased() -> None:
    store = in_quarantine(2)
    outcome(store.erase(session_id="a"))
    append(store, *B[:3])
    assert loaded(store, "a") == []
    with pytest.raises(SessionErased):
        append(store, *records_of("a", 4)[3:])


@pytest.mark.parametrize(
    "whose", [{"session_id": "a"}, {"client_id": A[0].context.client_id}], ids=["session", "client"]
)
def test_what_is_in_quarantine_of_a_forgotten_session_is_erased(whose: dict[str, str]) -> None:
    store = in_quarantine(2)
    append(store, *records_of("b", 2))
    outcome(store.erase(session_id="b"))
    assert (aside_at(store, "x"), loaded(store, "a")) == ([2], [])
    assert list(outcome(store.erase(**whose))) == ["a"]
    assert (aside_at(store, "x"), outcome(store.state("x")).dropped) == ([], {"erased": 1})
    outcome(store.commit("x", after=3, position=3, quarantined=[aside(3, ENDED_A[2])]))
    assert aside_at(store, "x") == []
    with pytest.raises(SessionErased):
        append(store, *records_of("a", 4)[3:])


async def test_who_waits_for_room_learns_that_the_session_was_erased() -> None:
    store = MemoryStore(max_records=3)
    register(store, "sink")
    append(store, *A[:3])
    caught: list[SessionErased] = []

    async def appending() -> None:
        try:
            await store.append(A[3:5], timeout_s=LONG_S)
        except SessionErased as error:
            caught.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appending)
        await idle()
        await store.erase(session_id="a")
    assert [error.session_id for error in caught] == ["a"]


# --- Whose it is ----------------------------------------------------------------------------------------------------


def test_idle_goes_on_after_a_session_however_many_came_and_went() -> None:
    store = MemoryStore(max_records=300)
    late = AT + timedelta(days=1)
    for n in range(1000):  # those before are forgotten as they have ended
        append(store, *records_of(f"s{n}", 3, ended=n < 950))
    open_ones = [f"s{n}" for n in range(950, 1000)]
    assert list(outcome(store.idle(late, 1000))) == open_ones
    assert list(outcome(store.idle(late, 10, open_ones[19]))) == open_ones[20:30]
    assert list(outcome(store.idle(late, 3, "s0"))) == open_ones[:3]
    outcome(store.erase(session_id=open_ones[1]))
    assert list(outcome(store.idle(late, 2))) == [open_ones[0], open_ones[2]]
    assert list(outcome(store.idle(late, 2, open_ones[1]))) == open_ones[2:4]


def test_a_session_without_its_beginning_is_not_idle_as_it_cannot_be_resumed() -> None:
    store = MemoryStore(max_records=3, when_full="drop_oldest")
    register(store, "sink")
    append(store, *A[:3])
    append(store, B[0])
    assert list(outcome(store.idle(AT + timedelta(days=1), 9))) == ["b"]


def test_one_store_serves_one_owner_after_the_other() -> None:
    store = MemoryStore()
    assert outcome(store.claim("sink"))
    assert not outcome(store.claim("sink"))
    outcome(store.aclose())
    outcome(store.open())
    assert outcome(store.claim("sink"))
    assert not store.shared


# --- Waiting for room -----------------------------------------------------------------------------------------------


async def full_store(**options: int) -> MemoryStore:
    store = MemoryStore(**({"max_records": 3} | options))  # type: ignore[arg-type]
    await store.state("sink")
    await store.append(ENDED_A, timeout_s=0.0)
    return store


async def test_an_append_waits_for_room() -> None:
    store = await full_store()
    positions: list[int] = []

    async def appending() -> None:
        positions.append((await store.append(B[:2], timeout_s=LONG_S)).position)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appending)
        await idle()
        await commit(store, "sink", 2)  # of no use: the session is forgotten as a whole
        await idle()
        assert positions == []
        await commit(store, "sink", 3)
    assert positions == [5]


@pytest.mark.parametrize("timeout_s", [0.0, 0.001])
async def test_an_append_waits_no_longer_than_it_may(timeout_s: float) -> None:
    store = await full_store()
    with anyio.fail_after(LONG_S), pytest.raises(StoreFull):
        await store.append(B[:1], timeout_s=timeout_s)
    assert len(store) == 3
    await commit(store, "sink", 3)
    assert (await store.append(B[:1], timeout_s=0.0)).position == 4


async def test_who_waits_for_room_is_served_in_the_order_of_coming() -> None:
    store = await full_store()
    stored: list[str] = []

    async def appending(session_id: str, count: int) -> None:
        await store.append(records_of(session_id, count), timeout_s=LONG_S)
        stored.append(session_id)

    async with anyio.create_task_group() as tasks:
        for n, count in enumerate((2, 2, 1, 1)):  # the last would fit beside the first
            tasks.start_soon(appending, f"w{n}", count)
            await idle()
        await commit(store, "sink", 3)
        await until(lambda: "w0" in stored)
        tasks.start_soon(appending, "newcomer", 1)
        await idle()
        assert stored == ["w0"]
        for _ in range(5):
            await commit(store, "sink", await store.last_position())
            await idle()
    assert stored == ["w0", "w1", "w2", "w3", "newcomer"]


async def test_who_gives_up_waiting_lets_the_next_one_have_the_room() -> None:
    store = await full_store()
    await commit(store, "sink", 2)
    scope = anyio.CancelScope()
    positions: list[int] = []

    async def giving_up() -> None:
        with scope:
            await store.append(records_of("w0", 3), timeout_s=LONG_S)

    async def waiting() -> None:
        positions.append((await store.append(B[:1], timeout_s=LONG_S)).position)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(giving_up)
        await idle()
        tasks.start_soon(waiting)
        await idle()
        scope.cancel()
        await idle()
        assert positions == []
        await commit(store, "sink", 3)
    assert positions == [4]
    assert list(await store.load("w0")) == []


async def test_records_that_somebody_else_stored_meanwhile_are_not_stored_again() -> None:
    store = await full_store()
    positions: list[int] = []

    async def appending() -> None:
        positions.append((await store.append(B[:1], timeout_s=LONG_S)).position)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appending)
        tasks.start_soon(appending)
        await idle()
        await commit(store, "sink", 3)
    assert positions == [4, 4]
    assert len(store) == 1


async def test_a_place_that_somebody_else_took_meanwhile_is_a_conflict() -> None:
    store = await full_store(max_records=4)
    conflicts: list[SequenceConflict] = []

    async def appending(records: list[Record]) -> None:
        try:
            await store.append(records, timeout_s=LONG_S)
        except SequenceConflict as conflict:
            conflicts.append(conflict)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appending, B[:3])
        await idle()
        tasks.start_soon(appending, records_of("b", 3, ended=True))
        await idle()
        await commit(store, "sink", 3)
    assert [conflict.found for conflict in conflicts] == [3]
    assert list(await store.load("b")) == B[:3]


async def test_an_own_record_that_turns_up_while_waiting_needs_no_room() -> None:
    store = await full_store(max_records=5)
    positions: list[int] = []

    async def appending() -> None:
        positions.append((await store.append(B[:3], timeout_s=LONG_S)).position)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(appending)
        await idle()
        store.max_records = 6  # as if by another way in
        store._append(B[:3], 1)
        store.max_records = 3
        await commit(store, "sink", 0)
    assert positions == [6]


# --- Against a model ------------------------------------------------------------------------------------------------


class Model:
    """The same store, written down as the words say it: lists, and no care for speed."""

    def __init__(self, max_records: int, when_full: WhenFull) -> None:
        self.max_records, self.when_full = max_records, when_full
        self.kept: list[tuple[int, Record]] = []
        self.next_seq: dict[str, int] = {}
        self.ended: list[str] = []
        self.positions: dict[str, int] = {}
        self.gone: set[int] = set()
        self.last = 0

    def settled(self) -> int:
        return min(self.positions.values(), default=self.last)

    def of(self, session_id: str) -> list[tuple[int, Record]]:
        return [(position, record) for position, record in self.kept if record.session_id == session_id]

    def make_room(self, count: int) -> bool:
        while len(self.kept) + count > self.max_records:
            by_idleness = sorted({r.session_id for _, r in self.kept}, key=lambda s: self.of(s)[-1][0])
            ended = [session_id for session_id in self.ended if self.of(session_id)]
            settled = [s for s in ended[:1] + by_idleness[:1] if self.of(s)[-1][0] <= self.settled()]
            unsettled = [(p, r) for p, r in self.kept if p > self.settled()]
            if settled:
                self.kept = [(p, r) for p, r in self.kept if r.session_id != settled[0]]
            elif self.when_full == "drop_oldest" and unsettled:
                position, record = unsettled[0]
                self.gone.add(position)
                self.kept = [(p, r) for p, r in self.kept if r.session_id != record.session_id or p > position]
            else:
                return False
        return True

    def append(self, records: Sequence[Record]) -> int | str:
        session_id, seq = records[0].session_id, records[0].seq
        if seq != self.next_seq.get(session_id, 0):
            there = [(p, r) for p, r in self.of(session_id) if r.seq in {record.seq for record in records}]
            return there[-1][0] if [r for _, r in there] == list(records) else "conflict"
        if len(records) > self.max_records or not self.make_room(len(records)):
            return "full"
        for record in records:
            self.last += 1
            self.kept.append((self.last, record))
        self.next_seq[session_id] = seq + len(records)
        if records[-1].seq == ENDS_AT:
            self.ended.append(session_id)
        return self.last


ENDS_AT = 5
SESSIONS = {session_id: records_of(session_id, ENDS_AT + 1, ended=True) for session_id in "abcde"}
SINKS = "xy"

appends = st.tuples(st.just("append"), st.sampled_from("abcde"), st.integers(0, 3), st.integers(1, 3))
"""A session, how many records after (1) or before (0, 2, 3) the next one to begin with, and how many."""
commits = st.tuples(st.just("commit"), st.sampled_from(SINKS), st.integers(0, 12), st.just(0))


@given(
    st.lists(appends | appends | commits, max_size=60),
    st.integers(1, 8),
    st.sampled_from(["reject", "drop_oldest"]),
    st.sets(st.sampled_from(SINKS)),
)
@settings(deadline=None, max_examples=300)
def test_the_store_does_what_the_model_does(
    steps: list[tuple[str, str, int, int]], max_records: int, when_full: WhenFull, sinks: set[str]
) -> None:
    store, model = MemoryStore(max_records=max_records, when_full=when_full), Model(max_records, when_full)
    for sink in sinks:
        model.positions[sink] = outcome(store.state(sink)).position
    for step, name, amount, count in steps:
        if step == "append":
            begin = max(model.next_seq.get(name, 0) + (0, -1, 1, -2)[amount], 0)
            records = SESSIONS[name][begin : begin + count]
            if not records:
                continue
            try:
                answer: int | str = append(store, *records)
            except StoreFull:
                answer = "full"
            except SequenceConflict:
                answer = "conflict"
            assert answer == model.append(records)
        elif name in sinks:
            position = min(amount, model.last)
            outcome(commit(store, name, position))
            model.positions[name] = max(position, model.positions[name])
        assert len(store) == len(model.kept) <= max_records
        for session_id in SESSIONS:
            whole = [record for _, record in model.of(session_id)]
            assert loaded(store, session_id) == (whole if whole and whole[0].seq == 0 else [])
        for sink in sinks:
            after = model.positions[sink]
            there = [(p, r) for p, r in model.kept if p > after] if sinks else []
            assert list(outcome(store.read(after, 4))) == there[:4]
    if not model.gone:  # nothing is lost but by the policy
        everything = {(s, seq) for s, next_seq in model.next_seq.items() for seq in range(next_seq)}
        assert set(identities(r for _, r in model.kept)) <= everything
