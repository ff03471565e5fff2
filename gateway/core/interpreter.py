"""Starting a module of the gateway in a fresh interpreter."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import gateway

NICE = 5
"""For what goes on beside the workers: a third of the weight of one that competes for the same core."""


def command(module: str, *arguments: str) -> list[str]:
    """The command line. -P: a json.py in the directory the gateway was started in is not ours."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Our environment over `more`, and the way to this package where only the current directory led to it."""
    found = {**more, **os.environ}
    root = str(Path(gateway.__file__).parents[1])
    if root not in sys.path[1:]:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, (root, found.get("PYTHONPATH"))))
    return found
