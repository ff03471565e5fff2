"""Settings of an upstream: a named group of targets."""

from dataclasses import dataclass
from typing import Final, Literal

from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.health.outliers import OutlierSettings
from gateway.decide.resilience.breaker import BreakerSettings
from gateway.decide.resilience.hedge import HedgeSettings
from gateway.decide.resilience.queue_settings import DEFAULT, QueueSettings
from gateway.decide.resilience.retry import RetrySettings
from gateway.transport.settings import ConnectionsSettings, UpstreamTlsSettings

SLOW_START_S: Final = 10.0
"""How long a target counts as new: the time that Envoy's and HAProxy's examples of slow start use."""


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """One address, or (with `dns`) a name whose every address becomes a target."""

    host: str
    port: int
    weight: int = 1
    tls: bool = False
    dns: bool = False
    path: str = ""
    """Of a unix socket (`unix:/path`); then host is `localhost` and port 0."""

    @property
    def label(self) -> str:
        """The `target` label of metrics and logs: `host:port`."""
        if self.path:
            return f"unix:{self.path}"
        return f"{self._host}:{self.port}"

    @property
    def authority(self) -> str:
        """What Host says where it names the target: as the config does, without the default port (RFC 9110 7.2)."""
        if self.path or self.port == (443 if self.tls else 80):
            return self._host
        return f"{self._host}:{self.port}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """`head`: until the response head. `idle`: between body bytes (None: off)."""

    connect_s: float = 1.0
    head_s: float = 30.0
    idle_s: float | None = 60.0


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Active checks: GET `path` of each target, once a gateway. `rise` and `fall`: results in a row that decide."""

    path: str
    every_s: float = 5.0
    timeout_s: float = 1.0
    rise: int = 2
    fall: int = 2


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    name: str
    targets: tuple[TargetSettings, ...]
    balance: BalanceSettings = BalanceSettings()
    timeout: TimeoutSettings = TimeoutSettings()
    connections: ConnectionsSettings = ConnectionsSettings()
    tls: UpstreamTlsSettings = UpstreamTlsSettings()
    outlier: OutlierSettings | None = None
    concurrency: int | Literal["adaptive"] | None = None
    """Requests under way at once, for each worker; adaptive: for all, found out from the latency. None: off."""
    queues: tuple[QueueSettings, ...] = (QueueSettings(DEFAULT),)
    """Who waits for their turn, where `concurrency` is set: those of the whole config."""
    breaker: BreakerSettings | None = None
    health: HealthSettings | None = None
    slow_start_s: float = SLOW_START_S
    retry: RetrySettings = RetrySettings()
    hedge: HedgeSettings | None = None
