"""The examples for language models as programs, offline: with what stands in for a model, and without a key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caseassist.stores.sqlite import SQLiteStore

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.parametrize("name", ["pydantic_ai_bot.py", "openai_agents_bot.py"])


@pytest.fixture
def anyio_backend() -> str:
    """One run will do: the programs themselves are on asyncio."""
    return "asyncio"


def program(name: str, folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    names = {"PATH", "SYSTEMROOT", "PYTHONPATH"} & os.environ.keys()
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={name: os.environ[name] for name in names},
        input=said,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_without_a_key_it_says_what_to_do(name: str, tmp_path: Path) -> None:
    done = program(name, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Set OPENAI_API_KEY, or try it without a model: python {name} --demo\n"
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("says", "ends"), [("yes", "solved"), ("no", "created CASE-")])
async def test_the_demo_leads_a_case_to_its_end(name: str, says: str, ends: str, tmp_path: Path) -> None:
    done = program(name, tmp_path, "--demo", said=f"My generator stops and smells of fuel\n{says}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "- It smells of petrol or propane: http://127.0.0.1:" in done.stdout
    assert f"Your case: {ends}" in done.stdout
    store = SQLiteStore(tmp_path / "cases.db")
    await store.open()
    try:
        records = [record for _, record in await store.read(0, 100)]
    finally:
        await store.aclose()
    assert records[-1].ticket.description == "My generator stops and smells of fuel"
    assert (records[-1].ticket.id is not None) == (says == "no")
