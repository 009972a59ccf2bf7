"""A bot in Slack: the real slack-bolt, signed requests, and a Web API on a real socket that checks Slack's limits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from slack_bolt.async_app import AsyncApp
from slack_bolt.listener.async_listener_completion_handler import AsyncListenerCompletionHandler
from slack_bolt.listener.async_listener_start_handler import AsyncListenerStartHandler
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from tests.canaries import TEXT, TOKEN
from tests.integrations.conversations import CONTEXT, CONVERSATIONS, PROBLEM, Service, Tickets, story, told
from tests.integrations.slack_api import (
    BOT_USER,
    CHANNEL,
    DIRECT,
    PERSON,
    TEAM,
    Slack,
    buttons_of,
    escaped,
    event_body,
    mention_body,
    message_body,
    press_body,
    problem_of,
    shown,
    texts_of,
)

from caseassist.bot import Bot
from caseassist.conversation.dialogue import Dialogue, Field, Stage
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.core.records import Record
from caseassist.integrations.slack import blocks_of, register, written
from caseassist.live import CaseAssist
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore

Json = dict[str, Any]

SECRET = "signing secret"


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio only: slack-bolt stands on aiohttp, which cannot run on trio."""
    return "asyncio"


# --- A worker, and a person -------------------------------------------------------------------------------------------


class Listeners(AsyncListenerStartHandler, AsyncListenerCompletionHandler):
    """Waits for listeners, which slack-bolt runs after it has answered Slack."""

    def __init__(self) -> None:
        self._running = 0
        self._changed = asyncio.Condition()

    async def handle(self, request: AsyncBoltRequest, response: BoltResponse | None) -> None:
        await self._count(-1)

    async def start(self, request: AsyncBoltRequest, response: BoltResponse | None) -> None:
        await self._count(1)

    async def _count(self, change: int) -> None:
        async with self._changed:
            self._running += change
            self._changed.notify_all()

    async def ended(self) -> None:
        await asyncio.sleep(0)  # tasks that were made now begin now
        async with self._changed:
            await self._changed.wait_for(lambda: self._running == 0)


class Starts(AsyncListenerStartHandler):
    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners

    async def handle(self, request: AsyncBoltRequest, response: BoltResponse | None) -> None:
        await self._listeners.start(request, response)


class Worker:
    """One process with the bot in it."""

    def __init__(
        self, slack: Slack, assist: CaseAssist, service: Service, tickets: Tickets, dialogue: Dialogue
    ) -> None:
        self.bot = Bot(assist, tickets=tickets, service=service, dialogue=dialogue, name="slack")
        client = AsyncWebClient(token=f"xoxb-{TOKEN}", base_url=slack.url)
        self.app = AsyncApp(client=client, signing_secret=SECRET)
        register(self.app, self.bot)
        self._listeners = Listeners()
        self.app.listener_runner.listener_start_handler = Starts(self._listeners)
        self.app.listener_runner.listener_completion_handler = self._listeners

    async def log(self, conversation_id: str = f"{TEAM}/{DIRECT}", number: int = 1) -> Sequence[Record]:
        ids = (await self.bot.session_ids(conversation_id))[number - 1 :]
        return await self.bot.assist.load(ids[0]) if ids else ()

    async def deliver(self, *bodies: str, retry: int = 0) -> None:
        """Slack delivers requests, all at once. It is told at once that they have come."""
        for response in await asyncio.gather(*(self.dispatch(body, retry=retry) for body in bodies)):
            assert (response.status, response.body) == (200, "")
        await self._listeners.ended()

    async def dispatch(self, body: str, *, secret: str = SECRET, retry: int = 0) -> BoltResponse:
        timestamp = str(int(time.time()))
        signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
        assert signature is not None
        headers: dict[str, str | list[str]] = {
            "content-type": "application/json" if body.startswith("{") else "application/x-www-form-urlencoded",
            "x-slack-signature": signature,
            "x-slack-request-timestamp": timestamp,
        }
        if retry:
            headers |= {"x-slack-retry-num": str(retry), "x-slack-retry-reason": "http_timeout"}
        return await self.app.async_dispatch(AsyncBoltRequest(body=body, headers=headers))  # type: ignore[arg-type]


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with Slack().serve() as slack:
        yield slack


class Start:
    """Starts workers. The services outlive them, as real ones do."""

    def __init__(self, slack: Slack) -> None:
        self.slack = slack
        self.service = Service()
        self.tickets = Tickets()
        self.dialogue = Dialogue()

    @asynccontextmanager
    async def __call__(self, path: Path | None = None) -> AsyncIterator[Worker]:
        store = MemoryStore() if path is None else SQLiteStore(path)
        async with CaseAssist(CONTEXT, store=store) as assist:
            yield Worker(self.slack, assist, self.service, self.tickets, self.dialogue)


