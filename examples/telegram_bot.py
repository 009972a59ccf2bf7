"""A support bot in Telegram. It records its cases in cases.db, and logs them with Coveo if COVEO_ORGANIZATION is set.

pip install 'caseassist[service]' aiogram
TELEGRAM_TOKEN=… python telegram_bot.py
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from html import escape
from typing import Any

import aiogram
from aiogram import F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters import CommandStart
from aiogram.types import CallbackQuery, Chat, InlineKeyboardButton, InlineKeyboardMarkup, User
from aiogram.types import Message as Update

from caseassist import CaseAssist, Context, HTTPSink, SQLiteStore
from caseassist.bot import Bot, Message
from caseassist.conversation.prompts import Prompt
from caseassist.helpdesks.memory import MemoryTickets
from caseassist.service.client import CustomerService
from caseassist.service.knowledge import Knowledge
from caseassist.service.standin import create_app, serve


def router_of(support: Bot) -> aiogram.Router:
    """Has ``support`` talk in private chats. A chat is a conversation."""
    router = aiogram.Router()

    async def answer(
        api: aiogram.Bot,
        chat: Chat,
        user: User | None,
        message_id: str,
        text: str | None = None,
        choice: str | None = None,
    ) -> None:
        message = Message(
            conversation_id=str(chat.id),
            message_id=message_id,  # the same when Telegram sends an update again
            user_id=str(user.id if user else chat.id),
            language=user.language_code if user else None,
            text=text,
            choice=choice,
        )
        await support.answer(message, lambda prompt: api.send_message(chat.id, **shown(prompt)))

    @router.message(CommandStart(), F.chat.type == "private")
    async def open_chat(update: Update, bot: aiogram.Bot) -> None:
        await answer(bot, update.chat, update.from_user, str(update.message_id))

    @router.message(F.chat.type == "private")
    async def hear(update: Update, bot: aiogram.Bot) -> None:
        text = update.text or update.caption or ""
        await answer(bot, update.chat, update.from_user, str(update.message_id), text=text)

    @router.callback_query(F.message.chat.type == "private")
    async def press(query: CallbackQuery, bot: aiogram.Bot) -> None:
        assert query.message is not None
        await answer(bot, query.message.chat, query.from_user, f"button {query.id}", choice=query.data)
        with suppress(TelegramBadRequest):  # it may be too old by now
            await query.answer()

    return router


def shown(prompt: Prompt) -> dict[str, Any]:
    """A prompt as ``sendMessage`` takes it: at most 4,096 characters, and 64 bytes for what a button gives back."""
    text = prompt.text if len(prompt.text) <= 2400 else f"{prompt.text[:1900]}…{prompt.text[-400:]}"
    cards = [
        f'<a href="{escape(card.url)}">{escape(card.title[:150])}</a>\n{escape((card.excerpt or card.source)[:200])}'
        for card in prompt.cards[:4]
    ]
    buttons = [
        [InlineKeyboardButton(text=choice.label, callback_data=choice.id)]
        for choice in prompt.choices[:100]
        if len(choice.id.encode()) <= 64  # others can be typed
    ]
    return {
        "text": "\n\n".join([escape(text), *cards]),
        "parse_mode": "HTML",
        "reply_markup": InlineKeyboardMarkup(inline_keyboard=buttons),
    }


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
    needed = ["TELEGRAM_TOKEN", *(["COVEO_CASE_ASSIST_ID", "COVEO_TOKEN"] if organization else [])]
    if missing := [name for name in needed if not os.environ.get(name)]:
        sys.exit(f"Set {' and '.join(missing)}. Telegram's is from https://t.me/BotFather: send it /newbot")
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("transitions").setLevel(logging.WARNING)

    sinks = [HTTPSink.for_organization(organization, token=os.environ["COVEO_TOKEN"])] if organization else []
    context = Context(search_hub="support-bot", language="en")
    server = TelegramAPIServer.from_base(os.environ.get("TELEGRAM_API", "https://api.telegram.org"))
    async with (
        suggestions() as service,
        CaseAssist(context, store=SQLiteStore("cases.db"), sinks=sinks) as assist,
    ):
        dispatcher = aiogram.Dispatcher()
        dispatcher.include_router(router_of(Bot(assist, service=service, tickets=MemoryTickets(), name="telegram-bot")))
        # One update after the other: Telegram is told that they have come when the next ones are asked for, and so
        # sends those again that were being answered when this program died.
        api = aiogram.Bot(os.environ["TELEGRAM_TOKEN"], session=AiohttpSession(api=server))
        await dispatcher.start_polling(api, handle_as_tasks=False)


if __name__ == "__main__":
    asyncio.run(main())
