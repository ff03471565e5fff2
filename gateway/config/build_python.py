"""From the model of the users' Python and of aggregates to their settings."""

from typing import Any

from gateway.config.check_python import plugin_name
from gateway.config.model_aggregate import Aggregate, AggregateSource
from gateway.config.model_base import UNSET
from gateway.config.model_python import App, Executor, Executors, Handler, Plugin
from gateway.config.model_route import Route
from gateway.config.settings import GatewaySettings
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from gateway.executors.settings import DEFAULT, ExecutorSettings
from gateway.pipeline.settings import AppSettings, CallableSettings, HandlerSettings, PluginSettings

(_DEFAULT,) = GatewaySettings((), ()).executors


def executors(named: Executors) -> tuple[ExecutorSettings, ...]:
    """`default` is the first, whether it is written or not."""
    own = {name: executor_settings(name, item) for name, item in named.items()}
    return tuple({DEFAULT: _DEFAULT, **own}.values())


def executor_settings(name: str, item: Executor) -> ExecutorSettings:
    threads, processes = max(0, item.threads), max(0, item.processes)
    if not threads and not processes:
        threads = _DEFAULT.threads
    return ExecutorSettings(name, threads, processes, item.queue, item.timeout, item.abandoned)


def handler(item: Handler) -> HandlerSettings:
    return HandlerSettings(_callable(item))


def plugin(item: Plugin) -> PluginSettings:
    return PluginSettings(plugin_name(item), _callable(item), item.on_error)


def _callable(item: Handler) -> CallableSettings:
    return CallableSettings(item.run, item.executor, _seconds(item.timeout))


def app(item: App, strip: str) -> AppSettings:
    return AppSettings("wsgi" if item.wsgi else "asgi", item.wsgi or item.asgi, item.executor, strip)


LONGEST_S = 30.0
"""Of an aggregate without a deadline on a route without a timeout."""


def aggregate(item: Aggregate, route: Route) -> AggregateSettings:
    deadline_s = _seconds(item.deadline) or route.timeout or LONGEST_S
    return AggregateSettings(
        sources=tuple(source(name, each) for name, each in item.sources.items()),
        deadline_s=deadline_s,
        merge=item.merge,
        shape=plain(item.shape),
        forward=tuple(dict.fromkeys(name.lower() for name in item.forward)),
    )


def source(name: str, item: AggregateSource) -> SourceSettings:
    return SourceSettings(
        name=name,
        to=item.to,
        path=item.path,
        method=item.method,
        headers=tuple(item.headers.items()),
        body=plain(item.body),
        timeout_s=_seconds(item.timeout),
        required=item.required or not item.optional,
        has_fallback="fallback" in item.model_fields_set,
        fallback=plain(item.fallback),
        pick=item.pick,
        rename=tuple(item.rename.items()),
    )


def plain(value: Any) -> Any:
    """Free JSON without its marks, which workers do not need."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def _seconds(written: float) -> float | None:
    return None if written == UNSET else written
