"""Hold a store to its promises (see :mod:`caseassist.stores.base`)."""

import os
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from itertools import count
from typing import Any, get_args

import anyio
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from caseassist.core.errors import AppendUnknown, Forked, PositionConflict, SequenceConflict, SessionErased
from caseassist.core.records import Record, encode
from caseassist.stores.base import MAX_APPENDED, Ack, Durability, Quarantined, SinkState, Store, Stored
from caseassist.testing.promises import (
    AT,
    CLIENT_ID,
    LONG_S,
    PERSONAL,
    broken_by,
    cut,
    identities,
    kept,
    raised,
    records_of,
)

__all__ = ["check_store"]

SINK = "sink"
OTHER_CLIENT_ID = "0b8a6f52-1f0e-4c8b-8c38-6a1d2e3f4a5b"
ENOUGH = 10_000
"""More than anything that is put into a store here."""


async def check_store(make: Callable[[], Store], *, reopen: Callable[[], Store] | None = None) -> None:
    """Hold a store to every promise that can be seen from outside.

    ``make``: gives a new, empty store each time. ``reopen``: gives a store on the data of the one that was made last,
    which may be open still if it is ``shared``; None for stores that keep nothing when they are closed. The store must
    have room for some thousand records.

    Raises AssertionError, which names the promise that is broken.
    """
    for check in _CHECKS if reopen is None else (*_CHECKS, _keeps_all(reopen), _shares_all(reopen)):
        promise = " ".join((check.__doc__ or "").split())
        store = make()
        try:
            with anyio.fail_after(LONG_S):
                await store.open()
                await store.state(SINK)  # some stores keep for reading only what a sink has to read
                await check(store)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is not what was promised)
            broken_by(error, promise)
        finally:
            with anyio.move_on_after(LONG_S, shield=True):
                await store.aclose()


# --- Appending ------------------------------------------------------------------------------------------------------


async def _is_empty_at_first(store: Store) -> None:
    """a new store is empty, and says so"""
    kept(list(await store.load("a")) == [], "load returns no records of a session that is not there")
    kept(list(await store.read(0, 10)) == [], "read returns nothing from an empty store")
    kept(await store.last_position() == 0, "last_position is 0 in an empty store")
    kept(await store.state("new") == SinkState(), "a sink that was never seen stands at the beginning")
    kept(list(await store.quarantined("new")) == [], "nothing is in quarantine for a sink that was never seen")
    kept(list(await store.idle(AT, 10)) == [], "no session is idle in an empty store")
    kept(await store.resolve("new", 1) is False, "resolve is False for what is not in quarantine")
    kept(await store.drop("new") == 0, "nothing is dropped where nothing is in quarantine")
    kept(await store.request_resend("new") == 0, "nothing is sent again where nothing is in quarantine")
    kept(store.durability in get_args(Durability), "durability is memory, os or disk")
    kept(store.health().ok, "a store that works is healthy")
    await store.release("new")
    await store.open()


async def _counts_positions(store: Store) -> None:
    """positions count up from 1 in the order of appending, over all sessions"""
    a, b = records_of("a", 3), records_of("b", 2)
    acks = [await _append(store, *batch) for batch in (a[:1], b, a[1:])]
    positions = [ack.position for ack in acks]
    kept(positions == [1, 3, 5], "append answers with the position of the last record, counted from 1 over all")
    kept(all(ack.durability in get_args(Durability) for ack in acks), "append answers with what the records survive")
    expected = [(1, a[0]), (2, b[0]), (3, b[1]), (4, a[1]), (5, a[2])]
    kept(await _all(store) == expected, "read returns the records in the order of their positions")
    kept(await store.last_position() == 5, "last_position is that of the newest record")
    kept(list(await store.load("a")) == a, "load returns the records of one session, oldest first")
    kept(list(await store.load("b")) == b, "load returns the records of one session, oldest first")


async def _reads_from_where_it_is_told(store: Store) -> None:
    """read goes on after a position, up to a limit"""
    await _append(store, *records_of("a", 9))
    for after, limit, expected in ((0, 4, [1, 2, 3, 4]), (4, 3, [5, 6, 7]), (7, 100, [8, 9]), (9, 5, []), (99, 5, [])):
        found = [position for position, _ in await store.read(after, limit)]
        kept(found == expected, "read returns what comes after a position, in order, up to the limit")


async def _takes_a_place_once(store: Store) -> None:
    """a record's place in its session is taken once"""
    a, other = records_of("a", 9), records_of("a", 9, text="other")
    await _append(store, *a[:3])
    before = await _all(store)
    for records, found in (
        (other[1:2], 3),  # another record in that place
        (other[:3], 3),
        (a[2:4], 3),  # the second would be new
        ([a[2], other[3]], 3),
        (a[4:5], 3),  # leaves a gap
        (records_of("b", 2)[1:], 0),  # there is no such session
    ):
        error = await raised(
            SequenceConflict,
            _append(store, *records),
            "an append to a place that is taken, or leaves a gap, raises SequenceConflict",
        )
        told = (error.session_id, error.expected, error.found)
        kept(
            told == (records[0].session_id, records[0].seq, found),
            "a SequenceConflict names the place that was wanted and the one that is next",
        )
        kept(await _all(store) == before, "an append that raises SequenceConflict has stored nothing")
        kept(list(await store.load("a")) == a[:3], "an append that raises SequenceConflict has stored nothing")
    await _append(store, a[3])
    kept(list(await store.load("a")) == a[:4], "after a SequenceConflict the session goes on where it stands")


