"""``caseassist diagram``."""

from pathlib import Path

import click

from caseassist import diagram as pictures
from caseassist.cli.output import output_option, write

__all__ = ["diagram"]


@click.command(short_help="Draw the life cycle of a session.")
@click.option("--format", "form", type=click.Choice(["mermaid", "svg"]), default="mermaid", show_default=True)
@output_option
def diagram(form: str, output: Path | None) -> None:
    """Draw the life cycle of a session, from the table that the machine is built of."""
    write(pictures.svg() if form == "svg" else pictures.mermaid(), output)
