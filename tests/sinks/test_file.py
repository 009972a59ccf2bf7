"""The sink in a file: on real files, and with every call to the system failing in turn."""

import asyncio
import errno
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

import anyio
import pytest

from caseassist.core.errors import SinkUnavailable
from caseassist.core.records import Record, decode_lines, encode, encode_lines
from caseassist.sinks.file import FileSink

Made = Callable[..., list[Record]]

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing, or not for everybody")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cases.jsonl"


async def deliver(sink: FileSink, *batches: list[Record]) -> None:
    """Deliver as a courier does that has no trouble."""
    await sink.open()
    for batch in batches:
        await sink.deliver(batch)
    await sink.aclose()


def in_twos(records: list[Record]) -> list[list[Record]]:
    return [records[n : n + 2] for n in range(0, len(records), 2)]


def numbered(path: Path) -> list[Path]:
    """The files of a sink, the newest first."""
    backups = [other for other in path.parent.glob(path.name + ".*") if other.suffix[1:].isdigit()]
    backups.sort(key=lambda other: int(other.suffix[1:]))
    return [path, *backups] if path.exists() else backups


def all_lines(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in reversed(numbered(path)))


def torn(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.glob(path.name + ".torn-*")}


class System:
    """Counts the calls of worker threads to ``os``, and makes some of them fail or fall short."""

    NAMES = ("open", "close", "write", "fsync", "fstat", "stat", "lstat", "ftruncate", "replace", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.failed = 0
        self.fails: Callable[[str], OSError | None] = lambda _: None
        self.write_at_most: int | None = None
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                return real(*args, **kwargs)
            self.calls.append(name)
            error = self.fails(name)
            if name == "close":  # a descriptor is gone also when closing it fails
                real(*args)
            if error:
                self.failed += 1
                raise error
            if name == "write" and self.write_at_most is not None:
                return real(args[0], args[1][: self.write_at_most])
            return None if name in {"close", "fsync"} else real(*args, **kwargs)

        return call

    def fail(self, number: int, error: int, *, names: tuple[str, ...] = NAMES, sticky: bool = False) -> None:
        """Let the call with this number (from 1) among ``names`` fail; if ``sticky``, all after it, too."""
        calls = 0

        def fails(name: str) -> OSError | None:
            nonlocal calls
            calls += name in names
            now = name in names and (calls >= number if sticky else calls == number)
            return OSError(error, os.strerror(error)) if now else None

        self.fails = fails

    def recover(self) -> None:
        self.fails = lambda _: None


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


# What is written


async def test_records_are_appended_as_lines_that_decode_to_them(path: Path, records: list[Record]) -> None:
    await deliver(FileSink(path), records[:3], records[3:4])
    assert list(decode_lines(path.read_bytes().splitlines(keepends=True))) == records[:4]
    await deliver(FileSink(path), records[4:])
    assert path.read_bytes() == encode_lines(records)
    assert list(path.parent.iterdir()) == [path]


async def test_ten_thousand_records_come_back_equal(path: Path, made: Made) -> None:
    records = made(10_000)
    await deliver(FileSink(path), *(records[n : n + 256] for n in range(0, len(records), 256)))
    with path.open("rb") as file:
        assert list(decode_lines(file)) == records


async def test_a_batch_is_in_the_file_when_deliver_returns(path: Path, records: list[Record]) -> None:
    sink = FileSink(path)
    await sink.open()
    for n, record in enumerate(records, 1):
        await sink.deliver([record])
        assert path.read_bytes() == encode_lines(records[:n])
    await sink.aclose()


async def test_a_batch_is_one_write_outside_the_event_loop(path: Path, made: Made, system: System) -> None:
    await deliver(FileSink(path), made(256))
    assert system.calls.count("write") == 1
    assert "fsync" not in system.calls


async def test_fsync_syncs_each_batch_and_the_name_of_a_new_file(
    path: Path, records: list[Record], system: System
) -> None:
    await deliver(FileSink(path, fsync=True), records[:4], records[4:])
    in_order = [name for name in system.calls if name in {"write", "fsync"}]
    directory = [] if sys.platform == "win32" else ["fsync"]
    assert in_order == [*directory, "write", "fsync", "write", "fsync"]


@posix_only
async def test_files_are_for_the_owner_only(path: Path, records: list[Record]) -> None:
    mask = os.umask(0)
    try:
        sink = FileSink(path, max_bytes=1)
        await deliver(sink, records[:4], records[4:])
        with path.open("ab") as file:
            file.write(b'{"v":1,')
        await deliver(sink, records)
    finally:
        os.umask(mask)
    files = list(path.parent.iterdir())
    assert len(files) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@posix_only
async def test_the_mode_of_an_existing_file_is_left_as_it_is(path: Path, records: list[Record]) -> None:
    path.touch()
    path.chmod(0o640)
    await deliver(FileSink(path), records)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_opening_creates_the_file_and_closing_twice_is_fine(path: Path, records: list[Record]) -> None:
    sink = FileSink(path)
    await sink.aclose()
    await sink.open()
    await sink.open()
    assert path.read_bytes() == b""
    await sink.aclose()
    await sink.aclose()
    await sink.deliver(records)
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)