@pytest.fixture
def start(slack: Slack) -> Start:
    return Start(slack)


@pytest.fixture
async def worker(start: Start) -> AsyncIterator[Worker]:
    async with start() as worker:
        yield worker


# --- Whole conversations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_in_direct_messages_makes_the_log_that_it_makes_everywhere(
    name: str, slack: Slack, worker: Worker
) -> None:
    for said in CONVERSATIONS[name]:
        if said.choice is None:
            await worker.deliver(message_body(slack, escaped(said.text or "")))
        else:
            await worker.deliver(press_body(slack, slack.messages[-1], said.choice))
    assert story(await worker.log()) == await told(name)
    assert len(slack.messages) == len(CONVERSATIONS[name])
    assert all((one["channel"], one.get("thread_ts")) == (DIRECT, None) for one in slack.messages)
    assert list(buttons_of(slack.messages[-1])) == ["new"]


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_in_the_thread_of_a_mention_makes_the_same_log(
    name: str, slack: Slack, worker: Worker
) -> None:
    thread: Json = {}
    for said in CONVERSATIONS[name]:
        if said.choice is None:
            body = mention_body(slack, f"<@{BOT_USER}> {escaped(said.text or '')}", **thread)
            thread = thread or {"thread_ts": json.loads(body)["event"]["ts"]}
            await worker.deliver(body)
        else:
            await worker.deliver(press_body(slack, slack.messages[-1], said.choice))
    assert story(await worker.log(f"{TEAM}/{CHANNEL}/{thread['thread_ts']}")) == await told(name)
    assert all((one["channel"], one["thread_ts"]) == (CHANNEL, thread["thread_ts"]) for one in slack.messages)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_any_worker_goes_on_with_a_conversation(name: str, slack: Slack, start: Start, tmp_path: Path) -> None:
    for said in CONVERSATIONS[name]:  # each time another one
        async with start(tmp_path / "cases.db") as worker:
            if said.choice is None:
                await worker.deliver(message_body(slack, escaped(said.text or "")))
            else:
                await worker.deliver(press_body(slack, slack.messages[-1], said.choice))
    async with start(tmp_path / "cases.db") as worker:
        assert story(await worker.log()) == await told(name)


async def test_conversations_do_not_mix(slack: Slack, worker: Worker) -> None:
    other = {"channel": "D2", "user": "U2"}
    await worker.deliver(message_body(slack, PROBLEM), message_body(slack, "hello", **other))
    await worker.deliver(mention_body(slack, f"<@{BOT_USER}> Something else"))
    mine, theirs = await worker.log(), await worker.log(f"{TEAM}/D2")
    assert mine[-1].ticket.description == PROBLEM
    assert theirs[-1].ticket.description is None
    assert mine[0].context.client_id != theirs[0].context.client_id
    thread = slack.messages[-1]["thread_ts"]
    assert (await worker.log(f"{TEAM}/{CHANNEL}/{thread}"))[0].context.client_id == mine[0].context.client_id


async def test_somebody_who_answers_in_a_thread_of_direct_messages_is_answered_there(
    slack: Slack, worker: Worker
) -> None:
    await worker.deliver(message_body(slack, PROBLEM))
    await worker.deliver(message_body(slack, "Electrical", thread_ts=slack.messages[-1]["ts"]))
    assert slack.messages[-1]["thread_ts"] == slack.messages[0]["ts"]
    await worker.deliver(press_body(slack, slack.messages[-1], "none:1"))
    assert slack.messages[-1]["thread_ts"] == slack.messages[0]["ts"]
    assert [record.ticket.category for record in await worker.log()][-1] == "Electrical"


async def test_a_new_case_begins_after_an_end(slack: Slack, worker: Worker) -> None:
    await worker.deliver(message_body(slack, "quit"))
    await worker.deliver(message_body(slack, "leave"))
    await worker.deliver(press_body(slack, slack.messages[-1], "new"))
    assert len(await worker.log(number=2)) > 0
    assert "problem" in shown(slack.messages[-1])


# --- Redelivery, and things at once -----------------------------------------------------------------------------------


