"""Watching delivery: what stands in its way, and what is left when somebody has interrupted it."""

import sys
import time

import anyio
import click

from caseassist.delivery.reports import DrainReport
from caseassist.live import CaseAssist

__all__ = ["LOOK_S", "Troubles", "close", "left_to_deliver"]

LOOK_S = 0.1
HINT_S = 1.0
"""Seconds of silence after which a person wants to know what is going on."""

CLOSED = "it is closed"
STORE_FAILS = "the store fails"


class Troubles:
    """What stood in the way of delivery, sink by sink: :meth:`look` now and then, while it is going on."""

    def __init__(self, assist: CaseAssist) -> None:
        self._assist = assist
        self._last: dict[str, str] = {}
        self.store = ""
        """What is wrong with the store at the moment."""

    def look(self) -> None:
        health = self._assist.health()
        failing = [sink.problem for sink in health.sinks if sink.problem.startswith(STORE_FAILS)]
        self.store = health.store.problem if not health.store.ok else next(iter(failing), "")
        for sink in health.sinks:
            if self.store:
                self._last[sink.sink] = self.store
            elif sink.problem and sink.problem != CLOSED:
                self._last[sink.sink] = sink.problem

    def of(self, report: DrainReport) -> dict[str, str]:
        """The latest for each sink that has not got everything."""
        return {sink.sink: self._last[sink.sink] for sink in report.sinks if sink.pending and sink.sink in self._last}


async def close(assist: CaseAssist, troubles: Troubles) -> DrainReport:
    """Deliver what is left and close, as long as the CaseAssist allows. A person at a terminal is told if it takes."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, assist, troubles)
        await assist.aclose()
        tasks.cancel_scope.cancel()
    return assist.report()


async def _watch(assist: CaseAssist, troubles: Troubles) -> None:
    hint_at: float | None = time.monotonic() + HINT_S
    while True:
        await anyio.sleep(LOOK_S)
        pending = sum(sink.pending for sink in assist.report().sinks)
        if pending and assist.store.health().ok:  # it says that it is not open once it is closed
            troubles.look()
        if hint_at is not None and time.monotonic() >= hint_at:
            hint_at = None
            if pending and sys.stderr.isatty():
                limit = f"for up to {assist.drain_timeout_s:g} s"
                click.echo(f"delivering what is left, {pending} pending, {limit}; Ctrl-C stops it", err=True)


def left_to_deliver(assist: CaseAssist) -> str:
    """What an interrupted command has not done; nothing if all was delivered."""
    sinks = assist.report().sinks
    if assist.store.durability == "memory":
        lost = max((sink.pending + sink.quarantined for sink in sinks), default=0)
        if lost == 1:
            return "1 record was not delivered and is lost"
        return f"{lost} records were not delivered and are lost" if lost else ""
    pending = sum(sink.pending for sink in sinks)
    return f"{pending} pending, start it again to go on" if pending else ""
