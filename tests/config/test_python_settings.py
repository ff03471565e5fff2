"""What the keys of Python and of aggregates come to."""

from collections.abc import Callable
from pathlib import Path

from gateway.config.load import Loaded
from gateway.config.settings import GatewaySettings
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from gateway.executors.settings import ExecutorSettings
from gateway.pipeline.settings import (
    AppSettings,
    CallableSettings,
    HandlerSettings,
    PluginSettings,
)

Load = Callable[..., Loaded]
MINIMAL = "routes: [{match: /, respond: 204}]\n"
USES = "routes: [{match: /, handler: {run: 'm:f', executor: p}, plugins: {run: 'm:g', executor: t}}]\n"


def settings(loaded: Load, text: str) -> GatewaySettings:
    return loaded(text, import_s=None).settings


def test_executors(loaded: Load) -> None:
    got = settings(
        loaded,
        "executors: {p: {processes: 2, queue: 0}, t: {threads: 3, timeout: 1s, abandoned: 0}}\n" + USES,
    )
    assert got.executors == (
        ExecutorSettings("default", threads=16),
        ExecutorSettings("p", processes=2, queue=0),
        ExecutorSettings("t", threads=3, timeout_s=1.0, abandoned=0),
    )
    assert settings(loaded, MINIMAL).executors == (ExecutorSettings("default", threads=16),)
    own = settings(loaded, MINIMAL + "executors: {default: {timeout: 1s}}").executors
    assert own == (ExecutorSettings("default", threads=16, timeout_s=1.0),)
    own = settings(loaded, MINIMAL + "executors: {default: {processes: 2}}").executors
    assert own == (ExecutorSettings("default", processes=2),)


def test_the_loop_guard(loaded: Load) -> None:
    guards = [settings(loaded, MINIMAL + text).loop_guard_s for text in ("", "loop_guard: 1s", "loop_guard: off")]
    assert guards == [0.05, 1.0, None]


def test_python_in_routes(loaded: Load, tmp_path: Path) -> None:
    got = settings(
        loaded,
        """
executors: {t: {threads: 3}}
defaults: {route: {plugins: "shop.keys:check"}}
routes:
  - {match: /a, handler: "sub/price.py:quote"}
  - {match: /b, handler: {run: "shop.price:Shop.quote", executor: t, timeout: 1s}, plugins: []}
  - match: /c/*
    strip: /c
    app: {wsgi: "/opt/legacy.py:app", executor: t}
    plugins: [{run: "fraud.py:Fraud", on_error: allow, timeout: 50ms, executor: t}, {run: "a:b", name: hello}]
  - {match: /d, app: {asgi: "api:app"}}
""",
    )
    keys = PluginSettings("shop.keys:check", CallableSettings("shop.keys:check"))
    assert [(route.answer, route.plugins) for route in got.routes] == [
        (HandlerSettings(CallableSettings(f"{tmp_path}/sub/price.py:quote")), (keys,)),
        (HandlerSettings(CallableSettings("shop.price:Shop.quote", "t", 1.0)), ()),
        (
            AppSettings("wsgi", "/opt/legacy.py:app", "t", "/c"),
            (
                PluginSettings("fraud.py:Fraud", CallableSettings(f"{tmp_path}/fraud.py:Fraud", "t", 0.05), "allow"),
                PluginSettings("hello", CallableSettings("a:b")),
            ),
        ),
        (AppSettings("asgi", "api:app"), (keys,)),
    ]


def test_an_aggregate(loaded: Load) -> None:
    first, second, third = settings(
        loaded,
        """
upstreams: {a: http://h, b: http://i}
routes:
  - match: /p/{user}
    aggregate:
      deadline: 800ms
      forward: Authorization
      sources:
        account: {to: a, path: "/u/{user}", required: true}
        news:
          to: b
          path: "/n/{account.region}?x=1"
          method: POST
          headers: {x-u: "{user}"}
          body: {ids: ["{account.id}"]}
          timeout: 300ms
          fallback: null
          pick: "items[0]"
          rename: {a: b}
  - match: /q
    timeout: 7s
    aggregate: {merge: list, sources: {s: {to: a, path: /, optional: false}}}
  - match: /r
    timeout: off
    aggregate: {sources: {s: {to: a, path: /}}, shape: {all: "{s}"}}
""",
    ).routes
    assert first.answer == AggregateSettings(
        sources=(
            SourceSettings("account", "a", "/u/{user}", required=True),
            SourceSettings(
                "news",
                "b",
                "/n/{account.region}?x=1",
                "POST",
                (("x-u", "{user}"),),
                {"ids": ["{account.id}"]},
                0.3,
                has_fallback=True,
                pick="items[0]",
                rename=(("a", "b"),),
            ),
        ),
        deadline_s=0.8,
        forward=("authorization",),
    )
    assert second.answer == AggregateSettings((SourceSettings("s", "a", "/", required=True),), 7.0, "list")
    assert third.answer == AggregateSettings((SourceSettings("s", "a", "/"),), 30.0, shape={"all": "{s}"})
    assert isinstance(first.answer, AggregateSettings)
    assert type(first.answer.sources[1].body) is dict  # what a worker unpickles knows nothing of lines


def test_what_python_and_aggregates_add_to_a_line_can_be_left_out(loaded: Load) -> None:
    log = settings(loaded, MINIMAL + "access_log: {fields: {drop: [plugins, sources]}}").access_log
    assert log is not None
    assert log.drop == ("plugins", "sources")
