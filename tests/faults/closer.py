"""A process that records until it is stopped, with sinks that hang.

``python -m tests.faults.closer HOW PATH URL BACKEND`` says ``ack SESSION SEQ`` for what was acknowledged, ``ready``
when there is some, and at the end what it came to.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from caseassist import CaseAssist, HTTPSink
from caseassist.core.errors import NotRunning
from caseassist.core.records import Record
from caseassist.sinks.base import Sink
from caseassist.stores.sqlite import SQLiteStore

DEADLINE_S = 0.3
TASKS = 4
HANGING, HUNG_SERVER = "hanging", "hung server"


class HangingSink(Sink):
    """Takes nothing and does not close."""

    name = HANGING

    async def deliver(self, records: Sequence[Record]) -> None:
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        await anyio.sleep_forever()


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def record(assist: CaseAssist, task: int, ready: anyio.Event) -> None:
    case = await assist.start(session_id=f"s{task}")
    say("ack", case.id, 0)
    for number in range(1, 1_000_000):
        try:
            done = await case.update_field("subject", f"text {number}")
        except NotRunning:
            return
        say("ack", case.id, done.seq)
        if number == 10 and not ready.is_set():
            ready.set()
            say("ready")
        await anyio.sleep(0.002)


async def stop_on_sigterm(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def body(assist: CaseAssist, how: str) -> None:
    """What happens within the block, after a moment of recording."""
    ready = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for task in range(TASKS):
            tasks.start_soon(record, assist, task, ready)
        if how in ("sigterm", "sigint"):
            await anyio.sleep_forever()
        await ready.wait()
        match how:
            case "raises":
                raise RuntimeError("mistake in the bot")
            case "twice":
                await assist.aclose(DEADLINE_S)
                await assist.aclose(DEADLINE_S)
            case "at once":
                tasks.start_soon(assist.aclose, 100.0)
                tasks.start_soon(assist.aclose, DEADLINE_S)
            case "cancelled":
                with anyio.move_on_after(0.1):
                    await assist.aclose(3 * DEADLINE_S)
            case "cancelled at once":
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await assist.aclose(3 * DEADLINE_S)


async def main(how: str, path: str, url: str) -> None:
    assist = CaseAssist(
        store=SQLiteStore(Path(path), durability="disk"),
        sinks=[HangingSink(), HTTPSink(url, token="t", name=HUNG_SERVER, timeout_s=100.0)],
        drain_timeout_s=DEADLINE_S,
    )
    try:
        async with anyio.create_task_group() as tasks:
            if how == "sigterm":
                tasks.start_soon(stop_on_sigterm, tasks.cancel_scope)
            async with assist:
                await body(assist, how)
            tasks.cancel_scope.cancel()
    finally:
        say("report", msgspec.json.encode(assist.report().sinks).decode())


def leaves(error: BaseException) -> set[str]:
    if isinstance(error, BaseExceptionGroup):
        return set().union(*map(leaves, error.exceptions))
    return {type(error).__name__}


if __name__ == "__main__":
    how, path, url, backend = sys.argv[1:]
    logging.getLogger("caseassist").addHandler(logging.NullHandler())
    try:
        anyio.run(main, how, path, url, backend=backend)
    except BaseException as error:  # noqa: BLE001 (it is what we want to know)
        say("ended", *sorted(leaves(error)))
    else:
        say("ended")
