"""Fixtures of the journeys: a real gateway, and upstreams that answer by script."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.corpus import request
from tests.support.gateway import Gateway
from tests.support.http import Answer
from tests.support.raw import Raw
from tests.support.upstream import OK, Script, Upstream


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """`serve(yaml, ...)` starts a gateway that is stopped after the test; arguments as of Gateway."""
    with ExitStack() as stack:

        def start(config: str, **options: Any) -> Gateway:
            directory = tmp_path / f"gateway{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            return stack.enter_context(Gateway(config, directory, **options))

        yield start


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """`upstream(script)` starts an upstream that is stopped after the test; arguments as of Upstream."""
    with ExitStack() as stack:

        def start(script: Script | bytes = OK, **options: Any) -> Upstream:
            return stack.enter_context(Upstream(script, **options))

        yield start


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of the gateway that a module's fixture starts."""
    with httpx.Client(base_url=gateway.base_url, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def ask(gateway: Gateway) -> Iterator[Callable[..., Answer]]:
    """`ask(path, *lines)`: one request, every byte of its answer."""
    with Raw(gateway.port) as raw:

        def one(path: str, *lines: bytes, method: str = "GET", body: bytes = b"") -> Answer:
            line = f"{method} {path} HTTP/1.1".encode()
            return raw.send(request(*lines, line=line, body=body)).answer(method)

        yield one
