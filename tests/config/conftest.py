"""Configs written to a directory of their own, and what is wrong with them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.config.imports import IMPORT_S
from gateway.config.load import ConfigError, Loaded, load

Write = Callable[..., Path]
Faults = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(text, name="c.yaml")` gives the path of a file with that text."""

    def written(text: str | bytes, name: str = "c.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


@pytest.fixture
def loaded(write: Write) -> Callable[..., Loaded]:
    """What a text loads to."""

    def read(text: str, *, import_s: float | None = IMPORT_S, **environment: str) -> Loaded:
        return load(write(text), environment=environment, import_s=import_s)

    return read


@pytest.fixture
def faults(write: Write, tmp_path: Path) -> Faults:
    """The headlines of all that is wrong with a text, with the directory taken off."""

    def read(
        text: str | bytes, environment: Mapping[str, str] | None = None, *, import_s: float | None = IMPORT_S
    ) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(write(text), environment=environment or {}, import_s=import_s)
        return [problem.headline.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return read


@pytest.fixture
def warnings(loaded: Callable[..., Loaded], tmp_path: Path) -> Callable[..., list[str]]:
    """The headlines of the warnings of a text."""

    def read(text: str, *, import_s: float | None = IMPORT_S) -> list[str]:
        found = loaded(text, import_s=import_s).warnings
        return [warning.headline.replace(f"{tmp_path}/", "") for warning in found]

    return read


@pytest.fixture(scope="session")
def config_directory() -> Path:
    """The configs that come with the gateway."""
    return Path(__file__).parents[2] / "config"
