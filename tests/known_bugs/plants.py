"""Bugs that others had, or that we could have, each of which can be put back: ``pytest --plant NAME``.

Each is put in by replacing a part of the real code, before a test is collected, for the whole run. A part that is not
there any more makes that fail loudly, so this table cannot outlive the code. ``test_known_bugs.py`` runs the tests that
are named here and holds them to it: they must fail.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from anyio import current_time, from_thread, get_cancelled_exc_class
from msgspec.structs import replace
from tests import fakes
from tests.integrations.conversations import Tickets

from caseassist import bot, transport
from caseassist.conversation.conversation import Conversation
from caseassist.core.errors import SequenceConflict
from caseassist.core.records import Record
from caseassist.core.session import Session
from caseassist.delivery import courier, pacing, turn
from caseassist.delivery.books import Books
from caseassist.delivery.courier import Courier
from caseassist.delivery.queue import Queue
from caseassist.delivery.signals import Bell
from caseassist.delivery.turn import Turn
from caseassist.live import CaseAssist
from caseassist.sinks import http as http_sink
from caseassist.stores import sqlite_write
from caseassist.stores.base import Ack, SinkState
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore
from caseassist.stores.sqlite_write import Writer
from caseassist.wire import replies, requests
from caseassist.wire.http import Origin
from caseassist.wire.http1 import ReplyParser
from caseassist.wire.secret import Secret

__all__ = ["PLANTS", "Plant", "plant"]

HANG_S = 2.0
"""What a bug makes hang is given up after so many seconds, where tests otherwise wait for much longer."""


class Plant(NamedTuple):
    """A bug."""

    what: str
    """What it is, and who had it."""
    put_in: Callable[[], None]
    """Puts it into the code of this process."""
    noticed_by: Sequence[str]
    """The tests that must fail, each on its own."""
    hangs: bool = False
    """Whether those tests find out by waiting in vain."""


PLANTS: dict[str, Plant] = {}


def plant(name: str) -> None:
    """Put a bug into this process. Raises UsageError if there is none of that name."""
    if name not in PLANTS:
        raise pytest.UsageError(f"--plant: no bug is called {name!r}; known are {', '.join(sorted(PLANTS))}")
    if PLANTS[name].hangs:
        fakes.LONG_S = HANG_S
    PLANTS[name].put_in()


def bug(what: str, *noticed_by: str, hangs: bool = False) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(put_in: Callable[[], None]) -> Callable[[], None]:
        PLANTS[put_in.__name__] = Plant(what, put_in, noticed_by, hangs)
        return put_in

    return add


def change(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Replace an attribute by what is made of it."""
    setattr(owner, name, make(getattr(owner, name)))


# --- The store says more than it knows ------------------------------------------------------------------------------


@bug(
    "An append is acknowledged before it is committed (NATS JetStream: before the disk has it; etcd #14370)",
    "tests/stores/test_sqlite.py::test_an_append_to_a_hung_disk_ends_by_its_deadline_as_unknown",
    "tests/stores/test_sqlite.py::test_an_error_is_typed_says_no_data_and_the_store_goes_on"
    "[asyncio-COMMIT-SQLITE_IOERR_FSYNC-AppendUnknown]",
)
def acknowledge_before_commit() -> None:
    def make(run: Any) -> Any:
        def run_and_tell(writer: Writer, connection: Any, jobs: Any) -> Any:
            outcomes = run(writer, connection, jobs)
            for job, outcome in zip(jobs, outcomes, strict=True):
                if not job.over:
                    from_thread.run_sync(job.finish, outcome)
            return outcomes

        return run_and_tell

    change(Writer, "_run", make)


@bug(
    "What is said to be on the disk is not flushed to it (Vector acknowledges, and flushes every 500 ms)",
    "tests/stores/test_sqlite.py::test_durability_is_what_sqlite_is_told",
)
def disk_is_not_flushed() -> None:
    change(sqlite_write, "open_file", lambda open_file: lambda file: open_file(replace(file, durability="os")))


