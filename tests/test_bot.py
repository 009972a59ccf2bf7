"""The bot: what happens in a conversation is in the store, once, whoever takes the message and whatever breaks."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.integrations.conversations import CONTEXT, CONVERSATIONS, PROBLEM, Said, Service, Tickets, story, told

from caseassist.bot import Bot, Message, Reply
from caseassist.conversation.dialogue import Dialogue, Stage
from caseassist.conversation.prompts import Prompt
from caseassist.core.errors import InvalidAction, NoSuggestions, SequenceConflict, SessionErased, StoreUnavailable
from caseassist.core.events import Context, Ticket, TicketCreateStart, TurnTaken
from caseassist.core.records import Record
from caseassist.live import CaseAssist
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore
from caseassist.testing.cancellation import cut_off


@asynccontextmanager
async def workers(path: Path, count: int, tickets: Any = None, service: Any = None) -> AsyncGenerator[list[Bot]]:
    """Bots on one store, as if each were in a process of its own."""
    async with AsyncExitStack() as stack:
        bots = []
        for _ in range(count):
            assist = await stack.enter_async_context(CaseAssist(CONTEXT, store=SQLiteStore(path)))
            bots.append(Bot(assist, tickets=tickets or Tickets(), service=service or Service()))
        yield bots


@pytest.fixture
async def bot() -> AsyncGenerator[Bot]:
    async with CaseAssist(CONTEXT) as assist:
        yield Bot(assist, tickets=Tickets(), service=Service())


WORDS = ("It is broken", "1", "2", "no", "yes", "new", "hello", "thanks")


def message(text: str | None = None, choice: str | None = None, **members: Any) -> Message:
    return Message(**({"conversation_id": "c1", "text": text, "choice": choice} | members))


async def say(bot: Bot, said: Said, message_id: str | None = None) -> Reply:
    return await bot.reply(message(said.text, said.choice, message_id=message_id))


def whole(records: list[Record] | Any) -> bool:
    """Whether a session's records have no gap, and each message had one turn."""
    ids = [record.event.message_id for record in records if isinstance(record.event, TurnTaken)]
    ids = [one for one in ids if one is not None]
    return [record.seq for record in records] == list(range(len(records))) and len(ids) == len(set(ids))


# One worker


async def test_what_is_returned_is_what_was_recorded(bot: Bot) -> None:
    records: list[Record] = []
    for said in CONVERSATIONS["created"]:
        reply = await say(bot, said)
        records += reply.records
    assert records == list(await bot.assist.load(reply.session_id))
    assert reply.session_id == (await bot.session_ids("c1"))[0]


async def test_a_chat_that_is_opened_is_greeted_once(bot: Bot) -> None:
    reply = await bot.reply(message(message_id="m1"))
    assert (reply.prompt.step, len(reply.records)) == ("describing", 2)
    again = await bot.reply(message(message_id="m2"))
    assert (again.prompt, again.records) == (reply.prompt, ())


async def test_after_the_end_only_what_asks_for_it_starts_a_new_session(bot: Bot) -> None:
    for said in CONVERSATIONS["solved"]:
        ended = await say(bot, said)
    thanks = await say(bot, Said(text="Thanks!"))
    assert (thanks.prompt, thanks.records) == (ended.prompt, ())
    again = await say(bot, Said(choice="new"), message_id="m9")
    assert again.session_id == (await bot.session_ids("c1"))[1]
    assert again.prompt.step == "describing"
    first, second = [await bot.assist.load((await bot.session_ids("c1"))[number - 1]) for number in (1, 2)]
    assert first[0].context.client_id == second[0].context.client_id
    await say(bot, Said(choice="leave"))
    assert (await bot.reply(message())).session_id == (await bot.session_ids("c1"))[2], (
        "opening the chat asks for it, too"
    )


