"""Keys of `match`: which requests a route takes."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from gateway.config.model_base import Model
from gateway.config.types import CommaList, HeaderName, OneOrMany, Rule, fault, header_value, text
from gateway.decide.route.match import build_match, parse_host, parse_match, parse_method, parse_pattern
from gateway.decide.route.settings import MatchSettings

_QUERY_NAME_MAX = 200


def _path(text_: str) -> str:
    parse_pattern(text_)
    return text_


def _required(value: Any, _: object) -> str:
    """A required value of a header or query parameter, or `*`."""
    return header_value(value)


_ValueWanted = Annotated[str, Rule(_required, {"type": ["string", "integer"]})]
_QueryName = Annotated[str, Field(min_length=1, max_length=_QUERY_NAME_MAX)]


class Match(Model):
    """Which requests a route takes."""

    wanted: ClassVar[str] = "[METHOD[,METHOD]] [host]/path, or a mapping with path"
    short_schema: ClassVar[dict[str, Any] | None] = {
        "type": "string",
        "examples": ["POST shop.example.com/orders", "/api/*", "GET /users/{user}"],
    }

    _settings: MatchSettings | None = PrivateAttr(default=None)

    path: Annotated[list[Annotated[str, text(_path, "a path", "/orders/{id}")]], OneOrMany()] = Field(
        description="A path or a list; {param} is one segment, a trailing /* the rest", examples=["/orders/{id}"]
    )
    methods: Annotated[list[Annotated[str, text(parse_method, "a method", "GET")]], CommaList()] = Field(
        default=[], description="Methods; without them any", examples=[["GET", "POST"]]
    )
    hosts: Annotated[list[Annotated[str, text(parse_host, "a host", "shop.example.com")]], OneOrMany()] = Field(
        default=[], description="Hosts, exact or *.example.com; without them any", examples=[["shop.example.com"]]
    )
    headers: dict[HeaderName, _ValueWanted] = Field(
        default={}, description='Headers with their value, or "*" for any value', examples=[{"x-beta": "*"}]
    )
    query: dict[_QueryName, _ValueWanted] = Field(
        default={}, description='Query parameters with their value, or "*" for any value', examples=[{"version": "2"}]
    )

    @classmethod
    def from_short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            match = parse_match(value)
        except ValueError as error:
            raise fault(str(error)) from None
        made = cls.model_construct(path=list(match.paths), methods=list(match.methods), hosts=list(match.hosts))
        made._settings = match
        return made

    def settings(self) -> MatchSettings:
        """Raises ValueError where two of the paths match the same requests."""
        if self._settings is None:
            self._settings = build_match(self.path, self.methods, self.hosts, self.headers, self.query)
        return self._settings
