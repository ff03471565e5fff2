"""What a worker writes of its state for `/status`, where numbers do not say why."""

from gateway.core.json import dumps
from gateway.runtime.overload_watch import OverloadWatch


def report(now: float, overload: OverloadWatch) -> bytes:
    """For `Slot.report`; `now` is monotonic and the same in all processes."""
    return dumps({"at": now, "overload": overload.facts})