async def _can_append_again(store: Store) -> None:
    """appending the very records that are stored already succeeds and stores nothing"""
    a = records_of("a", 5)
    first = await _append(store, *a[:3])
    await _append(store, *records_of("b", 2))
    await _append(store, *a[3:])
    before = await _all(store)
    for records, position in ((a[:3], first.position), (a[1:2], 2), (records_of("a", 3), 3), (a, 7), (a[2:4], 6)):
        again = await _append(store, *records)
        kept(await _all(store) == before, "appending again what is stored stores nothing")
        kept(again.position == position, "appending again answers with the position of the last record")
    kept(list(await store.load("a")) == a, "appending again what is stored stores nothing")


async def _refuses_what_is_no_batch(store: Store) -> None:
    """append takes 1 to 256 records of one session, in sequence"""
    a, b = records_of("a", MAX_APPENDED + 1), records_of("b", 2)
    for records in ([], a, [a[0], a[2]], [a[0], b[1]], [a[1], a[0]]):
        await raised(
            ValueError,
            _append(store, *records),
            "append raises ValueError unless it gets 1 to 256 records of one session, in sequence",
        )
        kept(await _all(store) == [], "an append that raises ValueError has stored nothing")
    ack = await _append(store, *a[:MAX_APPENDED])
    kept(ack.position == MAX_APPENDED, "256 records can be appended at once")


async def _hides_nothing_from_a_reader(store: Store) -> None:
    """a reader that goes on after a position misses nothing while others append"""
    writers, batches = 8, 12
    at_work = writers
    seen: list[Stored] = []

    async def write(number: int) -> None:
        nonlocal at_work
        records = records_of(f"w{number}", 2 * batches)
        for n in range(batches):
            await _append(store, *records[2 * n : 2 * n + 2])
            await checkpoint()
        at_work -= 1

    async def read() -> None:
        after = 0
        while True:
            over = not at_work
            last = await store.last_position()
            stored = await store.read(after, 7)
            kept(stored or last <= after, "read returns nothing only if there is no more")
            kept(len(stored) <= 7, "read returns no more than its limit")
            seen.extend(stored)
            if stored:
                after = stored[-1][0]
            elif over:
                return
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        for number in range(writers):
            tasks.start_soon(write, number)
    positions = [position for position, _ in seen]
    kept(positions == sorted(set(positions)), "read returns the records in the order of their positions")
    everything = {(f"w{number}", seq) for number in range(writers) for seq in range(2 * batches)}
    kept(len(seen) <= len(everything), "a reader gets no record twice")
    kept(set(identities(r for _, r in seen)) == everything, "a reader misses nothing while others append")
    for number in range(writers):
        seqs = [record.seq for _, record in seen if record.session_id == f"w{number}"]
        kept(seqs == sorted(seqs), "within a session, positions grow with seq")
    kept(await _all(store) == seen, "no record appears at or before a position that was read")


async def _lets_one_writer_win(store: Store) -> None:
    """of two writers of one session one wins, and the other gets a SequenceConflict"""
    writers, rounds = 8, 5
    won: list[Record] = []
    told: list[tuple[int, int, int]] = []

    async def write(number: int) -> None:
        for _ in range(rounds):
            while True:
                seq = len(await store.load("a"))
                await checkpoint()
                record = replace(template[seq], ticket=replace(template[seq].ticket, subject=f"{number}"))
                try:
                    await _append(store, record)
                except SequenceConflict as conflict:
                    told.append((seq, conflict.expected, conflict.found))
                    continue
                won.append(record)
                break

    template = records_of("a", writers * rounds)
    async with anyio.create_task_group() as tasks:
        for number in range(writers):
            tasks.start_soon(write, number)
    stored = list(await store.load("a"))
    kept([r.seq for r in stored] == list(range(writers * rounds)), "many writers of a session leave no gap")
    kept(stored == sorted(won, key=lambda r: r.seq), "of two writers of one session exactly one wins")
    kept(
        all(expected == seq and found > seq for seq, expected, found in told),
        "a SequenceConflict names the place that was wanted and the one that is next",
    )
    kept([r for _, r in await _all(store)] == stored, "who gets a SequenceConflict has stored nothing")