def test_the_name_follows_from_the_path_unless_given(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert FileSink(path).name == FileSink("cases.jsonl").name == f"file:{path}"
    assert FileSink(path, name="archive").name == "archive"
    assert repr(FileSink(path, name="archive")) == "<FileSink archive>"


def test_batching_is_the_couriers_and_can_be_set(path: Path) -> None:
    sink = FileSink(path, batch_records=10, linger_s=1.5)
    assert (sink.batch_records, sink.linger_s, sink.sessions_at_once) == (10, 1.5, 1)
    sink = FileSink(path)
    assert (sink.batch_records, sink.linger_s) == (1024, 0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_records": 0},
        {"linger_s": -0.1},
        {"linger_s": float("nan")},
        {"max_bytes": 0},
        {"max_bytes": 100, "backups": 0},
        {"backups": 3},
    ],
)
def test_options_out_of_range_are_refused(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(reversed(options))):
        FileSink(path, **options)


# What is refused before anything is delivered


async def refusal(path: Path) -> str:
    with pytest.raises(SinkUnavailable) as caught:
        await FileSink(path).open()
    return str(caught.value)


async def test_a_missing_directory_is_refused(path: Path) -> None:
    missing = path.parent / "missing"
    assert (
        await refusal(missing / "a")
        == f"cannot write {missing / 'a'}: there is no directory {missing}; create it first"
    )


async def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir()
    assert await refusal(path) == f"cannot write {path}: it is a directory, not a regular file"


@posix_only
async def test_a_pipe_and_a_device_are_refused(path: Path) -> None:
    if sys.platform != "win32":  # for mypy
        os.mkfifo(path)
    assert "it is a pipe, socket or device" in await refusal(path)
    assert "it is a pipe, socket or device" in await refusal(Path("/dev/null"))


@posix_only
@pytest.mark.parametrize("exists", [True, False])
async def test_a_symbolic_link_is_refused_and_its_target_untouched(path: Path, exists: bool) -> None:
    target = path.parent / "target"
    if exists:
        target.write_bytes(b"mine")
    path.symlink_to(target)
    assert await refusal(path) == f"cannot write {path}: it is a symbolic link; name the file that it points to"
    assert not exists or target.read_bytes() == b"mine"
    assert target.exists() == exists


@posix_only
async def test_a_link_put_there_at_the_last_moment_is_refused_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = path.parent / "target"
    real_open = os.open

    def open_late(name: Any, *args: Any) -> int:
        path.symlink_to(target)
        return real_open(name, *args)

    monkeypatch.setattr(os, "open", open_late)
    assert f"cannot write {path}: " in await refusal(path)
    assert not target.exists()


@posix_only
async def test_a_directory_that_is_a_link_is_fine(path: Path, records: list[Record]) -> None:
    link = path.parent / "link"
    link.symlink_to(path.parent)
    await deliver(FileSink(link / path.name), records)
    assert path.read_bytes() == encode_lines(records)


