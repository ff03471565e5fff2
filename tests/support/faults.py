"""What the tests of faults share: the config under load, the level to come back to, and a row of the table for each."""

from tests.support.gateway import Gateway
from tests.support.load import Load
from tests.support.wait import until

HELD = (
    "gateway_http_requests_in_flight",
    "gateway_upstream_requests_in_flight",
    "gateway_buffered_bytes",
    "gateway_connections_open",
)
RSS_BYTES = 24 * 1024 * 1024
"""More than the level before: buffers and memos that stay warm."""


class Journal:
    """A row of the table for each fault."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.rates: list[float] = []

    def note(self, fault: str, load: Load, recovery_s: float | None = None) -> None:
        counts = ", ".join(f"{n} {what}" for what, n in sorted(load.outcomes.counts.items()))
        reasons = "".join(f", {reason}" for reason in sorted(load.outcomes.reasons))
        recovery = "-" if recovery_s is None else f"{max(0.0, recovery_s):.2f} s"
        self.rows.append(f"| {fault} | {counts}{reasons} | {load.outcomes.p99_s * 1000:.0f} ms | {recovery} |")
        self.rates.append(load.rate)

    def __str__(self) -> str:
        head = "| fault | outcomes | p99 | recovery |\n|---|---|---|---|"
        return "\n".join((head, *self.rows, f"The least load was {min(self.rates, default=0):.0f} requests/s."))


def proxying(*urls: str, more: str = "", of_upstream: str = "timeout: {connect: 5s}", of_route: str = "") -> str:
    """A config with one upstream of `urls` behind everything; `more` are lines of their own."""
    targets = ", ".join(f'"{url}"' for url in urls)
    upstream = f"{{targets: [{targets}], {of_upstream}}}"
    return f'{more}\nupstreams: {{u: {upstream}}}\nroutes: [{{name: all, match: "/*", to: u{of_route}}}]\n'


class Level:
    """What a gateway held before the fault."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._resident = self.resident()

    def resident(self) -> float:
        """Bytes of the first worker."""
        return self._gateway.metric("gateway_process_resident_memory_bytes", process="0")

    @property
    def grown(self) -> float:
        """Bytes that the first worker took more."""
        return self.resident() - self._resident

    def is_back(self, *, resident: bool = True) -> None:
        """Wait until nothing is under way and nothing is held, and see that nothing has grown or died."""
        gateway = self._gateway
        for name in HELD:
            until(lambda: gateway.metric(name) == 0, what=name)  # noqa: B023 - called at once
        until(lambda: gateway.metric("gateway_upstream_connections", state="active") == 0)
        if resident:
            until(lambda: self.grown < RSS_BYTES, what=f"{self.grown / 1e6:.0f} MB given back")
        assert "Traceback" not in gateway.errors
