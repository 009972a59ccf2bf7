"""Many writers of one session, and several processes on one file: nothing is overwritten, and one of them delivers."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import anyio
import msgspec
from tests.fakes import AT, CLIENT_ID, LONG_S
from tests.faults.collector import Collector, collecting
from tests.faults.kill_nine import Counts, compare
from tests.faults.worker import SESSIONS

from caseassist.core.errors import SequenceConflict
from caseassist.core.events import Ticket, TicketFieldUpdate
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.delivery.reports import Progress
from caseassist.stores.sqlite import SQLiteStore

TASKS = 16
APPENDS = 1000
PROCESSES = 4
ACTIONS = 25
UPDATE = TicketFieldUpdate(field_name="subject")
TAKE_OVER_S = 10.0
"""The others look every half a second. The rest is for a machine that has much to do."""


async def test_of_many_tasks_that_append_to_one_session_one_wins_each_place(tmp_path: Path) -> None:
    won: dict[int, int] = {}
    lost = 0

    async def append(store: SQLiteStore, task: int, start: Record) -> None:
        nonlocal lost
        seq = 0
        for number in range(APPENDS):
            if seq == 0:
                record = start
            else:
                ticket = Ticket(subject=f"{task} {number}")
                record = msgspec.structs.replace(start, seq=seq, event=UPDATE, ticket=ticket)
            try:
                await store.append([record], timeout_s=LONG_S)
            except SequenceConflict as conflict:
                lost += conflict.expected == seq < conflict.found
                seq = conflict.found
            else:
                assert seq not in won
                won[seq] = task
                seq += 1

    async with SQLiteStore(tmp_path / "cases.db", durability="os") as store:
        async with anyio.create_task_group() as tasks:
            for task in range(TASKS):
                (start,) = Session(id="one").start({"subject": f"{task}"}, {"clientId": CLIENT_ID}, at=AT)
                tasks.start_soon(append, store, task, start)
        records = await store.load("one")
        stored = await store.read(0, 2 * TASKS * APPENDS)
    assert len(won) + lost == TASKS * APPENDS
    assert lost > APPENDS
    assert len(won) >= APPENDS
    assert [record.seq for record in records] == sorted(won) == list(range(len(won)))
    assert [position for position, _ in stored] == list(range(1, len(won) + 1))
    for record in records:
        assert record.ticket.subject is not None
        assert record.ticket.subject.split()[0] == f"{won[record.seq]}"


class Worker:
    """A process of :mod:`tests.faults.worker`."""

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        self.acknowledged: list[tuple[str, int]] = []
        self.conflicts = -1
        """How often somebody else was faster, once it has done all."""
        self.delivers = False
        self.report: Progress | None = None

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def listen(self, last: str = "") -> None:
        """Take in what it says, up to a word, or to its end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            match line.split(" ", 2):
                case ["ack", session_id, seq]:
                    self.acknowledged.append((session_id, int(seq)))
                case ["done", conflicts]:
                    self.conflicts = int(conflicts)
                case ["report", role, report]:
                    self.delivers = role == "delivers"
                    self.report = msgspec.json.decode(report, type=Progress)
            if line.split()[0] == last:
                return
        assert not last, f"it ended before it was {last}"

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.listen()
        assert self.process.wait(LONG_S) == 0


@contextmanager
def working(count: int, path: Path, collector: Collector, *, actions: int, pause_s: float) -> Iterator[list[Worker]]:
    """Run so many, every other one on trio, and wait until all are ready."""
    with ExitStack() as stack:
        workers: list[Worker] = []
        for number in range(count):
            command = [sys.executable, "-m", "tests.faults.worker", str(path), collector.url, f"w{number}"]
            options = [("asyncio", "trio")[number % 2], str(actions), str(pause_s)]
            process = stack.enter_context(Popen([*command, *options], stdin=PIPE, stdout=PIPE, text=True))
            stack.callback(process.kill)
            workers.append(Worker(process))
        for worker in workers:
            worker.listen("ready")
        yield workers


