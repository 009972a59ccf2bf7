"""Run benchmarks: ``python -m benchmarks [NAME…] [--quick] [--json FILE]``."""

import argparse
import os
import platform
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.results import Result

NAMES = ("encode", "decode", "step", "step_file", "live", "sqlite_store", "http_sink", "courier", "conversations")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Events per second, medians.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all, if none is given")
    parser.add_argument("--quick", action="store_true", help="few repeats: for a look, not for a figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    console = Console(width=120 if not os.isatty(1) else None)
    versions = ", ".join(f"{name} {version(name)}" for name in ("caseassist", "msgspec", "transitions", "anyio"))
    console.print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, {platform.machine()}")
    results: list[Result] = []
    for name in args.names or NAMES:
        with console.status(f"{name} …"):
            results += import_module(f"benchmarks.{name}").run(args.quick)
    table = Table("benchmark", "figure", "unit", "spread", "of the floor", "times faster than")
    for result in results:
        ratios = result.ratios
        floor = ratios.pop("floor", None)
        table.add_row(
            result.name,
            f"{result.value:,.0f}" if result.value >= 100 else f"{result.value:,.1f}",
            result.unit,
            f"{result.spread:.0%}",
            "" if floor is None else f"{floor:.2f}",
            ", ".join(f"{peer} {ratio:.1f}" for peer, ratio in ratios.items()),
        )
    console.print(table)
    if args.json:
        rows = [msgspec.to_builtins(result) | {"ratios": result.ratios} for result in results]
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))


if __name__ == "__main__":
    main()
