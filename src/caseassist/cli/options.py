"""What the commands have in common: options, what the values of options name, exit statuses, and running."""

import math
import os
import re
import sys
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import click
import msgspec

from caseassist.core.checked import checked_context
from caseassist.core.errors import CaseAssistError, InvalidAction
from caseassist.core.events import Context
from caseassist.sinks.base import Sink
from caseassist.sinks.file import FileSink
from caseassist.sinks.http import HTTPSink
from caseassist.sinks.memory import MemorySink, NullSink
from caseassist.sinks.stream import StreamSink
from caseassist.stores.base import Store
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore
from caseassist.wire.endpoints import Endpoint

__all__ = [
    "INTERRUPTED",
    "REFUSED",
    "SINKS",
    "UNDELIVERED",
    "UNREADABLE",
    "Amount",
    "Unreadable",
    "durable_store",
    "form_option",
    "known_sink",
    "open_sink",
    "open_store",
    "read_context",
    "run",
    "shown_url",
    "sink_option",
    "store_option",
    "token_option",
    "usage_errors",
    "variable_name",
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

_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


class Unreadable(click.ClickException):
    """Something cannot be had or is not there, and the command line is not to blame."""

    exit_code = UNREADABLE


class Amount(click.FloatRange):
    """A finite number that is not negative."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail("expected a finite number", param, ctx)
        return float(number)


def variable_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The name of an environment variable. What is none may be the token itself, and is not repeated."""
    if value is None:
        return None
    if value.startswith("xx") or not _VARIABLE.fullmatch(value):
        raise click.BadParameter(
            "expected the name of an environment variable that holds the token, not the token itself", ctx, param
        )
    return value


form_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For whom."
)
token_option = click.option(
    "--token-env",
    default="COVEO_TOKEN",
    metavar="NAME",
    show_default=True,
    callback=variable_name,
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
            raise Unreadable(f"cannot read the context file {file}: {error.strerror}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unreadable(f"the context file {file} is no JSON object in UTF-8") from error
    if search_hub is not None:
        members["searchHub"] = search_hub
    if language is not None:
        members["language"] = language
    return checked_context(members)


def open_sink(url: str, token_env: str) -> Sink:
    """The sink that a URL names. Raises UsageError for one that is none, and what the sink raises."""
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
                raise click.UsageError(f"unknown option in --sink {shown_url(url)}; known is ?hipaa=true")
            token = os.environ.get(token_env)
            if not token:
                raise click.UsageError(f"--sink {shown_url(url)} needs a token in the environment variable {token_env}")
            return HTTPSink.for_organization(organization, hipaa=query == "hipaa=true", token=token)
        case _:
            known = "stdout:, file:PATH, null:, memory:, http(s)://HOST/PATH, coveo:ORG"
            raise click.UsageError(f"unknown sink {shown_url(url)!r}; known are {known}")


def known_sink(given: str, known: Collection[str]) -> str:
    """The name of a sink of a store, of which its name or its URL is given. Raises Unreadable if there is no such."""
    for name in (given, _name_of(given)):
        if name in known:
            return name
    names = ", ".join(sorted(known)) or "none"
    raise Unreadable(f"there is no sink {shown_url(given)} in this store; known: {names}")


def _name_of(url: str) -> str:
    """The name that the sink of a URL has, without opening it: it may need a token."""
    scheme, _, rest = url.partition(":")
    try:
        match scheme:
            case "file":
                return FileSink(rest.removeprefix("//")).name
            case "http" | "https":
                return str(Endpoint.parse(url))
            case "coveo":
                organization, _, query = rest.partition("?")
                return str(Endpoint.for_organization(organization, hipaa=query == "hipaa=true"))
            case _:
                return url.removesuffix(":")
    except ValueError:
        return url


def shown_url(url: str) -> str:
    """A URL as it may be shown: without user and password, and without the values of a query."""
    return re.sub(r"(\?[^=]*=).*", r"\1…", re.sub(r"(?<=:)(/*)[^?]*@", r"\1…@", url))


def open_store(url: str) -> Store:
    """The store that a URL names. Raises UsageError for one that is none."""
    return MemoryStore() if url == "memory:" else durable_store(url, new=True)


def durable_store(url: str, *, new: bool = False) -> SQLiteStore:
    """The durable store that a URL names. Raises UsageError for one that is none, or not there unless ``new``."""
    scheme, _, rest = url.partition(":")
    path, _, query = rest.removeprefix("//").partition("?")
    if scheme != "sqlite" or not path:
        known = "memory:, sqlite:PATH" if new else "sqlite:PATH"
        raise click.UsageError(f"unknown store {shown_url(url)!r}; known: {known}")
    if query not in ("", "durability=disk", "durability=os"):
        raise click.UsageError(
            f"unknown option in the store {shown_url(url)!r}; known is ?durability=disk or ?durability=os"
        )
    if Path(path).is_dir():
        raise Unreadable(f"{path} is a directory; a store is a file")
    if not new and not Path(path).is_file():
        raise Unreadable(f"there is no store {path}")
    return SQLiteStore(path, durability="os" if query.endswith("os") else "disk", create=new)


def run(function: Callable[..., Any], *args: Any, left: Callable[[], str] = lambda: "") -> Any:
    """Run an async function to its end. The first interrupt stops it in good order, a second one at once.

    ``left``: says what is left when it was interrupted; nothing if there is nothing to say.
    """
    try:
        return anyio.run(function, *args)
    except CaseAssistError as error:  # a store or a sink that cannot be opened
        raise Unreadable(str(error)) from error
    except UnicodeEncodeError as error:  # of an argument in bytes that are no text
        raise Unreadable("an argument is no valid Unicode") from error
    except KeyboardInterrupt:
        said = left()
        click.echo(f"interrupted: {said}" if said else "interrupted", err=True)
        sys.exit(INTERRUPTED)
