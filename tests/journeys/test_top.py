"""`gateway top` against a real gateway: once on a pipe, and live on a terminal of its own."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import Upstream
from tests.support.wait import until

CONFIG = """\
upstreams:
  shop: {{targets: ["{url}"], concurrency: 7}}
  dead: {{targets: ["http://{dead}"], breaker: {{minimum: 5, open: 30s}}}}
routes:
  - {{name: buy, match: /buy, to: shop}}
  - {{name: gone, match: /gone, to: dead}}
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command on a terminal of 40 lines by 160 columns."""

    def __init__(self, *arguments: str) -> None:
        self._fd, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 160))
        self.modes = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "top", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"},
        )
        self.seen = ""

    def shows(self, text: str) -> bool:
        """Whether it was shown since the last call that was true."""
        self.read()
        found = text in self.seen
        if found:
            self.seen = ""
        return found

    def read(self) -> None:
        """Take what was shown."""
        while select.select([self._fd], [], [], 0.05)[0]:
            self.seen += ESCAPES.sub("", os.read(self._fd, 65536).decode())

    def ended(self) -> int:
        """The exit code. What is shown meanwhile is taken: a full terminal would hold up who writes to it."""

        def has_ended() -> bool:
            self.read()
            return self.process.poll() is not None

        until(has_ended, 30)
        return self.process.wait()

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def is_as_before(self) -> bool:
        """Whether the terminal has the modes that it began with."""
        return termios.tcgetattr(self._theirs) == self.modes

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)
        os.close(self._theirs)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    found = Terminal(*arguments)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def traffic(gateway: Gateway) -> Iterator[None]:
    ended = threading.Event()

    def ask() -> None:
        with Raw(gateway.port) as raw:
            while not ended.wait(0.005):
                for path in ("/buy", "/gone"):
                    raw.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).answer()

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        ended.set()
        client.join()


def serving(serve: Callable[..., Gateway], upstream: Callable[..., Upstream]) -> Gateway:
    with Upstream() as gone:
        dead = gone.address
    return serve(CONFIG.format(url=upstream().url, dead=dead))


def admin_of(gateway: Gateway) -> str:
    return gateway.admin_url.removeprefix("http://")


def test_once_for_scripts(serve: Callable[..., Gateway], upstream: Callable[..., Upstream]) -> None:
    gateway = serving(serve, upstream)
    with traffic(gateway):
        until(lambda: gateway.status()["upstreams"][1]["breaker"]["state"] == "open")
        command = [sys.executable, "-m", "gateway", "top", "--once", "--interval", "1", "--admin", admin_of(gateway)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert re.match(r"floodgate \S+ serving for .*: [\d.,]+ requests/s, [\d.,]+ errors/s, p50 [\d.,]+ ms", done.stdout)
    assert rows["route"] == "route /s errors/s in flight p50 ms p99 ms".split()
    assert float(rows["buy"][1]) > 5
    assert float(rows["gone"][2]) > 5
    assert rows["buy"][2] == "0"
    assert float(rows["shop"][1]) > 5
    assert float(rows["shop"][4]) <= float(rows["shop"][5])
    assert rows["shop"][6:9] == ["1", "of", "1"]
    assert rows["shop"][11:13] == ["of", "7"]
    assert "open" in rows["dead"]
    assert "5 of 5 requests failed within 10s" in done.stdout
    assert rows["0"][1] == "serving"
    assert float(rows["0"][2]) >= 0
    assert float(rows["0"][3]) > 10, "MiB"
    assert done.stderr == ""


def test_live_until_q(serve: Callable[..., Gateway], upstream: Callable[..., Upstream]) -> None:
    gateway = serving(serve, upstream)
    with traffic(gateway), terminal("--admin", admin_of(gateway), "--interval", "0.2") as shown:
        for _ in range(3):
            until(lambda: shown.shows("requests/s"), 20)
        until(lambda: shown.shows("5 of 5 requests failed within 10s"), 30)
        assert not shown.is_as_before()
        shown.press(b"x")
        until(lambda: shown.shows("buy"), 30)
        shown.press(b"q")
        assert shown.ended() == 0
        assert shown.is_as_before()
        assert "Traceback" not in shown.seen


def test_ctrl_c_ends_it_and_a_gateway_that_goes_away_is_told(
    serve: Callable[..., Gateway], upstream: Callable[..., Upstream]
) -> None:
    gateway = serving(serve, upstream)
    with terminal("--admin", admin_of(gateway), "--interval", "0.2") as shown:
        until(lambda: shown.shows("requests/s"), 20)
        gateway.stop_at_once()
        until(lambda: shown.shows("no gateway answers at"), 30)
        shown.process.send_signal(signal.SIGINT)
        assert shown.ended() == 0
        assert shown.is_as_before()
        assert not shown.shows("Traceback")


def test_no_gateway_is_one_clear_line() -> None:
    with Upstream() as gone:
        port = gone.port
    began = monotonic()
    command = [sys.executable, "-m", "gateway", "top", "--admin", f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    print(f"said after {monotonic() - began:.2f} s")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"no gateway answers at 127.0.0.1:{port} (")
    assert "is --admin its address?" in done.stderr
    assert done.stderr.count("\n") == 1
