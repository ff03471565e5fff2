"""What a client sees when an upstream fails: one answer with its reason, in time, and no connection left behind."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.upstream import OK, Script, Upstream, Wire, answering
from tests.support.wait import until


@dataclass
class Signs:
    """What a script says to its test, and the other way."""

    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    release: asyncio.Event = field(default_factory=asyncio.Event)


class World:
    """One gateway with an upstream (and a route of its name) for every way to fail."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stack = ExitStack()
        self.upstreams: dict[str, Upstream] = {}
        self.signs: dict[str, Signs] = {}
        self._upstreams: list[str] = []
        self._routes: list[str] = []
        self.gateway: Gateway

    def add(self, name: str, url: str, upstream: str = "", route: str = "") -> None:
        self._upstreams.append(f'  {name}: {{targets: ["{url}"]{upstream}}}\n')
        self._routes.append(f"  - {{name: {name}, match: /{name}, to: {name}{route}}}\n")

    def serve(
        self,
        name: str,
        script: Script | bytes = OK,
        *,
        upstream: str = "",
        route: str = "",
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> Upstream:
        self.upstreams[name] = target = self.stack.enter_context(Upstream(script, tls=tls))
        self.add(name, f"{'https' if tls else 'http'}://{host}:{target.port}", upstream, route)
        return target

    def start(self) -> None:
        config = "upstreams:\n" + "".join(self._upstreams) + "routes:\n" + "".join(self._routes)
        self.gateway = self.stack.enter_context(Gateway(config, self.directory))

    def raw(self) -> Raw:
        return Raw(self.gateway.port)

    def get(self, name: str, body: bytes = b"") -> Answer:
        with self.raw() as raw:
            return raw.send(of(name, body)).answer()

    def logged(self, name: str, **wanted: object) -> list[dict[str, Any]]:
        """The log lines of one route that have these values; waits for the first."""

        def found() -> list[dict[str, Any]]:
            lines = [each for each in self.gateway.access_log() if each["path"] == f"/{name}"]
            return [each for each in lines if all(each[key] == value for key, value in wanted.items())]

        return until(found, what=f"{name} {wanted}")

    def in_flight(self, name: str) -> float:
        return self.gateway.metric("gateway_upstream_requests_in_flight", upstream=name)


def of(name: str, body: bytes = b"") -> bytes:
    if body:
        return request(b"Content-Length: %d" % len(body), line=b"POST /%b HTTP/1.1" % name.encode(), body=body)
    return request(line=b"GET /%b HTTP/1.1" % name.encode())


@contextmanager
def _refusing_port() -> Iterator[int]:
    """A port on which nobody listens, kept from others."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextmanager
def _full_port() -> Iterator[int]:
    """A port whose queue of connections is full: a connect to it hangs."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


# --- ways to fail ---------------------------------------------------------------------------------------------------


async def _closing(wire: Wire) -> None:
    wire.close()


async def _stopping(wire: Wire) -> None:
    await wire.request()
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    await wire.eof()


async def _once(wire: Wire) -> None:
    await wire.request()
    await wire.send(OK)


async def _once_and_reset(wire: Wire) -> None:
    await _once(wire)
    wire.reset()


async def _plain(wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _silent(signs: Signs) -> Script:
    async def script(wire: Wire) -> None:
        await wire.head()
        signs.arrived.release()
        try:
            await wire.eof()
        finally:
            signs.ended.release()

    return script


def _telling(signs: Signs) -> Script:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        signs.arrived.release()
        try:
            await wire.eof()
        finally:
            signs.ended.release()

    return script


def _held(signs: Signs) -> Script:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            signs.arrived.release()
            await signs.release.wait()
            await wire.send(OK)

    return script


def _kept(signs: Signs) -> Script:
    async def script(wire: Wire) -> None:
        await _once(wire)
        await wire.eof()
        signs.ended.release()

    return script


def _until_close(end: str) -> Script:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await asyncio.sleep(0.05)  # so that the bytes and the end come apart
        if end == "fin":
            wire.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            await wire.eof()
        elif end == "rst":
            wire.reset()

    return script


def _tls_side(authority: trustme.CA, name: str = "localhost", *, wants_client: bool = False) -> ssl.SSLContext:
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(side)
    if wants_client:
        authority.configure_trust(side)
        side.verify_mode = ssl.CERT_REQUIRED
    return side


BELIEF = {
    "tls-unknown": ("", "localhost", 502),
    "tls-careless": ("verify: false", "localhost", 200),
    "tls-other-name": ("ca: {ca}", "other.test", 502),
    "tls-named": ("ca: {ca}, server_name: other.test", "other.test", 200),
    "tls-careless-name": ("verify: false", "other.test", 200),
    "tls-trusted": ("ca: {ca}", "localhost", 200),
}
"""Route: tls settings, the certificate's name, the answer."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(Path(tmp_path_factory.mktemp("gateway")))
    with world.stack:
        _add_plain(world)
        _add_tls(world)
        world.start()
        yield world


def _add_plain(world: World) -> None:
    refusing = world.stack.enter_context(_refusing_port())
    full = world.stack.enter_context(_full_port())
    good = world.stack.enter_context(Upstream())
    world.upstreams["second"] = good
    world.add("refused", f"http://127.0.0.1:{refusing}")
    world.add("second", f'http://127.0.0.1:{refusing}", "{good.url}')
    world.add("hanging", f"http://127.0.0.1:{full}", ", timeout: {connect: 300ms}")
    world.add("nameless", "http://does-not-exist.invalid:80", ", timeout: {connect: 8s}")
    world.add("named", f"http://localhost:{good.port}")
    world.add("unix", f"unix:{world.directory}/app.sock")
    for name in ("silent", "impatient", "leaving", "uploading", "held", "kept", "telling"):
        world.signs[name] = Signs()
    world.serve("closing", _closing)
    world.serve("silent", _silent(world.signs["silent"]), upstream=", timeout: 400ms")
    world.serve("impatient", _silent(world.signs["impatient"]), upstream=", timeout: 20s", route=", timeout: 400ms")
    world.serve("stopping", _stopping, upstream=", timeout: {idle: 400ms}")
    world.serve("leaving", _silent(world.signs["leaving"]))
    world.serve("uploading", _silent(world.signs["uploading"]), route=", buffer: {request: 0B}")
    world.serve("telling", _telling(world.signs["telling"]))
    world.serve("held", _held(world.signs["held"]), upstream=", connections: {max: 1, wait: 300ms}")
    world.serve("kept", _kept(world.signs["kept"]), upstream=", connections: {idle_timeout: 300ms}")
    world.serve("once", _once)
    world.serve("once-reset", _once_and_reset)


def _add_tls(world: World) -> None:
    authority = trustme.CA()
    trust = world.directory / "ca.pem"
    authority.cert_pem.write_to_path(str(trust))
    own = world.directory / "own.pem"
    authority.issue_cert("gateway.test").private_key_and_cert_chain_pem.write_to_path(str(own))

    def add(name: str, settings: str, side: ssl.SSLContext, script: Script | bytes = OK) -> None:
        settings = settings.format(ca=trust, own=own)
        world.serve(
            name, script, upstream=f", timeout: {{connect: 5s}}, tls: {{{settings}}}", tls=side, host="localhost"
        )

    for name, (settings, certificate, _) in BELIEF.items():
        add(name, settings, _tls_side(authority, certificate), answering())
    add("tls-client", "ca: {ca}, cert: {own}, key: {own}", _tls_side(authority, wants_client=True), answering())
    add("tls-no-client", "ca: {ca}", _tls_side(authority, wants_client=True), answering())
    add("tls-once", "ca: {ca}", _tls_side(authority), _once)
    for end in ("notify", "fin", "rst"):
        add(f"tls-{end}", "ca: {ca}", _tls_side(authority), _until_close(end))
    plain = world.stack.enter_context(Upstream(_plain))
    world.add("tls-plain", f"https://localhost:{plain.port}", f", timeout: {{connect: 5s}}, tls: {{ca: {trust}}}")


# --- connecting -----------------------------------------------------------------------------------------------------


def test_refused(world: World) -> None:
    answer = world.get("refused")
    assert (answer.status, answer.reason) == (502, "connect_refused")
    assert world.get("refused", b"hi").reason == "connect_refused"
    (logged, _) = until(lambda: len(found := world.logged("refused")) == 2 and found)
    assert (logged["status"], logged["upstream_status"], logged["source"]) == (502, None, "gateway")
    until(lambda: world.gateway.metric("gateway_upstream_errors_total", upstream="refused") == 2)


def test_another_target_is_tried(world: World) -> None:
    for _ in range(6):
        assert world.get("second", b"hi").status == 200
    assert [each.body for each in world.upstreams["second"].requests] == [b"hi"] * 6
    assert max(each["attempts"] for each in world.logged("second")) == 2


def test_a_connect_that_hangs(world: World) -> None:
    begun = time.monotonic()
    answer = world.get("hanging")
    assert (answer.status, answer.reason) == (504, "connect_timeout")
    assert 0.25 < time.monotonic() - begun < 2


def test_a_name_that_does_not_resolve(world: World) -> None:
    answer = world.get("nameless")
    assert (answer.status, answer.reason) == (502, "dns_failed")


def test_a_name_is_resolved(world: World) -> None:
    assert world.get("named").status == 200


def test_a_unix_socket(world: World) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{world.directory}/app.sock")
        server.listen()

        def answer_one() -> None:
            wire, _ = server.accept()
            wire.recv(65536)
            wire.sendall(OK)
            wire.close()

        thread = threading.Thread(target=answer_one, daemon=True)
        thread.start()
        assert world.get("unix").status == 200
        thread.join(5)
    assert world.get("unix").reason == "connect_refused"


def test_an_upstream_that_closes_every_connection_at_once(world: World) -> None:
    for _ in range(5):
        answer = world.get("closing")
        assert (answer.status, answer.reason) == (502, "upstream_reset")
    until(lambda: world.in_flight("closing") == 0)


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["silent", "impatient"])
def test_an_upstream_that_never_answers(world: World, name: str) -> None:
    begun = time.monotonic()
    answer = world.get(name)
    assert (answer.status, answer.reason) == (504, "upstream_timeout")
    assert 0.35 < time.monotonic() - begun < 3
    assert world.signs[name].ended.acquire(timeout=2)


def test_a_body_that_stops_is_cut(world: World) -> None:
    answer = world.get("stopping")
    assert (answer.status, answer.body, answer.whole) == (200, b"abc", False)
    (logged,) = world.logged("stopping")
    assert (logged["status"], logged["reason"] is not None) == (200, True)


# --- clients that leave ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("name", ["leaving", "uploading", "telling"])
def test_a_client_that_leaves_frees_the_upstream(world: World, name: str, how: str) -> None:
    signs = world.signs[name]
    with world.raw() as raw:
        raw.send(
            request(b"Content-Length: 10", line=b"POST /uploading HTTP/1.1", body=b"hello")
            if name[0] == "u"
            else of(name)
        )
        assert signs.arrived.acquire(timeout=5)
        if name == "telling":
            raw.until(b"some")
        if how == "resets":
            raw.reset()
    assert signs.ended.acquire(timeout=1), "within a second"
    assert world.logged(name)[-1]["status"] == 499
    assert world.logged(name)[-1]["reason"] == "client_closed"
    until(lambda: world.in_flight(name) == 0)


# --- connections ----------------------------------------------------------------------------------------------------


def test_all_connections_taken(world: World) -> None:
    signs, target = world.signs["held"], world.upstreams["held"]
    with world.raw() as first:
        first.send(of("held"))
        assert signs.arrived.acquire(timeout=5)
        begun = time.monotonic()
        answer = world.get("held")
        assert (answer.status, answer.reason, answer.get("retry-after")) == (503, "upstream_busy", "1")
        assert 0.25 < time.monotonic() - begun < 2
        target.run(signs.release.set)
        assert first.answer().status == 200
    assert world.get("held").status == 200
    assert target.connections == 1


@pytest.mark.parametrize("name", ["once", "once-reset", "tls-once"])
def test_an_idle_connection_that_the_upstream_closed_is_nobodys_problem(world: World, name: str) -> None:
    with world.raw() as raw:
        for _ in range(30):
            assert raw.send(of(name)).answer().status == 200, "however close the two are"
    assert world.upstreams[name].connections >= 30


def test_idle_connections_expire(world: World) -> None:
    assert world.get("kept").status == 200
    assert world.signs["kept"].ended.acquire(timeout=3)


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BELIEF)
def test_who_is_believed(world: World, name: str) -> None:
    status = BELIEF[name][2]
    for _ in range(3):
        answer = world.get(name)
        assert (answer.status, answer.reason) == (status, "tls_failed" if status == 502 else None)
    assert world.upstreams[name].connections == (status == 200), "kept, or never trusted"


def test_an_upstream_that_wants_a_client_certificate(world: World) -> None:
    assert world.get("tls-client").status == 200
    assert world.get("tls-no-client").status == 502


def test_plain_http_where_tls_was_to_be(world: World) -> None:
    answer = world.get("tls-plain")
    assert (answer.status, answer.reason) == (502, "tls_failed")


@pytest.mark.parametrize(("end", "whole"), [("notify", True), ("fin", False), ("rst", False)])
def test_a_tls_close_without_close_notify_is_truncation(world: World, end: str, whole: bool) -> None:
    answer = world.get(f"tls-{end}")
    assert (answer.status, answer.whole) == (200, whole)
