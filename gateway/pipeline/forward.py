"""Proxying: a client's request to an upstream, and the answer to the client, both as they come."""

from collections.abc import Callable
from math import inf

from gateway.core.errors import GatewayError
from gateway.decide.resilience.queue_settings import DEFAULT
from gateway.decide.route.rewrite import Rewrite
from gateway.pipeline.attempt import Attempt
from gateway.pipeline.client_facts import ClientFacts
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.edits import Editor
from gateway.pipeline.respond import http_date, respond_error
from gateway.pipeline.route import Answer, Call
from gateway.pipeline.settings import BufferSettings
from gateway.transport.client import UpstreamConnection
from gateway.transport.server import ServerConnection
from gateway.upstreams.upstream import Upstream
from gateway.wire.chunked import LAST_CHUNK, encode_chunk
from gateway.wire.fields import CHUNKED, Fields
from gateway.wire.head import RequestHead, ResponseHead
from gateway.wire.hops import lines_of, max_forwards_line, request_fields, response_fields, trailer_lines
from gateway.wire.write import STATUS_LINES


class Plan(Answer):
    """What a route's `to:` comes down to, worked out at load."""

    __slots__ = (
        "buffer",
        "choose",
        "hash_key",
        "host",
        "now",
        "queue",
        "request_edit",
        "response_edit",
        "rewrite",
        "timeout_s",
        "upgrades",
        "via",
    )

    def __init__(
        self,
        *,
        choose: Callable[[], Upstream],
        rewrite: Rewrite,
        host: str,
        timeout_s: float | None,
        buffer: BufferSettings,
        upgrades: frozenset[str],
        request_edit: Editor | None,
        response_edit: Editor | None,
        hash_key: Callable[[Call], str] | None,
        via: str,
        now: Callable[[], float],
        queue: str = DEFAULT,
    ) -> None:
        self.choose = choose
        self.rewrite = rewrite
        """Makes the path for the upstream."""
        self.host = host
        """pass, upstream, or a name."""
        self.timeout_s = inf if timeout_s is None else timeout_s
        self.buffer = buffer
        self.upgrades = upgrades
        """Protocols that may be upgraded to, lower case."""
        self.request_edit = request_edit
        self.response_edit = response_edit
        self.hash_key = hash_key
        self.via = via
        self.queue = queue
        """Where requests wait for their turn."""
        self.now = now

    def begin(self, call: Call) -> None:
        """Take a request on: at once if its body is here or is not to be waited for."""
        Forward(self, call).begin(call.data, call.end)


