"""Keeping workers alive, with real processes whose behaviour the test chooses."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest

from gateway.observe.memory import SharedMemory, WorkerState
from gateway.runtime.control import Control, Drain, Message
from gateway.runtime.launch import Launcher, Process
from gateway.runtime.workers import BACKOFF_S, RollError, StartError, Workers


class Crew:
    """Workers over fake processes; `launched` holds every process ever started."""

    def __init__(self, count: int, hung_after_s: float) -> None:
        self.memory = SharedMemory(SharedMemory.create(count + 1))
        self.launched: list[Process] = []
        self.times: list[float] = []
        self.loop = asyncio.get_running_loop()
        self._launch = Launcher(
            slots=count + 1, settings=self.memory.fd, memory=self.memory.fd, sockets=(), module="tests.support.worker"
        )
        self.workers = Workers(
            self.loop, self.memory.slots[:-1], self.launch, spare=self.memory.slots[-1], hung_after_s=hung_after_s
        )

    def launch(self, slot: int) -> Process:
        self.times.append(self.loop.time())
        self.launched.append(self._launch(slot))
        return self.launched[-1]

    def serving(self) -> bool:
        return self.states().count(WorkerState.SERVING) == len(self.memory.slots) - 1

    def states(self) -> list[WorkerState]:
        return [slot.state for slot in self.memory.slots]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - another process's state has no event
                await asyncio.sleep(0.01)


Hire = Callable[..., Crew]


@pytest.fixture
async def hire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hire]:
    crews: list[Crew] = []

    def make(behaviour: str, count: int = 1, hung_after_s: float = 10.0) -> Crew:
        monkeypatch.setenv("FAKE_WORKER", behaviour)
        crews.append(Crew(count, hung_after_s))
        return crews[-1]

    yield make
    for crew in crews:
        await crew.workers.kill()
        assert all(process.end() for process in crew.launched)
        os.close(crew.memory.fd)


async def test_start_returns_when_all_serve(hire: Hire) -> None:
    crew = hire("serve", 2)
    await crew.workers.start()
    assert crew.serving()
    assert [slot.pid for slot in crew.memory.slots[:-1]] == [process.pid for process in crew.launched]


@pytest.mark.parametrize(
    ("behaviour", "words"), [("fail", "cannot start: no such thing"), ("exit", "ended (exit code 3)")]
)
async def test_start_fails_when_none_can(hire: Hire, behaviour: str, words: str) -> None:
    crew = hire(behaviour, 2)
    with pytest.raises(StartError) as caught:
        await crew.workers.start()
    assert words in str(caught.value)
    assert len(crew.launched) == 2


async def test_start_fails_when_no_process_can_be_made(hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = hire("serve")
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with pytest.raises(StartError, match="cannot be started"):
        await crew.workers.start()


async def test_a_killed_worker_is_replaced_at_once_and_counted(hire: Hire) -> None:
    crew = hire("serve", 2)
    await crew.workers.start()
    first = crew.launched[0]
    first.popen.kill()
    await crew.until(lambda: len(crew.launched) == 3 and crew.serving())
    assert crew.workers.restarts == {"killed": 1}
    assert crew.memory.slots[0].pid == crew.launched[2].pid
    assert crew.memory.slots[1].pid == crew.launched[1].pid


async def test_one_that_ends_again_and_again_is_slowed_down(hire: Hire) -> None:
    crew = hire("flap")
    await crew.workers.start()
    await crew.until(lambda: len(crew.launched) == 4)
    pauses = [later - earlier for earlier, later in pairwise(crew.times)]
    # Lower bounds, which hold however slow the machine is.
    assert pauses[1] >= BACKOFF_S[1]
    assert pauses[2] >= BACKOFF_S[2]
    assert crew.workers.restarts["exit"] == 3


async def test_a_worker_whose_start_fails_later_is_tried_again(hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = hire("serve")
    await crew.workers.start()
    monkeypatch.setenv("FAKE_WORKER", "fail")
    crew.launched[0].popen.kill()
    await crew.until(lambda: len(crew.launched) == 2)
    monkeypatch.setenv("FAKE_WORKER", "serve")
    await crew.until(lambda: len(crew.launched) == 3 and crew.serving())


async def test_a_hung_worker_is_killed_and_replaced(hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = hire("hang", hung_after_s=2.0)
    await crew.workers.start()
    monkeypatch.setenv("FAKE_WORKER", "serve")
    await crew.until(lambda: len(crew.launched) == 2 and crew.serving())
    assert crew.workers.restarts == {"hung": 1}
    assert crew.launched[0].end() == "SIGKILL"


async def test_a_worker_that_ends_by_a_signal_without_a_name_is_replaced(hire: Hire) -> None:
    crew = hire("serve")
    await crew.workers.start()
    crew.launched[0].popen.send_signal(signal.SIGRTMIN + 3)
    await crew.until(lambda: len(crew.launched) == 2 and crew.serving())
    assert crew.launched[0].end() == f"signal {signal.SIGRTMIN + 3}"


async def test_a_stopped_worker_is_hung(hire: Hire) -> None:
    crew = hire("serve", hung_after_s=2.0)
    await crew.workers.start()
    crew.launched[0].popen.send_signal(signal.SIGSTOP)
    await crew.until(lambda: len(crew.launched) == 2 and crew.serving())
    assert crew.workers.restarts == {"hung": 1}


async def test_drain_ends_all_and_replaces_none(hire: Hire) -> None:
    crew = hire("serve", 2)
    await crew.workers.start()
    await crew.workers.drain(10)
    assert [process.end() for process in crew.launched] == ["exit code 0"] * 2
    assert not crew.workers.restarts


async def test_drain_kills_who_does_not_end(hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtime.workers.CUT_S", 0.2)
    crew = hire("hang")
    await crew.workers.start()
    await crew.workers.drain(0.1)
    assert crew.launched[0].end() == "SIGKILL"


async def test_the_end_does_not_wait_for_a_replacement(hire: Hire) -> None:
    crew = hire("flap")
    await crew.workers.start()
    await crew.until(lambda: len(crew.launched) == 2 and crew.launched[1].end())
    await crew.until(lambda: crew.workers.restarts["exit"] == 2)
    await asyncio.wait_for(crew.workers.kill(), 5)
    assert len(crew.launched) == 2


# --- rolling ---------------------------------------------------------------------------------------------------------


async def test_a_roll_replaces_all_and_leaves_one_slot_to_spare(hire: Hire) -> None:
    crew = hire("serve", 2)
    await crew.workers.start()
    for turn in (1, 2):
        await crew.workers.roll(10)
        assert crew.serving()
        assert len(crew.launched) == 2 + 2 * turn
        assert [process.end() for process in crew.launched[:-2]] == ["exit code 0"] * 2 * turn
        assert crew.states().count(WorkerState.RETIRED) == 1
    assert not crew.workers.restarts


async def test_the_successor_serves_before_the_old_one_is_told_to_end(
    hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = hire("serve")
    await crew.workers.start()
    seen: list[list[WorkerState]] = []
    send = Control.send

    def note(control: Control, message: Message) -> bool:
        if isinstance(message, Drain):
            seen.append(crew.states())
        return send(control, message)

    monkeypatch.setattr(Control, "send", note)
    await crew.workers.roll(10)
    assert seen == [[WorkerState.SERVING, WorkerState.SERVING]]


@pytest.mark.parametrize(("behaviour", "words"), [("fail", "it cannot start: no such thing"), ("exit", "it ended")])
async def test_a_roll_ends_with_the_first_that_cannot_start(
    hire: Hire, monkeypatch: pytest.MonkeyPatch, behaviour: str, words: str
) -> None:
    crew = hire("serve", 2)
    await crew.workers.start()
    monkeypatch.setenv("FAKE_WORKER", behaviour)
    with pytest.raises(RollError, match=words):
        await crew.workers.roll(10)
    assert crew.serving()
    assert len(crew.launched) == 3
    assert [process.end() for process in crew.launched[:2]] == [None, None]
    monkeypatch.setenv("FAKE_WORKER", "serve")
    await crew.workers.roll(10)
    assert crew.serving()


async def test_a_roll_ends_when_no_process_can_be_made(hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = hire("serve")
    await crew.workers.start()
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/no/such/python")
        with pytest.raises(RollError):
            await crew.workers.roll(10)
    await crew.workers.roll(10)
    assert crew.serving()


async def test_an_old_worker_that_does_not_end_is_killed(hire: Hire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtime.workers.CUT_S", 0.2)
    crew = hire("hang")
    await crew.workers.start()
    monkeypatch.setenv("FAKE_WORKER", "serve")
    await crew.workers.roll(0.1)
    assert crew.launched[0].end() == "SIGKILL"
    assert crew.serving()


async def test_a_roll_that_is_interrupted_leaves_nobody_behind(hire: Hire) -> None:
    crew = hire("serve", 2)
    await crew.workers.start()
    roll = asyncio.create_task(crew.workers.roll(10))
    await crew.until(lambda: len(crew.launched) == 3)
    roll.cancel()
    await crew.workers.drain(10)
    assert [process.end() for process in crew.launched] == ["exit code 0"] * 3
