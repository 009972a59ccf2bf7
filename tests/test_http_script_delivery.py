"""The same table once more, with a courier in between: nothing is lost, and the books are right to the last record."""

import anyio
import pytest
import trustme
from tests.fakes import LONG_S, Pauses, until
from tests.test_http_script import CASES, RECORDS, TOKEN, Case, authority, playing

from caseassist import CaseAssist, MemoryStore
from caseassist.delivery.reports import Progress

__all__ = ["authority"]  # a fixture


@pytest.mark.parametrize("case", [case for case in CASES if case.url != "http://nowhere.invalid"], ids=str)
async def test_the_books_are_right_while_it_fails_and_when_it_is_over(case: Case, authority: trustme.CA) -> None:
    pauses, store, expected = Pauses(held=True), MemoryStore(), case.outcome
    with anyio.fail_after(LONG_S):
        async with playing(case, authority) as play:
            passing = case.is_passing and case.tokens is None
            drain_timeout_s = LONG_S if passing or expected.what != "unavailable" else 0.0
            async with CaseAssist(
                store=store, sinks=[play.sink], sleep=pauses, drain_timeout_s=drain_timeout_s
            ) as assist:
                await assist.append(RECORDS)

                def books() -> Progress:
                    (progress,) = assist.report().sinks
                    dropped = sum(progress.dropped.values())
                    assert progress.accepted == 3
                    assert progress.accepted == progress.delivered + progress.pending + progress.quarantined + dropped
                    return progress

                if expected.what == "unavailable":
                    await until(lambda: pauses.seconds)
                    assert (books().delivered, books().pending) == (expected.delivered, 3 - expected.delivered)
                    assert max(pauses.seconds) >= (expected.retry_after_s or 0.0)
                    (health,) = assist.health().sinks
                    assert health.ok != expected.paused
                    assert expected.says in health.problem
                    assert len(play.server.requests) == case.requests
                    play.sink.timeout_s = LONG_S
                elif expected.what == "refused":
                    await until(lambda: not books().pending)
                    (entry,) = await store.quarantined("matrix")
                    assert (entry.position, entry.status) == (expected.delivered + 1, expected.status)
                    assert (books().delivered, books().quarantined) == (2, 1)
                    assert TOKEN not in entry.reason
                else:
                    await until(lambda: not books().pending)
                    assert books().delivered == 3
                pauses.held = False
                pauses.let_go()
            if passing:
                assert (books().delivered, books().pending, books().quarantined) == (3, 0, 0)
            else:
                assert books().delivered == {"delivered": 3, "refused": 2}.get(expected.what, expected.delivered)
        assert play.elsewhere.connections == 0
