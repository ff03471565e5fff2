"""The whole config: the top-level keys. The description of each key stands on its field and nowhere else."""

from typing import Annotated

from pydantic import Field

from gateway.config.model_base import Model
from gateway.config.model_listen import AccessLog, Admin, Limits, Listen, Log, Overload, Shutdown, Workers
from gateway.config.model_python import Executors
from gateway.config.model_queue import Queues
from gateway.config.model_route import Route, RouteDefaults
from gateway.config.model_upstream import Upstream, UpstreamDefaults
from gateway.config.settings import GatewaySettings
from gateway.config.types import DurationOrOff, HeaderName, HeaderValue, Name, Network, OneOrMany, text

_GATEWAY = GatewaySettings((), ())


class Defaults(Model):
    """Values merged under every route and every upstream."""

    route: RouteDefaults = Field(default=RouteDefaults(), description="Under every route")
    upstream: UpstreamDefaults = Field(default=UpstreamDefaults(), description="Under every upstream")


class Expect(Model):
    """What a test expects of a request."""

    route: str = Field(default="", description="Name of the route; none for no route", examples=["place-order"])
    upstream: str = Field(default="", description="Upstream it goes to, or one of them", examples=["orders"])
    status: Annotated[int, Field(ge=100, le=599)] = Field(
        default=0, description="Status, where the gateway itself answers", examples=[404]
    )
    path: str = Field(default="", description="Path that the upstream sees", examples=["/v2/orders"])
    location: str = Field(default="", description="Where the redirect leads", examples=["https://shop.example.com/"])


class Test(Model):
    """One request, and where it must go."""

    __test__ = False

    request: Annotated[str, text(lambda line: line.strip() or _no_request(), "a request", "GET /orders")] = Field(
        description="[METHOD] [scheme://][host]/path[?query]", examples=["POST shop.example.com/orders"]
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default={}, description="Its header fields", examples=[{"x-beta": "1"}]
    )
    expect: Expect = Field(description="What must come out")


def _no_request() -> str:
    raise ValueError("needs a request, such as GET shop.example.com/orders")


class Config(Model):
    """One config file with all that it includes."""

    listen: Annotated[list[Listen], OneOrMany()] = Field(
        default=[Listen.model_validate("0.0.0.0:8080")],
        description="Where clients connect: an address, a mapping, or a list",
    )
    admin: Admin = Field(default=Admin(), description="Where the gateway is watched; beyond loopback it needs a token")
    workers: Workers = Field(default=1, description="Processes; auto: the cores that affinity and the cgroup allow")
    watch: bool = Field(
        default=_GATEWAY.watch,
        description="Reload when one of its files changes: this one, includes, certificates, {file: path}",
    )
    trusted_proxies: Annotated[list[Network], OneOrMany()] = Field(
        default=[], description="Networks that may set X-Forwarded-*; nobody by default", examples=[["10.0.0.0/8"]]
    )
    log: Log = Field(default=Log(), description="The gateway's own log, on standard error")
    access_log: AccessLog = Field(default=AccessLog(), description="One line a request; or off")
    limits: Limits = Field(default=Limits(), description="What clients may cost")
    overload: Overload = Field(
        default=Overload(), description="Past these a worker refuses a growing share of new requests; or off"
    )
    shutdown: Shutdown = Field(default=Shutdown(), description="How the gateway ends after SIGTERM")
    loop_guard: DurationOrOff = Field(
        default=_GATEWAY.loop_guard_s, description="Code that holds up the event loop for so long is logged; or off"
    )
    include: Annotated[list[str], OneOrMany()] = Field(
        default=[], description="More files, relative to this one; may have * and ?", examples=[["conf.d/*.yaml"]]
    )
    defaults: Defaults = Field(default=Defaults(), description="Merged under every route and every upstream")
    upstreams: dict[Name, Upstream] = Field(default={}, description="Named groups of targets", examples=[{}])
    executors: Executors = Field(
        default={}, description="Named pools that a plain def runs on; `default` is always there", examples=[{}]
    )
    queues: Queues = Field(
        default={},
        description="Who waits when an upstream with `concurrency` is full; `default` is always there",
        examples=[{}],
    )
    routes: list[Route] = Field(description="Which requests go where; their order never matters", examples=[[]])
    tests: list[Test] = Field(default=[], description="What `gateway test` checks, without network", examples=[[]])
