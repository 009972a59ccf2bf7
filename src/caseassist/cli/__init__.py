"""The command line. It needs the extra ``cli``: ``pip install 'caseassist[cli]'``."""

import io
import os
import sys
from contextlib import suppress
from importlib.metadata import version as version_of
from typing import Any

try:
    import click
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise SystemExit("the command line needs the extra `cli`: pip install 'caseassist[cli]'") from error

from caseassist.cli.chat import chat
from caseassist.cli.diagram import diagram
from caseassist.cli.options import UNREADABLE
from caseassist.cli.play import play
from caseassist.cli.quarantine import quarantine
from caseassist.cli.replay import replay
from caseassist.cli.schema import schema
from caseassist.cli.send import send
from caseassist.cli.service import service
from caseassist.cli.upkeep import erase, expire, prune, sinks
from caseassist.cli.verify import verify

__all__ = ["main"]


class _Commands(click.Group):
    """Commands whose output can fail: the disk is full, the reader has gone, the terminal knows few characters."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        out: object = sys.stdout
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")
        try:
            return super().main(*args, **kwargs)
        except BrokenPipeError:  # of `| head`, which has seen enough
            _give_up_output()
        except OSError as error:
            _give_up_output()
            with suppress(OSError):
                what = "cannot write the output" if error.filename is None else error.filename
                click.echo(f"Error: {what}: {error.strerror}", err=True)
        sys.exit(UNREADABLE)


def _give_up_output() -> None:
    """Have what is still in standard output's buffer go nowhere: at exit, it would fail once more."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version_of("caseassist"), prog_name="caseassist")
def main() -> None:
    """Log Coveo Case Assist sessions.

    Start with `caseassist play examples/session.jsonl`, and see the life cycle with `caseassist diagram`.
    """


for command in (chat, play, replay, send, quarantine, sinks, verify, expire, erase, prune, service, diagram, schema):
    main.add_command(command)
