"""Fixtures of the faults: a target that can be killed, and the table in gateway/README.md."""

from collections.abc import Iterator

import pytest

from tests.support.faults import Journal
from tests.support.target import Target


@pytest.fixture(scope="session")
def journal() -> Iterator[Journal]:
    """Printed at the end: `pytest tests/journeys/faults -s`."""
    found = Journal()
    yield found
    print(f"\n{found}")


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as started:
        yield started
