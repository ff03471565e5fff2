"""From the model to the frozen Settings: defaults merged, paths resolved, names given."""

from contextlib import suppress
from pathlib import Path

from gateway.config import build_python
from gateway.config.cores import allowed_cores
from gateway.config.lines import KeyPath, Map, Value, locate
from gateway.config.model import Config, Test
from gateway.config.model_listen import AccessLog, Listen
from gateway.config.model_queue import Queues
from gateway.config.model_route import Edits, Respond, Route, whole_shares
from gateway.config.model_upstream import Breaker, Health, Outlier, Upstream
from gateway.config.settings import AdminSettings, GatewaySettings, LimitSettings, RouteTest, ShutdownSettings
from gateway.core.json import dumps
from gateway.decide.health.outliers import OutlierSettings
from gateway.decide.resilience.breaker import BreakerSettings
from gateway.decide.resilience.overload_settings import OverloadSettings
from gateway.decide.resilience.queue_settings import DEFAULT, QueueSettings
from gateway.decide.resilience.retry import RetrySettings
from gateway.observe.access_log import AccessLogSettings
from gateway.observe.logs import LogSettings
from gateway.pipeline.settings import (
    AnswerSettings,
    BufferSettings,
    ForwardSettings,
    HeaderEdits,
    RedirectSettings,
    RespondSettings,
    RouteSettings,
)
from gateway.transport.settings import (
    CertificateSettings,
    ClientSettings,
    ConnectionsSettings,
    ListenSettings,
    ListenTlsSettings,
    Pem,
    UpstreamTlsSettings,
)
from gateway.upstreams.settings import HealthSettings, TargetSettings, TimeoutSettings, UpstreamSettings
from gateway.wire.limits import HeadLimits


def build(config: Config, root: Map, directory: Path, path: str) -> GatewaySettings:
    """The settings of a config that was checked. `directory` is what paths in it are relative to."""
    admin, log, limits, shutdown = config.admin, config.log, config.limits, config.shutdown
    waiting, pems = queues(config.queues), Pems(directory)
    return GatewaySettings(
        listen=tuple(listener(listen, pems) for listen in config.listen),
        routes=tuple(route(item, where(root, ("routes", index)), waiting) for index, item in enumerate(config.routes)),
        upstreams=tuple(upstream(name, item, pems, waiting) for name, item in config.upstreams.items()),
        executors=build_python.executors(config.executors),
        loop_guard_s=config.loop_guard,
        admin=AdminSettings(admin.address, admin.token, frozenset(admin.open)),
        workers=config.workers if isinstance(config.workers, int) else allowed_cores(),
        watch=config.watch,
        trusted_proxies=tuple(config.trusted_proxies),
        log=LogSettings(log.level, log.format),
        access_log=_access_log(config.access_log),
        client=_client(config),
        limits=LimitSettings(limits.connections, limits.buffered),
        overload=OverloadSettings(config.overload.loop_lag, config.overload.memory),
        shutdown=ShutdownSettings(shutdown.wait, shutdown.drain),
        tests=tuple(_test(test, where(root, ("tests", index))) for index, test in enumerate(config.tests)),
        path=path,
    )


def where(root: Value, path: KeyPath) -> str:
    """`file:line` of an entry."""
    mark = locate(root, path).mark
    return f"{mark.source.name}:{mark.line + 1}" if mark else ""


