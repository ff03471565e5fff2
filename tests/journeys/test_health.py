"""Active checks and draining, with real processes: who fails gets nothing, who is well again gets requests again."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.support.gateway import Gateway
from tests.support.raw import Raw
from tests.support.upstream import OK, Recorded, Upstream, Wire, answering
from tests.support.wait import until

EVERY_S = 0.2
CONFIG = """
workers: 2
upstreams:
  u:
    targets: [{targets}]
    health: {{path: /healthz?deep=1, every: 200ms, timeout: 150ms, pass: 2, fail: 2}}
routes: [{{name: r, match: /*, to: u}}]
"""
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Site:
    """A target whose checks pass or fail as told; counts the requests that are no checks."""

    def __init__(self) -> None:
        self.well = True
        self.served = 0
        self.checks: list[Recorded] = []
        self.upstream = Upstream(answering(self._answer))

    def _answer(self, request: Recorded) -> bytes:
        if request.line.startswith(b"GET /healthz"):
            self.checks.append(request)
            return OK if self.well else BAD
        self.served += 1
        return OK


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    both = [Site(), Site()]
    with both[0].upstream, both[1].upstream:
        yield both


def target(gateway: Gateway, address: str) -> dict[str, object]:
    (found,) = [each for each in gateway.status()["upstreams"][0]["targets"] if each["address"] == address]
    return dict(found)


def is_state(gateway: Gateway, address: str, state: str) -> bool:
    return target(gateway, address)["state"] == state


def ask(gateway: Gateway, count: int) -> Counter[int]:
    """The statuses of so many requests, each on a connection of its own, so that both workers get some."""
    seen: Counter[int] = Counter()
    for _ in range(count):
        with Raw(gateway.port) as client:
            seen[client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status] += 1
    return seen


def post(gateway: Gateway, path: str, headers: dict[str, str] | None = None) -> int:
    request = urllib.request.Request(gateway.admin_url + path, method="POST", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def config(sites: list[Site]) -> str:
    return CONFIG.format(targets=", ".join(site.upstream.url for site in sites))


def test_a_target_that_fails_its_checks_gets_nothing_until_it_passes_again(sites: list[Site], tmp_path: Path) -> None:
    first, second = sites
    address = first.upstream.address
    with Gateway(config(sites), tmp_path) as gateway:
        until(lambda: is_state(gateway, address, "up"), 5, "the first check")
        assert ask(gateway, 20) == {200: 20}
        assert first.served
        assert second.served

        first.well = False
        began = monotonic()
        until(lambda: is_state(gateway, address, "down"), 5, "two failed checks")
        assert monotonic() - began < 2 * EVERY_S + 1.0  # a second for a machine that is busy
        assert target(gateway, address)["why"] == "status 503"
        before = first.served
        assert ask(gateway, 20) == {200: 20}
        assert first.served == before
        up = f'gateway_upstream_target_up{{target="{address}",upstream="u"}}'
        until(lambda: gateway.metrics()[up] == 0, 5, "the gauge")

        os.kill(gateway.workers()[0], signal.SIGKILL)  # its successor knows too
        until(lambda: len(gateway.workers()) == 2 and gateway.status()["restarts"] == {"killed": 1}, 10, "a new worker")
        assert ask(gateway, 20) == {200: 20}
        assert first.served == before

        first.well = True
        until(lambda: is_state(gateway, address, "up"), 5, "two passed checks")
        assert ask(gateway, 40) == {200: 40}
        assert first.served > before
        counts = gateway.metrics()
        for result in ("pass", "fail"):
            assert counts[f'gateway_upstream_health_checks_total{{result="{result}",target="{address}",upstream="u"}}']
    assert first.checks[0].line == b"GET /healthz?deep=1 HTTP/1.1"
    assert first.checks[0].fields("host") == [address]


def test_where_all_fail_all_are_used_and_it_is_counted(sites: list[Site], tmp_path: Path) -> None:
    for site in sites:
        site.well = False
    with Gateway(config(sites), tmp_path) as gateway:
        for site in sites:
            until(lambda site=site: is_state(gateway, site.upstream.address, "down"), 5, "a failed check")  # type: ignore[misc]
        assert ask(gateway, 20) == {200: 20}
        panics = 'gateway_upstream_panic_total{upstream="u"}'
        until(lambda: gateway.metrics().get(panics, 0) >= 19, 5, "the count of picks")


@contextmanager
def served_by_a_process(directory: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    code = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except (EOFError, ConnectionError): pass
    finally: writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=directory)
    assert process.stdout is not None
    try:
        yield process, f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_target_is_put_aside_while_requests_go_on(sites: list[Site], tmp_path: Path) -> None:
    with served_by_a_process(tmp_path) as (process, address):
        text = CONFIG.format(targets=f"http://{address}, {sites[1].upstream.url}")
        with Gateway(text, tmp_path) as gateway:
            until(lambda: is_state(gateway, address, "up"), 5, "the first check")
            seen: Counter[int] = Counter()
            stop = threading.Event()

            def load() -> None:
                while not stop.is_set():
                    seen.update(ask(gateway, 5))

            threads = [threading.Thread(target=load) for _ in range(3)]
            for thread in threads:
                thread.start()
            until(lambda: seen[200] > 100, 10, "traffic")
            process.kill()
            until(lambda: is_state(gateway, address, "down"), 5, "failed checks")
            so_far = seen[200]
            until(lambda: seen[200] > so_far + 100, 10, "traffic after it")
            stop.set()
            for thread in threads:
                thread.join()
            assert sum(seen.values()) - seen[200] <= 3  # what each client had there at that moment
            assert str(target(gateway, address)["why"]).startswith("connect_refused: ")


def test_drain_moves_new_requests_away_and_lets_the_old_ones_finish(tmp_path: Path) -> None:
    let_go = asyncio.Event()

    async def script(wire: Wire) -> None:
        while True:
            if (await wire.request()).line.startswith(b"GET /slow"):
                await let_go.wait()
            await wire.send(OK)

    other = Site()
    with other.upstream, Upstream(script) as first:
        text = f"""
workers: 2
upstreams: {{u: [{first.url}, {other.upstream.url}], only: {first.url}}}
routes: [{{name: r, match: /*, to: u}}, {{name: slow, match: /slow, to: only}}]
"""
        with Gateway(text, tmp_path) as gateway, Raw(gateway.port) as slow:
            assert ask(gateway, 20) == {200: 20}
            slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: any(each.line.startswith(b"GET /slow") for each in first.requests), 5, "a request under way")

            path = f"/targets/{first.address}"
            assert post(gateway, f"/upstreams/u{path}/drain", {"Origin": "http://evil.example"}) == 403
            assert post(gateway, "/upstreams/u/targets/10.0.0.1:80/drain") == 404
            assert post(gateway, "/upstreams/v/targets/10.0.0.1:80/drain") == 404
            assert not is_state(gateway, first.address, "drained")
            assert post(gateway, f"/upstreams/u{path}/drain") == 200
            assert post(gateway, f"/upstreams/only{path}/drain") == 200
            before = len(first.requests)
            assert ask(gateway, 20) == {200: 20}
            assert len(first.requests) == before
            assert is_state(gateway, first.address, "drained")

            first.run(let_go.set)
            assert slow.answer().status == 200
            assert post(gateway, f"/upstreams/u/targets/{other.upstream.address}/drain") == 200
            assert ask(gateway, 4) == {503: 4}  # no panic against an operator's word
            assert post(gateway, f"/upstreams/u{path}/undrain") == 200
            assert ask(gateway, 4) == {200: 4}
