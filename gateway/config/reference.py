"""config/reference.yaml: every key with its default and a line of comment, from the models.

`python -m gateway.config.reference` prints it; a test keeps the file true.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config.model import Config, Expect, Test
from gateway.config.model_aggregate import AggregateSource
from gateway.config.model_listen import Listen
from gateway.config.model_match import Match
from gateway.config.model_python import Executor, Plugin
from gateway.config.model_queue import Queue
from gateway.config.model_route import Route, RouteDefaults
from gateway.config.model_upstream import Target, Upstream
from gateway.config.scalars import resolve
from gateway.config.schema import models_in, written_default

HEADER = """\
# Every key of the config with its default. Made by `python -m gateway.config.reference`; a test keeps it true.
# A key without a default stands here with an example, such as the certificates in tls/. Nothing has to be written
# but `routes`. A string is enough wherever one value is: `match: POST /orders`, `timeout: 5s`, `to: orders`.
# ${VAR} and ${VAR:-default} come from the environment; {file: path} reads a secret from a file.
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One mapping to show: only these keys (all, if empty), with these values in place of the defaults.

    A value may be a Sample: of the mapping under that key.
    """

    name: str = ""
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    def shows(self, key: str) -> bool:
        return key in self.only if self.only else key not in self.without


_SHAPED = Sample(
    only=("sources", "shape"),
    values={"sources": {"account": {"to": "orders", "path": "/users/{user}"}}, "shape": {"owner": "{account.name}"}},
)

_SAMPLES: dict[type[BaseModel], tuple[Sample, ...]] = {
    Listen: (
        Sample(values={"address": "0.0.0.0:8443"}, without=("redirect",)),
        Sample(only=("address", "redirect")),
    ),
    Upstream: (
        Sample("orders", values={"concurrency": 40, "targets": Target}),
        Sample("orders-next", only=("targets",), values={"targets": ["http://10.0.0.2:8000"]}),
    ),
    Executor: (
        Sample("default", values={"threads": 16, "abandoned": 32}, without=("processes",)),
        Sample("scoring", only=("processes",)),
        Sample("legacy", only=("threads",)),
    ),
    Queue: (Sample("default"),),
    RouteDefaults: (Sample(values={"plugins": []}),),
    Plugin: (Sample(values={"executor": "default"}),),
    AggregateSource: (
        Sample(
            "account", values={"to": "orders", "method": "POST", "required": True}, without=("optional", "fallback")
        ),
        Sample(
            "news",
            only=("to", "path", "optional", "fallback"),
            values={"to": "orders-next", "path": "/news/{account.region}"},
        ),
    ),
    Target: (Sample(values={"url": "https://10.0.0.1:8443"}),),
    Route: (
        Sample(
            values={"match": Match, "to": {"orders": "90%", "orders-next": "10%"}},
            without=("strip", "handler", "app", "aggregate", "respond", "redirect"),
        ),
        Sample(only=("match", "to", "strip"), values={"match": "/api/*"}),
        Sample(only=("name", "match", "handler"), values={"name": "price", "match": "POST /price"}),
        Sample(
            only=("name", "match", "app", "strip"),
            values={"name": "legacy", "match": "/legacy/*", "app": Sample(without=("asgi",)), "strip": "/legacy"},
        ),
        Sample(
            only=("name", "match", "app"), values={"name": "docs", "match": "/docs/*", "app": Sample(only=("asgi",))}
        ),
        Sample(
            only=("name", "match", "aggregate"),
            values={"name": "portfolio", "match": "GET /portfolio/{user}", "aggregate": Sample(without=("shape",))},
        ),
        Sample(
            only=("name", "match", "aggregate"),
            values={"name": "owner", "match": "GET /owner/{user}", "aggregate": _SHAPED},
        ),
        Sample(only=("name", "match", "respond"), values={"name": "ping", "match": "GET /ping"}),
        Sample(only=("name", "match", "redirect"), values={"name": "old", "match": "/old/*"}),
    ),
    Test: (
        Sample(
            values={"request": "GET shop.example.com/orders/7?version=2", "headers": {"x-beta": "1"}, "expect": Expect}
        ),
        Sample(only=("request", "expect"), values={"request": "GET /ping", "expect": {"route": "ping", "status": 200}}),
        Sample(
            only=("request", "expect"),
            values={"request": "GET /old/a", "expect": {"location": "https://shop.example.com/a"}},
        ),
    ),
    Expect: (Sample(without=("status", "location"), values={"route": "orders", "path": "/v2/orders/7"}),),
}
"""Where keys exclude each other, or one example must fit another: several mappings, each with some of the keys."""


def reference() -> str:
    """The text of config/reference.yaml."""
    return HEADER + "\n".join(_mapping(Config, Sample(), "", {Config: True})) + "\n"


def _mapping(model: type[BaseModel], sample: Sample, indent: str, said: dict[Any, bool]) -> Iterator[str]:
    """The lines of one mapping. Comments stand where a key of a model is shown first."""
    for name, info in _own_first(model):
        key = info.alias or name
        if not sample.shows(key):
            continue
        if not indent:
            yield ""
        if said.setdefault((model, key), True):
            yield f"{indent}# {info.description}{' (example)' if _is_example(info) else ''}"
            said[model, key] = False
        yield from _entry(key, info, sample, indent, said)


def _own_first(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The keys of the model itself before those it inherits."""
    return sorted(model.model_fields.items(), key=lambda entry: entry[0] not in model.__annotations__)


