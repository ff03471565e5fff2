"""The command line as a user calls it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.laws.tree import ROOT


@pytest.fixture
def gateway_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`gateway_command("check", path, NAME=value)`: runs `gateway check path` with NAME in its environment."""

    def run(*words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "gateway", *map(str, words)],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
