"""What the integrations are held against is itself what it says."""

import pytest
from tests.integrations.conversations import CONVERSATIONS, told


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_ends_as_it_says(name: str) -> None:
    log = await told(name)
    ends = {
        "solved": ("ticket_cancel", "Solved"),
        "created": ("ticket_create", None),
        "left": ("ticket_cancel", "Quit"),
    }
    assert (log[-1]["event"]["action"], log[-1]["event"].get("reason")) == ends[name]
    assert [record["seq"] for record in log] == list(range(len(log)))
    actions = [record["event"]["action"] for record in log]
    assert actions.count("ticket_create_start") == 1
    assert log[-1]["ticket"].get("id") == ("CASE-1" if name == "created" else None)
