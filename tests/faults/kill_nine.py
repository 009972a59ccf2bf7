"""Kill a process again and again while it records and delivers, and see what is left.

``python -m tests.faults.kill_nine --kills 500`` prints what happened and ends with status 1 if a promise was broken:
nothing acknowledged is lost, everything acknowledged arrives, each session in order, and what arrives twice is known by
its id.

Every child opens the same store, goes on with the sessions that it finds open, begins new ones, and says on a pipe
what was acknowledged. It is killed at a random moment: while it starts and recovers, or up to 100 ms after; some are
closing by then. It is forked from this process, which has imported everything and opened nothing, so that it need not
start an interpreter each time.
"""

import argparse
import logging
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

# Before anything is forked: each child would have to import them.
import trio  # noqa: F401
from anyio._backends import _asyncio, _trio  # noqa: F401
from tests.faults.collector import Collector, collecting

from caseassist import CaseAssist, HTTPSink
from caseassist.core.identity import event_id
from caseassist.core.records import encode
from caseassist.delivery.reports import Progress
from caseassist.stores.sqlite import SQLiteStore

BACKENDS = ("asyncio", "trio")
TASKS = 8
KILL_WITHIN_S = 0.1
EARLY = 0.2
"""Of so many children, the moment of death is counted from their birth and not from when they are ready."""
CLOSING = 0.2
"""So many children close before they are killed, or at the same time."""
FAULTS = 3
"""Of a thousand requests, so many meet each fault: most children meet one."""
READY_S = 30.0
DRAIN_S = 300.0
SINK = "collector"


class Counts(msgspec.Struct):
    """What happened."""

    kills: int = 0
    killed_early: int = 0
    recorded: int = 0
    acknowledged: int = 0
    lost: int = 0
    not_delivered: int = 0
    out_of_order: int = 0
    requests: int = 0
    deliveries: int = 0
    duplicates: int = 0
    duplicates_not_recognisable: int = 0
    problems: list[str] = msgspec.field(default_factory=list)

    def broken(self) -> list[str]:
        """The promises that were not kept."""
        wrong = ("lost", "not_delivered", "out_of_order", "duplicates_not_recognisable")
        return [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in wrong if getattr(self, name)] + (
            self.problems
        )

    def __str__(self) -> str:
        return "\n".join(
            f"{name.replace('_', ' '):28} {value}"
            for name, value in msgspec.structs.asdict(self).items()
            if name != "problems"
        )


# --- The child ------------------------------------------------------------------------------------------------------


def assist_at(path: Path, url: str, rng: random.Random) -> CaseAssist:
    async def short_sleep(seconds: float) -> None:
        await anyio.sleep(seconds / 50)  # a child that lives for 50 ms would never see the end of a pause

    return CaseAssist(
        {"searchHub": "kill-nine"},
        store=SQLiteStore(path, durability="disk"),
        sinks=[HTTPSink(url, token="t", name=SINK)],
        append_timeout_s=READY_S,
        drain_timeout_s=DRAIN_S,
        rng=rng,
        sleep=short_sleep,
    )


async def record(path: Path, url: str, seed: int, out: int) -> None:
    """Record until killed."""
    rng = random.Random(seed)
    async with assist_at(path, url, rng) as assist:
        opened = list(await assist.store.idle(datetime.now(UTC) + timedelta(days=1), 100))
        os.write(out, b"ready\n")

        async def one_session(session_id: str | None, new_id: str) -> None:
            if session_id is None:
                case = await assist.start(session_id=new_id)
                os.write(out, f"{case.id} 0\n".encode())
            else:
                case = await assist.resume(session_id)
            while case.state != "solved":
                await anyio.sleep(rng.choice((0.0, 0.001, 0.004)))
                match rng.randrange(8):
                    case 0:
                        done = await case.solve()
                    case 1:
                        done = await case.next_stage()
                    case _:
                        done = await case.update_field("subject", f"text {rng.random()}")
                os.write(out, f"{case.id} {done.seq}\n".encode())

        async def sessions(task: int) -> None:
            number = 0
            while True:
                await one_session(opened.pop() if opened else None, f"{seed}-{task}-{number}")
                number += 1

        with anyio.move_on_after(rng.uniform(0.0, KILL_WITHIN_S) if rng.random() < CLOSING else None):
            async with anyio.create_task_group() as tasks:
                for task in range(TASKS):
                    tasks.start_soon(sessions, task)
    await anyio.sleep_forever()


async def drain(path: Path, url: str, out: int) -> None:
    """Deliver what is left, and write the report."""
    async with assist_at(path, url, random.Random(0)) as assist:
        report = await assist.flush(DRAIN_S)
    os.write(out, msgspec.json.encode(report.sinks[0]))


# --- The parent -----------------------------------------------------------------------------------------------------