async def test_an_event_that_is_redelivered_is_one_turn_and_is_answered_once(slack: Slack, worker: Worker) -> None:
    body = message_body(slack, PROBLEM)
    await worker.deliver(body)
    log = await worker.log()
    await worker.deliver(body, retry=1)
    await worker.deliver(body, retry=2)
    press = press_body(slack, slack.messages[-1], "category:0.1")
    await worker.deliver(press)
    after = await worker.log()
    await worker.deliver(press)
    assert len(slack.messages) == 2
    assert after[: len(log)] == log
    assert await worker.log() == after


async def test_another_worker_answers_a_redelivered_event_but_takes_no_turn(
    slack: Slack, start: Start, tmp_path: Path
) -> None:
    body = message_body(slack, PROBLEM)
    async with start(tmp_path / "cases.db") as worker:
        await worker.deliver(body)
        log = await worker.log()
    async with start(tmp_path / "cases.db") as worker:
        await worker.deliver(body, retry=1)
        assert await worker.log() == log
    assert [one["blocks"] for one in slack.messages] == [slack.messages[0]["blocks"]] * 2


async def test_the_same_event_twice_at_once_is_one_turn(slack: Slack, worker: Worker) -> None:
    body = message_body(slack, PROBLEM)
    await worker.deliver(body, body)
    assert [record.seq for record in await worker.log()] == list(range(len(await worker.log())))
    assert [record.event for record in await worker.log()].count((await worker.log())[0].event) == 1
    assert story(await worker.log()) == (await told("solved"))[: len(await worker.log())]


async def test_the_same_event_twice_at_once_is_answered_once(slack: Slack, worker: Worker) -> None:
    body = message_body(slack, PROBLEM)
    await worker.deliver(body, body)
    assert len(slack.messages) == 1


async def test_two_messages_at_once_are_two_turns(slack: Slack, worker: Worker) -> None:
    await worker.deliver(message_body(slack, "hello"))
    first, second = "It stops after a minute", "and smells of fuel"
    await worker.deliver(message_body(slack, first), message_body(slack, second))
    log = await worker.log()
    assert [record.seq for record in log] == list(range(len(log)))
    assert log[-1].ticket.description in (first, second)
    assert len(slack.messages) == 3


async def test_one_button_pressed_twice_is_one_answer(slack: Slack, worker: Worker) -> None:
    await worker.deliver(message_body(slack, PROBLEM))
    asked = dict(slack.messages[-1])
    await worker.deliver(press_body(slack, asked, "category:0.1"), press_body(slack, asked, "category:0.1"))
    actions = [type(record.event).__name__ for record in await worker.log()]
    assert actions.count("TicketClassificationClick") == 1
    assert any("no longer on offer" in shown(message) for message in slack.messages)


async def test_a_button_of_an_older_message_changes_nothing_and_leads_on(slack: Slack, worker: Worker) -> None:
    await worker.deliver(message_body(slack, PROBLEM))
    old = json.loads(json.dumps(slack.messages[-1]))
    await worker.deliver(message_body(slack, "Mechanical"))
    await worker.deliver(press_body(slack, old, "category:0.1"))
    assert (await worker.log())[-1].ticket.category == "Mechanical"
    assert "open:1.1" in buttons_of(slack.messages[-1])


async def test_what_was_chosen_is_shown_in_the_place_of_the_buttons(slack: Slack, worker: Worker) -> None:
    await worker.deliver(message_body(slack, PROBLEM))
    await worker.deliver(press_body(slack, slack.messages[-1], "category:0.2"))
    await worker.deliver(press_body(slack, slack.messages[-1], "open:1.1"))
    asked, read, _ = slack.messages
    assert buttons_of(asked) == buttons_of(read) == {}
    assert shown(asked).endswith("\nMechanical")
    assert shown(read).endswith("\nOpen “Ignition <basics> & more”")
    assert "Fuel and *air*" in shown(read)


# --- What the bot does not answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"subtype": "message_changed", "message": {"text": "hello", "user": PERSON}, "hidden": True},
        {"subtype": "message_deleted", "previous_message": {"text": "hello", "user": PERSON}, "hidden": True},
        {"subtype": "channel_join"},
        {"subtype": "bot_message", "bot_id": "B2"},
        {"bot_id": "B2", "user": "U2"},
        {"bot_id": "B1", "user": BOT_USER},
    ],
    ids=["edit", "deletion", "join", "old bot", "other bot", "itself"],
)
async def test_what_no_person_has_just_written_is_not_answered(members: Json, slack: Slack, worker: Worker) -> None:
    await worker.deliver(message_body(slack, "hello", **members))
    assert (slack.messages, await worker.log()) == ([], ())


