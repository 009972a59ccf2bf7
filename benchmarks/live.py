"""How many actions a second go through ``await case.…`` into the memory store, with a memory sink behind it?

All of it counts: the times and ids that are asked for, and delivery to the last record. One session after the other, or
1,000 that are open at the same time and act in turns. The floor is the core alone: the same sessions decided and
folded, with neither a store nor a sink.
"""

import time
from collections.abc import Callable
from functools import partial

import anyio

from benchmarks.data import ACTIONS, CONTEXT, TICKET, play
from benchmarks.results import Result, result
from caseassist import CaseAssist, MemorySink

MANY = 1000


async def act(sessions: int, at_once: int, clock: Callable[[], float]) -> float:
    """Play so many sessions, so many at a time. Seconds by the clock, from the first action to the last delivery."""
    sink = MemorySink()
    async with CaseAssist(CONTEXT, sinks=[sink]) as assist:
        begin = clock()
        for _ in range(sessions // at_once):
            cases = [await assist.start(TICKET) for _ in range(at_once)]
            for name, args, options in ACTIONS[1:]:
                for case in cases:
                    await getattr(case, name)(*args, **options)
        await assist.flush(60)
        seconds = clock() - begin
    assert len(sink.records) == sessions * len(ACTIONS)
    return seconds


def core(sessions: int, clock: Callable[[], float]) -> float:
    """The same without a store: seconds by the clock."""
    begin = clock()
    records = [play() for _ in range(sessions)]
    seconds = clock() - begin
    assert len(records) == sessions
    return seconds


def run(quick: bool) -> list[Result]:
    results: list[Result] = []
    for backend in ("asyncio", "trio"):
        for at_once in (1, MANY):
            sessions = max(200 if quick else 2000, at_once)
            repeats = 3 if quick else 7
            actions = sessions * len(ACTIONS)
            rates: dict[str, list[float]] = {"caseassist": [], "core": []}
            cpu_us: dict[str, list[float]] = {"caseassist": [], "core": []}
            for _ in range(repeats):
                for clock, values in ((time.perf_counter, rates), (time.process_time, cpu_us)):
                    played = anyio.run(partial(act, sessions, at_once, clock), backend=backend)
                    for name, seconds in (("caseassist", played), ("core", core(sessions, clock))):
                        values[name].append(actions / seconds if values is rates else seconds / actions * 1e6)
            how = backend if at_once == 1 else f"{backend}, {at_once:,} cases at once"
            results += [
                result(f"live, {how}", rates, floor="core"),
                result(f"live CPU, {how}", cpu_us, unit="µs/action", floor="core"),
            ]
    return results
