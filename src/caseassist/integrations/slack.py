"""A bot in Slack, with slack-bolt: people write to it, or mention it in a channel, and press its buttons.

::

    app = AsyncApp(token=os.environ["SLACK_BOT_TOKEN"], signing_secret=os.environ["SLACK_SIGNING_SECRET"])
    register(app, bot)

Runs on asyncio only, as aiohttp does, which slack-bolt stands on. Needs the extra ``slack``:
``pip install 'caseassist[slack]'``.
"""

import re
from collections.abc import Mapping
from logging import Logger
from typing import Any

try:
    from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise ImportError("the Slack integration needs the extra `slack`: pip install 'caseassist[slack]'") from error

from caseassist.bot import Bot, Message
from caseassist.conversation.prompts import Card, Choice, Prompt

__all__ = ["blocks_of", "register", "written"]

ACTION = "caseassist"
"""What the action ids of our buttons begin with."""
WRITTEN = (None, "file_share", "thread_broadcast")
"""Subtypes of ``message`` events that are something new that a person wrote; not edits, deletions, joins."""

# Slack's own limits, of docs.slack.dev/reference/block-kit.
LABEL = 75
VALUE = 2000
URL = 3000
BUTTONS = 25
"""In one block of actions."""
BLOCKS = 50

# Ours. All texts of a message together have a limit, too, which Slack does not document: it was met from 11,300 to
# 13,300 characters on (issues 2509 and 2867 of slackapi/bolt-js).
TEXT = 4000
TITLE = 150
EXCERPT = 300
CARDS = 10


def register(app: AsyncApp, bot: Bot) -> None:
    """Have ``bot`` talk in ``app``. Its assist must be open for as long as the app runs.

    It takes every ``message`` event of direct messages, ``app_mention`` events of channels, and presses of its own
    buttons; an app of yours can have more listeners. A direct message channel is one conversation. In a channel, the
    thread of a mention is one: whoever answers in it, it is the case of the person who began it.

    The Slack app needs the bot scopes ``app_mentions:read``, ``chat:write`` and ``im:history``, and the events
    ``app_mention`` and ``message.im``. Slack is told at once that an event has come; what fails later is logged by
    slack-bolt, and nothing that was recorded is lost.
    """

    async def is_direct(event: dict[str, Any]) -> bool:
        return event.get("channel_type") == "im"

    async def hear(event: dict[str, Any], context: AsyncBoltContext, client: Any) -> None:
        if event.get("subtype") not in WRITTEN or event.get("bot_id") or not event.get("user"):
            return
        channel, thread = event["channel"], event.get("thread_ts")
        if event["type"] == "app_mention":
            thread = thread or event["ts"]
        # With the channel, ``ts`` is what Slack knows a message by: the same in each redelivery of each event about it.
        # ``event_id`` is another one in each kind of event, and ``client_msg_id`` is not for apps and may be missing.
        message = Message(
            conversation_id=_conversation_id(context, channel, thread),
            text=written(event.get("text") or "", context.bot_user_id),
            message_id=event["ts"],
            user_id=_person(context, event["user"]),
            language=event.get("locale"),
        )
        await bot.answer(message, _Voice(client, channel, thread))

    async def take(
        ack: AsyncAck,
        body: dict[str, Any],
        action: dict[str, Any],
        context: AsyncBoltContext,
        client: Any,
        logger: Logger,
    ) -> None:
        await ack()
        channel, shown = body["channel"]["id"], body["message"]
        thread = shown.get("thread_ts")
        message = Message(
            conversation_id=_conversation_id(context, channel, thread),
            choice=action.get("value") or "",
            message_id=f"action {action['action_ts']}",  # of the press: two presses of one button are two messages
            user_id=_person(context, body["user"]["id"]),
            language=body["user"].get("locale"),
        )
        await bot.answer(message, _Voice(client, channel, thread))
        try:
            await client.chat_update(
                channel=channel, ts=shown["ts"], text=shown.get("text") or "", blocks=_answered(shown, action)
            )
        except Exception as error:  # noqa: BLE001 (the buttons stay; a press of them is answered as one that is late)
            logger.warning("The buttons of an answered message stay: %s", type(error).__name__)

    bolt: Any = app  # its own types are not complete
    bolt.event("message", matchers=[is_direct])(hear)
    bolt.event("app_mention")(hear)
    bolt.action(re.compile(rf"{ACTION}:\d+"))(take)


