"""Everyday HTTP clients through the real gateway: curl, requests, httpx, aiohttp, wrk, h2load; plain and TLS."""

import asyncio
import hashlib
import json
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import trustme
from aiohttp import web

from tests.support.gateway import Gateway
from tests.support.loop_thread import LoopThread
from tests.support.raw import Raw

MIB = 1024 * 1024
BODY = bytes(range(256)) * 4096


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    told = {
        "method": request.method,
        "path": request.path_qs,
        "digest": hashlib.sha256(body).hexdigest(),
        "size": len(body),
        "chunked": request.headers.get("Transfer-Encoding") == "chunked",
        "type": request.headers.get("Content-Type"),
        "cookie": request.headers.get("Cookie"),
        "connection": id(request.transport),
    }
    return web.json_response(told, headers={"X-Served": "echo"})


async def _stream(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(8):
        await answer.write(BODY[: MIB // 8])
    await answer.write_eof()
    return answer


async def _lines(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for number in range(5):
        await answer.write(b"line %d\n" % number)
        await asyncio.sleep(0.01)  # lines that come one by one
    return answer


async def _down(request: web.Request) -> web.Response:
    return web.Response(body=BODY)


async def _gone(request: web.Request) -> web.Response:
    raise web.HTTPFound("/echo?followed")


async def _empty(request: web.Request) -> web.Response:
    return web.Response(status=204)


async def _cookie(request: web.Request) -> web.Response:
    answer = web.Response(text="cookie")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    app = web.Application(client_max_size=64 * MIB)
    paths = {"/stream": _stream, "/lines": _lines, "/down": _down, "/gone": _gone, "/empty": _empty, "/cookie": _cookie}
    for path, handler in paths.items():
        app.router.add_get(path, handler)
    app.router.add_route("*", "/{rest:.*}", _echo)
    with LoopThread() as thread:
        runner = web.AppRunner(app)
        port = thread.run(_start(runner))
        directory = Path(tmp_path_factory.mktemp("gateway"))
        _write_certificates(directory)
        config = f"""
listen:
  - 127.0.0.1:0
  - {{address: "localhost:0", tls: {{cert: {directory}/own.pem, key: {directory}/own.pem}}}}
upstreams: {{u: "http://127.0.0.1:{port}"}}
routes: [{{name: all, match: "/*", to: u}}]
"""
        with Gateway(config, directory) as gateway:
            yield gateway
        thread.run(runner.cleanup())


def _write_certificates(directory: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
        str(directory / "own.pem")
    )


async def _start(runner: web.AppRunner) -> int:
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return int(runner.addresses[0][1])


def _is_body(told: dict[str, Any], body: bytes = BODY) -> bool:
    return bool((told["size"], told["digest"]) == (len(body), hashlib.sha256(body).hexdigest()))


# --- curl -----------------------------------------------------------------------------------------------------------


def _curl(gateway: Gateway, path: str, *options: str, data: bytes = b"") -> bytes:
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--max-time", "20", *options, gateway.base_url + path],
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_curl(gateway: Gateway) -> None:
    assert json.loads(_curl(gateway, "/echo?x=1"))["path"] == "/echo?x=1"
    assert _is_body(json.loads(_curl(gateway, "/up", "--data-binary", "@-", data=BODY)))
    told = json.loads(_curl(gateway, "/up", "-T", "-", "-H", "Expect: 100-continue", data=BODY))
    assert _is_body(told)
    assert told["method"] == "PUT"
    assert _curl(gateway, "/down") == BODY
    assert _curl(gateway, "/stream") == BODY
    assert b"X-Served: echo" in _curl(gateway, "/echo", "-I")
    assert json.loads(_curl(gateway, "/gone", "-L"))["path"] == "/echo?followed"
    assert json.loads(_curl(gateway, "/echo", "--http1.0"))["method"] == "GET"


def test_curl_asks_for_http_2_and_gets_http_1_1(gateway: Gateway) -> None:
    out = _curl(gateway, "/echo", "--http2", "-w", "\n%{http_version}")
    assert out.endswith(b"\n1.1")


def test_curl_keeps_one_connection(gateway: Gateway) -> None:
    urls = [gateway.base_url + "/echo"] * 4
    out = _curl(gateway, "/echo", "-w", "\n%{num_connects}\n", *urls).decode().splitlines()
    assert [line for line in out if line.isdigit()] == ["1", "0", "0", "0", "0"]


# --- load generators ------------------------------------------------------------------------------------------------


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_wrk(gateway: Gateway) -> None:
    out = _run("wrk", "-t1", "-c8", "-d1s", gateway.base_url + "/echo")
    assert "Socket errors" not in out
    assert "Non-2xx" not in out
    assert int(re.findall(r"(\d+) requests in", out)[0]) > 50


@pytest.mark.parametrize("listener", [0, 1])
def test_h2load(gateway: Gateway, listener: int) -> None:
    out = _run("h2load", "--h1", "-n", "400", "-c", "8", gateway.base_urls[listener] + "/echo")
    assert "400 succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert "400 2xx, 0 3xx, 0 4xx, 0 5xx" in out


# --- TLS ------------------------------------------------------------------------------------------------------------


def test_curl_with_tls(gateway: Gateway) -> None:
    def curl(path: str, *options: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--cacert", _trust(gateway), *options, gateway.base_urls[1] + path],
            input=data,
            capture_output=True,
            check=True,
        )
        return done.stdout

    assert _is_body(json.loads(curl("/up", "--data-binary", "@-", data=BODY)))
    assert curl("/down") == BODY
    assert curl("/stream") == BODY
    assert curl("/echo", "--http2", "-o", "/dev/null", "-w", "%{http_version}") == b"1.1"


def _trust(gateway: Gateway) -> str:
    return str(gateway.config.parent / "ca.pem")


def _tls(gateway: Gateway) -> Raw:
    return Raw(
        int(gateway.base_urls[1].rpartition(":")[2]),
        tls=ssl.create_default_context(cafile=_trust(gateway)),
        server_name="127.0.0.1",
    )


def test_pipelining_and_refusals_with_tls(gateway: Gateway) -> None:
    with _tls(gateway) as raw:
        raw.send(
            b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n" * 5
            + b"nonsense\r\n\r\n"
            + b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        begun = time.monotonic()
        assert [raw.answer().status for _ in range(6)] == [200] * 5 + [400]
        assert time.monotonic() - begun < 2
        assert raw.rest() == b""


def test_a_slow_reader_with_tls(gateway: Gateway) -> None:
    with _tls(gateway) as raw:
        raw.send(b"GET /down HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"".join(raw.pieces()) == BODY
        assert not raw.was_reset


# --- requests -------------------------------------------------------------------------------------------------------


def test_requests(gateway: Gateway) -> None:
    with requests.Session() as session:
        session.trust_env = False
        url = gateway.base_url
        assert session.get(url + "/echo", params={"q": "ä b"}).json()["path"] == "/echo?q=%C3%A4+b"
        assert _is_body(session.post(url + "/up", data=BODY).json())
        chunked = session.post(url + "/up", data=(BODY[at : at + 10_000] for at in range(0, MIB, 10_000))).json()
        assert _is_body(chunked)
        assert chunked["chunked"]
        assert session.get(url + "/down").content == BODY
        with session.get(url + "/lines", stream=True) as answer:
            assert list(answer.iter_lines()) == [b"line %d" % number for number in range(5)]
        assert session.get(url + "/gone").json()["path"] == "/echo?followed"
        assert session.get(url + "/empty").status_code == 204
        session.get(url + "/cookie")
        assert session.get(url + "/echo").json()["cookie"] == "a=1; b=2"
        head = session.head(url + "/echo")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["Content-Length"]) > 0
        assert session.get(url + "/echo").status_code == 200


# --- httpx ----------------------------------------------------------------------------------------------------------


def test_httpx(gateway: Gateway) -> None:
    with httpx.Client(base_url=gateway.base_url, trust_env=False) as client:
        assert client.get("/echo").json()["method"] == "GET"
        assert client.put("/up", content=BODY).json()["size"] == MIB
        assert _is_body(client.post("/up", content=iter([BODY[:MIB], b""])).json())
        assert client.post("/up", files={"file": ("name.bin", BODY)}).json()["type"].startswith("multipart/form-data")
        assert client.get("/down").content == BODY
        with client.stream("GET", "/stream") as answer:
            assert b"".join(answer.iter_bytes()) == BODY
        assert client.request("DELETE", "/echo").json()["method"] == "DELETE"
        assert client.get("/empty").status_code == 204


async def test_httpx_in_parallel(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.base_url, trust_env=False) as client:
        answers = await asyncio.gather(*[client.get(f"/echo?{number}") for number in range(60)])
    assert [answer.json()["path"] for answer in answers] == [f"/echo?{number}" for number in range(60)]


# --- aiohttp --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def session(gateway: Gateway) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(gateway.base_url) as session:
        yield session


async def test_aiohttp(session: aiohttp.ClientSession) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, MIB, 50_000):
            yield BODY[at : at + 50_000]

    async with session.get("/echo?x") as answer:
        assert (await answer.json())["path"] == "/echo?x"
    async with session.post("/up", data=BODY) as answer:
        assert _is_body(await answer.json())
    async with session.post("/up", data=pieces()) as answer:
        assert _is_body(await answer.json())
    async with session.post("/up", data=BODY, expect100=True) as answer:
        assert _is_body(await answer.json())
    async with session.get("/stream") as answer:
        assert await answer.read() == BODY
    async with session.get("/lines") as answer:
        assert [line async for line in answer.content] == [b"line %d\n" % number for number in range(5)]
    async with session.head("/down") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(MIB))


async def test_aiohttp_in_parallel_with_bodies(session: aiohttp.ClientSession) -> None:
    async def one(number: int) -> bool:
        body = bytes([number % 256]) * (1 + number * 1777)
        async with session.post(f"/up?{number}", data=body) as answer:
            return _is_body(await answer.json(), body)

    assert all(await asyncio.gather(*[one(number) for number in range(80)]))


async def test_a_client_that_gives_up_halfway_harms_nobody(session: aiohttp.ClientSession) -> None:
    for _ in range(10):
        async with session.get("/stream") as answer:
            await answer.content.readexactly(1000)
            answer.close()
    async with session.get("/stream") as answer:
        assert await answer.read() == BODY
