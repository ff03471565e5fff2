"""`gateway demo` as a user starts it: it shows what it says, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.demo.features import FEATURES, Answer, Feature
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "gateway", "demo", "--port", "0", "--admin-port", "0"]


class Demo:
    """A running demo, after it printed everything."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._out = directory / "demo.out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        until(lambda: "Ctrl-C ends all of it" in self.output or self.process.poll() is not None, 60, "demo ready")
        assert self.process.poll() is None, self.output
        self.family = descendants(self.process.pid)

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def url(self) -> str:
        return str(re.findall(r"The gateway: (http://\S+)", self.output)[0])

    @property
    def admin_url(self) -> str:
        return str(re.findall(r"its admin address: (http://\S+)", self.output)[0])

    def all_gone(self) -> bool:
        return not any(alive(pid) for pid in self.family)


def descendants(pid: int) -> set[int]:
    """Pids of all children of `pid`, and of theirs."""
    children = {
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    }
    return children.union(*(descendants(child) for child in children))


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator[Demo]:
    demo = Demo(directory, *arguments)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.send_signal(signal.SIGTERM)
        demo.process.wait(20)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo")) as started:
        yield started


def test_quickstart_sends_every_request() -> None:
    command = [ROOT / "deploy" / "quickstart", "--check", *COMMAND[4:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(FEATURES)} of {len(FEATURES)} as they must be" in done.stdout


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.title)
def test_printed_curl_line_brings_what_it_says(demo: Demo, feature: Feature, tmp_path: Path) -> None:
    line = feature.curl(demo.admin_url if feature.admin else demo.url)
    assert f"\n  {line}\n" in demo.output

    def wrong() -> str:
        return feature.differs(sent(line, tmp_path / "heads"))

    if feature.admin:  # counters are at most 1 s old
        until(lambda: not wrong(), 3, line)
    assert wrong() == ""


def sent(line: str, heads: Path) -> list[Answer]:
    """What curl got; all that it printed stands in the last answer."""
    printed = subprocess.run(["bash", "-c", f"{line} -D {heads}"], capture_output=True, timeout=30, check=False).stdout
    answers = []
    for head in heads.read_text().split("\n\n")[:-1]:
        status, *fields = head.splitlines()
        named = (field.partition(":") for field in fields)
        answers.append(Answer(int(status.split()[1]), {name.lower(): value.strip() for name, _, value in named}, ""))
    return [*answers[:-1], replace(answers[-1], body=printed.decode(errors="replace"))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_all_of_it(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as demo:
        assert len(demo.family) >= 8, "four services, a supervisor, a worker, two processes that compute"
        demo.process.send_signal(number)
        assert demo.process.wait(20) == 0
        assert demo.all_gone()
    assert "Traceback" not in demo.output


def test_a_stream_does_not_hold_the_end_up(tmp_path: Path) -> None:
    with running(tmp_path) as demo, urllib.request.urlopen(f"{demo.url}/ticks/ACME", timeout=10) as stream:
        assert stream.readline() == b"id: 0\n"
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(20) == 0
        assert demo.all_gone()


def test_killed_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        demo.process.kill()
        until(demo.all_gone, 20, "every process of the demo gone")


def test_taken_ports_are_gone_around(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, "--port", str(port), "--admin-port", str(port)) as demo:
            assert f":{port} " not in demo.output


def test_says_which_process_ended(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        (quotes,) = [pid for pid in demo.family if b"quotes-next=" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(quotes, signal.SIGKILL)
        assert demo.process.wait(20) == 1
        assert "demo: quotes ended by itself (-9)" in demo.output
        assert demo.all_gone()


def test_without_flask_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['flask'] = None; from gateway.cli import main; main(['demo'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "demo: it has a Flask application in it, and Flask is not installed: pip install 'floodgate[demo]'"
    ]


def test_a_wrong_option_is_the_users_fault() -> None:
    done = subprocess.run([*COMMAND, "--port", "x"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--port" in done.stderr
