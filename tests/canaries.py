"""Canaries: a token and personal data that go through the whole test run, and watchers for where they must not show.

Watched are the logs (of everybody, at DEBUG, tracebacks included), the text of every error of ours when it is made, the
reasons that are stored in a quarantine, and the arguments of programs of ours that are started. A test in which one
shows up fails.
"""

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from caseassist.core.errors import CaseAssistError
from caseassist.stores.base import Quarantined
from caseassist.stores.memory import MemoryStore
from caseassist.stores.sqlite import SQLiteStore
from caseassist.wire.http import TransportError

__all__ = ["TEXT", "TOKEN", "found", "watch"]

TOKEN = "xx-canary-token-5e7d"
TEXT = "canary text of a person"

WORD = "canary"
found: list[str] = []
"""Where canaries have shown since the list was emptied."""


def look(where: str, text: str) -> None:
    if WORD in text.lower():
        found.append(f"{where}: {text}")


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        look(f"log of {record.name}", _formatter.format(record))


_formatter = logging.Formatter("%(message)s")


def watch() -> None:
    """Begin to watch, for the rest of the run."""
    root = logging.getLogger()
    root.addHandler(_Handler(logging.DEBUG))
    logging.getLogger("caseassist").setLevel(logging.DEBUG)
    for cls in {*_all(CaseAssistError), TransportError}:
        if "__init__" in cls.__dict__:
            setattr(cls, "__init__", _watched_error(cls.__dict__["__init__"]))  # noqa: B010
    for store in (MemoryStore, SQLiteStore):
        store.commit = _watched_commit(store.commit)  # type: ignore[method-assign]
        store.put_back = _watched_put_back(store.put_back)  # type: ignore[method-assign]
    sys.addaudithook(_watch_arguments)


def _all(cls: type[CaseAssistError]) -> list[type[CaseAssistError]]:
    return [cls, *(one for child in cls.__subclasses__() for one in _all(child))]


def _watched_error(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def watched(self: CaseAssistError, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        if init is getattr(type(self).__init__, "__wrapped__", None):
            look(type(self).__name__, f"{self} {self!r}")

    return watched


def _watched_commit(commit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(commit)
    async def watched(self: Any, sink: str, *, quarantined: Sequence[Quarantined] = (), **what: Any) -> None:
        for entry in quarantined:
            look("reason in quarantine", entry.reason)
        await commit(self, sink, quarantined=quarantined, **what)

    return watched


def _watched_put_back(put_back: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(put_back)
    async def watched(self: Any, sink: str, entry: Quarantined) -> Any:
        look("reason in quarantine", entry.reason)
        return await put_back(self, sink, entry)

    return watched


def _watch_arguments(event: str, args: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        words = [str(word) for word in (args[1] if isinstance(args[1], list | tuple) else [args[1]])]
        if any("caseassist" in word for word in words):
            look("arguments of a program", " ".join(words))
