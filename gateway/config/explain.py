"""What the gateway would do with one request: the route, why others do not match, the upstream, the target."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from gateway.config.explain_python import PythonOf, aggregate
from gateway.config.imports import Codes
from gateway.config.model_attempts import show_after
from gateway.config.settings import GatewaySettings
from gateway.config.units import format_duration, format_size
from gateway.decide.balance.registry import make_balancer
from gateway.decide.resilience.queue_settings import DEFAULT
from gateway.decide.route.explain import Asked, near_misses
from gateway.decide.route.rewrite import Redirect, Rewrite
from gateway.decide.route.table import Match, Miss, RouteTable
from gateway.pipeline.hash_key import hash_key
from gateway.pipeline.route import Call
from gateway.pipeline.settings import (
    AppSettings,
    ForwardSettings,
    HandlerSettings,
    RedirectSettings,
    RespondSettings,
    RouteSettings,
)
from gateway.upstreams.settings import TargetSettings, UpstreamSettings

CLIENT_IP = "127.0.0.1"
"""Of the request that is explained, where a balancer hashes on it."""

NOT_IMPORTED: Codes = {}

Explained = dict[str, Any]


def route_table(settings: GatewaySettings) -> RouteTable[RouteSettings]:
    return RouteTable((route.match, route) for route in settings.routes)


def explain(settings: GatewaySettings, asked: Asked, codes: Codes = NOT_IMPORTED) -> Explained:
    """A document of plain values; `route` is None where nothing matches. `codes` says where Python runs."""
    found = route_table(settings).find(asked.method, asked.host, asked.path, asked.headers, asked.query)
    request = {"method": asked.method, "host": asked.host, "path": asked.path, "query": asked.query}
    document: Explained = {"request": request}
    if isinstance(found, Miss):
        status, reason = (405, "method_not_allowed") if found.allow else (404, "no_route")
        document |= {"route": None, "status": status, "reason": reason, "allow": list(found.allow)}
    else:
        document |= _route(settings, asked, found, codes)
    taken = None if isinstance(found, Miss) else found.value
    document["near_misses"] = [
        {"route": route.name, "source": route.source, "why_not": why}
        for route, why in near_misses(((route.match, route) for route in settings.routes), asked)
        if route is not taken
    ]
    return document


def _route(settings: GatewaySettings, asked: Asked, match: Match[RouteSettings], codes: Codes) -> Explained:
    route = match.value
    answer = route.answer
    python = PythonOf(settings, codes)
    told: Explained = {"route": route.name, "source": route.source, "params": dict(match.params)}
    if route.plugins:
        told["plugins"] = [python.plugin(plugin) for plugin in route.plugins]
    if isinstance(answer, ForwardSettings):
        told |= {"path": Rewrite(answer)(asked.path, match), "host": answer.host, "timeout_s": route.timeout_s}
        told["upstreams"] = _upstreams(settings, asked, answer.to)
    elif isinstance(answer, RedirectSettings):
        told |= {"status": answer.status, "location": Redirect(answer)(match.rest, asked.query)}
    elif isinstance(answer, RespondSettings):
        told["status"] = answer.status
    elif isinstance(answer, HandlerSettings):
        told["handler"] = python.handler(answer)
    elif isinstance(answer, AppSettings):
        told["app"] = python.app(answer)
    else:
        told["aggregate"] = aggregate(answer)
        told["upstreams"] = [
            each
            for name in dict.fromkeys(source.to for source in answer.sources)
            for each in _upstreams(settings, asked, ((name, 1),))
        ]
    told["policies"] = _policies(settings, route)
    return told


def _policies(settings: GatewaySettings, route: RouteSettings) -> list[str]:
    """What is done to the request on its way, in order."""
    limit = settings.client.body_bytes if route.body_bytes == -1 else route.body_bytes
    policies = [f"body_limit: {'off' if limit is None else format_size(limit)}"]
    if route.plugins or not isinstance(route.answer, (RespondSettings, RedirectSettings)):
        policies.append(f"timeout: {'off' if route.timeout_s is None else format_duration(route.timeout_s)}")
        if route.class_ != DEFAULT:
            policies.append(f"class: {route.class_}, of weight {route.class_weight}")
    for side, edits in (("request", route.request_headers), ("response", route.response_headers)):
        policies += [f"headers: set {name} on the {side}" for name, _ in edits.set]
        policies += [f"headers: remove {name} from the {side}" for name in edits.remove]
    return policies


def _upstreams(settings: GatewaySettings, asked: Asked, to: Sequence[tuple[str, int]]) -> list[Explained]:
    """Each upstream of the split with its share and the target its balancer would take with nothing in flight."""
    known = {upstream.name: upstream for upstream in settings.upstreams}
    total = sum(share for _, share in to)
    key_of = hash_key([known[name].balance.hash_on for name, _ in to])
    key = key_of(cast(Call, _Caller(asked))) if key_of else None
    return [
        {
            "upstream": name,
            "share": share / total,
            "balance": known[name].balance.kind,
            "target": _target(known[name], key),
            "targets": [_label(target) for target in known[name].targets],
            **_hedge(known[name]),
        }
        for name, share in to
    ]


def _hedge(upstream: UpstreamSettings) -> Explained:
    return {} if upstream.hedge is None else {"hedge": show_after(upstream.hedge)}


def _target(upstream: UpstreamSettings, key: str | None) -> str:
    loads = [_Idle(_label(target), target.weight) for target in upstream.targets]
    return make_balancer(upstream.balance, random.Random(0)).pick(loads, key, 0.0).key


def _label(target: TargetSettings) -> str:
    return f"dns://{target.label}" if target.dns else target.label


@dataclass(slots=True)
class _Idle:
    """A target with nothing in flight, for a balancer."""

    key: str
    weight: int
    in_flight: int = 0
    started_at: float = -inf
    slow_start_s: float = 0.0
    ewma_s: float = 0.0
    ewma_at: float = -inf


class _Caller:
    """As much of a Call as the key of consistent_hash is made from."""

    def __init__(self, asked: Asked) -> None:
        self.path = self.normal_path = asked.path
        self.client_ip = CLIENT_IP
        self.head = self
        self.fields: Mapping[str, str] = asked.headers
