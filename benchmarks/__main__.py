"""Run benchmarks: ``python -m benchmarks [NAME…] [--quick] [--json FILE] [--compare OLD.json]``."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.goals import goals_of
from benchmarks.results import Result, installed, times_better, versions_of

QUESTIONS = {
    "encode": "encode",
    "decode": "decode",
    "step": "step",
    "step_file": "step_file",
    "live": "live",
    "file_sink": "file_sink",
    "sqlite_store": "sqlite_store",
    "http_sink": "http_sink",
    "replay": "replay",
    "memory": "memory",
    "import": "import_time",
    "courier": "courier",
    "conversations": "conversations",
}
"""What they are called, and their modules."""

WIDTH = 100


class Row(msgspec.Struct):
    """A figure as it is written to a file."""

    name: str
    unit: str
    value: float
    floor: float | None
    peers: dict[str, float]
    ratios: dict[str, float]
    spread: float


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure how fast we are, beside the floor and others. Medians; nothing fails for being slow.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which: {', '.join(QUESTIONS)}; all, if none is given"
    )
    parser.add_argument("--quick", action="store_true", help="few repeats: for a look, not for a figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, and FILE.machine.json beside it")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="how many times better than those figures")
    args = parser.parse_args()
    if unknown := set(args.names) - set(QUESTIONS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    old: list[Row] | None = None
    if args.compare:
        try:
            old = msgspec.json.decode(args.compare.read_bytes(), type=list[Row])
        except (OSError, msgspec.MsgspecError) as error:
            parser.error(f"cannot read {args.compare}: {error}")
    names = list(dict.fromkeys(args.names)) or list(QUESTIONS)
    modules = {name: module for name in names if (module := installed(name, f"benchmarks.{QUESTIONS[name]}"))}
    machine = describe_machine(modules.values())
    console = Console(width=WIDTH, highlight=False)
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()))
    results: list[Result] = []
    seconds: dict[str, float] = {}
    for place, (name, module) in enumerate(modules.items(), 1):
        print(f"[{place}/{len(modules)}] {name}", file=sys.stderr, flush=True)
        begin = time.perf_counter()
        results += module.run(args.quick)
        seconds[name] = time.perf_counter() - begin
    each = ", ".join(f"{name} {taken:.1f}" for name, taken in seconds.items())
    print(f"done in {sum(seconds.values()):.0f} s ({each})", file=sys.stderr)
    show(console, results)
    if old is not None:
        compare(console, results, old)
    if args.json:
        rows = [
            Row(
                name=result.name,
                unit=result.unit,
                value=result.value,
                floor=result.floor,
                peers=result.peers,
                ratios=result.ratios,
                spread=result.spread,
            )
            for result in results
        ]
        write(args.json, rows)
        write(args.json.with_suffix(".machine.json"), machine)


def describe_machine(modules: Iterable[ModuleType]) -> dict[str, str]:
    """What is measured, where, and when."""
    machine = {
        "Python": platform.python_version(),
        "OS": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPU": f"{os.cpu_count()} cores of {cpu_model()}",
        "date": datetime.now(UTC).date().isoformat(),
    } | versions_of("caseassist", "msgspec", "transitions", "anyio", "trio")
    for module in modules:
        machine |= module.versions() if hasattr(module, "versions") else {}
    return machine


def cpu_model() -> str:
    """The name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def show(console: Console, results: Sequence[Result]) -> None:
    """Print a table of all figures, and below each its floor and its peers."""
    table = Table("figure", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in ("median", "spread", "times better"):
        table.add_column(header, justify="right")
    table.add_column("goal")
    for result in results:
        goals = {over: f"{'✓' if met else '✗'} {text}" for over, text, met in goals_of(result)}
        own = f"{number(result.value)} {result.unit}"
        spread = f"{result.spread:.0%}" if result.spread else ""
        table.add_row(result.name, own, spread, "", goals.get(None, ""), style="bold")
        others = ({} if result.floor is None else {"floor": result.floor}) | result.peers
        for name, value in others.items():
            ratio = result.ratios.get(name)
            better = "-" if ratio is None else f"{ratio:.2f}"
            table.add_row(f"  {name}", f"{number(value)} {result.unit}", "", better, goals.get(name, ""))
    console.print(table)
    console.print(
        "spread: largest less smallest repeat, of the median. times better: twice the rate, or half the time, of this "
        "peer is 2; of the floor it is our share. goal: of the figure, or of the times better; ✓ is met, ✗ is not."
    )


def compare(console: Console, results: Sequence[Result], old: Sequence[Row]) -> None:
    """Print how many times better each figure is than the one of the same name, and what only one side has."""
    table = Table("figure", box=box.SIMPLE_HEAD)
    for header in ("old", "new", "times better"):
        table.add_column(header, justify="right")
    before = {row.name: row for row in old}
    for result in results:
        row = before.get(result.name)
        if row is None or row.unit != result.unit:
            continue
        both = min(row.value, result.value) > 0
        ratio = f"{times_better(result.unit, result.value, row.value):.2f}" if both else "-"
        table.add_row(result.name, number(row.value), f"{number(result.value)} {result.unit}", ratio)
    console.print(table)
    now = {result.name: result for result in results}
    for title, here, there in (("only in the old figures", before, now), ("only in the new figures", now, before)):
        if names := [name for name in here if name not in there or here[name].unit != there[name].unit]:
            console.print(f"{title}: {'; '.join(names)}")


def number(value: float) -> str:
    """Three digits at least, and all that are before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(path: Path, data: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(data)) + b"\n")


if __name__ == "__main__":
    main()
