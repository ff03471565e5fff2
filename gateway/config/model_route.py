"""Keys of a route."""

import re
from fractions import Fraction
from math import gcd
from typing import Annotated, Any, ClassVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from gateway.config.model_aggregate import Aggregate
from gateway.config.model_base import UNSET, Model
from gateway.config.model_match import Match
from gateway.config.model_python import App, Handler, Plugin
from gateway.config.types import (
    DurationOrOff,
    HeaderName,
    HeaderValue,
    Name,
    OneOrMany,
    Rule,
    Size,
    SizeOrOff,
    fault,
    header_name,
    text,
    wrong_kind,
)
from gateway.config.units import UnitError, parse_share
from gateway.decide.route.match import parse_host
from gateway.decide.route.settings import MatchSettings
from gateway.pipeline.settings import BufferSettings, ForwardSettings, RedirectSettings, RespondSettings, RouteSettings

_BUFFER = BufferSettings()
_FORWARD = ForwardSettings(())
_ROUTE = RouteSettings("", MatchSettings(()), _FORWARD)

_UPSTREAM_PATH = re.compile(r"/[!\"$->@-~]*").fullmatch
_ROUTE_NAME = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?").fullmatch


def _share(value: Any, _: object) -> Fraction:
    try:
        return Fraction(str(parse_share(value)))
    except UnitError as error:
        raise fault(error.message, fix=error.fix) from None


