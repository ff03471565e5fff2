"""What a worker writes of its state for `/status`, where numbers do not say why."""

from collections.abc import Mapping

from gateway.core.json import dumps
from gateway.runtime.overload_watch import OverloadWatch
from gateway.upstreams.facts import facts
from gateway.upstreams.upstream import Upstream


def report(now: float, overload: OverloadWatch, upstreams: Mapping[str, Upstream]) -> bytes:
    """For `Slot.report`; `now` is monotonic, and the same in all processes."""
    told = {name: found for name, each in upstreams.items() if (found := facts(each, now))}
    return dumps({"at": now, "overload": overload.facts, "upstreams": told})
