"""A support bot in Slack. It records its cases in cases.db, and logs them with Coveo if COVEO_ORGANIZATION is set.

pip install 'caseassist[slack,service]'
SLACK_BOT_TOKEN=xoxb-… SLACK_APP_TOKEN=xapp-… python slack_bot.py
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler

from caseassist import CaseAssist, Context, HTTPSink, SQLiteStore
from caseassist.bot import Bot
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.integrations.slack import register
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge
from caseassist.service.standin import create_app, serve


@asynccontextmanager
async def suggestions() -> AsyncGenerator[CustomerService]:
    """Coveo's Customer Service API, or a stand-in for it on this machine."""
    if organization := os.environ.get("COVEO_ORGANIZATION"):
        case_assist_id, token = os.environ["COVEO_CASE_ASSIST_ID"], os.environ["COVEO_TOKEN"]
        async with CustomerService.for_organization(organization, case_assist_id, token=token) as service:
            yield service
    else:
        with Knowledge.load() as knowledge:  # give it a file of your own
            async with (
                serve(create_app(knowledge)) as address,
                CustomerService(address, organization="demo", case_assist_id="demo", token=None) as service,
            ):
                yield service


async def main() -> None:
    organization = os.environ.get("COVEO_ORGANIZATION")
    needed = ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", *(["COVEO_CASE_ASSIST_ID", "COVEO_TOKEN"] if organization else [])]
    if missing := [name for name in needed if not os.environ.get(name)]:
        sys.exit(f"Set {' and '.join(missing)}. Slack's are on the pages of your app at https://api.slack.com/apps")
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("transitions").setLevel(logging.WARNING)

    sinks = [HTTPSink.for_organization(organization, token=os.environ["COVEO_TOKEN"])] if organization else []
    context = Context(search_hub="support-bot", language="en")
    async with (
        suggestions() as service,
        CaseAssist(context, store=SQLiteStore("cases.db"), sinks=sinks) as assist,
    ):
        app = AsyncApp(token=os.environ["SLACK_BOT_TOKEN"])
        app.client.base_url = os.environ.get("SLACK_API", app.client.base_url)
        app.client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=2))
        register(app, Bot(assist, service=service, tickets=MemoryTickets(), name="slack-bot"))
        handler = AsyncSocketModeHandler(app, os.environ["SLACK_APP_TOKEN"])
        try:
            await handler.start_async()  # type: ignore[no-untyped-call]
        finally:
            await handler.close_async()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