async def _lists_idle_sessions(store: Store) -> None:
    """idle lists the sessions that have not ended and whose latest record is from before a time"""
    late = AT + timedelta(hours=1)
    batches = {
        "early": records_of("early", 2),
        "ended": records_of("ended", 3, ended=True),
        "again": records_of("again", 2, at=AT),
        "late": records_of("late", 1, at=late),
    }
    for records in batches.values():
        await _append(store, records[0])
    for session_id in ("again", "early", "ended"):
        await _append(store, *batches[session_id][1:])
    kept(list(await store.idle(late, 10)) == ["early", "again"], _IDLE)
    kept(list(await store.idle(late, 1)) == ["early"], "idle returns no more than its limit")
    kept(list(await store.idle(late, 1, "early")) == ["again"], "idle goes on after a session")
    kept(list(await store.idle(late, 10, "again")) == [], "idle goes on after a session")
    kept(list(await store.idle(late, 10, "ended")) == ["again"], "idle goes on after a session, idle or not")
    kept(list(await store.idle(late, 10, "nobody")) == ["early", "again"], "idle begins anew after an unknown session")
    kept(list(await store.idle(late + timedelta(seconds=1), 10)) == ["early", "again", "late"], _IDLE)
    kept(list(await store.idle(AT + timedelta(seconds=1), 10)) == [], "a record from that very time is not from before")


async def _finds_sessions_by_their_ids(store: Store) -> None:
    """sessions gives the ids that begin with a prefix, the greatest first"""
    for session_id in ("chat-2", "chat-10", "chat", "chat-1é", "chau-1", "cha"):
        await _append(store, *records_of(session_id, 1))
    found = ["chat-2", "chat-1é", "chat-10"]
    kept(list(await store.sessions("chat-", 10)) == found, _SESSIONS)
    kept(list(await store.sessions("chat-", 2)) == found[:2], "sessions returns no more than its limit")
    kept(list(await store.sessions("chat-3", 10)) == [], _SESSIONS)
    kept(len(await store.sessions("", 10)) == 6, "every id begins with nothing")
    await store.erase(session_id="chat-2")
    kept(list(await store.sessions("chat-", 10)) == found, "an erased session keeps its place, so its id is found")


_SESSIONS = "sessions lists the ids that begin with a prefix, the greatest first, by code points"


_IDLE = "idle lists sessions that have not ended and were not appended to since, those that were started first first"


# --- Sinks ----------------------------------------------------------------------------------------------------------


async def _commits_positions(store: Store) -> None:
    """a sink's position goes from where it stands to where it is committed"""
    await _append(store, *records_of("a", 9))
    await store.state("other")
    await store.commit(SINK, after=0, position=3)
    await _stands(store, SinkState(position=3), delivered=3)
    await store.commit(SINK, after=0, position=3)
    await _stands(store, SinkState(position=3), delivered=3, promise="a commit that is stored already stores nothing")
    for after, position in ((0, 5), (1, 2), (4, 6), (5, 9)):
        error = await raised(
            PositionConflict,
            store.commit(
                SINK, after=after, position=position, dropped={"x": 1}, quarantined=[_entry(5, records_of("a", 5)[4])]
            ),
            "a commit raises PositionConflict when the sink stands neither at after nor at position",
        )
        told = (error.sink, error.expected, error.found)
        kept(told == (SINK, after, 3), "a PositionConflict names the position that was left and the one that is found")
        await _stands(
            store, SinkState(position=3), delivered=3, promise="a commit that raises PositionConflict stores nothing"
        )
        kept(not await store.quarantined(SINK), "a commit that raises PositionConflict stores nothing")
    for _ in range(2):
        await store.commit(SINK, after=3, position=6, dropped={"x": 1, "y": 1})
        await _stands(
            store,
            SinkState(position=6, dropped={"x": 1, "y": 1}),
            delivered=4,
            promise="what was dropped is counted once, by reason",
        )
    await store.commit(SINK, after=6, position=8, dropped={"x": 1})
    await _stands(store, SinkState(position=8, dropped={"x": 2, "y": 1}), delivered=5)
    kept(await store.state("other") == SinkState(), "every sink has a position of its own")
    await store.commit("other", after=0, position=9)
    kept(set(await store.sinks()) >= {SINK, "other"}, "sinks names every sink that has been here")
    kept(list(await store.sinks()) == sorted(await store.sinks()), "sinks are named in order")
    rest = [position for position, _ in await store.read(8, ENOUGH)]
    kept(rest == [9], "what a sink has not settled can be read")


