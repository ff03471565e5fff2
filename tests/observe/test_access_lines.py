"""What a line says, whatever stands in the request."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.exchange import Exchange
from gateway.observe.access_lines import LINE_BYTES
from gateway.observe.access_log import AccessLogSettings, compile_formatter, format_combined, format_json

FIELDS = (
    "ts, request_id, client_ip, method, scheme, host, path, protocol, route, upstream, target, status, "
    "upstream_status, source, reason, bytes_in, bytes_out, duration_ms, overhead_ms, queue_ms, executor_ms, "
    "connect_ms, ttfb_ms, attempts, user_agent, worker"
).split(", ")

NOW = 1_795_398_929.0429
"""2026-11-23T01:55:29.042Z"""


def proxied() -> Exchange:
    exchange = Exchange("GET", "/orders/1", "token=secret", "HTTP/1.1", started_at=50.0)
    exchange.ended_at = 50.0123456
    exchange.request_id, exchange.client_ip = "5f2c", "203.0.113.9"
    exchange.scheme, exchange.host, exchange.route, exchange.source = "https", "shop.example.com", "o", "upstream"
    exchange.upstream, exchange.target = "orders", "10.0.0.1:8000"
    exchange.status = exchange.upstream_status = 200
    exchange.bytes_in, exchange.bytes_out, exchange.attempts = 3, 1234, 1
    exchange.overhead_s, exchange.ttfb_s, exchange.connect_s, exchange.queue_s = 0.0002, 0.008, 0.001, 0.25
    exchange.user_agent = "curl/8"
    return exchange


def test_every_field_in_its_order() -> None:
    line = format_json(proxied(), 3, NOW)
    assert line.endswith(b"}\n")
    fields = json.loads(line)
    assert list(fields) == FIELDS
    assert fields == {
        "ts": "2026-11-23T01:55:29.042Z",
        "request_id": "5f2c",
        "client_ip": "203.0.113.9",
        "method": "GET",
        "scheme": "https",
        "host": "shop.example.com",
        "path": "/orders/1",
        "protocol": "HTTP/1.1",
        "route": "o",
        "upstream": "orders",
        "target": "10.0.0.1:8000",
        "status": 200,
        "upstream_status": 200,
        "source": "upstream",
        "reason": None,
        "bytes_in": 3,
        "bytes_out": 1234,
        "duration_ms": 12.345,
        "overhead_ms": 0.2,
        "queue_ms": 250.0,
        "executor_ms": None,
        "connect_ms": 1.0,
        "ttfb_ms": 8.0,
        "attempts": 1,
        "user_agent": "curl/8",
        "worker": 3,
    }


def test_what_does_not_apply_is_null() -> None:
    exchange = Exchange("", "", None, "", started_at=1.0)
    exchange.ended_at, exchange.status, exchange.reason = 1.0, 400, "bad_request"
    fields = json.loads(format_json(exchange, 0, NOW))
    assert list(fields) == FIELDS
    nulls = {name for name, value in fields.items() if value is None}
    assert nulls == {
        *("request_id", "client_ip", "method", "scheme", "host", "path", "protocol"),
        *("upstream", "target", "upstream_status", "queue_ms", "executor_ms", "connect_ms", "ttfb_ms"),
        "user_agent",
    }
    assert (fields["route"], fields["source"], fields["reason"]) == ("_unmatched", "gateway", "bad_request")


def test_stream_and_tls_stand_behind_where_they_apply() -> None:
    exchange = proxied()
    exchange.stream, exchange.tls = "websocket", "TLSv1.3 AES"
    fields = json.loads(format_json(exchange, 0, NOW))
    assert list(fields) == [*FIELDS, "stream", "tls"]
    assert (fields["stream"], fields["tls"]) == ("websocket", "TLSv1.3 AES")


def test_the_second_moves_on() -> None:
    stamps = [json.loads(format_json(proxied(), 0, NOW + step))["ts"][-7:] for step in (0, 0.957, 0.958, 61)]
    assert stamps == ["29.042Z", "29.999Z", "30.000Z", "30.042Z"]


@pytest.mark.parametrize("formatter", [format_json, format_combined])
def test_the_query_is_never_logged_by_default(formatter: object) -> None:
    assert b"secret" not in formatter(proxied(), 0, NOW)  # type: ignore[operator]


def test_combined() -> None:
    expected = b'203.0.113.9 - - [23/Nov/2026:01:55:29 +0000] "GET /orders/1 HTTP/1.1" 200 1234 "-" "curl/8"\n'
    assert format_combined(proxied(), 0, NOW) == expected


def test_combined_without_a_request() -> None:
    exchange = Exchange("", "", None, "", started_at=1.0)
    exchange.status = 400
    assert format_combined(exchange, 0, NOW) == b'- - - [23/Nov/2026:01:55:29 +0000] "-" 400 0 "-" "-"\n'


def test_combined_escapes_what_would_forge_a_line() -> None:
    exchange = proxied()
    exchange.user_agent = 'a" 200\n\\ é\x80'
    assert format_combined(exchange, 0, NOW).endswith(b'"a\\x22 200\\x0A\\x5C \\xC3\\xA9\\xC2\\x80"\n')


def test_json_escapes_controls_beyond_what_json_demands() -> None:
    exchange = proxied()
    exchange.user_agent = "\x00\x1b[31m\x7f\x9b\u2028é\udc80"
    line = format_json(exchange, 0, NOW)
    assert b"\\u0000\\u001b[31m\\u007f\\u009b\\u2028\xc3\xa9\\\\udc80" in line
    assert line.count(b"\n") == 1


TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=0x2FFF), max_size=6000) | st.text('\\"\x00é', max_size=6000)


@given(path=TEXT, agent=TEXT | st.text(st.characters(categories=["Cs"]), max_size=9), extra=TEXT)
def test_any_text_gives_one_line_that_fits(path: str, agent: str, extra: str) -> None:
    exchange = proxied()
    exchange.path, exchange.user_agent, exchange.extra = path, agent, {"x-a": extra}
    for name in ("json", "combined"):
        line = compile_formatter(AccessLogSettings(format=name, add=("header:X-A",)))(exchange, 0, NOW)
        assert line is not None
        assert len(line) <= LINE_BYTES
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        text = line[:-1].decode()
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)
        if name == "json":
            assert list(json.loads(line)) == [*FIELDS, "header:x-a"]


def test_a_long_value_is_cut_and_the_others_are_kept() -> None:
    exchange = proxied()
    exchange.path = "/" + "a" * 8000
    fields = json.loads(format_json(exchange, 0, NOW))
    assert fields["path"].endswith("…")
    assert len(fields["path"]) > 1000
    assert fields["user_agent"] == "curl/8"


def test_fields_added_and_dropped() -> None:
    settings = AccessLogSettings(add=("query", "header:X-Tenant"), drop=("user_agent", "executor_ms"))
    assert settings.headers == ("x-tenant",)
    exchange = proxied()
    exchange.extra = {"x-tenant": "acme"}
    fields = json.loads(compile_formatter(settings)(exchange, 0, NOW) or b"")
    assert fields["query"] == "token=secret"
    assert fields["header:x-tenant"] == "acme"
    assert set(FIELDS) - set(fields) == {"user_agent", "executor_ms"}


def test_an_added_field_that_is_not_there_is_null() -> None:
    fields = json.loads(compile_formatter(AccessLogSettings(add=("header:x",)))(proxied(), 0, NOW) or b"")
    assert fields["header:x"] is None


def test_combined_with_fields_added_and_dropped() -> None:
    add = AccessLogSettings(format="combined", add=("query", "header:x"), drop=("client_ip", "user_agent"))
    exchange = proxied()
    exchange.extra = {"x": "a b"}
    line = compile_formatter(add)(exchange, 0, NOW) or b""
    assert line.startswith(b"- - - [")
    assert line.endswith(b'"GET /orders/1?token=secret HTTP/1.1" 200 1234 "-" "-" "a b"\n')


def logged(settings: AccessLogSettings, *, status: int = 200, took_s: float = 0.01, roll: float = 0.5) -> bool:
    exchange = proxied()
    exchange.status, exchange.ended_at = status, exchange.started_at + took_s
    return compile_formatter(settings, rng=lambda: roll)(exchange, 0, NOW) is not None


def test_sampling_keeps_its_share_and_every_error() -> None:
    half = AccessLogSettings(sample=0.5)
    assert logged(half, roll=0.49)
    assert not logged(half, roll=0.5)
    assert logged(half, roll=0.99, status=500)
    assert not logged(AccessLogSettings(sample=0.0), roll=0.0)
    assert logged(AccessLogSettings(sample=1.0), roll=0.999)


def test_only_the_slow_or_the_failed() -> None:
    slow = AccessLogSettings(min_duration_s=0.1)
    assert logged(slow, took_s=0.11)
    assert not logged(slow, took_s=0.09)
    assert logged(slow, took_s=0.0, status=502)
    errors = AccessLogSettings(only_errors=True)
    assert logged(errors, status=500)
    assert not logged(errors, status=404)


def test_a_cut_answer_is_an_error_whatever_its_status() -> None:
    exchange = proxied()
    exchange.reason = "upstream_truncated"
    assert compile_formatter(AccessLogSettings(only_errors=True))(exchange, 0, NOW) is not None