async def test_a_file_with_words_is_answered(slack: Slack, worker: Worker) -> None:
    await worker.deliver(message_body(slack, PROBLEM, subtype="file_share", files=[{"id": "F1"}]))
    assert (await worker.log())[-1].ticket.description == PROBLEM


async def test_other_listeners_of_the_app_get_what_is_not_the_bots(slack: Slack, worker: Worker) -> None:
    heard: list[str] = []

    async def hear(event: Json) -> None:
        heard.append(event["text"])

    worker.app.event("message")(hear)
    await worker.deliver(event_body(slack, {"type": "message", "channel": CHANNEL, "channel_type": "channel",
                                            "user": PERSON, "text": "not for the bot"}))  # fmt: skip
    await worker.deliver(message_body(slack, "hello"))
    assert heard == ["not for the bot"]
    assert len(slack.messages) == 1


async def test_a_request_that_slack_did_not_sign_is_refused(slack: Slack, worker: Worker) -> None:
    response = await worker.dispatch(message_body(slack, "hello"), secret="another")
    assert response.status == 401
    assert slack.calls == []


# --- When something fails ---------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[int, Json, dict[str, str]]] = {
    "too fast": (429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"}),
    "down": (503, {"ok": False, "error": "service_unavailable"}, {}),
    "refused": (200, {"ok": False, "error": "channel_not_found"}, {}),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_slack_does_not_take_loses_no_record_and_is_said_with_the_next_message(
    failure: str, slack: Slack, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    slack.failures["chat.postMessage"] = [FAILURES[failure]]
    body = message_body(slack, f"{PROBLEM} {TEXT}")
    await worker.deliver(body)
    assert slack.messages == []
    log = await worker.log()
    assert log[-1].ticket.description == f"{PROBLEM} {TEXT}"
    assert "Failed to run listener function" in caplog.text

    await worker.deliver(body, retry=1)  # it was not answered, so it is now
    assert await worker.log() == log
    assert "category:0.1" in buttons_of(slack.messages[-1])


async def test_a_message_that_cannot_be_updated_keeps_its_buttons_and_the_conversation_goes_on(
    slack: Slack, worker: Worker
) -> None:
    slack.failures["chat.update"] = [FAILURES["refused"]]
    await worker.deliver(message_body(slack, PROBLEM))
    await worker.deliver(press_body(slack, slack.messages[-1], "category:0.1"))
    assert "category:0.1" in buttons_of(slack.messages[0])
    assert "open:1.1" in buttons_of(slack.messages[1])


async def test_somebody_hears_that_nothing_could_be_recorded(slack: Slack, worker: Worker) -> None:
    await worker.bot.assist.aclose()
    await worker.deliver(message_body(slack, f"{PROBLEM} {TEXT}"))
    assert "went wrong" in shown(slack.messages[-1])


async def test_suggestions_and_tickets_that_fail_are_told(slack: Slack, start: Start) -> None:
    start.service.down = True
    start.tickets.failures = 1
    async with start() as worker:
        await worker.deliver(message_body(slack, PROBLEM))
        await worker.deliver(message_body(slack, "skip"))
        await worker.deliver(press_body(slack, slack.messages[-1], "file"))
        assert "file" in buttons_of(slack.messages[-1])
        await worker.deliver(press_body(slack, slack.messages[-1], "file"))
        assert "CASE-1" in shown(slack.messages[-1])


# --- Texts ------------------------------------------------------------------------------------------------------------

HARD = "<b> & *stars* _lines_ `code` ~no~ <!here> <@U1> &lt; :smile: http://example.com"


async def test_texts_are_heard_and_shown_as_they_were_written(slack: Slack, worker: Worker) -> None:
    typed = escaped(HARD).replace("http://example.com", "<http://example.com>")  # as Slack tells it
    await worker.deliver(message_body(slack, typed))
    assert (await worker.log())[-1].ticket.description == HARD
    await worker.deliver(message_body(slack, "skip"))
    await worker.deliver(press_body(slack, slack.messages[-1], "none:1"))
    assert HARD in shown(slack.messages[-1])
    assert {element["type"] for element in texts_of(slack.messages[-1]["blocks"])} == {"text"}
    assert escaped("<!here> <@U1>") in slack.messages[-1]["text"]
    assert "<" not in slack.messages[-1]["text"]


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (f"<@{BOT_USER}> it stops", "it stops"),
        (f"it stops, <@{BOT_USER}|bot>", "it stops,"),
        ("ask <@U7> and <@U8|jo>", "ask @U7 and @jo"),
        ("in <#C7|general> or <#C8>", "in #general or #C8"),
        ("<!here> <!subteam^S1|@admins>", "@here @admins"),
        ("see <http://example.com|example.com>", "see example.com"),
        ("see <http://example.com?a=1&amp;b=2>", "see http://example.com?a=1&b=2"),
        ("see <http://example.com/7|the manual>", "see the manual (http://example.com/7)"),
        ("<mailto:jo@example.com|jo@example.com>", "jo@example.com"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2", "1 < 2 && 3 > 2"),
        ("&amp;lt;", "&lt;"),
        ("", ""),
    ],
)
def test_slacks_markup_is_read_as_what_was_typed(text: str, typed: str) -> None:
    assert written(text, BOT_USER) == typed


def test_a_card_is_a_link_with_its_source_and_excerpt() -> None:
    card = Card(
        suggestion_id="d1", title="<T> & *t*", url="https://example.com/?a=1&b=2|3", source="Docs", excerpt="E>"
    )
    (_, block) = blocks_of(Prompt(text="Look", cards=(card,), step="reading"))
    assert texts_of([block]) == [
        {"type": "link", "url": card.url, "text": "<T> & *t*", "style": {"bold": True}},
        {"type": "text", "text": "\nDocs\nE>"},
    ]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "", "https://example.com/" + "a" * 3000])
