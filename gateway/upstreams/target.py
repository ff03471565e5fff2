"""One target at run time: its load, its connections, its counts."""

from math import inf

from gateway.observe.registry import Registry
from gateway.transport.connections import Connections
from gateway.upstreams.settings import SLOW_START_S


class Target:
    """State of one address of an upstream. The balancers read `in_flight` and `weight`; `ewma_s` is peak_ewma's."""

    __slots__ = (
        "_codes",
        "_errors",
        "_gauges",
        "_registry",
        "_upstream",
        "authority",
        "cells",
        "checked",
        "connections",
        "drained",
        "ejected",
        "ejected_until",
        "ejected_why",
        "ewma_at",
        "ewma_s",
        "in_flight",
        "key",
        "slow_start_s",
        "started_at",
        "weight",
    )

    def __init__(
        self,
        *,
        key: str,
        authority: str,
        weight: int,
        upstream: str,
        connections: Connections,
        registry: Registry,
        now: float,
        slow_start_s: float = SLOW_START_S,
    ) -> None:
        self.key = key
        """`host:port`: the label in metrics and logs."""
        self.authority = authority
        """What Host says with `host: upstream`, or where the client sent none."""
        self.weight = weight
        self.connections = connections
        self.checked = True
        """What the active checks say; True where there are none."""
        self.ejected = False
        """Put aside for its errors."""
        self.ejected_why = ""
        self.ejected_until = -inf
        self.drained = False
        """Put aside by an operator."""
        self.in_flight = 0
        self.ewma_s = 0.0
        self.ewma_at = -inf
        self.started_at = now
        self.slow_start_s = slow_start_s
        self.cells = registry.cells
        self._registry = registry
        self._upstream = upstream
        labels = {"upstream": upstream, "target": key}
        self._gauges = (
            registry.gauge("gateway_upstream_requests_in_flight", **labels),
            registry.gauge("gateway_upstream_target_up", **labels),
            registry.gauge("gateway_upstream_connections", **labels, state="idle"),
            registry.gauge("gateway_upstream_connections", **labels, state="active"),
        )
        self._codes: dict[int, int] = {}
        self._errors: dict[str, int] = {}

    def become(self, other: "Target") -> None:
        """Go on with the settings of `other`, which stands for the same address. What was counted and learned stays.

        So do the connections, where those of `other` would be made in the same way.
        """
        self.authority = other.authority
        self.weight = other.weight
        self.slow_start_s = other.slow_start_s
        if not self.connections.become(other.connections):
            self.connections.close()
            self.connections = other.connections

    def readmit(self, now: float) -> None:
        """It is no longer put aside, if it was; as a newcomer, it is not flooded."""
        if self.ejected:
            self.ejected = False
            self.started_at = now

    @property
    def is_usable(self) -> bool:
        """Whether it takes part in balancing."""
        return self.checked and not self.ejected and not self.drained

    def count_answer(self, status: int) -> None:
        cell = self._codes.get(status)
        if cell is None:
            cell = self._codes[status] = self._registry.counter(
                "gateway_upstream_requests_total", upstream=self._upstream, target=self.key, code=str(status)
            )
        self.cells[cell] += 1.0

    def count_error(self, reason: str) -> None:
        cell = self._errors.get(reason)
        if cell is None:
            cell = self._errors[reason] = self._registry.counter(
                "gateway_upstream_errors_total", upstream=self._upstream, target=self.key, reason=reason
            )
        self.cells[cell] += 1.0

    def flush(self, up: bool = True) -> None:
        """Write the gauges."""
        in_flight, target_up, idle, active = self._gauges
        self.cells[in_flight] = float(self.in_flight)
        self.cells[target_up] = float(up and self.is_usable)
        self.cells[idle] = float(self.connections.idle if up else 0)
        self.cells[active] = float(self.connections.active if up else 0)

    def __repr__(self) -> str:
        return f"<Target {self.key} weight={self.weight} in_flight={self.in_flight}>"
