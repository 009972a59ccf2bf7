"""The command line. It needs the extra ``cli``: ``pip install 'caseassist[cli]'``."""

from importlib.metadata import version as version_of

try:
    import click
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise SystemExit("the command line needs the extra `cli`: pip install 'caseassist[cli]'") from error

from caseassist.cli.diagram import diagram, schema
from caseassist.cli.play import play
from caseassist.cli.quarantine import quarantine
from caseassist.cli.replay import replay
from caseassist.cli.send import send
from caseassist.cli.upkeep import erase, expire, prune, sinks
from caseassist.cli.verify import verify

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version_of("caseassist"), prog_name="caseassist")
def main() -> None:
    """Log Coveo Case Assist sessions.

    Start with `caseassist play examples/session.jsonl`, and see the life cycle with `caseassist diagram`.
    """


for command in (play, replay, send, quarantine, sinks, verify, expire, erase, prune, diagram, schema):
    main.add_command(command)
