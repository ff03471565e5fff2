"""What the admin address needs from the process that serves it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.config.settings import GatewaySettings
from gateway.observe.memory import Slot


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

    def drain(self) -> None:
        """Begin to drain; returns at once and may be called twice."""
