"""What tests/bench/overload finds of one proxy, its limits for ours, and a row of its table."""

from collections.abc import Sequence
from dataclasses import dataclass

from generators import quantile
from overload_clients import BROKEN, LEFT
from overload_peers import SLOTS, Peer

IN_TIME_S = 1.0
IN_TIME = {"ours": 950.0, "ours-told": 980.0}
ORDERS = {"ours": 0.99, "ours-told": 1.0}
REFUSED_MS = 550.0
GROWN_MB = 4.0
"""From the third second to the last: buffers and connections are made by then."""


@dataclass(frozen=True, slots=True)
class Answer:
    due: float
    """Seconds since the first."""
    took: float
    status: int
    is_order: bool

    @property
    def in_time(self) -> bool:
        return self.status == 200 and self.took <= IN_TIME_S


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one proxy."""

    in_time_s: float
    """Answered within 1 s, each second."""
    orders: float
    """Share of the orders that were answered within 1 s."""
    p99_ms: float
    """Of what was answered in time."""
    refused_p99_ms: float
    refused: int
    left: int
    """Clients that went after 3 s."""
    broken: int
    before_mb: float
    after_mb: float
    late_p99_ms: float
    cpu: float
    """Share of the core."""


def figures(
    answers: Sequence[Answer], seconds: float, late: Sequence[float], before: int, after: int, cpu: float
) -> Figures:
    orders = [each for each in answers if each.is_order]
    refused = sorted(each.took for each in answers if each.status >= 400)
    served = sorted(each.took for each in answers if each.in_time)
    return Figures(
        in_time_s=sum(each.in_time and each.due + each.took <= seconds for each in answers) / seconds,
        orders=sum(each.in_time for each in orders) / len(orders),
        p99_ms=quantile(served, 0.99) * 1000 if served else 0.0,
        refused_p99_ms=quantile(refused, 0.99) * 1000 if refused else 0.0,
        refused=len(refused),
        left=sum(each.status == LEFT for each in answers),
        broken=sum(each.status == BROKEN for each in answers),
        before_mb=before / 1e6,
        after_mb=after / 1e6,
        late_p99_ms=quantile(sorted(late), 0.99) * 1000,
        cpu=cpu,
    )


def misses(peer: Peer, found: Figures) -> list[str]:
    """What of ours is not within its limits."""
    name = peer.name
    checks = (
        (found.in_time_s >= IN_TIME[name], f"{found.in_time_s:.0f}/s in time, at least {IN_TIME[name]:.0f}"),
        (found.orders >= ORDERS[name], f"{found.orders:.2%} of the orders, at least {ORDERS[name]:.0%}"),
        (found.refused_p99_ms <= REFUSED_MS, f"refused in {found.refused_p99_ms:.0f} ms, at most {REFUSED_MS:.0f}"),
        (found.broken == 0, f"{found.broken} broken connections"),
        (found.after_mb - found.before_mb <= GROWN_MB, f"grew by {found.after_mb - found.before_mb:.1f} MB"),
    )
    return [f"MISS {peer.title}: {text}" for good, text in checks if not good]


HEAD = (
    "| | in time, per s | orders in time | p99 of these, ms | refused, p99 ms | left after 3 s | broken | memory, MB "
    "| CPU |\n|---|---|---|---|---|---|---|---|---|"
)


def row(title: str, found: Figures) -> str:
    refused = f"{found.refused}, {found.refused_p99_ms:.0f}" if found.refused else "0"
    return (
        f"| {title} | {found.in_time_s:.0f} | {found.orders:.1%} | {found.p99_ms:.0f} | {refused} | {found.left} "
        f"| {found.broken} | {found.before_mb:.1f} → {found.after_mb:.1f} | {found.cpu:.0%} |"
    )


def floor_row(rate: float) -> str:
    return f"| {SLOTS} bare connections, no proxy | {rate:.0f} | - | - | - | - | - | - | - |"
