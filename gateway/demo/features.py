"""What this version does, as a list: a title, the request that shows it, and the answer it must bring."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request. Names in `headers` are lower case."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Feature:
    """One request (sent `times` times) and what must come back.

    `body` are patterns that must be found in the answers put one after another; `headers` are patterns that must be
    found in the last one's fields. A stream ends after `seconds`, or as soon as the body has what it must.
    """

    title: str
    path: str
    status: int = 200
    body: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    send: tuple[tuple[str, str], ...] = ()
    data: str = ""
    seconds: int = 0
    times: int = 1
    admin: bool = False

    @property
    def kind(self) -> str:
        """once | stream | websocket."""
        if any(name.lower() == "upgrade" for name, _ in self.send):
            return "websocket"
        return "stream" if self.seconds else "once"

    def urls(self, base: str) -> Iterator[str]:
        """Every URL of the curl line: its `[1-N]` written out."""
        for number in range(1, self.times + 1):
            yield base + self.path.replace(f"[1-{self.times}]", str(number))

    def curl(self, base: str) -> str:
        """The line to type."""
        words = ["curl", "-sN" if self.seconds else "-s"]
        # A head is shown where it is the point; the curl of an upgrade needs it, or 101 would not be seen.
        words += ["-i"] if self.headers or self.status >= 300 or self.kind == "websocket" else []
        words += ["--max-time", str(self.seconds)] if self.seconds else []
        words += ["-X", self.method] if self.method != "GET" and not self.data else []
        for name, value in self.send:
            words += ["-H", f"{name}: {value}"]
        words += ["-d", self.data] if self.data else []
        return shlex.join([*words, base + self.path])

    def differs(self, answers: list[Answer]) -> str:
        """What is not as it must be; empty when all is."""
        for answer in answers:
            if answer.status != self.status:
                return f"status {answer.status} instead of {self.status}: {answer.body[:200]}"
        whole, last = "".join(answer.body for answer in answers), answers[-1]
        for name, pattern in self.headers:
            if not re.search(pattern, last.headers.get(name, "")):
                return f"{name}: {last.headers.get(name, '(none)')!r} has no {pattern!r}"
        for pattern in self.body:
            if not re.search(pattern, whole):
                return f"the body has no {pattern!r}: {whole[:200]!r}"
        return ""


def problem(title: str, path: str, status: int, reason: str, **more: object) -> Feature:
    """A request that the gateway answers itself, with a problem document."""
    return Feature(
        title,
        path,
        status,
        body=(f'"type":"urn:gateway:{reason}"', '"request_id":"[^"]+"'),
        headers=(("content-type", "^application/problem\\+json"), ("x-gateway-reason", f"^{reason}$")),
        **more,  # type: ignore[arg-type]  # the other fields of Feature, by name
    )


JSON = ("Content-Type", "application/json")
HANDSHAKE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)

FEATURES = (
    Feature(
        "Proxy to the less loaded of two targets",
        "/orders/1?n=[1-4]",
        times=4,
        body=('"item":"lamp"',),
        headers=(("x-served-by", "^orders-[12]$"), ("x-request-id", "."), ("via", "1.1")),
    ),
    Feature(
        "Send a body",
        "/orders",
        201,
        method="POST",
        send=(JSON,),
        data='{"item":"chair","quantity":4}',
        body=('"item":"chair","quantity":4',),
        headers=(("location", "^/orders/[0-9]+$"),),
    ),
    Feature(
        "Path parameter, rewritten path, changed response headers",
        "/quotes/ACME",
        body=('"symbol":"ACME"',),
        headers=(("x-demo", "^quotes$"),),
    ),
    Feature(
        "A quarter of the traffic to the next version",
        "/quotes/ACME?n=[1-60]",
        times=60,
        body=('"from":"quotes"', '"from":"quotes-next"'),
    ),
    Feature(
        "Route by header",
        "/quotes/ACME?n=[1-10]",
        times=10,
        send=(("X-Tier", "gold"),),
        body=('^({"symbol":"ACME","price":[0-9.]+,"from":"quotes-next"}\n){10}$',),
    ),
    Feature("Route by host", "/", send=(("Host", "shop.example.com"),), body=('"shop":"open"',)),
    Feature(
        "What the upstream sees: prefix stripped, client address, request id",
        "/api/echo?a=%2F",
        body=(
            '"target":"/echo\\?a=%2F"',
            '(?i)"x-forwarded-for","127.0.0.1"',
            '(?i)"x-forwarded-proto","http"',
            '(?i)"forwarded","for=',
            '(?i)"x-request-id","[^"]+"',
            '(?i)"via","1.1',
        ),
    ),
    Feature("Answer without an upstream", "/ping", body=("^pong",)),
    Feature("Redirect", "/old/ACME", 308, headers=(("location", "/quotes/ACME$"),)),
    Feature("An event stream, passed on at once", "/ticks/ACME", seconds=2, body=("id: 0\n", "id: 3\n")),
    Feature(
        "A WebSocket",
        "/ws",
        101,
        send=HANDSHAKE,
        seconds=1,
        headers=(("sec-websocket-accept", "^s3pPLMBiTxaQ9kYGzzhZRbK\\+xOo=$"),),
        body=('{"hello":"ticks"}',),
    ),
    Feature(
        "A plugin before the orders: what its fraud check found goes on as a header",
        "/orders",
        201,
        method="POST",
        send=(JSON,),
        data='{"item":"desk","quantity":90}',
        body=('"fraud_score":"0.09"',),
    ),
    Feature(
        "The same plugin, which answers itself",
        "/orders",
        403,
        method="POST",
        send=(JSON,),
        data='{"item":"gift card","quantity":900}',
        body=("looks like fraud",),
        headers=(("x-gateway-reason", "^plugin_denied$"),),
    ),
    Feature(
        "Python that computes, in processes: an option's price",
        "/price?n=[1-4]",
        times=4,
        method="POST",
        send=(JSON,),
        data='{"spot":100,"strike":105,"years":0.5,"volatility":0.2,"rate":0.03}',
        body=('"price":7.8545,"process":[0-9]+',),
    ),
    Feature(
        "Python that waits, on the event loop: two upstreams asked at once",
        "/compare/ACME",
        body=('"now":([0-9.]+),"next":\\1',),
    ),
    Feature(
        "A Flask application, on threads",
        "/legacy/",
        body=('href="/legacy/invoices/7"',),
    ),
    Feature(
        "The same application, with a body",
        "/legacy/invoices",
        201,
        method="POST",
        send=(JSON,),
        data='{"invoice":7}',
        body=('"paid":7',),
    ),
    Feature(
        "One answer out of four upstreams; where one fails (every third time), it says so",
        "/portfolio/ada?n=[1-3]",
        times=3,
        body=(
            '"account":{[^}]*"region":"emea"',
            '"risk":{"rating":"moderate"}',
            '"news":\\["markets calm in emea"\\]',
            '"_sources":{"news":{[^}]*503',
        ),
        headers=(("x-gateway-complete", "^(true|false)$"),),
    ),
    Feature(
        "The same, each part as it arrives: an event stream",
        "/portfolio/ada",
        send=(("Accept", "text/event-stream"),),
        seconds=2,
        body=("emea", "ACME", "moderate"),
    ),
    Feature(
        "The same, a line of JSON for each part",
        "/portfolio/ada",
        send=(("Accept", "application/x-ndjson"),),
        seconds=2,
        body=("emea", "ACME", "moderate"),
    ),
    problem("Python that hangs, given up after 300 ms", "/hangs", 504, "executor_timeout"),
    Feature("An async def that blocks the event loop (the log names the line)", "/blocks", body=("the log names",)),
    problem("No route", "/nowhere", 404, "no_route"),
    problem("A method that the path does not take", "/ping", 405, "method_not_allowed", method="DELETE"),
    problem("A slash hidden in the path", "/quotes/a%2Fb", 400, "bad_request"),
    problem("A body over the limit of its route", "/orders", 413, "body_too_large", method="POST", data="x" * 101),
    problem("A dead upstream", "/gone", 502, "connect_refused"),
    problem("A slow upstream, cut off after 300 ms", "/slow", 504, "upstream_timeout"),
    Feature("It lives", "/healthz", admin=True),
    Feature("It is ready", "/readyz", admin=True),
    Feature(
        "Workers, routes, upstreams, executors",
        "/status",
        admin=True,
        body=('"workers"', '"orders"', '"quotes-next"', '"pricing"'),
    ),
    Feature("The config in use", "/config", admin=True, body=("place-order",)),
    Feature(
        "Metrics",
        "/metrics",
        admin=True,
        body=(
            'gateway_http_requests_total{[^}]*route="quote"',
            'gateway_executor_tasks_total{executor="pricing",outcome="ok"}',
            'gateway_event_loop_blocked_total{code="mistakes[^"]*:blocks"}',
        ),
    ),
)
