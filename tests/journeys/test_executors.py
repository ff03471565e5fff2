"""Executors in a whole gateway: what gets stuck, dies or blocks there costs its own requests, and is seen."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.wait import until

SHOP = """
import os, threading, time

gate = threading.Event()
def stuck(request): gate.wait(); return "at last"
async def let_go(request): gate.set()
async def blocks(request): time.sleep(float(request.args["s"])); return "late"
def price(request): return {"pid": os.getpid()}
def hang(request): threading.Event().wait()
"""

CONFIG = """
executors:
  default: {threads: 2, queue: 2, timeout: 200ms, abandoned: 2}
  pricing: {processes: 2, queue: 100, timeout: 2s}
routes:
  - {name: ping, match: /ping, respond: {body: pong}}
  - {name: stuck, match: /stuck, handler: {run: "shop.py:stuck"}}
  - {name: let-go, match: /let-go, handler: {run: "shop.py:let_go"}}
  - {name: blocks, match: /blocks, handler: {run: "shop.py:blocks"}}
  - {name: price, match: /price, handler: {run: "shop.py:price", executor: pricing}}
  - {name: hang, match: /hang, handler: {run: "shop.py:hang", executor: pricing}}
"""


@pytest.fixture
def gateway(serve: Callable[..., Gateway], tmp_path: Path) -> Gateway:
    (tmp_path / "shop.py").write_text(SHOP)
    return serve(CONFIG.replace("shop.py", str(tmp_path / "shop.py")))


def ask(raw: Raw, path: str) -> Answer:
    raw.send(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
    return raw.answer()


def get(gateway: Gateway, path: str) -> Answer:
    with Raw(gateway.port) as raw:
        return ask(raw, path)


def ask_together(gateway: Gateway, path: str, count: int) -> Counter[tuple[int, str | None]]:
    with ExitStack() as stack:
        raws = [stack.enter_context(Raw(gateway.port)) for _ in range(count)]
        for raw in raws:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        answers = [raw.answer() for raw in raws]
    return Counter((answer.status, answer.reason) for answer in answers)


def workers(gateway: Gateway, executor: str, state: str) -> float:
    return gateway.metric("gateway_executor_workers", executor=executor, state=state)


def test_calls_that_do_not_end_degrade_their_executor_and_nothing_else(gateway: Gateway) -> None:
    answered = ask_together(gateway, "/stuck", 8)
    assert answered[504, "executor_timeout"] >= 4
    assert answered[503, "executor_full"] >= 1
    until(lambda: workers(gateway, "default", "abandoned") == 4)  # two threads, and two that made up for them
    assert gateway.admin("/readyz") == (200, "ready\ndegraded: executor default (worker 0)\n")
    assert {each["name"]: each["degraded"] for each in gateway.status()["executors"]} == {
        "default": True,
        "pricing": False,
    }
    refused = get(gateway, "/stuck")
    assert (refused.status, refused.reason) == (503, "executor_full")
    assert int(refused.get("retry-after") or 0) >= 1
    assert get(gateway, "/ping").status == get(gateway, "/price").status == 200
    assert "executor default is degraded: 4 calls do not end" in gateway.errors
    assert get(gateway, "/let-go").status == 204
    until(lambda: gateway.admin("/readyz") == (200, "ready\n"))
    assert get(gateway, "/stuck").body == b"at last"


def test_stuck_threads_keep_no_gateway_from_ending(gateway: Gateway) -> None:
    ask_together(gateway, "/stuck", 4)
    until(lambda: workers(gateway, "default", "abandoned") >= 2)
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < 5


def test_code_that_blocks_the_loop_is_named(gateway: Gateway) -> None:
    assert get(gateway, "/blocks?s=0.3").body == b"late"
    until(lambda: gateway.metric("gateway_event_loop_blocked_total", code="shop.py:blocks") == 1)
    (line,) = [line for line in gateway.errors.splitlines() if "held up" in line]
    assert "by shop.py:blocks at " in line
    assert line.partition(" at ")[2].split(":")[0].endswith("/shop.py")


def test_kill_9_of_a_process_under_load_costs_what_it_held(gateway: Gateway) -> None:
    pids: list[int] = []
    failed: list[Answer] = []
    going = threading.Event()
    going.set()

    def client() -> None:
        with Raw(gateway.port) as raw:
            while going.is_set():
                answer = ask(raw, "/price")
                if answer.status == 200:
                    pids.append(int(json.loads(answer.body)["pid"]))
                else:
                    failed.append(answer)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        until(lambda: len(pids) > 50)
        for kills in range(1, 4):
            victim, before = pids[-1], len(pids)
            os.kill(victim, signal.SIGKILL)
            until(lambda before=before: len(pids) > before + 50)
            until(lambda victim=victim: victim not in pids[-20:] and len(set(pids[-20:])) == 2)  # it was replaced
            assert len(failed) <= kills
    finally:
        going.clear()
        for each in clients:
            each.join()
    assert {(answer.status, answer.reason) for answer in failed} <= {(500, "handler_error")}
    until(lambda: workers(gateway, "pricing", "idle") == 2)


def test_a_process_that_hangs_is_ended_at_the_deadline(gateway: Gateway) -> None:
    assert ask_together(gateway, "/hang", 2) == {(504, "executor_timeout"): 2}
    until(lambda: workers(gateway, "pricing", "idle") == 2)
    assert get(gateway, "/price").status == 200
    assert gateway.metric("gateway_executor_tasks_total", executor="pricing", outcome="timeout") == 2
