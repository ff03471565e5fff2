"""What stands where, and what must not stand anywhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.laws.tree import PARTS, ROOMS, ROOT, files, parsed, text

TOP = {"pyproject.toml", "gateway", "config", "tests", "deploy", "README.md", "LICENSE"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b|NotImplementedError")
LEFT_OUT = re.compile(r"pytest\.(mark\.)?(skip|xfail)|importorskip|unittest\.mock")
SLEEPS = ("time.sleep", "asyncio.sleep")
VAGUE = re.compile(r"(^|_)(backend|endpoint|service|manager|utils?|helpers?)s?(_|$)|^pools?$")


def test_top_level_is_as_designed() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert visible - {"build", "dist", "floodgate.egg-info"} == TOP


def test_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= {*ROOMS, "support", "journeys", "laws", "bench"}


def test_every_room_is_one_of_the_design() -> None:
    assert {path.parent.name for path in (ROOT / "gateway").glob("*/__init__.py")} == set(ROOMS)


def test_nothing_is_unfinished_or_left_out() -> None:
    found = [
        f"{path}: {match[0]}"
        for path in files(*PARTS)
        if ROOT / path != Path(__file__)  # which has to name them
        for pattern in (UNFINISHED, LEFT_OUT)
        for match in pattern.finditer(text(path))
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    assert [str(path) for path in files("gateway", ends=".py") if not ast.get_docstring(parsed(path))] == []


def test_names_have_one_meaning() -> None:
    vague = [
        f"{path}:{line}: {name}"
        for path in files("gateway", ends=".py")
        for name, line in [(path.stem, 1), *defined(parsed(path))]
        if VAGUE.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    ]
    assert vague == []


def defined(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Names of classes, functions, arguments and variables that a file makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


def test_tests_wait_for_conditions() -> None:
    """A sleep stands in a loop that asks for a condition, or says in its line why time itself is what is waited for."""
    sleeps = [
        f"{path}:{line}"
        for path in files("tests", ends=".py")
        if path.parts[1] not in ("support", "bench")
        for line in sleeping(parsed(path))
        if "#" not in text(path).splitlines()[line - 1]
    ]
    assert sleeps == []


def sleeping(tree: ast.Module) -> Iterator[int]:
    """Lines of sleeps that are not the body of a `while not condition:`."""
    asks = {
        id(call)
        for loop in ast.walk(tree)
        if isinstance(loop, ast.While) and not isinstance(loop.test, ast.Constant)
        for call in ast.walk(loop)
    }
    for node in ast.walk(tree):
        sleeps = isinstance(node, ast.Call) and ast.unparse(node.func) in SLEEPS
        if sleeps and id(node) not in asks and ast.unparse(node.args[0]) != "0":
            yield node.lineno
