"""``caseassist send``."""

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import click

from caseassist.cli.logs import is_store, records_of_file
from caseassist.cli.options import (
    REFUSED,
    SINKS,
    UNDELIVERED,
    Amount,
    Unreadable,
    durable_store,
    form_option,
    open_sink,
    run,
    sink_option,
    token_option,
    usage_errors,
)
from caseassist.cli.output import Problems, json_line, progress_bar, summarise, undelivered
from caseassist.cli.watch import LOOK_S, Troubles, left_to_deliver
from caseassist.core.errors import CorruptRecord, SequenceConflict, StoreError
from caseassist.core.records import Record
from caseassist.delivery.reports import DrainReport
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore

__all__ = ["deliver", "patience_option", "send"]

IMPORTED_AT_ONCE = 500
STORE_PATIENCE_S = 5.0
"""Seconds without progress after which a store that fails is given up: it is on this machine, and seldom recovers."""

patience_option = click.option(
    "--drain-timeout",
    type=Amount(),
    default=60.0,
    metavar="SECONDS",
    show_default=True,
    help="Give up when nothing was delivered for so long.",
)


@click.command(epilog=SINKS, short_help="Deliver a log to sinks; go on where an earlier run stopped.")
@click.argument("log", metavar="LOG")
@sink_option(required=True)
@click.option(
    "--store",
    "store",
    metavar="URL",
    help="Where to keep how far each sink is, when LOG is no store; sqlite:LOG.db unless given.",
)
@token_option
@patience_option
@form_option
def send(log: str, sinks: Sequence[str], store: str | None, token_env: str, drain_timeout: float, form: str) -> None:
    """Deliver a LOG to sinks, in order within each session.

    LOG is a store, such as sqlite:PATH, or a file of records (JSON lines), or `-` for a pipe. Records of a file are
    first copied into a store beside it. Interrupt it at any time and start it again: it goes on where it was. What a
    sink refuses is put aside; see `caseassist quarantine`.

    \b
    Exit status: 0 all delivered; 1 some lines of LOG could not be read, the rest is delivered;
    2 wrong usage, or LOG or a sink cannot be opened; 3 not all delivered.
    """
    if is_store(log):
        if store is not None:
            raise click.UsageError("LOG is a store already; --store is for files and pipes")
        opened = durable_store(log)
    elif store == "memory:":
        raise click.UsageError("a store in memory keeps nothing to go on from: give --store sqlite:PATH")
    elif store is not None:
        opened = durable_store(store, new=True)
    elif log == "-":
        raise click.UsageError("a pipe cannot be read twice: give --store sqlite:PATH to keep what came out of it")
    else:
        opened = durable_store(f"sqlite:{log}.db", new=True)
    if not is_store(log) and log != "-" and not Path(log).is_file():  # before a store is made beside it
        what = "it is a directory" if Path(log).is_dir() else "there is no such file"
        raise Unreadable(f"cannot read {log}: {what}")
    with usage_errors():
        assist = CaseAssist(store=opened, sinks=[open_sink(url, token_env) for url in sinks], drain_timeout_s=0)
    problems = Problems()
    if not is_store(log):
        run(_import, log, opened, problems, left=lambda: "start it again to go on")
    report, troubles = run(deliver, assist, drain_timeout, left=partial(left_to_deliver, assist))
    if form == "json":
        json_line(
            {
                "sinks": report.sinks,
                "problems": problems.kept,
                "problemCount": problems.count,
                "lastProblems": troubles,
            }
        )
    else:
        summarise(report, troubles, to_stderr="stdout:" in sinks)
    problems.show()
    sys.exit(UNDELIVERED if undelivered(report) else REFUSED if problems.count else 0)


async def deliver(assist: CaseAssist, patience_s: float) -> tuple[DrainReport, dict[str, str]]:
    """Deliver all there is, with a bar on a terminal, until it is done or nothing moves any more.

    Returns what became of the records, and what stood in the way, by the sink's name.
    """
    troubles = Troubles(assist)
    async with assist:
        accepted = sum(sink.accepted for sink in assist.report().sinks)
        with progress_bar("sending", accepted) as show:
            moved_at, before = time.monotonic(), (-1, -1)
            while not (report := await assist.flush(LOOK_S)).complete or await _requested(assist):
                troubles.look()
                settled = sum(sink.accepted - sink.pending for sink in report.sinks)
                show(settled)
                now = (settled, sum(sink.delivered for sink in report.sinks))
                if now != before:
                    moved_at, before = time.monotonic(), now
                elif time.monotonic() - moved_at >= (
                    min(patience_s, STORE_PATIENCE_S) if troubles.store else patience_s
                ):
                    break
    report = assist.report()
    return report, troubles.of(report)


async def _requested(assist: CaseAssist) -> bool:
    """Whether an operator wants something to be sent again that is not yet."""
    for sink in assist.report().sinks:
        try:
            requested = sink.quarantined > 0 and bool(
                await assist.store.quarantined(sink.sink, requested=True, limit=1)
            )
        except StoreError:  # seen in its health
            requested = True
        if requested:
            await anyio.sleep(LOOK_S)
            return True
    return False


async def _import(log: str, store: SQLiteStore, problems: Problems) -> None:
    """Copy the records of a file into a store, those that are not there yet. ``problems``: gets what cannot be used."""
    async with store:
        batch: list[Record] = []
        for place in records_of_file(log):
            if isinstance(place.record, CorruptRecord):
                problems.add(str(place.record))
                continue
            batch.append(place.record)
            if len(batch) >= IMPORTED_AT_ONCE:
                await _store(store, batch, problems)
                batch = []
                await anyio.lowlevel.checkpoint()
        await _store(store, batch, problems)


async def _store(store: SQLiteStore, records: Sequence[Record], problems: Problems) -> None:
    try:
        await store.import_records(records)
    except SequenceConflict:
        if len(records) == 1:
            (record,) = records
            problems.add(f"record {record.seq} of session {record.session_id!r} differs from the one that came before")
            return
        half = len(records) // 2
        await _store(store, records[:half], problems)
        await _store(store, records[half:], problems)
