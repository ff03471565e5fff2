"""Executors come, go and change with a reload, while calls run."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.journeys.test_reload import ADDRESSES, change, get, reload
from tests.support.gateway import Gateway
from tests.support.wait import until

Serve = Callable[..., Gateway]
CODE = """
import os, threading, time
from pathlib import Path
from gateway import Response

def where(request):
    return Response(f"{os.getpid()} {threading.current_thread().name}")

def when_let(request):
    '''Returns once the file is there.'''
    while not Path(request.query).exists():
        time.sleep(0.01)
    return Response(f"{os.getpid()} {threading.current_thread().name}")

def other(request):
    return where(request)

def threads(request):
    return Response(" ".join(each.name for each in threading.enumerate() if each.name.startswith("executor-")))
"""


def config(executors: str, **routes: str) -> str:
    """routes: `function executor` by the name of the route."""
    lines = []
    for name, place in routes.items():
        function, executor = place.split()
        lines.append(
            f"  - {{name: {name}, match: /{name}, handler: {{run: '../code.py:{function}', executor: {executor}}}}}\n"
        )
    return f"workers: 1\nexecutors: {{{executors}}}\nroutes:\n" + "".join(lines)


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Callable[[str], Gateway]:
    (tmp_path / "code.py").write_text(CODE)
    return serve


def answer(gateway: Gateway, path: str) -> list[str]:
    status, body = get(gateway.port, path)
    assert status == 200, body
    return body.decode().split()


def limit(gateway: Gateway, name: str) -> float:
    return gateway.metric("gateway_executor_queue_limit", executor=name)


def lives(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_an_executor_of_threads_is_added_changed_and_removed(served: Serve) -> None:
    gateway = served(config("kept: {threads: 1}, old: {threads: 1, queue: 5}", a="where kept", b="where old"))
    kept, old = answer(gateway, "/a"), answer(gateway, "/b")
    change(
        gateway,
        config(
            "kept: {threads: 1}, old: {threads: 2, queue: 7}, new: {threads: 1}",
            a="where kept",
            b="where old",
            c="where new",
        ),
    )
    assert answer(gateway, "/a") == kept
    assert answer(gateway, "/b")[0] == old[0]
    assert answer(gateway, "/c")[1].startswith("executor-new")
    until(lambda: limit(gateway, "old") == 7, 5, "the new queue")
    executors = {each["name"]: each for each in gateway.status()["executors"]}
    assert list(executors) == ["default", "kept", "old", "new"]
    until(lambda: gateway.metric("gateway_executor_tasks_total", executor="old", outcome="ok") == 2, 5, "both counts")
    change(gateway, config("kept: {threads: 1}", a="where kept"))
    until(lambda: limit(gateway, "old") == limit(gateway, "new") == 0, 5, "the end of two")
    assert answer(gateway, "/a") == kept
    assert gateway.metric("gateway_executor_tasks_total", executor="old", outcome="ok") == 2


def test_a_call_under_way_ends_on_the_executor_that_it_began_on(served: Serve, tmp_path: Path) -> None:
    gateway = served(config("old: {threads: 1, timeout: 30s}", a="when_let old"))
    go = tmp_path / "go"
    with ThreadPoolExecutor(2) as clients:
        running = clients.submit(answer, gateway, f"/a?{go}")
        until(lambda: gateway.metric("gateway_executor_workers", executor="old", state="busy") == 1, 5, "a call")
        waiting = clients.submit(answer, gateway, f"/a?{go}")
        until(lambda: gateway.metric("gateway_executor_queue_depth", executor="old") == 1, 5, "one that waits")
        change(gateway, config("new: {threads: 1}", a="threads new"))
        assert sorted(answer(gateway, "/a")) == ["executor-new-1", "executor-old-1"]
        assert not running.done()
        go.touch()
        assert running.result(10)[1].startswith("executor-old")
        assert waiting.result(10)[1].startswith("executor-old")
    until(lambda: limit(gateway, "old") == 0, 10, "the end of the old one")
    until(lambda: answer(gateway, "/a") == ["executor-new-1"], 5, "the end of its thread")


def test_processes_stay_with_their_steps_and_are_new_with_others(served: Serve, tmp_path: Path) -> None:
    kept = "kept: {processes: 1}"
    gateway = served(config(f"{kept}, old: {{processes: 1, timeout: 30s}}", a="where kept", b="when_let old"))
    first = answer(gateway, "/a")[0]
    go = tmp_path / "go"
    with ThreadPoolExecutor(1) as clients:
        running = clients.submit(answer, gateway, f"/b?{go}")
        until(lambda: gateway.metric("gateway_executor_workers", executor="old", state="busy") == 1, 5, "a call")
        change(gateway, config(kept, a="where kept", c="where default"))
        assert answer(gateway, "/a")[0] == first
        go.touch()
        removed = running.result(10)[0]
    until(lambda: not lives(removed), 10, "the end of the removed process")
    change(gateway, config(kept, a="where kept", b="other kept"))
    second = answer(gateway, "/a")[0]
    assert second != first
    assert answer(gateway, "/b")[0] == second
    until(lambda: not lives(first), 10, "the end of the process with the old steps")


def test_python_that_a_process_cannot_import_refuses_the_reload(served: Serve, tmp_path: Path) -> None:
    gateway = served(config("kept: {processes: 1}", a="where kept"))
    before = answer(gateway, "/a")
    (tmp_path / "only_here.py").write_text(
        "import multiprocessing, os, sys\n"
        "if 'gateway.executors.child' in ' '.join(sys.orig_argv): raise OSError('no license in a process')\n"
        "def where(request): return None\n"
    )
    text = config("kept: {processes: 1}, more: {processes: 1}", a="where kept", b="where more")
    gateway.config.write_text(
        ADDRESSES + text.replace("code.py:where', executor: more", "only_here.py:where', executor: more")
    )
    status, document = reload(gateway)
    assert (status, len(document["errors"])) == (422, 1)
    assert "no license in a process" in document["errors"][0]
    assert answer(gateway, "/a") == before


def test_executors_change_under_load_and_no_call_fails(served: Serve) -> None:
    def text(number: int) -> str:
        return config(f"t: {{threads: {2 + number}}}, p: {{processes: {1 + number % 2}}}", a="where t", b="where p")

    gateway = served(text(0))
    stop, seen = threading.Event(), list[int]()

    def drive(path: str) -> None:
        while not stop.is_set():
            seen.append(get(gateway.port, path)[0])

    clients = [threading.Thread(target=drive, args=(path,)) for path in ("/a", "/b") * 2]
    for each in clients:
        each.start()
    for number in (1, 2, 3):
        change(gateway, text(number))
    stop.set()
    for each in clients:
        each.join(10)
    assert set(seen) == {200}
    assert len(seen) > 100
