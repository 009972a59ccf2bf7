"""A process that is forked after, or before, a store was opened: ``python -m tests.faults.forker WHEN PATH BACKEND``.

The event loop runs in a thread of its own, as in a web server that forks its workers when the application is loaded.
Prints one line of JSON from the child (what each call came to) and one from the parent.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import anyio
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from tests.fakes import AT, LONG_S, records_of

from caseassist import Case, CaseAssist, MemorySink
from caseassist.stores.base import Quarantined, Store
from caseassist.stores.sqlite import SQLiteStore

RECORDS = records_of("forked", 2)
CALL_S = 5.0
SINK = "memory"


def calls_of(assist: CaseAssist, case: Case) -> dict[str, Callable[[], Awaitable[object]]]:
    store = assist.store
    entry = Quarantined(position=1, record=RECORDS[0], reason="", at=AT)

    async def health() -> object:
        return assist.health()

    return {
        "case.update_field": lambda: case.update_field("subject", "child"),
        "case.solve": case.solve,
        "assist.start": assist.start,
        "assist.resume": lambda: assist.resume(case.id),
        "assist.expire": assist.expire,
        "assist.erase": lambda: assist.erase(session_id=case.id),
        "assist.quarantined": lambda: assist.quarantined(SINK),
        "assist.resend": lambda: assist.resend(SINK),
        "assist.drop": lambda: assist.drop(SINK, position=1),
        "assist.append": lambda: assist.append(RECORDS),
        "assist.load": lambda: assist.load(case.id),
        "assist.health": health,
        "store.open": store.open,
        "store.append": lambda: store.append(RECORDS, timeout_s=CALL_S),
        "store.load": lambda: store.load(case.id),
        "store.read": lambda: store.read(0, 10),
        "store.last_position": store.last_position,
        "store.idle": lambda: store.idle(datetime.now(UTC), 10),
        "store.erase": lambda: store.erase(session_id=case.id),
        "store.claim": lambda: store.claim("other"),
        "store.release": lambda: store.release(SINK),
        "store.sinks": store.sinks,
        "store.state": lambda: store.state(SINK),
        "store.commit": lambda: store.commit(SINK, after=0, position=1),
        "store.quarantined": lambda: store.quarantined(SINK),
        "store.request_resend": lambda: store.request_resend(SINK),
        "store.put_back": lambda: store.put_back(SINK, entry),
        "store.resolve": lambda: store.resolve(SINK, 1),
        "store.drop": lambda: store.drop(SINK, position=1),
        "store.aclose": store.aclose,
        "another store on the file": lambda: SQLiteStore(cast("SQLiteStore", store).path).open(),
        "another CaseAssist on the file": assist_at(cast("SQLiteStore", store).path).__aenter__,
    }


async def outcomes(assist: CaseAssist, case: Case) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, call in calls_of(assist, case).items():
        try:
            with anyio.fail_after(CALL_S):
                found[name] = f"returned {await call()!r}"
        except Exception as error:  # noqa: BLE001 (it is what we want to know)
            found[name] = type(error).__name__
    return found


def assist_at(path: Path) -> CaseAssist:
    return CaseAssist(store=SQLiteStore(path), sinks=[MemorySink(SINK)], drain_timeout_s=LONG_S)


def say(**what: object) -> None:
    os.write(1, msgspec.json.encode(what) + b"\n")


async def record(assist: CaseAssist, session_id: str, actions: int) -> None:
    case = await assist.start(session_id=session_id)
    for number in range(actions):
        await case.update_field("subject", f"{number}")


async def report(assist: CaseAssist) -> object:
    return (await assist.flush(LONG_S)).sinks[0]


class InThread:
    """A CaseAssist that is open in an event loop in a thread."""

    def __init__(self, path: Path, backend: str) -> None:
        self.assist = assist_at(path)
        self._loop = start_blocking_portal(backend)
        self.portal: BlockingPortal = self._loop.__enter__()
        self._open = self.portal.wrap_async_context_manager(self.assist)
        self._open.__enter__()
        self.case: Case = self.portal.call(self.assist.start)

    def close(self) -> None:
        self._open.__exit__(None, None, None)
        self._loop.__exit__(None, None, None)


def fork_after(path: Path, backend: str) -> None:
    running = InThread(path, backend)
    portal, assist, case = running.portal, running.assist, running.case
    pid = os.fork()
    if pid == 0:
        say(child=anyio.run(outcomes, assist, case, backend=backend))
        os._exit(0)  # an event loop that is finalised in a child takes its parent's descriptors out of the poll
    portal.call(record, assist, "meanwhile", 50)
    status = os.waitpid(pid, 0)[1]
    portal.call(case.update_field, "subject", "parent")
    portal.call(record, assist, "afterwards", 50)
    say(status=status, report=portal.call(report, assist))
    running.close()


def fork_before(path: Path, backend: str) -> None:
    store: Store = SQLiteStore(path)
    assist = CaseAssist(store=store, sinks=[MemorySink(SINK)], drain_timeout_s=LONG_S)

    async def main(session_id: str) -> object:
        async with assist:
            await record(assist, session_id, 50)
            return await report(assist)

    pid = os.fork()
    found = anyio.run(main, "parent" if pid else "child", backend=backend)
    if pid:
        say(status=os.waitpid(pid, 0)[1], report=found)
    else:
        say(child={}, report=found)


if __name__ == "__main__":
    when, at, backend_name = sys.argv[1:]
    {"after": fork_after, "before": fork_before}[when](Path(at), backend_name)