class Forward(Delivery):
    """One proxied exchange."""

    __slots__ = ("_body_whole", "_buffered", "_chunked_in", "_parts", "call", "connection", "plan", "upgrade")

    def __init__(self, plan: Plan, call: Call) -> None:
        Delivery.__init__(self, plan.choose(), call, call.head.method, plan.timeout_s, plan.now)
        self.queue = plan.queue
        if plan.hash_key is not None:
            self.hash_key = plan.hash_key(call)
        self.plan = plan
        self.call = call
        self.connection: ServerConnection = call.connection
        self.upgrade: str | None = None
        self._parts: list[bytes] | None = []
        """The body so far, while it may have to be sent (again); None once it streams."""
        self._buffered = 0
        self._body_whole = False
        self._chunked_in = call.head.fields.length == CHUNKED

    # --- the request --------------------------------------------------------------------------------------------

    def begin(self, data: bytes, end: bool) -> None:
        connection = self.connection
        connection.sink = self
        connection.set_read_ahead(self.plan.buffer.response_bytes)
        if end:
            if data:
                self._keep(data)
            self._body_whole = True
            self.engage(self.now())
            return
        if connection.listener.buffered.full:
            self.give_up(connection.listener.buffered.refusal())
            return
        connection.continue_request()
        limit = self.plan.buffer.request_bytes
        if self.call.head.fields.length > limit:
            if data:
                self._keep(data)
            self.engage(self.now())
        else:
            self.on_request_data(data, False)

    def on_request_data(self, data: bytes, end: bool) -> None:
        """More of the request's body (or of what a tunnel carries)."""
        attempt = self.attempt
        if attempt is not None and attempt.connection is not None:
            self._parts = None  # this piece is not kept, so from here on nothing can be sent again
            self.replayable = False
            attempt.send_data(self._encode(data, end), end)
            return
        if data:
            self._keep(data)
        if attempt is None and not end and self.connection.listener.buffered.full:
            self.stop_waiting()
            self.give_up(self.connection.listener.buffered.refusal())
            return
        if end:
            self._body_whole = True
        if attempt is not None or self.is_waiting:
            if self._buffered > self.plan.buffer.request_bytes:
                self.connection.pause_reading()
        elif end or self._buffered > self.plan.buffer.request_bytes:
            self.engage(self.now())

    def _keep(self, data: bytes) -> None:
        assert self._parts is not None
        self._parts.append(data)
        self._buffered += len(data)
        self.connection.listener.buffered.add(len(data))

    def _encode(self, data: bytes, end: bool) -> bytes:
        """A piece of the body as it goes on the wire while it streams."""
        if not self._chunked_in or self.upgraded:
            return data
        chunk = encode_chunk(data) if data else b""
        return chunk + LAST_CHUNK if end else chunk

    @property
    def is_repeatable(self) -> bool:
        return self.replayable and self._body_whole and self.call.head.fields.upgrade is None

    def send_request(self, attempt: Attempt, connection: UpstreamConnection, now: float) -> None:
        """Put the request on a leased connection (e): head and what is here of the body in one write."""
        plan, call = self.plan, self.call
        head = call.head
        fields = head.fields
        lines = fields.forward
        if lines is None:
            lines = fields.forward = lines_of(request_fields(fields))
        changes = call.changes
        if changes is not None and changes.lines is not None:
            lines = changes.lines
        facts: ClientFacts = self.connection.forwarding
        lines = f"{lines}{facts.lines(head)}X-Request-Id: {call.request_id}\r\n{self.deadline_line(now)}"
        if fields.hop_lines:
            lines += self._hop_lines(head)
        body = b""
        if self._buffered or self._chunked_in:
            body, framing = self._body_so_far()
            lines += framing
        if plan.request_edit is not None:
            lines = plan.request_edit.apply(lines)
        host = head.authority if plan.host == "pass" else plan.host
        if plan.host == "upstream" or not host:
            host = attempt.target.authority
        target = plan.rewrite(call.normal_path, call.match)
        query = head.query
        if changes is not None:
            target = target if changes.path is None else changes.path
            query = query if changes.query is None else changes.query or None
        if query is not None:
            target = f"{target}?{query}"
        data = f"{self.method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1")
        data = data + body if body else data
        connection.send(attempt, self.method, data, self._body_whole, self.head_timeout_s(now), now)
        if not self._body_whole:
            self.connection.resume_reading()

    def _hop_lines(self, head: RequestHead) -> str:
        """What this hop says itself, where the client asked for an upgrade or for trailers, or counts hops."""
        lines = max_forwards_line(head.fields, head.method)
        protocol = head.fields.upgrade
        if protocol is not None and head.version == "HTTP/1.1" and protocol.lower() in self.plan.upgrades:
            self.upgrade = protocol.lower()
            return f"{lines}Connection: Upgrade\r\nUpgrade: {protocol}\r\n"
        return f"{lines}TE: trailers\r\nConnection: TE\r\n" if head.fields.wants_trailers else lines

    def _body_so_far(self) -> tuple[bytes, str]:
        """What is here of the body, framed, and the framing line it needs (Content-Length stands in the lines)."""
        assert self._parts is not None
        body = b"".join(self._parts)
        if self._body_whole:
            return body, f"Content-Length: {len(body)}\r\n" if self._chunked_in else ""
        self._drop_parts()
        if self._chunked_in:
            return self._encode(body, False), "Transfer-Encoding: chunked\r\n"
        return body, ""

    def _drop_parts(self) -> None:
        """The body cannot be sent again from here on."""
        self._parts = None
        self.replayable = False
        self.connection.listener.buffered.add(-self._buffered)
        self._buffered = 0

    # --- the answer ---------------------------------------------------------------------------------------------

    def on_head(self, head: ResponseHead, data: bytes, end: bool, now: float) -> None:
        """The answer's head with the first of its body: pass it on."""
        call = self.call
        call.source = "upstream"
        call.upstream_status = head.status
        self.count_outcome(head.status)
        lines = head.forward
        if lines is None:
            lines = head.forward = self._answer_lines(head)
        length = head.length
        if end:
            self.finish()
            if length < 0 and self.method != "HEAD" and not head.bodiless:
                length = len(data)
                lines += f"Content-Length: {length}\r\n"
        else:
            self._begin_stream(head)
        if not head.dated:
            lines = f"Date: {http_date()}\r\n{lines}"
        if self.plan.response_edit is not None:
            lines = self.plan.response_edit.apply(lines)
        self.connection.send(head.status, f"{lines}X-Request-Id: {call.request_id}\r\n", length, data, end, now)

    def _begin_stream(self, head: ResponseHead) -> None:
        """More of the body comes: let go of the request's, which is not sent again, and mind a client that is slow."""
        self._drop()
        if self.connection.is_slow:
            self.on_client_slow()
        if head.fields.index.get("content-type", "").startswith("text/event-stream"):
            self.call.stream = "sse"

    def _answer_lines(self, head: ResponseHead) -> str:
        lines = lines_of(response_fields(head))
        return f"{lines}Via: {self.plan.via}\r\n"

    def on_interim(self, head: ResponseHead) -> None:
        """103 and the like go on to HTTP/1.1 clients; 100 was ours to answer."""
        if head.status != 100:
            self.replayable = False  # the client has seen something of this answer
            lines = lines_of(response_fields(head))
            self.connection.send_interim(f"{STATUS_LINES[head.status]}{lines}\r\n".encode("latin-1"))

    def on_data(self, data: bytes, end: bool, trailers: Fields | None, now: float) -> None:
        if end:
            self.finish()
            wanted = trailers is not None and self.call.head.fields.wants_trailers
            self.connection.send_data(data, True, trailer_lines(trailers) if wanted else "", now)
        else:
            self.connection.send_data(data, False, "", now)

    def takes_upgrade(self, head: ResponseHead) -> bool:
        answered = (head.fields.get("upgrade") or "").lower()
        return self.upgrade is not None and answered == self.upgrade and self._body_whole

    def on_upgrade(self, attempt: Attempt, head: ResponseHead, data: bytes) -> None:
        """101: from here on bytes go both ways."""
        self._drop()
        self.count_outcome(101)
        call = self.call
        call.source = "upstream"
        call.upstream_status = 101
        call.stream = "websocket" if self.upgrade == "websocket" else "raw"
        lines = self._answer_lines(head)
        lines += f"Connection: Upgrade\r\nUpgrade: {head.fields.get('upgrade')}\r\n"
        lines += f"X-Request-Id: {call.request_id}\r\n"
        early = self.connection.become_tunnel(f"{STATUS_LINES[101]}{lines}\r\n".encode("latin-1"))
        if data:
            self.on_tunnel_data(data)
        if early:
            attempt.send_data(early, False)

    def on_tunnel_data(self, data: bytes) -> None:
        self.call.bytes_out += len(data)
        self.connection.write_tunnel(data)

    def on_tunnel_end(self) -> None:
        self.finish()
        self.connection.close_tunnel()

    # --- ends ---------------------------------------------------------------------------------------------------

    def cut(self, error: GatewayError) -> None:
        reason = error.reason.name
        self.connection.abort(reason if reason == "upstream_timeout" else "upstream_truncated")
        self._drop()

    def give_up(self, error: GatewayError) -> None:
        self.finish()
        respond_error(self.connection, self.call, error, self.now())

    def on_client_gone(self) -> None:
        super().on_client_gone()
        self._drop()

    def on_target_slow(self) -> None:
        self.connection.pause_reading()

    def on_target_ready(self) -> None:
        self.connection.resume_reading()

    def finish(self) -> None:
        """The upstream's part is over."""
        self.attempt = None
        if self.permit is not None:
            self.end_permit()
        if self._buffered:
            self._drop_parts()

    def _drop(self) -> None:
        if self._buffered:
            self._drop_parts()

    def __repr__(self) -> str:
        return f"<Forward {self.call.request_id} to {self.call.target}>"
