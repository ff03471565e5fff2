"""Checks of aggregates: sources that can be asked, in an order that exists, and an answer that can be made."""

from gateway.config.build_python import aggregate
from gateway.config.check import Checked
from gateway.config.lines import KeyPath
from gateway.config.model_aggregate import Aggregate, AggregateSource
from gateway.config.model_route import Route
from gateway.config.units import format_duration
from gateway.decide.aggregate.problems import aggregate_problems
from gateway.decide.route.match import parse_pattern


def check_aggregates(checked: Checked) -> None:
    """All of this file, for each route that has one."""
    for index, route in zip(checked.route_indices, checked.config.routes, strict=True):
        if route.aggregate:
            _check_aggregate(checked, route, route.aggregate, ("routes", index, "aggregate"))


def _check_aggregate(checked: Checked, route: Route, item: Aggregate, path: KeyPath) -> None:
    for name, source in item.sources.items():
        _check_source(checked, source, (*path, "sources", name))
    if "shape" in item.model_fields_set and "merge" in item.model_fields_set:
        checked.fault((*path, "shape"), "shape says all of the answer; remove it, or remove merge", at_key=True)
    params = _params(route)
    if params is None:
        return
    settings = aggregate(item, route)
    for place, message in aggregate_problems(settings, params):
        checked.fault((*path, *place), message)
    for each in settings.sources:
        if each.timeout_s and each.timeout_s > settings.deadline_s:
            fault = f"is longer than the deadline of {format_duration(settings.deadline_s)}, which counts"
            checked.warn((*path, "sources", each.name, "timeout"), fault)


def _params(route: Route) -> frozenset[str] | None:
    """The parameters that every path of the match has; None where the match is wrong."""
    try:
        patterns = [parse_pattern(each) for each in route.match.settings().paths]
    except ValueError:
        return None
    return frozenset.intersection(*(frozenset(pattern.params) for pattern in patterns))


def _check_source(checked: Checked, source: AggregateSource, path: KeyPath) -> None:
    if source.to not in checked.names:
        hint = checked.guess(source.to, checked.names) or ("" if checked.names else "define it under `upstreams:`")
        checked.fault((*path, "to"), f"there is no upstream {source.to!r}", hint)
    if {"required", "optional"} <= source.model_fields_set and source.required == source.optional:
        checked.fault((*path, "optional"), "says the opposite of required; keep one of the two", at_key=True)
    if source.body is not None and source.method == "GET":
        checked.warn((*path, "body"), "many servers ignore the body of a GET", "write `method: POST`", at_key=True)
