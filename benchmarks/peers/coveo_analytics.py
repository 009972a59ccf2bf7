"""The JavaScript library that Coveo has for this, coveo.analytics, in a node process of its own.

It keeps its connections open, with node 19 and later. Before it sends an event it waits for a millisecond or more,
which is most of the time with one in flight.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from benchmarks.peers.pace import Pace
from benchmarks.results import skip

__all__ = ["INSTALL", "Log", "coveo_analytics", "versions"]

FOLDER = Path(__file__).parents[1] / "javascript"
PACKAGE = FOLDER / "node_modules" / "coveo.analytics"
INSTALL = "npm ci --prefix benchmarks/javascript"


class Log(Protocol):
    """Logs sessions of eight events with the library."""

    def __call__(self, in_flight: int, *, seconds: float | None = None, sessions: int | None = None) -> Pace:
        """``in_flight``: sessions at once. ``seconds`` or ``sessions``: how much."""
        ...


def versions() -> dict[str, str]:
    """Those of node and the library, where they are installed."""
    node = shutil.which("node")
    if node is None or not PACKAGE.is_dir():
        return {}
    of_node = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    package = json.loads((PACKAGE / "package.json").read_bytes())
    return {"node": of_node.removeprefix("v"), "coveo.analytics": str(package["version"])}


@contextmanager
def coveo_analytics(port: int) -> Iterator[Log | None]:
    """Run the library: its CaseAssistClient, whose endpoint is the server at ``port`` of this host.

    Gives None, with a line that says so, where node or the package is missing. The process is there as long as the
    block, so that its compiler is warm from one turn to the next.
    """
    node = shutil.which("node")
    if node is None:
        skip("coveo.analytics", "node is not installed")
    elif not PACKAGE.is_dir():
        skip("coveo.analytics", f"it is not installed: {INSTALL}")
        node = None
    if node is None:
        yield None
        return
    command = [node, str(FOLDER / "coveo_analytics.mjs"), f"http://127.0.0.1:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def log(in_flight: int, *, seconds: float | None = None, sessions: int | None = None) -> Pace:
            assert process.stdin is not None
            assert process.stdout is not None
            amount = {"sessions": sessions} if seconds is None else {"seconds": seconds}
            process.stdin.write(json.dumps({"inFlight": in_flight} | amount) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("coveo.analytics failed: node says why, above")
            answer: dict[str, float] = json.loads(line)
            events = answer["events"]
            return Pace(events / answer["seconds"], answer["cpuSeconds"] / events * 1e6)

        yield log
