"""Shutting down while sinks hang: in time, without a sound, and with all that was acknowledged in the store."""

import signal
import socket
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import msgspec
import pytest
from tests.fakes import LONG_S
from tests.faults.closer import DEADLINE_S, HANGING, HUNG_SERVER

from caseassist import CaseAssist, MemorySink
from caseassist.delivery.reports import Progress
from caseassist.stores.sqlite import SQLiteStore

SLACK_S = 10.0
"""For a machine that has much to do, and for the interpreter to end."""

ENDINGS = {
    "sigterm": "",
    "sigint": "KeyboardInterrupt",
    "raises": "RuntimeError",
    "twice": "",
    "at once": "",
    "cancelled": "",
    "cancelled at once": "",
}


def close(how: str, path: Path, backend: str) -> tuple[set[tuple[str, int]], list[Progress], float]:
    """Have it record and stop. What was acknowledged, what it reported, and how many seconds it took to end."""
    with socket.create_server(("127.0.0.1", 0)) as hung:  # takes connections and requests, and never answers
        url = f"http://127.0.0.1:{hung.getsockname()[1]}"
        python = [sys.executable, "-X", "dev", "-W", "error"]
        command = [*python, "-m", "tests.faults.closer", how, str(path), url, backend]
        with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if line == "ready\n":
                    break
            begun = time.monotonic()
            if how in ("sigterm", "sigint"):
                process.send_signal(signal.SIGTERM if how == "sigterm" else signal.SIGINT)
            rest, complaints = process.communicate(timeout=2 * LONG_S)
            took_s = time.monotonic() - begun
    assert complaints == ""
    assert process.returncode == 0
    lines += rest.splitlines()
    assert lines[-1].removeprefix("ended").strip() == ENDINGS[how]
    (report,) = [line.removeprefix("report ") for line in lines if line.startswith("report")]
    acknowledged = {(line.split()[1], int(line.split()[2])) for line in lines if line.startswith("ack")}
    return acknowledged, msgspec.json.decode(report, type=list[Progress]), took_s


@pytest.mark.parametrize("how", ENDINGS)
async def test_closing_keeps_its_deadline_and_nothing_acknowledged_is_lost(
    how: str, tmp_path: Path, anyio_backend_name: str
) -> None:
    path = tmp_path / "cases.db"
    acknowledged, reported, took_s = close(how, path, anyio_backend_name)
    assert took_s < 4 * DEADLINE_S + SLACK_S
    assert len(acknowledged) > 10
    sinks = [MemorySink(name) for name in (HANGING, HUNG_SERVER)]
    async with SQLiteStore(path) as store:
        assert await store.check() == []
        stored = {(record.session_id, record.seq) for _, record in await store.read(0, 100_000)}
    assert acknowledged <= stored
    for progress in reported:
        assert (progress.delivered, progress.quarantined, progress.dropped) == (0, 0, {})
        assert len(acknowledged) <= progress.accepted == progress.pending <= len(stored)
    async with CaseAssist(store=SQLiteStore(path), sinks=sinks) as assist:
        report = await assist.flush(LONG_S)
    for sink, progress in zip(sinks, report.sinks, strict=True):
        assert [(record.session_id, record.seq) for record in sink.records if record.seq == 0]
        assert {(record.session_id, record.seq) for record in sink.records} == stored
        assert progress == Progress(sink=sink.name, accepted=len(stored), delivered=len(stored), pending=0)
