"""The README tells the truth: its config loads, its commands, files, metrics and signals exist."""

import ast
import fnmatch
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from gateway.cli import main
from gateway.observe.metrics import FAMILIES
from tests.laws.tree import ROOMS, ROOT, files, parsed, text

README = (ROOT / "README.md").read_text()
MAP = (ROOT / "gateway" / "README.md").read_text()
TEST = re.compile(r"def (test_\w+)\(").findall
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_config_of_the_readme_is_good(tmp_path: Path, gateway_command: Command) -> None:
    (snippet,) = re.findall(r"^## A config\n\n^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
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


def test_rooms_of_the_map_have_these_files_and_no_others() -> None:
    rows = re.findall(r"^\| \d+ \| `(\w+)/` \| (.*) \|$", MAP, re.MULTILINE)
    assert {room for room, _ in rows} == set(ROOMS)
    for room, told in rows:
        named = re.findall(r"`([\w*]+\.(?:py|html))`", told)
        there = {path.name for path in (ROOT / "gateway" / room).rglob("*") if path.suffix in (".py", ".html")}
        assert [name for name in named if not fnmatch.filter(there, name)] == [], room
        unnamed = there.difference({"__init__.py", "settings.py"}, *(fnmatch.filter(there, name) for name in named))
        assert sorted(unnamed) == [], f"{room}: name these in the map"


def test_files_and_tests_of_the_map_exist() -> None:
    named = set(re.findall(r"`(\w+/[\w/]+\.py)`", MAP))
    places = [ROOT / "gateway", ROOT / "tests", ROOT]
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []
    tests = {test for path in files("tests", ends=".py") for test in TEST(text(path))}
    assert set(re.findall(r"`(test_\w+)`", MAP)) <= tests


def test_functions_of_the_map_exist() -> None:
    classes = [
        (node.name, {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)})
        for path in files("gateway", ends=".py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
    ]
    named = re.findall(r"`([A-Z]\w+)\.(\w+)`", MAP)
    assert [call for call in named if not any(call[0] == name and call[1] in own for name, own in classes)] == []


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of config/ with the certificates that the files there speak of."""
    copy = Path(shutil.copytree(ROOT / "config", tmp_path_factory.mktemp("configs") / "config"))
    authority = trustme.CA()
    shown = authority.issue_cert("shop.example.com", "www.example.com")
    for path in copy.rglob("*.yaml"):
        for name in re.findall(r"\b(?:cert|key|ca|client_ca): ([\w./-]+\.(?:pem|key|crt))\b", path.read_text()):
            (path.parent / name).parent.mkdir(exist_ok=True)
            made = shown.private_key_pem if name.endswith(".key") else shown.cert_chain_pems[0]
            (made if "ca" not in name else authority.cert_pem).write_to_path(path.parent / name)
    return copy.parent


@pytest.mark.parametrize("path", [*files("config", ends=".yaml")], ids=str)
def test_every_config_is_good(path: Path, configs: Path) -> None:
    # The reference has every key, and no Python beside it.
    how = ["--no-import"] if path.name == "reference.yaml" else []
    tested = CliRunner().invoke(main, ["test", str(configs / path), *how])
    assert tested.exit_code == 0, tested.output
