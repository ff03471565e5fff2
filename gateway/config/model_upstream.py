"""Keys of an upstream."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gateway.config.model_attempts import Hedge, Retry
from gateway.config.model_base import Model
from gateway.config.model_queue import Concurrency
from gateway.config.problems import did_you_mean
from gateway.config.types import (
    Count,
    Duration,
    DurationOrOff,
    FilePath,
    OneOrMany,
    PositiveShare,
    Rule,
    Share,
    Wait,
    fault,
    header_name,
    kind_of,
    text,
    wrong_kind,
)
from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.health.outliers import OutlierSettings
from gateway.decide.resilience.breaker import BreakerSettings
from gateway.transport.settings import ConnectionsSettings, UpstreamTlsSettings
from gateway.upstreams.settings import SLOW_START_S, HealthSettings, TargetSettings, TimeoutSettings

_OUTLIER, _BREAKER = OutlierSettings(), BreakerSettings()
_TIMEOUT, _CONNECTIONS, _TLS = TimeoutSettings(), ConnectionsSettings(), UpstreamTlsSettings()
_HEALTH = HealthSettings("/")
_BALANCE = BalanceSettings()

_URL = re.compile(r"(https?|dns)://([^/?#]*)(.*)", re.DOTALL).fullmatch
_AUTHORITY = re.compile(r"(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]]*))(?::(.*))?", re.DOTALL).fullmatch
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_-]+)*\.?").fullmatch
_PATH = re.compile(r"/[!\"$->@-~?]*").fullmatch
_DEFAULT_PORTS = {"http": 80, "https": 443}
BALANCERS = ("least_loaded", "round_robin", "random", "two_choices", "peak_ewma", "consistent_hash")


def parse_target(url: str) -> TargetSettings:
    """`http://host:port`, `https://host`, `dns://name:port` or `unix:/path`. Raises ValueError."""
    if url.startswith("unix:"):
        if not url[5:].startswith("/"):
            raise ValueError("a unix socket needs an absolute path, such as unix:/run/app.sock")
        return TargetSettings("localhost", 0, path=url[5:])
    found = _URL(url)
    if not found:
        raise _not_a_url(url)
    scheme, authority, rest = found.groups()
    if "@" in authority:
        raise fault("a target has no user name", hint="set a header: headers: {request: {set: {authorization: ...}}}")
    if rest not in ("", "/"):
        hint = f"write {scheme}://{authority}; `rewrite:` changes paths"
        raise fault("a target is an address without a path", hint=hint)
    parts = _AUTHORITY(authority)
    host = parts and (parts[1] or parts[2])
    if not parts or not host or not (parts[1] or _HOST_NAME(host)):
        raise ValueError(f"{authority[:80]!r} is not a host with a port")
    port = _port(parts[3], scheme, host)
    return TargetSettings(host.lower(), port, tls=scheme == "https", dns=scheme == "dns")


def _not_a_url(url: str) -> Exception:
    scheme, colon, _ = url.partition("://")
    if not colon:
        return fault("a target begins with http://, https://, dns:// or unix:", hint=f"write http://{url[:80]}")
    hint = did_you_mean(scheme, ("http", "https", "dns"))
    return fault(f"{scheme[:20]}:// is not a scheme of targets (http://, https://, dns://, unix:)", hint=hint)


def _port(digits: str | None, scheme: str, host: str) -> int:
    if digits is None:
        if scheme not in _DEFAULT_PORTS:
            raise fault("a dns:// target needs a port", hint=f"such as {scheme}://{host}:8000")
        return _DEFAULT_PORTS[scheme]
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"{digits[:20]!r} is not a port")
    if len(digits) > 5 or not 1 <= int(digits) <= 65535:
        raise ValueError(f"port {digits[:20]} is out of range (1 to 65535)")
    return int(digits)


class Target(Model):
    """One target."""

    wanted: ClassVar[str] = "a URL such as http://10.0.0.1:8000, or a mapping with url and weight"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["http://10.0.0.1:8000"]}

    url: Annotated[TargetSettings, text(parse_target, "a URL", "http://10.0.0.1:8000")] = Field(
        description="http://host:port, https://host, dns://name:port (each address a target), unix:/path",
        examples=["http://10.0.0.1:8000"],
    )
    weight: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=1, description="Share of the load against other targets"
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


def _balance(value: Any, _: object) -> BalanceSettings:
    if isinstance(value, dict) and set(value) == {"consistent_hash"}:
        return BalanceSettings("consistent_hash", _hash_on(value["consistent_hash"]))
    if isinstance(value, dict):
        key = str(next(iter(value), ""))
        raise fault(f"unknown key {key!r}", hint="write a name, or {consistent_hash: header:x-user}")
    if not isinstance(value, str):
        raise wrong_kind(value, "the name of a balancer, or {consistent_hash: header:x-user}")
    if value == "consistent_hash":
        raise fault("consistent_hash needs to know what to hash on", fix="{consistent_hash: ip}")
    if value not in BALANCERS:
        raise fault(
            f"there is no balancer {value[:40]!r} ({', '.join(BALANCERS)})", hint=did_you_mean(value, BALANCERS)
        )
    return BalanceSettings(value)


def _hash_on(value: Any) -> str:
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        if value in ("ip", "path"):
            return value
        if kind == "header" and name:
            return f"header:{_checked_name(name).lower()}"
        if kind == "cookie" and name:
            return f"cookie:{_checked_name(name)}"
    shown = value[:40] if isinstance(value, str) else kind_of(value)
    raise fault(f"consistent_hash needs header:<name>, cookie:<name>, ip or path; found {shown!r}")


def _checked_name(name: str) -> str:
    try:
        return header_name(name)
    except ValueError as error:
        raise fault(str(error)) from None


_BALANCE_SCHEMA = {
    "anyOf": [
        {"enum": list(BALANCERS[:-1])},
        {
            "type": "object",
            "properties": {"consistent_hash": {"type": "string", "pattern": "^(ip|path|header:.+|cookie:.+)$"}},
            "required": ["consistent_hash"],
            "additionalProperties": False,
        },
    ]
}
Balance = Annotated[BalanceSettings, Rule(_balance, _BALANCE_SCHEMA, lambda balance: balance.kind)]


class Timeout(Model):
    """How long a target may take."""

    wanted: ClassVar[str] = "a duration such as 30s, or a mapping with connect, head and idle"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["30s"]}

    connect: Duration = Field(default=_TIMEOUT.connect_s, description="Until the connection stands (TCP and TLS)")
    head: Duration = Field(default=_TIMEOUT.head_s, description="Until the head of the answer")
    idle: DurationOrOff = Field(
        default=_TIMEOUT.idle_s, description="Between pieces of the body; off for endless streams"
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"head": value} if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value


class Connections(Model):
    """Connections to one target, per worker."""

    wanted: ClassVar[str] = "a number, or a mapping with max, wait, idle and idle_timeout"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "integer", "minimum": 1}

    max: Count = Field(default=_CONNECTIONS.max, description="Open connections; requests beyond them wait")
    wait: Wait = Field(default=_CONNECTIONS.wait_s, description="For a free connection; then 503 upstream_busy")
    idle: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=_CONNECTIONS.idle, description="Kept open for reuse"
    )
    idle_timeout: Duration = Field(
        default=_CONNECTIONS.idle_timeout_s, description="Until an idle one is closed; keep it below the upstream's own"
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"max": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Outlier(Model):
    """When a target that fails more than the others is put aside."""

    wanted: ClassVar[str] = "a mapping with errors, window, eject and max_ejected ({} takes the defaults)"

    errors: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=_OUTLIER.errors, description="Failures in a row that put a target aside, if they came within `window`"
    )
    window: Duration = Field(
        default=_OUTLIER.window_s, description="Also how often the success rates of the targets are compared"
    )
    eject: Duration = Field(default=_OUTLIER.eject_s, description="For how long, times the number of times; at most 5m")
    max_ejected: Share = Field(
        default=_OUTLIER.max_ejected, description="Of the targets at a time; one may always be, but never the only one"
    )


class Breaker(Model):
    """When an upstream is left alone because too much of it fails."""

    wanted: ClassVar[str] = "a mapping with errors, window, minimum and open ({} takes the defaults)"

    errors: PositiveShare = Field(default=_BREAKER.errors, description="Share of failures at which it opens")
    window: Duration = Field(default=_BREAKER.window_s, description="Of the requests of so long")
    minimum: Count = Field(default=_BREAKER.minimum, description="Requests within `window` below which it stays closed")
    open: Duration = Field(
        default=_BREAKER.open_s, description="503 circuit_open for so long; then 3 requests try the upstream"
    )


class UpstreamTls(Model):
    """TLS towards the targets."""

    ca: FilePath = Field(
        default=_TLS.ca.path,
        description="CA certificates, PEM; without it those of the system",
        examples=["tls/ca.pem"],
    )
    verify: bool = Field(default=_TLS.verify, description="Check the target's certificate; false only for tests")
    server_name: FilePath = Field(
        default=_TLS.server_name,
        description="Name to ask for and to check; without it the target's",
        examples=["orders.internal"],
    )
    cert: FilePath = Field(default=_TLS.cert.path, description="Client certificate, PEM", examples=["tls/client.pem"])
    key: FilePath = Field(default=_TLS.key.path, description="Its private key, PEM", examples=["tls/client.key"])


def _check_path(path: str) -> str:
    if not _PATH(path):
        raise fault("a path begins with / and has no spaces or fragment", hint="such as /healthz")
    return path


class Health(Model):
    """Active checks of each target, once for the whole gateway."""

    wanted: ClassVar[str] = "a path such as /healthz, or a mapping with path, every, timeout, pass and fail"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["/healthz"]}

    path: Annotated[str, text(_check_path, "a path", "/healthz")] = Field(
        description="Asked with GET; a status of 200 to 399 passes", examples=["/healthz"]
    )
    every: Duration = Field(default=_HEALTH.every_s, description="From one check to the next")
    timeout: Duration = Field(
        default=_HEALTH.timeout_s, description="Until the head of the answer, connecting included"
    )
    pass_: Count = Field(
        default=_HEALTH.rise, alias="pass", description="Checks in a row that pass, until requests go there again"
    )
    fail: Count = Field(
        default=_HEALTH.fall, description="Checks in a row that fail, until none do; the very first decides alone"
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class UpstreamDefaults(Model):
    """What can be set for all upstreams."""

    balance: Balance = Field(
        default=_BALANCE, description=f"{' | '.join(BALANCERS[:-1])} | {{consistent_hash: header:x-user}}"
    )
    timeout: Timeout = Field(default=Timeout(), description="How long a target may take; a duration alone sets head")
    connections: Connections = Field(default=Connections(), description="Connections to one target, per worker")
    outlier: Outlier | None = Field(
        default=None, description="Put targets aside that fail more than the others, per worker; off without it"
    )
    health: Health | None = Field(
        default=None,
        description="Active checks of the targets; a path alone is enough",
        examples=[{"path": "/healthz"}],
    )
    breaker: Breaker | None = Field(
        default=None, description="Leave an upstream alone that fails too often, per worker; off without it"
    )
    concurrency: Concurrency = Field(
        default=None,
        description="Requests under way at once, others queue: a number (per worker, streams too) | adaptive | off",
    )
    slow_start: Wait = Field(
        default=SLOW_START_S,
        description="In this time a target that joins or comes back gets from a tenth to all of its share",
    )
    retry: Retry = Field(default=Retry(), description="When a request goes to another target; a number sets attempts")
    hedge: Hedge | None = Field(
        default=None,
        description="Ask a second target where the first is slow, for what is idempotent, within retry.budget",
        examples=[{"after": "p95"}],
    )
    tls: UpstreamTls = Field(
        default=UpstreamTls(), description="For https:// targets; written here, dns:// and unix: targets speak TLS too"
    )


class Upstream(UpstreamDefaults):
    """A named group of targets."""

    wanted: ClassVar[str] = "a URL, a list of targets, or a mapping with targets"
    short_schema: ClassVar[dict[str, Any] | None] = {
        "anyOf": [{"type": "string", "examples": ["http://10.0.0.1:8000"]}, {"type": "array"}]
    }

    targets: Annotated[list[Target], OneOrMany()] = Field(
        description="Where requests go: URLs, or {url, weight}", examples=[["http://10.0.0.1:8000"]]
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"targets": value} if isinstance(value, (str, list)) else value