def fork(main: Callable[[int], None]) -> tuple[int, int]:
    """Run something in a child that never returns. Gives its id, and where what it writes can be read."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            main(write_end)
            status = 0
        except BaseException as error:  # noqa: BLE001 (it must not go on as its parent)
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(status)
    os.close(write_end)
    return pid, read_end


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


def kill_one(path: Path, url: str, seed: int, rng: random.Random, counts: Counts) -> list[tuple[str, int]]:
    """Let a child record and kill it. Returns what was acknowledged to it."""
    backend = BACKENDS[seed % 2]
    pid, pipe = fork(lambda out: anyio.run(record, path, url, seed, out, backend=backend))
    early = rng.random() < EARLY
    said = b""
    if not early:
        if not select.select([pipe], [], [], READY_S)[0]:
            counts.problems.append(f"child {seed} was not ready in {READY_S} s")
        said = os.read(pipe, 65536)
    time.sleep(rng.uniform(0.0, KILL_WITHIN_S))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        counts.kills += 1
        counts.killed_early += early
    else:
        counts.problems.append(f"child {seed} ended by itself")
    lines = (said + read_all(pipe)).decode().split("\n")[:-1]
    return [(session_id, int(seq)) for session_id, seq in (line.split() for line in lines if line != "ready")]


def run(kills: int, seed: int, folder: Path, say: Callable[[str], None]) -> Counts:
    """Kill so many children, then see what is there."""
    counts = Counts()
    rng = random.Random(seed)
    path = folder / "cases.db"
    acknowledged: list[tuple[str, int]] = []
    with collecting(folder / "arrivals", seed=seed, faults=FAULTS) as collector:
        for number in range(kills):
            acknowledged += kill_one(path, collector.url, number, rng, counts)
            if (number + 1) % 50 == 0:
                say(f"{number + 1} kills, {len(acknowledged)} acknowledged, {collector.count()} requests")
        pid, pipe = fork(lambda out: anyio.run(drain, path, collector.url, out))
        report = read_all(pipe)
        if os.waitpid(pid, 0)[1] or not report:
            counts.problems.append("the last child did not deliver the rest")
        progress = msgspec.json.decode(report, type=Progress) if report else None
        anyio.run(compare, path, acknowledged, collector, progress, counts)
    return counts


async def compare(
    path: Path,
    acknowledged: Sequence[tuple[str, int]],
    collector: Collector,
    progress: Progress | None,
    counts: Counts,
) -> None:
    """Compare what was acknowledged, what is stored and what arrived."""
    async with SQLiteStore(path) as store:
        stored = list(await store.read(0, 10_000_000))
        last = await store.last_position()
        counts.problems += [f"check: {problem}" for problem in await store.check()]
    found = {(stored_one.session_id, stored_one.seq): encode(stored_one) for _, stored_one in stored}
    counts.recorded = len(stored)
    counts.acknowledged = len(acknowledged)
    counts.lost = len(set(acknowledged) - found.keys())
    if len(set(acknowledged)) != len(acknowledged):
        counts.problems.append("a record was acknowledged twice")
    if [position for position, _ in stored] != list(range(1, last + 1)):
        counts.problems.append("positions have gaps")
    if len(found) != len(stored):
        counts.problems.append("a place in a session was taken twice")
    lengths = Counter(session_id for session_id, _ in found)
    if any((session_id, seq) not in found for session_id, length in lengths.items() for seq in range(length)):
        counts.problems.append("a session has a gap")
    expected = Progress(sink=SINK, accepted=len(stored), delivered=len(stored), pending=0)
    if progress != expected:
        counts.problems.append(f"the books do not balance: {progress}, and {len(stored)} are stored")

    identity = {event_id(session_id, seq): (session_id, seq) for session_id, seq in found}
    arrivals = collector.arrivals()
    counts.requests = len(arrivals)
    bodies: dict[str, str] = {}
    times: Counter[str] = Counter()
    answered: set[str] = set()
    next_seq: Counter[str] = Counter()
    for arrival in arrivals:
        if arrival.z not in identity:
            counts.duplicates_not_recognisable += 1
            continue
        session_id, seq = identity[arrival.z]
        if arrival.z not in bodies:
            counts.out_of_order += seq != next_seq[session_id]
            next_seq[session_id] = seq + 1
        counts.duplicates_not_recognisable += bodies.setdefault(arrival.z, arrival.body) != arrival.body
        times[arrival.z] += arrival.taken
        if arrival.fate in ("answered", "slow"):
            answered.add(arrival.z)
    counts.deliveries = times.total()
    counts.duplicates = sum(count - 1 for count in times.values() if count > 1)
    counts.not_delivered = len(identity.keys() - answered)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a process that records and delivers, and see what is left.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    logging.getLogger("caseassist").setLevel(logging.ERROR)  # that the endpoint fails now and then is no news
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = run(options.kills, options.seed, Path(folder), lambda text: print(text, flush=True))
    print(counts)
    print(f"{'seconds':28} {time.monotonic() - started:.1f}")
    for problem in counts.broken():
        print(f"BROKEN: {problem}")
    return 1 if counts.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
