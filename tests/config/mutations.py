"""A good config in many lines, and ways to break it, each at a line that is known."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

GOOD: dict[str, Any] = {
    "listen": [{"address": "0.0.0.0:8080", "proxy_protocol": True, "backlog": 128}, "127.0.0.1:8081"],
    "admin": {"address": "127.0.0.1:9901", "token": "s", "open": ["healthz", "metrics"]},
    "workers": "auto",
    "trusted_proxies": ["10.0.0.0/8", "192.0.2.7"],
    "log": {"level": "debug", "format": "json"},
    "access_log": {
        "path": "/tmp/log",
        "format": "combined",
        "fields": {"add": ["query", "header:referer"], "drop": ["worker"]},
        "sample": "10%",
        "min_duration": "5ms",
        "only_errors": False,
    },
    "limits": {"line": "8KiB", "header_count": 50, "body": "off", "keep_alive": "75s", "underscores": "drop"},
    "overload": {"loop_lag": "250ms", "memory": "off"},
    "shutdown": {"wait": "0s", "drain": "30s"},
    "defaults": {
        "route": {"timeout": "30s", "headers": {"response": {"set": {"x-a": "1"}, "remove": ["server"]}}},
        "upstream": {"timeout": {"connect": "1s"}},
    },
    "loop_guard": "50ms",
    "executors": {
        "default": {"threads": 4, "queue": 8, "timeout": "5s", "abandoned": 2},
        "scoring": {"processes": 2},
    },
    "upstreams": {
        "orders": {
            "targets": ["http://10.0.0.1:8000", {"url": "http://10.0.0.2:8000", "weight": 2}],
            "balance": {"consistent_hash": "header:x-user"},
            "timeout": {"connect": "1s", "head": "30s", "idle": "off"},
            "connections": {"max": 512, "wait": "1s", "idle": 0, "idle_timeout": "4s"},
        },
        "next": {"targets": ["https://a.example"], "tls": {"verify": False, "server_name": "a"}, "balance": "random"},
    },
    "routes": [
        {
            "name": "order",
            "match": {
                "path": ["/orders/{id}", "/o/{id}"],
                "methods": ["GET", "PUT"],
                "hosts": ["a.example"],
                "headers": {"x-beta": "*"},
                "query": {"v": "2"},
            },
            "to": {"orders": "90%", "next": "10%"},
            "rewrite": "/v2/{id}",
            "host": "upstream",
            "timeout": "5s",
            "body_limit": "1MiB",
            "buffer": {"request": "64KiB", "response": "256KiB"},
            "headers": {"request": {"set": {"x-tier": "gold"}, "remove": ["cookie"]}},
        },
        {"name": "api", "match": "GET /api/*", "to": "orders", "strip": "/api"},
        {"name": "ping", "match": "GET /ping", "respond": {"status": 200, "body": "pong", "headers": {"x-b": "c"}}},
        {"name": "old", "match": "/old/*", "redirect": {"location": "https://b.example/", "status": 301}},
        {
            "name": "price",
            "match": "POST /price",
            "handler": {"run": "price.py:quote", "executor": "scoring", "timeout": "1s"},
            "plugins": ["shop.keys:check", {"run": "fraud.py:Fraud", "on_error": "allow", "name": "fraud"}],
        },
        {
            "name": "legacy",
            "match": "/legacy/*",
            "strip": "/legacy",
            "app": {"wsgi": "l.py:app", "executor": "default"},
        },
        {"name": "docs", "match": "/docs/*", "app": {"asgi": "docs.site:app"}},
        {
            "name": "portfolio",
            "match": "GET /portfolio/{user}",
            "aggregate": {
                "deadline": "800ms",
                "merge": "flat",
                "forward": ["authorization"],
                "sources": {
                    "account": {
                        "to": "orders",
                        "path": "/users/{user}",
                        "required": True,
                        "headers": {"x-a": "{user}"},
                    },
                    "items": {
                        "to": "next",
                        "path": "/items/{account.region}",
                        "method": "POST",
                        "body": {"ids": ["{account.id}"]},
                        "timeout": "300ms",
                        "fallback": [],
                        "pick": "data[*].id",
                        "rename": {"a": "b"},
                    },
                },
            },
        },
    ],
    "tests": [
        {
            "request": "GET /api/x",
            "headers": {"a": "b"},
            "expect": {"route": "api", "upstream": "orders", "path": "/x"},
        },
        {"request": "GET /ping", "expect": {"status": 200}},
    ],
}

UNCLOSED = ("'a", '"a')
JUNK = [
    *(
        "",
        "~",
        "true",
        "-1",
        "0",
        "5",
        "1.5",
        "999999999999",
        "soon",
        "é",
        "a b",
        "/",
        "http://",
        "[]",
        "{}",
        "[1]",
        "{a: b}",
    ),
    *(
        "{id}",
        "[a",
        "{a",
        "'a",
        '"a',
        '"\\q"',
        '"\\ud800"',
        "*x",
        "&x",
        "!!int 5",
        "!x",
        "@a",
        "`a",
        "%a",
        "- a",
        "a: b",
        "|",
    ),
    *(
        "${UNSET}",
        "${",
        "$${",
        "5x",
        "5",
        "9" * 400,
        "a" * 5000,
        "\x00",
        "\x1b[2J",
        "\ufeff",
        "\u2028",
        "a\tb",
        "#",
        "? a",
    ),
    *("<<", "null", "off", "1e999", "0x", "010", "-", "...", "---"),
]


@dataclass(frozen=True)
class Raw:
    """Text that stands in the YAML as it is."""

    text: str


@dataclass(frozen=True)
class Broken:
    """A changed config; `lines` are those whose fault it is."""

    what: str
    text: str
    lines: frozenset[int]


class Writer:
    """Block style, one value a line; remembers the line of each path."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.line_of: dict[Path, int] = {}
        self._write(config, (), "")

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def _write(self, value: Any, path: Path, indent: str) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            head = f"{indent}-" if isinstance(value, list) else f"{indent}{key}:"
            self.line_of[*path, key] = len(self.lines) + 1
            if isinstance(item, dict | list) and item:
                self.lines.append(head)
                self._write(item, (*path, key), indent + "  ")
            else:
                self.lines.append(f"{head} {item.text if isinstance(item, Raw) else json.dumps(item)}")


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """All paths in a config, but its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


PATHS = list(paths(GOOD))
LINE_OF = Writer(GOOD).line_of


def at(config: Any, path: Path) -> Any:
    for part in path:
        config = config[part]
    return config


def deleted(path: Path) -> Broken:
    config = deepcopy(GOOD)
    del at(config, path[:-1])[path[-1]]
    return _broken(f"without {path}", config, path[:-1], at(GOOD, path[:-1]))


def renamed(path: Path, name: str) -> Broken:
    config = deepcopy(GOOD)
    inside = at(config, path[:-1])
    changed = {name if key == path[-1] else key: value for key, value in inside.items()}
    inside.clear()
    inside.update(changed)
    return _broken(f"{path} as {name}", config, (*path[:-1], name), path[-1])


def replaced(path: Path, value: Any) -> Broken:
    config = deepcopy(GOOD)
    at(config, path[:-1])[path[-1]] = value
    broken = _broken(f"{path} = {value!r}", config, path, at(GOOD, path))
    if isinstance(value, Raw) and value.text in UNCLOSED:
        # A quote takes the lines below in, up to the next one; the fault comes to light there.
        below = range(min(broken.lines), broken.text.count("\n") + 1)
        return Broken(broken.what, broken.text, broken.lines | set(below))
    return broken


def _broken(what: str, config: dict[str, Any], path: Path, was: Any) -> Broken:
    """At fault are the line of `path`, those inside it, and those that name what was there."""
    writer = Writer(config)
    own = {line for other, line in writer.line_of.items() if other[: len(path)] == path} if path else {1}
    names = [str(each) for each in [was, *paths_and_texts(was)] if isinstance(each, str) and each]
    names += [param for name in names for param in re.findall(r"\{\w+\}", name)]
    own |= {number for number, line in enumerate(writer.lines, 1) if any(name in line for name in names)}
    # `strip: "/api"` speaks of `match: "GET /api/*"`.
    strips = [(number, line.split('"')[1]) for number, line in enumerate(writer.lines, 1) if 'strip: "' in line]
    own |= {number for number, strip in strips if any(strip in name for name in names)}
    return Broken(what, writer.text, frozenset(own))


def paths_and_texts(value: Any) -> Iterator[Any]:
    """All keys and scalars in a value."""
    for path in paths(value):
        yield path[-1]
        yield at(value, path)


KEYS = [path for path in PATHS if isinstance(path[-1], str)]
VALUES = st.one_of(
    st.sampled_from(JUNK).map(Raw),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=20),
    st.sampled_from([["a"], {"a": "b"}, {"file": "nope"}, [[]], {"": ""}]),
)
BREAKS: st.SearchStrategy[Broken] = st.one_of(
    st.sampled_from(PATHS).map(deleted),
    st.builds(renamed, st.sampled_from(KEYS), st.sampled_from(["x", "nam", "timout", "a b", "", "ROUTES", "0", "~"])),
    st.builds(replaced, st.sampled_from(PATHS), VALUES),
)
