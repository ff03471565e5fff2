"""Calls in other processes: what crosses, and what becomes of those that hang or die."""

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import GatewaySettings
from gateway.core import current
from gateway.core.clock import monotonic
from gateway.core.errors import GatewayError
from gateway.executors.process import ProcessDied
from gateway.runtime.executor_process import steps_of
from tests.executors.conftest import Made, eventually
from tests.laws.tree import ROOT
from tests.support import remote_code as code


async def started(made: Made, steps: Any = None, **settings: Any) -> Any:
    executor = made(steps, **{"processes": 1, "queue": 100, "timeout_s": 20.0, **settings})
    await made.executors[-1].start()
    return executor


def runs(pid: int) -> bool:
    """Whether a process is there that is not a zombie."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_results_errors_and_the_request_cross(made: Made) -> None:
    executor = await started(made)
    assert await executor.call(code.add, 2, 3) == 5
    assert await executor.call(code.pid) == executor.processes.pids[0] != os.getpid()
    with pytest.raises(ValueError, match="no such thing") as raised:
        await executor.call(code.fail)
    assert "remote_code.py" in str(raised.value.__cause__)
    with pytest.raises(GatewayError) as refused:
        await executor.call(code.refuse)
    assert refused.value.reason.name == "bad_request"
    current.enter("r-1", 12.0)
    assert await executor.call(code.request) == ("r-1", 12.0)


async def test_what_cannot_cross_says_so(made: Made) -> None:
    executor = await started(made)
    with pytest.raises(TypeError, match=r"test_processes:.* cannot be called in another process"):
        await executor.call(lambda: 1)
    with pytest.raises(TypeError, match="remote_code:unpicklable returned cannot leave its process"):
        await executor.call(code.unpicklable)
    with pytest.raises(Exception, match="Odd: 1 and 2"):
        await executor.call(code.fail_oddly)
    with pytest.raises(RuntimeError, match="SystemExit"):
        await executor.call(code.leave, 3)
    with pytest.raises(TypeError, match="use threads"):
        executor.stream([b"x"])
    assert await executor.call(code.add, 1, 1) == 2


async def test_large_values_cross(made: Made) -> None:
    executor = await started(made)
    data = os.urandom(5 * 1024 * 1024)
    assert await executor.call(code.add, data, data) == data + data


async def test_a_process_that_dies_costs_its_own_call(made: Made) -> None:
    executor = await started(made)
    died, *others = await asyncio.gather(
        executor.call(code.die, 7), *[executor.call(code.add, 1, 1) for _ in range(5)], return_exceptions=True
    )
    assert isinstance(died, ProcessDied)
    assert str(died) == "the process of the executor default ended in the middle of the call (exit code 7)"
    assert others == [2] * 5
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="error") == 1


async def test_a_process_that_hangs_is_replaced_with_all_that_it_started(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = await started(made)
    told = tmp_path / "pids"
    hanging = asyncio.create_task(executor.call(code.say_and_hang, str(told), deadline=monotonic() + 2))
    await eventually(lambda: told.exists() and len(told.read_text().split()) == 2)
    pids = [int(word) for word in told.read_text().split()]
    assert all(runs(pid) for pid in pids)
    with pytest.raises(GatewayError, match="waited longer"):  # nobody is killed for what waits
        await executor.call(code.add, 1, 1, deadline=monotonic() + 0.02)
    assert all(runs(pid) for pid in pids)
    behind = asyncio.create_task(executor.call(code.add, 1, 1))
    with pytest.raises(GatewayError, match="ran longer"):
        await hanging
    assert await behind == 2
    assert "ended (killed: its call ran longer than it may) and is replaced" in caplog.text
    await eventually(lambda: not any(runs(pid) for pid in pids))
    assert made.count("gateway_executor_workers", executor="default", state="abandoned") == 0
    assert made.count("gateway_executor_tasks_total", executor="default", outcome="timeout") == 2


@pytest.mark.parametrize("how", ["returns", "raises", "exits"])
async def test_a_copy_that_the_code_makes_of_its_process_answers_nobody(made: Made, how: str) -> None:
    executor = await started(made)
    for _ in range(3):
        assert await executor.call(code.fork, how) == "the original"
        assert await executor.call(code.add, 1, 1) == 2


async def test_kill_9_under_load_costs_one_call_each(made: Made) -> None:
    executor = await started(made, processes=2)
    kills, results = 5, []
    going = True

    async def client() -> None:
        while going:
            try:
                results.append(await executor.call(code.add, 20, 22))
            except ProcessDied as died:
                results.append(died)

    clients = [asyncio.create_task(client()) for _ in range(8)]
    for number in range(kills):
        before = len(results)
        os.kill(executor.processes.pids[number % 2], signal.SIGKILL)
        await eventually(lambda before=before: len(results) > before + 50 and len(executor.processes.pids) == 2)
    going = False
    await asyncio.gather(*clients)
    failed = [each for each in results if each != 42]
    assert len(failed) <= kills
    assert all("SIGKILL" in str(each) for each in failed)
    await eventually(lambda: executor.stats()["idle"] == 2)
    assert (executor.stats()["busy"], executor.stats()["waiting"]) == (0, 0)


async def test_one_that_dies_while_idle_is_replaced(made: Made) -> None:
    executor = await started(made)
    before = executor.processes.pids[0]
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: not runs(before))
    assert await executor.call(code.add, 1, 1) == 2  # it waits for the next one, and does not fail
    between = executor.processes.pids[0]
    os.kill(between, signal.SIGKILL)

    def is_replaced() -> bool:
        made.registry.flush(monotonic())
        return executor.stats()["idle"] == 1 and between not in executor.processes.pids

    await eventually(is_replaced)


async def test_a_place_outlives_a_system_without_more_threads(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    executor = await started(made)
    before = await executor.call(code.pid)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(ProcessDied):
            await executor.call(code.die, 3)
        executor.measure()
        assert made.executors[0].degraded == [0]
    assert executor.processes.pids == []
    assert not runs(before)
    executor.measure()
    assert await executor.call(code.add, 1, 1) == 2


async def test_who_is_free_for_longest_comes_first(made: Made) -> None:
    executor = await started(made, processes=2)
    pids = [await executor.call(code.pid) for _ in range(4)]
    assert pids == [*pids[:2], *pids[:2]]
    assert len(set(pids)) == 2


async def test_one_that_cannot_start_says_why(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ProcessDied, match="cannot start: ImportError: no module named shop"):
        await started(made, lambda name: lambda: [(code.fail_to_start, ())])
    made.registry.flush(monotonic())
    assert made.executors[-1].degraded == [0]
    assert "executor default is degraded: a process cannot start: ImportError" in caplog.text
    executor = made.executors[-1].get("")
    with pytest.raises(ProcessDied, match="no module named shop"):  # once it is hopeless, nobody waits for the timeout
        await executor.call(code.add, 1, 1)


async def test_steps_that_cannot_be_made_fail_the_start_and_so_does_its_end(made: Made) -> None:
    def steps() -> Any:
        raise LookupError("no steps")

    executor = made(lambda name: steps, processes=1)
    with pytest.raises(ProcessDied, match="default cannot start: LookupError: no steps"):
        await asyncio.wait_for(made.executors[-1].start(), 20)
    assert executor.processes.pids == []
    (ready,) = executor.processes.start()
    assert not ready.cancel(), "who waits for it may leave, and its thread still can end it"
    made.executors[-1].close()
    with pytest.raises(ProcessDied, match="cannot start"):
        await asyncio.wait_for(asyncio.wrap_future(ready), 20)


async def test_it_runs_steps_first_and_logs_as_told(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    executor = await started(made, steps_of(GatewaySettings(listen=(), routes=())))
    current.enter("r-1", 12.0)
    await executor.call(code.log, "paid")
    assert "warning [executor default] request r-1: paid\n" in capfd.readouterr().err


def test_what_an_error_keeps_survives_the_crossing() -> None:
    error = pickle.loads(pickle.dumps(GatewayError("executor_full", "why", status=500, retry_after_s=3.0)))
    assert (error.reason.name, error.detail, error.status, error.retry_after_s) == ("executor_full", "why", 500, 3.0)


WORKER = """
import asyncio, sys
from gateway.executors.registry import Executors
from gateway.executors.settings import ExecutorSettings
from gateway.observe.registry import Registry
from tests.support import remote_code as code

async def main():
    executors = Executors([ExecutorSettings("default", processes=2)], Registry(), asyncio.get_running_loop())
    await executors.start()
    executor = executors.get("")
    asyncio.get_running_loop().create_task(executor.call(code.say_and_hang, sys.argv[1]))
    print(*executor.processes.pids, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_they_end_with_the_worker_also_in_the_middle_of_a_call(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    command = [sys.executable, "-c", WORKER, str(told)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:  # noqa: ASYNC220 - as brief
        assert worker.stdout is not None
        pids = [int(word) for word in worker.stdout.readline().split()]
        await eventually(lambda: told.exists() and told.read_text())
        assert all(runs(pid) for pid in pids)
        worker.kill()
    assert len(pids) == 2
    await eventually(lambda: not any(runs(pid) for pid in pids))
    with suppress(ProcessLookupError):  # what a process started itself ends with it only where the worker could end it
        os.kill(int(told.read_text().split()[1]), signal.SIGKILL)