@bug(
    "The timeout of an append is ignored (OpenTelemetry's force_flush takes one and does not keep it, #4568)",
    "tests/stores/test_sqlite.py::test_an_append_to_a_hung_disk_ends_by_its_deadline_as_unknown[asyncio]",
    "tests/stores/test_memory.py::test_an_append_waits_no_longer_than_it_may[asyncio-0.0]",
    hangs=True,
)
def append_timeout_ignored() -> None:
    def make(append: Any) -> Any:
        async def append_at_leisure(store: Any, records: Sequence[Record], *, timeout_s: float) -> Ack:
            ack: Ack = await append(store, records, timeout_s=3600.0)
            return ack

        return append_at_leisure

    change(SQLiteStore, "append", make)
    change(MemoryStore, "append", make)


@bug(
    "An append that timed out while it waited is written later, although nothing was said to be stored",
    "tests/stores/test_sqlite.py::test_what_hung_while_it_was_written_is_stored_once_or_not_at_all",
)
def timed_out_job_still_written() -> None:
    def make(run: Any) -> Any:
        def run_all(writer: Writer, connection: Any, jobs: Any) -> Any:
            for job in jobs:
                job.over = False
            return run(writer, connection, jobs)

        return run_all

    change(Writer, "_run", make)


# --- The store and its places ---------------------------------------------------------------------------------------


@bug(
    "Of two writers of one session the second one overwrites (as with Commanded's :any_version)",
    "tests/stores/test_memory.py::test_a_place_is_taken_once",
    "tests/stores/test_sqlite.py::test_a_place_is_taken_once",
    "tests/test_live.py::test_of_two_handles_the_slower_one_is_told_and_can_go_on_after_resuming",
)
def last_writer_wins() -> None:
    def make(position_if_stored: Any) -> Any:
        def none_is(store: MemoryStore, records: Sequence[Record]) -> Any:
            try:
                return position_if_stored(store, records)
            except SequenceConflict:
                return None

        return none_is

    def overwrite(writer: Writer, job: Any, place: Any) -> Ack:
        for seq, line in enumerate(job.lines, job.seq):
            writer.connection.execute(
                "UPDATE records SET record = ? WHERE session = ? AND seq = ?", (line, place.key, seq)
            )
        return Ack(writer._last, writer.durability)

    change(MemoryStore, "_position_if_stored", make)
    change(Writer, "_appended_before", lambda _: overwrite)


@bug(
    "An append that is repeated is not recognised (KurrentDB with Any: best effort; NATS: for two minutes)",
    "tests/stores/test_memory.py::test_appending_the_same_records_again_stores_nothing",
    "tests/stores/test_sqlite.py::test_records_that_are_stored_already_are_not_stored_again",
)
def repeated_append_conflicts() -> None:
    def conflict(session_id: str, expected: int, found: int) -> Any:
        raise SequenceConflict(session_id, expected=expected, found=found)

    def make(position_if_stored: Any) -> Any:
        def never_is(store: MemoryStore, records: Sequence[Record]) -> Any:
            position = position_if_stored(store, records)
            return position and conflict(records[0].session_id, records[0].seq, position)

        return never_is

    change(MemoryStore, "_position_if_stored", make)
    change(
        Writer,
        "_appended_before",
        lambda _: lambda writer, job, place: conflict(job.session_id, job.seq, place.next_seq),
    )


@bug(
    "An append that is repeated is stored a second time (at least once without a key, as most pipelines do it)",
    "tests/stores/test_memory.py::test_appending_the_same_records_again_stores_nothing",
    "tests/stores/test_contract.py::test_the_store_in_memory_keeps_its_promises[asyncio-wait]",
)
def repeated_append_stored_twice() -> None:
    change(MemoryStore, "_position_if_stored", lambda original: lambda *args: original(*args) and None)


@bug(
    "The writer trusts what it remembers, although another process has written meanwhile",
    "tests/stores/test_sqlite.py::test_what_another_store_appended_is_seen",
)
def stale_after_another_process() -> None:
    def make(run: Any) -> Any:
        def run_on(writer: Writer, connection: Any, jobs: Any) -> Any:
            if writer._data_version != -1:
                writer._data_version = connection.execute("PRAGMA data_version").fetchone()[0]
            return run(writer, connection, jobs)

        return run_on

    change(Writer, "_run", make)


