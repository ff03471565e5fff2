"""The JSON Schema says what the loader accepts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.lines import Source
from gateway.config.load import Loaded
from gateway.config.parse import parse
from gateway.config.scalars import Variables
from gateway.config.schema import json_schema, models
from tests.config.conftest import Faults
from tests.config.json_schema import valid
from tests.config.mutations import GOOD


class Verbatim(Variables):
    """Leaves `${VAR}` as an editor sees it."""

    def scalar(self, text: str, plain: bool) -> Any:
        return text if "${" in text else super().scalar(text, plain)


def seen_by_an_editor(text: str) -> Any:
    return parse(Source("c.yaml", text), Verbatim({}), [])


def test_it_takes_the_good_config() -> None:
    schema = json_schema()
    assert valid(GOOD, schema, schema)


def test_it_takes_the_configs_that_come_with_the_gateway(config_directory: Path) -> None:
    schema = json_schema()
    files = [*config_directory.glob("*.yaml"), *config_directory.glob("examples/*.yaml")]
    assert len(files) > 12
    assert [str(path) for path in files if not valid(seen_by_an_editor(path.read_text()), schema, schema)] == []


ROUTES = "\nroutes: [{match: /, respond: 204}]"


@pytest.mark.parametrize(
    "text",
    [
        "listen: [':1', {address: ':2'}]" + ROUTES,
        "listen: ':1'\nadmin: 127.0.0.1:2\nlog: debug\nshutdown: 3s\naccess_log: off\nworkers: auto" + ROUTES,
        "trusted_proxies: 10.0.0.0/8\nlimits: {body: off, line: 1.5KiB}" + ROUTES,
        "upstreams: {a: http://h, b: [http://h], c: {targets: http://h, timeout: 5s, connections: 5}}" + ROUTES,
        "upstreams: {a: {targets: {url: http://h}, balance: {consistent_hash: ip}}}" + ROUTES,
        "routes: [{match: {path: /, methods: 'GET,PUT'}, redirect: /x}, {match: /x, respond: pong}]",
        "routes: [{match: /, respond: {body: {a: 1}, headers: {b: 2}}}]",
        "upstreams: {a: http://h}\nroutes: [{match: /, to: {a: 100%}, timeout: off, body_limit: off}]",
        "loop_guard: off\nexecutors: {a: {threads: 1}}\n"
        "routes: [{match: /, handler: 'm:f', plugins: {run: 'm:f', executor: a}}]",
        "routes: [{match: /, handler: {run: 'm:f'}, plugins: ['m:f', {run: 'm:f'}]}, {match: /x, app: {asgi: 'm:f'}}]",
        "upstreams: {a: http://h}\n"
        "routes: [{match: /, aggregate: {forward: x-a, sources: {s: {to: a, path: /, fallback: 5, body: [1]}}}}]",
    ],
)
def test_it_takes_short_forms(text: str, loaded: Callable[..., Loaded]) -> None:
    loaded(text, import_s=None)
    schema = json_schema()
    assert valid(seen_by_an_editor(text), schema, schema)


@pytest.mark.parametrize(
    "text",
    [
        "log: debug",
        "rutes: []",
        "workers: 0" + ROUTES,
        "workers: none" + ROUTES,
        "shutdown: {drain: 5}" + ROUTES,
        "limits: {line: 8}" + ROUTES,
        "limits: {line: 8K}" + ROUTES,
        "log: {level: loud}" + ROUTES,
        "access_log: {only_errors: 1}" + ROUTES,
        "upstreams: {a: {balance: random}}" + ROUTES,
        "upstreams: {a: {targets: http://h, balance: best}}" + ROUTES,
        "routes: [{respond: 204}]",
        "routes: [{match: {}, respond: 204}]",
        "routes: [{match: /, respond: {status: 99}}]",
        "routes: [{match: /, redirect: {location: /x, status: 300}}]",
        "loop_guard: 50" + ROUTES,
        "executors: {a: {threads: 0}}" + ROUTES,
        "routes: [{match: /, handler: {executor: a}}]",
        "routes: [{match: /, handler: {run: 'm:f', on_error: allow}}]",
        "routes: [{match: /, respond: 204, plugins: {run: 'm:f', on_error: maybe}}]",
        "routes: [{match: /, aggregate: {sources: {s: {path: /}}}}]",
    ],
)
def test_it_refuses_what_the_loader_refuses(text: str, faults: Faults) -> None:
    assert faults(text)
    schema = json_schema()
    assert not valid(seen_by_an_editor(text), schema, schema)


def test_every_key_is_described_in_one_line() -> None:
    fields = [(model, name, field) for model in models() for name, field in model.model_fields.items()]
    assert len(fields) > 80
    assert [f"{model.__name__}.{name}" for model, name, field in fields if not field.description] == []
    assert [field.description for _, _, field in fields if "\n" in str(field.description)] == []


def test_defaults_are_written_as_people_write_them() -> None:
    timeout = json_schema()["$defs"]["Timeout"]["anyOf"][1]["properties"]
    assert {name: entry["default"] for name, entry in timeout.items()} == {"connect": "1s", "head": "30s", "idle": "1m"}
