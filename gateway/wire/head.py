"""Heads of HTTP/1.x messages: the start line, and what the fields say of the body and the connection.

A head is cut out at its empty line, validated by grammar and split; nothing is guessed and nothing is repaired.

Which rule bounds a body (RFC 9112 section 6.3), the first that applies:
    request   Content-Length and Transfer-Encoding together: refused; Transfer-Encoding: exactly `chunked`, in 1.1;
              Content-Length: one decimal number; neither: no body
    answer    to HEAD, 1xx, 204, 304: no body; then as above; neither: until the connection closes
"""

import re
from functools import lru_cache
from typing import Final

from gateway.core.errors import GatewayError
from gateway.wire.fields import CHUNKED, UNTIL_CLOSE, Fields, tokens
from gateway.wire.limits import HeadLimits

_REQUEST_LINE: Final = re.compile(r"([A-Z0-9!#$%&'*+\-.^_`|~]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_OTHER_VERSION: Final = re.compile(r"[^ ]+ [^ ]+ HTTP/[0-9]+(?:\.[0-9]+)?")
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~\-]{1,255})(?::([0-9]{1,5}))?")
_ABSOLUTE: Final = re.compile(r"(?i:https?)://([^/?#]*)([/?][^#]*)?")

Authority = tuple[str, str]
"""(host in lower case without port and trailing dot, authority as sent)"""


@lru_cache(maxsize=1024)  # of the names a gateway serves there are few, and every request brings one
def parse_authority(value: str) -> Authority:
    """Split `host[:port]`. Raises GatewayError on userinfo, bad ports, empty or malformed hosts (RFC 9112 3.2)."""
    match = _AUTHORITY.fullmatch(value)
    if match is None or (match[2] and int(match[2]) > 65535):
        raise GatewayError("bad_request", "Host is empty or not a valid host and port")
    return match[1].lower().removesuffix("."), value


class RequestFields(Fields):
    """The fields of a request with all that depends on them alone, worked out once per distinct section."""

    __slots__ = ("_authority", "expects", "forward", "hop_lines", "length", "upgrade", "wants_trailers")

    def __init__(self, section: str, limits: HeadLimits) -> None:
        super().__init__(section, limits)
        host = self.index.get("host")
        self._authority = None if host is None else parse_authority(host)
        length = self.content_length()
        coding = self.index.get("transfer-encoding")
        if coding is not None:
            if length is not None:
                raise GatewayError("bad_request", "Content-Length and Transfer-Encoding together")
            if coding.lower() != "chunked":
                raise GatewayError(
                    "not_implemented" if coding else "bad_request", "Transfer-Encoding other than one chunked"
                )
            length = CHUNKED
        self.length = length or 0
        """Of the body, in bytes, or CHUNKED."""
        self.expects = self.index.get("expect")
        self.upgrade = self.index.get("upgrade") if "upgrade" in self.connection else None
        accepted = self.index.get("te")
        self.wants_trailers = accepted is not None and "trailers" in tokens(accepted)
        self.hop_lines = self.upgrade is not None or self.wants_trailers or "max-forwards" in self.index
        """Whether the client sent something that takes fields of our own to this hop."""
        self.forward: str | None = None
        """The lines that go to a target, made by whoever forwards first."""

    def authority(self, version: str) -> Authority:
        """Of the Host field; ("", "") where HTTP/1.0 sent none. Raises GatewayError where 1.1 did not."""
        if self._authority is not None:
            return self._authority
        if version == "HTTP/1.1":
            raise GatewayError("bad_request", "HTTP/1.1 needs a Host field")
        return "", ""


class RequestHead:
    """One request line with its fields."""

    __slots__ = ("authority", "fields", "host", "keep_alive", "method", "path", "query", "version")

    def __init__(self, line: str, fields: RequestFields) -> None:
        """Raises GatewayError: bad_request, http_version, not_implemented, method_not_allowed."""
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise _bad_request_line(line)
        self.method, target, major, minor = match.groups()
        if major != "1" or minor > "1":
            raise GatewayError("http_version", "only HTTP/1.0 and HTTP/1.1 are served here")
        if self.method == "CONNECT":
            raise GatewayError("not_implemented", "CONNECT is not served here")
        self.version = "HTTP/1.1" if minor == "1" else "HTTP/1.0"
        self.fields = fields
        self.host, self.authority = fields.authority(self.version)
        if target[0] != "/":
            target = self._other_form(target)
        path, mark, query = target.partition("?")
        self.path = path
        """As it arrived; begins with `/`, or is `*`."""
        self.query = query if mark else None
        if "#" in target:
            raise GatewayError("bad_request", "a request target has no fragment (#)")
        if minor == "1":
            self.keep_alive = "close" not in fields.connection
        else:
            self.keep_alive = "keep-alive" in fields.connection and "close" not in fields.connection
            if fields.length == CHUNKED:
                raise GatewayError("bad_request", "Transfer-Encoding in HTTP/1.0")

    def _other_form(self, target: str) -> str:
        """Absolute-form (its authority wins over Host, RFC 9112 3.2.2) and asterisk-form; the path with the query."""
        if target == "*":
            if self.method != "OPTIONS":
                raise GatewayError("method_not_allowed", "the target * is for OPTIONS alone")
            return target
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise GatewayError("bad_request", "the request target must begin with / or be an http or https URL")
        self.host, self.authority = parse_authority(match[1])
        rest = match[2] or "/"
        return rest if rest[0] == "/" else "/" + rest


