"""The examples of the README: their Python and YAML as they stand there, sent what they send, answer what they say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.demo.ports import Ports, reserve
from tests.support.gateway import Gateway

ROOT = Path(__file__).parents[2]
LISTEN = "http://127.0.0.1:8080"
"""Where a gateway listens that is not told otherwise."""


@dataclass(frozen=True, slots=True)
class Example:
    """One section: a config, the Python beside it, and (command, what it prints)."""

    title: str
    config: str
    files: dict[str, str]
    calls: list[tuple[str, str]]


def examples() -> Iterator[Example]:
    (part,) = re.findall(r"^## Python in the request path\n(.*?)^## ", (ROOT / "README.md").read_text(), re.M | re.S)
    for section in part.split("\n### ")[1:]:
        (config,) = blocks(section, "yaml")
        files = {text.splitlines()[0].removeprefix("# "): text for text in blocks(section, "python")}
        calls = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks(section, "console")), re.M)
        yield Example(section.splitlines()[0], config, files, calls)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, str]]:
    """The services of the demo; the addresses that config/demo.yaml has for them, and where they really are."""
    with reserve(0, 0) as ports, ExitStack() as stack:
        for kind, listeners in ports.upstreams.items():
            words = [f"{name}=fd:{listener.fileno()}" for name, listener in listeners.items()]
            command = [sys.executable, "-m", "gateway.demo.upstreams", kind, *words]
            keep = [listener.fileno() for listener in listeners.values()]
            process = subprocess.Popen(command, pass_fds=keep)
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
        yield dict(moved(ports))


def moved(ports: Ports) -> Iterator[tuple[str, str]]:
    real = ports.environment()
    for name, written in re.findall(r"\$\{(DEMO_\w+):-([^}]+)\}", (ROOT / "config" / "demo.yaml").read_text()):
        if name not in ("DEMO_LISTEN", "DEMO_ADMIN", "DEMO_TOKEN"):
            yield written, real[name]


EXAMPLES = list(examples())


def test_there_is_one_of_each() -> None:
    answers = ("handler:", "plugins:", "app:", "aggregate:")
    assert [any(answer in each.config for each in EXAMPLES) for answer in answers] == [True] * len(answers)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_example_does_what_it_says(example: Example, upstreams: dict[str, str], tmp_path: Path) -> None:
    config = example.config
    for written, real in upstreams.items():
        config = config.replace(written, real)
    for name, text in example.files.items():
        (tmp_path / name).write_text(text)
    assert example.calls
    with Gateway(config, tmp_path) as gateway:
        for command, printed in example.calls:
            assert LISTEN in command
            here = ["bash", "-c", command.replace(LISTEN, gateway.base_url)]
            done = subprocess.run(here, capture_output=True, text=True, timeout=30, check=False)
            # Sorted: parts of a stream come in the order in which their upstreams answer.
            assert sorted(done.stdout.splitlines()) == sorted(printed.splitlines()), gateway.errors
