"""``caseassist schema``."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from caseassist import script
from caseassist.cli.output import output_option, write
from caseassist.core import records

__all__ = ["schema"]

SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "record": records.schema,
    "script": script.schema,
    "answer": script.answer_schema,
}


@click.command(short_help="Print the JSON Schema of records, scripts or answers.")
@click.argument("what", type=click.Choice([*SCHEMAS]), default="record")
@output_option
def schema(what: str, output: Path | None) -> None:
    """Print the JSON Schema (2020-12) of a record and its events, of a line of a script, or of the answer to one."""
    write(json.dumps(SCHEMAS[what](), indent=2, ensure_ascii=False) + "\n", output)
