"""What workers write of their state, as long as they do."""

from collections.abc import Mapping
from typing import Any

from gateway.core.json import loads
from gateway.observe.memory import Slot

Report = dict[str, Any]
Reports = Mapping[int, Report | None]
"""Of the workers that live, by slot; None where it is not known."""

FRESH_S = 3.0
"""A report is written each second; the state of a worker that wrote none for so long is not known."""


def report_of(slot: Slot, now: float) -> Report | None:
    """None where it is not known: the worker starts, hangs, or is gone."""
    written = slot.report if slot.alive() else b""
    if not written:
        return None
    found: Report = loads(written)
    return found if now - found["at"] < FRESH_S else None
