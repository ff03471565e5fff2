"""What the admin address needs from the process that serves it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from gateway.config.settings import GatewaySettings
from gateway.observe.memory import Slot


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What the active checks and an operator say of one target. `up` is None before the first check."""

    up: bool | None = None
    why: str = ""
    """What the last check found, where `up` is not None."""
    drained: bool = False

    @property
    def state(self) -> str:
        if self.drained:
            return "drained"
        return "unchecked" if self.up is None else "up" if self.up else "down"


@dataclass(frozen=True, slots=True)
class Reloads:
    """`counts` by result (success, failure); whether the last one was a success; when the last success was."""

    counts: Mapping[str, int]
    successful: bool
    at: float


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of a reload: with `errors`, nothing changed."""

    errors: tuple[str, ...] = ()
    changed: dict[str, list[str]] = field(default_factory=dict)
    """Texts by kind (routes, upstreams, ...)."""
    warnings: tuple[str, ...] = ()


class AdminState(Protocol):
    """The supervisor, as the admin address sees it. Everything here is read on each request, never kept."""

    @property
    def settings(self) -> GatewaySettings: ...

    @property
    def loaded_at(self) -> float:
        """When `settings` were loaded, in Unix time."""

    @property
    def started_at(self) -> float:
        """When the gateway started, in Unix time."""

    @property
    def draining(self) -> bool:
        """True from the moment the gateway was told to stop, also while it still waits (`shutdown.wait`)."""

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots of all workers so far, living or dead. Say `mark_dead()` or `retire()` when one ended."""

    @property
    def restarts(self) -> Mapping[str, int]:
        """Workers replaced so far, by reason."""

    @property
    def target_facts(self) -> Mapping[tuple[str, str], TargetFacts]:
        """By upstream and address; a target of which nothing is known is not in it."""

    @property
    def check_counts(self) -> Mapping[tuple[str, str, str], int]:
        """Active checks so far, by upstream, address and result."""

    def drain_target(self, upstream: str, target: str, drained: bool) -> Future[None]:
        """Take a target out of balancing, or back in; done when every worker was told. From any thread."""

    @property
    def reloads(self) -> Reloads:
        """Reloads so far."""

    def reload(self) -> Future[Reloaded]:
        """Read the config again and serve by it; done when every worker does. From any thread."""

    def drain(self) -> None:
        """Begin to drain; returns at once and may be called twice."""