async def test_a_message_from_before_a_new_session_is_known_there(bot: Bot) -> None:
    await say(bot, Said(text=PROBLEM), "m1")
    await say(bot, Said(choice="leave"), "m2")
    await say(bot, Said(choice="new"), "m3")
    for number in (1, 2, 3):
        reply = await say(bot, Said(text="I am read again"), f"m{number}")
        assert (reply.repeated, reply.records, reply.prompt.step) == (True, (), "describing")


@pytest.mark.parametrize("sessions", [1, 2, 3, 4, 7, 8, 9])
async def test_any_worker_finds_the_latest_of_many_sessions(sessions: int, tmp_path: Path) -> None:
    async with workers(tmp_path / "cases.db", 2) as (one, other):
        for _ in range(sessions):
            await one.reply(message())
            await say(one, Said(choice="leave"))
        await one.reply(message())
        reply = await say(other, Said(text=PROBLEM))
        ids = await other.session_ids("c1")
        assert (len(ids), ids[-1]) == (sessions + 1, reply.session_id)


async def test_conversations_users_and_bots_are_kept_apart(bot: Bot) -> None:
    other = Bot(bot.assist, tickets=Tickets(), name="other")
    replies = [
        await bot.reply(message(user_id="u1")),
        await bot.reply(message(conversation_id="c2", user_id="u1")),
        await bot.reply(message(conversation_id="c3", user_id="u2")),
        await other.reply(message(user_id="u1")),
    ]
    assert len({reply.session_id for reply in replies}) == 4
    clients = [(await bot.assist.load(reply.session_id))[0].context.client_id for reply in replies]
    assert clients[0] == clients[1]
    assert len(set(clients)) == 3


async def test_odd_ids_and_languages_are_taken(bot: Bot) -> None:
    for number, odd in enumerate(["\ud800", "", "\x00", "x" * 5000, "line\nbreak", "é", "1"]):
        reply = await bot.reply(message(f"It is broken, {number}", message_id=odd, conversation_id=odd, user_id=odd))
        assert reply.records
        assert (await bot.reply(message("again", message_id="m", conversation_id=odd))).session_id == reply.session_id
    french = await bot.reply(message(conversation_id="fr", language="fr-CA"))
    assert french.prompt.text.startswith("Bonjour")
    assert french.records[0].context.language == "fr"
    unknown = await bot.reply(message(conversation_id="xx", language="tlh-Piqd"))
    assert unknown.records[0].context.language == "en"


async def test_what_is_known_of_the_case_is_not_asked(bot: Bot) -> None:
    reply = await bot.reply(message(ticket=Ticket(description=PROBLEM, category="Engine")))
    assert reply.prompt.step == "reading"
    with pytest.raises(InvalidAction):
        await bot.reply(message(conversation_id="c2", ticket={"id": "1"}))
    assert (await bot.reply(message(conversation_id="c2"))).prompt.step == "describing"


async def test_after_a_session_expired_what_is_said_begins_a_new_one(bot: Bot) -> None:
    await say(bot, Said(text="Something else"))
    (first,) = await bot.session_ids("c1")
    assert await bot.assist.expire(idle_s=0) == [first]
    assert (await say(bot, Said(text="hello"))).prompt.step == "describing"
    assert await bot.assist.expire(idle_s=0) != []
    reply = await say(bot, Said(text=PROBLEM))
    assert reply.prompt.step == "asking"
    assert reply.records[-1].ticket.description == PROBLEM
    assert await bot.session_ids("c1") == [*dict.fromkeys([first, *await bot.session_ids("c1")])]
    assert len(await bot.session_ids("c1")) == 3


async def test_the_next_day_what_is_said_begins_a_new_session() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    async with CaseAssist(CONTEXT, clock=lambda: now) as assist:
        bot = Bot(assist, tickets=Tickets(), service=Service())
        await say(bot, Said(text=PROBLEM))
        await say(bot, Said(choice="leave"))
        now += timedelta(minutes=29)
        assert (await say(bot, Said(text="It is broken again"))).prompt.ended
        now += timedelta(days=1)
        reply = await say(bot, Said(text="It is broken again"))
        assert reply.records[-1].ticket.description == "It is broken again"
        assert [reply.session_id] == (await bot.session_ids("c1"))[1:]