async def _keeps_quarantine(store: Store) -> None:
    """a position and what was put aside on the way to it are one commit"""
    a, b = records_of("a", 4), records_of("b", 3)
    await _append(store, *a)  # 1 to 4
    await _append(store, *b)  # 5 to 7
    second, sixth, third = _entry(2, a[1]), _entry(6, b[1], status=None), _entry(3, a[2])
    for _ in range(2):
        await store.commit(SINK, after=0, position=2, quarantined=[second])
        await _stands(store, SinkState(position=2, quarantined=1), delivered=1, promise=_TOGETHER)
    for _ in range(2):
        await store.commit(SINK, after=2, position=2, quarantined=[sixth])
        await _stands(
            store,
            SinkState(position=2, quarantined=2, quarantined_ahead=1),
            delivered=1,
            promise="what is put aside beyond the position is counted once, and told apart",
        )
    await store.commit(SINK, after=2, position=7, quarantined=[third])
    await _stands(store, SinkState(position=7, quarantined=3), delivered=4, promise=_TOGETHER)
    everything = [second, third, sixth]
    kept(list(await store.quarantined(SINK)) == everything, "what was put aside is listed whole, in order")
    of_a = list(await store.quarantined(SINK, session_id="a"))
    kept(of_a == [second, third], "what was put aside can be listed by session")
    kept(list(await store.quarantined(SINK, after=2)) == [third, sixth], "it is listed from after a position")
    kept(list(await store.quarantined(SINK, limit=2)) == everything[:2], "no more is listed than the limit")
    one = list(await store.quarantined(SINK, session_id="a", after=2, limit=1))
    kept(one == [third], "session, position and limit go together")
    kept(not await store.quarantined("other"), "every sink has a quarantine of its own")
    kept(list(await store.load("a")) == a, "what is put aside of a session stays in its place")


_TOGETHER = "a position and what was put aside on the way to it are one commit, stored once"


async def _sends_again(store: Store) -> None:
    """an operator can have sent again what was put aside"""
    a, b = records_of("a", 2), records_of("b", 2)
    await _append(store, *a)
    await _append(store, *b)
    entries = [_entry(position, record) for position, record in enumerate([*a, *b], 1)]
    await store.commit(SINK, after=0, position=4, quarantined=entries)
    asked = [replace(entry, requested=True) for entry in entries]
    kept(not await store.quarantined(SINK, requested=True), "nothing is sent again before it is requested")
    kept(await store.request_resend(SINK, position=9) == 0, "request_resend returns how many are requested")
    kept(await store.request_resend(SINK, session_id="c") == 0, "request_resend returns how many are requested")
    kept(await store.request_resend(SINK, position=2) == 1, "one record can be requested to be sent again")
    kept(list(await store.quarantined(SINK, requested=True)) == asked[1:2], "what is requested can be listed")
    kept(await store.request_resend(SINK, session_id="b") == 2, "a session can be requested to be sent again")
    kept(list(await store.quarantined(SINK, requested=True)) == asked[1:], "what is requested can be listed")
    kept(list(await store.quarantined(SINK)) == [entries[0], *asked[1:]], "what is not requested stays as it is")
    again = _entry(2, a[1], status=422)
    kept(await store.put_back(SINK, again) is True, "what was refused again can be put back")
    kept(
        list(await store.quarantined(SINK, requested=True)) == asked[2:], "what was put back is not requested any more"
    )
    kept(list(await store.quarantined(SINK, session_id="a")) == [entries[0], again], "what is put back replaces it")
    kept(await store.put_back(SINK, _entry(9, a[1])) is False, "what is not in quarantine cannot be put back")
    await _stands(store, SinkState(position=4, quarantined=4), delivered=0, promise="to send again changes no figures")
    await store.request_resend(SINK)
    kept(len(await store.quarantined(SINK, requested=True)) == 4, "everything can be requested to be sent again")


async def _resolves(store: Store) -> None:
    """what was put aside can be delivered after all, or dropped by the operator"""
    a = records_of("a", 6)
    await _append(store, *a)
    entries = [_entry(position, record) for position, record in enumerate(a, 1)]
    await store.commit(SINK, after=0, position=3, quarantined=[*entries[:2], *entries[3:]])
    await _stands(store, SinkState(position=3, quarantined=5, quarantined_ahead=3), delivered=1)
    kept(await store.resolve(SINK, 1) is True, "resolve returns whether it was there")
    await _stands(store, SinkState(position=3, quarantined=4, quarantined_ahead=3), delivered=2)
    kept(await store.drop(SINK, position=2) == 1, "drop returns how many it dropped")
    dropped = SinkState(position=3, quarantined=3, quarantined_ahead=3, dropped={"operator": 1})
    await _stands(store, dropped, delivered=2, promise="what an operator drops is counted as operator")
    for position in (1, 2, 3, 99):
        kept(await store.resolve(SINK, position) is False, "resolve returns whether it was there")
        kept(await store.drop(SINK, position=position) == 0, "drop returns how many it dropped")
        await _stands(store, dropped, delivered=2, promise="to resolve what is not in quarantine changes nothing")
    await store.resolve(SINK, 4)
    await store.drop(SINK, position=5)
    for _ in range(2):
        await _stands(
            store,
            SinkState(
                position=3,
                quarantined=1,
                quarantined_ahead=1,
                dropped={"operator": 1},
                resolved_ahead={4: "delivered", 5: "operator"},
            ),
            delivered=2,
            promise="what is resolved beyond the position is named, and not counted before the position has passed it",
        )
        kept(list(await store.quarantined(SINK)) == entries[5:], "what is resolved is not in quarantine any more")
        # It was on its way, as when who delivered was cut off and repeats what it was to commit.
        await store.commit(SINK, after=3, position=3, quarantined=entries[3:])
    await store.commit(SINK, after=3, position=6)
    await _stands(
        store,
        SinkState(position=6, quarantined=1, dropped={"operator": 2}),
        delivered=3,
        promise="what was resolved beyond the position is counted when the position has passed it",
    )
    kept(list(await store.quarantined(SINK)) == entries[5:], "what is resolved is not in quarantine any more")


