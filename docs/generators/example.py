"""Real records for the pages: those of the example script, and a few steps that it does not take."""

from functools import cache, partial
from pathlib import Path

import anyio

from caseassist import CaseAssist, Context, MemorySink, Record
from caseassist.core.events import Event, RatedDocument, SuggestionClick, SuggestionRate
from caseassist.script import Agreement, Answer, Player, Refusal

__all__ = ["events", "play", "records"]

SCRIPT = Path(__file__).parents[2] / "examples" / "session.jsonl"

MORE = """\
{"session": "c3", "do": "start", "clientId": "6a1e2f7b-3d58-4a6e-9b0c-2f4d8e7a1c35", "at": "2026-11-20T12:05:00Z"}
{"session": "c3", "do": "log_click", "event": {"actionCause": "recommendationOpen", "searchQueryUid": \
"74682726-0e20-46eb-85ac-f37259346f57", "sourceName": "Manuals", "documentPosition": 3, "documentTitle": \
"GC110 manual", "documentUrl": "https://support.example.com/gc110-manual", "customData": {"contentIDKey": \
"permanentid", "contentIDValue": "d41f0c77aa"}}, "at": "2026-11-20T12:05:30Z"}
{"session": "c3", "do": "take_turn", "messageId": "msg-7f3a", "memory": {"step": "asking"}, \
"at": "2026-11-20T12:05:30Z"}
{"session": "c3", "do": "quit", "cause": "timeout", "at": "2026-11-20T12:35:30Z"}
"""


def play(lines: tuple[str, ...]) -> tuple[list[Answer | Agreement | Refusal], list[Record]]:
    """Play lines and return their answers and the records."""
    return anyio.run(partial(_play, lines))


@cache
def records() -> tuple[Record, ...]:
    """The records of the example script and of some more lines."""
    answers, played = play((*SCRIPT.read_text(encoding="utf-8").splitlines(), *MORE.splitlines()))
    assert all(answer.ok for answer in answers)
    return tuple(played)


@cache
def events() -> dict[type[Event], Event]:
    """An example of every kind of event that can be written down."""
    found: dict[type[Event], Event] = {}
    for record in records():
        found.setdefault(type(record.event), record.event)
    rating = found[SuggestionRate]
    assert isinstance(rating, SuggestionRate)
    document = rating.suggestion
    found[SuggestionClick] = SuggestionClick(
        suggestion_id=rating.suggestion_id,
        response_id=rating.response_id,
        suggestion=RatedDocument(
            document_title=document.document_title,
            document_url=document.document_url,
            document_position=document.document_position,
            from_quickview=True,
        ),
    )
    return found


async def _play(lines: tuple[str, ...]) -> tuple[list[Answer | Agreement | Refusal], list[Record]]:
    sink = MemorySink()
    async with CaseAssist(Context(search_hub="support-bot", language="en"), sinks=[sink]) as assist:
        player = Player(assist)
        answers = [await player.play(line.encode()) for line in lines]
    return answers, sink.records
