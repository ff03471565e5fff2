"""Applications come and go with a reload: started before the first of their requests, ended behind the last."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.test_reload import ADDRESSES, change, get, reload
from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.wait import until

Serve = Callable[..., Gateway]
CODE = """
from pathlib import Path
import asyncio

HERE = Path(__file__).parent

def note(name, what):
    with (HERE / "notes").open("a") as file:
        file.write(f"{name} {what}\\n")

def named(name):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            note(name, "started")
            if (HERE / f"{name}-fails").exists():
                await send({"type": "lifespan.startup.failed", "message": "no database"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            note(name, "stopped")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name.encode(), "more_body": True})
        while scope["path"].endswith("/held") and not (HERE / "go").exists():
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"."})
    return app

one, two = named("one"), named("two")

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]
"""


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Callable[[str], Gateway]:
    (tmp_path / "code.py").write_text(CODE)
    return serve


def config(**apps: str) -> str:
    """apps: `kind name` by the name of the route."""
    lines = []
    for route, app in apps.items():
        kind, name = app.split()
        lines.append(f"  - {{name: {route}, match: /{route}/*, app: {{{kind}: '../code.py:{name}'}}}}\n")
    return "workers: 1\nroutes:\n" + "".join(lines)


def notes(directory: Path) -> list[str]:
    return (directory / "notes").read_text().splitlines()


def test_an_application_is_started_before_it_serves_and_stopped_behind_its_last_answer(
    served: Serve, tmp_path: Path
) -> None:
    gateway = served(config(a="asgi one"))
    with Raw(gateway.port) as client:
        client.send(b"GET /a/held HTTP/1.1\r\nHost: h\r\n\r\n")
        client.until(b"one")
        change(gateway, config(b="asgi two", c="wsgi wsgi"))
        assert notes(tmp_path) == ["one started", "two started"]
        assert get(gateway.port, "/b/") == (200, b"two.")
        assert get(gateway.port, "/c/") == (200, b"wsgi")
        assert get(gateway.port, "/a/")[0] == 404
        change(gateway, config(b="asgi two", d="asgi two"))
        assert get(gateway.port, "/d/") == (200, b"two.")
        assert notes(tmp_path) == ["one started", "two started"]
        (tmp_path / "go").touch()
        client.until(b".\r\n")
    until(lambda: notes(tmp_path) == ["one started", "two started", "one stopped"], 10, "the end of the first")
    assert gateway.stop() == 0
    assert notes(tmp_path)[3:] == ["two stopped"]


def test_an_application_that_cannot_start_refuses_the_reload(served: Serve, tmp_path: Path) -> None:
    (tmp_path / "two-fails").touch()
    gateway = served(config(a="asgi one"))
    gateway.config.write_text(ADDRESSES + config(a="asgi one", b="asgi two"))
    status, document = reload(gateway)
    assert (status, len(document["errors"])) == (422, 1)
    assert document["errors"][0].endswith("two: its start-up failed: no database")
    assert get(gateway.port, "/a/") == (200, b"one.")
    assert get(gateway.port, "/b/")[0] == 404
    (tmp_path / "two-fails").unlink()
    change(gateway, config(a="asgi one", b="asgi two"))
    assert get(gateway.port, "/b/") == (200, b"two.")
    assert notes(tmp_path) == ["one started", "two started", "two started"]


def test_a_new_application_ends_where_the_reload_is_refused_for_another_reason(served: Serve, tmp_path: Path) -> None:
    (tmp_path / "two-fails").touch()
    gateway = served(config(z="wsgi wsgi"))
    gateway.config.write_text(ADDRESSES + config(a="asgi one", b="asgi two"))
    assert reload(gateway)[0] == 422
    until(lambda: notes(tmp_path) == ["one started", "two started", "one stopped"], 10, "the end of what was started")