async def _drops(store: Store) -> None:
    """an operator can drop all that was put aside for a sink, a session, or one record"""
    a, b, c = (records_of(session_id, 2) for session_id in "abc")
    for records in (a, b, c):
        await _append(store, *records)
    entries = [_entry(position, record) for position, record in enumerate([*a, *b, *c], 1)]
    for sink in (SINK, "other"):
        await store.commit(sink, after=0, position=3, quarantined=entries)
    kept(await store.drop(SINK, session_id="nobody") == 0, "drop returns how many it dropped")
    kept(await store.drop(SINK, session_id="a", position=3) == 0, "session and position go together")
    kept(await store.drop(SINK, session_id="b") == 2, "what was put aside of a session can be dropped")
    kept(
        list(await store.quarantined(SINK)) == [*entries[:2], *entries[4:]],
        "to drop what was put aside of a session leaves the rest",
    )
    await _stands(
        store,
        SinkState(
            position=3, quarantined=4, quarantined_ahead=2, dropped={"operator": 1}, resolved_ahead={4: "operator"}
        ),
        delivered=0,
        promise="what an operator drops is counted as operator",
    )
    kept(await store.drop(SINK, session_id="a", position=2) == 1, "session and position go together")
    kept(await store.drop(SINK) == 3, "all that was put aside can be dropped")
    kept(not await store.quarantined(SINK), "what is dropped is not in quarantine any more")
    await store.commit(SINK, after=3, position=6)
    await _stands(
        store,
        SinkState(position=6, dropped={"operator": 6}),
        delivered=0,
        promise="what is dropped beyond the position is counted when the position has passed it",
    )
    kept(list(await store.quarantined("other")) == entries, "to drop for one sink changes nothing for another")


async def _has_one_deliver(store: Store) -> None:
    """one delivers to a sink at a time"""
    kept(await store.claim(SINK) is True, "who claims a sink first delivers to it")
    kept(await store.claim(SINK) is False, "a sink that is claimed cannot be claimed again")
    kept(await store.claim("other") is True, "every sink is claimed on its own")
    await store.release(SINK)
    kept(await store.claim("other") is False, "to release one sink leaves the other claimed")
    kept(await store.claim(SINK) is True, "a sink that is released can be claimed")
    await store.release("never claimed")


# --- Erasing --------------------------------------------------------------------------------------------------------


async def _erases_a_session(store: Store) -> None:
    """erase leaves nothing personal of a session"""
    await _erases(store, ["a"], session_id="a")


async def _erases_a_client(store: Store) -> None:
    """erase leaves nothing personal of a client"""
    await _erases(store, ["a", "c"], client_id=CLIENT_ID)


async def _erases(
    store: Store, expected: Sequence[str], *, session_id: str | None = None, client_id: str | None = None
) -> None:
    a, b, c = records_of("a", 4), records_of("b", 2, client_id=OTHER_CLIENT_ID), records_of("c", 2)
    b = [replace(record, ticket=replace(record.ticket, subject="of somebody else")) for record in b]
    await _append(store, *a)
    await _append(store, *b)
    await _append(store, *c[:1])
    await store.commit("early", after=0, position=2, quarantined=[_entry(2, a[1]), _entry(4, a[3]), _entry(5, b[0])])
    for wrong in ({}, {"session_id": "a", "client_id": CLIENT_ID}):
        await raised(
            ValueError,
            store.erase(**wrong),
            "erase raises ValueError unless exactly one of session and client is given",
        )
    kept(not await store.erase(session_id="nobody"), "to erase what is not there erases nothing")
    kept(list(await store.load("a")) == a, "to erase what is not there erases nothing")
    before = await _all(store)
    erased_ids = await store.erase(session_id=session_id, client_id=client_id)
    kept(sorted(erased_ids) == sorted(expected), "erase returns the ids of the sessions that it erased")
    for erased_id in expected:
        await _shows_nothing_personal(store, erased_id)
    after = await _all(store)
    places = [(position, record.session_id, record.seq, record.time) for position, record in after]
    kept(
        places == [(position, record.session_id, record.seq, record.time) for position, record in before],
        "erased records stay in their places",
    )
    kept(identities(await store.load("a")) == identities(a), "erased records can still be loaded")
    kept(list(await store.load("b")) == b, "erase leaves others as they are")
    for records in (a, a[-1:], records_of("a", 5)[4:]):
        error = await raised(
            SessionErased,
            _append(store, *records),
            "an erased session takes no more records: append raises SessionErased",
        )
        kept(error.session_id == "a", "SessionErased names the session")
    kept(await _all(store) == after, "an append that raises SessionErased has stored nothing")
    idle = await store.idle(AT + timedelta(days=1), 10)
    kept(not set(idle) & set(expected), "an erased session is not idle: it takes no more records")
    left = [entry.position for entry in await store.quarantined("early")]
    kept(left == [5], "what was put aside of an erased session is dropped, and nothing else")
    state = await store.state("early")
    kept(state.dropped == {"erased": 1} and state.delivered == 1, _ERASED)
    await store.commit("early", after=2, position=3, quarantined=[_entry(3, a[2])])  # it was on its way meanwhile
    kept([entry.position for entry in await store.quarantined("early")] == [5], "what is erased cannot be put aside")
    await _shows_nothing_personal(store, "a")
    await store.commit("early", after=3, position=6)
    state = await store.state("early")
    kept(state.dropped == {"erased": 3} and state.delivered == 2 and state.quarantined == 1, _ERASED)