@bug(
    "What was rolled back stays in the writer's memory, so the next append leaves a gap or is refused",
    "tests/stores/test_sqlite.py::test_an_error_is_typed_says_no_data_and_the_store_goes_on"
    "[asyncio-COMMIT-SQLITE_FULL-StoreFull]",
    "tests/stores/test_sqlite.py::test_an_error_is_typed_says_no_data_and_the_store_goes_on"
    "[asyncio-INSERT INTO records-SQLITE_IOERR_WRITE-StoreUnavailable]",
)
def rollback_keeps_the_places() -> None:
    def make(roll_back: Any) -> Any:
        def roll_back_the_file(writer: Writer) -> None:
            data_version, places = writer._data_version, dict(writer._places)
            roll_back(writer)
            writer._data_version = data_version
            writer._places.update(places)

        return roll_back_the_file

    change(Writer, "_roll_back", make)


# --- Positions ------------------------------------------------------------------------------------------------------


@bug(
    "The position moves on before the sink has taken the batch (Snowplow empties its buffer before it sends)",
    "tests/delivery/test_courier.py::test_a_hanging_session_holds_up_only_itself",
    "tests/delivery/test_courier.py::test_cancelled_from_outside_a_courier_closes_its_sink_and_keeps_its_books",
)
def advance_before_success() -> None:
    def make(attempt: Any) -> Any:
        async def advance_and_try(self: Turn, batch: Any) -> Any:
            self._queue.position = max(self._queue.position, batch[-1][0])
            self._queue.settled["delivered"] += len(batch)
            await self._books.commit()
            return await attempt(self, batch)

        return advance_and_try

    change(Turn, "_try", make)


@bug(
    "The position is committed, and what was put aside on the way in a commit of its own: a crash between loses it",
    "tests/delivery/test_courier.py::test_the_position_is_stored_with_what_was_put_aside_on_the_way_to_it",
)
def quarantine_in_its_own_commit() -> None:
    def make(commit: Any) -> Any:
        async def commit_in_two(self: Books) -> Any:
            aside, self.aside = self.aside, []
            try:
                done = await commit(self)
            finally:
                self.aside = aside + self.aside
            return done and await commit(self)

        return commit_in_two

    change(Books, "commit", make)


@bug(
    "The same within the store: two transactions for one commit",
    "tests/known_bugs/test_gaps.py::test_a_position_and_what_was_put_aside_are_one_transaction",
)
def quarantine_in_its_own_transaction() -> None:
    def make(commit: Any) -> Any:
        def commit_in_two(writer: Writer, sink: str, after: int, position: int, dropped: Any, aside: Any) -> None:
            commit(writer, sink, after, position, dropped, ())
            writer.connection.execute("COMMIT")
            writer.connection.execute("BEGIN IMMEDIATE")
            commit(writer, sink, position, position, {}, aside)

        return commit_in_two

    change(Writer, "commit", make)


@bug(
    "What an operator dropped counts as delivered, so the books look better than they are",
    "tests/delivery/test_courier.py::test_what_an_operator_drops_is_counted_as_that",
    "tests/delivery/test_courier.py::test_an_erased_record_is_not_sent_and_counted",
)
def dropped_counts_as_delivered() -> None:
    change(
        SinkState,
        "delivered",
        lambda _: property(lambda state: state.position - (state.quarantined - state.quarantined_ahead)),
    )


# --- Who delivers, what, and in which order -------------------------------------------------------------------------


@bug(
    "Everybody who asks may deliver, so two couriers send everything twice",
    "tests/delivery/test_courier.py::test_of_two_couriers_one_delivers_and_the_other_takes_over",
    "tests/stores/test_sqlite.py::test_one_at_a_time_has_the_claim_of_a_sink",
    hangs=True,
)
def claim_always_granted() -> None:
    def make(claim: Any) -> Any:
        async def grant(store: Any, sink: str) -> bool:
            await claim(store, sink)
            return True

        return grant

    change(MemoryStore, "claim", make)
    change(SQLiteStore, "claim", make)


@bug(
    "Two batches of one session are out at a time (OpenTelemetry's Collector: ten consumers, no order)",
    "tests/delivery/test_courier.py::test_a_session_has_one_call_at_a_time",
)
def two_batches_of_a_session() -> None:
    def a_lane_for_each(queue: Queue, record: Record) -> str:
        return f"{record.session_id} {record.seq}" if queue._by_session else ""

    change(Queue, "_key", lambda _: a_lane_for_each)


