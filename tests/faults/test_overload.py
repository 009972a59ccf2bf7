"""Ten times what the sink can take, for a minute in which it takes nothing; then it is there again.

The minute passes on a clock of the test's own; server, sockets and files are real.
"""

import gc
import random
import tracemalloc
from collections import Counter
from pathlib import Path

import anyio
import msgspec
import pytest
from tests.fakes import LONG_S, until

from caseassist import Case, CaseAssist, HTTPSink, MemoryStore
from caseassist.core.errors import StoreFull
from caseassist.core.identity import event_id
from caseassist.stores import sqlite
from caseassist.stores.base import Store
from caseassist.stores.sqlite import SQLiteStore
from caseassist.testing import FakeClock
from caseassist.testing.http import Behaviour, ScriptServer, reply, resets_after_request

SECONDS = 60
SINK_RATE = 5
"""Events a second that the sink could take if it were there."""
RATE = 10 * SINK_RATE
FULL_AFTER_S = 35
"""When the store in memory is full."""
BOUND = RATE * FULL_AFTER_S
SESSIONS = 50
IN_FLIGHT = 4
BATCH_RECORDS = 16
"""Four batches are read ahead, and add to what the store keeps: a small part of it."""
NOISE_BYTES = 32_768
"""The server keeps the requests, and so on."""


class Overload:
    """Records at a rate and keeps count. ``lengths``: how much was recorded of each session; ``refused``: how much was
    not."""

    def __init__(self, store: Store, server: ScriptServer, append_timeout_s: float = LONG_S) -> None:
        self.store, self.server = store, server
        self.clock = FakeClock(auto=False)
        sink = HTTPSink(server.url, token="t", name="collector", sessions_at_once=IN_FLIGHT)
        sink.batch_records = BATCH_RECORDS
        self.lengths = [0] * SESSIONS  # and no list of what was recorded: memory is measured here
        self.refused = 0
        self.assist = CaseAssist(
            {"searchHub": "overload"},
            store=store,
            sinks=[sink],
            append_timeout_s=append_timeout_s,
            drain_timeout_s=LONG_S,
            rng=random.Random(19),
            clock=self.clock.clock,
            monotonic=self.clock.monotonic,
            sleep=self.clock.sleep,
        )
        self.cases: list[Case] = []

    async def begin(self) -> None:
        for number in range(SESSIONS):
            case = await self.assist.start(session_id=f"s{number}")
            self.lengths[number] = 1
            self.cases.append(case)
        assert (await self.assist.flush(LONG_S)).complete

    async def act(self, session: int, times: int) -> None:
        for number in range(times):
            try:
                record = await self.cases[session].update_field("description", f"{number:200}")
            except StoreFull:
                self.refused += 1
            else:
                assert record.seq == self.lengths[session]
                self.lengths[session] += 1

    async def act_in_all(self, times: int) -> None:
        async with anyio.create_task_group() as tasks:
            for session in range(SESSIONS):
                tasks.start_soon(self.act, session, times)

    @property
    def accepted(self) -> int:
        return sum(self.lengths)

    def identities(self) -> dict[str, tuple[str, int]]:
        """What was recorded, by the id on the wire."""
        return {
            event_id(case.id, seq): (case.id, seq)
            for case, length in zip(self.cases, self.lengths, strict=True)
            for seq in range(length)
        }

    async def pass_a_second(self) -> None:
        """Whoever is on the line gets an answer first: a request takes no time on this clock."""
        await until(lambda: self.clock.sleeping and not self.server.at_once)
        self.balance()
        await self.clock.advance(1)

    def balance(self) -> None:
        (books,) = self.assist.report().sinks
        assert books.accepted == self.accepted
        assert books.accepted == books.delivered + books.pending + books.quarantined + sum(books.dropped.values())
        if isinstance(self.store, MemoryStore):
            assert len(self.store) <= self.store.max_records

    async def recover(self) -> None:
        """The server is there again: everything is delivered."""
        self.server.then = reply()
        await self.clock.advance(SECONDS)
        report = await self.assist.flush(10 * LONG_S)
        assert report.complete
        self.balance()


