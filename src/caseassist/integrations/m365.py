"""A bot in Microsoft Teams, Web Chat and the other channels of the Microsoft 365 Agents SDK.

::

    agent = AgentApplication(storage=MemoryStorage(), connection_manager=connections)
    register(agent, bot)

Needs the extra ``m365``: ``pip install 'caseassist[m365]'``. The SDK runs on asyncio only.

What is said is shown as it is: messages are sent as plain text, and cards are built of parts that know no markdown.
Choices are buttons of an adaptive card. What a button gives back is an object, so it is never mistaken for typed text.
"""

# pyright: reportUnknownMemberType=false
# The SDK's own methods take keyword arguments and dicts without types.

import json
from typing import Any, cast

try:
    from microsoft_agents.activity import Activity, ActivityTypes, ChannelAccount, Channels, TextFormatTypes
    from microsoft_agents.hosting.core import AgentApplication, CardFactory, RouteRank, TurnContext, TurnState
except ImportError as error:  # pragma: no cover (the wheel check runs without the extra)
    raise ImportError("this needs the extra `m365`: pip install 'caseassist[m365]'") from error

from caseassist.bot import Bot, Message
from caseassist.conversation.prompts import Card, Choice, Prompt

__all__ = ["activity_of", "message_of", "on_activity", "register"]

KEY = "caseassist"
"""The member of a button's value that holds the id of the choice."""
CARD_CHANNELS = {
    Channels.agents.value,
    Channels.copilot_studio.value,
    Channels.direct_line.value,
    Channels.emulator.value,
    Channels.msteams.value,
    Channels.test.value,
    Channels.webchat.value,
}
"""Channels that show adaptive cards with their buttons. Elsewhere choices are a list, to be typed."""
CARD_VERSION = "1.2"
"""Of the schema of adaptive cards: Teams and Web Chat know it whole."""
MOST_BUTTONS = 20
"""More choices than these are a list, too."""
TEXT_CHARACTERS = 4000
EXCERPT_CHARACTERS = 500
LABEL_CHARACTERS = 150
"""Together they keep a message below 80 KB in UTF-16, which Teams recommends; it refuses more than 100 KB."""

IGNORED: list[str | ActivityTypes] = [
    ActivityTypes.conversation_update,
    ActivityTypes.end_of_conversation,
    ActivityTypes.installation_update,
    ActivityTypes.message_delete,
    ActivityTypes.message_reaction,
    ActivityTypes.message_update,
    ActivityTypes.typing,
]


def register(app: AgentApplication[Any], bot: Bot) -> None:
    """Have a bot answer all messages that no other route of the application takes, and greet who comes.

    What tells nothing that the bot could act on is ignored: somebody leaves, types, edits or deletes a message, reacts
    to one, installs or removes the agent. An own route for it comes first.
    """

    async def answer(context: TurnContext, _: TurnState) -> None:
        await on_activity(bot, context)

    async def ignore(_: TurnContext, __: TurnState) -> None:
        """The SDK logs what has no route, with its text."""

    app.message()(answer)
    app.members_added()(answer)
    app.activity(IGNORED, rank=RouteRank.LAST)(ignore)


async def on_activity(bot: Bot, context: TurnContext) -> None:
    """Have a bot answer an activity: for routes of your own, and for an ``ActivityHandler``.

    An activity with the id of one that this process has answered before is not answered again. Raises what sending
    raises, and what :meth:`Bot.answer` does: the person has been told then. What was recorded stays recorded, and the
    activity can be given again.
    """
    message = message_of(context.activity)
    if message is not None:
        channel = _channel(context.activity)
        await bot.answer(message, lambda prompt: context.send_activity(activity_of(prompt, channel)))


def message_of(activity: Activity) -> Message | None:
    """What an activity says to the bot; None if it says nothing.

    The conversation id is made of the channel and the conversation, and of the person where there may be others in it.
    The user id is the object id in Entra, where there is one, so that one person has one client id everywhere.
    """
    person = _person(activity)
    if person is None:
        return None
    conversation_id = f"{_channel(activity)} {activity.conversation.id}"
    if _is_shared(activity):
        conversation_id = f"{conversation_id} {person.id}"
    choice = text = None
    if activity.type == ActivityTypes.message:
        choice = _choice(activity.value)
        text = (activity.text or "") if choice is None else None
    return Message(
        conversation_id=conversation_id,
        text=text,
        choice=choice,
        message_id=activity.id,
        user_id=person.aad_object_id or person.id,
        language=activity.locale,
    )


