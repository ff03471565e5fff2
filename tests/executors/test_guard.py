"""Who holds up the loop is found, named and counted."""

import asyncio
import logging
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from gateway.core.clock import monotonic
from gateway.executors.guard import QUIET_S, LoopGuard, culprit
from gateway.observe.registry import Registry
from tests.executors.conftest import eventually

EVERY_S = 0.005
THRESHOLD_S = 0.2
"""A busy machine may hold up the loop by itself for less."""


class Watched:
    """A loop that beats under a guard."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.guard = LoopGuard(self.registry, threshold_s=THRESHOLD_S, every_s=EVERY_S, below=_below(sys._getframe()))
        self.guard.start()
        self._beat()

    def _beat(self) -> None:
        self.guard.beat(monotonic())
        self._handle = asyncio.get_running_loop().call_later(EVERY_S, self._beat)

    def close(self) -> None:
        self._handle.cancel()
        self.guard.close()

    def blocked(self) -> dict[str, float]:
        self.registry.flush(0.0)
        found = {values[0]: cell for (name, values), cell in self.registry._index.items() if "blocked" in name}
        return {code: self.registry.cells[cell] for code, cell in found.items() if self.registry.cells[cell]}


def _below(frame: FrameType) -> FrameType:
    """The frame that runs the loop of the test."""
    while not frame.f_globals["__name__"].startswith("asyncio.") or frame.f_code.co_name != "run_forever":
        assert frame.f_back is not None
        frame = frame.f_back
    assert frame.f_back is not None
    return frame.f_back


@pytest.fixture
async def watched() -> Any:
    made = Watched()
    yield made
    made.close()


def hold_up(until: threading.Event) -> None:
    """Blocks as a user's handler would."""
    assert until.wait(10)


def released_by(watched: Watched) -> threading.Event:
    """An event that another thread sets when the guard has looked."""
    seen, before = threading.Event(), sum(watched.guard._blocked.values())

    def watch() -> None:
        while sum(watched.guard._blocked.values()) == before:
            time.sleep(0.001)
        seen.set()

    threading.Thread(target=watch, daemon=True).start()
    return seen


async def test_the_code_is_named_counted_and_logged_once(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        hold_up(released_by(watched))
        await eventually(lambda: monotonic() - watched.guard._beat < EVERY_S)
    (code,) = watched.blocked()
    assert code.endswith("test_guard:hold_up")
    assert watched.blocked()[code] == 3
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"by {code} at {__file__}:" in record.getMessage()
    watched.guard._told_at[code] -= QUIET_S
    hold_up(released_by(watched))
    await eventually(lambda: len(caplog.records) == 2)  # the guard counts before it tells
    assert " (3 times since this was last said) by" in caplog.records[1].getMessage()


async def test_a_loop_that_turns_is_left_alone(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    beats = []
    await eventually(lambda: beats.append(watched.guard._beat) or len(set(beats)) > 30)
    assert watched.blocked() == {}
    assert caplog.text == ""


def blamed_of(*stack: tuple[str, str, str]) -> str | None:
    """The function that is blamed when those (module, file, function) call one another, the first one being below."""

    def look() -> str | None:
        frame = below = sys._getframe(1)
        while below.f_code.co_name != stack[0][2]:
            assert below.f_back is not None
            below = below.f_back
        found = culprit(frame, below)
        return None if found is None else found.f_code.co_name

    call: Any = look
    for module, path, name in reversed(stack):
        space: dict[str, Any] = {"__name__": module, "call": call}
        exec(compile(f"def {name}():\n    return call()\n", path, "exec"), space)
        call = space[name]
    result: str | None = call()
    return result


RUNNER = ("gateway.runtime.worker", "/gateway/runtime/worker.py", "runner")
LOOP = ("asyncio.base_events", asyncio.base_events.__file__, "run_once")
LANE = ("gateway.pipeline.lane", LoopGuard.__init__.__code__.co_filename, "lane")
STANDARD = ("json", asyncio.__file__, "dumps")
INSTALLED = ("requests", pytest.__file__, "get")
USERS = ("shop.price", "/srv/shop/price.py", "quote")


@pytest.mark.parametrize(
    ("stack", "blamed"),
    [
        ([LOOP, LANE, USERS], "quote"),
        ([LOOP, LANE, USERS, INSTALLED, STANDARD], "quote"),
        ([LOOP, LANE, INSTALLED, STANDARD], "get"),
        ([LOOP, LANE, STANDARD], "lane"),
        ([LOOP, LANE], "lane"),
        ([LOOP, STANDARD], "dumps"),
        ([LOOP], None),
        ([], None),
    ],
)
def test_whom_to_blame(stack: list[tuple[str, str, str]], blamed: str | None) -> None:
    assert blamed_of(RUNNER, *stack) == blamed
