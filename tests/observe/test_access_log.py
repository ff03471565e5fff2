"""The log never stops traffic: real files, full disks, blocked pipes, readers that leave."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.observe.access_log import AccessLog
from gateway.observe.registry import Registry

OPENED: list[AccessLog] = []


@pytest.fixture(autouse=True)
def _close_logs() -> Iterator[None]:
    yield
    for log in OPENED:
        log.close(0.5)
    OPENED.clear()


def opened(path: Path | str, **options: int) -> AccessLog:
    log = AccessLog(str(path), **options)  # type: ignore[arg-type]
    OPENED.append(log)
    return log


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait for `condition`, ticking as the loop does."""
    end = time.monotonic() + timeout_s
    while not condition():
        for log in OPENED:
            log.hand_over()
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_lines_arrive_in_order(tmp_path: Path) -> None:
    log = opened(tmp_path / "a.log")
    lines = [b"line %d\n" % i for i in range(10_000)]
    for line in lines:
        log.write(line)
    log.close()
    assert (tmp_path / "a.log").read_bytes() == b"".join(lines)
    assert log.stats() == {"waiting_bytes": 0, "dropped": 0}
    assert (tmp_path / "a.log").stat().st_mode & 0o007 == 0


def test_lines_arrive_without_close(tmp_path: Path) -> None:
    opened(tmp_path / "a.log").write(b"x\n")
    until(lambda: (tmp_path / "a.log").read_bytes() == b"x\n")


def test_reopen_goes_to_the_new_file(tmp_path: Path) -> None:
    path, rotated = tmp_path / "a.log", tmp_path / "a.log.1"
    log = opened(path)
    log.write(b"old\n")
    until(lambda: path.exists() and path.read_bytes())
    path.rename(rotated)
    log.reopen()
    until(path.exists)
    log.write(b"new\n")
    until(lambda: path.read_bytes() == b"new\n")
    assert rotated.read_bytes() == b"old\n"


@pytest.mark.parametrize("change", ["renamed", "removed", "replaced"])
def test_a_moved_file_is_noticed_without_a_signal(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.log"
    log = opened(path)
    until(path.exists)
    if change == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "a.log.1")
    if change == "replaced":
        path.touch()
    until(path.exists)
    log.write(b"new\n")
    until(lambda: (log.write(b"new\n"), path.read_bytes())[1])
    assert log.dropped == 0


def test_a_path_that_cannot_be_reopened_keeps_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    path = folder / "a.log"
    log = opened(path)
    until(path.exists)
    moved = tmp_path / "moved"
    folder.rename(moved)
    log.reopen()
    until(lambda: warnings(caplog))
    log.write(b"x\n")
    until(lambda: (moved / "a.log").read_bytes() == b"x\n")
    assert log.dropped == 0
    assert len(warnings(caplog)) == 1
    assert "No such file or directory; the old file is kept" in warnings(caplog)[0]


def test_disk_full_drops_counts_and_tells_once(caplog: pytest.LogCaptureFixture) -> None:
    log = opened("/dev/full")
    for sent in range(1, 4):
        log.write(b"lost\n")
        until(lambda sent=sent: log.dropped == sent)
    assert warnings(caplog) == [
        "access log /dev/full: cannot write: No space left on device; lines are dropped and counted until it works"
    ]


def test_it_recovers_when_the_disk_has_room_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.log"
    path.symlink_to("/dev/full")
    log = opened(path)
    log.write(b"lost\n")
    until(lambda: log.dropped == 1)
    path.unlink()
    log.reopen()
    until(path.exists)
    log.write(b"kept\n")
    until(lambda: len(warnings(caplog)) == 2)
    assert path.read_bytes() == b"kept\n"
    assert warnings(caplog)[1] == f"access log {path}: written again, 1 lines were lost"


