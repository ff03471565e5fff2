"""Keys of an aggregate: many upstreams, one answer."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gateway.config.model_base import UNSET, Model
from gateway.config.types import Duration, HeaderName, HeaderValue, OneOrMany, one_of, text
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from gateway.decide.route.match import parse_method

_SOURCE, _AGGREGATE = SourceSettings("", "", ""), AggregateSettings((), 0.0)

_SOURCE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}").fullmatch


def _source_name(name: str) -> str:
    if not _SOURCE_NAME(name):
        raise ValueError("a source's name is made of letters, digits, `_` and `-`, and begins with a letter")
    return name


class AggregateSource(Model):
    """One request of an aggregate."""

    wanted: ClassVar[str] = "a mapping with to and path"

    to: str = Field(description="The upstream", examples=["accounts"])
    path: Annotated[str, text(str, "a path", "/users/{user}")] = Field(
        description="{user} of the route's match; {account.region} of another source, which is then awaited",
        examples=["/users/{user}"],
    )
    method: Annotated[str, text(parse_method, "a method", "GET")] = Field(default=_SOURCE.method, description="Method")
    headers: dict[HeaderName, HeaderValue] = Field(
        default={}, description="Header fields; may have references", examples=[{"x-user": "{user}"}]
    )
    body: Any = Field(
        default=None, description="Sent as JSON; its texts may be references", examples=[{"id": "{user}"}]
    )
    timeout: Duration = Field(
        default=float(UNSET), description="Of this source; without it the aggregate's deadline", examples=["300ms"]
    )
    required: bool = Field(default=_SOURCE.required, description="Without it there is no answer")
    optional: bool = Field(default=not _SOURCE.required, description="The opposite of required")
    fallback: Any = Field(default=None, description="Its value where it failed", examples=[[]])
    pick: str = Field(default="", description="The part of the answer that counts (JMESPath)", examples=["data"])
    rename: dict[str, str] = Field(default={}, description="Members to rename", examples=[{"ccy": "currency"}])


class Aggregate(Model):
    """Many requests, one answer."""

    wanted: ClassVar[str] = "a mapping with sources"

    deadline: Duration = Field(
        default=float(UNSET),
        description="When to answer with what is there; without it the route's timeout",
        examples=["800ms"],
    )
    sources: dict[Annotated[str, text(_source_name, "a name", "account")], AggregateSource] = Field(
        description="What is asked, all at once where no reference waits", examples=[{}]
    )
    merge: Annotated[str, one_of("object", "flat", "list")] = Field(
        default=_AGGREGATE.merge, description="object (by source) | flat (members of all) | list (in this order)"
    )
    shape: Any = Field(
        default=None, description="The answer as a template instead of merge", examples=[{"owner": "{account.name}"}]
    )
    forward: Annotated[list[HeaderName], OneOrMany()] = Field(
        default=list(_AGGREGATE.forward),
        description="Fields of the request that every source gets",
        examples=[["authorization"]],
    )