class _Voice:
    """Says prompts where a message came from.

    Not with slack-bolt's ``say``: in a thread of direct messages it would read the thread for the context of an
    assistant, which is one more request that can fail.
    """

    def __init__(self, client: Any, channel: str, thread: str | None) -> None:
        self._client = client  # an AsyncWebClient, whose types are not complete
        self._channel = channel
        self._thread = thread

    async def __call__(self, prompt: Prompt) -> None:
        await self._client.chat_postMessage(
            channel=self._channel,
            thread_ts=self._thread,
            text=_escaped(_cut(prompt.text, TEXT)),  # for notifications, and readers of screens
            blocks=blocks_of(prompt),
            unfurl_links=False,  # the cards say what is behind a link
            unfurl_media=False,
        )


def _home(context: AsyncBoltContext) -> str:
    """Where the app is installed: the ids of people and channels are unique there."""
    return (context.enterprise_id if context.is_enterprise_install else context.team_id) or ""


def _conversation_id(context: AsyncBoltContext, channel: str, thread: str | None) -> str:
    direct = channel.startswith("D")  # somebody who answers in a thread there has but one conversation all the same
    return "/".join((_home(context), channel, *([thread] if thread and not direct else [])))


def _person(context: AsyncBoltContext, user: str) -> str:
    return f"{_home(context)}/{user}"


# --- What is shown ----------------------------------------------------------------------------------------------------


def blocks_of(prompt: Prompt) -> list[dict[str, Any]]:
    """A prompt as Block Kit blocks, within Slack's limits: the text, a block for each card, the choices as buttons.

    What is too long is cut: labels to 75 characters, the text, in its middle, to 4,000, excerpts to 300. Texts are in
    ``rich_text`` blocks: they are shown as they are, whatever is in them, and mention nobody.
    """
    text = [_rich({"type": "text", "text": _cut(prompt.text, TEXT)})] if prompt.text else []
    cards = [_card(card) for card in prompt.cards[:CARDS]]
    buttons = [_button(n, choice) for n, choice in enumerate(prompt.choices) if len(choice.id) <= VALUE]
    rows = [{"type": "actions", "elements": buttons[n : n + BUTTONS]} for n in range(0, len(buttons), BUTTONS)]
    return [*text, *cards, *rows][:BLOCKS]


def _rich(*elements: dict[str, Any], kind: str = "rich_text_section") -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": kind, "elements": list(elements)}]}


def _card(card: Card) -> dict[str, Any]:
    title: dict[str, Any] = {"text": _cut(card.title or card.url, TITLE), "style": {"bold": True}}
    if re.match(r"https?://", card.url) and len(card.url) <= URL:
        title |= {"type": "link", "url": card.url}
    else:
        title |= {"type": "text"}
    told = "".join(f"\n{text}" for text in (card.source, _cut(card.excerpt or "", EXCERPT)) if text)
    return _rich(title, *([{"type": "text", "text": told}] if told else []))


def _button(number: int, choice: Choice) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": f"{ACTION}:{number}",
        "text": {"type": "plain_text", "text": _cut(choice.label, LABEL, end=True) or choice.id, "emoji": False},
        "value": choice.id,
    }


def _answered(shown: Mapping[str, Any], action: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A message of ours with what was chosen in the place of its buttons."""
    blocks: list[dict[str, Any]] = shown.get("blocks") or []
    kept = [
        {member: value for member, value in block.items() if member != "block_id"}  # each version has its own
        for block in blocks
        if block.get("type") == "rich_text"
    ]
    label = _unescaped(action.get("text", {}).get("text") or action.get("value") or "")
    return [*kept, _rich({"type": "text", "text": label}, kind="rich_text_quote")] if label else kept


def _cut(text: str, most: int, *, end: bool = False) -> str:
    """A text of at most ``most`` characters, cut at its end or, as what is asked stands there, before it."""
    if len(text) <= most:
        return text
    last = 0 if end or most < TEXT else most // 4
    return f"{text[: most - last - 1]}…{text[len(text) - last :]}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# --- What is heard ----------------------------------------------------------------------------------------------------


def written(text: str, bot_user_id: str | None = None) -> str:
    """What a person has written, out of the ``text`` of an event: without Slack's markup, and as they typed it.

    Mentions of ``bot_user_id`` are left out. Links are told as they are seen, with the address behind them.
    """

    def plain(match: re.Match[str]) -> str:
        target, _, label = match[1].partition("|")
        if target[:1] in ("@", "#"):
            return "" if target == f"@{bot_user_id}" else target[0] + (label or target[1:]).lstrip("@#")
        if target[:1] == "!":
            return label or f"@{target[1:]}"
        address = target.removeprefix("mailto:")
        return f"{label} ({address})" if label and label not in address else label or address

    return _unescaped(re.sub(r"<([^<>]*)>", plain, text)).strip()


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