async def test_errors_of_the_system_are_mapped_at_open(path: Path, system: System) -> None:
    system.fail(1, errno.EACCES, names=("open",))
    with pytest.raises(SinkUnavailable, match=r"cannot write .*cases\.jsonl: .*Permission denied") as caught:
        await FileSink(path).open()
    assert isinstance(caught.value.__cause__, PermissionError)


# A torn last line


async def test_a_line_torn_at_any_byte_is_saved_beside_and_cut_off(
    path: Path, records: list[Record], system: System
) -> None:
    before, last, after = encode_lines(records[:3]), encode(records[3]), records[4:]
    for cut in range(1, len(last)):
        path.write_bytes(before + last[:cut])
        await deliver(FileSink(path), after)
        assert path.read_bytes() == before + encode_lines(after)
        assert torn(path) == {f"{path.name}.torn-1": last[:cut]}
        path.with_name(f"{path.name}.torn-1").unlink()


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b" "], ids=repr)
async def test_what_a_power_loss_leaves_behind_is_saved_and_cut_off(
    path: Path, records: list[Record], fill: bytes
) -> None:
    before = encode_lines(records[:3])
    tail = encode(records[3])[:50].ljust(4096, fill)
    path.write_bytes(before + tail)
    await deliver(FileSink(path), records[3:])
    assert path.read_bytes() == encode_lines(records)
    assert torn(path) == {f"{path.name}.torn-1": tail}


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("length", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 3])
async def test_a_torn_line_may_be_huge(path: Path, records: list[Record], before: int, length: int) -> None:
    tail = b'{"v":1,"'.ljust(length, b"x")
    path.write_bytes(encode_lines(records[:before]) + tail)
    await deliver(FileSink(path), records[before:])
    assert path.read_bytes() == encode_lines(records)
    assert torn(path) == {f"{path.name}.torn-1": tail}


async def test_a_whole_record_without_its_newline_gets_one(path: Path, records: list[Record]) -> None:
    for before in (0, 3):
        path.write_bytes(encode_lines(records[: before + 1]).rstrip(b"\n"))
        await deliver(FileSink(path), records[before + 1 :])
        assert path.read_bytes() == encode_lines(records)
        assert torn(path) == {}


async def test_several_repairs_do_not_overwrite_each_other(path: Path, records: list[Record]) -> None:
    expected = {}
    for n, record in enumerate(records[1:5], 1):
        tail = encode(record)[: 10 * n]
        path.write_bytes(encode_lines(records[:1]) + tail)
        await deliver(FileSink(path), records[1:])
        expected[f"{path.name}.torn-{n}"] = tail
        assert torn(path) == expected
        assert path.read_bytes() == encode_lines(records)


async def test_opening_alone_changes_nothing(path: Path) -> None:
    path.write_bytes(b"torn")
    await deliver(FileSink(path))
    assert path.read_bytes() == b"torn"
    assert torn(path) == {}


async def test_a_torn_line_is_cut_off_only_when_its_copy_is_on_the_disk(
    path: Path, records: list[Record], system: System
) -> None:
    path.write_bytes(b"torn")
    await deliver(FileSink(path), records)
    steps = [name for name in system.calls if name in {"fsync", "ftruncate", "write"}]
    directory = [] if sys.platform == "win32" else ["fsync"]
    assert steps == ["fsync", *directory, "ftruncate", "write"]


async def test_a_torn_line_that_cannot_be_saved_stays_and_no_copies_pile_up(
    path: Path, records: list[Record], system: System
) -> None:
    path.write_bytes(b"torn")
    sink = FileSink(path)
    await sink.open()
    for name in ("fsync", "ftruncate"):
        system.fail(1, errno.ENOSPC, names=(name,), sticky=True)
        for _ in range(3):
            with pytest.raises(SinkUnavailable):
                await sink.deliver(records)
        assert path.read_bytes() == b"torn"
        assert torn(path) == {}
    system.recover()
    await sink.deliver(records)
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)
    assert torn(path) == {f"{path.name}.torn-1": b"torn"}


# Failing writes

ERRORS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EINTR, errno.EINVAL]


