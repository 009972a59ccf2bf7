"""How much memory does a live session take, and what is left of sessions that have ended?

*live session*: a Session with six fields and texts of its own, without its records. Floor: the same texts in dicts.
*live case*: the same through a CaseAssist, with its seven records in a MemoryStore. *growth*: what 100,000 sessions
that started and ended have added to the process (of a MemoryStore that is full since before, with a sink behind it), by
the allocator's count (*traced*) and by the system's (*RSS*); less than 8 bytes each is none.
"""

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import anyio
import msgspec

from benchmarks.data import CONTEXT, NOON
from benchmarks.results import Result, skip
from caseassist.core.session import Session
from caseassist.live import Case, CaseAssist
from caseassist.sinks.memory import NullSink
from caseassist.stores.memory import MemoryStore

WARM = 15_000
"""Sessions before the growth is measured: the store is full by then, and remembers no more of the forgotten ones."""
STATUS = Path("/proc/self/status")


def fields(number: int) -> dict[str, object]:
    """Six fields, as they are decoded from somebody's message."""
    text = msgspec.json.encode(
        {
            "subject": f"GC110 malfunction {number}",
            "description": f"My GC110 cuts off, for the {number}. time",
            "category": f"Electrical {number}",
            "productId": f"GC110-{number}",
            "visitorAge": number,
            "rewardsMember": True,
        }
    )
    fields: dict[str, object] = msgspec.json.decode(text)
    return fields


def live_session(number: int) -> Session:
    session = Session(id=str(uuid4()))
    context = {"clientId": str(uuid4()), "searchHub": "support-bot", "language": "en"}
    session = Session.fold(session.start(context=context, at=NOON), session)
    for name, value in fields(number).items():
        session = Session.fold(session.update_field(name, value, at=NOON), session)
    return session


def plain_session(number: int) -> dict[str, object]:
    return {"id": str(uuid4()), "clientId": str(uuid4()), "ticket": fields(number)}


async def live_case(assist: CaseAssist, number: int) -> Case:
    case = await assist.start(client_id=str(uuid4()))
    for name, value in fields(number).items():
        await case.update_field(name, value)
    return case


def bytes_each(make: Callable[[int], object], number: int) -> float:
    """What each of so many objects takes."""
    make(0)
    gc.collect()
    tracemalloc.start()
    kept = [make(number) for number in range(number)]
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (taken - sys.getsizeof(kept)) / number


async def bytes_each_case(number: int) -> float:
    async with CaseAssist(CONTEXT) as assist:
        await live_case(assist, 0)
        gc.collect()
        tracemalloc.start()
        kept = [await live_case(assist, number) for number in range(number)]
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return (taken - sys.getsizeof(kept)) / number


async def growth(number: int, taken: Callable[[], int]) -> float:
    """Bytes that each of so many sessions has left behind."""
    async with CaseAssist(CONTEXT, store=MemoryStore(max_records=1_000), sinks=[NullSink()]) as assist:

        async def play(number: int) -> int:
            for _ in range(number):
                case = await assist.start(client_id=str(uuid4()))
                await case.quit()
            await assist.flush(60)
            gc.collect()
            return taken()

        before = await play(WARM)
        return (await play(number) - before) / number


def resident_bytes() -> int:
    return int(STATUS.read_text().partition("VmRSS:")[2].split()[0]) * 1024


def grown(number: int, kind: str) -> Result:
    """Measure the growth in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", str(number), kind]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Result(name=f"memory, growth after {number:,} sessions, {kind}", unit="B/session", value=float(printed))


def run(quick: bool) -> list[Result]:
    number, ended = (1_000, 5_000) if quick else (10_000, 100_000)
    live = Result(
        name="memory, live session",
        unit="B",
        value=bytes_each(live_session, number),
        floor=bytes_each(plain_session, number),
    )
    case = Result(name="memory, live case and its records", unit="B", value=anyio.run(bytes_each_case, number))
    results = [live, case]
    if STATUS.exists():
        results.append(grown(ended, "RSS"))
    else:
        skip("memory, growth, RSS", f"there is no {STATUS}")
    if not quick:  # tracing takes its time
        results.append(grown(ended, "traced"))
    return results


if __name__ == "__main__":
    if sys.argv[2] == "RSS":
        print(anyio.run(growth, int(sys.argv[1]), resident_bytes))
    else:
        tracemalloc.start()
        print(anyio.run(growth, int(sys.argv[1]), lambda: tracemalloc.get_traced_memory()[0]))
