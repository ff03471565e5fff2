"""Fixtures of the journeys: a real gateway, and upstreams that answer by script."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
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
