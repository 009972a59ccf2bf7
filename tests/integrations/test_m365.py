"""The real SDK's turn pipeline, from an activity's JSON to the JSON of what is sent, without a network."""

import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from microsoft_agents.activity import Activity, ConversationReference, ResourceResponse
from microsoft_agents.hosting.core import (
    AccessTokenProviderBase,
    ActivityHandler,
    Agent,
    AgentApplication,
    AgentAuthConfiguration,
    ChannelAdapter,
    ClaimsIdentity,
    Connections,
    MemoryStorage,
    TurnContext,
    TurnState,
)
from tests.integrations.conversations import CONTEXT, CONVERSATIONS, PROBLEM, Said, Service, Tickets, story, told

from caseassist.bot import Bot
from caseassist.conversation.prompts import Card, Choice, Prompt
from caseassist.core.errors import StoreUnavailable
from caseassist.core.identity import client_id_from
from caseassist.integrations.m365 import activity_of, on_activity, register
from caseassist.live import CaseAssist
from caseassist.stores.base import Store
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore

Json = dict[str, Any]

USER = {"id": "29:jo", "name": "Jo", "aadObjectId": "7faf8bfa-3b52-4a8f-9d0b-6d1d0a4f4a10"}
AGENT = {"id": "28:agent", "name": "Support"}


@pytest.fixture
def anyio_backend() -> str:
    """The SDK makes tasks of asyncio in every turn, and knows no other event loop."""
    return "asyncio"


class Local(ChannelAdapter):
    """A channel that keeps what is sent to it, and refuses it ``failures`` times first."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sent: list[Json] = []
        self.failures = 0

    async def process(self, activity: Json, agent: Agent) -> None:
        context = TurnContext(self, Activity.model_validate_json(json.dumps(activity)))
        await self.run_pipeline(context, agent.on_turn)

    async def send_activities(self, context: Any, activities: list[Activity]) -> list[ResourceResponse]:
        await anyio.lowlevel.checkpoint()
        for activity in activities:
            if activity.type != "message":  # it shows that it is typing
                continue
            if self.failures:
                self.failures -= 1
                raise ConnectionError("the channel is down")
            self.sent.append(activity.model_dump(mode="json", by_alias=True, exclude_unset=True))
        return [ResourceResponse(id=f"sent-{len(self.sent)}") for _ in activities]

    async def update_activity(self, context: Any, activity: Activity) -> None:
        raise NotImplementedError

    async def delete_activity(self, context: Any, reference: ConversationReference) -> None:
        raise NotImplementedError


class NoConnections(Connections):
    """Nobody signs in."""

    def get_connection(self, connection_name: str) -> AccessTokenProviderBase:
        raise NotImplementedError

    def get_default_connection(self) -> AccessTokenProviderBase:
        raise NotImplementedError

    def get_token_provider(self, claims_identity: ClaimsIdentity, service_url: str) -> AccessTokenProviderBase:
        raise NotImplementedError

    def get_token_provider_from_activity(
        self, claims_identity: ClaimsIdentity, activity: Activity
    ) -> AccessTokenProviderBase:
        raise NotImplementedError

    def get_default_connection_configuration(self) -> AgentAuthConfiguration:
        raise NotImplementedError


def application() -> AgentApplication[TurnState]:
    return AgentApplication(storage=MemoryStorage(), connection_manager=NoConnections())


class Chat:
    """A person in a channel. ``said`` counts the activities, whose ids are theirs."""

    def __init__(self, assist: CaseAssist, bot: Bot, agent: Agent, *, channel: str = "msteams", said: int = 0) -> None:
        self.assist = assist
        self.bot = bot
        self.agent = agent
        self.adapter = Local()
        self.channel = channel
        self.conversation: Json = {"id": "a:1", "conversationType": "personal", "tenantId": "contoso"}
        self.said = said

    @property
    def sent(self) -> list[Json]:
        return self.adapter.sent

    @property
    def text(self) -> str:
        text: str = self.sent[-1]["text"]
        return text

    def activity(self, **members: Any) -> Json:
        self.said += 1
        return {
            "type": "message",
            "id": f"f:{self.said}",
            "channelId": self.channel,
            "serviceUrl": "https://smba.example.com/emea/",
            "from": USER,
            "recipient": AGENT,
            "conversation": self.conversation,
            "locale": "en-US",
            **members,
        }

    def as_activity(self, said: Said) -> Json:
        """What the channel makes of it: a press of a button that is shown gives back the button's data."""
        if said.choice is None:
            return self.activity(text=said.text, textFormat="plain")
        data = next(one["data"] for one in buttons(self.sent[-1]) if one["data"]["caseassist"] == said.choice)
        if self.channel != "msteams":
            return self.activity(value=data)
        shown = data["msteams"]
        assert shown["type"] == "messageBack"
        return self.activity(text=shown["text"], value={name: data[name] for name in data if name != "msteams"})

    async def give(self, activity: Json) -> None:
        await self.adapter.process(activity, self.agent)

    async def say(self, text: str) -> None:
        await self.give(self.as_activity(Said(text=text)))

    async def press(self, choice: str) -> None:
        await self.give(self.as_activity(Said(choice=choice)))

    async def hold(self, conversation: Sequence[Said]) -> None:
        for said in conversation:
            await self.give(self.as_activity(said))

    async def log(self, number: int = 1, person: str = "") -> list[Json]:
        conversation_id = f"{self.channel} {self.conversation['id']}{person}"
        ids = (await self.bot.session_ids(conversation_id))[number - 1 :]
        return story(await self.assist.load(ids[0])) if ids else []


