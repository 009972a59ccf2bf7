"""Suggester: an answer that comes late is told and dropped, so nothing older replaces what a person is shown."""

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
from tests.fakes import LONG_S, SlowStore, until

from caseassist import CaseAssist
from caseassist.core.errors import NoSuggestions, StoreUnavailable
from caseassist.core.events import (
    Classification,
    ClassificationsOffered,
    Context,
    DocumentsOffered,
    OfferedClassification,
    Ticket,
)
from caseassist.core.machine import LifeCycle
from caseassist.core.records import Record
from caseassist.service.client import CustomerService
from caseassist.service.suggester import Suggester
from caseassist.stores.base import Store
from caseassist.stores.memory import MemoryStore
from caseassist.testing.cancellation import cut_off
from caseassist.testing.http import Connection, ScriptServer, reply

T = TypeVar("T")

ID = "00000000-1111-2222-3333-444444444444"
CHANGED = "the answer came late: the ticket has changed"
NEWER = "the answer came late: a newer one was there before"
ENDED = "the answer came late: the session has ended"


def answer_to(name: str) -> ClassificationsOffered:
    offered = OfferedClassification(
        classification_id=f"of {name}",
        field_name="category",
        classification=Classification(value=name, confidence=0.5),
    )
    return ClassificationsOffered(response_id=name, classifications=(offered,))


class Held:
    """A service whose calls wait until they are answered by number, from 0."""

    def __init__(self) -> None:
        self.asked: list[Ticket] = []
        self._answers: dict[int, object] = {}
        self._answered = anyio.Event()

    def answer(self, number: int, answer: object) -> None:
        self._answers[number] = answer
        self._answered.set()
        self._answered = anyio.Event()

    async def _wait(self, ticket: Ticket) -> object:
        number = len(self.asked)
        self.asked.append(ticket)
        while number not in self._answers:
            await self._answered.wait()
        answer = self._answers[number]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def classify(self, ticket: Ticket, context: Context) -> ClassificationsOffered:
        answer = await self._wait(ticket)
        assert isinstance(answer, ClassificationsOffered)
        return answer

    async def suggest_documents(self, ticket: Ticket, context: Context) -> DocumentsOffered:
        answer = await self._wait(ticket)
        assert isinstance(answer, DocumentsOffered)
        return answer


class Call:
    """A call that goes on in the background."""

    def __init__(self, tasks: anyio.abc.TaskGroup, call: Callable[[], Awaitable[Record | None]]) -> None:
        self.record: Record | None = None
        self.ended = False
        self._call = call
        tasks.start_soon(self._run)

    async def _run(self) -> None:
        self.record = await self._call()
        self.ended = True


def offered(records: list[Record]) -> list[str]:
    """The ids of the responses that were offered, in order."""
    return [
        record.event.response_id
        for record in records
        if isinstance(record.event, ClassificationsOffered | DocumentsOffered)
    ]


async def test_an_answer_in_time_is_offered() -> None:
    service = Held()
    service.answer(0, answer_to("a"))
    service.answer(1, DocumentsOffered(response_id="d"))
    async with CaseAssist() as assist:
        case = await assist.start({"subject": "a"})
        suggester = Suggester(case, service)
        record = await suggester.classify()
        assert record is not None
        assert (record.event, record.ticket, case.state) == (answer_to("a"), case.ticket, "suggested")
        assert await suggester.suggest_documents() is not None
        assert suggester.problem is None
        assert service.asked == [Ticket(subject="a")] * 2
        await case.select_classification("of a")


async def test_a_failure_of_the_service_is_told_and_passes() -> None:
    service = Held()
    service.answer(0, NoSuggestions("HTTP 503 Service Unavailable", status=503))
    service.answer(1, answer_to("a"))
    async with CaseAssist() as assist:
        case = await assist.start()
        suggester = Suggester(case, service)
        assert await suggester.classify() is None
        assert suggester.problem == "HTTP 503 Service Unavailable"
        assert case.state == "started"
        assert await suggester.classify() is not None
        assert suggester.problem is None


async def test_an_answer_to_an_older_ticket_is_late() -> None:
    service = Held()
    async with CaseAssist() as assist, anyio.create_task_group() as tasks:
        case = await assist.start({"subject": "a"})
        suggester = Suggester(case, service)
        call = Call(tasks, suggester.classify)
        await until(lambda: service.asked)
        await case.update_field("subject", "b")
        service.answer(0, answer_to("a"))
        await until(lambda: call.ended)
        assert (call.record, suggester.problem) == (None, CHANGED)
        assert offered(list(await assist.load(case.id))) == []


