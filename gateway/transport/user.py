"""Who sent a request to a target, and wants the answer."""

from abc import ABC, abstractmethod

from gateway.wire.fields import Fields
from gateway.wire.head import ResponseHead


class User(ABC):
    """Is told of one answer. After `end` or `on_failure` nothing more is called."""

    __slots__ = ()

    @abstractmethod
    def on_head(self, head: ResponseHead, data: bytes, end: bool, now: float) -> None: ...

    @abstractmethod
    def on_interim(self, head: ResponseHead) -> None: ...

    @abstractmethod
    def on_data(self, data: bytes, end: bool, trailers: Fields | None, now: float) -> None: ...

    @abstractmethod
    def on_upgrade(self, head: ResponseHead, data: bytes) -> None: ...

    @abstractmethod
    def on_tunnel_end(self) -> None: ...

    @abstractmethod
    def on_failure(self, reason: str, detail: str, sent: bool) -> None: ...

    @abstractmethod
    def on_target_slow(self) -> None: ...

    @abstractmethod
    def on_target_ready(self) -> None: ...