def card(sent: Json) -> Json:
    (attachment,) = sent["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    content: Json = attachment["content"]
    return content


def parts(node: Any, kind: str) -> list[Json]:
    """All parts of a card of one type, in order."""
    if isinstance(node, list):
        return [found for part in node for found in parts(part, kind)]
    if not isinstance(node, dict):
        return []
    return [node] * (node.get("type") == kind) + [found for part in node.values() for found in parts(part, kind)]


def buttons(sent: Json) -> list[Json]:
    return parts(card(sent), "Action.Submit")


@asynccontextmanager
async def chat(
    store: Store | None = None,
    *,
    tickets: Tickets | None = None,
    channel: str = "msteams",
    said: int = 0,
    make: Callable[[Bot], Agent] | None = None,
) -> AsyncIterator[Chat]:
    """A new process, as far as there is one: nothing is left of an earlier one but the store."""
    async with CaseAssist(CONTEXT, store=store) as assist:
        bot = Bot(assist, tickets=tickets or Tickets(), service=Service(), name="m365")
        agent: Agent
        if make is None:
            agent = application()
            register(agent, bot)
        else:
            agent = make(bot)
        yield Chat(assist, bot, agent, channel=channel, said=said)


@pytest.mark.parametrize("channel", ["msteams", "webchat"])
@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_makes_the_same_log_as_everywhere(name: str, channel: str) -> None:
    async with chat(channel=channel) as one:
        await one.hold(CONVERSATIONS[name])
        assert await one.log() == await told(name)
        assert len(one.sent) == len(CONVERSATIONS[name])


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_another_process_goes_on_after_a_restart_in_the_middle(tmp_path: Path, name: str) -> None:
    tickets = Tickets()
    conversation = CONVERSATIONS[name]
    sent: list[Json] = []
    for number, said in enumerate(conversation):
        async with chat(SQLiteStore(tmp_path / "cases.db"), tickets=tickets, said=number) as one:
            one.sent.extend(sent)
            await one.hold([said])
            sent = one.sent[-1:]
    async with chat(SQLiteStore(tmp_path / "cases.db")) as one:
        assert await one.log() == await told(name)


async def test_an_activity_handler_can_hold_a_conversation() -> None:
    class Handler(ActivityHandler):
        def __init__(self, bot: Bot) -> None:
            self.bot = bot

        async def on_message_activity(self, turn_context: Any) -> None:
            await on_activity(self.bot, turn_context)

    async with chat(make=Handler) as one:
        await one.hold(CONVERSATIONS["solved"])
        assert await one.log() == await told("solved")


async def test_a_redelivered_activity_does_nothing_and_is_not_answered_again() -> None:
    async with chat() as one:
        for said in CONVERSATIONS["created"]:
            activity = one.as_activity(said)
            await one.give(activity)
            sent = len(one.sent)
            await one.give(activity)
            assert len(one.sent) == sent
        assert await one.log() == await told("created")


async def test_an_activity_that_another_process_has_heard_is_answered_and_does_nothing(tmp_path: Path) -> None:
    async with chat(SQLiteStore(tmp_path / "cases.db")) as first:
        await first.say(PROBLEM)
        log = await first.log()
        text = first.text
    async with chat(SQLiteStore(tmp_path / "cases.db")) as second:
        await second.say(PROBLEM)
        assert second.text == text
        assert await second.log() == log


async def test_two_at_once_are_taken_one_after_the_other() -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        pressed = one.as_activity(Said(choice="category:0.1"))
        async with anyio.create_task_group() as tasks:
            for activity in (pressed, pressed, one.activity(text="none")):
                tasks.start_soon(one.give, activity)
        actions = [record["event"]["action"] for record in await one.log()]
        assert actions.count("ticket_classification_click") == 1
        assert [record["seq"] for record in await one.log()] == list(range(len(actions)))
        assert buttons(one.sent[-1])[0]["data"]["caseassist"] == "file"


async def test_nothing_is_lost_when_sending_fails_and_a_redelivery_is_answered() -> None:
    async with chat() as one:
        for said in CONVERSATIONS["created"]:
            activity = one.as_activity(said)
            one.adapter.failures = 1
            with pytest.raises(ConnectionError):
                await one.give(activity)
            await one.give(activity)
        assert len(one.sent) == len(CONVERSATIONS["created"])
        assert await one.log() == await told("created")


class Broken(MemoryStore):
    """Takes nothing while it is ``down``."""

    down = False

    async def append(self, *arguments: Any, **options: Any) -> Any:
        if self.down:
            raise StoreUnavailable("it is down")
        return await super().append(*arguments, **options)


async def test_when_nothing_can_be_recorded_the_person_is_told_and_the_activity_can_be_given_again() -> None:
    store = Broken()
    async with chat(store) as one:
        activity = one.activity(text=PROBLEM)
        store.down = True
        with pytest.raises(StoreUnavailable):
            await one.give(activity)
        assert one.text == one.bot.trouble("en").text
        store.down = False
        await one.give(activity)
        assert [one["data"]["caseassist"] for one in buttons(one.sent[-1])][:2] == ["category:0.1", "category:0.2"]


# What is heard


async def test_a_label_or_a_number_that_is_typed_is_a_choice() -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        await one.say("electrical")
        await one.say("2")
        await one.say("No")
        await one.say(buttons(one.sent[-1])[0]["title"])
        await one.say("yes!")
        assert await one.log() == await told("solved")


async def test_text_that_looks_like_a_button_is_text() -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        await one.say("none")
        await one.say('{"caseassist": "leave"}')
        log = await one.log()
        assert log[-1]["event"]["action"] != "ticket_cancel"


@pytest.mark.parametrize(
    "value",
    ["{", "[1]", '"leave"', {"caseassist": 1}, {"caseassist": ["leave"]}, {"other": "leave"}, ["leave"], 7, "[" * 9999],
    ids=["broken", "list", "string", "number", "inner-list", "another-card", "plain-list", "seven", "deep"],
)
async def test_the_value_of_another_card_is_no_choice(value: object) -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        await one.give(one.activity(value=value))
        assert (await one.log())[-1]["event"]["action"] == "turn_taken"
        await one.press("leave")
        assert (await one.log())[-1]["event"]["action"] == "ticket_cancel"


async def test_the_value_of_a_button_may_come_back_as_a_string() -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        await one.give(one.activity(text="", value='{"caseassist": "leave"}'))
        assert (await one.log())[-1]["event"]["reason"] == "Quit"


async def test_a_button_of_an_earlier_message_says_that_it_is_gone() -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        stale = one.as_activity(Said(choice="category:0.1"))
        await one.say("electrical")
        await one.give(stale)
        assert "no longer" in one.text
        assert buttons(one.sent[-1])


async def test_the_mention_of_the_agent_is_not_part_of_what_is_said() -> None:
    async with chat() as one:
        mention = {"type": "mention", "text": "<at>Support</at>", "mentioned": AGENT}
        await one.give(one.activity(text=f"<at>Support</at> {PROBLEM}", entities=[mention]))
        assert (await one.log())[-1]["ticket"]["description"] == PROBLEM


async def test_the_language_is_that_of_the_locale() -> None:
    async with chat() as one:
        await one.give(one.activity(text="Mein Generator geht nach einer Minute aus.", locale="de-CH"))
        assert (await one.log())[0]["context"]["language"] == "de"
        assert "Electrical" in str(one.sent[-1])
        assert "Beenden" in str(one.sent[-1])


@pytest.mark.parametrize("object_id", [USER["aadObjectId"], None])
async def test_the_client_id_is_made_of_the_object_id_or_else_of_the_id(object_id: str | None) -> None:
    async with chat() as one:
        await one.give(one.activity(text=PROBLEM, **{"from": USER | {"aadObjectId": object_id}}))
        (record, *_) = await one.assist.load((await one.bot.session_ids("msteams a:1"))[0])
        assert record.context.client_id == client_id_from(object_id or "29:jo", "m365")


async def test_persons_that_share_a_chat_have_a_conversation_each() -> None:
    async with chat() as one:
        one.conversation = {"id": "19:team", "conversationType": "channel", "isGroup": True}
        await one.say(PROBLEM)
        await one.give(one.activity(text="My brakes squeal.", **{"from": {"id": "29:al"}}))
        descriptions = [(await one.log(person=f" {who}"))[-1]["ticket"]["description"] for who in ("29:jo", "29:al")]
        assert descriptions == [PROBLEM, "My brakes squeal."]


async def test_the_same_conversation_id_in_another_channel_is_another_conversation(tmp_path: Path) -> None:
    for channel in ("msteams", "webchat"):
        async with chat(SQLiteStore(tmp_path / "cases.db"), channel=channel) as one:
            await one.say(PROBLEM)
            assert (await one.log(1))[0]["event"]["action"] == "ticket_create_start"
            assert not await one.log(2)


async def test_who_comes_is_greeted_once_and_the_agent_is_not() -> None:
    async with chat() as one:
        update = {"type": "conversationUpdate", "membersAdded": [AGENT]}
        await one.give(one.activity(**update))
        assert one.sent == []
        added = one.activity(type="conversationUpdate", membersAdded=[AGENT, USER])
        await one.give(added)
        await one.give(added)
        assert [sent["text"] for sent in one.sent] == [one.bot.dialogue.texts_for("en").greeting]
        await one.say(PROBLEM)
        log = await one.log()
        assert [record["event"]["action"] for record in log].count("ticket_create_start") == 1
        assert log[-1]["ticket"]["description"] == PROBLEM


async def test_nobody_is_greeted_in_a_chat_of_several_persons() -> None:
    async with chat() as one:
        one.conversation = {"id": "19:team", "isGroup": True}
        await one.give(one.activity(type="conversationUpdate", membersAdded=[USER]))
        assert one.sent == []


@pytest.mark.parametrize(
    "kind",
    [
        "conversationUpdate",
        "endOfConversation",
        "installationUpdate",
        "messageDelete",
        "messageReaction",
        "messageUpdate",
        "typing",
    ],
)
async def test_what_says_nothing_is_ignored(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        log, sent = await one.log(), len(one.sent)
        await one.give(one.activity(type=kind, text="4111 1111 1111 1111", membersRemoved=[USER], action="remove"))
        assert (await one.log(), len(one.sent)) == (log, sent)
    assert "4111" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_routes_of_the_application_come_first() -> None:
    heard = []
    app = application()

    @app.message("help")
    async def on_help(context: TurnContext, state: TurnState) -> None:
        heard.append(context.activity.text)

    def make(bot: Bot) -> Agent:
        register(app, bot)
        return app

    async with chat(make=make) as one:
        await one.say("help")
        await one.say(PROBLEM)
        assert heard == ["help"]
        assert (await one.log())[-1]["ticket"]["description"] == PROBLEM


async def test_an_attachment_without_text_is_answered() -> None:
    async with chat() as one:
        picture = {"contentType": "image/png", "contentUrl": "https://example.com/a.png"}
        await one.say(PROBLEM)
        await one.give(one.activity(attachments=[picture]))
        assert buttons(one.sent[-1])


# What is shown


async def test_titles_and_texts_are_shown_as_they_are() -> None:
    written = "<b>Bold</b> & *stars* [link](https://evil.example.com) _x_ `y`\n# head"
    async with chat() as one:
        await one.say(written)
        await one.press("skip:category")
        shown = card(one.sent[-1])
        texts = [inline["text"] for block in parts(shown, "RichTextBlock") for inline in block["inlines"]]
        assert texts[0] == "Ignition <basics> & more"
        assert "Fuel and *air*" in texts
        assert not parts(shown, "TextBlock")  # it would take them for markdown
        await one.press("none:1")
        assert written in one.text
        assert all(sent["textFormat"] == "plain" for sent in one.sent)


async def test_a_document_has_its_link_once_it_was_opened() -> None:
    async with chat() as one:
        await one.say(PROBLEM)
        await one.press("category:0.1")
        assert "https://support.example.com" not in str(one.sent[-1])
        await one.press("open:1.1")
        (link,) = parts(card(one.sent[-1]), "Action.OpenUrl")
        assert link["url"] == "https://support.example.com/d1"


PROMPT = Prompt(text="?", step="reading", choices=(Choice(id="yes", label="Yes"), Choice(id="leave", label="Leave")))


@pytest.mark.parametrize("url", ["javascript:alert(1)", "docs/1", "", "https://example.com/" + "x" * 9999])
def test_what_is_no_link_for_everybody_is_none(url: str) -> None:
    prompt = Prompt(text="?", step="rating", cards=(Card(suggestion_id="1", title="T", url=url, source="S"),))
    for channel in ("msteams", "sms"):
        sent = activity_of(prompt, channel).model_dump(mode="json", exclude_unset=True)
        assert not parts(sent, "Action.OpenUrl")
        assert not url or url not in str(sent)


@pytest.mark.parametrize("channel", ["msteams", "webchat", "directlinespeech", "sms", "telegram", "pva-studio", ""])
def test_every_choice_can_be_seen_in_every_channel(channel: str) -> None:
    sent = activity_of(PROMPT, channel).model_dump(mode="json", by_alias=True, exclude_unset=True)
    if "attachments" in sent:
        assert [one["title"] for one in buttons(sent)] == ["Yes", "Leave"]
    else:
        assert sent["text"].endswith("1. Yes\n2. Leave")


async def test_a_conversation_without_buttons_can_be_held() -> None:
    async with chat(channel="sms") as one:
        for text in (PROBLEM, "1", "2", "2", "1", "1"):
            await one.say(text)
            assert "attachments" not in one.sent[-1]
        assert await one.log() == await told("solved")
        assert "Fuel and *air*" in one.sent[1]["text"]
        assert "https://support.example.com/d2" in one.sent[2]["text"]


@pytest.mark.parametrize("letter", ["x", "漢", "😀"])
@pytest.mark.parametrize("choices", [0, 19, 60])
def test_no_message_is_too_big_for_teams_and_every_choice_is_in_it(letter: str, choices: int) -> None:
    long = letter * 30_000
    prompt = Prompt(
        text=f"First. {long} Last?",
        step="reading",
        choices=tuple(Choice(id=f"c:{number}", label=f"{number} {letter * 200}") for number in range(choices)),
        cards=tuple(
            Card(suggestion_id=str(i), title=long, url="https://a", source=long, excerpt=long) for i in range(3)
        ),
    )
    activity = activity_of(prompt, "msteams")
    assert activity.text is not None
    assert activity.text.startswith("First. ")
    assert "Last?" in activity.text
    sent = activity.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert len(json.dumps(sent, ensure_ascii=False).encode("utf-16-le")) < 80_000
    shown = str(sent)
    assert all(f"{number} {letter}" in shown for number in range(choices))


def test_every_button_is_in_a_set_of_its_own_and_the_card_says_what_it_is() -> None:
    shown = card(activity_of(PROMPT, "msteams").model_dump(mode="json", by_alias=True, exclude_unset=True))
    assert (shown["type"], shown["version"]) == ("AdaptiveCard", "1.2")
    assert [len(one["actions"]) for one in parts(shown, "ActionSet")] == [1, 1]
