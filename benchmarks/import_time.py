"""How long does ``import caseassist`` take, and ``caseassist --help``, in a fresh interpreter?

The import is given without the interpreter's own start, and its floor is the import of what we depend on. Help is given
with the start, which is its floor. *Processor time* is the same where other programs are at work, too.
"""

import os
import resource
import statistics
import subprocess
import sys
import time

from benchmarks.results import Result, result

COMMANDS = {
    "start": ["-c", "pass"],
    "dependencies": ["-c", "import anyio, msgspec, transitions"],
    "caseassist": ["-c", "import caseassist"],
    "--help": ["-m", "caseassist.cli", "--help"],
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As it is installed: compiled once."""


def children_s() -> float:
    """The processor time of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def taken_ms(arguments: list[str]) -> tuple[float, float]:
    """How long the interpreter takes, by the clock and by the processor."""
    used, begin = children_s(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return (time.perf_counter() - begin) * 1e3, (children_s() - used) * 1e3


def run(quick: bool) -> list[Result]:
    clock: dict[str, list[float]] = {name: [] for name in COMMANDS}
    processor: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        taken_ms(arguments)  # compiles what is not compiled yet
    for _ in range(5 if quick else 31):
        for name, arguments in COMMANDS.items():
            by_clock, by_processor = taken_ms(arguments)
            clock[name].append(by_clock)
            processor[name].append(by_processor)
    return [*figures("", clock), *figures(", processor time", processor)]


def figures(kind: str, times: dict[str, list[float]]) -> list[Result]:
    start = statistics.median(times["start"])
    imports = {name: [taken - start for taken in times[name]] for name in ("caseassist", "dependencies")}
    helped = {name: times[name] for name in ("--help", "start")}
    return [
        result(f"import{kind}", imports, unit="ms", floor="dependencies"),
        result(f"import, --help{kind}", helped, unit="ms", ours="--help", floor="start"),
    ]