def error_name(error: int) -> str:
    return errno.errorcode[error]


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
@pytest.mark.parametrize("error", ERRORS, ids=error_name)
async def test_whatever_call_fails_everything_arrives_once_and_whole(
    tmp_path: Path, records: list[Record], system: System, error: int, sticky: bool
) -> None:
    system.write_at_most = 700  # so that a batch takes several writes, of which any can fail
    tail = encode(records[2])[:99]
    number = 0
    while system.failed or not number:
        number += 1
        system.failed = 0
        errors: list[SinkUnavailable] = []
        system.fail(number, error, sticky=sticky)
        path = tmp_path / str(number)
        path.write_bytes(encode_lines(records[:2]) + tail)
        sink = FileSink(path, max_bytes=2000, fsync=True)
        with suppress(SinkUnavailable):
            await sink.open()
        for batch in in_twos(records[2:]):
            while True:
                try:
                    await sink.deliver(batch)
                    break
                except SinkUnavailable as exc:
                    errors.append(exc)
                    if len(errors) == 3:
                        system.recover()
        await sink.aclose()
        assert all(exc.delivered == 0 and isinstance(exc.__cause__, OSError) for exc in errors)
        assert all_lines(path) == encode_lines(records)
        assert set(torn(path).values()) == {tail}
        assert sticky or len(torn(path)) == 1
        assert len(numbered(path)) > 1
    assert number > 30  # and not because nothing was counted


@pytest.mark.parametrize("error", ERRORS, ids=error_name)
async def test_a_batch_that_fails_half_way_leaves_no_trace(
    path: Path, records: list[Record], system: System, error: int
) -> None:
    system.write_at_most = 50
    sink = FileSink(path)
    await sink.open()
    await sink.deliver(records[:4])
    system.fail(3, error, names=("write",))
    with pytest.raises(SinkUnavailable, match=re.escape(os.strerror(error))):
        await sink.deliver(records[4:])
    assert path.read_bytes() == encode_lines(records[:4])
    await sink.deliver(records[4:])
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)


async def half_written(path: Path, records: list[Record], system: System) -> FileSink:
    """Return a sink that has delivered four records, and then 100 bytes that it could not cut off either."""
    system.write_at_most = 50
    sink = FileSink(path)
    await sink.deliver(records[:4])
    system.fail(3, errno.EIO, names=("write", "ftruncate"), sticky=True)
    with pytest.raises(SinkUnavailable):
        await sink.deliver(records[4:])
    assert path.read_bytes() == encode_lines(records[:4]) + encode_lines(records[4:])[:100]
    return sink


async def test_what_cannot_be_cut_off_at_once_is_cut_off_before_the_next_batch(
    path: Path, records: list[Record], system: System
) -> None:
    sink = await half_written(path, records, system)
    with pytest.raises(SinkUnavailable):
        await sink.deliver(records[4:])
    assert path.read_bytes() == encode_lines(records[:4]) + encode_lines(records[4:])[:100]
    system.recover()
    await sink.deliver(records[4:])
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)


async def test_or_when_closing(path: Path, records: list[Record], system: System) -> None:
    sink = await half_written(path, records, system)
    system.recover()
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records[:4])


async def test_or_else_is_mended_when_the_file_is_opened_again(
    path: Path, records: list[Record], system: System
) -> None:
    sink = await half_written(path, records, system)
    await sink.aclose()
    system.recover()
    await deliver(FileSink(path), records[4:])
    assert path.read_bytes() == encode_lines(records)
    assert torn(path) == {f"{path.name}.torn-1": encode_lines(records[4:])[:100]}


async def test_cutting_off_never_lengthens_a_file_that_somebody_emptied(
    path: Path, records: list[Record], system: System
) -> None:
    sink = await half_written(path, records, system)
    system.recover()
    with path.open("wb"):
        pass
    await sink.deliver(records[4:])
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records[4:])


async def test_a_write_that_takes_nothing_is_an_error_not_an_endless_loop(
    path: Path, records: list[Record], system: System
) -> None:
    sink = FileSink(path)
    await sink.open()
    system.write_at_most = 0
    with pytest.raises(SinkUnavailable, match="nothing was written"):
        await sink.deliver(records)
    system.write_at_most = None
    await sink.deliver(records)
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)


