"""The client in JavaScript: run by a real node, against the command line as it is installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from caseassist.core.records import action_name, decode_lines
from caseassist.core.session import Session
from caseassist.script import LINES, PROTOCOL, schema

EXAMPLES = Path(__file__).parents[2] / "examples" / "javascript"
NODE = shutil.which("node")
TIMEOUT_S = 60

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed: the client in JavaScript is not tested"),
    pytest.mark.skipif(os.name == "nt", reason="the tests stop and kill processes with the signals of POSIX"),
]


def node(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [NODE, *args],
        cwd=cwd,
        env={"PATH": path, "HOME": str(cwd), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )


def told(tmp_path: Path, code: str) -> Any:
    """What a piece of JavaScript tells about the client, with ``tell(value)``."""
    program = tmp_path / "program.mjs"
    program.write_text(
        f"""
        import {{ readFileSync }} from "node:fs";
        import {{ CaseAssist, Ended, Refused }} from {json.dumps((EXAMPLES / "caseassist.mjs").as_uri())};
        const tell = (value) => console.log(JSON.stringify(value));
        const failure = (promise) => promise.then((answer) => ({{ answer }}), (error) => error);
        const named = (error) => ({{ name: error.name, message: error.message, ...error }});
        {code}
        """,
        encoding="utf-8",
    )
    done = node(str(program), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def stand_in(tmp_path: Path, script: str) -> None:
    """A program ``./player`` of ours in the place of ``caseassist``."""
    player = tmp_path / "player"
    player.write_text(f"#!/bin/sh\n{script}\n")
    player.chmod(0o755)


STOPPABLE = 'echo $$ > pid; exec caseassist "$@"'


def test_the_bot_logs_three_conversations_to_their_ends(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    options = ("--sink", f"file:{log}", "--search-hub", "support-bot", "--language", "en")
    done = node(str(EXAMPLES / "bot.mjs"), *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        "ann: created after 9 steps",
        "bob: solved after 9 steps",
        "eve: quit after 3 steps",
    ]
    with log.open("rb") as lines:
        records = list(decode_lines(lines))
    sessions = {
        name: Session.fold([record for record in records if record.session_id == name])
        for name in ("ann", "bob", "eve")
    }
    assert {name: session.state for name, session in sessions.items()} == {
        "ann": "created",
        "bob": "solved",
        "eve": "quit",
    }
    assert sessions["ann"].ticket.category == "Electrical"
    assert sessions["ann"].ticket.id == "T-41"
    assert [action_name(record.event) for record in records if record.session_id == "eve"] == [
        "ticket_create_start",
        "ticket_field_update",
        "ticket_cancel",
    ]
    assert {record.context.search_hub for record in records} == {"support-bot"}


def test_a_client_learns_what_it_talks_to(tmp_path: Path) -> None:
    seen = told(
        tmp_path,
        """
        const assist = await CaseAssist.start();
        tell({ actions: assist.actions, version: assist.version, end: await assist.close() });
        """,
    )
    assert seen["actions"] == list(LINES)
    assert seen["version"]
    assert seen["end"] == {"status": 0, "signal": None}


def test_a_refused_action_is_an_error_with_what_the_answer_says_and_the_session_goes_on(tmp_path: Path) -> None:
    seen = told(
        tmp_path,
        """
        const assist = await CaseAssist.start();
        const session = assist.session("a1");
        await session.act("start");
        const one = await failure(session.act("open_document", { suggestionId: "b7e0a5c1d2" }));
        const two = await failure(session.act("create", { id: "" }));
        const { state } = await session.act("create", { id: "T-1" });
        tell({ one: named(one), two: named(two), typed: one instanceof Refused, state, end: await assist.close() });
        """,
    )
    assert (seen["one"]["name"], seen["one"]["type"], seen["one"]["session"]) == ("Refused", "IllegalTransition", "a1")
    assert "update_field" in seen["one"]["allowed"]
    assert seen["one"]["line"] == 3
    assert (seen["two"]["type"], seen["two"]["rule"], seen["two"]["path"]) == ("InvalidAction", "CC-003", "$.id")
    assert seen["typed"] is True
    assert seen["state"] == "created"
    assert seen["end"]["status"] == 1


def test_many_lines_are_answered_in_the_order_of_the_calls(tmp_path: Path) -> None:
    seen = told(
        tmp_path,
        """
        const assist = await CaseAssist.start(["--sink", "null:"]);
        const session = assist.session("a1");
        const acts = [session.act("start")];
        for (let n = 1; n < 1500; n++) {
          acts.push(session.act("update_field", { fieldName: "description", value: "x".repeat(2000) + n }));
        }
        const answers = await Promise.all(acts);
        tell({ ordered: answers.every(({ seq }, n) => seq === n), end: await assist.close() });
        """,
    )
    assert seen == {"ordered": True, "end": {"status": 0, "signal": None}}


def test_a_line_ends_with_a_line_feed_and_nothing_else(tmp_path: Path) -> None:
    seen = told(
        tmp_path,
        r"""
        const assist = await CaseAssist.start(["--language", "en"]);
        const session = assist.session("a\u00e91");
        await session.act("start");
        const title = "one\u2028two\u2029three\u0085 🙂 '\"\\";
        const document = { title, clickUri: "https://x/1", fields: { permanentid: "d1", source: "KB" } };
        const response = { documents: [document], responseId: "r" };
        const { event } = await session.act("offer_documents", { response });
        const same = JSON.stringify(event).includes(JSON.stringify(title));
        tell({ same, end: await assist.close() });
        """,
    )
    assert seen == {"same": True, "end": {"status": 0, "signal": None}}


def test_a_process_that_is_killed_rejects_all_that_wait_and_all_that_comes_after(tmp_path: Path) -> None:
    stand_in(tmp_path, STOPPABLE)
    seen = told(
        tmp_path,
        """
        const assist = await CaseAssist.start([], { command: "./player" });
        const session = assist.session("a1");
        await session.act("start");
        const pid = Number(readFileSync("pid", "utf8"));
        process.kill(pid, "SIGSTOP");
        const waiting = [failure(session.act("solve")), failure(session.act("quit"))];
        await new Promise(setImmediate);
        process.kill(pid, "SIGKILL");
        const errors = [...(await Promise.all(waiting)), await failure(session.act("quit"))];
        tell({ errors: errors.map(named), end: await assist.close(), again: await assist.close() });
        """,
    )
    killed = {"name": "Ended", "message": "./player ended by SIGKILL", "status": None, "signal": "SIGKILL"}
    assert seen["errors"] == [killed, killed, killed]
    assert seen["end"] == seen["again"] == {"status": None, "signal": "SIGKILL"}


def test_those_who_wait_for_room_in_the_pipe_are_rejected_when_the_process_dies(tmp_path: Path) -> None:
    stand_in(tmp_path, STOPPABLE)
    seen = told(
        tmp_path,
        """
        const assist = await CaseAssist.start([], { command: "./player" });
        const session = assist.session("a1");
        const pid = Number(readFileSync("pid", "utf8"));
        process.kill(pid, "SIGSTOP");
        const waiting = [];
        for (let n = 0; n < 100; n++) {
          waiting.push(failure(session.act("update_field", { fieldName: "subject", value: "x".repeat(100000) })));
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
        process.kill(pid, "SIGKILL");
        tell([...new Set((await Promise.all(waiting)).map(({ name }) => name))]);
        """,
    )
    assert seen == ["Ended"]


def test_after_close_nothing_is_sent(tmp_path: Path) -> None:
    seen = told(
        tmp_path,
        """
        const assist = await CaseAssist.start();
        const first = failure(assist.session("a1").act("start"));
        const end = assist.close();
        await end;
        tell({ first: (await first).answer.state, later: named(await failure(assist.session("a1").act("solve"))) });
        """,
    )
    assert seen == {"first": "started", "later": {"name": "Ended", "message": "closed"}}


@pytest.mark.parametrize(
    ("player", "name", "message"),
    [
        (
            """read x; echo '{"ok":false,"session":null,"line":1,"error":{"type":"InvalidAction","message":"old"}}'""",
            "Refused",
            "old",
        ),
        ("echo hello; cat > /dev/null", "Ended", "what came is no answer"),
        ("exit 2", "Ended", "./player ended with status 2"),
        (None, "Ended", "cannot run ./player: ENOENT"),
    ],
)
def test_what_does_not_speak_the_protocol_is_not_started(
    tmp_path: Path, player: str | None, name: str, message: str
) -> None:
    if player is not None:
        stand_in(tmp_path, player)
    seen = told(tmp_path, 'tell(named(await failure(CaseAssist.start([], { command: "./player" }))));')
    assert seen["name"] == name
    assert message in seen["message"]


def test_the_client_asks_for_this_version_and_its_lines_fit_the_schema(tmp_path: Path) -> None:
    stand_in(tmp_path, 'tee lines | caseassist "$@"')
    options = ("--search-hub", "support-bot", "--language", "en")
    program = tmp_path / "bot.mjs"
    program.write_text((EXAMPLES / "bot.mjs").read_text().replace("slice(2))", 'slice(2), { command: "./player" })'))
    shutil.copy(EXAMPLES / "caseassist.mjs", tmp_path)
    assert node(str(program), *options, cwd=tmp_path).returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert lines[0] == {"protocol": PROTOCOL}
    assert len(lines) == 22
    validator = Draft202012Validator(schema())
    for line in lines:
        validator.validate(line)
