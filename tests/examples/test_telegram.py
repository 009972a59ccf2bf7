"""The example for Telegram: the real aiogram, and a Bot API server on a real socket that checks Telegram's limits."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiogram
import pytest
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiohttp import web
from examples.telegram_bot import router_of, shown
from tests.integrations.conversations import CONTEXT, CONVERSATIONS, PROBLEM, Service, Tickets, story, told

from caseassist.bot import Bot
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.core.events import TurnTaken
from caseassist.core.records import Record
from caseassist.live import CaseAssist
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore

Json = dict[str, Any]

EXAMPLE = Path(__file__).parents[2] / "examples" / "telegram_bot.py"
TOKEN = "123456:token-of-the-bot"
CHAT, USER = 77, 88
LONG_S = 30.0
"""Seconds after which something does not come any more."""


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio only: aiogram stands on aiohttp, which cannot run on trio."""
    return "asyncio"


# --- Telegram, as far as a bot sees it --------------------------------------------------------------------------------


class Telegram:
    """The Bot API. An update is sent until it is confirmed: until a later one is asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[Json] = []
        self.calls: list[str] = []
        self.failures: list[Json] = []
        """What the next calls of sendMessage are answered with."""
        self.open = asyncio.Event()
        """Unless set, sendMessage is not answered."""
        self.open.set()
        self._updates: list[Json] = []
        self._number = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Telegram"]:
        app = web.Application()
        app.router.add_post(f"/bot{TOKEN}/{{method}}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def write(self, text: str | None, *, chat: int = CHAT, language: str = "en", **members: Any) -> None:
        """Somebody sends a message."""
        message = self._message(chat) | {"from": self._user(chat, language)} | members
        await self._send("message", message if text is None else message | {"text": text})

    async def press(self, choice: str, *, chat: int = CHAT) -> None:
        """Somebody presses a button of the latest message."""
        message = next(one for one in reversed(self.sent) if one["chat_id"] == chat)
        assert choice in choices_of(message)
        self._number += 1
        query = {"id": f"{self._number}", "from": self._user(chat, "en"), "chat_instance": "1", "data": choice}
        await self._send("callback_query", query | {"message": self._message(chat) | {"text": "?"}})

    async def confirmed(self) -> None:
        """Wait until all that was sent is confirmed, and so was answered."""
        async with asyncio.timeout(LONG_S), self._changed:
            await self._changed.wait_for(lambda: not self._updates)

    async def called(self, method: str) -> None:
        async with asyncio.timeout(LONG_S), self._changed:
            await self._changed.wait_for(lambda: method in self.calls)

    def _message(self, chat: int) -> Json:
        self._number += 1
        kind = "private" if chat > 0 else "group"
        return {"message_id": self._number, "date": 1700000000, "chat": {"id": chat, "type": kind, "first_name": "Jo"}}

    def _user(self, chat: int, language: str) -> Json:
        return {"id": USER + abs(chat), "is_bot": False, "first_name": "Jo", "language_code": language}

    async def _send(self, kind: str, what: Json) -> None:
        self._number += 1
        async with self._changed:
            self._updates.append({"update_id": self._number, kind: what})
            self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.Response:
        method, form = request.match_info["method"], dict(await request.post())
        async with self._changed:
            self.calls.append(method)
            self._changed.notify_all()
        result: Any = True
        match method:
            case "getMe":
                result = {"id": 123456, "is_bot": True, "first_name": "bot", "username": "bot"}
            case "getUpdates":
                result = await self._wait_for_updates(int(str(form.get("offset", 0))), int(str(form["timeout"])))
            case "sendMessage":
                await self.open.wait()
                if self.failures:
                    error = self.failures.pop(0)
                    return web.json_response({"ok": False, **error}, status=error["error_code"])
                message: Json = {**form, "chat_id": int(str(form["chat_id"]))}
                message["reply_markup"] = json.loads(str(form["reply_markup"]))
                check(message)
                self.sent.append(message)
                result = self._message(message["chat_id"]) | {"text": form["text"]}
            case "answerCallbackQuery":
                assert str(form["callback_query_id"]).isdigit()
                if "too old" in self.calls:
                    error = {"error_code": 400, "description": "Bad Request: query is too old"}
                    return web.json_response({"ok": False, **error}, status=400)
        return web.json_response({"ok": True, "result": result})

    async def _wait_for_updates(self, offset: int, timeout_s: int) -> list[Json]:
        async with self._changed:
            self._updates = [update for update in self._updates if update["update_id"] >= offset]
            self._changed.notify_all()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: bool(self._updates))
            except TimeoutError:
                return []
            return self._updates[:100]


class Read(HTMLParser):
    """What is left of a text with HTML, and whether Telegram would take it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.open: list[str] = []
        self.links: list[str | None] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "a"
        self.open.append(tag)
        self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check(message: Json) -> None:
    """Raise AssertionError for what Telegram would refuse."""
    assert message["parse_mode"] == "HTML"
    assert 1 <= len(Read(message["text"]).text) <= 4096
    assert all(1 <= len(choice.encode()) <= 64 for choice in choices_of(message))