async def test_a_failed_fsync_means_that_nothing_was_delivered(
    path: Path, records: list[Record], system: System
) -> None:
    sink = FileSink(path, fsync=True)
    await sink.deliver(records[:4])
    system.fail(1, errno.EIO, names=("fsync",))
    with pytest.raises(SinkUnavailable):
        await sink.deliver(records[4:])
    assert path.read_bytes() == encode_lines(records[:4])
    await sink.deliver(records[4:])
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)


@posix_only
@pytest.mark.parametrize("error", [errno.EINVAL, errno.EBADF, errno.EACCES], ids=error_name)
async def test_a_directory_that_cannot_be_synced_is_passed_over(
    path: Path, records: list[Record], system: System, error: int
) -> None:
    system.fail(1, error, names=("fsync",))
    await deliver(FileSink(path, fsync=True), records)
    assert system.failed == 1
    assert path.read_bytes() == encode_lines(records)


@posix_only
async def test_a_directory_that_fails_to_sync_is_synced_before_anything_is_delivered(
    path: Path, records: list[Record], system: System
) -> None:
    sink = FileSink(path, fsync=True)
    system.fail(1, errno.EIO, names=("fsync",))
    with pytest.raises(SinkUnavailable):
        await sink.deliver(records)
    assert path.read_bytes() == b""
    await sink.deliver(records)
    await sink.aclose()
    assert system.calls.count("fsync") == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if which("mount") is None:
        pytest.skip("there is no `mount` here")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    answer = subprocess.run(mount, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"no file system can be mounted here, which takes Linux and root: {answer.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def test_a_disk_that_is_full_for_real_loses_nothing(small_disk: Path, made: Made) -> None:
    records = made(400)
    path = small_disk / "cases.jsonl"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(160 << 10))
    sink = FileSink(path)
    await sink.open()
    errors: list[SinkUnavailable] = []
    done = 0
    while done < len(records):
        batch = records[done : done + 7]
        try:
            await sink.deliver(batch)
            done += len(batch)
        except SinkUnavailable as exc:
            errors.append(exc)
            if len(errors) == 3:
                ballast.unlink()
        assert path.read_bytes() == encode_lines(records[:done])
    await sink.aclose()
    assert len(errors) == 3
    assert all(exc.delivered == 0 and "No space left" in str(exc) for exc in errors)


async def test_a_full_disk_does_not_stop_the_start(small_disk: Path, records: list[Record]) -> None:
    path = small_disk / "cases.jsonl"
    tail = b"torn".ljust(100_000)
    path.write_bytes(encode_lines(records[:3]) + tail)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(140 << 10))
    sink = FileSink(path)
    await sink.open()
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match="No space left"):
            await sink.deliver(records[3:])
        assert path.read_bytes() == encode_lines(records[:3]) + tail
        assert torn(path) == {}
    ballast.unlink()
    await sink.deliver(records[3:])
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)
    assert torn(path) == {f"{path.name}.torn-1": tail}


# Rotation


async def test_full_files_are_renamed_and_no_record_is_split(path: Path, made: Made) -> None:
    records = made(100)
    max_bytes = 2500
    await deliver(FileSink(path, max_bytes=max_bytes), *in_twos(records))
    files = numbered(path)
    assert [file.name for file in files[:3]] == ["cases.jsonl", "cases.jsonl.1", "cases.jsonl.2"]
    assert len(files) == len(list(path.parent.iterdir())) > 10
    assert all_lines(path) == encode_lines(records)
    for file in files:
        content = file.read_bytes()
        assert 0 < len(content) <= max_bytes
        assert content.endswith(b"\n")
        assert len(list(decode_lines(content.splitlines(keepends=True)))) % 2 == 0


async def test_a_file_may_be_exactly_full(path: Path, records: list[Record]) -> None:
    size = len(encode_lines(records))
    await deliver(FileSink(path, max_bytes=size), records[:4], records[4:])
    assert numbered(path) == [path]
    path.unlink()
    await deliver(FileSink(path, max_bytes=size - 1), records[:4], records[4:])
    assert [file.read_bytes() for file in numbered(path)] == [encode_lines(records[4:]), encode_lines(records[:4])]


