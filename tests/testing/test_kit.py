"""The public kit: it takes what keeps its promises and names the promise that something else breaks."""

import io
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from caseassist import CaseAssist, FileSink, MemorySink
from caseassist.core.erasure import erased
from caseassist.core.errors import (
    PositionConflict,
    SequenceConflict,
    SinkRefused,
    SinkUnavailable,
    StoreFull,
    StoreUnavailable,
)
from caseassist.core.records import Record, decode_lines
from caseassist.sinks.stream import StreamSink
from caseassist.stores.base import Ack, Quarantined, SinkState, Stored
from caseassist.stores.memory import MemoryStore
from caseassist.testing import CancelledAt, FakeClock, check_sink, check_store, cut_off

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def what_hangs_is_known_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caseassist.testing.stores.LONG_S", 2.0)
    monkeypatch.setattr("caseassist.testing.sinks.LONG_S", 2.0)


# --- Stores that break a promise ------------------------------------------------------------------------------------


class TakesAPlaceTwice(MemoryStore):
    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        try:
            return await super().append(records, timeout_s=timeout_s)
        except SequenceConflict:
            return Ack(await self.last_position(), "memory")


class LeavesGaps(MemoryStore):
    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        kept = self._sessions.get(records[0].session_id) if records else None
        if kept is not None and records[0].seq > kept.next_seq:
            kept.next_seq = records[0].seq
        return await super().append(records, timeout_s=timeout_s)


class StoresAgain(MemoryStore):
    def _position_if_stored(self, records: Sequence[Record]) -> int | None:
        return super()._position_if_stored(records) and None


class ForgetsWhatItHasStored(MemoryStore):
    def _position_if_stored(self, records: Sequence[Record]) -> int | None:
        position = super()._position_if_stored(records)
        if position is not None and position < self._last:
            raise SequenceConflict(records[0].session_id, expected=records[0].seq, found=records[0].seq + 1)
        return position


class WritesHalf(MemoryStore):
    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        ack = await super().append(records[:1], timeout_s=timeout_s)
        return await super().append(records[1:], timeout_s=timeout_s) if records[1:] else ack


class NamesTheWrongPlace(MemoryStore):
    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        try:
            return await super().append(records, timeout_s=timeout_s)
        except SequenceConflict as error:
            raise SequenceConflict(error.session_id, expected=error.found, found=error.expected) from None


class TakesAnyNumber(MemoryStore):
    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        if len(records) > 256:
            await super().append(records[:256], timeout_s=timeout_s)
            return await super().append(records[256:], timeout_s=timeout_s)
        return await super().append(records, timeout_s=timeout_s)


class CountsFromZero(MemoryStore):
    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        return Ack((await super().append(records, timeout_s=timeout_s)).position - 1, "memory")


class LoadsBackwards(MemoryStore):
    async def load(self, session_id: str) -> Sequence[Record]:
        return list(await super().load(session_id))[::-1]


class ReadsBackwards(MemoryStore):
    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        return list(await super().read(after, limit))[::-1]


class ReadsOneMore(MemoryStore):
    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        return await super().read(after, limit + 1)


