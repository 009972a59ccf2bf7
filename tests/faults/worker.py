"""One of several processes that record the same sessions in one store and deliver from it.

``python -m tests.faults.worker PATH URL NAME BACKEND ACTIONS PAUSE_S`` says ``ready``, and begins when it is told to by
a line on its standard input. It says what was acknowledged (``ack SESSION SEQ``) and how often somebody else was faster
(``done CONFLICTS``). The next line has it deliver what is left and write its report, and the end of its input ends it.
"""

import os
import random
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from tests.fakes import LONG_S
from tests.faults.kill_nine import SINK

from caseassist import CaseAssist, HTTPSink
from caseassist.core.errors import SequenceConflict
from caseassist.core.records import Record
from caseassist.stores.sqlite import SQLiteStore

SESSIONS = ("s0", "s1", "s2")


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def told() -> str:
    return await anyio.to_thread.run_sync(sys.stdin.readline)


class Worker:
    def __init__(self, assist: CaseAssist, name: str) -> None:
        self.assist = assist
        self.name = name
        self.conflicts = 0

    async def begin(self, session_id: str) -> None:
        try:
            await self.assist.start(session_id=session_id)
        except SequenceConflict:
            self.conflicts += 1
        else:
            say("ack", session_id, 0)

    async def update(self, session_id: str, value: str) -> Record:
        """Resume, decide, and if somebody else was faster, resume and decide again."""
        while True:
            case = await self.assist.resume(session_id)
            try:
                return await case.update_field("subject", value)
            except SequenceConflict:
                self.conflicts += 1

    async def act(self, session_id: str, actions: int, pause_s: float) -> None:
        await self.begin(session_id)
        for number in range(actions):
            record = await self.update(session_id, f"{self.name} {number}")
            say("ack", session_id, record.seq)
            await anyio.sleep(pause_s)


async def main(path: str, url: str, name: str, actions: int, pause_s: float) -> None:
    async with CaseAssist(
        {"searchHub": "processes"},
        store=SQLiteStore(Path(path), durability="os"),
        sinks=[HTTPSink(url, token=name, name=SINK)],
        append_timeout_s=LONG_S,
        drain_timeout_s=LONG_S,
        rng=random.Random(name),
    ) as assist:
        worker = Worker(assist, name)
        say("ready")
        await told()
        async with anyio.create_task_group() as tasks:
            for session_id in SESSIONS:
                tasks.start_soon(worker.act, session_id, actions, pause_s)
        say("done", worker.conflicts)
        await told()
        report = await assist.flush(LONG_S)
        (health,) = assist.health().sinks
        say("report", "standby" if health.standby else "delivers", msgspec.json.encode(report.sinks[0]).decode())
        await told()


if __name__ == "__main__":
    path, url, name, backend, actions, pause_s = sys.argv[1:]
    anyio.run(main, path, url, name, int(actions), float(pause_s), backend=backend)