def empty_lines(data: bytes) -> int:
    """Length of the empty lines ahead of a request line: at most two are skipped (RFC 9112 section 2.2)."""
    start = 0
    while start < 4 and data.startswith(b"\r\n", start):
        start += 2
    if data[start : start + 1] in (b"\r", b"\n") and data[start:] != b"\r":
        raise GatewayError("bad_request", "empty lines ahead of the request line")
    return start


def check_partial_head(data: bytes, start: int, scanned: int, limits: HeadLimits) -> int:
    """Refuse early what can never become a head within the limits; how far it was looked at (`scanned` next time)."""
    first = data.find(b"\n", start)
    if (len(data) if first < 0 else first) - start > limits.line_bytes + 1:
        raise GatewayError("uri_too_long", f"the request line exceeds {limits.line_bytes} bytes")
    if first >= 0 and len(data) - first > limits.headers_bytes:
        raise GatewayError("headers_too_large", f"the header fields exceed {limits.headers_bytes} bytes")
    at = data.find(b"\n", max(0, scanned - 1))
    while at >= 0:
        if data[at - 1 : at] != b"\r":
            raise GatewayError("bad_request", "a line ends in a bare LF")
        at = data.find(b"\n", at + 1)
    return max(0, len(data) - 3)


def _bad_request_line(line: str) -> GatewayError:
    if _OTHER_VERSION.fullmatch(line) and not re.search(r" HTTP/1\.[01]$", line):
        return GatewayError("http_version", "only HTTP/1.0 and HTTP/1.1 are served here")
    return GatewayError("bad_request", "the request line is not `METHOD target HTTP/1.1`")


class ResponseHead:
    """A status line with its fields; `length` is the body's, or CHUNKED, or UNTIL_CLOSE.

    It is the same for every answer with the same bytes, so it is shared and never changed, but for `forward`.
    """

    __slots__ = ("bodiless", "dated", "fields", "forward", "idle_timeout_s", "keep_alive", "length", "status")

    def __init__(self, head: str, limits: HeadLimits) -> None:
        """`head` ends in an empty line. Raises GatewayError upstream_protocol."""
        try:
            self._parse(head, limits)
        except GatewayError as error:
            raise GatewayError("upstream_protocol", error.detail) from None

    def _parse(self, head: str, limits: HeadLimits) -> None:
        line, _, section = head.partition("\r\n")
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise GatewayError("upstream_protocol", "the status line is not `HTTP/1.1 status reason`")
        fields = Fields(section, limits)
        self.fields = fields
        self.status = int(match[2])
        length = fields.content_length()
        coding = fields.index.get("transfer-encoding")
        if coding is not None:
            if length is not None:
                raise GatewayError("upstream_protocol", "Content-Length and Transfer-Encoding together")
            if match[1] == "0" or coding.lower() != "chunked":
                raise GatewayError("upstream_protocol", "Transfer-Encoding other than one chunked in HTTP/1.1")
            length = CHUNKED
        self.length = UNTIL_CLOSE if length is None else length
        if match[1] == "1":
            self.keep_alive = "close" not in fields.connection
        else:
            self.keep_alive = "keep-alive" in fields.connection and "close" not in fields.connection
        self.bodiless = self.status in (204, 304) or self.status < 200
        """Has no body, whatever its fields say; so has every answer to HEAD."""
        self.dated = "date" in fields.index
        self.idle_timeout_s = _keep_alive_timeout(fields)
        """When to leave an idle connection that the upstream will close (`Keep-Alive: timeout=N`); None: not said."""
        self.forward: str | None = None
        """The lines that go on to clients, made by whoever forwards first."""


def _keep_alive_timeout(fields: Fields) -> float | None:
    """A second less than the upstream says, an hour at most."""
    hint = fields.index.get("keep-alive")
    if hint is not None:
        for token in tokens(hint):
            name, _, value = token.partition("=")
            if name == "timeout" and value.isascii() and value.isdecimal():
                return max(min(float(value) - 1.0, 3600.0), 0.0)
    return None
