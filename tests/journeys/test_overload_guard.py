"""A worker with too much to do refuses a part of what is new, and says so; health checks go on."""

import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.upstream import Upstream
from tests.support.wait import until

CODE = """
import time
async def blocks(request): time.sleep(0.1); return "late"
async def quick(request): return "ok"
"""

CONFIG = """
queues: {checkout: {weight: 10}}
upstreams: {orders: "http://127.0.0.1:PORT"}
routes:
  - {name: pay, match: /pay, class: checkout, to: orders}
  - {name: charge, match: /charge, class: checkout, handler: {run: "CODE:quick"}}
  - {name: health, match: /health, respond: {body: fine}}
  - {name: blocks, match: /blocks, handler: {run: "CODE:blocks"}}
  - {name: quick, match: /quick, handler: {run: "CODE:quick"}}
"""


def config(directory: Path, overload: str, orders: int = 1) -> str:
    (directory / "code.py").write_text(CODE)
    text = CONFIG.replace("CODE", str(directory / "code.py")).replace("PORT", str(orders))
    return f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\noverload: {overload}\n{text}"


def ask(raw: Raw, path: str) -> Answer:
    raw.send(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
    return raw.answer()


def test_a_loop_that_is_held_up_sheds_until_it_runs_on_time(
    serve: Callable[..., Gateway], upstream: Callable[..., Upstream], tmp_path: Path
) -> None:
    """Lower classes first: here none of the requests to pay is refused."""
    gateway = serve(config(tmp_path, "{loop_lag: 50ms}", upstream().port))
    ended = threading.Event()
    seen: Counter[tuple[int, str | None]] = Counter()

    def hold_up() -> None:
        with Raw(gateway.port) as raw:
            while not ended.is_set():
                answer = ask(raw, "/blocks")
                seen[answer.status, answer.reason] += 1

    clients = [threading.Thread(target=hold_up) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        until(lambda: seen[503, "shed_overload"] >= 5)
        with Raw(gateway.port) as raw:
            assert [ask(raw, "/health").status for _ in range(20)] == [200] * 20
            for path in ("/pay", "/charge") * 5:
                before = seen.total()
                until(lambda before=before: seen.total() >= before + 20, what="lower classes have enough to lose")
                assert ask(raw, path).status == 200
        until(lambda: gateway.status()["workers"][0]["overload"])
        shown = gateway.status()["workers"][0]["overload"]
        assert shown["cause"] == "loop_lag"
        assert 0 < shown["share"] <= 0.95
        assert gateway.admin("/healthz")[0] == 200
    finally:
        ended.set()
        for client in clients:
            client.join()
    assert set(seen) == {(200, None), (503, "shed_overload")}
    until(lambda: "no longer overloaded" in gateway.errors)
    with Raw(gateway.port) as raw:
        assert [ask(raw, "/quick").status for _ in range(50)] == [200] * 50
    said = [line for line in gateway.errors.splitlines() if "overloaded" in line]
    assert "worker 0 is overloaded: the event loop runs late, past overload.loop_lag" in said[0]
    assert f"worker 0 is no longer overloaded: {seen[503, 'shed_overload']} requests were refused" in said[-1]
    shed = {"route": "blocks", "reason": "shed_overload"}
    until(lambda: gateway.metric("gateway_responses_generated_total", **shed) == seen[503, "shed_overload"])


def test_memory_past_its_share_sheds_with_a_delay_to_come_back_after(
    serve: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = serve(config(tmp_path, "{memory: 0.01%}"))
    with Raw(gateway.port) as raw:
        until(lambda: ask(raw, "/quick").status == 503)
        answers = [ask(raw, "/quick") for _ in range(100)]
        refused = [answer for answer in answers if answer.status == 503]
        assert refused
        assert {answer.reason for answer in refused} == {"shed_overload"}
        assert {answer.get("retry-after") for answer in refused} <= set("12345")
        assert b"too much to do (memory)" in refused[0].body
        assert ask(raw, "/health").status == 200
    assert gateway.admin("/readyz")[0] == 200
    until(lambda: gateway.metric("gateway_responses_generated_total", route="quick", reason="shed_overload") > 0)


def test_a_reload_changes_it(serve: Callable[..., Gateway], tmp_path: Path) -> None:
    gateway = serve(config(tmp_path, "{memory: 0.01%}"))
    with Raw(gateway.port) as raw:
        until(lambda: ask(raw, "/quick").status == 503)
        gateway.config.write_text(config(tmp_path, "off"))
        gateway.signal(signal.SIGHUP)
        until(lambda: "no longer overloaded" in gateway.errors)
        assert {ask(raw, "/quick").status for _ in range(50)} == {200}
    assert gateway.metric("gateway_config_last_reload_successful") == 1


def test_off_takes_all(serve: Callable[..., Gateway], tmp_path: Path) -> None:
    gateway = serve(config(tmp_path, "off"))
    with Raw(gateway.port) as raw:
        assert {ask(raw, "/blocks").status for _ in range(20)} == {200}
    assert "overloaded" not in gateway.errors
