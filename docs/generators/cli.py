"""The command line: the help of every command, and the exit statuses."""

import click
from click.testing import CliRunner
from docs.generators.markdown import block, table

from caseassist import cli
from caseassist.cli import options

INTRODUCTION = """\
# Command line

The command line needs the extra `cli` (click and rich): `pip install 'caseassist[cli]'`. It can also be run as
`python -m caseassist.cli`.

Records and answers go to standard output, messages for people about what went wrong to standard error. A token is taken
from the environment, never from the command line, where others could see it: `--token-env` takes the name of a
variable, and a value that may be a token itself is refused.

Tables are as wide as the terminal. Ids and names are never cut; where there is no room, columns are left out, and the
last line names them. What does not go to a terminal is not cut at all.
"""

SINKS = (
    ("`stdout:`", "JSON lines on standard output", "answers then go to standard error; not with `--format json`"),
    ("`file:PATH`", "[FileSink](api.md#filesink)", "appends; one process per file"),
    ("`null:`", "[NullSink](api.md#nullsink)", "to measure, or to check a script"),
    ("`memory:`", "[MemorySink](api.md#memorysink)", "counted, and gone at the end"),
    ("`https://HOST/PATH`", "[HTTPSink](api.md#httpsink)",
     "a Usage Analytics endpoint; `/rest/ua` without a path. `http://` only to this machine"),
    ("`coveo:ORG`", "[HTTPSink](api.md#httpsink)",
     "the organization `ORG`; needs a token. `coveo:ORG?hipaa=true` for a HIPAA organization"),
)  # fmt: skip

STORES = (
    ("`memory:`", "[MemoryStore](api.md#memorystore)", "gone at the end of the command"),
    ("`sqlite:PATH`", "[SQLiteStore](api.md#sqlitestore)",
     "survives restarts; `sqlite:PATH?durability=os` is faster and may lose the latest records when power is lost"),
)  # fmt: skip

LOST = """\
With `memory:`, what is not delivered when the command ends is lost, and its exit status says so. With `sqlite:PATH`,
the next command that is given this store and this sink goes on with it. When a command is interrupted, it says how much
is left, or lost.

With `--format json`, if something was not delivered or was refused by a sink, the last line on standard error is a JSON
object: `sinks` with the counts of each, and `lastProblems` with what stood in the way, by the sink's name.
"""

STATUSES = (
    ("0", "all lines were accepted, all records could be used, and all were delivered"),
    (str(options.REFUSED),
     "some lines were refused or could not be used, and all others were delivered; or there is nobody to erase"),
    (str(options.UNREADABLE),
     "wrong usage; a script, log, store or sink that cannot be opened or is not known; output that cannot be written"),
    (str(options.UNDELIVERED), "some records were not delivered in time, or are in quarantine"),
    (str(options.INTERRUPTED), "interrupted (Ctrl-C); what was recorded until then was given the drain timeout"),
)  # fmt: skip


def render() -> str:
    parts = [INTRODUCTION, block("console", _help())]
    for name, command in cli.main.commands.items():
        parts += [f"## {name}\n", block("console", _help(name))]
        for part in command.commands if isinstance(command, click.Group) else ():
            parts += [f"### {name} {part}\n", block("console", _help(name, part))]
        if name == "play":
            parts += ["[Scripts](script.md) has the lines and their answers.\n", "### Sinks and stores\n"]
            parts += [table(("`--sink`", "is", ""), SINKS)]
            parts += [table(("`--store`", "is", ""), STORES), LOST]
    parts += ["## Exit statuses\n", table(("status", "meaning"), STATUSES)]
    return "\n".join(parts)


def _help(*command: str) -> str:
    assert isinstance(cli.main, click.Group)
    result = CliRunner().invoke(cli.main, [*command, "--help"], prog_name="caseassist", terminal_width=78)
    assert result.exit_code == 0, result.output
    return " ".join(["$ caseassist", *command, "--help"]) + "\n" + result.output