def test_a_torn_line_is_ended_before_the_next(tmp_path: Path) -> None:
    """The disk fills up inside a line (here: the largest size a file may have) and has room again later."""
    script = f"""
import os, resource, sys, time
from gateway.observe.access_log import AccessLog
def until(condition):
    while not condition(): time.sleep(0.01)
path = {str(tmp_path / "a.log")!r}
resource.setrlimit(resource.RLIMIT_FSIZE, (15, resource.RLIM_INFINITY))
log = AccessLog(path)
log.write(b"0123456789\\n"); log.write(b"torn in the middle\\n"); log.write(b"lost\\n"); log.hand_over()
until(lambda: log.dropped == 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.write(b"after\\n"); log.close(); sys.exit(log.dropped)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=20, check=False).returncode == 2
    assert (tmp_path / "a.log").read_bytes() == b"0123456789\ntorn\nafter\n"


def test_a_blocked_pipe_never_blocks_and_recovers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = opened(path, max_waiting_bytes=20_000)
    line = b"x" * 999 + b"\n"
    worst = 0.0
    for _ in range(400):  # 400 kB against a pipe of 64 KiB that nobody reads
        began = time.perf_counter()
        log.write(line)
        worst = max(worst, time.perf_counter() - began)
    until(lambda: warnings(caplog))
    assert worst < 0.1
    assert log.stats()["waiting_bytes"] <= 21_000
    assert "does not keep up" in warnings(caplog)[0]
    received = bytearray()

    def drained() -> bool:
        with contextlib.suppress(BlockingIOError):
            received.extend(os.read(reader, 1 << 20))
        return log.stats()["waiting_bytes"] == 0 and len(warnings(caplog)) == 2

    until(drained)
    drained()
    assert received.count(line) == 400 - log.dropped
    assert len(received) == received.count(line) * len(line)
    os.close(reader)


def test_a_reader_that_leaves_and_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    log = opened(path)
    log.write(b"nobody listens\n")
    until(lambda: log.dropped == 1)
    assert "cannot open: No such device or address" in warnings(caplog)[0]

    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    until(lambda: _sent(log, b"one\n", reader))
    os.close(reader)
    lost = log.dropped
    log.write(b"nobody listens\n")
    until(lambda: log.dropped > lost)
    assert "Broken pipe" in warnings(caplog)[-1]

    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    until(lambda: _sent(log, b"two\n", reader))
    os.close(reader)


def _sent(log: AccessLog, line: bytes, reader: int) -> bool:
    log.write(line)
    try:
        return line in os.read(reader, 65536)
    except BlockingIOError:
        return False


def test_close_is_bounded_when_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = opened(path)
    for _ in range(200):
        log.write(b"x" * 999 + b"\n")
    began = time.monotonic()
    log.close(timeout_s=0.3)
    assert time.monotonic() - began < 2.0
    assert 0 < log.dropped < 200
    assert log.stats()["waiting_bytes"] == 0
    os.close(reader)


WRITER = """
import sys
from gateway.observe.access_log import AccessLog
log = AccessLog(sys.argv[1])
for i in range(3000):
    log.write((sys.argv[2] * (50 + i % 900)).encode() + b"\\n")
log.close(20); sys.exit(log.dropped)
"""


@pytest.mark.parametrize("kind", ["file", "pipe", "stdout-file", "stdout-pipe", "stdout-socket"])
def test_no_line_is_torn_by_another_worker(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    ours, theirs = -1, -1
    if kind == "pipe":
        os.mkfifo(path)
        ours = os.open(path, os.O_RDWR)
    elif kind == "stdout-file":
        theirs = os.open(path, os.O_WRONLY | os.O_CREAT)
    elif kind == "stdout-pipe":
        ours, theirs = os.pipe()
    elif kind == "stdout-socket":
        left, right = socket.socketpair()
        ours, theirs = left.detach(), right.detach()
    name = "-" if theirs >= 0 else str(path)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, name, letter], stdout=theirs if theirs >= 0 else None)
        for letter in "ab"
    ]
    received = bytearray()
    if ours >= 0:
        while received.count(b"\n") < 6000:
            received += os.read(ours, 65536)
        os.close(ours)
    assert [writer.wait(30) for writer in writers] == [0, 0]
    lines = (bytes(received) or path.read_bytes()).splitlines()
    assert len(lines) == 6000
    assert all(len(set(line)) == 1 for line in lines)


def test_standard_output_stays_blocking_for_others() -> None:
    """The inherited description is shared with the parent: its flags must not change."""
    ours, theirs = os.pipe()
    subprocess.run([sys.executable, "-c", WRITER.replace("3000", "3"), "-", "a"], stdout=theirs, check=True)
    assert os.get_blocking(theirs)
    os.close(theirs)
    os.close(ours)


def test_standard_output_and_error_may_be_one_file(tmp_path: Path) -> None:
    """As in `gateway run >file 2>&1`, where both have one position."""
    path = tmp_path / "out"
    with path.open("wb") as out:
        subprocess.run([sys.executable, "-c", WRITER.replace("3000", "3"), "-", "a"], stdout=out, check=True)
        written = path.read_bytes()
        os.write(out.fileno(), b"stopped\n")
    assert written.count(b"\n") == 3
    assert path.read_bytes() == written + b"stopped\n"


def test_drops_are_counted_in_the_metrics_across_restarts() -> None:
    registry = Registry()
    index = registry.counter("gateway_access_log_dropped_total")
    registry.cells[index] = 7
    log = opened("/dev/full")
    log.count_in(registry)
    log.write(b"lost\n")
    until(lambda: log.dropped)
    registry.flush(0.0)
    assert registry.cells[index] == 8
