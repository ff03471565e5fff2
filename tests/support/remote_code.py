"""Functions for the processes of executors, which import them by name."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from gateway.core import current
from gateway.core.errors import GatewayError


class Odd(Exception):
    """Cannot be made again from what it keeps."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def add(one: int, other: int) -> int:
    return one + other


def pid() -> int:
    return os.getpid()


def request() -> tuple[str, float]:
    return current.request_id.get(), current.deadline.get()


def log(text: str) -> None:
    logging.getLogger("shop").warning(text)


def fail() -> None:
    raise ValueError("no such thing")


def refuse() -> None:
    raise GatewayError("bad_request", "the body is not valid JSON", retry_after_s=3.0)


def fail_oddly() -> None:
    raise Odd(1, 2)


def leave(code: int) -> None:
    sys.exit(code)


def die(code: int) -> None:
    os._exit(code)


def fork(how: str) -> str:
    """The copy returns, raises or exits where this would."""
    if os.fork():
        return "the original"
    if how == "raises":
        raise ValueError("of the copy")
    if how == "exits":
        sys.exit(0)
    return "the copy"


def unpicklable() -> object:
    return threading.Lock()


def say_and_hang(path: str) -> None:
    """Write our pid and that of a child of ours that would run on; then wait for ever."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def fail_to_start() -> None:
    raise ImportError("no module named shop")
