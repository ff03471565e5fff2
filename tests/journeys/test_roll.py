"""SIGUSR2: the workers are replaced one by one by those of a new version of the code, and no client sees it."""

import asyncio
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.runtime.layout import OTHER_VERSION
from tests.journeys.test_reload import reload
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.raw import Raw
from tests.support.upstream import OK, Upstream, Wire
from tests.support.wait import until

Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]
SOURCES = Path(__file__).parents[2] / "gateway"

CODE = """
def version(request): return "old"
"""
CONFIG = """
workers: 2
upstreams: {u: "UPSTREAM"}
routes:
  - {name: all, match: "/*", to: u}
  - {name: version, match: /version, handler: "code.py:version"}
"""


def config(directory: Path, target: Upstream) -> str:
    (directory / "code.py").write_text(CODE)
    return CONFIG.replace("UPSTREAM", target.url).replace("code.py", str(directory / "code.py"))


def version(gateway: Gateway) -> bytes:
    with Raw(gateway.port) as raw:
        return raw.send(b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").answer().body


def test_a_roll_under_load_fails_nothing(serve: Serve, upstream: Start, tmp_path: Path) -> None:
    release = threading.Event()

    async def script(wire: Wire) -> None:
        while True:
            if b"/long" in await wire.head():
                await until_set(release)
            await wire.send(OK)

    gateway = serve(config(tmp_path, upstream(script)))
    old, seen = gateway.workers(), [0.0]
    states: set[str] = set()

    def watched() -> list[int]:
        seen.append(gateway.metric("gateway_http_requests_total"))
        states.update(each["state"] for each in gateway.status()["workers"])
        return gateway.workers()

    with (
        Raw(gateway.port) as long,
        Load(gateway.port, rate=250) as kept,
        Load(gateway.port, rate=250, fresh=True) as new,
    ):
        long.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: gateway.metric("gateway_upstream_requests_in_flight") >= 1)
        assert version(gateway) == b"old"
        (tmp_path / "code.py").write_text(CODE.replace("old", "new"))
        gateway.signal(signal.SIGUSR2)
        until(lambda: len(watched()) == 2 and "draining" in states)
        release.set()
        until(lambda: watched() and "all workers were replaced" in gateway.errors, 20)
        kept.go_on(250)
        new.go_on(250)
        assert long.answer().status == 200
    assert (kept.outcomes.failed, new.outcomes.failed) == (0, 0), (kept.outcomes, new.outcomes)
    assert version(gateway) == b"new"
    assert not set(old) & set(gateway.workers())
    assert seen == sorted(seen), "a counter went backwards"
    answered = kept.outcomes.total + new.outcomes.total
    until(lambda: gateway.metric("gateway_http_requests_total") >= answered)
    assert len(gateway.status()["workers"]) == 2
    assert "draining" in states
    assert gateway.stop() == 0


def test_a_version_that_cannot_start_leaves_the_old_workers(serve: Serve, upstream: Start, tmp_path: Path) -> None:
    gateway = serve(config(tmp_path, upstream()))
    old = gateway.workers()
    (tmp_path / "code.py").write_text("syntax error")
    gateway.signal(signal.SIGUSR2)
    until(lambda: "a new worker does not serve, those that run stay: it cannot start: " in gateway.errors)
    assert gateway.workers() == old
    assert version(gateway) == b"old"
    assert "Traceback" not in gateway.errors
    (tmp_path / "code.py").write_text(CODE.replace("old", "new"))
    gateway.signal(signal.SIGUSR2)
    until(lambda: "all workers were replaced" in gateway.errors)
    assert version(gateway) == b"new"


def test_a_version_that_shares_memory_in_another_way_leaves_the_old_workers(
    serve: Serve, upstream: Start, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    shutil.copytree(SOURCES, code / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    gateway = serve(config(tmp_path, upstream()), env={"PYTHONPATH": str(code)})
    old, memory = gateway.workers(), code / "gateway" / "observe" / "memory.py"
    memory.write_text(memory.read_text().replace("REPORT_BYTES = 8 *", "REPORT_BYTES = 9 *"))
    gateway.signal(signal.SIGUSR2)
    until(lambda: f"those that run stay: it cannot start: {OTHER_VERSION}" in gateway.errors)
    status, answer = reload(gateway)
    assert (status, answer["errors"]) == (422, [OTHER_VERSION])
    assert gateway.workers() == old
    assert version(gateway) == b"old"
    assert "Traceback" not in gateway.errors


def test_the_end_is_not_held_up_by_a_roll(serve: Serve, upstream: Start, tmp_path: Path) -> None:
    gateway = serve(config(tmp_path, upstream()))
    gateway.signal(signal.SIGUSR2)
    until(lambda: "replacing the workers" in gateway.errors)
    assert gateway.stop() == 0


async def until_set(event: threading.Event) -> None:
    while not event.is_set():  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.01)