async def test_a_batch_that_is_too_large_alone_gets_a_file_to_itself(path: Path, records: list[Record]) -> None:
    await deliver(FileSink(path, max_bytes=10), records[:1], records[1:])
    assert [file.read_bytes() for file in numbered(path)] == [encode_lines(records[1:]), encode_lines(records[:1])]


async def test_as_many_backups_stay_as_asked_for(path: Path, records: list[Record]) -> None:
    batches = [[record] for record in records]
    await deliver(FileSink(path, max_bytes=1), *batches[:6])
    assert len(numbered(path)) == 6
    await deliver(FileSink(path, max_bytes=1, backups=3), batches[6])
    assert [file.name for file in numbered(path)] == ["cases.jsonl", *(f"cases.jsonl.{n}" for n in (1, 2, 3))]
    assert all_lines(path) == encode_lines(records[3:7])
    await deliver(FileSink(path, max_bytes=1, backups=3), batches[7])
    assert all_lines(path) == encode_lines(records[4:])
    await deliver(FileSink(path, max_bytes=1, backups=1), batches[0])
    assert [file.read_bytes() for file in numbered(path)] == [encode_lines(batches[0]), encode_lines(batches[7])]


async def test_a_torn_file_is_mended_before_it_is_renamed(path: Path, records: list[Record]) -> None:
    path.write_bytes(encode_lines(records[:4]) + b"torn")
    await deliver(FileSink(path, max_bytes=1), records[4:])
    assert [file.read_bytes() for file in numbered(path)] == [encode_lines(records[4:]), encode_lines(records[:4])]


@pytest.mark.parametrize("backups", [None, 4], ids=["all", "four"])
async def test_a_crash_between_any_two_renames_loses_and_mixes_nothing(
    path: Path, records: list[Record], system: System, backups: int | None
) -> None:
    for number in range(1, 5):
        for file in numbered(path):
            file.unlink()
        await deliver(FileSink(path, max_bytes=1), *([record] for record in records[:4]))
        system.fail(number, errno.EIO, names=("replace",), sticky=True)
        with pytest.raises(SinkUnavailable):
            await deliver(FileSink(path, max_bytes=1, backups=backups), records[4:5])
        assert all_lines(path) == encode_lines(records[:4])
        system.recover()
        await deliver(FileSink(path, max_bytes=1, backups=backups), records[4:5])
        assert all_lines(path) == encode_lines(records[:5])
        assert len(numbered(path)) == 5


async def test_a_backup_that_cannot_be_looked_at_is_not_overwritten(
    path: Path, records: list[Record], system: System
) -> None:
    sink = FileSink(path, max_bytes=1)
    await deliver(sink, records[:2], records[2:4])
    await sink.open()
    calls = len(system.calls)
    await sink.deliver(records[4:6])
    looks = sum(name in {"stat", "lstat"} for name in system.calls[calls:])
    for number in range(1, looks + 1):
        system.fail(number, errno.EIO, names=("stat", "lstat"))
        with pytest.raises(SinkUnavailable):
            await sink.deliver(records[6:])
        assert all_lines(path) == encode_lines(records[:6])
    system.recover()
    await sink.deliver(records[6:])
    await sink.aclose()
    assert all_lines(path) == encode_lines(records)


# Others who touch the file


@posix_only
async def test_a_file_that_was_moved_away_or_deleted_is_begun_anew(path: Path, records: list[Record]) -> None:
    sink = FileSink(path)
    await sink.deliver(records[:2])
    path.rename(moved := path.with_name("moved"))
    await sink.deliver(records[2:4])
    assert moved.read_bytes() == encode_lines(records[:2])
    assert path.read_bytes() == encode_lines(records[2:4])
    path.unlink()
    await sink.deliver(records[4:6])
    assert path.read_bytes() == encode_lines(records[4:6])
    path.unlink()
    path.write_bytes(b"")
    await sink.deliver(records[6:])
    assert path.read_bytes() == encode_lines(records[6:])
    await sink.aclose()


