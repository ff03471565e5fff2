"""A config is changed while traffic flows: what changes, what stays, what is refused."""

import asyncio
import http.client
import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from typing import Any

from tests.support.gateway import Gateway
from tests.support.upstream import Upstream, Wire
from tests.support.wait import until

Serve = Callable[..., Gateway]

ADDRESSES = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"


def write(gateway: Gateway, config: str) -> None:
    gateway.config.write_text(ADDRESSES + config)


def saying(text: str) -> str:
    return f"routes: [{{name: r, match: /r, respond: {{status: 200, body: {text}}}}}]\n"


def reload(gateway: Gateway) -> tuple[int, dict[str, Any]]:
    """Status and document of `POST /reload`."""
    request = urllib.request.Request(gateway.admin_url + "/reload", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def change(gateway: Gateway, config: str) -> None:
    """Reload with `config`, which is taken."""
    write(gateway, config)
    status, document = reload(gateway)
    assert status == 200, document


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_a_reload_answers_when_all_workers_serve_by_the_new_config(serve: Serve) -> None:
    gateway = serve("workers: 2\n" + saying("old"))
    write(gateway, "workers: 2\n" + saying("new").replace("]", ", {name: more, match: /more, respond: {status: 204}}]"))
    status, document = reload(gateway)
    assert (status, document["changed"]["routes"]) == (200, ["~ route r: body", "+ route more"])
    for _ in range(20):
        assert get(gateway.port, "/r") == (200, b"new")
        assert get(gateway.port, "/more")[0] == 204
    assert gateway.metric("gateway_config_reloads_total", result="success") == 1
    assert gateway.metric("gateway_config_last_reload_successful") == 1


def test_sighup_reloads(serve: Serve) -> None:
    gateway = serve(saying("old"))
    write(gateway, saying("new"))
    gateway.signal(signal.SIGHUP)
    until(lambda: get(gateway.port, "/r") == (200, b"new"), 15, "the new answer")


def test_a_broken_file_changes_nothing_and_says_all_that_is_wrong(serve: Serve) -> None:
    gateway = serve(saying("old"))
    write(gateway, "routes: [{name: r, match: /r, to: nobody}, {name: s, match: s, respnd: {}}]\n")
    status, document = reload(gateway)
    assert status == 422
    assert len(document["errors"]) >= 3
    assert "nobody" in document["errors"][0]
    assert get(gateway.port, "/r") == (200, b"old")
    assert gateway.metric("gateway_config_reloads_total", result="failure") == 1
    assert gateway.metric("gateway_config_last_reload_successful") == 0
    assert document["errors"][0].splitlines()[0] in gateway.errors
    write(gateway, saying("mended"))
    assert reload(gateway)[0] == 200
    assert get(gateway.port, "/r") == (200, b"mended")
    assert gateway.metric("gateway_config_last_reload_successful") == 1


def test_what_cannot_change_live_is_refused_and_nothing_changes(serve: Serve) -> None:
    gateway = serve("workers: 1\n" + saying("old"))
    write(gateway, "workers: 2\n" + saying("new"))
    status, document = reload(gateway)
    assert status == 422
    assert document["errors"] == ["workers: the number of processes is fixed at start; restart the gateway"]
    assert get(gateway.port, "/r") == (200, b"old")


class Hold:
    """An upstream script that sends a head and one event at once, and the rest when the test lets it."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.release = threading.Event()

    async def __call__(self, wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        self.arrived.set()
        while not self.release.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        await wire.send(b"data: 2\n\n")


def test_a_stream_survives_the_end_of_its_route_and_of_its_upstream(
    serve: Serve, upstream: Callable[..., Upstream]
) -> None:
    hold = Hold()
    gateway = serve(f'upstreams: {{u: "{upstream(hold).url}"}}\nroutes: [{{name: r, match: /r, to: u}}]\n')
    found: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: found.append(get(gateway.port, "/r")))
    client.start()
    assert hold.arrived.wait(10)
    write(gateway, saying("new"))
    status, document = reload(gateway)
    assert (status, document["changed"]["upstreams"]) == (200, ["- upstream u"])
    assert get(gateway.port, "/r") == (200, b"new")
    hold.release.set()
    client.join(10)
    assert found == [(200, b"data: 1\n\ndata: 2\n\n")]
    until(lambda: gateway.metric("gateway_upstream_requests_in_flight", upstream="u") == 0, 5, "its last request")


def test_connections_are_kept_until_they_would_be_made_otherwise(
    serve: Serve, upstream: Callable[..., Upstream]
) -> None:
    kept, changed, moved = upstream(), upstream(), upstream()

    def config(number: int) -> str:
        to = f"localhost:{moved.port}" if number % 2 else moved.address
        return (
            f'workers: 1\nupstreams: {{kept: "{kept.url}", '
            f'changed: {{targets: ["{changed.url}"], connections: {{idle: {number + 1}}}}}, moved: "http://{to}"}}\n'
            "routes: [{match: /k, to: kept}, {match: /c, to: changed}, {match: /m, to: moved}]\n"
        )

    gateway = serve(config(0))
    for number in range(1, 5):
        assert {get(gateway.port, path)[0] for path in ("/k", "/c", "/m")} == {200}
        change(gateway, config(number))
    assert {get(gateway.port, path)[0] for path in ("/k", "/c", "/m")} == {200}
    assert (kept.connections, changed.connections, moved.connections) == (1, 1, 5)


SLOW = """
import os, time
open("begun", "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
def answer(request):
    return {}
"""


def test_reloads_asked_for_while_one_runs_share_the_next(serve: Serve) -> None:
    gateway = serve(saying("old"))
    directory = gateway.config.parent
    (directory / "slow.py").write_text(SLOW)
    write(gateway, "routes: [{name: s, match: /s, handler: {run: 'slow.py:answer'}}]\n")
    first = ask_for_reload(gateway)
    until((directory / "begun").exists, 10, "the first reads")
    write(gateway, saying("new"))
    others = [ask_for_reload(gateway) for _ in range(10)]
    gateway.status()  # answered behind what was asked before
    (directory / "go").touch()
    assert [said(each)["changed"]["routes"] for each in (first, *others)] == [
        ["- route r", "+ route s"],
        *[["- route s", "+ route r"]] * 10,
    ]
    assert get(gateway.port, "/r") == (200, b"new")
    assert gateway.metric("gateway_config_reloads_total", result="success") == 2


def test_the_end_does_not_wait_for_a_reload(serve: Serve) -> None:
    gateway = serve(saying("old"))
    directory = gateway.config.parent
    (directory / "slow.py").write_text(SLOW)
    write(gateway, "routes: [{name: s, match: /s, handler: {run: 'slow.py:answer'}}]\n")
    asked = ask_for_reload(gateway)
    until((directory / "begun").exists, 10, "it is being read")
    gateway.signal(signal.SIGTERM)
    assert said(asked)["errors"] == ["the gateway stops"]
    assert gateway.process.wait(15) == 0
    assert "Traceback" not in gateway.errors


def ask_for_reload(gateway: Gateway) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(gateway.admin_url.removeprefix("http://"), timeout=30)
    connection.request("POST", "/reload")
    return connection


def said(connection: http.client.HTTPConnection) -> dict[str, Any]:
    with closing(connection):
        return dict(json.loads(connection.getresponse().read()))
