"""The documentation is complete, up to date, and holds together. The root's conftest.py runs its code blocks."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import caseassist
from caseassist import cli
from caseassist.core import errors, machine
from caseassist.script import LINES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("[a-z]*/*.md")])

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """The fragments that a page can be linked with: those of its headings, as GitHub and Sphinx make them."""
    text = text_of(page)
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text))
    return {*headings, *ANCHOR.findall(text)}


def reference(*names: str) -> str:
    return "".join((DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8") for name in names)


def test_the_generated_pages_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (checked.stdout, checked.stderr, checked.returncode) == ("", "", 0)


def test_sphinx_builds_the_pages_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (built.stdout, built.stderr, built.returncode) == ("", "", 0)
    assert (tmp_path / "reference/states.html").exists()


def test_a_page_that_is_not_up_to_date_is_named(tmp_path: Path) -> None:
    for folder in ("docs", "tests/data", "examples", "benchmarks"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and not {"_build", "node_modules"} & set(file.parts):
                copy = tmp_path / file.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    command = [sys.executable, str(tmp_path / "docs/generate.py")]
    subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    good = (tmp_path / "docs/reference/states.md").read_text(encoding="utf-8")
    (tmp_path / "docs/reference/states.md").write_text("old\n", encoding="utf-8")
    (tmp_path / "docs/reference/life-cycle.svg").unlink()

    checked = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert checked.returncode == 1
    assert "docs/reference/states.md is not up to date" in checked.stdout
    assert "docs/reference/life-cycle.svg is not up to date" in checked.stdout
    assert "events.md" not in checked.stdout

    subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    assert (tmp_path / "docs/reference/states.md").read_text(encoding="utf-8") == good


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(text_of(page)):
        if re.match("[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    linked = {(DOCS / link).resolve() for link in LINK.findall(text_of(DOCS / "index.md"))}
    assert {page for page in PAGES if page.is_relative_to(DOCS)} - {DOCS / "index.md"} == linked


@pytest.mark.parametrize("name", caseassist.__all__)
def test_every_public_name_has_a_section(name: str) -> None:
    assert f"\n### {name}\n" in reference("api")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_section(name: str) -> None:
    assert re.search(rf"^##+ {name}$", reference("errors"), re.MULTILINE)


@pytest.mark.parametrize("name", dict.fromkeys(row.event.__name__ for row in machine.TABLE))
def test_every_event_has_a_section(name: str) -> None:
    assert f"\n## {name}\n" in reference("events")


@pytest.mark.parametrize("action", dict.fromkeys(row.action for row in machine.TABLE))
def test_every_action_is_in_the_reference(action: str) -> None:
    assert f"| `{action}` |" in reference("states")
    assert f"\n### {action}\n" in reference("script")
    assert action in LINES


@pytest.mark.parametrize("state", machine.STATES)
def test_every_state_is_in_the_reference(state: str) -> None:
    assert f"| `{state}` |" in reference("states")


@pytest.mark.parametrize("name", cli.main.commands)
def test_every_command_and_its_options_are_in_the_reference(name: str) -> None:
    section = reference("cli").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    for parameter in cli.main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert all(option in section for option in parameter.opts)
        else:
            assert parameter.make_metavar(click.Context(cli.main.commands[name])) in section


@pytest.mark.parametrize("page", [page for page in PAGES if page.is_relative_to(DOCS)], ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert all(fences[::2]), "a block without a language"
    assert not any(fences[1::2])
