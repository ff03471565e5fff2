"""The public Request and Response."""

import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway import Fetched, FetchError, Headers, Request, Response
from gateway.core.errors import GatewayError


def test_names_of_fields_are_found_in_any_case() -> None:
    headers = Headers([("X-Tier", "gold"), ("Accept", "a"), ("accept", "b")])
    assert headers["x-tier"] == headers.get("X-TIER") == "gold"
    assert headers["accept"] == "a, b"
    assert headers.get_all("ACCEPT") == ["a", "b"]
    assert "x-TIER" in headers
    assert "none" not in headers
    assert headers.get("none") is None
    assert list(headers) == ["X-Tier", "Accept", "accept"]
    with pytest.raises(KeyError):
        headers["none"]


def test_fields_are_replaced_added_and_removed() -> None:
    headers = Headers({"accept": "a"})
    headers.add("Accept", "b")
    headers["ACCEPT"] = "c"
    headers.setdefault("accept", "d")
    headers.setdefault("x-new", "e")
    assert headers.items() == [("ACCEPT", "c"), ("x-new", "e")]
    del headers["accept"]
    assert headers.pop("x-new") == "e"
    assert headers.pop("x-new") is None
    assert len(headers) == 0
    with pytest.raises(KeyError):
        del headers["accept"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("x", "a\r\nSet-Cookie: b"), ("x", "a\n"), ("x", "a\0"), ("x y", "a"), ("", "a"), ("x:", "a"), ("x", "\u20ac")],
)
def test_no_field_can_end_its_line(name: str, value: str) -> None:
    for write in (
        lambda: Headers([(name, value)]),
        lambda: Headers().add(name, value),
        lambda: Headers().__setitem__(name, value),
        lambda: Response(headers={name: value}),
        lambda: setattr(Response(), "headers", {name: value}),
        lambda: setattr(Request(method="GET", path="/"), "headers", {name: value}),
    ):
        with pytest.raises(ValueError, match="header field"):
            write()


def test_what_a_request_says() -> None:
    request = Request(
        method="POST",
        path="/orders",
        query="a=1&b=%20x&a=2&empty=",
        headers=Headers([("Cookie", "session=abc; theme=dark"), ("Host", "shop.example.com")]),
        body=b'{"n": 1}',
        params={"id": "7"},
        client_ip="10.0.0.1",
        request_id="r1",
        deadline=5.0,
    )
    assert request.args == {"a": "2", "b": " x", "empty": ""}
    assert request.cookies == {"session": "abc", "theme": "dark"}
    assert request.json() == {"n": 1}
    assert request.state == {}
    assert (request.params, request.client_ip, request.request_id, request.deadline) == (
        {"id": "7"},
        "10.0.0.1",
        "r1",
        5.0,
    )


def test_a_body_that_is_not_json_is_a_bad_request() -> None:
    with pytest.raises(GatewayError) as caught:
        Request(method="POST", path="/", body=b"{").json()
    assert caught.value.reason.name == "bad_request"
    assert caught.value.status == 400


def test_a_body_that_was_too_large_to_keep_says_so() -> None:
    request = Request(method="POST", path="/", body=None)
    assert not request.has_body
    with pytest.raises(GatewayError, match=r"buffer\.request"):
        request.body  # noqa: B018
    request.body = b"other"
    assert request.body == b"other"
    with pytest.raises(TypeError, match="is bytes, not str"):
        request.body = "text"  # type: ignore[assignment]


def test_a_request_goes_to_another_process_without_the_gateway() -> None:
    class Nothing:
        pass

    request = Request(method="GET", path="/a", headers=Headers({"a": "b"}), gateway=Nothing())  # type: ignore[arg-type]
    assert isinstance(request.gateway, Nothing)
    request.state["user"] = 3
    again: Request = pickle.loads(pickle.dumps(request))
    assert (again.path, again.headers, again.state) == ("/a", request.headers, {"user": 3})
    with pytest.raises(RuntimeError, match="not there in an executor of processes"):
        again.gateway  # noqa: B018


async def _pieces() -> AsyncIterator[bytes]:
    yield b"a"


def _plain_pieces() -> Iterator[bytes]:
    yield b"a"


@pytest.mark.parametrize(
    ("response", "body", "content_type"),
    [
        (Response("hé"), "hé".encode(), "text/plain; charset=utf-8"),
        (Response(b"x"), b"x", "application/octet-stream"),
        (Response(json={"a": [1]}), b'{"a":[1]}', "application/json"),
        (Response(json={}), b"{}", "application/json"),
        (Response(b"<p>", headers={"Content-Type": "text/html"}), b"<p>", "text/html"),
        (Response(status=204), b"", None),
    ],
)
def test_a_body_becomes_bytes(response: Response, body: bytes, content_type: str | None) -> None:
    assert response.body == body
    assert response.headers.get("content-type") == content_type


@pytest.mark.parametrize("body", [_pieces(), _plain_pieces(), [b"a", b"b"]])
def test_a_body_may_come_in_pieces(body: Any) -> None:
    response = Response(body)
    assert response.body is body
    assert response.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("body", [{"a": 1}, 3, None, bytearray(b"a"), memoryview(b"a"), object()])
def test_what_is_no_body_is_refused_with_what_to_write(body: Any) -> None:
    with pytest.raises(TypeError, match=r"for JSON: Response\(json=\.\.\.\)"):
        Response(body)


@pytest.mark.parametrize("status", [0, 99, 101, 199, 600, "200", None])
def test_only_final_statuses_can_be_answered(status: Any) -> None:
    with pytest.raises(ValueError, match="200 to 599"):
        Response(status=status)
    with pytest.raises(ValueError, match="200 to 599"):
        Response().status = status


def test_what_was_fetched_is_json_when_asked() -> None:
    assert Fetched(200, Headers(), b"[1]").json() == [1]
    with pytest.raises(ValueError, match="JSON"):
        Fetched(200, Headers(), b"<p>").json()


def test_errors_come_back_from_processes() -> None:
    error: GatewayError = pickle.loads(pickle.dumps(GatewayError("executor_full", "full", retry_after_s=2.5)))
    assert (error.reason.name, error.detail, error.status, error.retry_after_s) == ("executor_full", "full", 503, 2.5)
    fetch: FetchError = pickle.loads(pickle.dumps(FetchError("upstream_timeout", "late")))
    assert (fetch.reason, fetch.detail) == ("upstream_timeout", "late")
