"""``caseassist diagram`` and ``caseassist schema``."""

import json
from pathlib import Path

import click

from caseassist import diagram as pictures
from caseassist import script
from caseassist.cli.options import Unreadable
from caseassist.core import records

__all__ = ["diagram", "schema"]

output_option = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, not the terminal."
)


@click.command(short_help="Draw the life cycle of a session.")
@click.option("--format", "form", type=click.Choice(["mermaid", "svg"]), default="mermaid", show_default=True)
@output_option
def diagram(form: str, output: Path | None) -> None:
    """Draw the life cycle of a session, from the table that the machine is built of."""
    _write(pictures.svg() if form == "svg" else pictures.mermaid(), output)


@click.command(short_help="Print the JSON Schema of records or scripts.")
@click.argument("what", type=click.Choice(["record", "script"]), default="record")
@output_option
def schema(what: str, output: Path | None) -> None:
    """Print the JSON Schema of a record and its events, or of a line of a script."""
    text = json.dumps(script.schema() if what == "script" else records.schema(), indent=2, ensure_ascii=False)
    _write(text + "\n", output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"cannot write {output}: {error.strerror}") from error