@bug(
    "A record is delivered although its person was erased while it waited",
    "tests/delivery/test_courier.py::test_an_erased_record_is_not_sent_and_counted",
)
def erased_is_sent() -> None:
    change(turn, "is_erased", lambda _: lambda record: False)


@bug(
    "A wake-up that comes while the one to be woken is busy is forgotten (a condition without a flag)",
    "tests/delivery/test_courier.py::test_a_record_that_comes_while_the_store_is_read_is_not_overlooked[asyncio]",
    hangs=True,
)
def lost_wake_up() -> None:
    def make(wait: Any) -> Any:
        async def wait_for_the_next(bell: Bell) -> None:
            bell.rung = False
            await wait(bell)

        return wait_for_the_next

    change(Bell, "wait", make)


@bug(
    "After a restart nobody remembers that a session is held, and later events overtake the refused one",
    "tests/delivery/test_courier.py::test_what_comes_later_in_a_held_session_is_held_and_after_a_restart_too",
)
def hold_forgotten_at_a_restart() -> None:
    def make(begin: Any) -> Any:
        async def begin_without(self: Turn) -> None:
            await begin(self)
            self._held = set()

        return begin_without

    change(Turn, "begin", make)


# --- What a reply means ---------------------------------------------------------------------------------------------


def change_verdict(is_meant: Callable[[int], bool], outcome: str) -> None:
    def make(judge: Any) -> Any:
        def misjudge(reply: Any, **sent: Any) -> Any:
            verdict = judge(reply, **sent)
            return replace(verdict, outcome=outcome) if is_meant(reply.status) else verdict

        return misjudge

    change(replies, "judge", make)
    change(http_sink, "judge", lambda _: replies.judge)


@bug(
    "A 3xx counts as success (OpenTelemetry for Python: 200 <= status < 400)",
    "tests/wire/test_replies.py::test_the_status_says_what_becomes_of_the_event",
    "tests/sinks/test_http.py::test_what_is_not_taken_now_is_to_be_tried_again[asyncio-302]",
)
def redirect_is_success() -> None:
    change_verdict(lambda status: 300 <= status < 400, "accepted")


@bug(
    "A 401 is taken for the fault of the event, so a token that ran out costs all events (Snowplow drops 400/401/403)",
    "tests/wire/test_replies.py::test_the_status_says_what_becomes_of_the_event",
    "tests/sinks/test_http.py::test_what_is_not_taken_now_is_to_be_tried_again[asyncio-401]",
    "tests/test_http_script.py::test_the_sink_says_what_becomes_of_the_events[asyncio-401]",
)
def unauthorized_is_refused() -> None:
    change_verdict(lambda status: status in (401, 403), "refused")


@bug(
    "The whole batch is given up for one 4xx (Segment and RudderStack do)",
    "tests/delivery/test_courier.py::test_a_refused_record_is_put_aside_and_those_around_it_are_delivered[asyncio-1-1]",
    "tests/delivery/test_queue.py::test_a_refused_record_is_put_aside_and_its_session_goes_on[True]",
)
def whole_batch_for_one_refusal() -> None:
    def make(settle: Any) -> Any:
        def settle_all(queue: Queue, batch: Any, delivered: int, others: Any = ()) -> Any:
            rest = {position: "quarantined" for position, _ in batch[delivered:]} if others else {}
            settle(queue, batch, delivered, rest)

        return settle_all

    change(Queue, "settle", make)


@bug(
    "Retry-After is ignored (Vector, Fluent Bit, Segment, Snowplow)",
    "tests/wire/test_replies.py::test_retry_after_is_read_within_bounds_or_not_at_all",
    "tests/delivery/test_courier.py::test_a_pause_grows_and_a_drain_cuts_it_short_but_not_below_what_was_asked_for",
    "tests/delivery/test_pacing.py::test_what_the_other_side_asks_for_is_the_floor_up_to_an_hour",
)
def retry_after_ignored() -> None:
    change(replies, "retry_after_s", lambda _: lambda reply: None)
    change(pacing, "asked_s", lambda _: lambda retry_after_s: 0.0)
    change(turn, "asked_s", lambda _: pacing.asked_s)


@bug(
    "A failed try is repeated at once, again and again",
    "tests/delivery/test_courier.py::test_a_pause_grows_and_a_drain_cuts_it_short_but_not_below_what_was_asked_for",
)
def no_pause_before_a_retry() -> None:
    change(pacing, "retry_delay_s", lambda _: lambda *args, **options: 0.0)
    change(turn, "retry_delay_s", lambda _: pacing.retry_delay_s)


