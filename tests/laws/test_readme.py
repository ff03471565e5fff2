"""The README tells the truth: its config loads, its commands, files, metrics and signals exist."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.observe.metrics import FAMILIES
from tests.laws.tree import ROOT, files

README = (ROOT / "README.md").read_text()
MAP = (ROOT / "gateway" / "README.md").read_text()
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_config_of_the_readme_is_good(tmp_path: Path, gateway_command: Command) -> None:
    (snippet,) = blocks("yaml")
    assert len(snippet.splitlines()) <= 18
    config = tmp_path / "gateway.yaml"
    config.write_text(snippet)
    checked = gateway_command("check", config)
    assert (checked.returncode, checked.stderr) == (0, "")
    tested = gateway_command("test", config)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_commands_of_the_readme_are_those_that_exist(gateway_command: Command) -> None:
    rows = re.findall(r"^\| (`gateway [^|]*)\|", README, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`gateway (\w+)", row)}
    listed = gateway_command("--help").stdout.partition("Commands:")[2]
    assert told == set(re.findall(r"^  (\w+)", listed, re.MULTILINE))


@pytest.mark.parametrize("text", [README, MAP], ids=["README", "map"])
def test_metrics_exist(text: str) -> None:
    labels = {family.name: set(family.labels) for family in FAMILIES.values()}
    named = re.findall(r"`(gateway_\w+)(?:\{([^}]*)\})?`", text)
    assert [name for name, _ in named if name not in labels] == []
    assert [name for name, told in named if told and not set(told.split(",")) <= labels[name]] == []


@pytest.mark.parametrize("text", [README, MAP], ids=["README", "map"])
def test_files_exist(text: str) -> None:
    named = set(re.findall(r"`((?:deploy|config|tests|gateway)/[\w./-]*)", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name.rstrip(".")).exists()] == []


@pytest.mark.parametrize("path", [*files("config", ends=".yaml")], ids=str)
def test_every_config_is_good(path: Path, gateway_command: Command) -> None:
    checked = gateway_command("check", path)
    assert checked.returncode == 0, checked.stderr


def test_demo_config_passes_its_own_tests(gateway_command: Command) -> None:
    tested = gateway_command("test", "config/demo.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