def _is_example(info: FieldInfo) -> bool:
    return bool(info.examples) and written_default(info) is None and next(models_in(info.annotation), None) is None


def _entry(key: str, info: FieldInfo, sample: Sample, indent: str, said: dict[Any, bool]) -> Iterator[str]:
    value = sample.values.get(key)
    inner = next(models_in(info.annotation), None)
    if inner is None or (value is not None and not isinstance(value, (type, Sample))):
        if value is None:
            value = _shown(info)
        yield f"{indent}{key}: {flow(value)}"
        return
    yield f"{indent}{key}:"
    samples = (value,) if isinstance(value, Sample) else _SAMPLES.get(inner, (Sample(),))
    for each in samples:
        if each.name:
            yield f"{indent}  {each.name}:"
            yield from _mapping(inner, each, indent + "    ", said)
        elif _is_list(info):
            yield from _item(list(_mapping(inner, each, indent + "    ", said)), indent)
        else:
            yield from _mapping(inner, each, indent + "  ", said)


def _item(lines: list[str], indent: str) -> Iterator[str]:
    """The lines of a mapping as an item of a list: the dash goes before its first key."""
    first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from (f"{indent}  {line.lstrip()}" for line in lines[:first])
    yield f"{indent}  - {lines[first].lstrip()}"
    yield from lines[first + 1 :]


def _is_list(info: FieldInfo) -> bool:
    return getattr(info.annotation, "__origin__", None) is list


def _shown(info: FieldInfo) -> Any:
    default = written_default(info)
    if default is not None:
        return default
    return info.examples[0] if info.examples else info.default


def flow(value: Any, inside: bool = False) -> str:
    """A value as it is written on one line; `inside` a list or mapping, braces and commas need quotes."""
    if isinstance(value, list):
        return "[" + ", ".join(flow(item, True) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key, True)}: {flow(item, True)}" for key, item in value.items()) + "}"
    if not isinstance(value, str):
        return json.dumps(value)
    plain = resolve(value) == value and value[0] not in "{}[],#&*!|>'\"%@`-?: " and not set(value) & {"#", '"'}
    plain = plain and ": " not in value and not (inside and set(value) & set("{}[],"))
    return value if plain else json.dumps(value)


if __name__ == "__main__":
    print(reference(), end="")
