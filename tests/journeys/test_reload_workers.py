"""A config is changed while workers come and go: all have the same one, and it is one that works."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.journeys.test_reload import ask_for_reload, change, get, reload, said, saying, write
from tests.support.gateway import Gateway
from tests.support.upstream import Upstream
from tests.support.wait import until

Serve = Callable[..., Gateway]
UNWELL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
NO_DATABASE = "code.py:fails: its start-up failed: no database"
CODE = """
from pathlib import Path
import asyncio

HERE = Path(__file__).parent

async def held(scope, receive, send):
    await receive()
    while (HERE / "hold").exists():
        await asyncio.sleep(0.01)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

async def fails(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


def config(text: str, *apps: str, workers: int = 1, more: str = "") -> str:
    routes = [f"  - {{name: {each}, match: /{each}/*, app: {{asgi: '../code.py:{each}'}}}}\n" for each in apps]
    return f"workers: {workers}\n{more}" + saying(text).replace("[", "\n  - ").replace("]", "") + "".join(routes)


def replace_one(gateway: Gateway) -> int:
    """Kill a worker; returns the pid of its successor, which is starting."""
    victim = gateway.workers()[0]
    os.kill(victim, signal.SIGKILL)

    def successor() -> int | None:
        starting = [each["pid"] for each in gateway.status()["workers"] if each["state"] == "starting"]
        return starting[0] if starting else None

    return until(successor, what="a successor") or 0


def settings_held(pid: int) -> int:
    """Descriptors of configs that a process has open."""
    held = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            held += "gateway-settings" in os.readlink(each)
    return held


def test_a_worker_that_starts_through_two_reloads_ends_up_with_what_the_others_have(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "code.py").write_text(CODE)
    gateway = serve(config("old", "held", workers=2))
    (tmp_path / "hold").touch()
    successor = replace_one(gateway)
    change(gateway, config("new", "held", workers=2))
    write(gateway, config("newest", "held", "fails", workers=2))
    status, document = reload(gateway)
    assert (status, document.get("errors")) == (422, [NO_DATABASE])
    assert get(gateway.port, "/r") == (200, b"new")
    (tmp_path / "hold").unlink()
    until(lambda: successor in gateway.workers(), what="the successor serves")
    other = next(each for each in gateway.workers() if each != successor)
    os.kill(other, signal.SIGSTOP)  # then the successor takes all
    try:
        until(lambda: get(gateway.port, "/r") == (200, b"new"), what="the successor serves by the new config")
        until(lambda: settings_held(successor) == 1, what="the old config's descriptor is closed")
    finally:
        os.kill(other, signal.SIGCONT)


def test_a_config_that_cannot_be_used_is_refused_while_nobody_serves(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    gateway = serve(config("old"))
    write(gateway, config("new", "fails"))
    for _ in range(2):  # at the second time the successor would have waited
        before = gateway.workers()[0]
        os.kill(before, signal.SIGKILL)
        until(lambda gone=before: gone not in gateway.workers(), what="it is gone")
        status, document = reload(gateway)
        assert (status, document.get("errors")) == (422, [NO_DATABASE])
        until(gateway.workers, what="a worker serves")
    assert get(gateway.port, "/r") == (200, b"old")


def test_a_config_that_stops_all_workers_can_be_mended_by_another(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE)
    gateway = serve(config("old", "held"))
    (tmp_path / "code.py").write_text("raise SystemError('no such thing')")
    os.kill(gateway.workers()[0], signal.SIGKILL)
    until(lambda: "no such thing" in gateway.errors, what="the successor cannot start")
    change(gateway, config("new"))
    until(gateway.workers, what="a worker serves")
    assert get(gateway.port, "/r") == (200, b"new")


def test_a_worker_that_starts_meanwhile_knows_the_targets_of_the_new_config(
    serve: Serve, upstream: Callable[..., Upstream], tmp_path: Path
) -> None:
    (tmp_path / "code.py").write_text(CODE)
    bad, good = upstream(UNWELL), upstream()
    gateway = serve(config("old", "held", workers=2))
    (tmp_path / "hold").touch()
    successor = replace_one(gateway)
    text = f"upstreams: {{u: {{targets: ['{bad.url}', '{good.url}'], health: {{path: /, every: 50ms, fail: 1}}}}}}\n"
    change(gateway, config("new", "held", workers=2, more=text) + "  - {name: u, match: /u, to: u}\n")
    failed = {"target": bad.address, "result": "fail"}
    until(lambda: gateway.metric("gateway_upstream_health_checks_total", **failed) > 0, what="it is put aside")
    (tmp_path / "hold").unlink()
    until(lambda: successor in gateway.workers(), what="the successor serves")
    other = next(each for each in gateway.workers() if each != successor)
    os.kill(other, signal.SIGSTOP)
    try:
        until(lambda: get(gateway.port, "/u")[0] != 404, what="it has the new config")
        assert {get(gateway.port, "/u")[0] for _ in range(10)} == {200}
    finally:
        os.kill(other, signal.SIGCONT)


def test_a_worker_that_stands_still_is_waited_for(serve: Serve) -> None:
    gateway = serve(config("old", workers=2))
    stopped = gateway.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    write(gateway, config("new", workers=2))
    answer = ask_for_reload(gateway)
    assert get(gateway.port, "/r") == (200, b"old")
    os.kill(stopped, signal.SIGCONT)
    assert said(answer)["changed"]
    assert {get(gateway.port, "/r") for _ in range(10)} == {(200, b"new")}
