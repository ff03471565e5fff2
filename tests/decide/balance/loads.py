"""Targets for the tests of the balancers."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Target:
    """Joined long ago unless told otherwise."""

    key: str
    weight: int = 1
    in_flight: int = 0
    ewma_s: float = 0.0
    ewma_at: float = 0.0
    started_at: float = -1e6
    slow_start_s: float = 10.0


def targets(count: int, *, in_flight: int = 0, started_at: float = -1e6) -> tuple[Target, ...]:
    return tuple(Target(f"10.0.0.{n}:80", in_flight=in_flight, started_at=started_at) for n in range(count))