def wait_until(condition: Callable[[], object], *, seconds: float = LONG_S) -> float:
    """Returns how many seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it took too long"
        time.sleep(0.01)
    return time.monotonic() - begun


def acknowledged_to(workers: list[Worker]) -> list[tuple[str, int]]:
    return [identity for worker in workers for identity in worker.acknowledged]


def test_processes_on_one_file_overwrite_nothing_and_one_of_them_delivers(tmp_path: Path) -> None:
    counts = Counts()
    total = len(SESSIONS) * (1 + PROCESSES * ACTIONS)
    path = tmp_path / "cases.db"
    with (
        collecting(tmp_path / "arrivals") as collector,
        working(PROCESSES, path, collector, actions=ACTIONS, pause_s=0) as workers,
    ):
        for worker in workers:
            worker.tell()
        for worker in workers:
            worker.listen("done")
        wait_until(lambda: collector.count() >= total)
        for worker in workers:
            worker.tell()
            worker.listen("report")
        for worker in workers:
            worker.end()
        (delivering,) = [worker for worker in workers if worker.delivers]
        acknowledged = acknowledged_to(workers)
        anyio.run(compare, path, acknowledged, collector, delivering.report, counts)
        arrivals = collector.arrivals()
    assert counts.broken() == []
    assert len(acknowledged) == counts.recorded == total
    assert (counts.requests, counts.duplicates) == (total, 0)
    assert len({arrival.token for arrival in arrivals}) == 1
    assert sum(worker.conflicts for worker in workers) >= len(SESSIONS) * (PROCESSES - 1)  # that many began too late
    for worker in workers:
        assert worker.report is not None
        assert worker.report.accepted == worker.report.delivered + worker.report.pending
    values = Counter(anyio.run(values_of, path))
    assert values == Counter(
        f"w{worker} {number}" for worker in range(PROCESSES) for number in range(ACTIONS) for _ in SESSIONS
    )


async def values_of(path: Path) -> list[str | None]:
    async with SQLiteStore(path) as store:
        stored = await store.read(0, 100_000)
    return [record.ticket.subject for _, record in stored if record.seq]


def test_when_the_process_that_delivers_is_killed_another_one_takes_over(tmp_path: Path) -> None:
    counts = Counts()
    path = tmp_path / "cases.db"
    with (
        collecting(tmp_path / "arrivals") as collector,
        working(3, path, collector, actions=100, pause_s=0.01) as workers,
    ):
        for worker in workers:
            worker.tell()
        wait_until(lambda: collector.count() >= 50)
        first = collector.arrivals()[-1].token
        victim = workers[int(first.removeprefix("w"))]
        others = [worker for worker in workers if worker is not victim]
        victim.process.kill()
        victim.listen()
        took_s = wait_until(lambda: collector.arrivals()[-1].token != first)
        for worker in others:
            worker.listen("done")
            worker.tell()
        for worker in others:
            worker.listen("report")
        (delivering,) = [worker for worker in others if worker.delivers]
        for worker in others:
            worker.end()
        acknowledged = acknowledged_to(workers)
        total = anyio.run(length_of, path)
        wait_until(lambda: len({arrival.z for arrival in collector.arrivals()}) == total)
        books = Progress(sink="collector", accepted=total, delivered=total, pending=0)
        anyio.run(compare, path, acknowledged, collector, books, counts)
        tokens = [arrival.token for arrival in collector.arrivals()]
    assert took_s < TAKE_OVER_S
    assert victim.process.returncode < 0
    assert counts.broken() == []
    assert victim.conflicts == -1, "it was killed before it was done"
    assert delivering.report is not None
    assert len(set(tokens)) == 2
    assert first not in tokens[tokens.index(next(token for token in tokens if token != first)) :]


async def length_of(path: Path) -> int:
    async with SQLiteStore(path) as store:
        return await store.last_position()