async def test_an_answer_to_the_ticket_as_it_is_again_is_not_late() -> None:
    service = Held()
    async with CaseAssist() as assist, anyio.create_task_group() as tasks:
        case = await assist.start({"subject": "a"})
        call = Call(tasks, Suggester(case, service).classify)
        await until(lambda: service.asked)
        await case.update_field("subject", "b")
        await case.update_field("subject", "a")
        service.answer(0, answer_to("a"))
        await until(lambda: call.ended)
        assert call.record is not None


async def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    service = Held()
    async with CaseAssist() as assist, anyio.create_task_group() as tasks:
        case = await assist.start({"subject": "a"})
        suggester = Suggester(case, service)
        older = Call(tasks, suggester.classify)
        await until(lambda: len(service.asked) == 1)
        newer = Call(tasks, suggester.classify)
        await until(lambda: len(service.asked) == 2)
        documents = Call(tasks, suggester.suggest_documents)
        await until(lambda: len(service.asked) == 3)
        service.answer(1, answer_to("newer"))
        await until(lambda: newer.ended)
        service.answer(0, answer_to("older"))
        await until(lambda: older.ended)
        assert (older.record, suggester.problem) == (None, NEWER)
        service.answer(2, DocumentsOffered(response_id="documents"))  # another kind of answer
        await until(lambda: documents.ended)
        assert offered(list(await assist.load(case.id))) == ["newer", "documents"]


async def test_an_older_answer_is_late_while_the_newer_one_is_being_stored() -> None:
    service = Held()
    async with CaseAssist(store=SlowStore()) as assist, anyio.create_task_group() as tasks:
        case = await assist.start({"subject": "a"})
        suggester = Suggester(case, service)
        older = Call(tasks, suggester.classify)
        await until(lambda: len(service.asked) == 1)
        newer = Call(tasks, suggester.classify)
        await until(lambda: len(service.asked) == 2)
        service.answer(1, answer_to("newer"))
        await until(lambda: suggester._answered["classifications"] == 2)
        service.answer(0, answer_to("older"))
        await until(lambda: older.ended and newer.ended)
        assert (older.record, newer.record is not None) == (None, True)
        assert offered(list(await assist.load(case.id))) == ["newer"]


async def test_an_answer_that_meets_a_change_on_its_way_is_told_as_late() -> None:
    service = Held()
    async with CaseAssist(store=SlowStore()) as assist, anyio.create_task_group() as tasks:
        case = await assist.start({"subject": "a"})
        suggester = Suggester(case, service)
        call = Call(tasks, suggester.classify)
        await until(lambda: service.asked)
        tasks.start_soon(case.update_field, "subject", "b")
        await anyio.lowlevel.checkpoint()  # it is being stored
        assert case.ticket.subject == "a"
        service.answer(0, answer_to("a"))
        await until(lambda: call.ended)
        assert (call.record, suggester.problem) == (None, CHANGED)


@pytest.mark.parametrize("end", ["solve", "quit", "create"])
async def test_an_answer_after_the_end_is_late(end: str) -> None:
    service = Held()
    async with CaseAssist() as assist, anyio.create_task_group() as tasks:
        case = await assist.start({"subject": "a"})
        suggester = Suggester(case, service)
        call = Call(tasks, suggester.classify)
        await until(lambda: service.asked)
        await (case.create("5003") if end == "create" else getattr(case, end)())
        service.answer(0, answer_to("a"))
        await until(lambda: call.ended)
        assert (call.record, suggester.problem) == (None, ENDED)


async def test_an_answer_that_meets_the_end_on_its_way_is_late() -> None:
    service = Held()
    async with CaseAssist(store=SlowStore()) as assist, anyio.create_task_group() as tasks:
        case = await assist.start({"subject": "a"})
        suggester = Suggester(case, service)
        call = Call(tasks, suggester.classify)
        await until(lambda: service.asked)
        tasks.start_soon(case.solve)
        await anyio.lowlevel.checkpoint()  # it is being stored
        assert case.session.active
        service.answer(0, answer_to("a"))
        await until(lambda: call.ended)
        assert (call.record, suggester.problem) == (None, ENDED)


async def test_an_answer_in_a_state_of_your_own_that_takes_none_is_late() -> None:
    life_cycle = LifeCycle()
    life_cycle.add_states("handed_over")
    life_cycle.add_transition("hand_over", "started", "handed_over")
    life_cycle.add_transition("solve", "handed_over", "solved")
    service = Held()
    async with CaseAssist({"language": "en"}, life_cycle=life_cycle) as assist, anyio.create_task_group() as tasks:
        case = await assist.start()
        suggester = Suggester(case, service)
        call = Call(tasks, suggester.classify)
        await until(lambda: service.asked)
        await case.log_custom({"eventType": "caseassist", "eventValue": "hand_over"})
        service.answer(0, answer_to("a"))
        await until(lambda: call.ended)
        assert (call.record, suggester.problem) == (
            None,
            "the answer came late: the session is in a state in which nothing can be offered",
        )
        await case.solve()