_ERASED = "what was put aside of an erased session counts as dropped, as erased, when the position has passed it"


async def _shows_nothing_personal(store: Store, session_id: str) -> None:
    loaded = await store.load(session_id)
    stored = [record for _, record in await _all(store) if record.session_id == session_id]
    aside = [e.record for sink in await store.sinks() for e in await store.quarantined(sink, session_id=session_id)]
    for where, records in (("load", loaded), ("read", stored), ("quarantined", aside)):
        for record in records:
            text = encode(record).decode()
            kept(
                PERSONAL not in text and CLIENT_ID not in text,
                f"nothing that is personal is left after erase ({where})",
            )


# --- Cancellation ---------------------------------------------------------------------------------------------------


async def _can_be_cut_off_appending(store: Store) -> None:
    """an append that is cancelled has stored all its records or none, and can be repeated"""
    for k in count(1):
        records = records_of(f"cut{k}", 3)
        was_cut = await _cut(_append(store, *records), k)
        there = list(await store.load(f"cut{k}"))
        kept(there in ([], records), "an append that is cancelled has stored all its records or none")
        await _append(store, *records)
        kept(list(await store.load(f"cut{k}")) == records, "an append that was cancelled can be repeated")
        again = [record for _, record in await _all(store) if record.session_id == f"cut{k}"]
        kept(again == records, "an append that was cancelled and repeated has stored its records once")
        if not was_cut:
            return


async def _can_be_cut_off_committing(store: Store) -> None:
    """a commit that is cancelled is stored whole or not at all, and can be repeated"""
    records = records_of("a", 2)
    await _append(store, *records)
    for k in count(1):
        sink = f"cut{k}"
        entry = _entry(1, records[0])
        before, after = SinkState(), SinkState(position=2, quarantined=1, dropped={"x": 1})
        was_cut = await _cut(store.commit(sink, after=0, position=2, dropped={"x": 1}, quarantined=[entry]), k)
        state, aside = await store.state(sink), list(await store.quarantined(sink))
        # An abandoned write may come to its end between the two looks.
        whole = state == before or (state == after and aside == [entry])
        kept(whole, "a commit that is cancelled is stored whole or not at all")
        await store.commit(sink, after=0, position=2, dropped={"x": 1}, quarantined=[entry])
        kept(await store.state(sink) == after, "a commit that was cancelled can be repeated, and counts once")
        kept(list(await store.quarantined(sink)) == [entry], "a commit that was cancelled can be repeated")
        if not was_cut:
            return


async def _can_be_cut_off_resolving(store: Store) -> None:
    """what an operator does can be cancelled, is done whole or not at all, and can be repeated"""
    records = records_of("a", 2)
    await _append(store, *records)
    entries = [_entry(position, record) for position, record in enumerate(records, 1)]
    for k in count(1):
        sink = f"cut{k}"
        await store.commit(sink, after=0, position=2, quarantined=entries)
        was_cut = await _cut(store.request_resend(sink), k)
        requested = len(await store.quarantined(sink, requested=True))
        kept(requested in (0, 2), "a request that is cancelled is stored whole or not at all")
        await store.request_resend(sink)
        was_cut |= await _cut(store.put_back(sink, entries[0]), k)
        await store.put_back(sink, entries[0])
        was_cut |= await _cut(store.resolve(sink, 2), k)
        await store.resolve(sink, 2)
        was_cut |= await _cut(store.drop(sink), k)
        await store.drop(sink)
        kept(
            await store.state(sink) == SinkState(position=2, dropped={"operator": 1}),
            "what was resolved, cancelled and resolved again is counted once",
        )
        if not was_cut:
            return


