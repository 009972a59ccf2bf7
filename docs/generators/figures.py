"""The figures of the benchmarks, as ``python -m benchmarks --json`` wrote them into docs/figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from benchmarks.goals import goals_of
from benchmarks.results import Result
from docs.generators.markdown import table

FIGURES = Path(__file__).parents[1] / "figures"

HEAD = """# Figures

What `python -m benchmarks` measured. How fast the library is on your machine, only your machine can tell: read the
ratios. [Performance](../explanation/performance.md) says where the time goes and what was tried.

To measure anew: `python -m benchmarks --json FILE.json`, or only some questions, as `benchmarks/README.md` has it. That
takes five to ten minutes.

- Each figure is the median of several repeats. Ours, the floor and the peers took turns in one run, on the same bytes.
- *Of the floor*: our share of what the parts allow without our code.
- *Times better than*: twice the rate, or half the time or memory, is 2.
- *Goal*: what we set out for: ✓ is met, ✗ is not. What is missed is explained on the page about performance.

`benchmarks/README.md` says what each question measures, and what its floor is.
"""


class Run(msgspec.Struct):
    """One run of all benchmarks."""

    machine: dict[str, str]
    results: dict[str, Result]

    @property
    def python(self) -> str:
        return ".".join(self.machine["Python"].split(".")[:2])


def runs() -> list[Run]:
    found = []
    for path in sorted(FIGURES.glob("python-*.json")):
        if path.name.endswith(".machine.json"):
            continue
        results = msgspec.json.decode(path.read_bytes(), type=list[Result])
        machine = msgspec.json.decode(path.with_suffix(".machine.json").read_bytes(), type=dict[str, str])
        found.append(Run(machine=machine, results={result.name: result for result in results}))
    return found


def render() -> str:
    measured = runs()
    return "\n".join([HEAD, *machines(measured), *questions(measured)])


def machines(measured: Sequence[Run]) -> Iterator[str]:
    yield "## What was measured, and on what\n"
    names = dict.fromkeys(name for run in measured for name in run.machine)
    rows = ([name, *(run.machine.get(name, "") for run in measured)] for name in names)
    yield table(["", *(f"Python {run.python}" for run in measured)], rows)


def questions(measured: Sequence[Run]) -> Iterator[str]:
    names = dict.fromkeys(name for run in measured for name in run.results)
    for question in dict.fromkeys(name.split(",")[0] for name in names):
        yield f"## {question}\n"
        own = [name for name in names if name.split(",")[0] == question]
        rows = (row for name in own for run in measured if name in run.results for row in [row_of(run, name)])
        yield table(["figure", "Python", "median", "of the floor", "times better than", "goal"], rows)


def row_of(run: Run, name: str) -> list[str]:
    result = run.results[name]
    ratios = dict(result.ratios)
    floor = ratios.pop("floor", None)
    goals = [
        f"{'✓' if met else '✗'} {text}" + ("" if over is None else f" of the {over}" if over == "floor" else f" {over}")
        for over, text, met in goals_of(result)
    ]
    return [
        name,
        run.python,
        f"{number(result.value)} {result.unit}",
        "" if floor is None else f"{floor:.2f}",
        ", ".join(f"{peer} {ratio:.1f}" for peer, ratio in ratios.items()),
        "; ".join(goals),
    ]


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
