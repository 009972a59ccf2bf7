"""What must hold beside the tests of each module: bugs that those would not notice."""

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.fakes import AT, LONG_S, Gate, ScriptedSink, records_of

from caseassist import CaseAssist, Context
from caseassist.core.errors import StoreUnavailable
from caseassist.stores import sqlite_file
from caseassist.stores.base import Quarantined
from caseassist.stores.sqlite import SQLiteStore

LATE_S = 3.0
"""Far above the deadline of a hundredth of a second, for a busy machine; a deadline that is not kept takes longer."""


@pytest.mark.parametrize("how", ["leaving", "closing"])
async def test_closing_takes_no_longer_than_it_may(how: str) -> None:
    """Leaving the block is shielded, so a deadline around it does not tell that it takes too long: the clock does."""
    gate = Gate()
    async with CaseAssist(Context(search_hub="hub"), sinks=[ScriptedSink(gate)], drain_timeout_s=0.01) as assist:
        await assist.start()
        await gate.entered.wait()
        begun = anyio.current_time()
        if how == "closing":
            report = await assist.aclose(0.01)
            assert anyio.current_time() - begun < LATE_S
            assert [books.pending for books in report.sinks] == [1]
    assert anyio.current_time() - begun < LATE_S
    assert [books.pending for books in assist.report().sinks] == [1]


async def test_a_position_and_what_was_put_aside_are_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql.startswith("INSERT OR IGNORE INTO quarantine"):
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *args)

    def connect(path: Path, timeout_s: float) -> sqlite3.Connection:
        return sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, check_same_thread=False, factory=Connection
        )

    records = records_of("a", 3)
    entry = Quarantined(position=2, record=records[1], reason="HTTP 400", at=AT)
    path = tmp_path / "cases.db"
    with monkeypatch.context() as broken:
        broken.setattr(sqlite_file, "connect", connect)
        async with SQLiteStore(path, durability="os") as store:
            await store.append(records, timeout_s=LONG_S)
            with pytest.raises(StoreUnavailable):
                await store.commit("sink", after=0, position=3, quarantined=[entry])
            assert (await store.state("sink")).position == 0
    async with SQLiteStore(path, durability="os") as store:
        assert (await store.state("sink")).position == 0, "after a restart, too"
        await store.commit("sink", after=0, position=3, quarantined=[entry])
        state = await store.state("sink")
        assert (state.position, state.delivered, state.quarantined) == (3, 2, 1)