@bug(
    "Pauses are not spread, so that all clients come back in the same moment (PostHog)",
    "tests/delivery/test_pacing.py::test_pauses_are_spread_below_a_bound_that_doubles_up_to_a_minute",
    "tests/delivery/test_pacing.py::test_what_the_other_side_asks_for_is_the_floor_up_to_an_hour",
)
def no_jitter() -> None:
    class Highest:
        def uniform(self, low: float, high: float) -> float:
            return high

    def make(delay: Any) -> Any:
        return lambda attempt, asked, **options: delay(attempt, asked, **{**options, "rng": Highest()})

    change(pacing, "retry_delay_s", make)
    change(turn, "retry_delay_s", lambda _: pacing.retry_delay_s)


@bug(
    "Retries are not counted against what succeeds, so that a sink that is weak gets twice the traffic",
    "tests/delivery/test_courier.py::test_a_sink_that_fails_now_and_then_gets_a_tenth_more_than_what_it_takes[asyncio]",
    "tests/delivery/test_pacing.py::test_the_first_hundred_retries_are_free_and_then_one_a_second",
)
def no_retry_budget() -> None:
    change(pacing.RetryBudget, "spend", lambda _: lambda budget, now: 0.0)


# --- HTTP -----------------------------------------------------------------------------------------------------------


@bug(
    "A redirect is followed, with the token, wherever it leads (Segment)",
    "tests/test_http_script.py::test_the_sink_says_what_becomes_of_the_events[asyncio-307 with a Location]",
    "tests/test_transport.py::test_reply_is_returned_as_sent",
)
def redirect_followed() -> None:
    def make(send: Any) -> Any:
        async def send_on(carrier: Any, request: Any, *, timeout_s: float) -> Any:
            reply = await send(carrier, request, timeout_s=timeout_s)
            url = urlsplit(reply.header("location") or "")
            if not 300 <= reply.status < 400 or url.hostname is None or url.scheme != "http":
                return reply
            there = replace(request, origin=Origin("http", url.hostname, url.port or 80), path=url.path)
            return await send(carrier, there, timeout_s=timeout_s)

        return send_on

    change(transport.HTTPTransport, "send", make)


@bug(
    "A slow reply puts its own deadline off, one byte after the other (httpx: a timeout is for one read)",
    "tests/test_http_script.py::test_the_sink_says_what_becomes_of_the_events[asyncio-a body that drips]",
    hangs=True,
)
def deadline_of_each_read() -> None:
    def note(feed: Any) -> Any:
        def feed_and_note(parser: Any, data: bytes) -> Any:
            parser.fed_at = current_time()
            return feed(parser, data)

        return feed_and_note

    def put_off(sweep: Any) -> Any:
        async def put_off_and_sweep(carrier: Any) -> Any:
            for connection in carrier._busy:
                timeout_s = vars(connection).setdefault("timeout_s", connection.deadline - connection.used_at)
                connection.deadline = max(connection.used_at, vars(connection.parser).get("fed_at", 0.0)) + timeout_s
            return await sweep(carrier)

        return put_off_and_sweep

    change(ReplyParser, "feed", note)
    change(transport.HTTPTransport, "_sweep", put_off)


@bug(
    "An event that is sent again has another id, so that nobody can tell that it is the same (OpenTelemetry has none)",
    "tests/test_http_script.py::test_an_event_that_is_sent_again_is_recognised[asyncio-503]",
)
def another_id_when_sent_again() -> None:
    change(requests, "event_id", lambda _: lambda session_id, seq: secrets.token_hex(16))


@bug(
    "What the server says goes into the error and the log, and servers echo tokens (OpenTelemetry's Collector #46200)",
    "tests/wire/test_replies.py::test_the_reason_does_not_echo_what_a_server_echoes",
    "tests/wire/test_replies.py::test_the_reason_does_not_name_a_type_that_repeats_what_was_sent",
    "tests/sinks/test_http.py::test_what_a_server_echoes_as_the_type_of_its_error_does_not_show[asyncio-xxCanaryT0ken]",
)
def body_in_the_error() -> None:
    change(
        replies, "_reason", lambda _: lambda reply, *sent: f"HTTP {reply.status}: {reply.body.decode(errors='replace')}"
    )


