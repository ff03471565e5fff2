"""Keys of queues, and of the concurrency in front of which they stand."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.config.model_base import Model
from gateway.config.types import Name, Rule, Wait, fault
from gateway.decide.resilience.queue_settings import DEFAULT, QueueSettings

_QUEUE = QueueSettings(DEFAULT)
LARGEST = 1_000_000


class Queue(Model):
    """Who waits, and for how long, when an upstream with `concurrency` is full."""

    max: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=_QUEUE.max,
        description="Requests that may wait, for each upstream and worker; one more is answered with 503 queue_full",
    )
    wait: Wait = Field(
        default=_QUEUE.wait_s,
        description="For their turn, then 503 queue_timeout; less where a line stands for long (503 shed_overload)",
    )
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=_QUEUE.weight, description="Share of what becomes free, against the other queues"
    )


def _concurrency(value: Any, _: object) -> int | Literal["adaptive"] | None:
    if value == "off":
        return None
    if value == "adaptive":
        return "adaptive"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST:
        return value
    raise fault(f"must be a number from 1 to {LARGEST}, adaptive or off")


_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": LARGEST}, {"enum": ["adaptive", "off"]}]}
Concurrency = Annotated[
    int | Literal["adaptive"] | None, Rule(_concurrency, _SCHEMA, lambda value: "off" if value is None else value)
]
Queues = dict[Name, Queue]