def test_what_slack_takes_for_no_link_is_none(url: str) -> None:
    card = Card(suggestion_id="d1", title="T", url=url, source="Docs")
    assert [one["type"] for one in texts_of(blocks_of(Prompt(text="", cards=(card,), step="reading")))] == ["text"] * 2


LONG = "long " * 4000


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(text=LONG, step="reviewing"),
        Prompt(text="?", choices=tuple(Choice(id=f"c{n}", label=f"{n} {LONG}") for n in range(60)), step="asking"),
        Prompt(text="?", choices=tuple(Choice(id=f"c{n}", label=f"{n}") for n in range(2000)), step="asking"),
        Prompt(text="?", choices=(Choice(id="c" * 2001, label="c"), Choice(id="d", label="")), step="asking"),
        Prompt(
            text=LONG,
            cards=tuple(
                Card(suggestion_id=f"d{n}", title=LONG, url=f"https://example.com/{n}", source="s", excerpt=LONG)
                for n in range(40)
            ),
            choices=tuple(Choice(id=f"c{n}", label=LONG) for n in range(14)),
            step="reading",
        ),
    ],
    ids=["text", "labels", "many", "values", "all"],
)
def test_whatever_is_to_be_said_slack_takes_it(prompt: Prompt) -> None:
    assert problem_of({"blocks": blocks_of(prompt), "text": ""}) is None


def test_a_long_text_keeps_its_question() -> None:
    text = f"I will file this:\n\n{LONG}\n\nIs that right?"
    (element,) = texts_of(blocks_of(Prompt(text=text, step="reviewing")))
    assert element["text"].startswith("I will file this:")
    assert element["text"].endswith("Is that right?")
    assert len(element["text"]) == 4000


async def test_long_labels_are_cut_and_can_be_pressed(slack: Slack, start: Start) -> None:
    values = tuple(f"{'very ' * 30}{size}" for size in ("small", "large"))
    start.dialogue = Dialogue(stages=(Stage(name="ask", fields=(Field(name="size", values=values),)),))
    async with start() as worker:
        await worker.deliver(message_body(slack, "hello"))
        labels = [button["text"]["text"] for button in buttons_of(slack.messages[-1]).values()]
        assert labels[0] == f"{values[0][:74]}…"
        await worker.deliver(press_body(slack, slack.messages[-1], "size:2"))
        assert ((await worker.log())[-1].ticket.custom or {})["size"] == values[1]


# --- Org-wide installations -------------------------------------------------------------------------------------------


async def test_in_an_org_wide_installation_messages_and_presses_belong_to_one_conversation(
    slack: Slack, worker: Worker
) -> None:
    def change(body: str, how: Callable[[Json], None]) -> str:
        data = json.loads(body)
        how(data)
        return json.dumps(data)

    def installed(body: Json) -> None:
        body["authorizations"][0] |= {"enterprise_id": "E1", "team_id": None, "is_enterprise_install": True}

    await worker.deliver(change(message_body(slack, PROBLEM), installed))
    press = press_body(slack, slack.messages[-1], "category:0.1")
    payload = json.loads(parse_qs(press)["payload"][0])
    payload |= {"team": None, "enterprise": {"id": "E1", "name": "org"}, "is_enterprise_install": True}
    await worker.deliver(urlencode({"payload": json.dumps(payload)}))
    assert (await worker.log("E1/D1"))[-1].ticket.category == "Electrical"
