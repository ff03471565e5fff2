"""Who may ask what."""

from typing import Any

import pytest

from gateway.core.address import Address

pytestmark = pytest.mark.usefixtures("workers")

GUARDED = [("GET", "/status"), ("GET", "/config"), ("POST", "/drain"), ("GET", "/nothing"), ("POST", "/metrics")]
OPEN = ["/", "/healthz", "/readyz", "/metrics"]


async def ask(client: Any, method: str, path: str, **headers: str) -> int:
    async with client.request(method, path, headers=headers) as answer:
        return int(answer.status)


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_with_a_token_only_the_token_opens(connect: Any, facts: Any, method: str, path: str) -> None:
    client = await connect(token="s3cret")
    for given in (None, "Bearer", "Bearer wrong", "Basic s3cret", "Bearer s3cret2", "s3cret"):
        headers = {} if given is None else {"Authorization": given}
        async with client.request(method, path, headers=headers) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not facts.draining
    assert await ask(client, method, path, Authorization="Bearer s3cret") in (200, 202, 404, 405)
    assert facts.draining == (path == "/drain")


@pytest.mark.parametrize("path", OPEN)
async def test_what_is_open_needs_no_token(connect: Any, path: str) -> None:
    client = await connect(token="s3cret", address=Address("0.0.0.0", 9901))
    assert await ask(client, "GET", path, Host="gateway.example") == 200
    assert await ask(client, "HEAD", path) == 200


async def test_what_the_config_closes_is_closed(connect: Any) -> None:
    client = await connect(token="s3cret", open=frozenset({"healthz"}))
    assert await ask(client, "GET", "/healthz") == 200
    assert await ask(client, "GET", "/metrics") == 401


async def test_state_is_never_changed_openly(connect: Any, facts: Any) -> None:
    client = await connect(token="s3cret", open=frozenset({"drain"}))
    assert await ask(client, "POST", "/drain") == 401
    assert not facts.draining


@pytest.mark.parametrize("host", ["127.0.0.1:9901", "localhost", "LOCALHOST:1", "[::1]:9901", "127.8.8.8"])
async def test_on_loopback_a_loopback_host_will_do(connect: Any, host: str) -> None:
    client = await connect()
    for method, path in GUARDED:
        assert await ask(client, method, path, Host=host) in (200, 202, 404, 405)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9901",
        "127.0.0.1.evil.example",
        "127.evil.example.x",
        "[bad",
        "10.0.0.1",
        "localhost.evil.example",
    ],
)
async def test_a_name_that_was_made_to_resolve_to_loopback_will_not(connect: Any, facts: Any, host: str) -> None:
    client = await connect()
    for method, path in GUARDED:
        assert await ask(client, method, path, Host=host) in (400, 403)
    assert not facts.draining


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_origin_may_not_ask(connect: Any, facts: Any, headers: dict[str, str]) -> None:
    client = await connect()
    for method, path in GUARDED:
        assert await ask(client, method, path, Host="localhost:9901", **headers) == 403
    assert not facts.draining


async def test_the_dashboard_itself_may_ask(connect: Any, facts: Any) -> None:
    client = await connect()
    own = {"Host": "localhost:9901", "Origin": "http://localhost:9901", "Sec-Fetch-Site": "same-origin"}
    assert await ask(client, "GET", "/status", **own) == 200
    assert await ask(client, "POST", "/drain", **own) == 202
    assert facts.draining


async def test_without_a_token_the_world_sees_only_what_is_open(connect: Any, facts: Any) -> None:
    client = await connect(address=Address("0.0.0.0", 9901))
    for method, path in GUARDED:
        assert await ask(client, method, path, Host="127.0.0.1:9901") == 403
    assert await ask(client, "GET", "/metrics") == 200
    assert not facts.draining
