"""``caseassist service``."""

import errno
import logging
import os
import sys
from pathlib import Path

import anyio
import click

from caseassist.cli.options import Unreadable, usage_errors, variable_name
from caseassist.cli.output import counted, printable
from caseassist.service.knowledge import InvalidKnowledge, Knowledge, example_text
from caseassist.wire.secret import Secret

__all__ = ["CASE_ASSIST", "ORGANIZATION", "load_knowledge", "service"]

ORGANIZATION = "demo"
CASE_ASSIST = "demo"


@click.command(short_help="Run a stand-in for Coveo's Customer Service API.")
@click.option(
    "--kb",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The knowledge base, in TOML or JSON. Without it, an example.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any that is free."
)
@click.option(
    "--token-env",
    metavar="NAME",
    callback=variable_name,
    help="Environment variable that holds the token that callers must give. Without it, any token is fine, or none.",
)
@click.option("--verbose", is_flag=True, help="Say on standard error what the server does.")
@click.option("--print-kb", is_flag=True, help="Print the example knowledge base, to start your own from, and end.")
def service(kb: Path | None, port: int, token_env: str | None, verbose: bool, print_kb: bool) -> None:
    """Run a stand-in for Coveo's Customer Service API on this machine.

    It suggests classifications and documents out of a knowledge base, for development, tests and demos without an
    organization. Ctrl-C stops it.
    """
    if print_kb:
        click.echo(example_text(), nl=False)
        return
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    token = _token(token_env)
    with load_knowledge(kb) as knowledge:
        try:
            anyio.run(_serve, knowledge, port, token, token_env)
        except KeyboardInterrupt:  # that is how it is meant to end
            click.echo("stopped", err=True)


def _token(token_env: str | None) -> Secret | None:
    if token_env is None:
        return None
    if not (token := os.environ.get(token_env)):
        raise click.UsageError(f"the environment variable {token_env} holds no token")
    with usage_errors():
        return Secret(token)


def load_knowledge(kb: Path | None) -> Knowledge:
    try:
        return Knowledge.load(kb)
    except InvalidKnowledge as error:
        raise Unreadable(printable(f"{kb}: {error}")) from error
    except OSError as error:
        raise Unreadable(f"cannot read the knowledge base {kb}: {error.strerror}") from error


async def _serve(knowledge: Knowledge, port: int, token: Secret | None, token_env: str | None) -> None:
    try:
        from caseassist.service.standin import create_app, serve
    except ImportError as error:
        raise Unreadable(str(error)) from error
    app = create_app(knowledge, token=token)
    try:
        async with serve(app, port=port) as address:
            _introduce(address, knowledge, token_env)
            await anyio.sleep_forever()
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise Unreadable(f"cannot listen on port {port}: {error.strerror}; choose another with --port") from error


def _introduce(address: str, knowledge: Knowledge, token_env: str | None) -> None:
    fields = ", ".join(knowledge.fields) or "nothing"
    authorization = "" if token_env is None else f' -H "Authorization: Bearer ${token_env}"'
    url = f"{address}/rest/organizations/{ORGANIZATION}/caseassists/{CASE_ASSIST}/documents/suggest"
    body = '{"fields": {"subject": {"value": "My generator stops"}}}'
    token = "None" if token_env is None else f'os.environ["{token_env}"]'
    click.secho(f"A stand-in for Coveo's Customer Service API is at {address}", bold=True)
    click.echo(f"It has {counted(len(knowledge.documents), 'document')} and classifies {printable(fields)}.")
    click.echo("\nAsk it from a shell:")
    click.echo(f"  curl{authorization} {url} -d '{body}'")
    click.echo("or from Python:")
    click.echo(f'  CustomerService("{address}", organization="{ORGANIZATION}", case_assist_id="{CASE_ASSIST}", '
               f"token={token})")  # fmt: skip
    click.echo("\nCtrl-C stops it.")
    sys.stdout.flush()