class ShowsLate(MemoryStore):
    """As a table whose numbers are given before the commit."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[int] = set()

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        ack = await super().append(records, timeout_s=timeout_s)
        if ack.position % 3 == 0:
            self.hidden.add(ack.position)
            for _ in range(20):
                await checkpoint()
            self.hidden.remove(ack.position)
        return ack

    async def read(self, after: int, limit: int) -> Sequence[Stored]:
        return [stored for stored in await super().read(after, limit) if stored[0] not in self.hidden]

    async def last_position(self) -> int:
        return max((position for position, _ in await self.read(0, 1000)), default=0)


class DoesNotKnowItsEnd(MemoryStore):
    async def last_position(self) -> int:
        return 0


class BreaksOnNothing(MemoryStore):
    async def load(self, session_id: str) -> Sequence[Record]:
        return [record for _, record in self._sessions[session_id].stored]


class LosesTheQuarantine(MemoryStore):
    async def commit(self, sink: str, *, after: int, position: int, **options: Any) -> None:
        await super().commit(sink, after=after, position=position, dropped=options.get("dropped"))


class GoesBack(MemoryStore):
    async def commit(self, sink: str, *, after: int, position: int, **options: Any) -> None:
        try:
            await super().commit(sink, after=after, position=position, **options)
        except PositionConflict:
            self._positions[sink] = position


class CountsTwice(MemoryStore):
    async def commit(
        self,
        sink: str,
        *,
        after: int,
        position: int,
        dropped: Mapping[str, int] | None = None,
        quarantined: Sequence[Quarantined] = (),
    ) -> None:
        if dropped and self._positions[sink] == position:
            self._asides[sink].dropped.update(dropped)
        await super().commit(sink, after=after, position=position, dropped=dropped, quarantined=quarantined)


class CommitsInTwoSteps(MemoryStore):
    async def commit(
        self,
        sink: str,
        *,
        after: int,
        position: int,
        dropped: Mapping[str, int] | None = None,
        quarantined: Sequence[Quarantined] = (),
    ) -> None:
        await super().commit(sink, after=after, position=position, dropped=dropped)
        await checkpoint()
        if quarantined and self._positions[sink] == position:
            await super().commit(sink, after=position, position=position, quarantined=quarantined)


class AppendsInTwoSteps(MemoryStore):
    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        if len(records) != 3 or self._position_if_stored(records) is not None:
            return await super().append(records, timeout_s=timeout_s)
        await super().append(records[:1], timeout_s=timeout_s)
        await checkpoint()
        return await super().append(records[1:], timeout_s=timeout_s)


class KeepsItsLock(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.busy = False

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        while self.busy:
            await checkpoint()
        ack = await super().append(records, timeout_s=timeout_s)
        self.busy = True
        await checkpoint()
        self.busy = False
        return ack


class IsAnybodys(MemoryStore):
    async def claim(self, sink: str) -> bool:
        return await super().claim(sink) or True


class LetsNothingGo(MemoryStore):
    async def release(self, sink: str) -> None:
        return


class KeepsClaimsWhenClosed(MemoryStore):
    async def aclose(self) -> None:
        return


class NamesSinksInAnyOrder(MemoryStore):
    async def sinks(self) -> Sequence[str]:
        return sorted(await super().sinks(), reverse=True)


class ListsEverySession(MemoryStore):
    async def quarantined(self, sink: str, **options: Any) -> Sequence[Quarantined]:
        return await super().quarantined(sink, **(options | {"session_id": None}))


class AlwaysSendsAgain(MemoryStore):
    async def put_back(self, sink: str, entry: Quarantined) -> bool:
        return await super().put_back(sink, replace(entry, requested=True))


class ForgetsWhoDropped(MemoryStore):
    async def drop(self, sink: str, **options: Any) -> int:
        dropped = await super().quarantined(sink, session_id=options.get("session_id"))
        chosen = [entry.position for entry in dropped if options.get("position") in (None, entry.position)]
        return sum([await super(ForgetsWhoDropped, self).resolve(sink, position) for position in chosen])


class DropsEverySession(MemoryStore):
    async def drop(self, sink: str, **options: Any) -> int:
        return await super().drop(sink, **(options | {"session_id": None}))


class DropsForAllSinks(MemoryStore):
    async def drop(self, sink: str, **options: Any) -> int:
        dropped = await super().drop(sink, **options)
        for name in self._positions:
            await super().drop(name, **options)
        return dropped


class ForgetsWhatWasDeliveredAhead(MemoryStore):
    async def resolve(self, sink: str, position: int) -> bool:
        there = await super().resolve(sink, position)
        if there:
            self._asides[sink].ahead.pop(position, None)
        return there


class CountsDeliveredAsDropped(MemoryStore):
    async def commit(self, sink: str, **options: Any) -> None:
        ahead = dict(self._asides[sink].ahead) if sink in self._asides else {}
        await super().commit(sink, **options)
        passed = sum(why == "delivered" and position <= options["position"] for position, why in ahead.items())
        if passed:
            self._asides[sink].dropped["delivered"] += passed


class ResolvesAnything(MemoryStore):
    async def resolve(self, sink: str, position: int) -> bool:
        return await super().resolve(sink, position) or True


class CountsAhead(MemoryStore):
    async def state(self, sink: str) -> SinkState:
        state = await super().state(sink)
        ahead = self._asides[sink].ahead.values() if sink in self._asides else ()
        counts = {reason: state.dropped.get(reason, 0) for reason in (*state.dropped, *ahead)}
        return replace(state, dropped={r: n + list(ahead).count(r) for r, n in counts.items()})


class ListsWhatHasEnded(MemoryStore):
    async def idle(self, before: datetime, limit: int, after: str | None = None) -> Sequence[str]:
        return list(self._sessions)[:limit]


class BeginsAnewEachTime(MemoryStore):
    async def idle(self, before: datetime, limit: int, after: str | None = None) -> Sequence[str]:
        return await super().idle(before, limit)


class ListsTheSmallestFirst(MemoryStore):
    async def sessions(self, prefix: str, limit: int) -> Sequence[str]:
        return (await super().sessions(prefix, limit))[::-1]


class ListsWhatItIsNotAskedFor(MemoryStore):
    async def sessions(self, prefix: str, limit: int) -> Sequence[str]:
        return await super().sessions("", limit)


class ErasesTheClientOnly(MemoryStore):
    async def erase(self, *, session_id: str | None = None, client_id: str | None = None) -> Sequence[str]:
        tickets = {record: record.ticket for kept in self._sessions.values() for _, record in kept.stored}
        ids = await super().erase(session_id=session_id, client_id=client_id)
        for kept in (self._sessions[each] for each in ids):
            before = {record.seq: ticket for record, ticket in tickets.items() if record.session_id in ids}
            for index, (position, record) in enumerate(kept.stored):
                kept.stored[index] = (position, replace(record, ticket=before[record.seq]))
        return ids


class ErasesNoQuarantine(MemoryStore):
    def _erase(self, session_ids: set[str]) -> None:
        asides, self._asides = self._asides, {}
        super()._erase(session_ids)
        self._asides = asides


class ErasesAndTakesMore(MemoryStore):
    async def erase(self, *, session_id: str | None = None, client_id: str | None = None) -> Sequence[str]:
        ids = await super().erase(session_id=session_id, client_id=client_id)
        for each in ids:
            self._sessions[each].erased = False
        return ids


class ErasesByHalves(MemoryStore):
    async def erase(self, *, session_id: str | None = None, client_id: str | None = None) -> Sequence[str]:
        if session_id is not None and session_id.startswith("cut"):
            kept = self._sessions[session_id]
            position, record = kept.stored[0]
            kept.stored[0] = (position, erased(record))
            await checkpoint()
        return await super().erase(session_id=session_id, client_id=client_id)


class PutsAsideWhatIsErased(MemoryStore):
    async def commit(self, sink: str, *, after: int, position: int, **options: Any) -> None:
        gone = [kept for kept in self._sessions.values() if kept.erased]
        for kept in gone:
            kept.erased = False
        await super().commit(sink, after=after, position=position, **options)
        for kept in gone:
            kept.erased = True


class DoesNotNoticeAFork(MemoryStore):
    def _check_process(self) -> None:
        return


class EndsWhenClosed(MemoryStore):
    closed = False

    async def aclose(self) -> None:
        await super().aclose()
        self.closed = True

    async def append(self, records: Sequence[Record], *, timeout_s: float) -> Ack:
        if self.closed:
            raise StoreUnavailable("it is closed")
        return await super().append(records, timeout_s=timeout_s)


BROKEN_STORES: list[tuple[type[MemoryStore], str]] = [
    (TakesAPlaceTwice, "an append to a place that is taken, or leaves a gap, raises SequenceConflict"),
    (LeavesGaps, "an append to a place that is taken, or leaves a gap, raises SequenceConflict"),
    (StoresAgain, "appending again what is stored stores nothing"),
    (ForgetsWhatItHasStored, "appending the very records that are stored already succeeds"),
    (WritesHalf, "an append to a place that is taken, or leaves a gap, raises SequenceConflict"),
    (NamesTheWrongPlace, "a SequenceConflict names the place"),
    (TakesAnyNumber, "append raises ValueError unless it gets 1 to 256 records"),
    (CountsFromZero, "counted from 1"),
    (LoadsBackwards, "load returns the records of one session, oldest first"),
    (ReadsBackwards, "read returns the records in the order of their positions"),
    (ReadsOneMore, "up to the limit"),
    (ShowsLate, "a reader misses nothing while others append"),
    (DoesNotKnowItsEnd, "last_position is that of the newest record"),
    (BreaksOnNothing, "a new store is empty, and says so (it raised KeyError)"),
    (LosesTheQuarantine, "a position and what was put aside on the way to it are one commit"),
    (GoesBack, "a commit raises PositionConflict when the sink stands neither at after nor at position"),
    (CountsTwice, "what was dropped is counted once, by reason"),
    (CommitsInTwoSteps, "a commit that is cancelled is stored whole or not at all"),
    (AppendsInTwoSteps, "an append that is cancelled has stored all its records or none"),
    (IsAnybodys, "a sink that is claimed cannot be claimed again"),
    (LetsNothingGo, "a sink that is released can be claimed"),
    (KeepsClaimsWhenClosed, "closing releases what was claimed"),
    (NamesSinksInAnyOrder, "sinks are named in order"),
    (ListsEverySession, "what was put aside can be listed by session"),
    (AlwaysSendsAgain, "what was put back is not requested any more"),
    (ForgetsWhoDropped, "what an operator drops is counted as operator"),
    (ResolvesAnything, "resolve is False for what is not in quarantine"),
    (DropsForAllSinks, "to drop for one sink changes nothing for another"),
    (DropsEverySession, "drop returns how many it dropped"),
    (ForgetsWhatWasDeliveredAhead, "what is resolved beyond the position is named"),
    (CountsDeliveredAsDropped, "what was resolved beyond the position is counted when the position has passed it"),
    (CountsAhead, "what is resolved beyond the position is named, and not counted before the position has passed it"),
    (ListsWhatHasEnded, "idle lists sessions that have not ended"),
    (BeginsAnewEachTime, "idle goes on after a session"),
    (ListsTheSmallestFirst, "sessions lists the ids that begin with a prefix"),
    (ListsWhatItIsNotAskedFor, "sessions lists the ids that begin with a prefix"),
    (ErasesTheClientOnly, "nothing that is personal is left after erase (load)"),
    (ErasesNoQuarantine, "nothing that is personal is left after erase (quarantined)"),
    (ErasesAndTakesMore, "an erased session takes no more records"),
    (ErasesByHalves, "an erasure that is cancelled is done whole or not at all"),
    (PutsAsideWhatIsErased, "what is erased cannot be put aside"),
    (DoesNotNoticeAFork, "after a fork, the child gets Forked from every call"),
    (EndsWhenClosed, "a store can be closed twice, which releases its claims, and opened anew"),
]


@pytest.mark.parametrize(("store", "promise"), BROKEN_STORES, ids=[store.__name__ for store, _ in BROKEN_STORES])
async def test_a_store_that_breaks_a_promise_is_told_which(store: type[MemoryStore], promise: str) -> None:
    with pytest.raises(AssertionError) as caught:
        await check_store(store)
    assert promise in str(caught.value)


@pytest.mark.usefixtures("what_hangs_is_known_soon")
async def test_a_store_that_hangs_is_told_which_promise_it_breaks() -> None:
    with pytest.raises(AssertionError, match=r"stored all its records or none, and can be repeated.*TimeoutError"):
        await check_store(KeepsItsLock)


async def test_a_store_that_has_too_little_room_is_told_by_the_kind_of_error() -> None:
    with pytest.raises(AssertionError, match=r"raised StoreFull") as caught:
        await check_store(lambda: MemoryStore(max_records=2, when_full="reject"))
    assert isinstance(caught.value.__cause__, StoreFull)


# --- Stores that are opened again -----------------------------------------------------------------------------------


class Disk:
    """Makes stores whose data outlives them."""

    def __init__(self, forget: Callable[[MemoryStore], object] = lambda store: None, *, shared: bool = False) -> None:
        self.store = MemoryStore()
        self.forget = forget
        self.shared = shared

    def make(self) -> MemoryStore:
        self.store = MemoryStore()
        self.store.shared = self.shared
        return self.store

    def reopen(self) -> MemoryStore:
        again = MemoryStore()
        again.__dict__.update(self.store.__dict__)
        self.forget(again)
        return again


async def test_a_store_that_keeps_everything_may_be_opened_again() -> None:
    disk = Disk()
    await check_store(disk.make, reopen=disk.reopen)


BROKEN_DISKS: list[tuple[Callable[[MemoryStore], object], str]] = [
    (lambda store: setattr(store, "_sessions", type(store._sessions)()), "are there after opening again"),
    (lambda store: setattr(store, "_asides", {}), "are there after opening again"),
    (lambda store: setattr(store, "_positions", {"sink": 4, "other": 0}), "are there after opening again"),
    (lambda store: setattr(store, "_claims", {"sink"}), "a store that was closed has released its claims"),
    (lambda store: setattr(store, "_last", 0), "a position is never used again"),
    (lambda store: setattr(store._sessions["gone"], "erased", False), "an erased session takes no more records"),
    (lambda store: store._asides["other"].ahead.clear(), "are there after opening again"),
]


@pytest.mark.parametrize(("forget", "promise"), BROKEN_DISKS)
async def test_a_store_that_forgets_is_told_what(forget: Callable[[MemoryStore], object], promise: str) -> None:
    disk = Disk(forget)
    with pytest.raises(AssertionError) as caught:
        await check_store(disk.make, reopen=disk.reopen)
    assert promise in str(caught.value)


async def test_data_that_are_shared_have_one_deliver() -> None:
    disk = Disk(shared=True)
    await check_store(disk.make, reopen=disk.reopen)
    disk = Disk(lambda store: setattr(store, "_claims", set()), shared=True)
    with pytest.raises(AssertionError, match="claimed by one who shares the data cannot be claimed"):
        await check_store(disk.make, reopen=disk.reopen)


# --- Sinks ----------------------------------------------------------------------------------------------------------


class Sinks:
    """Makes sinks of one kind that share what they have taken."""

    def __init__(self, kind: Callable[[], MemorySink] = MemorySink) -> None:
        self.kind = kind
        self.taken: list[Record] = []

    def make(self) -> MemorySink:
        sink = self.kind()
        sink.records = self.taken
        return sink

    async def check(self) -> None:
        await check_sink(self.make, lambda: self.taken)


async def test_the_memory_sink_keeps_its_promises() -> None:
    await Sinks().check()
    await check_sink(MemorySink)


async def test_the_file_sink_keeps_its_promises(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"

    def taken() -> list[Record]:
        return list(decode_lines(path.read_bytes().splitlines())) if path.exists() else []

    await check_sink(lambda: FileSink(path), taken)
    await check_sink(lambda: FileSink(path, batch_records=1, fsync=True), taken)


async def test_the_stream_sink_keeps_its_promises() -> None:
    stream = io.BytesIO()
    await check_sink(lambda: StreamSink(stream), lambda: list(decode_lines(stream.getvalue().splitlines())))


class TakesFewSessionsAtOnce(MemorySink):
    sessions_at_once = 4
    batch_records = 1

    async def deliver(self, records: Sequence[Record]) -> None:
        await checkpoint()
        await super().deliver(records)


class RefusesEveryThird(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        for delivered, record in enumerate(records):
            if record.seq % 3 == 2:
                raise SinkRefused("not this one", delivered=delivered)
            self.records.append(record)


class IsUnavailableAtTimes(MemorySink):
    tries = 0

    async def deliver(self, records: Sequence[Record]) -> None:
        self.tries += 1
        if self.tries % 2:
            await super().deliver(records[:1])
            raise SinkUnavailable("busy", delivered=1, retry_after_s=0.0)
        await super().deliver(records)


@pytest.mark.parametrize("kind", [TakesFewSessionsAtOnce, RefusesEveryThird, IsUnavailableAtTimes])
async def test_a_sink_may_take_sessions_side_by_side_refuse_records_and_be_unavailable(kind: type[MemorySink]) -> None:
    await Sinks(kind).check()


class HasNoName(MemorySink):
    def __init__(self) -> None:
        super().__init__(name="")


class ChangesItsName(MemorySink):
    def __init__(self) -> None:
        super().__init__(name=str(id(self)))
        self.others = kept_alive
        self.others.append(self)


kept_alive: list[MemorySink] = []


class TakesNone(MemorySink):
    batch_records = 0


class ServesNobody(MemorySink):
    sessions_at_once = 0


class LingersForEver(MemorySink):
    linger_s = math.inf


class DoesSomethingElse(MemorySink):
    on_refused = "ignore"  # type: ignore[assignment]


class RenamesItself(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        await super().deliver(records)
        self.name = "another"


class TakesBackwards(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        await super().deliver(records[::-1])


class LosesTheLast(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        await super().deliver(records[:9])


class TakesTwice(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        await super().deliver([*records, *records])


class ChangesRecords(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        await super().deliver([erased(record) for record in records])


class TakesThemOut(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        await super().deliver(records)
        assert isinstance(records, list)
        records.clear()


class RaisesWhatItLikes(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        raise OSError("full")


class CountsTheRefused(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        await super().deliver(records)
        raise SinkRefused("the last one", delivered=len(records))


class IsNeverAvailable(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        raise SinkUnavailable("never")


class AsksForThePast(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        raise SinkUnavailable("in the past", retry_after_s=-1.0)


class TakesNothingTwice(MemorySink):
    async def deliver(self, records: Sequence[Record]) -> None:
        if records[0] in self.records:
            raise SinkUnavailable("again")
        await super().deliver(records)


class StaysLocked(MemorySink):
    def __init__(self) -> None:
        super().__init__()
        self.busy = False

    async def deliver(self, records: Sequence[Record]) -> None:
        while self.busy:
            await checkpoint()
        self.busy = True
        await checkpoint()
        await super().deliver(records)
        self.busy = False


class ServesOneAtATime(MemorySink):
    sessions_at_once = 4
    busy = False

    async def deliver(self, records: Sequence[Record]) -> None:
        assert not self.busy or records[0].session_id.startswith("cut")
        self.busy = True
        await checkpoint()
        self.busy = False
        await super().deliver(records)


class CannotBeClosed(MemorySink):
    async def aclose(self) -> None:
        raise RuntimeError("not open")


class KeepsItsPlace(MemorySink):
    """Whoever is cut off while it closes leaves the place taken."""

    taken = False

    async def open(self) -> None:
        if KeepsItsPlace.taken:
            raise SinkUnavailable("somebody is there")
        KeepsItsPlace.taken = True

    async def aclose(self) -> None:
        await checkpoint()
        KeepsItsPlace.taken = False


BROKEN_SINKS: list[tuple[type[MemorySink], str]] = [
    (HasNoName, "a sink has a name"),
    (ChangesItsName, "a sink has the same name after a restart"),
    (TakesNone, "batch_records is at least 1"),
    (ServesNobody, "sessions_at_once is at least 1"),
    (LingersForEver, "linger_s is a number of seconds"),
    (DoesSomethingElse, "on_refused is"),
    (RenamesItself, "a sink keeps its name"),
    (TakesBackwards, "a sink takes what it is given, in order"),
    (LosesTheLast, "a sink takes what it is given, in order"),
    (TakesTwice, "a sink takes what it is given, in order"),
    (ChangesRecords, "a sink delivers records as they are"),
    (TakesThemOut, "a sink leaves the records that it is given as they are"),
    (RaisesWhatItLikes, "deliver raises SinkUnavailable or SinkRefused, and nothing else (it raised OSError)"),
    (CountsTheRefused, "an error says in delivered how many"),
    (IsNeverAvailable, "a sink whose place can be reached takes what it is given"),
    (AsksForThePast, "retry_after_s is at least 0 seconds"),
    (TakesNothingTwice, "a sink whose place can be reached takes what it is given"),
    (ServesOneAtATime, "deliver raises SinkUnavailable or SinkRefused, and nothing else"),
    (CannotBeClosed, "a sink can be closed (it raised RuntimeError)"),
    (KeepsItsPlace, "a sink whose closing was cancelled leaves its place to the next one"),
]


@pytest.mark.parametrize(("kind", "promise"), BROKEN_SINKS, ids=[kind.__name__ for kind, _ in BROKEN_SINKS])
async def test_a_sink_that_breaks_a_promise_is_told_which(
    kind: type[MemorySink], promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeepsItsPlace, "taken", False)
    monkeypatch.setattr("caseassist.testing.sinks.PAUSE_S", 0.0)
    with pytest.raises(AssertionError) as caught:
        await Sinks(kind).check()
    assert promise in str(caught.value)


@pytest.mark.usefixtures("what_hangs_is_known_soon")
async def test_a_sink_that_hangs_is_told_which_promise_it_breaks() -> None:
    with pytest.raises(AssertionError, match=r"a delivery that was cancelled can be repeated .*TimeoutError"):
        await Sinks(StaysLocked).check()


# --- Cancellation ---------------------------------------------------------------------------------------------------


async def test_a_call_is_cut_off_at_the_wait_that_was_asked_for() -> None:
    done: list[int] = []

    async def call() -> str:
        for n in range(3):
            await checkpoint()
            done.append(n)
        return "done"

    assert await cut_off(call(), 2) == (True, None)
    assert done == [0]
    assert await cut_off(call(), 99) == (False, "done")


async def test_the_waits_of_a_call_are_counted() -> None:
    async def call() -> None:
        await checkpoint()
        await checkpoint()

    with anyio.CancelScope() as scope:
        run = CancelledAt(call(), scope, 0)
        await run
    once, twice = run.waits, 0
    with anyio.CancelScope() as scope:
        run = CancelledAt(call(), scope, 0)
        await run
        twice = run.waits
    assert once == twice >= 2


# --- The clock ------------------------------------------------------------------------------------------------------


async def test_time_passes_only_when_it_is_told_to() -> None:
    fake = FakeClock(auto=False)
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await fake.sleep(seconds)
        woken.append((seconds, fake.monotonic()))

    async with anyio.create_task_group() as tasks:
        for seconds in (30.0, 10.0, 20.0, 0.0):
            tasks.start_soon(sleeper, seconds)
        await fake.advance(0)
        assert woken == [(0.0, 0.0)]
        assert fake.sleeping == 3
        await fake.advance(25)
        assert woken[1:] == [(10.0, 10.0), (20.0, 20.0)]
        assert (fake.monotonic(), fake.clock()) == (25.0, START + timedelta(seconds=25))
        await fake.advance(5)
    assert woken[3:] == [(30.0, 30.0)]
    assert fake.sleeping == 0


async def test_who_sleeps_again_meanwhile_has_its_turn() -> None:
    fake = FakeClock(auto=False)
    ticks: list[float] = []

    async def ticking() -> None:
        while True:
            await fake.sleep(1)
            ticks.append(fake.monotonic())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ticking)
        await fake.advance(3.5)
        assert ticks == [1.0, 2.0, 3.0]
        tasks.cancel_scope.cancel()
    assert fake.sleeping == 0


async def test_time_jumps_when_everybody_sleeps() -> None:
    fake = FakeClock()
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await fake.sleep(seconds)
        woken.append(seconds)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for seconds in (3600.0, 0.5, 7200.0, 60.0):
                tasks.start_soon(sleeper, seconds)
    assert woken == [0.5, 60.0, 3600.0, 7200.0]
    assert fake.monotonic() == 7200.0


async def test_who_is_cancelled_while_it_sleeps_holds_nobody_up() -> None:
    fake = FakeClock()
    woken: list[float] = []

    async def sleeper(seconds: float, scope: anyio.CancelScope) -> None:
        with scope:
            await fake.sleep(seconds)
            woken.append(seconds)

    first, last = anyio.CancelScope(), anyio.CancelScope()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sleeper, 1.0, first)
            tasks.start_soon(sleeper, 2.0, anyio.CancelScope())
            tasks.start_soon(sleeper, math.inf, last)
            await checkpoint()
            first.cancel()
            while not woken:
                await checkpoint()
            assert fake.sleeping == 1
            last.cancel()
    assert (woken, fake.monotonic()) == ([2.0], 2.0)


async def test_the_wall_clock_can_be_set_without_anybody_waking() -> None:
    fake = FakeClock(START, auto=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fake.sleep, 60)
        await fake.advance(0)
        fake.jump(86_400)
        assert fake.clock() == START + timedelta(days=1)
        fake.jump(-86_400 - 3600)
        await fake.advance(10)
        assert fake.clock() == START + timedelta(seconds=10 - 3600)
        assert (fake.monotonic(), fake.sleeping) == (10.0, 1)
        assert repr(fake) == "<FakeClock 2025-12-31T23:00:10+00:00, 1 sleeping>"
        await fake.advance(50)


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
async def test_time_does_not_go_back_and_comes_to_no_end(seconds: float) -> None:
    with pytest.raises(ValueError, match="time can only go on"):
        await FakeClock().advance(seconds)


def test_a_clock_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001


class FailsAtFirst(MemorySink):
    failures = 5

    async def deliver(self, records: Sequence[Record]) -> None:
        if self.failures:
            self.failures -= 1
            raise SinkUnavailable("down", retry_after_s=600)
        await super().deliver(records)


async def test_an_outage_of_an_hour_is_over_in_no_time() -> None:
    fake, sink = FakeClock(START), FailsAtFirst()
    with anyio.fail_after(30):
        async with CaseAssist(sinks=[sink], clock=fake.clock, sleep=fake.sleep) as assist:
            case = await assist.start()
            await case.solve()
            while len(sink.records) < 2:
                await checkpoint()
    assert sink.records[0].time == START
    assert fake.monotonic() >= 5 * 600


# --- What it is made of ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("imports", "found"), [("caseassist", "[]"), ("caseassist.testing", "['caseassist.testing']")])
def test_the_library_does_not_import_it_and_it_needs_no_test_framework(imports: str, found: str) -> None:
    program = (
        f"import sys, {imports}; print([m for m in ('caseassist.testing', 'pytest', '_pytest') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found