async def _can_be_cut_off_erasing(store: Store) -> None:
    """an erasure that is cancelled is done whole or not at all, and can be repeated"""
    for k in count(1):
        session_id, sink = f"cut{k}", f"sink{k}"
        records = records_of(session_id, 3)
        ack = await _append(store, *records)
        state = await store.state(sink)
        entry = _entry(ack.position, records[-1])
        await store.commit(sink, after=state.position, position=ack.position, quarantined=[entry])
        was_cut = await _cut(store.erase(session_id=session_id), k)
        left = {PERSONAL in encode(record).decode() for record in await store.load(session_id)}
        kept(len(left) == 1, "an erasure that is cancelled is done whole or not at all")
        await store.erase(session_id=session_id)
        await _shows_nothing_personal(store, session_id)
        kept(
            (await store.state(sink)).dropped == {"erased": 1}, "an erasure that was cancelled and repeated counts once"
        )
        if not was_cut:
            return


async def _can_be_cut_off_reading(store: Store) -> None:
    """every call that is cancelled leaves the store as it was"""
    records = records_of("a", 3)
    await _append(store, *records)
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: store.load("a"),
        lambda: store.read(0, 10),
        store.last_position,
        lambda: store.idle(AT + timedelta(days=1), 10),
        store.sinks,
        lambda: store.state(SINK),
        lambda: store.quarantined(SINK),
    ]
    for call in calls:
        expected = await call()
        for k in count(1):
            was_cut = await _cut(call(), k)
            kept(await call() == expected, "a call that was cancelled changes nothing, and can be repeated")
            if not was_cut:
                break
    for k in count(1):
        was_cut = await _cut(store.claim(SINK), k)
        await store.release(SINK)
        kept(await store.claim(SINK) is True, "a claim that was cancelled can be released")
        was_cut |= await _cut(store.release(SINK), k)
        await store.release(SINK)
        kept(await store.claim(SINK) is True, "a release that was cancelled can be repeated")
        await store.release(SINK)
        if not was_cut:
            break
    for k in count(1):
        was_cut = await _cut(store.aclose(), k)
        await store.aclose()
        was_cut |= await _cut(store.open(), k)
        await store.open()
        kept(await store.claim(SINK) is True, "a store can be opened and closed again after it was cancelled")
        if not was_cut:
            return


# --- The whole life -------------------------------------------------------------------------------------------------


async def _can_be_closed_twice(store: Store) -> None:
    """a store can be closed twice, which releases its claims, and opened anew"""
    await store.claim(SINK)
    await store.aclose()
    await store.aclose()
    await store.open()
    kept(await store.claim(SINK) is True, "closing releases what was claimed")
    await store.append(records_of("z", 1), timeout_s=LONG_S)
    kept(len(await store.load("z")) == 1, "a store that was closed can be opened anew")


async def _notices_a_fork(store: Store) -> None:
    """after a fork, the child gets Forked from every call"""
    records = records_of("a", 1)
    await _append(store, *records)
    if not hasattr(os, "fork"):  # pragma: no cover
        return
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: store.append(records, timeout_s=LONG_S),
        lambda: store.load("a"),
        lambda: store.read(0, 10),
        store.last_position,
        lambda: store.state(SINK),
        lambda: store.commit(SINK, after=0, position=1),
        lambda: store.claim(SINK),
        lambda: store.quarantined(SINK),
        lambda: store.resolve(SINK, 1),
        lambda: store.drop(SINK),
        lambda: store.erase(session_id="a"),
    ]
    kept(_all_are_forked(calls), "after a fork, the child gets Forked from every call")
    kept(list(await store.load("a")) == records, "a fork changes nothing for the parent")


