"""How many actions a second go through ``await case.…`` into the memory store, with a memory sink behind it?"""

import time

import anyio

from benchmarks.data import ACTIONS, CONTEXT, TICKET
from benchmarks.results import Result, result
from caseassist import CaseAssist, MemorySink


async def play_live(number: int) -> float:
    async with CaseAssist(CONTEXT, sinks=[MemorySink()]) as assist:
        begin = time.perf_counter()
        for _ in range(number):
            case = await assist.start(TICKET)
            for name, args, options in ACTIONS[1:]:
                await getattr(case, name)(*args, **options)
        await assist.flush(60)
        return number * len(ACTIONS) / (time.perf_counter() - begin)


def run(quick: bool) -> list[Result]:
    number, repeats = (30, 5) if quick else (1000, 7)
    return [
        result(
            f"live, {backend}", {"caseassist": [anyio.run(play_live, number, backend=backend) for _ in range(repeats)]}
        )
        for backend in ("asyncio", "trio")
    ]
