"""Everything one config file says, as frozen values: what the supervisor hands to its workers.

This file imports no config library, so that a worker can unpickle it and stay small. Times are seconds, sizes
are bytes.
"""

from dataclasses import dataclass, field, replace

from gateway.config.sources import Sources
from gateway.core.address import Address
from gateway.decide.resilience.overload_settings import OverloadSettings
from gateway.executors.settings import DEFAULT, ExecutorSettings
from gateway.observe.access_log import AccessLogSettings
from gateway.observe.logs import LogSettings
from gateway.pipeline.settings import RouteSettings
from gateway.transport.settings import ClientSettings, ListenSettings
from gateway.upstreams.settings import UpstreamSettings


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The admin address; `token` guards everything that is not named in `open`."""

    address: Address = Address("127.0.0.1", 9901)
    token: str = ""
    open: frozenset[str] = frozenset({"healthz", "readyz", "metrics"})


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits of the whole gateway; those of one client connection are in ClientSettings."""

    connections: int = 20_000
    buffered_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ShutdownSettings:
    wait_s: float = 0.0
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True)
class RouteTest:
    """One entry of `tests:`."""

    request: str
    headers: tuple[tuple[str, str], ...] = ()
    expect: tuple[tuple[str, str | int], ...] = ()
    source: str = ""
    """`file:line` of the entry, for the report."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The whole config. `redacted` is the config as `/config` shows it (secrets replaced by `***`)."""

    listen: tuple[ListenSettings, ...]
    routes: tuple[RouteSettings, ...]
    upstreams: tuple[UpstreamSettings, ...] = ()
    executors: tuple[ExecutorSettings, ...] = (ExecutorSettings(DEFAULT, threads=16),)
    """`default` is always one of them."""
    loop_guard_s: float | None = 0.05
    """Code that holds up the event loop for so long is named in the log. None: nobody watches."""
    admin: AdminSettings = AdminSettings()
    workers: int = 1
    """Already resolved: `auto` became a number."""
    watch: bool = False
    """Read again when a file of `sources` changes."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks in CIDR form."""
    log: LogSettings = LogSettings()
    access_log: AccessLogSettings | None = field(default_factory=AccessLogSettings)
    client: ClientSettings = field(default_factory=ClientSettings)
    limits: LimitSettings = LimitSettings()
    overload: OverloadSettings = OverloadSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    tests: tuple[RouteTest, ...] = ()
    hash: str = ""
    """SHA-256 (hex) of the text of all files the config was read from."""
    path: str = ""
    sources: Sources = field(default_factory=Sources, compare=False)
    """With `watch`, also the files that hold secrets and certificates."""
    redacted: dict[str, object] = field(default_factory=dict)

    def for_workers(self) -> "GatewaySettings":
        """Without what is for the supervisor alone."""
        return replace(self, tests=(), redacted={})

    def once_built(self) -> "GatewaySettings":
        """Without what is large and a worker needs no more, once it has made its routes and upstreams of it."""
        return replace(self, routes=(), upstreams=())
