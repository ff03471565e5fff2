"""Keys about the gateway itself: where it listens, what it logs, what a client may cost."""

import os
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gateway.config.model_base import Model
from gateway.config.problems import did_you_mean
from gateway.config.settings import AdminSettings, LimitSettings, ShutdownSettings
from gateway.config.types import (
    Count,
    Duration,
    DurationOrOff,
    FilePath,
    ListenAddress,
    OneOrMany,
    PositiveSize,
    Rule,
    Secret,
    Share,
    ShareOrOff,
    SizeOrOff,
    Wait,
    fault,
    header_name,
    one_of,
    text,
    wrong_kind,
)
from gateway.core.address import Address
from gateway.decide.resilience.overload_settings import OverloadSettings
from gateway.observe.access_log import AccessLogSettings
from gateway.observe.logs import LogSettings
from gateway.transport.settings import ClientSettings, ListenSettings
from gateway.wire.limits import HeadLimits

_LISTEN = ListenSettings(Address())
_ADMIN, _LOG, _ACCESS_LOG = AdminSettings(), LogSettings(), AccessLogSettings()
_CLIENT, _HEAD, _LIMITS, _SHUTDOWN = ClientSettings(), HeadLimits(), LimitSettings(), ShutdownSettings()
_OVERLOAD = OverloadSettings()

ADMIN_PAGES = ("healthz", "readyz", "metrics", "status", "config")
LOG_FIELDS = (
    "ts request_id client_ip method scheme host path protocol route upstream target status upstream_status source "
    "reason bytes_in bytes_out duration_ms overhead_ms queue_ms executor_ms connect_ms ttfb_ms attempts user_agent "
    "worker plugins sources stream tls"
).split()


class ListenTls(Model):
    """A certificate of a listener."""

    wanted: ClassVar[str] = "a mapping with cert and key"

    cert: FilePath = Field(description="Certificate chain, PEM, the server's own first", examples=["tls/server.pem"])
    key: FilePath = Field(description="Its private key, PEM, without a passphrase", examples=["tls/server.key"])
    client_ca: FilePath = Field(
        default="", description="Clients must show a certificate that this CA signed", examples=["tls/clients.pem"]
    )
    min: Annotated[str, one_of("1.2", "1.3")] = Field(default="1.2", description="Oldest TLS version: 1.2 | 1.3")


class Listen(Model):
    """One address to listen on."""

    wanted: ClassVar[str] = "an address such as 0.0.0.0:8080, or a mapping with address"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["0.0.0.0:8080"]}

    address: ListenAddress = Field(
        description="host:port, unix:/path or fd:3; without a host it is 0.0.0.0", examples=["0.0.0.0:8080"]
    )
    tls: Annotated[list[ListenTls], OneOrMany()] = Field(
        default=[], description="Certificate, or a list of them; the name the client asks for chooses (SNI)"
    )
    proxy_protocol: bool = Field(
        default=_LISTEN.proxy_protocol, description="Every connection begins with a PROXY header (v1 or v2)"
    )
    backlog: Count = Field(
        default=_LISTEN.backlog, description="Connections that the kernel holds until they are accepted"
    )
    redirect: Annotated[str, one_of("https")] = Field(
        default="", description="https: answer every request with a redirect to https", examples=["https"]
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"address": value} if isinstance(value, str) else value


class Admin(Model):
    """The admin address."""

    wanted: ClassVar[str] = "an address such as 127.0.0.1:9901, or a mapping"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["127.0.0.1:9901"]}

    address: ListenAddress = Field(
        default=_ADMIN.address, description="Where /metrics, /status and the like are served"
    )
    token: Secret = Field(
        default="",
        description="Asked for (Authorization: Bearer) by all pages that are not open; may be {file: path}",
        examples=["change-me"],
    )
    open: Annotated[list[Annotated[str, one_of(*ADMIN_PAGES)]], OneOrMany()] = Field(
        default=[page for page in ADMIN_PAGES if page in _ADMIN.open], description="Pages that need no token"
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"address": value} if isinstance(value, str) else value


class Log(Model):
    """The gateway's own log."""

    wanted: ClassVar[str] = "a level such as info, or a mapping with level and format"
    short_schema: ClassVar[dict[str, Any] | None] = {"enum": ["debug", "info", "warning", "error"]}

    level: Annotated[str, one_of("debug", "info", "warning", "error")] = Field(
        default=_LOG.level, description="debug | info | warning | error"
    )
    format: Annotated[str, one_of("text", "json")] = Field(default=_LOG.format, description="text | json")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"level": value} if isinstance(value, str) else value