def _all_are_forked(calls: Sequence[Callable[[], Coroutine[Any, Any, object]]]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks where there are threads; the child ends at once
        pid = os.fork()
    if not pid:  # pragma: no cover (it would have to write down what was covered)
        os._exit(0 if all(_is_forked(call) for call in calls) else 1)
    return os.waitpid(pid, 0)[1] == 0


def _is_forked(call: Callable[[], Coroutine[Any, Any, object]]) -> bool:  # pragma: no cover (runs in the child)
    try:
        call().send(None)
    except Forked:
        return True
    except BaseException:  # noqa: BLE001 (nothing may leave the child)
        return False
    return False


def _keeps_all(reopen: Callable[[], Store]) -> Callable[[Store], Awaitable[None]]:
    async def check(store: Store) -> None:
        """what is stored is there when the store is opened again"""
        a, b, gone = records_of("a", 4), records_of("b", 2), records_of("gone", 2)
        for records in (a, b, gone):
            await _append(store, *records)
        await store.commit(SINK, after=0, position=4, dropped={"x": 1}, quarantined=[_entry(2, a[1]), _entry(6, b[1])])
        await store.commit("other", after=0, position=2, quarantined=[_entry(1, a[0]), _entry(4, a[3])])
        await store.request_resend(SINK, position=6)
        await store.drop("other", position=1)
        await store.drop("other", position=4)
        await store.commit("other", after=2, position=2, quarantined=[_entry(5, b[0])])
        await store.resolve("other", 5)
        await store.erase(session_id="gone")
        before = await _everything(store)
        await store.claim(SINK)
        await store.aclose()
        again = reopen()
        await again.open()
        try:
            kept(await _everything(again) == before, "records, states and quarantine are there after opening again")
            kept(await again.claim(SINK) is True, "a store that was closed has released its claims")
            for records, position in ((a, 4), (a[2:], 4), (b, 6)):
                ack = await _append(again, *records)
                kept(ack.position == position, "an append can be repeated after opening again")
            kept(await _everything(again) == before, "what is stored is recognised after opening again")
            for wrong in (records_of("a", 4, text="another")[3:], records_of("a", 6)[5:]):
                await raised(
                    SequenceConflict,
                    _append(again, *wrong),
                    "a place that is taken is known after opening again",
                )
            await raised(
                SessionErased,
                _append(again, *records_of("gone", 3)[2:]),
                "an erased session takes no more records after opening again",
            )
            await raised(
                PositionConflict,
                again.commit(SINK, after=0, position=9),
                "where a sink stands is known after opening again",
            )
            ack = await _append(again, *records_of("a", 5)[4:])
            kept(ack.position > 8, "a position is never used again, nor after opening again")
            await again.commit("other", after=2, position=5)
            state = await again.state("other")
            kept(not state.resolved_ahead, "what was resolved is named until the position has passed it")
            kept(state.dropped == {"operator": 2}, "what was resolved beyond the position is known after opening again")
        finally:
            with anyio.move_on_after(LONG_S, shield=True):
                await again.aclose()

    return check


def _shares_all(reopen: Callable[[], Store]) -> Callable[[Store], Awaitable[None]]:
    async def check(store: Store) -> None:
        """several can append to shared data, and one of them delivers to a sink"""
        if not store.shared:
            return
        records = records_of("a", 4)
        await _append(store, *records[:1])
        other = reopen()
        await other.open()
        try:
            await _append(other, *records[1:2])
            kept(list(await store.load("a")) == records[:2], "what one has appended, the other can load")
            kept(await _all(store) == await _all(other), "both read the same records in the same order")
            await raised(
                SequenceConflict,
                _append(store, *records_of("a", 2, text="mine")[1:]),
                "two who share the data do not take one place",
            )
            kept(await store.claim(SINK) is True, "who claims a sink first delivers to it")
            kept(
                await other.claim(SINK) is False, "a sink that is claimed by one who shares the data cannot be claimed"
            )
            await store.release(SINK)
            kept(await other.claim(SINK) is True, "a sink that is released can be claimed by the other")
            await other.aclose()
            kept(await store.claim(SINK) is True, "who closes releases what it has claimed")
            await _append(store, *records[2:])
        finally:
            with anyio.move_on_after(LONG_S, shield=True):
                await other.aclose()

    return check


# --- Means ----------------------------------------------------------------------------------------------------------


async def _append(store: Store, *records: Record) -> Ack:
    return await store.append(records, timeout_s=LONG_S)


async def _all(store: Store) -> list[Stored]:
    return [(position, record) for position, record in await store.read(0, ENOUGH)]


async def _everything(store: Store) -> tuple[list[Stored], object]:
    sinks = list(await store.sinks())
    return await _all(store), (
        [list(await store.load(session_id)) for session_id in ("a", "b", "gone")],
        [(sink, await store.state(sink), list(await store.quarantined(sink))) for sink in sinks],
        await store.last_position(),
    )


def _entry(position: int, record: Record, *, status: int | None = 400) -> Quarantined:
    return Quarantined(position=position, record=record, reason="it was refused", status=status, at=AT)


async def _stands(
    store: Store,
    expected: SinkState,
    *,
    delivered: int,
    promise: str = "a sink's state says what was settled, put aside and dropped",
) -> None:
    state = await store.state(SINK)
    seen = replace(state, dropped=dict(state.dropped), resolved_ahead=dict(state.resolved_ahead))
    kept(seen == expected, promise)
    kept(state.delivered == delivered, "everything up to the position is delivered, quarantined or dropped")


async def _cut(coroutine: Coroutine[Any, Any, object], k: int) -> bool:
    return await cut(coroutine, k, may_raise=AppendUnknown)


_CHECKS: tuple[Callable[[Store], Awaitable[None]], ...] = (
    _is_empty_at_first,
    _counts_positions,
    _reads_from_where_it_is_told,
    _takes_a_place_once,
    _can_append_again,
    _refuses_what_is_no_batch,
    _lists_idle_sessions,
    _finds_sessions_by_their_ids,
    _commits_positions,
    _keeps_quarantine,
    _sends_again,
    _resolves,
    _drops,
    _has_one_deliver,
    _erases_a_session,
    _erases_a_client,
    _hides_nothing_from_a_reader,
    _lets_one_writer_win,
    _can_be_cut_off_appending,
    _can_be_cut_off_committing,
    _can_be_cut_off_resolving,
    _can_be_cut_off_erasing,
    _can_be_cut_off_reading,
    _can_be_closed_twice,
    _notices_a_fork,
)
