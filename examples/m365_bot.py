"""A support bot for Teams, Web Chat and other channels of Microsoft. It records its cases in cases.db.

pip install 'caseassist[m365,service]' microsoft-agents-hosting-aiohttp microsoft-agents-authentication-msal
python m365_bot.py
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web
from microsoft_agents.activity import load_configuration_from_env
from microsoft_agents.authentication.msal import MsalConnectionManager
from microsoft_agents.hosting.aiohttp import CloudAdapter, jwt_authorization_middleware, start_agent_process
from microsoft_agents.hosting.core import AgentApplication, AgentAuthConfiguration, MemoryStorage, TurnState

from caseassist import CaseAssist, Context, HTTPSink, SQLiteStore
from caseassist.bot import Bot
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.integrations.m365 import register
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge
from caseassist.service.standin import create_app, serve

PREFIX = "CONNECTIONS__SERVICE_CONNECTION__SETTINGS__"
PORT = int(os.environ.get("PORT", "3978"))


def connections() -> MsalConnectionManager:
    """How the bot and the channels know each other, as the environment has it."""
    given = {name: value for name, value in os.environ.items() if name.startswith("CONNECTIONS") and value}
    if not given:
        print("There are no credentials: anybody on this machine may talk to the bot, and no channel of Microsoft can.")
        anonymous = AgentAuthConfiguration(anonymous_allowed=True)
        return MsalConnectionManager(connections_configurations={"SERVICE_CONNECTION": anonymous})
    needed = ["CLIENTID"] if PREFIX + "AUTHTYPE" in given else ["CLIENTID", "CLIENTSECRET", "TENANTID"]
    if missing := [PREFIX + name for name in needed if PREFIX + name not in given]:
        sys.exit(f"The environment misses {', '.join(missing)}: they come from the app registration of your bot.")
    return MsalConnectionManager(**load_configuration_from_env(given))


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


def server(manager: MsalConnectionManager, bot: Bot) -> web.Application:
    agent = AgentApplication[TurnState](storage=MemoryStorage(), connection_manager=manager)
    register(agent, bot)
    adapter = CloudAdapter(connection_manager=manager)
    # It would show exceptions to the person, who has been told already. Without it, a failed request fails, and the
    # channel or the person sends the message again.
    adapter.on_turn_error = None

    async def messages(request: web.Request) -> web.Response:
        response = await start_agent_process(request, agent, adapter)
        assert response is not None
        return response

    app = web.Application(middlewares=[jwt_authorization_middleware])
    app["agent_configuration"] = manager.get_default_connection_configuration()
    app.router.add_post("/api/messages", messages)
    return app


async def main() -> None:
    manager = connections()
    organization = os.environ.get("COVEO_ORGANIZATION")
    needed = ["COVEO_CASE_ASSIST_ID", "COVEO_TOKEN"] if organization else []
    if missing := [name for name in needed if not os.environ.get(name)]:
        sys.exit(f"Set {' and '.join(missing)}")
    sinks = [HTTPSink.for_organization(organization, token=os.environ["COVEO_TOKEN"])] if organization else []
    context = Context(search_hub="support-bot", language="en")
    async with (
        suggestions() as service,
        CaseAssist(context, store=SQLiteStore("cases.db"), sinks=sinks) as assist,
    ):
        bot = Bot(assist, tickets=MemoryTickets(), service=service, name="m365")
        runner = web.AppRunner(server(manager, bot), access_log=None)
        try:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", PORT).start()
            host, port = runner.addresses[0]
            print(f"The bot listens at http://{host}:{port}/api/messages", flush=True)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("Stopped.")
