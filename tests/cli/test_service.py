"""`caseassist service`, as a real process."""

import json
import re
import shlex
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.cli.runs import process, run

from caseassist.service.knowledge import Knowledge, example_text

LONG_S = 30
TOKEN = "xx-canary-token"


def started(*args: str) -> tuple["subprocess.Popen[bytes]", list[str]]:
    """A process that listens, and what it has said so far."""
    service = process("service", "--port", "0", *args)
    assert service.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        line = service.stdout.readline().decode()
        if not line:
            pytest.fail(f"it ended: {service.communicate()}")
        lines.append(line.rstrip())
    return service, lines


def stop(service: "subprocess.Popen[bytes]") -> tuple[int, bytes, bytes]:
    service.send_signal(signal.SIGINT)
    out, err = service.communicate(timeout=LONG_S)
    return service.returncode, out, err


def post(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=LONG_S) as answer:
        return json.load(answer)


def asked_by_curl(line: str, **environment: str) -> urllib.request.Request:
    """The request that the printed command makes."""
    words = shlex.split(line)
    assert words[0] == "curl"
    headers = dict(
        re.sub(r"\$(\w+)", lambda name: environment[name[1]], header).split(": ")
        for option, header in pairwise(words)
        if option == "-H"
    )
    url = next(word for word in words if word.startswith("http"))
    return urllib.request.Request(url, words[words.index("-d") + 1].encode(), headers)


def test_it_serves_the_example_until_it_is_interrupted() -> None:
    service, lines = started()
    try:
        assert re.fullmatch(r"A stand-in .* is at http://127\.0\.0\.1:\d+", lines[0])
        assert lines[1] == "It has 27 documents and classifies category, urgency, productId."
        answer = post(asked_by_curl(next(line for line in lines if "curl" in line)))
        assert answer["documents"][0]["title"] == "The engine stops after a few minutes"
        assert any('CustomerService("http://127.0.0.1:' in line and "token=None" in line for line in lines)
    finally:
        ended = stop(service)
    assert ended == (0, b"", b"stopped\n")


def test_a_knowledge_base_of_ones_own_and_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kb = tmp_path / "kb.json"
    kb.write_text(json.dumps({"documents": [{"title": "Generator stops: mine", "text": "x"}]}))
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    service, lines = started("--kb", str(kb), "--token-env", "MY_TOKEN")
    try:
        assert lines[1] == "It has 1 document and classifies nothing."
        curl = next(line for line in lines if "curl" in line)
        assert "Bearer $MY_TOKEN" in curl
        assert TOKEN not in "".join(lines)
        assert any('token=os.environ["MY_TOKEN"]' in line for line in lines)
        assert post(asked_by_curl(curl, MY_TOKEN=TOKEN))["totalCount"] == 1
        with pytest.raises(urllib.error.HTTPError, match="401") as raised:
            post(asked_by_curl(curl, MY_TOKEN="other"))
        raised.value.close()
    finally:
        ended = stop(service)
    assert ended == (0, b"", b"stopped\n")


def test_verbose_says_what_the_server_does() -> None:
    service, _ = started("--verbose")
    code, _, err = stop(service)
    assert code == 0
    assert b"Running on http://127.0.0.1:" in err


def test_the_example_can_be_printed_and_read_again(tmp_path: Path) -> None:
    printed = run("service", "--print-kb")
    assert (printed.exit_code, printed.stdout) == (0, example_text())
    (tmp_path / "my-kb.toml").write_text(printed.stdout, encoding="utf-8")
    with Knowledge.load(tmp_path / "my-kb.toml") as mine, Knowledge.load() as example:
        assert mine.documents == example.documents


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("service", "--port", str(port))
    assert result.exit_code == 2
    assert result.stderr == f"Error: cannot listen on port {port}: Address already in use; choose another with --port\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot read the knowledge base {kb}: No such file or directory"),
        ("[[documents]]\ntitle = 5\n", "{kb}: $.documents[0].title: expected the title of the document"),
        ("[[documents]\n", "{kb}: line 1, column 12: this is no TOML: "),
    ],
)
def test_a_knowledge_base_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, problem: str) -> None:
    kb = tmp_path / "kb.toml"
    if content is not None:
        kb.write_text(content)
    result = run("service", "--kb", str(kb))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {problem.format(kb=kb)}")


@pytest.mark.parametrize(
    ("args", "env", "problem"),
    [
        (["--token-env", "MY_TOKEN"], {"MY_TOKEN": None}, "the environment variable MY_TOKEN holds no token"),
        (["--token-env", "MY_TOKEN"], {"MY_TOKEN": "a b"}, "a token is printable ASCII without spaces"),
        (["--token-env", TOKEN], {}, "expected the name of an environment variable"),
        (["--port", "65536"], {}, "65536 is not in the range"),
    ],
)
def test_wrong_usage_is_told(args: list[str], env: dict[str, str | None], problem: str) -> None:
    result = run("service", *args, env=env)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert TOKEN not in result.stderr