async def test_an_answer_that_contradicts_an_earlier_one_is_told() -> None:
    service = Held()
    service.answer(0, answer_to("a"))
    one = answer_to("a").classifications[0]
    other = Classification(value="something else", confidence=0.5)
    service.answer(
        1,
        ClassificationsOffered(
            response_id="a",
            classifications=(
                OfferedClassification(
                    classification_id=one.classification_id, field_name=one.field_name, classification=other
                ),
            ),
        ),
    )
    async with CaseAssist() as assist:
        suggester = Suggester(await assist.start(), service)
        assert await suggester.classify() is not None
        assert await suggester.classify() is None
        assert suggester.problem is not None
        assert suggester.problem.startswith("the answer breaks a rule: ")


class Failing(MemoryStore):
    """A store that fails when it is told to."""

    fails = False

    async def append(self, records, *, timeout_s):  # type: ignore[no-untyped-def]
        if self.fails:
            raise StoreUnavailable("the disk is gone")
        return await super().append(records, timeout_s=timeout_s)


async def test_what_the_case_raises_is_raised() -> None:
    service, store = Held(), Failing()
    service.answer(0, answer_to("a"))
    async with CaseAssist(store=store) as assist:
        suggester = Suggester(await assist.start(), service)
        store.fails = True
        with pytest.raises(StoreUnavailable):
            await suggester.classify()


class Soon:
    """A service that answers after a wait, with an answer of its own for every call."""

    def __init__(self) -> None:
        self.calls = 0

    async def classify(self, ticket: Ticket, context: Context) -> ClassificationsOffered:
        self.calls += 1
        await anyio.lowlevel.checkpoint()
        return answer_to(str(self.calls))

    async def suggest_documents(self, ticket: Ticket, context: Context) -> DocumentsOffered:
        raise NotImplementedError


@pytest.mark.parametrize("store", [MemoryStore, SlowStore])
async def test_a_call_that_is_cut_off_has_offered_or_has_not(store: Callable[[], Store]) -> None:
    k, more = 1, True
    while more:
        async with CaseAssist(store=store()) as assist:
            case = await assist.start({"subject": "a"})
            suggester = Suggester(case, Soon())
            more, record = await cut_off(suggester.classify(), k)
            stored = offered(list(await assist.load(case.id)))
            assert stored == ["1"] or (record is None and stored == [])
            assert await suggester.classify() is not None  # it goes on working
            assert offered(list(await assist.load(case.id))) == [*stored, "2"]
        k += 1
    assert k > 2


# Over a real socket


async def test_answers_in_the_wrong_order_over_a_real_socket() -> None:
    """Three calls, each after a change; the answers come newest first. Only the newest is shown."""
    may = [anyio.Event() for _ in range(3)]

    async def in_turn(connection: Connection) -> None:
        request = await connection.request()
        subject = json.loads(request.body)["fields"]["subject"]["value"]
        await may[int(subject)].wait()
        prediction = {"id": f"of {subject}", "value": subject, "confidence": 0.5}
        body = json.dumps({"responseId": subject, "fields": {"category": {"predictions": [prediction]}}}).encode()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with (
        ScriptServer(then=in_turn) as server,
        CustomerService(
            server.url, organization="myorg", case_assist_id=ID, token=None, timeout_s=LONG_S, request_timeout_s=LONG_S
        ) as service,
        CaseAssist() as assist,
        anyio.create_task_group() as tasks,
    ):
        case = await assist.start()
        suggester = Suggester(case, service)
        calls: list[Call] = []
        for number in range(3):
            await case.update_field("subject", str(number))
            calls.append(Call(tasks, suggester.classify))
            await until(lambda number=number: len(server.requests) == number + 1)  # type: ignore[misc]
        for number in (2, 1, 0):
            may[number].set()
            await until(lambda number=number: calls[number].ended)  # type: ignore[misc]
            assert suggester.problem == (None if number == 2 else CHANGED)
        assert [call.record is not None for call in calls] == [False, False, True]
        assert offered(list(await assist.load(case.id))) == ["2"]
        assert server.most_at_once == 3


async def test_a_service_that_is_down_does_not_stop_the_case() -> None:
    async with (
        ScriptServer(then=reply(500)) as server,
        CustomerService(server.url, organization="myorg", case_assist_id=ID, token=None, timeout_s=0.3) as service,
        CaseAssist() as assist,
    ):
        case = await assist.start({"subject": "s"})
        suggester = Suggester(case, service)
        assert await suggester.classify() is None
        assert "500" in (suggester.problem or "")
        await case.update_field("category", "Electrical")
        await case.create("5003")
