"""The programs here still run: nothing else calls them, so a change of what they use would go unseen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = sorted(each.name for each in HERE.iterdir() if each.is_file() and not each.suffix)


def run(*command: str) -> str:
    """What it prints; it has to end well."""
    program = [sys.executable, *command]
    done = subprocess.run(program, check=False, cwd=HERE.parents[1], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_says_what_it_can_do(name: str) -> None:
    """All that it imports is there."""
    assert name in run(str(HERE / name), "--help")


def test_the_path_is_measured_under_every_load() -> None:
    costs = json.loads(run(str(HERE / "path"), "--rounds", "1", "--exchanges", "160", "--json"))
    assert {"get", "post", "chunked"} <= costs.keys()
    assert all(0 < cost < 10_000 for cost in costs.values()), costs