class _To:
    """Metadata of `to`: a name, or names with their shares."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(_single_upstream, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "examples": ["orders"]}, handler(schema)]}


def _single_upstream(value: Any) -> Any:
    if isinstance(value, str):
        return {value: "100%"}
    if not isinstance(value, dict):
        raise wrong_kind(value, "the name of an upstream, or {orders: 90%, orders-next: 10%}")
    return value


_Share = Annotated[Fraction, Rule(_share, {"type": "string", "pattern": r"^[0-9.]+%$"})]


def whole_shares(to: dict[str, Fraction]) -> tuple[tuple[str, int], ...]:
    """The shares as the smallest whole numbers of the same proportions."""
    denominator = 1
    for share in to.values():
        denominator = denominator * share.denominator // gcd(denominator, share.denominator)
    numbers = [int(share * denominator) for share in to.values()]
    divisor = gcd(*numbers) or 1
    return tuple((name, number // divisor) for name, number in zip(to, numbers, strict=True))


def _upstream_path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"a path begins with /; write /{path[:80]}")
    if not _UPSTREAM_PATH(path):
        raise ValueError("a path is printable ASCII without blanks, ? and #; the query is passed on as it is")
    return path


def _host(name: str) -> str:
    if name in ("pass", "upstream"):
        return name
    host, colon, port = name.partition(":")
    checked = parse_host(host)
    if "*" in checked or (colon and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535)):
        raise ValueError(f"{name[:80]!r} is not a host; write pass, upstream or a name such as a.example.com")
    return checked + colon + port


class Edits(Model):
    """Header fields to change in one direction."""

    set: dict[HeaderName, HeaderValue] = Field(
        default={}, description="Fields to set, replacing all of that name", examples=[{"x-tier": "gold"}]
    )
    remove: Annotated[list[HeaderName], OneOrMany()] = Field(
        default=[], description="Names of fields to remove", examples=[["x-internal"]]
    )


class Headers(Model):
    """Header fields to change."""

    request: Edits = Field(default=Edits(), description="On the way to the upstream")
    response: Edits = Field(default=Edits(), description="On the way to the client")


class Buffer(Model):
    """How much of a body may wait in memory."""

    request: Size = Field(
        default=_BUFFER.request_bytes, description="Bodies up to this are read whole before a target is engaged"
    )
    response: Size = Field(
        default=_BUFFER.response_bytes, description="How far ahead of a slow client the answer is read"
    )


def _body(value: Any, _: object) -> Any:
    if isinstance(value, (dict, list, str)):
        return value
    raise wrong_kind(value, "text, or a mapping or list to be sent as JSON", quotable=True)


class Respond(Model):
    """A fixed answer."""

    wanted: ClassVar[str] = "a text, a status, or a mapping with status, body and headers"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": ["string", "integer"], "examples": ["pong", 204]}

    status: Annotated[int, Field(ge=200, le=599)] = Field(default=RespondSettings().status, description="Status code")
    body: Annotated[Any, Rule(_body, {"type": ["string", "object", "array"]}, lambda body: body)] = Field(
        default="", description="Text, or a mapping or list to be sent as JSON", examples=["pong"]
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default={}, description="More header fields", examples=[{"cache-control": "no-store"}]
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"status": value}
        return {"body": value} if isinstance(value, str) else value


def _location(location: str) -> str:
    if not re.fullmatch(r"(?:https?://[^/?#\s@]+(?:[/?#]\S*)?|/\S*)", location) or not location.isascii():
        raise ValueError(f"{location[:80]!r} is not an absolute URL (https://...) or a path (/...)")
    if location.startswith("//") or "\\" in location:
        raise ValueError("a location that begins with // leads to another host; write the whole URL")
    return location


class Redirect(Model):
    """A redirect."""

    wanted: ClassVar[str] = "a URL or a path, or a mapping with location and status"
    short_schema: ClassVar[dict[str, Any] | None] = {"type": "string", "examples": ["https://shop.example.com/"]}

    location: Annotated[str, text(_location, "a URL or a path", "https://shop.example.com/")] = Field(
        description="URL or path; a trailing / takes on what the route's /* matched",
        examples=["https://shop.example.com/"],
    )
    status: Annotated[int, Rule(lambda value, _: _redirect_status(value), {"enum": [301, 302, 303, 307, 308]}, int)] = (
        Field(
            default=RedirectSettings("").status, description="301 | 302 | 303 | 307 | 308; the last two keep the method"
        )
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        return {"location": value} if isinstance(value, str) else value


def _redirect_status(value: Any) -> int:
    if value in (301, 302, 303, 307, 308) and not isinstance(value, float):
        return int(value)
    raise fault("must be 301, 302, 303, 307 or 308")


def _route_name(name: str) -> str:
    if not _ROUTE_NAME(name):
        raise ValueError("a route's name is 1 to 200 printable ASCII characters without blanks at its ends")
    if name.startswith("_"):
        raise ValueError("names that begin with _ are the gateway's own")
    return name


def _protocol(name: str) -> str:
    if name.lower() == "h2c":
        raise ValueError("h2c is never passed on: its requests would go past the routes")
    return header_name(name).lower()


class RouteDefaults(Model):
    """What can be set for all routes."""

    host: Annotated[str, text(_host, "pass, upstream or a name", "upstream")] = Field(
        default=_FORWARD.host,
        description="Host the upstream sees: pass (the client's) | upstream (the target's) | a name",
    )
    timeout: DurationOrOff = Field(
        default=_ROUTE.timeout_s, description="Until the head of the answer, and between pieces of its body; or off"
    )
    body_limit: SizeOrOff = Field(
        default=UNSET, description="Largest request body, or off; without it limits.body", examples=["1MiB"]
    )
    class_: Name = Field(
        default=_ROUTE.class_,
        alias="class",
        description="Its queue, for when an upstream is full; its weight says what is shed last",
    )
    buffer: Buffer = Field(default=Buffer(), description="How much of a body may wait in memory")
    upgrade: Annotated[list[Annotated[str, text(_protocol, "a protocol", "websocket")]], OneOrMany()] = Field(
        default=list(_ROUTE.upgrade),
        description="Protocols that a client may upgrade to through this route; [] for none",
    )
    headers: Headers = Field(default=Headers(), description="Header fields to set and to remove")
    plugins: Annotated[list[Plugin], OneOrMany()] = Field(
        default=[],
        description="Python that is asked first, in this order; a route's own list replaces that of defaults",
    )


class Route(RouteDefaults):
    """Conditions and an answer."""

    name: Annotated[str, text(_route_name, "a name", "orders")] = Field(
        default="", description="In logs and metrics; without it what `match` says", examples=["orders"]
    )
    match: Match = Field(
        description="[METHOD[,METHOD]] [host]/path, or a mapping", examples=["POST shop.example.com/orders"]
    )
    to: Annotated[dict[Name, _Share], _To()] = Field(
        default={},
        description="Upstream, or several with their shares",
        examples=["orders", {"orders": "90%", "next": "10%"}],
    )
    rewrite: Annotated[str, text(_upstream_path, "a path", "/v2/orders/{id}")] = Field(
        default="",
        description="Path for the upstream; may use {param} of the match, and /* at its end",
        examples=["/v2/orders/{id}"],
    )
    strip: Annotated[str, text(_upstream_path, "a path", "/api")] = Field(
        default="", description="Leading segments to take off the path", examples=["/api"]
    )
    handler: Handler | None = Field(default=None, description="Python that answers")
    app: App | None = Field(default=None, description="A whole WSGI or ASGI application; strip gives its SCRIPT_NAME")
    aggregate: Aggregate | None = Field(default=None, description="Many upstreams, one answer")
    respond: Respond | None = Field(default=None, description="A fixed answer: a text, a status or a mapping")
    redirect: Redirect | None = Field(default=None, description="A redirect to a URL or a path")
