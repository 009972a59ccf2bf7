"""A support bot over HTTP, and a page to chat with it. It records its cases in cases.db.

pip install 'caseassist[asgi,service]'
python webhook_bot.py [PORT]
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from caseassist import CaseAssist, Context, SQLiteStore
from caseassist.bot import Bot
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.integrations.asgi import routes
from caseassist.service import standin
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge

PAGE = Path(__file__).with_name("webhook_chat.html")


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[dict[str, Bot]]:
    """The bot, for as long as the application runs; with a stand-in for Coveo's Customer Service API."""
    context = Context(search_hub="support-bot", language="en")
    with Knowledge.load() as knowledge:  # give it a file of your own
        async with (
            standin.serve(standin.create_app(knowledge)) as address,
            CustomerService(address, organization="demo", case_assist_id="demo", token=None) as service,
            CaseAssist(context, store=SQLiteStore("cases.db")) as assist,
        ):
            yield {"bot": Bot(assist, service=service, tickets=MemoryTickets())}


async def chat(_request: Request) -> FileResponse:
    return FileResponse(PAGE)


app = Starlette(routes=[Route("/", chat), *routes(lambda request: request.state.bot)], lifespan=lifespan)


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1] if len(sys.argv) > 1 else 8000}"]
    asyncio.run(serve(app, config))  # type: ignore[arg-type]  # Hypercorn has types of its own for ASGI
