"""One request with its answer: the facts that every step reads and the access log writes."""

from typing import Any


class UpstreamFacts:
    """What is noted while an upstream is asked; times are seconds on the monotonic clock, durations seconds."""

    __slots__ = (
        "attempts",
        "connect_s",
        "hedged",
        "overhead_s",
        "queue_s",
        "request_id",
        "started_at",
        "status",
        "target",
        "ttfb_s",
        "upstream",
        "upstream_status",
    )

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.request_id = ""
        self.status = self.attempts = 0
        """status: 0 until a final head was passed on."""
        self.hedged = False
        """Whether two targets were asked at the same time."""
        self.upstream: str | None = None
        self.target: str | None = None
        self.upstream_status: int | None = None
        self.connect_s: float | None = None
        """Of the connection dialled for this exchange; None when one was reused."""
        self.ttfb_s: float | None = None
        """From the request on its way to the first byte of the upstream's answer."""
        self.queue_s: float | None = None
        """Waited for its turn at the upstream, and for a free connection."""
        self.overhead_s = 0.0
        """Spent in the gateway: the duration less the time the upstream had the request."""


class Exchange(UpstreamFacts):
    """Plain facts of one exchange of a client.

    `reason` is the gateway's own reason (None while the answer is the upstream's); `source` says who made the
    answer: upstream, gateway, respond, handler, app, aggregate.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "client_ip",
        "ended_at",
        "executor_s",
        "extra",
        "host",
        "method",
        "path",
        "plugins",
        "protocol",
        "query",
        "reason",
        "route",
        "scheme",
        "source",
        "sources",
        "stream",
        "tls",
        "user_agent",
    )

    def __init__(self, method: str, path: str, query: str | None, protocol: str, started_at: float) -> None:
        UpstreamFacts.__init__(self, started_at)  # one for each request: super() would take 0.1 us more
        self.method = method
        self.path = path
        """As it arrived, without the query."""
        self.query = query
        """Without the `?`; None when there is none."""
        self.protocol = protocol
        """HTTP/1.0 or HTTP/1.1."""
        self.ended_at = 0.0
        self.client_ip = self.scheme = self.host = ""
        self.route = "_unmatched"
        self.source = "gateway"
        self.reason: str | None = None
        self.user_agent: str | None = None
        self.executor_s: float | None = None
        """Waiting for executors and running there."""
        self.stream: str | None = None
        """websocket | raw, for an upgraded connection; sse for an event stream."""
        self.tls: str | None = None
        """TLS version and cipher of the client connection."""
        self.plugins: dict[str, float] | None = None
        """Milliseconds in each plugin, by name."""
        self.sources: dict[str, dict[str, Any]] | None = None
        """Of an aggregate, by name: status, reason, ms."""
        self.extra: dict[str, str] | None = None
        """Request fields by lower-case name, for the access log (`fields: {add: header:<name>}`)."""
        self.bytes_in = self.bytes_out = 0