@bug(
    "The token shows where the sink is shown (Segment logs its writeKey at DEBUG)",
    "tests/wire/test_secret.py::test_a_token_is_in_no_representation",
    "tests/sinks/test_http.py::test_the_token_does_not_show",
)
def token_shows() -> None:
    change(Secret, "__repr__", lambda _: lambda secret: f"Secret({secret.reveal()!r})")


# --- Ends -----------------------------------------------------------------------------------------------------------


@bug(
    "A call of the sink that is cancelled counts as made, and the cancellation goes no further",
    "tests/delivery/test_courier.py::test_cancelled_from_outside_a_courier_closes_its_sink_and_keeps_its_books",
)
def cancellation_swallowed() -> None:
    def make(deliver: Any) -> Any:
        async def deliver_or_not(self: Turn, records: Sequence[Record]) -> Any:
            try:
                return await deliver(self, records)
            except get_cancelled_exc_class():
                return len(records), None, None

        return deliver_or_not

    change(Turn, "_deliver", make)


@bug(
    "What ends the program (Ctrl-C) is taken for a failure of the sink, and everything goes on",
    "tests/delivery/test_courier.py::test_what_ends_the_program_while_a_sink_is_closed_passes",
)
def end_of_program_swallowed() -> None:
    change(courier, "is_mistake", lambda _: lambda error: True)


@bug(
    "Closing waits longer than it may (Segment's flush joins its queue, without a timeout)",
    "tests/known_bugs/test_gaps.py::test_closing_takes_no_longer_than_it_may[asyncio-leaving]",
    hangs=True,
)
def close_ignores_its_deadline() -> None:
    def make(aclose: Any) -> Any:
        async def close_at_leisure(assist: CaseAssist, deadline_s: float | None = None) -> Any:
            return await aclose(assist, 2 * HANG_S)

        return close_at_leisure

    change(CaseAssist, "aclose", make)


@bug(
    "Health is good while nothing has been delivered for hours",
    "tests/delivery/test_courier.py::test_health_turns_bad_when_there_is_work_and_no_progress_for_a_minute",
    "tests/delivery/test_courier.py::test_health_is_bad_at_once_when_only_a_person_can_help",
)
def health_never_bad() -> None:
    change(Courier, "health", lambda health: property(lambda courier: replace(health.fget(courier), ok=True)))


# --- A bot does not do what it was told, or does it twice -------------------------------------------------------------


@bug(
    "A message that the platform delivers twice is acted on twice",
    "tests/test_bot.py::test_another_worker_for_each_message_and_each_message_twice_tells_the_same_story[asyncio-created]",
    "tests/core/test_session.py::test_a_message_has_one_turn_in_a_session",
)
def message_heard_twice() -> None:
    change(Session, "apply", lambda apply: lambda session, record: replace(apply(session, record), message_ids=()))


@bug(
    "An answer for the ticket as it was overwrites one for the ticket as it is (headless keeps whatever comes last)",
    "tests/conversation/test_any_replies.py::test_a_conversation_goes_on_whatever_happens",
)
def late_answer_taken() -> None:
    def make(answer: Any) -> Any:
        return lambda conversation, need, given, *, at: answer(conversation, conversation.need or need, given, at=at)

    change(Conversation, "answer", make)


@bug(
    "A service that hangs, or raises what it likes, takes the conversation with it",
    "tests/test_bot.py::test_whatever_services_do_it_goes_on[asyncio-raises]",
)
def service_ends_the_conversation() -> None:
    async def bare(ask: Any, kind: Any, timeout_s: float) -> Any:
        return await ask()

    change(bot, "answer_in_time", lambda _: bare)


@bug(
    "A ticket is filed again when the first answer was lost",
    "tests/test_bot.py::test_cut_off_at_any_await_and_given_again_a_message_has_one_turn[asyncio-created]",
)
def ticket_filed_twice() -> None:
    def make(file: Any) -> Any:
        async def file_anew(tickets: Any, ticket: Any, context: Any, *, key: str) -> Any:
            return await file(tickets, ticket, context, key=f"{key} {len(tickets.filed)}")

        return file_anew

    change(Tickets, "create_ticket", make)
