"""What a route matches on, as people write it: `[METHOD[,METHOD]] [host]/path`.

A path pattern is segments: literals, `{param}` (one segment that is not empty), and at the end perhaps `/*`
(the rest).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from gateway.decide.route.path import PathError, normalise_path
from gateway.decide.route.settings import MatchSettings

_METHOD = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+").fullmatch
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_PARAM = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}").fullmatch
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?").fullmatch
_IPV6 = re.compile(r"\[[0-9a-f:.]+\]").fullmatch
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A path pattern, parsed. In `segments` None stands for a parameter; `params` has their names."""

    text: str
    segments: tuple[str | None, ...]
    params: tuple[str, ...] = ()
    rest: bool = False
    """True with a trailing `/*`."""

    @property
    def shape(self) -> tuple[tuple[str | None, ...], bool]:
        """Equal for patterns that match the same paths."""
        return self.segments, self.rest

    @property
    def literal(self) -> str | None:
        """The one path that it matches, or None."""
        if self.rest or None in self.segments:
            return None
        return "/" + "/".join(segment or "" for segment in self.segments)


def parse_match(text: str) -> MatchSettings:
    """The short form `[METHOD[,METHOD]] [host]/path` as settings. Raises ValueError that says what to write."""
    words = text.split()
    if not words:
        raise ValueError("a match needs a path, such as /orders or GET shop.example.com/orders/{id}")
    if len(words) > 2:
        raise ValueError(f"a match is [METHOD[,METHOD]] [host]/path, with one space at most; found {text!r}")
    target = words[-1]
    methods = words[0].split(",") if len(words) == 2 else []
    if "://" in target:
        raise ValueError(f"a match has no scheme; write {target.partition('://')[2]}")
    if "?" in target:
        raise ValueError("the short form has no query; write match: {path: ..., query: {name: value}}")
    host, slash, path = target.partition("/")
    if not slash:
        hint = f"{target} /" if _METHOD(target) and target.isupper() else f"{target}/*"
        raise ValueError(f"a match needs a path; perhaps {hint}")
    return build_match(["/" + path], methods, [host] if host else [])


def build_match(
    paths: Iterable[str],
    methods: Iterable[str] = (),
    hosts: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> MatchSettings:
    """Checked settings from the long form. Raises ValueError with what to write instead."""
    fields = {_header_name(name): value for name, value in (headers or {}).items()}
    return MatchSettings(
        paths=_distinct_paths(paths),
        methods=tuple(dict.fromkeys(parse_method(method) for method in methods)),
        hosts=tuple(dict.fromkeys(parse_host(host) for host in hosts)),
        headers=tuple(sorted(fields.items())),
        query=tuple(sorted((query or {}).items())),
    )


def parse_method(text: str) -> str:
    """A method name. Methods are case-sensitive (RFC 9110 9.1), so `get` is taken for a mistake."""
    if _METHOD(text) and text != "*":
        return text
    if text == "*":
        raise ValueError("leave the method out to take every method")
    if _METHOD(text.upper()):
        raise ValueError(f"method {text!r} is written {text.upper()!r}")
    raise ValueError(f"{text!r} is not a method; write methods as GET or GET,POST without spaces")


def parse_host(text: str) -> str:
    """A host to match: exact or `*.example.com`, in lower case."""
    host = text.lower().removesuffix(".")
    if host == "*" or not host:
        raise ValueError("leave the host out to match every host")
    if _IPV6(host):
        return host
    name, colon, port = host.partition(":")
    if colon:
        raise ValueError(f"hosts match without their port; write {name}" + ("" if port.isdecimal() else "/..."))
    labels = name.removeprefix("*.").split(".")
    if any("*" in label for label in labels):
        raise ValueError(f"host {text!r}: `*` stands only for the first labels, such as *.example.com")
    if not all(map(_LABEL, labels)):
        raise ValueError(f"{text!r} is not a host name; perhaps the path should begin with / : /{text}")
    return name


def parse_pattern(text: str) -> Pattern:
    """A path pattern. Raises ValueError with what to write instead."""
    if not text.startswith("/"):
        raise ValueError(f"a path begins with /; write /{text}")
    body, rest = (text[:-2], True) if text.endswith("/*") else (text, False)
    raw = body.split("/")[1:]
    segments = tuple(_segment(segment, text) for segment in raw)
    params = tuple(segment[1:-1] for segment, parsed in zip(raw, segments, strict=True) if parsed is None)
    for name in params:
        if params.count(name) > 1:
            raise ValueError(f"path {text!r} names {{{name}}} twice")
    return Pattern(text, segments, params, rest)


def _segment(text: str, path: str) -> str | None:
    """A literal segment in normal form, or None for a parameter."""
    if _PARAM(text):
        return None
    if "{" in text or "}" in text:
        raise ValueError(
            f"path {path!r}: a parameter is a whole segment of letters, digits and _, such as /orders/{{id}}"
        )
    if "*" in text:
        raise ValueError(f"path {path!r}: `*` stands only at the end, after a slash, such as /api/*")
    try:
        literal = normalise_path("/" + quote(text, safe=_PRINTABLE))[1:]
    except PathError as error:
        raise ValueError(f"path {path!r} matches no request: {error}") from None
    if literal == "" != text:
        raise ValueError(f"path {path!r} matches no request: dot segments are removed before matching")
    return literal


def _distinct_paths(paths: Iterable[str]) -> tuple[str, ...]:
    shapes: dict[object, str] = {}
    for path in paths:
        other = shapes.setdefault(parse_pattern(path).shape, path)
        if other != path:
            raise ValueError(f"paths {other!r} and {path!r} match the same requests; keep one")
    if not shapes:
        raise ValueError("a match needs a path, such as /orders")
    return tuple(shapes.values())


def _header_name(text: str) -> str:
    if not _FIELD_NAME(text):
        raise ValueError(f"{text!r} is not the name of a header")
    return text.lower()
