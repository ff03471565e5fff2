"""Checks of queues: those that are named exist, and something stands in front of them."""

from gateway.config.check import Checked
from gateway.decide.resilience.queue_settings import DEFAULT

_WAITING = {"to", "aggregate", "handler", "app"}
"""What answers a route that waits: its own requests to upstreams, or those of its Python."""


def check_queues(checked: Checked) -> None:
    """A class is a queue, of a route with something to do; a queue is used."""
    config = checked.config
    known = list(dict.fromkeys([*checked.queues, DEFAULT]))
    used = {DEFAULT}
    for index, route in zip(checked.route_indices, config.routes, strict=True):
        used.add(route.class_)
        if "class_" not in route.model_fields_set:
            continue
        if route.class_ not in known:
            hint = checked.guess(route.class_, known) or "define it under `queues:`"
            checked.fault(("routes", index, "class"), f"there is no queue {route.class_!r}", hint)
        if not _WAITING & route.model_fields_set:
            text = "`class` is for routes with `to`, `aggregate`, `handler` or `app`: a fixed answer never waits"
            checked.fault(("routes", index, "class"), text, at_key=True)
    if not checked.complete:
        return
    for name in config.queues:
        if name not in used:
            checked.warn(("queues", name), "no route has this class", at_key=True)
    if config.queues and all(upstream.concurrency is None for upstream in config.upstreams.values()):
        hint = "give an upstream `concurrency: 20`, for instance"
        checked.warn(("queues",), "nobody waits here: no upstream has `concurrency`", hint, at_key=True)
