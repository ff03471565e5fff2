"""Who works for a client connection: told of one request's body and of the client, or shown the answer first."""

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Sink(ABC):
    """Who is told of one request's body and of the client while its exchange is under way."""

    __slots__ = ()

    @abstractmethod
    def on_request_data(self, data: bytes, end: bool) -> None: ...

    @abstractmethod
    def on_client_gone(self) -> None: ...

    @abstractmethod
    def on_client_slow(self) -> None: ...

    @abstractmethod
    def on_client_ready(self) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Teller(ABC):
    """Who sees an answer ahead of the client: what is sent goes to it, until it lets go and sends it on itself.

    It has let go when `connection.teller` is None; a later answer (an error in the place of one that was held) takes
    the place of what it holds.
    """

    __slots__ = ()

    @abstractmethod
    def on_answer(self, status: int, lines: str, length: int, data: bytes, end: bool) -> None: ...

    @abstractmethod
    def on_answer_data(self, data: bytes, end: bool, trailers: str) -> None: ...

    @abstractmethod
    def on_gone(self) -> None:
        """Nobody waits for the answer any more."""
