"""What the commands have in common: options, what the values of options name, exit statuses, and running."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import click
import msgspec

from caseassist.core.errors import CaseAssistError, InvalidAction
from caseassist.core.events import Context
from caseassist.core.session import checked_context
from caseassist.sinks.base import Sink
from caseassist.sinks.file import FileSink
from caseassist.sinks.http import HTTPSink
from caseassist.sinks.memory import MemorySink, NullSink
from caseassist.sinks.stream import StreamSink
from caseassist.stores.base import Store
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore

__all__ = [
    "INTERRUPTED",
    "REFUSED",
    "SINKS",
    "UNDELIVERED",
    "UNREADABLE",
    "durable_store",
    "form_option",
    "open_sink",
    "open_store",
    "read_context",
    "run",
    "sink_option",
    "store_option",
    "token_option",
    "usage_errors",
]

REFUSED = 1
UNREADABLE = 2
UNDELIVERED = 3
INTERRUPTED = 130

SINKS = """\b
Sinks:
  stdout:            JSON lines on standard output
  file:PATH          JSON lines at the end of a file
  null:              nowhere
  memory:            nowhere, but counted
  https://HOST/PATH  a Usage Analytics endpoint; without PATH, /rest/ua
  coveo:ORG          the organization ORG; coveo:ORG?hipaa=true for HIPAA
\b
Stores:
  memory:                       kept until the command ends
  sqlite:PATH                   kept in a file; survives the loss of power
  sqlite:PATH?durability=os     faster; survives the death of the process
"""

F = TypeVar("F", bound=Callable[..., Any])

form_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For whom."
)
token_option = click.option(
    "--token-env",
    default="COVEO_TOKEN",
    metavar="NAME",
    show_default=True,
    help="Environment variable that holds the token.",
)


def sink_option(*, required: bool) -> Callable[[F], F]:
    """``--sink``, repeatable."""
    return click.option(
        "--sink",
        "sinks",
        multiple=True,
        required=required,
        metavar="URL",
        help="Where records are delivered; repeatable. See below.",
    )


def store_option(*, required: bool) -> Callable[[F], F]:
    """``--store``: a durable one, if it is required."""
    if required:
        return click.option("--store", "store", required=True, metavar="URL", help="The store, such as sqlite:PATH.")
    return click.option(
        "--store", "store", default="memory:", metavar="URL", show_default=True, help="Where records are kept."
    )


@contextmanager
def usage_errors() -> Generator[None]:
    """Say as wrong usage what is wrong with a value of the command line."""
    try:
        yield
    except (InvalidAction, ValueError) as error:
        raise click.UsageError(str(error)) from error


def read_context(file: Path | None, search_hub: str | None, language: str | None) -> Context:
    """The context of a file, with the command line's members over it."""
    members: dict[str, Any] = {}
    if file is not None:
        try:
            members = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        except OSError as error:
            raise click.UsageError(f"cannot read the context file {file}: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise click.UsageError(f"the context file {file} is no JSON object in UTF-8") from error
    if search_hub is not None:
        members["searchHub"] = search_hub
    if language is not None:
        members["language"] = language
    return checked_context(members)


def open_sink(url: str, token_env: str) -> Sink:
    """The sink that a URL names. Raises UsageError for one that is none."""
    scheme, colon, rest = url.partition(":")
    match scheme if colon else "":
        case "stdout" if not rest:
            return StreamSink(sys.stdout.buffer, name="stdout")
        case "null" if not rest:
            return NullSink()
        case "memory" if not rest:
            return MemorySink()
        case "file" if rest.removeprefix("//"):
            return FileSink(rest.removeprefix("//"))
        case "http" | "https":
            return HTTPSink(url, token=os.environ.get(token_env))
        case "coveo":
            organization, _, query = rest.partition("?")
            if query not in ("", "hipaa=true", "hipaa=false"):
                raise click.UsageError(f"unknown option in --sink {url}; known is ?hipaa=true")
            token = os.environ.get(token_env)
            if not token:
                raise click.UsageError(f"--sink {url} needs a token in the environment variable {token_env}")
            return HTTPSink.for_organization(organization, hipaa=query == "hipaa=true", token=token)
        case _:
            known = "stdout:, file:PATH, null:, memory:, http(s)://HOST/PATH, coveo:ORG"
            raise click.UsageError(f"unknown sink {url!r}; known are {known}")


def open_store(url: str) -> Store:
    """The store that a URL names. Raises UsageError for one that is none."""
    return MemoryStore() if url == "memory:" else durable_store(url, new=True)


def durable_store(url: str, *, new: bool = False) -> SQLiteStore:
    """The durable store that a URL names. Raises UsageError for one that is none, or not there unless ``new``."""
    scheme, _, rest = url.partition(":")
    path, _, query = rest.removeprefix("//").partition("?")
    if scheme != "sqlite" or not path:
        known = "memory:, sqlite:PATH" if new else "sqlite:PATH"
        raise click.UsageError(f"unknown store {url!r}; known: {known}")
    if query not in ("", "durability=disk", "durability=os"):
        raise click.UsageError(f"unknown option in the store {url!r}; known is ?durability=disk or ?durability=os")
    if not new and not Path(path).is_file():
        raise click.UsageError(f"there is no store {path}")
    return SQLiteStore(path, durability="os" if query.endswith("os") else "disk")


def run(function: Callable[..., Any], *args: Any) -> Any:
    """Run an async function to its end. The first interrupt stops it in good order, a second one at once."""
    try:
        return anyio.run(function, *args)
    except CaseAssistError as error:  # a store or a sink that cannot be opened
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
