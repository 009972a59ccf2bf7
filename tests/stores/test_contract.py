"""Every store keeps every promise of :mod:`caseassist.stores.base`."""

from itertools import count
from pathlib import Path

import pytest

from caseassist.stores.memory import MemoryStore, WhenFull
from caseassist.stores.sqlite import SQLiteStore
from caseassist.testing import check_store


@pytest.mark.parametrize("when_full", ["wait", "reject", "drop_oldest"])
async def test_the_store_in_memory_keeps_its_promises(when_full: WhenFull) -> None:
    await check_store(lambda: MemoryStore(when_full=when_full))


async def test_the_store_in_a_file_keeps_its_promises(tmp_path: Path) -> None:
    numbers = count()
    path = tmp_path

    def make() -> SQLiteStore:
        nonlocal path
        path = tmp_path / f"{next(numbers)}.db"
        return SQLiteStore(path)

    await check_store(make, reopen=lambda: SQLiteStore(path))