def activity_of(prompt: Prompt, channel: str) -> Activity:
    """The message that says a prompt. ``channel``: its id, such as ``msteams``: what it can show."""
    text = _cut(prompt.text, TEXT_CHARACTERS)
    activity = Activity(type=ActivityTypes.message, text_format=TextFormatTypes.plain)
    if channel not in CARD_CHANNELS or len(prompt.choices) > MOST_BUTTONS:
        documents = [_lines(card, opened=_opened(prompt)) for card in prompt.cards]
        choices = [
            f"{f'{number}.' if prompt.numbered else '-'} {_cut(choice.label, LABEL_CHARACTERS)}"
            for number, choice in enumerate(prompt.choices, 1)
        ]
        activity.text = "\n\n".join(part for part in (text, *documents, "\n".join(choices)) if part)
        return activity
    activity.text = text
    if prompt.cards or prompt.choices:
        body = [_document(card, opened=_opened(prompt)) for card in prompt.cards]
        # Teams shows six actions of a set. A set for each shows all of them, one below the other, with long labels.
        body += [{"type": "ActionSet", "actions": [_button(choice)]} for choice in prompt.choices]
        shown = {"type": "AdaptiveCard", "version": CARD_VERSION, "body": body}
        activity.attachments = [CardFactory.adaptive_card(shown)]
    return activity


def _channel(activity: Activity) -> str:
    return "" if activity.channel_id is None else activity.channel_id.channel


def _person(activity: Activity) -> ChannelAccount | None:
    """Who says something, or comes into a conversation that is theirs."""
    if activity.type == ActivityTypes.message:
        return activity.from_property
    if activity.type != ActivityTypes.conversation_update or _is_shared(activity):
        return None
    agent = activity.recipient.id if activity.recipient else None
    return next((member for member in activity.members_added or () if member.id != agent), None)


def _is_shared(activity: Activity) -> bool:
    """Whether a conversation may have several persons in it."""
    kind = activity.conversation.conversation_type
    return bool(activity.conversation.is_group) or kind not in (None, "personal")


def _choice(value: object) -> str | None:
    """The id of the choice whose button was pressed, if it was one of ours."""
    if isinstance(value, str):  # Teams passes on what is a string in a card as a string
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    choice = cast("dict[str, object]", value).get(KEY) if isinstance(value, dict) else None
    return choice if isinstance(choice, str) else None


def _opened(prompt: Prompt) -> bool:
    """Whether links are shown: a document that is opened by a link is not known to have been opened."""
    return not any(choice.id.startswith("open:") for choice in prompt.choices)


def _button(choice: Choice) -> dict[str, Any]:
    label = _cut(choice.label, LABEL_CHARACTERS)
    # Teams shows in the chat what was pressed; other channels take the value and leave this out.
    shown = {"type": "messageBack", "displayText": label, "text": choice.id}
    return {"type": "Action.Submit", "title": label, "data": {KEY: choice.id, "msteams": shown}}


def _document(card: Card, *, opened: bool) -> dict[str, Any]:
    items: list[dict[str, Any]] = [_plain(_cut(card.title, LABEL_CHARACTERS), weight="Bolder")]
    if card.excerpt:
        items.append(_plain(_cut(card.excerpt, EXCERPT_CHARACTERS)))
    source = _cut(card.source, LABEL_CHARACTERS)
    items.append(_plain(source, isSubtle=True, size="Small"))
    if opened and _is_link(card.url):
        link = {"type": "Action.OpenUrl", "title": source, "url": card.url}
        items[-1] = {"type": "ActionSet", "actions": [link]}
    return {"type": "Container", "separator": True, "items": items}


def _plain(text: str, **style: Any) -> dict[str, Any]:
    """Text that is shown as it is: a TextBlock would take it for markdown."""
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _lines(card: Card, *, opened: bool) -> str:
    parts = (
        _cut(card.title, LABEL_CHARACTERS),
        _cut(card.excerpt or "", EXCERPT_CHARACTERS),
        card.url if opened and _is_link(card.url) else "",
    )
    return "\n".join(part for part in parts if part)


def _is_link(url: str) -> bool:
    return url.startswith(("https://", "http://")) and len(url) <= TEXT_CHARACTERS


def _cut(text: str, most: int) -> str:
    """A text of so many characters, without its middle if it is longer: what is asked comes last."""
    if len(text) <= most:
        return text
    half = most // 2 - 1
    return f"{text[:half]} … {text[len(text) - half + 1 :]}"