def memory_in_use() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def arrived(server: ScriptServer, begin: int = 0) -> list[str]:
    return [msgspec.json.decode(request.body)["z"] for request in server.requests[begin:]]


def check_order(identities: dict[str, tuple[str, int]], arrived: list[str]) -> None:
    """Of each session, what arrives for the first time comes in order."""
    last: Counter[str] = Counter()
    for z in dict.fromkeys(arrived):
        session_id, seq = identities[z]
        assert seq >= last[session_id]
        last[session_id] = seq


@pytest.mark.parametrize("policy", ["reject", "drop_oldest", "sqlite"])
async def test_in_an_outage_memory_and_requests_are_bounded_and_all_that_was_accepted_arrives(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is kept for who delivers it is a part of the bound, and has to be full when that is measured.
    monkeypatch.setattr(sqlite, "RECENT_BYTES", 256 * 1024)
    store: Store
    outage: Behaviour = reply(503)
    if policy == "sqlite":
        store, outage = SQLiteStore(tmp_path / "cases.db", durability="os"), resets_after_request()
    elif policy == "reject":
        store = MemoryStore(max_records=BOUND, when_full="reject")
    else:
        store = MemoryStore(max_records=BOUND, when_full="drop_oldest")
    async with ScriptServer() as server:
        overload = Overload(store, server)
        async with overload.assist as assist:
            await overload.begin()
            server.then = outage
            before = server.played
            tracemalloc.start()
            try:
                empty = full = memory_in_use()
                for second in range(SECONDS):
                    await overload.act_in_all(RATE // SESSIONS)
                    await overload.pass_a_second()
                    if second == FULL_AFTER_S:
                        full = memory_in_use()
                at_the_end = memory_in_use()
            finally:
                tracemalloc.stop()
            in_the_outage = server.played - before
            assert not assist.health().ok
            await overload.recover()
            (books,) = assist.report().sinks
    assert at_the_end - empty <= 1.1 * (full - empty) + NOISE_BYTES
    assert in_the_outage <= 1.1 * RATE * SECONDS
    assert in_the_outage <= IN_FLIGHT + SECONDS, "and that is many more than were needed"
    assert overload.accepted + overload.refused == SESSIONS + RATE * SECONDS
    expected = overload.identities()
    answered = set(arrived(server, before + in_the_outage)) | set(arrived(server)[:before])
    check_order(expected, arrived(server))
    assert answered <= expected.keys()
    if policy == "drop_oldest":
        assert overload.refused == 0
        assert books.dropped == {"removed": books.accepted - books.delivered}
        assert len(answered) == books.delivered >= BOUND
    else:
        assert (overload.refused > 0) == (policy == "reject")
        assert books.delivered == books.accepted == len(expected)
        assert answered == expected.keys()


async def test_whoever_waits_for_room_in_an_outage_gets_it_afterwards(tmp_path: Path) -> None:
    async with ScriptServer() as server:
        overload = Overload(MemoryStore(max_records=BOUND, when_full="wait"), server, append_timeout_s=10 * LONG_S)
        async with overload.assist:
            await overload.begin()
            server.then = reply(503)
            before = server.played
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(overload.act_in_all, RATE * SECONDS // SESSIONS)
                for _ in range(SECONDS):
                    await overload.pass_a_second()
                assert SESSIONS < overload.accepted <= BOUND + SESSIONS
                in_the_outage = server.played - before
                server.then = reply()
                await overload.clock.advance(SECONDS)
            await overload.recover()
            (books,) = overload.assist.report().sinks
    assert in_the_outage <= IN_FLIGHT + SECONDS
    assert overload.refused == 0
    assert books.delivered == books.accepted == overload.accepted == SESSIONS + RATE * SECONDS
    assert set(arrived(server)) == overload.identities().keys()
    check_order(overload.identities(), arrived(server))
