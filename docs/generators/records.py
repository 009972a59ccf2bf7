"""Records: their members and their form."""

from docs.generators import example
from docs.generators.markdown import block, json_block
from docs.generators.members import members_table

from caseassist.core.events import TicketFieldUpdate
from caseassist.core.records import VERSION, Record, encode

INTRODUCTION = """\
# Records

A record is an [event](events.md) with its place and time. Stores keep records, sinks deliver them, and a session is
what its records fold to. Every record carries the whole ticket as of after the event, and the context. So it can be
delivered with no other state at hand.
"""

TEXT = """\
## Identity

`sessionId` and `seq` together name a record. Within a session `seq` counts 0, 1, 2, … without gaps. There is no other
id in the record. Where an id is needed on the wire, it is derived from these two, so it is the same whenever the same
record is sent again.

Delivery is at least once: a record can reach a sink a second time after a restart. Its identity tells.

## Time

`time` is RFC 3339 with an offset. What caseassist writes is in UTC and ends in `Z`. It has no fraction, or one of six
digits: microseconds.

When a record is read, any offset is taken, and a finer fraction is rounded to microseconds. A time without an offset is
refused, and so is the leap second `23:59:60`.

`time` is when the step happened. The caller may say so (`at`); otherwise it is when the action was called. Records of a
session are in the order of `seq`, whatever their times say.

## Members that this version does not know

A record that was written by a newer version is neither lost nor changed. These are read as a `KeptRecord`:

- a record with a member that is unknown here, at any depth;
- a record with a higher `v`;
- a record whose event has an action that is unknown here; its event is then an
  [UnknownEvent](events.md#unknownevent).

A `KeptRecord` has what is known of it, and is written again as the line that was read. A session with an event that
is unknown here cannot be folded: [UnsupportedRecord](errors.md#unsupportedrecord). What cannot be read as a record at
all raises [CorruptRecord](errors.md#corruptrecord), which names the line.

## Version

`v` is the version of the format. It is {version}. A new optional member does not change it; a member whose meaning
changes does.

## JSON Schema

`caseassist schema` prints the JSON Schema (2020-12) of a record as this version writes it. `x-rules` in it holds the
ids of the [rules](rules.md). Lines with unknown members do not pass the schema, and are read all the same.

## Reading and writing

```python
from pathlib import Path

import anyio
from caseassist import CaseAssist, FileSink, Session
from caseassist.core.records import decode_lines, encode_lines


async def main() -> None:
    async with CaseAssist(sinks=[FileSink("log.jsonl")]) as assist:
        case = await assist.start(session_id="a1")
        await case.solve()


anyio.run(main)

log = Path("log.jsonl").read_bytes()
records = list(decode_lines(log.splitlines(), name="log.jsonl"))
assert [record.seq for record in records] == [0, 1]
assert Session.fold(records).state == "solved"
assert encode_lines(records) == log
```
"""


def render() -> str:
    record = next(record for record in example.records() if type(record.event) is TicketFieldUpdate)
    return "\n".join(
        [
            INTRODUCTION,
            "In a file a record is one line of JSON in UTF-8:\n",
            block("json", encode(record).decode()),
            "With line breaks, for people:\n",
            json_block(record),
            "## Members\n",
            members_table(Record, links="events.md"),
            TEXT.replace("{version}", str(VERSION)),
        ]
    )
