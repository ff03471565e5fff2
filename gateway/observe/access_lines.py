"""One exchange as one line: JSON or Apache's combined format.

Runs on the loop for every request, so it is written for speed: about 2 us a line.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from gateway.core.exchange import Exchange
from gateway.core.json import dumps_line

LINE_BYTES: Final = 4096
"""The most a pipe takes whole (PIPE_BUF): more could be torn by another worker, so long values are cut."""

_SHORT: Final = 16
"""Values that are no longer than this are never cut."""

_MILLISECONDS: Final = tuple(f".{ms:03d}Z" for ms in range(1000))
_UNESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029]")
"""Control characters and line ends that JSON allows as they are."""
_NOT_PLAIN: Final = re.compile(r"[^ !#-\[\]-~]")


def json_fields(exchange: Exchange, worker: int, now_wall: float) -> dict[str, Any]:
    """The fields of the line, in their order."""
    second = int(now_wall)
    second_text = _rfc3339_second.get(second) or _rfc3339(second)
    queue_s, connect_s, ttfb_s = exchange.queue_s, exchange.connect_s, exchange.ttfb_s
    executor_s = exchange.executor_s
    # int(x * 1e6) / 1e3 keeps whole microseconds at half the cost of round(x * 1e3, 3)
    fields: dict[str, Any] = {
        "ts": second_text + _MILLISECONDS[int((now_wall - second) * 1000)],
        "request_id": exchange.request_id or None,
        "client_ip": exchange.client_ip or None,
        "method": exchange.method or None,
        "scheme": exchange.scheme or None,
        "host": exchange.host or None,
        "path": exchange.path or None,
        "protocol": exchange.protocol or None,
        "route": exchange.route,
        "upstream": exchange.upstream,
        "target": exchange.target,
        "status": exchange.status,
        "upstream_status": exchange.upstream_status,
        "source": exchange.source,
        "reason": exchange.reason,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        "duration_ms": int((exchange.ended_at - exchange.started_at) * 1e6) / 1e3,
        "overhead_ms": int(exchange.overhead_s * 1e6) / 1e3,
        "queue_ms": None if queue_s is None else int(queue_s * 1e6) / 1e3,
        "executor_ms": None if executor_s is None else int(executor_s * 1e6) / 1e3,
        "connect_ms": None if connect_s is None else int(connect_s * 1e6) / 1e3,
        "ttfb_ms": None if ttfb_s is None else int(ttfb_s * 1e6) / 1e3,
        "attempts": exchange.attempts,
        "user_agent": exchange.user_agent,
        "worker": worker,
    }
    if exchange.hedged:
        fields["hedged"] = True
    if exchange.plugins is not None:
        fields["plugins"] = exchange.plugins
    if exchange.sources is not None:
        fields["sources"] = exchange.sources
    if exchange.stream is not None:
        fields["stream"] = exchange.stream
    if exchange.tls is not None:
        fields["tls"] = exchange.tls
    return fields


def json_line(fields: dict[str, Any]) -> bytes:
    """`fields` as one line that holds no control character, cut to LINE_BYTES."""
    try:
        line = dumps_line(fields)
    except TypeError:  # a lone surrogate, which is no Unicode
        line = dumps_line({name: _encodable(value) for name, value in fields.items()})
    if not line.isascii() or b"\x7f" in line:
        line = _UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode()
    return line if len(line) <= LINE_BYTES else _cut(fields, line)


def _cut(fields: dict[str, Any], line: bytes) -> bytes:
    """Halve the longest text until the line fits."""
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    longest = max(texts, key=lambda name: len(texts[name]))
    text = texts[longest]
    if len(text) <= _SHORT:
        return line
    return json_line({**fields, longest: text[: len(text) // 2] + "…"})


def _encodable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def combined_line(exchange: Exchange, now_wall: float, client_ip: str, texts: list[str]) -> bytes:
    """Apache's combined format; `texts`: path, user agent, and what else goes behind it in quotes.

    The referer is left out: it carries query strings.
    """
    texts = [exchange.method, exchange.protocol, *texts]
    line = _combined(exchange, now_wall, client_ip or "-", _all_quoted(texts))
    while len(line) > LINE_BYTES:
        longest = max(range(len(texts)), key=lambda i: len(texts[i]))
        if len(texts[longest]) <= _SHORT:
            break
        texts[longest] = texts[longest][: len(texts[longest]) // 2] + "..."
        line = _combined(exchange, now_wall, client_ip or "-", _all_quoted(texts))
    return line.encode("ascii")


def _combined(exchange: Exchange, now_wall: float, client_ip: str, quoted: list[str]) -> str:
    method, protocol, path, *rest = quoted
    request = f"{method} {path} {protocol}" if method else "-"
    tail = '" "'.join(rest)
    return f'{client_ip} - - [{_clf_time(now_wall)}] "{request}" {exchange.status} {exchange.bytes_out} "-" "{tail}"\n'


def _all_quoted(texts: list[str]) -> list[str]:
    """`texts` with quotes, backslashes and everything beyond printable ASCII as \\xNN, as nginx does it."""
    together = "".join(texts)
    if together.isascii() and together.isprintable() and '"' not in together and "\\" not in together:
        return texts
    return [_NOT_PLAIN.sub(_hex, text) for text in texts]


def _hex(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


_rfc3339_second: dict[int, str] = {}
_clf_second: dict[int, str] = {}
"""Both hold the text of one second: the present one."""


def _rfc3339(second: int) -> str:
    _rfc3339_second.clear()
    text = _rfc3339_second[second] = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
    return text


def _clf_time(now_wall: float) -> str:
    second = int(now_wall)
    text = _clf_second.get(second)
    if text is None:
        _clf_second.clear()
        text = _clf_second[second] = f"{datetime.fromtimestamp(second, UTC):%d/%b/%Y:%H:%M:%S +0000}"
    return text