class Pems:
    """Reads each PEM file once, so that all who name it have the same."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[str, Pem] = {"": Pem()}

    def __call__(self, path: str) -> Pem:
        """One that cannot be read now, though it could when it was checked, is empty: TLS refuses it."""
        if path not in self._read:
            file = self._directory / path
            text = b""
            with suppress(OSError):
                text = file.read_bytes()
            self._read[path] = Pem(str(file), text)
        return self._read[path]


def listener(listen: Listen, pems: Pems) -> ListenSettings:
    tls = None
    if listen.tls:
        client_ca = next((tls.client_ca for tls in listen.tls if tls.client_ca), "")
        tls = ListenTlsSettings(
            tuple(CertificateSettings(pems(item.cert), pems(item.key)) for item in listen.tls),
            pems(client_ca),
            listen.tls[0].min,
        )
    return ListenSettings(listen.address, tls, listen.backlog, bool(listen.redirect), listen.proxy_protocol)


def resolve(path: str, directory: Path) -> str:
    """A path of the config; the empty one stays empty."""
    return str(directory / path) if path else ""


def _access_log(log: AccessLog) -> AccessLogSettings | None:
    if log.path == "off":
        return None
    fields = log.fields_
    return AccessLogSettings(
        log.path, log.format, tuple(fields.add), tuple(fields.drop), log.sample, log.min_duration, log.only_errors
    )


def _client(config: Config) -> ClientSettings:
    limits = config.limits
    return ClientSettings(
        HeadLimits(limits.line, limits.headers, limits.header_count, limits.underscores),
        limits.body,
        limits.header_timeout,
        limits.body_timeout,
        limits.keep_alive,
    )


def upstream(name: str, item: Upstream, pems: Pems, waiting: tuple[QueueSettings, ...]) -> UpstreamSettings:
    timeout, connections, tls, retry = item.timeout, item.connections, item.tls, item.retry
    return UpstreamSettings(
        name,
        tuple(_target(target.url, target.weight, "tls" in item.model_fields_set) for target in item.targets),
        item.balance,
        TimeoutSettings(timeout.connect, timeout.head, timeout.idle),
        ConnectionsSettings(connections.max, connections.wait, connections.idle, connections.idle_timeout),
        UpstreamTlsSettings(pems(tls.ca), tls.verify, tls.server_name, pems(tls.cert), pems(tls.key)),
        health=_health(item.health),
        slow_start_s=item.slow_start,
        outlier=_outlier(item.outlier),
        breaker=_breaker(item.breaker),
        concurrency=item.concurrency,
        queues=(QueueSettings(DEFAULT),) if item.concurrency is None else waiting,
        hedge=None if item.hedge is None else item.hedge.after,
        retry=RetrySettings(retry.attempts, frozenset(retry.when), retry.budget, retry.backoff),
    )


def _outlier(outlier: Outlier | None) -> OutlierSettings | None:
    if outlier is None:
        return None
    return OutlierSettings(outlier.errors, outlier.window, outlier.eject, outlier.max_ejected)


def _health(health: Health | None) -> HealthSettings | None:
    if health is None:
        return None
    return HealthSettings(health.path, health.every, health.timeout, health.pass_, health.fail)


def _breaker(breaker: Breaker | None) -> BreakerSettings | None:
    if breaker is None:
        return None
    return BreakerSettings(breaker.errors, breaker.window, breaker.minimum, breaker.open)


def queues(named: Queues) -> tuple[QueueSettings, ...]:
    """`default` is the first, whether it is written or not."""
    own = {name: QueueSettings(name, item.max, item.wait, item.weight) for name, item in named.items()}
    return tuple({DEFAULT: QueueSettings(DEFAULT), **own}.values())


def _target(url: TargetSettings, weight: int, speaks_tls: bool) -> TargetSettings:
    tls = url.tls or (speaks_tls and (url.dns or bool(url.path)))
    return TargetSettings(url.host, url.port, weight, tls, url.dns, url.path)


def route(item: Route, source: str, waiting: tuple[QueueSettings, ...]) -> RouteSettings:
    return RouteSettings(
        name=item.name,
        match=item.match.settings(),
        answer=_answer(item),
        plugins=tuple(map(build_python.plugin, item.plugins)),
        timeout_s=item.timeout,
        body_bytes=item.body_limit,
        buffer=BufferSettings(item.buffer.request, item.buffer.response),
        class_=item.class_,
        class_weight=next((each.weight for each in waiting if each.name == item.class_), 1),
        upgrade=tuple(item.upgrade),
        request_headers=_edits(item.headers.request),
        response_headers=_edits(item.headers.response),
        source=source,
    )


def _answer(item: Route) -> AnswerSettings:
    if item.handler is not None:
        return build_python.handler(item.handler)
    if item.app is not None:
        return build_python.app(item.app, item.strip)
    if item.aggregate is not None:
        return build_python.aggregate(item.aggregate, item)
    if item.respond is not None:
        return _respond(item.respond)
    if item.redirect is not None:
        return RedirectSettings(item.redirect.location, item.redirect.status)
    return ForwardSettings(whole_shares(item.to), item.rewrite, item.strip, item.host)


def _respond(respond: Respond) -> RespondSettings:
    text = isinstance(respond.body, str)
    body = respond.body.encode() if text else dumps(respond.body)
    headers = tuple(respond.headers.items())
    if body and not any(name.lower() == "content-type" for name in respond.headers):
        kind = "text/plain; charset=utf-8" if text else "application/json"
        headers = (("content-type", kind), *headers)
    return RespondSettings(respond.status, body, headers)


def _edits(edits: Edits) -> HeaderEdits:
    return HeaderEdits(tuple(edits.set.items()), tuple(edits.remove))


def _test(test: Test, source: str) -> RouteTest:
    expect = tuple((key, getattr(test.expect, key)) for key in Expected if key in test.expect.model_fields_set)
    return RouteTest(test.request, tuple(test.headers.items()), expect, source)


Expected = ("route", "upstream", "status", "path", "location")
