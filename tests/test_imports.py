"""Imports point one way, modules say what is public, and importing does nothing."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import caseassist

ROOT = Path(caseassist.__file__).parent
PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(ROOT.rglob("*.py"))
}
"""Every module of the package, by its name below the package; the package itself is ``""``."""

MODULES = sorted(PATHS)
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}

ALLOWED: dict[str, set[str]] = {
    "core": {"core"},
    "wire": {"core", "wire"},
    "background": set(),
    "connections": {"wire", "connections"},
    "transport": {"core", "wire", "background", "connections"},
    "tokens": {"wire"},
    "stores.base": {"core"},
    "stores": {"core", "stores", "background"},
    "sinks.base": {"core"},
    "sinks": {"core", "wire", "transport", "tokens", "sinks"},
    "service": {"core", "wire", "transport", "tokens", "delivery.pacing", "service"},
    "helpdesks": {"core", "wire", "transport", "delivery.pacing", "helpdesks"},
    "delivery": {"core", "stores.base", "sinks.base", "delivery"},
    "live": {"core", "delivery", "stores", "sinks.base"},
    "conversation": {"core", "conversation"},
    "simulator": {"core", "sinks.base", "simulator"},
    "reports": {"core", "sinks.base", "reports"},
    "diagram": {"core"},
    "script": {"core", "live"},
    "chats": {"core", "live"},
    "bot": {"chats", "core", "conversation", "live", "service.base", "helpdesks.base"},
    "integrations": {"core", "conversation", "live", "bot", "chats", "service.base", "helpdesks.base", "integrations"},
    "testing": {"core", "wire", "transport", "stores", "sinks", "delivery", "live", "helpdesks", "testing"},
}
"""What a module may import, by the longest name that fits. ``cli`` and the package itself stand on top of all."""

IMPURE = {
    "anyio", "asyncio", "atexit", "concurrent", "logging", "multiprocessing", "os", "pathlib", "queue", "random",
    "secrets", "select", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "trio", "warnings",
}  # fmt: skip
CLOCKS_AND_CHANCE = {"now", "utcnow", "today", "monotonic", "perf_counter", "uuid1", "uuid4", "getrandbits", "urandom"}
BUILTINS_THAT_DO_IO = {"open", "print", "input", "breakpoint", "exec", "eval"}
OPTIONAL = {
    "click",
    "rich",
    "sphinx",
    "httpx",
    "httpx2",
    "h11",
    "trio",
    "trustme",
    "hypothesis",
    "pytest",
    "jsonschema",
    "starlette",
    "hypercorn",
    "slack_bolt",
    "slack_sdk",
    "aiohttp",
    "aiogram",
    "pydantic",
    "pydantic_ai",
    "agents",
    "openai",
    "microsoft_agents",
    "langgraph",
    "langchain_core",
    "msal",
}
NEEDED = {
    "cli": {"click", "rich"},
    "service.standin": {"starlette", "hypercorn"},
    "integrations.asgi": {"starlette"},
    "integrations.slack": {"slack_bolt"},
    "integrations.m365": {"microsoft_agents"},
    "integrations.pydantic_ai": {"pydantic_ai"},
    "integrations.openai_agents": {"agents"},
}
"""Which optional packages a module may import."""

PROGRAM = {"cli"}
"""What is a program: only what starts it is called from outside."""
INNER = {
    "cli.quarantine": {"list_", "resend", "drop"},  # commands of the group
    "live": {"new_id"},  # the default of an argument
    "service.client": {"utc_now"},
    "script": {
        "Start", "UpdateField", "OfferClassifications", "OfferDocuments", "SelectClassification", "OpenDocument",
        "QuickviewDocument", "RateDocument", "NextStage", "LogClick", "LogCustom", "TakeTurn", "Create", "Solve",
        "Quit",
        "describe",
    },  # the kinds of lines: reached through LINES
}  # fmt: skip
"""Classes and functions that are not public although their names do not say so."""


def imported(name: str) -> dict[str, set[str]]:
    """The modules of the package that a module imports, each with the names that it takes from there."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            if module == "caseassist" or module.startswith("caseassist."):
                below = module.removeprefix("caseassist").lstrip(".")
                for alias in node.names:
                    full = f"{below}.{alias.name}".lstrip(".")
                    if full in PATHS:
                        found.setdefault(full, set())
                    else:
                        found.setdefault(below, set()).add(alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "caseassist":
                    found.setdefault(alias.name.removeprefix("caseassist").lstrip("."), set())
    return found


def foreign(name: str) -> set[str]:
    """The top-level names of everything else that a module imports."""
    found: set[str] = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
    return found - {"caseassist"}


def fits(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")


def module(name: str) -> ModuleType:
    return importlib.import_module(f"caseassist.{name}".rstrip("."))


@pytest.mark.parametrize("name", [name for name in MODULES if name and not fits(name, "cli")])
def test_imports_point_one_way(name: str) -> None:
    layers = [layer for layer in ALLOWED if fits(name, layer)]
    assert layers, f"say in ALLOWED where {name} stands"
    allowed = ALLOWED[max(layers, key=len)]
    wrong = {other for other in imported(name) if not any(fits(other, layer) for layer in allowed)}
    assert not wrong


def test_nothing_imports_the_command_line() -> None:
    others = [name for name in MODULES if not fits(name, "cli")]
    assert not {name for name in others if any(fits(other, "cli") for other in imported(name))}


PURE = [name for name in MODULES if fits(name, "core") or fits(name, "wire") or fits(name, "conversation")]


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_have_no_io_no_clock_and_no_chance(name: str) -> None:
    assert not foreign(name) & IMPURE
    names = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in ast.walk(TREES[name]) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not names & CLOCKS_AND_CHANCE
    called = {
        node.func.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & BUILTINS_THAT_DO_IO


def test_the_core_needs_msgspec_and_transitions_and_the_standard_library() -> None:
    needed = set().union(*(foreign(name) for name in MODULES if fits(name, "core")))
    assert needed - set(sys.stdlib_module_names) == {"msgspec", "transitions"}


# What is public


def defined(name: str) -> set[str]:
    """The classes and functions at the top of a module."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in TREES[name].body if isinstance(node, kinds)}


@pytest.mark.parametrize("name", [name for name in MODULES if defined(name)])
def test_every_module_says_what_is_public(name: str) -> None:
    public = module(name).__all__
    assert len(public) == len(set(public))
    assert not {one for one in public if one.startswith("_")}
    assert not {one for one in public if not hasattr(module(name), one)}
    if name not in PROGRAM:
        inner = INNER.get(name, set())
        assert {one for one in defined(name) if not one.startswith("_")} - set(public) == inner


@pytest.mark.parametrize("name", MODULES)
def test_modules_take_from_each_other_what_is_public(name: str) -> None:
    for other, names in imported(name).items():
        assert names <= set(module(other).__all__) if names else True, other


def test_the_front_door_shows_names_of_its_own_package_only() -> None:
    assert caseassist.__all__ == sorted(caseassist.__all__)
    assert all(getattr(caseassist, name).__module__.startswith("caseassist.") for name in caseassist.__all__)


# What importing does: nothing

SCRIPT = """
import gc, logging, signal, sys, threading
handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
import caseassist
assert threading.enumerate() == [threading.main_thread()], "a thread"
assert logging.getLogger().handlers == [], "a handler of the root logger"
assert logging.getLogger("caseassist").handlers == [], "a handler of ours"
assert handlers == {number: signal.getsignal(number) for number in signal.valid_signals()}, "a signal handler"
if "asyncio" in sys.modules:
    from asyncio import AbstractEventLoop
    assert not [one for one in gc.get_objects() if issubclass(type(one), AbstractEventLoop)], "an event loop"
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_importing_starts_nothing_and_brings_no_optional_package() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    brought = set(done.stdout.split())
    assert "caseassist" in brought
    assert not brought & OPTIONAL


def test_optional_packages_are_imported_in_the_module_that_needs_them() -> None:
    for name in MODULES:
        needed = set().union(*(packages for layer, packages in NEEDED.items() if fits(name, layer)))
        assert foreign(name) & OPTIONAL <= needed, name
