"""kill -9: nothing acknowledged is lost, and the harness that says so would see it if it were."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.fakes import LONG_S, records_of
from tests.faults.collector import Arrival, Collector
from tests.faults.kill_nine import SINK, Counts, compare

from caseassist.core.identity import event_id
from caseassist.delivery.reports import Progress
from caseassist.stores.sqlite import SQLiteStore

KILLS = 50


def test_nothing_acknowledged_is_lost_by_kill_nine() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kill_nine", "--kills", str(KILLS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10 * LONG_S,
        check=False,
    )
    counts = {name: value for name, _, value in (line.rpartition(" ") for line in done.stdout.splitlines())}
    counts = {name.strip(): value for name, value in counts.items()}
    assert done.returncode == 0, done.stdout
    assert counts["kills"] == str(KILLS), done.stdout
    assert int(counts["acknowledged"]) > KILLS, done.stdout
    assert int(counts["deliveries"]) >= int(counts["recorded"]) >= int(counts["acknowledged"]), done.stdout
    for promise in ("lost", "not delivered", "out of order", "duplicates not recognisable"):
        assert counts[promise] == "0", done.stdout


RECORDS = [*records_of("a", 3), *records_of("b", 2, ended=True)]
ARRIVALS = [Arrival("t", event_id(record.session_id, record.seq), "answered", "{}") for record in RECORDS]
BOOKS = Progress(sink=SINK, accepted=5, delivered=5, pending=0)
ALL = [(record.session_id, record.seq) for record in RECORDS]


async def counted(
    folder: Path,
    *,
    acknowledged: list[tuple[str, int]] = ALL,
    arrivals: list[Arrival] = ARRIVALS,
    books: Progress | None = BOOKS,
) -> Counts:
    async with SQLiteStore(folder / "cases.db") as store:
        await store.append(RECORDS[:3], timeout_s=LONG_S)
        await store.append(RECORDS[3:], timeout_s=LONG_S)
    log = folder / "arrivals"
    log.write_bytes(b"".join(msgspec.json.encode(arrival) + b"\n" for arrival in arrivals))
    counts = Counts()
    await compare(folder / "cases.db", acknowledged, Collector(log, 0), books, counts)
    return counts


async def test_the_harness_has_nothing_to_say_when_all_is_well(tmp_path: Path) -> None:
    again = [*ARRIVALS, ARRIVALS[0], msgspec.structs.replace(ARRIVALS[0], fate="busy")]
    counts = await counted(tmp_path, arrivals=again)
    assert counts.broken() == []
    assert (counts.recorded, counts.acknowledged, counts.requests, counts.deliveries, counts.duplicates) == (
        (5, 5, 7, 6, 1)
    )


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda: {"acknowledged": [*ALL, ("a", 3)]}, "1 lost"),
        (lambda: {"arrivals": ARRIVALS[:-1]}, "1 not delivered"),
        (lambda: {"arrivals": [*ARRIVALS[:-1], _but(ARRIVALS[-1], fate="unanswered")]}, "1 not delivered"),
        (lambda: {"arrivals": [ARRIVALS[1], ARRIVALS[0], *ARRIVALS[2:]]}, "3 out of order"),
        (lambda: {"arrivals": [*ARRIVALS, _but(ARRIVALS[0], body="{1}")]}, "1 duplicates not recognisable"),
        (lambda: {"arrivals": [*ARRIVALS, _but(ARRIVALS[0], z="other")]}, "1 duplicates not recognisable"),
        (lambda: {"acknowledged": [*ALL, ALL[0]]}, "a record was acknowledged twice"),
        (lambda: {"books": msgspec.structs.replace(BOOKS, delivered=4, pending=1)}, "the books do not balance"),
        (lambda: {"books": None}, "the books do not balance"),
    ],
    ids=["lost", "not arrived", "not answered", "order", "body", "id", "acknowledged", "pending", "no report"],
)
async def test_the_harness_sees(tmp_path: Path, change: Callable[[], dict[str, object]], broken: str) -> None:
    counts = await counted(tmp_path, **change())  # type: ignore[arg-type]
    assert len(counts.broken()) == 1
    assert counts.broken()[0].startswith(broken)


def _but(arrival: Arrival, **members: str) -> Arrival:
    return msgspec.structs.replace(arrival, **members)
