"""Every store keeps every promise of :mod:`caseassist.stores.base`."""

import pytest

from caseassist.stores.memory import MemoryStore, WhenFull
from caseassist.testing import check_store


@pytest.mark.parametrize("when_full", ["wait", "reject", "drop_oldest"])
async def test_the_store_in_memory_keeps_its_promises(when_full: WhenFull) -> None:
    await check_store(lambda: MemoryStore(when_full=when_full))