@posix_only
async def test_a_file_that_was_moved_away_half_written_is_left_whole(
    path: Path, records: list[Record], system: System
) -> None:
    sink = await half_written(path, records, system)
    path.rename(moved := path.with_name("moved"))
    system.recover()
    await sink.deliver(records[4:])
    await sink.aclose()
    assert moved.read_bytes() == encode_lines(records[:4])
    assert path.read_bytes() == encode_lines(records[4:])


@posix_only
async def test_what_was_to_be_cut_off_one_file_is_not_cut_off_another(
    path: Path, records: list[Record], system: System
) -> None:
    sink = await half_written(path, records, system)
    other = encode_lines(records) * 2
    path.rename(path.with_name("moved"))
    path.write_bytes(other)
    system.fail(1, errno.EIO, names=("ftruncate",))
    await sink.deliver(records[4:])
    await sink.aclose()
    assert system.failed
    assert path.read_bytes() == other + encode_lines(records[4:])


@posix_only
async def test_a_directory_that_goes_away_makes_the_sink_unavailable(tmp_path: Path, records: list[Record]) -> None:
    path = tmp_path / "logs" / "cases.jsonl"
    path.parent.mkdir()
    sink = FileSink(path)
    await sink.deliver(records[:4])
    path.parent.rename(tmp_path / "gone")
    with pytest.raises(SinkUnavailable, match="there is no directory"):
        await sink.deliver(records[4:])
    path.parent.mkdir()
    await sink.deliver(records[4:])
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records[4:])


# Cancellation


class Gate:
    """Holds a worker thread after the first 100 bytes that it writes. Others pass, and are noticed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.others = threading.Event()
        self._open = threading.Event()
        real_write = os.write

        def write(fd: int, data: Any) -> int:
            if threading.current_thread() is threading.main_thread():
                return real_write(fd, data)
            if self.reached.is_set():
                self.others.set()
                return real_write(fd, data)
            written = real_write(fd, data[:100])
            self.reached.set()
            assert self._open.wait(60)
            return written

        monkeypatch.setattr(os, "write", write)

    def open(self) -> None:
        self._open.set()


class WatchedLock:
    """A lock that tells the gate when somebody comes to wait."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        if self._gate.reached.is_set():
            self._gate.others.set()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open()


async def test_cancellation_waits_for_the_write_in_progress(path: Path, records: list[Record], gate: Gate) -> None:
    sink = FileSink(path)
    await sink.open()
    returned = False

    async def deliver_first() -> None:
        nonlocal returned
        await sink.deliver(records[:4])
        returned = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deliver_first)
        await anyio.to_thread.run_sync(gate.reached.wait)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert not returned
            gate.open()
    assert returned
    assert path.read_bytes() == encode_lines(records[:4])
    await sink.deliver(records[4:])
    await sink.aclose()
    assert path.read_bytes() == encode_lines(records)


def test_a_task_that_asyncio_cancels_lets_nobody_write_in_between(
    path: Path, records: list[Record], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        sink = FileSink(path)
        monkeypatch.setattr(sink, "_lock", WatchedLock(gate))
        first = asyncio.create_task(sink.deliver(records[:4]))
        await anyio.to_thread.run_sync(gate.reached.wait)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(sink.deliver(records[4:]))
        await anyio.to_thread.run_sync(gate.others.wait)
        gate.open()
        await second
        await sink.aclose()

    asyncio.run(main())
    assert path.read_bytes() == encode_lines(records)


async def test_a_delivery_cancelled_before_it_began_writes_nothing(path: Path, records: list[Record]) -> None:
    sink = FileSink(path)
    await sink.deliver(records[:4])
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sink.deliver(records[4:])
    assert path.read_bytes() == encode_lines(records[:4])
    await sink.aclose()


async def test_closing_closes_the_file_also_when_cancelled(path: Path, records: list[Record], system: System) -> None:
    sink = FileSink(path)
    await sink.deliver(records)
    assert system.calls.count("close") == 0
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sink.aclose()
    assert system.calls.count("close") == 1
