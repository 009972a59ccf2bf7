"""The example for Slack as a program: over a real WebSocket, with a Web API on a real socket."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.canaries import TOKEN
from tests.integrations.conversations import CONTEXT, Tickets
from tests.integrations.slack_api import DIRECT, LONG_S, TEAM, Slack, buttons_of, message_body, press_body, shown

from caseassist.bot import Bot
from caseassist.live import CaseAssist
from caseassist.stores.sqlite import SQLiteStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "slack_bot.py"


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio only: slack-bolt stands on aiohttp, which cannot run on trio."""
    return "asyncio"


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with Slack().serve() as slack:
        yield slack


@asynccontextmanager
async def program(folder: Path, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example, run in a folder. It is killed in the end."""
    names = {"PATH", "SYSTEMROOT", "PYTHONPATH"} & os.environ.keys()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        cwd=folder,
        env={name: os.environ[name] for name in names} | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


BOT, APP = {"SLACK_BOT_TOKEN": f"xoxb-{TOKEN}"}, {"SLACK_APP_TOKEN": f"xapp-{TOKEN}"}


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({}, "SLACK_BOT_TOKEN and SLACK_APP_TOKEN"),
        (BOT, "SLACK_APP_TOKEN"),
        (BOT | APP | {"COVEO_ORGANIZATION": "myorg", "COVEO_TOKEN": "xx"}, "COVEO_CASE_ASSIST_ID"),
    ],
)
async def test_it_says_which_tokens_are_missing(env: dict[str, str], missing: str, tmp_path: Path) -> None:
    async with program(tmp_path, **env) as process:
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    (line,) = err.decode().splitlines()
    assert line.startswith(f"Set {missing}. Slack's are on the pages of your app at https://api.slack.com/apps")


@pytest.mark.skipif(os.name == "nt", reason="it is stopped with a signal of POSIX")
async def test_the_program_leads_to_a_ticket_and_goes_on_after_it_was_killed(slack: Slack, tmp_path: Path) -> None:
    env = BOT | APP | {"SLACK_API": slack.url}
    pushed = 1
    async with program(tmp_path, **env):
        await slack.push(message_body(slack, "My generator stops after a minute"))
        await slack.said(1)
    async with program(tmp_path, **env) as process:
        while pushed < 6:
            offered = buttons_of(slack.messages[-1])
            if (way := next((one for one in offered if one.startswith(("file", "none:", "skip:"))), None)) is None:
                break
            await slack.push(press_body(slack, slack.messages[-1], way))
            pushed += 1
            await slack.said(pushed)
        assert "CASE-" in shown(slack.messages[-1])
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(LONG_S):
            _, err = await process.communicate()
    assert process.returncode == 0
    log_lines = err.decode()
    assert not [word for word in ("Traceback", "WARNING", "ERROR", "Unclosed", TOKEN) if word in log_lines], log_lines
    assert len(slack.acknowledged) == pushed == len(slack.messages)
    async with CaseAssist(CONTEXT, store=SQLiteStore(tmp_path / "cases.db")) as assist:
        bot = Bot(assist, tickets=Tickets(), name="slack-bot")
        log = await assist.load((await bot.session_ids(f"{TEAM}/{DIRECT}"))[0])
    assert log[-1].ticket.id is not None
