"""The process that reads the config: stays for the next reading, ends, and is replaced."""

import os
import re
import signal
import threading
from pathlib import Path

import pytest

from gateway.runtime.loading import LoadFailed, Reader
from tests.support.wait import until

CONFIG = "routes: [{name: r, match: /r, respond: {status: 200, body: %s}}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "gateway.yaml"
    found.write_text(CONFIG % "old")
    return found


def pid(reader: Reader) -> int:
    """Of its process; 0 where there is none."""
    found = re.search(r"pid=(\d+)", repr(reader))
    return int(found[1]) if found else 0


def is_gone(process: int) -> bool:
    return not os.path.exists(f"/proc/{process}")


def test_one_process_reads_again_and_again_and_ends_when_idle(file: Path) -> None:
    reader = Reader(str(file), idle_s=0.3)
    reader.begin()
    process = pid(reader)
    old, _ = reader.read()
    file.write_text(CONFIG % "new")
    new, _ = reader.read()
    assert old.routes != new.routes
    assert pid(reader) == process
    until(lambda: is_gone(process), what="nobody asked any more")
    assert reader.read()[0] == new


def test_all_that_is_wrong_is_told_and_the_process_reads_on(file: Path) -> None:
    reader = Reader(str(file))
    file.write_text("routes: [{name: r, match: /r, to: nobody}, {name: s, match: s, respnd: {}}]\n")
    with pytest.raises(LoadFailed, match="nobody") as caught:
        reader.read()
    assert len(caught.value.errors) >= 3
    assert all("gateway.yaml:1:" in each.splitlines()[0] for each in caught.value.errors)
    process = pid(reader)
    file.write_text(CONFIG % "mended")
    assert reader.read()[0].routes
    assert pid(reader) == process
    reader.close()


def test_a_process_that_was_killed_while_it_waited_is_replaced(file: Path) -> None:
    reader = Reader(str(file))
    reader.read()
    process = pid(reader)
    os.kill(process, signal.SIGKILL)
    assert reader.read()[0].routes
    assert pid(reader) != process
    reader.rest()
    assert pid(reader) == 0
    assert is_gone(process)


def test_close_ends_a_reading_that_does_not_come_to_an_end(tmp_path: Path) -> None:
    fifo = tmp_path / "gateway.yaml"
    os.mkfifo(fifo)
    reader, failures = Reader(str(fifo)), []

    def read() -> None:
        try:
            reader.read()
        except LoadFailed as failure:
            failures.append(str(failure))

    thread = threading.Thread(target=read)
    thread.start()
    writer = os.open(fifo, os.O_WRONLY)  # returns when the process reads
    reader.close()
    thread.join(10)
    os.close(writer)
    assert failures
    with pytest.raises(LoadFailed):
        reader.read()
