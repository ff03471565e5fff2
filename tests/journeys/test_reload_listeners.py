"""Listeners come, go and change by a reload, and no connection is dropped for it."""

import http.client
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.journeys.test_reload import Hold, get, reload
from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.raw import Raw
from tests.support.upstream import Upstream
from tests.support.wait import until

Serve = Callable[..., Gateway]
Start = Callable[..., Upstream]

ADMIN = "admin: 127.0.0.1:0\n"
ONE, TWO = 'listen: "127.0.0.1:0"\n', 'listen: ["127.0.0.1:0", "localhost:0"]\n'
PONG = "routes: [{name: ping, match: /*, respond: {status: 200, body: pong}}]\n"


def change(gateway: Gateway, config: str) -> dict[str, list[str]]:
    """Reload by `config`; what changed."""
    gateway.config.write_text(ADMIN + config)
    status, document = reload(gateway)
    assert status == 200, document
    gateway.wait_ready()  # reads the new addresses
    return dict(document["changed"])


def refused(port: int) -> bool:
    """True when nobody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_listener_comes_and_goes_under_load(serve: Serve) -> None:
    gateway = serve("workers: 2\n" + ONE + PONG)
    first = gateway.port
    with Load(first, rate=250) as kept, Load(first, rate=150, fresh=True) as new:
        for _ in range(3):
            assert change(gateway, "workers: 2\n" + TWO + PONG) == {"listeners": ["+ listener localhost:0"]}
            second = int(gateway.base_urls[-1].rpartition(":")[2])
            assert get(second, "/") == (200, b"pong")
            assert [each["address"] for each in gateway.status()["listeners"]] == [
                f"127.0.0.1:{first}",
                f"127.0.0.1:{second}",
            ]
            taken = {"listener": f"127.0.0.1:{second}"}
            until(lambda taken=taken: gateway.metric("gateway_connections_total", **taken) == 1)
            with Raw(second) as idle:
                idle.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert idle.answer().status == 200
                change(gateway, "workers: 2\n" + ONE + PONG)
                assert refused(second)
                assert idle.receive() == b""
            assert f"closed the listener http://127.0.0.1:{second}" in gateway.errors
        kept.go_on(100)
        new.go_on(100)
    assert (kept.outcomes.failed, new.outcomes.failed) == (0, 0), (kept.outcomes, new.outcomes)
    assert len(gateway.status()["listeners"]) == 1


def test_the_load_on_a_listener_that_goes_is_answered(serve: Serve) -> None:
    """What could connect is served; then connects are refused."""
    gateway = serve("workers: 2\n" + TWO + PONG)
    first, second = (int(url.rpartition(":")[2]) for url in gateway.base_urls)
    with Load(second, rate=200) as kept, Load(second, rate=100, fresh=True) as new:
        change(gateway, "workers: 2\n" + ONE + PONG)
        until(lambda: refused(second))
    bad = (kept.outcomes.counts | new.outcomes.counts).keys() - {"200", "ConnectionRefusedError"}
    assert not bad, (kept.outcomes, new.outcomes)
    assert get(first, "/") == (200, b"pong")
    until(lambda: gateway.metric("gateway_connections_open") == 0)


def test_what_is_under_way_on_a_listener_that_goes_is_finished(serve: Serve, upstream: Start) -> None:
    hold = Hold()
    routes = f'upstreams: {{u: "{upstream(hold).url}"}}\nroutes: [{{name: r, match: /r, to: u}}]\n'
    gateway = serve(TWO + routes)
    second = int(gateway.base_urls[1].rpartition(":")[2])
    found: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: found.append(get(second, "/r")))
    client.start()
    assert hold.arrived.wait(10)
    change(gateway, ONE + routes)
    assert refused(second)
    until(lambda: gateway.metric("gateway_http_requests_in_flight", route="r") == 1)
    hold.release.set()
    client.join(10)
    assert found == [(200, b"data: 1\n\ndata: 2\n\n")]
    until(lambda: gateway.metric("gateway_http_requests_in_flight", route="r") == 0)
    assert gateway.stop() == 0


def test_an_address_that_cannot_be_opened_refuses_the_reload(serve: Serve, tmp_path: Path) -> None:
    gateway = serve(ONE + PONG)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        wanted = f'listen: ["127.0.0.1:0", "unix:{tmp_path}/new", "127.0.0.1:{port}", "unix:/no/such/directory"]\n'
        gateway.config.write_text(ADMIN + wanted + PONG.replace("pong", "new"))
        status, document = reload(gateway)
    assert status == 422
    assert [each.split(" ")[0] for each in document["errors"]] == [f"127.0.0.1:{port}", "unix:/no/such/directory"]
    assert f"(pid {os.getpid()})" in document["errors"][0]
    assert not (tmp_path / "new").exists()
    assert get(gateway.port, "/") == (200, b"pong")
    assert len(gateway.status()["listeners"]) == 1


def test_workers_that_start_later_have_the_present_sockets(serve: Serve) -> None:
    gateway = serve("workers: 2\n" + TWO + PONG)
    kept, gone = (int(url.rpartition(":")[2]) for url in gateway.base_urls)
    change(gateway, f'workers: 2\nlisten: ["127.0.0.1:{kept}", "0.0.0.0:0"]\n' + PONG)
    added = next(each["address"] for each in gateway.status()["listeners"] if each["address"] != f"127.0.0.1:{kept}")
    old = gateway.workers()
    os.kill(old[0], signal.SIGKILL)
    until(lambda: len(gateway.workers()) == 2 and old[0] not in gateway.workers())
    gateway.signal(signal.SIGUSR2)
    until(lambda: "all workers were replaced" in gateway.errors, 20)
    assert not set(old) & set(gateway.workers())
    for _ in range(10):
        assert get(kept, "/") == (200, b"pong")
        assert get(int(added.rpartition(":")[2]), "/") == (200, b"pong")
    assert refused(gone)


def test_an_address_becomes_a_wider_one_and_back(serve: Serve) -> None:
    gateway = serve(ONE + PONG)
    port = gateway.port
    with Load(port, rate=100) as kept, Load(port, rate=100, fresh=True) as new:
        for host in ("0.0.0.0", "127.0.0.1"):
            change(gateway, f"listen: {host}:{port}\n" + PONG)
            assert [each["address"] for each in gateway.status()["listeners"]] == [f"{host}:{port}"]
        kept.go_on(50)
        new.go_on(50)
    assert (kept.outcomes.failed, new.outcomes.failed) == (0, 0), (kept.outcomes, new.outcomes)


def test_settings_of_a_listener_change_and_its_socket_stays(serve: Serve) -> None:
    gateway = serve(TWO + PONG)
    port = gateway.port
    with Raw(port) as before:
        before.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert before.answer().status == 200
        wanted = 'listen: [{address: "127.0.0.1:0", backlog: 16, redirect: https}, "localhost:0"]\n'
        assert change(gateway, wanted + PONG) == {"listeners": ["~ listener 127.0.0.1:0: backlog, redirect"]}
        assert get(port, "/x")[0] == 308
        before.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert before.answer().status == 200
        change(gateway, 'listen: {address: "127.0.0.1:0", proxy_protocol: true}\n' + PONG)
        with Raw(port) as behind:
            behind.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert behind.answer().status == 200
    until(lambda: '"client_ip":"192.0.2.7"' in gateway.output)


def test_the_file_of_a_unix_socket_goes_with_its_listener(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    gateway = serve(f'listen: ["127.0.0.1:0", "unix:{path}"]\n' + PONG)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: client.recv(4096), b"")).endswith(b"pong")
    change(gateway, ONE + PONG)
    assert not path.exists()
    change(gateway, f'listen: ["127.0.0.1:0", "unix:{path}"]\n' + PONG)
    assert path.exists()
    assert gateway.stop() == 0
    assert not path.exists()


def test_a_gateway_that_points_at_itself_is_a_loop_after_a_reload_too(serve: Serve) -> None:
    gateway = serve("workers: 2\n" + ONE + PONG)
    port = gateway.port
    loop = f"upstreams: {{u: http://127.0.0.1:{port}}}\nroutes: [{{name: r, match: /*, to: u}}]\n"
    change(gateway, "workers: 2\n" + TWO + loop)
    old = gateway.workers()
    os.kill(old[0], signal.SIGKILL)
    until(lambda: len(gateway.workers()) == 2 and old[0] not in gateway.workers())
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 508
        connection.close()