def _added_field(name: str) -> str:
    if name == "query":
        return name
    kind, colon, header = name.partition(":")
    if kind != "header" or not colon:
        raise ValueError(f"{name!r} cannot be added; write query or header:x-name")
    return f"header:{header_name(header)}"


def _dropped_field(name: str) -> str:
    if name not in LOG_FIELDS:
        raise fault(f"the access log has no field {name!r}", hint=did_you_mean(name, LOG_FIELDS))
    return name


class LogFields(Model):
    """Fields of the access log beyond and below the standard ones."""

    add: Annotated[list[Annotated[str, text(_added_field, "a field", "query")]], OneOrMany()] = Field(
        default=list(_ACCESS_LOG.add), description="More fields: query, header:<name> (of the request)"
    )
    drop: Annotated[list[Annotated[str, text(_dropped_field, "a field", "user_agent")]], OneOrMany()] = Field(
        default=list(_ACCESS_LOG.drop), description="Fields to leave out"
    )


class AccessLog(Model):
    """The access log."""

    wanted: ClassVar[str] = "off, json, combined, the path of a file, or a mapping"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["off", "json", "combined", "-"]}

    path: FilePath = Field(default=_ACCESS_LOG.path, description="A file, or - for standard output")
    format: Annotated[str, one_of("json", "combined")] = Field(
        default=_ACCESS_LOG.format, description="json | combined"
    )
    fields_: LogFields = Field(default=LogFields(), alias="fields", description="Which fields a line has")
    sample: Share = Field(
        default=_ACCESS_LOG.sample, description="Share of the requests that are logged; errors always are"
    )
    min_duration: Wait = Field(default=_ACCESS_LOG.min_duration_s, description="Leave out requests that were faster")
    only_errors: bool = Field(default=_ACCESS_LOG.only_errors, description="Log only answers of 500 and above")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return {"format": value} if value in ("json", "combined") else {"path": value}


class Limits(Model):
    """What a client may cost."""

    line: PositiveSize = Field(default=_HEAD.line_bytes, description="Request line, and each header line")
    headers: PositiveSize = Field(default=_HEAD.headers_bytes, description="The whole head of a request")
    header_count: Count = Field(default=_HEAD.header_count, description="Header fields of a request")
    body: SizeOrOff = Field(default=_CLIENT.body_bytes, description="Request body, also chunked; a size or off")
    header_timeout: Duration = Field(default=_CLIENT.header_timeout_s, description="Until the whole head is there")
    body_timeout: Duration = Field(
        default=_CLIENT.body_timeout_s, description="Between pieces of the body, and of reading"
    )
    keep_alive: Duration = Field(default=_CLIENT.keep_alive_s, description="Until an idle client connection is closed")
    connections: Count = Field(
        default=_LIMITS.connections, description="Open client connections of all workers together"
    )
    buffered: PositiveSize = Field(
        default=_LIMITS.buffered_bytes, description="Bytes of bodies held in memory, all together"
    )
    underscores: Annotated[str, one_of("drop", "allow")] = Field(
        default=_HEAD.underscores, description="Header names with `_`: drop | allow"
    )


class Overload(Model):
    """When a worker has too much to do."""

    wanted: ClassVar[str] = "off, or a mapping with loop_lag and memory"
    short_schema: ClassVar[dict[str, Any] | None] = {"const": "off"}

    loop_lag: DurationOrOff = Field(
        default=_OVERLOAD.loop_lag_s, description="Smoothed lateness of the event loop; a duration or off"
    )
    memory: ShareOrOff = Field(
        default=_OVERLOAD.memory, description="Of the cgroup's limit, else of the machine's memory; a share or off"
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"loop_lag": "off", "memory": "off"} if value == "off" else value


class Shutdown(Model):
    """How the gateway ends."""

    wanted: ClassVar[str] = "a duration such as 30s, or a mapping with wait and drain"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["30s"]}

    wait: Wait = Field(
        default=_SHUTDOWN.wait_s, description="Keep accepting with /readyz at 503, for slow load balancers"
    )
    drain: Wait = Field(default=_SHUTDOWN.drain_s, description="Then finish what is under way, at most this long")

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"drain": value} if isinstance(value, str) else value


def _workers(value: Any, _: object) -> int | str:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_kind(value, "a number or auto")
    # Twice the cores is the most that ever helps; far more is a slip.
    most = max(64, 2 * (os.cpu_count() or 1))
    if not 1 <= value <= most:
        raise fault(f"must be from 1 to {most}, or auto")
    return value


Workers = Annotated[
    int | str, Rule(_workers, {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}, lambda n: n)
]