def choices_of(message: Json) -> list[str]:
    return [button["callback_data"] for row in message["reply_markup"]["inline_keyboard"] for button in row]


def text_of(message: Json) -> str:
    return Read(message["text"]).text


@pytest.fixture
async def telegram() -> AsyncIterator[Telegram]:
    async with Telegram().serve() as telegram:
        yield telegram


class Worker:
    """One process with the bot in it."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot

    async def log(self, chat: int = CHAT) -> list[Record]:
        ids = await self.bot.session_ids(str(chat))
        return list(await self.bot.assist.load(ids[0])) if ids else []


@asynccontextmanager
async def worker_for(telegram: Telegram, path: Path | None = None) -> AsyncIterator[Worker]:
    """Poll as the example does."""
    store = MemoryStore() if path is None else SQLiteStore(path)
    async with CaseAssist(CONTEXT, store=store) as assist:
        bot = Bot(assist, tickets=Tickets(), service=Service(), name="telegram")
        dispatcher = aiogram.Dispatcher()
        dispatcher.include_router(router_of(bot))
        api = aiogram.Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(telegram.url)))
        polling = asyncio.create_task(
            dispatcher.start_polling(api, handle_as_tasks=False, handle_signals=False, polling_timeout=1)
        )
        await telegram.called("getUpdates")
        try:
            yield Worker(bot)
        finally:
            await dispatcher.stop_polling()
            await polling


@pytest.fixture
async def worker(telegram: Telegram) -> AsyncIterator[Worker]:
    async with worker_for(telegram) as worker:
        yield worker


# --- Conversations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_makes_the_log_that_it_makes_everywhere(
    name: str, telegram: Telegram, worker: Worker
) -> None:
    for said in CONVERSATIONS[name]:
        await (telegram.write(said.text) if said.choice is None else telegram.press(said.choice))
        await telegram.confirmed()
    assert story(await worker.log()) == await told(name)
    assert len(telegram.sent) == len(CONVERSATIONS[name])
    assert telegram.calls.count("answerCallbackQuery") == sum(said.choice is not None for said in CONVERSATIONS[name])
    assert choices_of(telegram.sent[-1]) == ["new"]


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_any_worker_goes_on_with_a_conversation(name: str, telegram: Telegram, tmp_path: Path) -> None:
    for said in CONVERSATIONS[name]:  # each time another one
        async with worker_for(telegram, tmp_path / "cases.db"):
            await (telegram.write(said.text) if said.choice is None else telegram.press(said.choice))
            await telegram.confirmed()
    async with worker_for(telegram, tmp_path / "cases.db") as worker:
        assert story(await worker.log()) == await told(name)


async def test_start_opens_the_chat_in_the_language_of_the_person(telegram: Telegram, worker: Worker) -> None:
    await telegram.write("/start", language="fr-CA")
    await telegram.confirmed()
    assert text_of(telegram.sent[-1]).startswith("Bonjour")
    assert (await worker.log())[-1].ticket.description is None


async def test_chats_do_not_mix(telegram: Telegram, worker: Worker) -> None:
    await telegram.write(PROBLEM)
    await telegram.write("hello", chat=78)
    await telegram.confirmed()
    mine, theirs = await worker.log(), await worker.log(78)
    assert (mine[-1].ticket.description, theirs[-1].ticket.description) == (PROBLEM, None)
    assert mine[0].context.client_id != theirs[0].context.client_id


async def test_a_group_is_not_answered(telegram: Telegram, worker: Worker) -> None:
    await telegram.write("hello", chat=-5)
    await telegram.confirmed()
    assert (telegram.sent, await worker.log(-5)) == ([], [])


async def test_a_picture_with_a_caption_is_what_the_caption_says(telegram: Telegram, worker: Worker) -> None:
    photo = [{"file_id": "f", "file_unique_id": "f", "width": 1, "height": 1}]
    await telegram.write(None, photo=photo, caption=PROBLEM)
    await telegram.write(None, photo=photo, chat=78)
    await telegram.confirmed()
    assert (await worker.log())[-1].ticket.description == PROBLEM
    assert len(telegram.sent) == 2


async def test_a_press_that_is_too_old_to_be_answered_is_a_press_all_the_same(
    telegram: Telegram, worker: Worker
) -> None:
    telegram.calls.append("too old")
    await telegram.write(PROBLEM)
    await telegram.confirmed()
    await telegram.press("category:0.1")
    await telegram.confirmed()
    assert (await worker.log())[-1].ticket.category == "Electrical"


async def test_what_telegram_does_not_take_loses_no_record(telegram: Telegram, worker: Worker) -> None:
    telegram.failures = [{"error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}}]
    await telegram.write(PROBLEM)
    await telegram.confirmed()
    assert telegram.sent == []
    await telegram.write("Electrical")
    await telegram.confirmed()
    assert (await worker.log())[-1].ticket.category == "Electrical"
    assert "open:1.1" in choices_of(telegram.sent[-1])


# --- What is shown ----------------------------------------------------------------------------------------------------

HARD = "<b> & *stars* _lines_ `code` &lt; @jo </a>"


async def test_texts_are_heard_and_shown_as_they_were_written(telegram: Telegram, worker: Worker) -> None:
    await telegram.write(HARD)
    await telegram.write("skip")
    await telegram.confirmed()
    assert "Ignition <basics> & more" in text_of(telegram.sent[-1])
    assert Read(telegram.sent[-1]["text"]).links == [f"https://support.example.com/d{n}" for n in (1, 2)]
    await telegram.press("none:1")
    await telegram.confirmed()
    assert HARD in text_of(telegram.sent[-1])


LONG = "<long> & " * 2000


def test_whatever_is_to_be_said_telegram_takes_it() -> None:
    card = Card(suggestion_id="d", title=LONG, url='https://example.com/?a="1"&b=2', source="s", excerpt=LONG)
    choices = tuple(Choice(id=f"{n}" + "é" * (n % 40), label=LONG) for n in range(200))
    message = shown(Prompt(text=f"{LONG} Is that right?", cards=(card,) * 9, choices=choices, step="reading"))
    check(message | {"reply_markup": message["reply_markup"].model_dump(exclude_none=True)})
    assert "Is that right?" in Read(message["text"]).text
    assert Read(message["text"]).links[0] == card.url


# --- The example as a program -----------------------------------------------------------------------------------------


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


async def turns_in(path: Path) -> list[tuple[str | None, str]]:
    """The messages that had a turn in the first session of the chat, each with the action that came next."""
    async with CaseAssist(CONTEXT, store=SQLiteStore(path)) as assist:
        log = await assist.load((await Bot(assist, tickets=Tickets(), name="telegram-bot").session_ids(str(CHAT)))[0])
    assert [record.seq for record in log] == list(range(len(log)))
    return [
        (record.event.message_id, type(log[seq + 1].event).__name__)
        for seq, record in enumerate(log[:-1])
        if isinstance(record.event, TurnTaken) and record.event.message_id is not None
    ]


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({}, "TELEGRAM_TOKEN"),
        ({"TELEGRAM_TOKEN": TOKEN, "COVEO_ORGANIZATION": "myorg"}, "COVEO_CASE_ASSIST_ID and COVEO_TOKEN"),
    ],
)
async def test_it_says_which_tokens_are_missing(env: dict[str, str], missing: str, tmp_path: Path) -> None:
    async with program(tmp_path, **env) as process:
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    (line,) = err.decode().splitlines()
    assert line.startswith(f"Set {missing}. Telegram's is from https://t.me/BotFather")


@pytest.mark.skipif(os.name == "nt", reason="it is stopped with a signal of POSIX")
async def test_an_update_that_was_not_answered_when_the_program_died_is_answered_later_and_is_one_turn(
    telegram: Telegram, tmp_path: Path
) -> None:
    env = {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_API": telegram.url}
    async with program(tmp_path, **env):
        await telegram.write("/start")
        await telegram.confirmed()
        telegram.open.clear()
        telegram.calls.clear()
        await telegram.write("My generator stops after a minute")
        await telegram.called("sendMessage")
    before = await turns_in(tmp_path / "cases.db")
    assert len(telegram.sent) == 1  # that to /start
    telegram.open.set()

    async with program(tmp_path, **env) as process:
        await telegram.confirmed()
        assert len(telegram.sent) == 2
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(LONG_S):
            _, err = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in err
    assert await turns_in(tmp_path / "cases.db") == before
    assert len({message_id for message_id, _ in before}) == len(before) == 2


async def test_the_program_leads_to_a_ticket(telegram: Telegram, tmp_path: Path) -> None:
    async with program(tmp_path, TELEGRAM_TOKEN=TOKEN, TELEGRAM_API=telegram.url):
        await telegram.write("My generator stops after a minute")
        for _ in range(5):
            await telegram.confirmed()
            offered = choices_of(telegram.sent[-1])
            if (way := next((one for one in offered if one.startswith(("file", "none:", "skip:"))), None)) is None:
                break
            await telegram.press(way)
    assert "CASE-" in text_of(telegram.sent[-1])
    assert any(Read(one["text"]).links for one in telegram.sent), "no document was shown"
