"""One request with its answer: the facts that every step reads and the access log writes."""

from typing import Any


class Exchange:
    """Plain facts of one exchange; times are seconds on the monotonic clock unless the name says otherwise.

    `reason` is the gateway's own reason (None while the answer is the upstream's); `source` says who made the
    answer: upstream, gateway, respond, handler, app, aggregate. `status` is 0 until a final head went out.
    """

    __slots__ = (
        "attempts",
        "bytes_in",
        "bytes_out",
        "client_ip",
        "connect_s",
        "ended_at",
        "executor_s",
        "extra",
        "host",
        "method",
        "overhead_s",
        "path",
        "plugins",
        "protocol",
        "query",
        "queue_s",
        "reason",
        "request_id",
        "route",
        "scheme",
        "source",
        "sources",
        "started_at",
        "status",
        "stream",
        "target",
        "tls",
        "ttfb_s",
        "upstream",
        "upstream_status",
        "user_agent",
    )

    def __init__(self, method: str, path: str, query: str | None, protocol: str, started_at: float) -> None:
        self.method = method
        self.path = path
        """As it arrived, without the query."""
        self.query = query
        """Without the `?`; None when there is none."""
        self.protocol = protocol
        """HTTP/1.0 or HTTP/1.1."""
        self.started_at = started_at
        self.ended_at = 0.0
        self.request_id = self.client_ip = self.scheme = self.host = ""
        self.route = "_unmatched"
        self.source = "gateway"
        self.upstream: str | None = None
        self.target: str | None = None
        self.upstream_status: int | None = None
        self.reason: str | None = None
        self.user_agent: str | None = None
        self.connect_s: float | None = None
        """Of the connection dialled for this exchange; None when one was reused."""
        self.ttfb_s: float | None = None
        """From the request on its way to the first byte of the upstream's answer."""
        self.queue_s: float | None = None
        """Waited for a free connection."""
        self.executor_s: float | None = None
        """Waiting for executors and running there."""
        self.overhead_s = 0.0
        """Spent in the gateway: the duration less the time the upstream had the request."""
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
        self.status = self.bytes_in = self.bytes_out = self.attempts = 0