async def test_a_person_who_was_erased_begins_anew(bot: Bot) -> None:
    await say(bot, Said(text=PROBLEM))
    (first,) = await bot.session_ids("c1")
    await bot.assist.erase(session_id=first)
    with pytest.raises(SessionErased):  # what this worker has in mind is not what the store has
        await say(bot, Said(choice="skip"))
    reply = await say(bot, Said(text="It is broken again"))
    assert (reply.session_id != first, reply.prompt.step) == (True, "asking")


@pytest.mark.parametrize("forgets", ["prune", "bounds", "restart"])
async def test_no_session_id_comes_twice_whatever_a_store_forgets(forgets: str, tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    ids: list[str] = []
    tickets = Tickets()
    lasting = SQLiteStore(tmp_path / "cases.db") if forgets == "prune" else None
    bounded = MemoryStore(max_records=40) if forgets == "bounds" else None
    for _ in range(6):
        store = lasting or bounded or MemoryStore()
        async with CaseAssist(CONTEXT, store=store, clock=partial(copy, now)) as assist:
            bot = Bot(assist, tickets=tickets, service=Service(), conversations=1)
            for said in CONVERSATIONS["created"]:
                reply = await say(bot, said)
            assert reply.prompt.step == "created"
            ids.append(reply.session_id)
            await bot.reply(message(conversation_id="other", message_id=f"{now}"))
            if lasting:
                await lasting.prune(now + timedelta(seconds=1))
        now += timedelta(days=1)
    assert len(set(ids)) == 6
    assert len(tickets.filed) == 6, "each was filed for itself"


@pytest.mark.parametrize("seed", range(5))
async def test_many_workers_are_as_good_as_one(seed: int, tmp_path: Path) -> None:
    async def lead(path: Path, count: int) -> list[Any]:
        rng, who = random.Random(seed), random.Random(seed + 1)
        steps: list[Any] = []
        async with workers(path, count, tickets=Tickets()) as bots:
            reply = await bots[0].reply(message())
            for number in range(40):
                ids = [choice.id for choice in reply.prompt.choices]
                said = Said(choice=rng.choice(ids)) if rng.random() < 0.6 else Said(text=rng.choice(WORDS))
                reply = await say(who.choice(bots), said, f"m{number}")
                steps.append((said, reply.session_id, reply.prompt))
        return steps

    assert await lead(tmp_path / "many.db", 3) == await lead(tmp_path / "one.db", 1)


# Redelivery and restarts


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_another_worker_for_each_message_and_each_message_twice_tells_the_same_story(
    name: str, tmp_path: Path
) -> None:
    tickets = Tickets()
    for number, said in enumerate(CONVERSATIONS[name]):
        async with workers(tmp_path / "cases.db", 2, tickets=tickets) as bots:
            reply = await say(bots[0], said, f"m{number}")
            for bot in bots:
                again = await say(bot, said, f"m{number}")
                assert (again.prompt, again.records, again.repeated) == (reply.prompt, (), True)
    async with workers(tmp_path / "cases.db", 1) as (bot,):
        assert story(await bot.assist.load((await bot.session_ids("c1"))[0])) == await told(name)


async def test_two_messages_at_once_through_two_workers_have_a_turn_each(tmp_path: Path) -> None:
    async with workers(tmp_path / "cases.db", 2) as bots:
        for round_ in range(10):
            async with anyio.create_task_group() as tasks:
                for number, bot in enumerate(bots):
                    tasks.start_soon(say, bot, Said(text=f"It is broken, {number}"), f"{round_}-{number}")
        records = await bots[0].assist.load((await bots[0].session_ids("c1"))[0])
    assert whole(records)
    assert sum(isinstance(record.event, TicketCreateStart) for record in records) == 1
    ids = {record.event.message_id for record in records if isinstance(record.event, TurnTaken)} - {None}
    assert ids == {f"{round_}-{number}" for round_ in range(10) for number in (0, 1)}


async def test_the_same_message_at_once_through_many_workers_has_one_turn(tmp_path: Path) -> None:
    tickets = Tickets()
    async with workers(tmp_path / "cases.db", 4, tickets=tickets) as bots:
        for number, said in enumerate(CONVERSATIONS["created"]):
            async with anyio.create_task_group() as tasks:
                for bot in bots:
                    tasks.start_soon(say, bot, said, f"m{number}")
        records = await bots[0].assist.load((await bots[0].session_ids("c1"))[0])
        assert whole(records)
        assert story(records) == await told("created")
    assert len(tickets.filed) == 1


class Dies(Exception):
    """The process, so to speak."""


async def test_a_worker_that_dies_while_it_asks_leaves_it_to_the_next(tmp_path: Path) -> None:
    class Dying(Service):
        async def classify(self, ticket: Ticket, context: Context) -> Any:
            raise KeyboardInterrupt

    async with workers(tmp_path / "cases.db", 1, service=Dying()) as (bot,):
        with pytest.raises(KeyboardInterrupt):
            await say(bot, Said(text=PROBLEM), "m1")
    async with workers(tmp_path / "cases.db", 1) as (bot,):
        reply = await say(bot, Said(text=PROBLEM), "m1")  # delivered again, as it was not answered
        assert reply.prompt.step == "asking"
        for number, said in enumerate(CONVERSATIONS["solved"][1:], 2):
            reply = await say(bot, said, f"m{number}")
        assert story(await bot.assist.load(reply.session_id)) == await told("solved")


@pytest.mark.parametrize("end", ["solved", "created", "left"])
async def test_cut_off_at_any_await_and_given_again_a_message_has_one_turn(end: str, tmp_path: Path) -> None:
    tickets = Tickets()
    count = 0

    async def lead(bot: Bot, number: int) -> None:
        await say(bot, CONVERSATIONS[end][number], f"m{number}")

    async with workers(tmp_path / "cases.db", 1, tickets=tickets) as (bot,):
        for number in range(len(CONVERSATIONS[end])):
            k = 1
            while (await cut_off(lead(bot, number), k))[0]:
                k += 1
            count += k
            await lead(bot, number)
        records = await bot.assist.load((await bot.session_ids("c1"))[0])
        assert whole(records)
        assert story(records) == await told(end)
    assert count > len(CONVERSATIONS[end])
    assert len(tickets.filed) == (1 if end == "created" else 0)


# When something fails


async def test_without_suggestions_it_goes_on_and_says_so(bot: Bot) -> None:
    down = Service()
    down.down = True
    for service in (None, down):
        bot = Bot(bot.assist, tickets=Tickets(), service=service, name=f"{service}")
        reply = await say(bot, Said(text=PROBLEM))
        assert reply.prompt.step == "asking"
        assert ("cannot reach the suggestions" in reply.prompt.text) == (service is down), "who has none expects none"
        reply = await say(bot, Said(choice="skip"))
        assert reply.prompt.step == "reviewing"
        assert (await say(bot, Said(choice="file"))).prompt.step == "created"


class Odd(Service):
    """Somebody else's service: raises what it likes, answers what it likes, or nothing at all."""

    def __init__(self, behave: Callable[[], Awaitable[Any]]) -> None:
        super().__init__()
        self.behave = behave

    async def classify(self, ticket: Ticket, context: Context) -> Any:
        return await self.behave()

    async def suggest_documents(self, ticket: Ticket, context: Context) -> Any:
        return await self.behave()

    async def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> Any:
        return await self.behave()


async def raises() -> None:
    raise ZeroDivisionError(PROBLEM)


async def answers_nothing() -> None:
    return None


async def answers_oddly() -> Any:
    return 17


class AtOnce(Service):
    """Raises before there is anything to wait for."""

    def classify(self, ticket: Ticket, context: Context) -> Any:
        raise ZeroDivisionError(PROBLEM)

    def create_ticket(self, ticket: Ticket, context: Context, *, key: str) -> Any:
        raise ZeroDivisionError(PROBLEM)


async def test_what_a_service_raises_at_once_is_its_failure_too(bot: Bot) -> None:
    bot = Bot(bot.assist, tickets=AtOnce(), service=AtOnce())
    assert "cannot reach" in (await say(bot, Said(text=PROBLEM))).prompt.text
    await say(bot, Said(choice="skip"))
    await say(bot, Said(choice="none"))
    assert "I do not know yet" in (await say(bot, Said(choice="file"))).prompt.text


@pytest.mark.parametrize("behave", [raises, answers_nothing, answers_oddly, anyio.sleep_forever])
async def test_whatever_services_do_it_goes_on(bot: Bot, behave: Callable[[], Awaitable[Any]]) -> None:
    odd = Odd(behave)
    bot = Bot(bot.assist, tickets=odd, service=odd, service_timeout_s=0.01, ticket_timeout_s=0.01)
    await say(bot, Said(text=PROBLEM))
    await say(bot, Said(choice="skip"))
    reply = await say(bot, Said(choice="file"))
    assert reply.prompt.step == "reviewing"
    assert "I do not know yet" in reply.prompt.text
    assert [choice.id for choice in reply.prompt.choices] == ["file", "leave"], "what may be filed cannot be changed"
    records = await bot.assist.load(reply.session_id)
    assert whole(records)
    assert "ZeroDivision" not in repr([record.event for record in records])


async def test_a_ticket_that_could_not_be_filed_can_be_tried_again(bot: Bot) -> None:
    bot = Bot(bot.assist, tickets=Tickets(failures=1), service=Service())
    for said in CONVERSATIONS["created"]:
        reply = await say(bot, said)
    assert "Nothing is lost" in reply.prompt.text
    assert (await say(bot, Said(text="yes"))).prompt.step == "created"


class Broken(MemoryStore):
    """Cannot be written to while it is ``down``."""

    down = False

    async def append(self, *args: Any, **options: Any) -> Any:
        if self.down:
            raise StoreUnavailable("the disk is gone")
        return await super().append(*args, **options)


async def test_a_store_that_fails_is_told_and_nothing_is_forgotten() -> None:
    store = Broken()
    async with CaseAssist(CONTEXT, store=store) as assist:
        bot = Bot(assist, tickets=Tickets(), service=Service())
        await say(bot, Said(text=PROBLEM), "m1")
        said: list[Prompt] = []

        async def keep(prompt: Prompt) -> None:
            said.append(prompt)

        store.down = True
        with pytest.raises(StoreUnavailable):
            await bot.answer(message(choice="skip", message_id="m2", language="de"), keep)
        store.down = False
        await bot.answer(message(choice="skip", message_id="m2"), keep)
        assert ["schiefgegangen" in said[0].text, said[1].step] == [True, "reading"]


async def test_what_was_said_is_not_said_twice_but_what_could_not_be_sent_is(bot: Bot) -> None:
    said: list[Prompt] = []
    failing = True

    async def send(prompt: Prompt) -> None:
        if failing:
            raise OSError("the platform is away")
        said.append(prompt)

    first = message(PROBLEM, message_id="m1")
    with pytest.raises(OSError, match="away"):
        await bot.answer(first, send)
    failing = False
    await bot.answer(first, send)
    await bot.answer(first, send)
    assert [prompt.step for prompt in said] == ["asking"]
    for _ in range(2):  # without an id, every message is a new one
        await bot.answer(message("hm"), send)
    assert len(said) == 3


async def test_a_message_that_comes_again_while_it_is_answered_is_answered_once(bot: Bot) -> None:
    said: list[str] = []

    async def send(prompt: Prompt) -> None:
        await anyio.lowlevel.checkpoint()
        said.append(prompt.step)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(bot.answer, message(PROBLEM, message_id="m1"), send)
    assert said == ["asking"]


async def test_of_what_was_said_only_the_latest_is_kept_in_mind(bot: Bot) -> None:
    bot = Bot(bot.assist, tickets=Tickets(), service=Service(), conversations=2)
    said: list[Prompt] = []

    async def keep(prompt: Prompt) -> None:
        said.append(prompt)

    for message_id in ("m1", "m2", "m3", "m2", "m3", "m1"):
        await bot.answer(message(PROBLEM, message_id=message_id), keep)
    assert len(said) == 4, "what is said again is what there is to say now"
    assert said[-1] == said[-2]


async def test_a_conversation_that_is_under_way_is_not_forgotten_for_a_newer_one(bot: Bot) -> None:
    class Slow(Service):
        async def classify(self, ticket: Ticket, context: Context) -> Any:
            started.set()
            await go_on.wait()
            return await super().classify(ticket, context)

    started, go_on = anyio.Event(), anyio.Event()
    bot = Bot(bot.assist, tickets=Tickets(), service=Slow(), conversations=1)
    replies: list[Reply] = []

    async def take(text: str) -> None:
        replies.append(await bot.reply(message(text)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, PROBLEM)
        await started.wait()
        tasks.start_soon(take, "Electrical")  # waits for its turn
        for number in (2, 3):  # there is room for none of them, and then for one
            assert (await bot.reply(message(conversation_id=f"c{number}"))).prompt.step == "describing"
        go_on.set()
    assert [reply.prompt.step for reply in replies] == ["asking", "reading"]
    assert whole(await bot.assist.load((await bot.session_ids("c1"))[0]))


class Contended(MemoryStore):
    """Another worker is always faster, ``times`` times."""

    times = 0
    tries = 0

    async def append(self, *args: Any, **options: Any) -> Any:
        self.tries += 1
        if self.tries <= self.times:
            raise SequenceConflict("c1", expected=0, found=1)
        return await super().append(*args, **options)


@pytest.mark.parametrize(("times", "heard"), [(3, True), (10_000, False)])
async def test_who_always_comes_too_late_gives_up_and_has_recorded_nothing(times: int, heard: bool) -> None:
    store = Contended()
    store.times = times
    async with CaseAssist(CONTEXT, store=store) as assist:
        bot = Bot(assist, tickets=Tickets(), service=Service())
        if heard:
            assert (await bot.reply(message())).prompt.step == "describing"
        else:
            with pytest.raises(SequenceConflict):
                await bot.reply(message())
            assert await bot.session_ids("c1") == []
        store.times = 0
        assert (await bot.reply(message(PROBLEM))).prompt.step == "asking"


async def test_few_conversations_in_memory_are_enough(bot: Bot) -> None:
    bot = Bot(bot.assist, tickets=Tickets(), service=Service(), conversations=2)
    for number in range(6):
        for said in CONVERSATIONS["solved"]:
            await bot.reply(message(said.text, said.choice, conversation_id=f"c{number}"))
    for number in range(6):
        assert story(await bot.assist.load((await bot.session_ids(f"c{number}"))[0])) == await told("solved")


# Set-up


async def test_a_bot_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="search hub"):
        Bot(CaseAssist(), tickets=Tickets(), service=Service())
    Bot(CaseAssist(), tickets=Tickets())
    Bot(CaseAssist(), tickets=Tickets(), service=Service(), dialogue=Dialogue(stages=(Stage(name="only"),)))
    for options in ({"name": ""}, {"service_timeout_s": 0}, {"ticket_timeout_s": -1}, {"conversations": 0}):
        with pytest.raises(ValueError, match=r"name|positive"):
            Bot(CaseAssist(CONTEXT), tickets=Tickets(), **options)


def test_a_message_does_not_show() -> None:
    assert PROBLEM not in repr(message(PROBLEM))


def test_a_failed_service_is_told_in_words() -> None:
    assert str(NoSuggestions("down")) == "down"


async def test_a_reply_shows_where_it_stands_only(bot: Bot) -> None:
    reply = await say(bot, Said(text=PROBLEM))
    assert repr(reply) == f"<Reply asking in {reply.session_id}>"
