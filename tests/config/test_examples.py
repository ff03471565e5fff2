"""The configs that come with the gateway load without a warning, and their tests pass."""

import shutil
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.run_tests import run_tests
from tests.config.certificates import issue

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(path.name for path in (CONFIG / "examples").glob("*.yaml"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy with the certificates that tls.yaml names."""
    shutil.copytree(CONFIG, tmp_path / "config", symlinks=False)
    issue(tmp_path / "config" / "examples" / "tls", "shop", "api")
    return tmp_path / "config"


def test_there_is_an_example_of_every_feature() -> None:
    features = ["static-targets", "weighted-split", "tls", "unix-sockets", "rewrite-strip", "hosts"]
    features += ["respond-redirect", "headers", "limits", "balancers", "dns", "include"]
    features += ["logs", "streaming", "behind-a-proxy"]
    features += ["outlier", "breaker", "retry", "hedge"]
    features += ["handlers", "plugins", "wsgi", "asgi", "aggregate", "aggregate-stream"]
    assert {f"{feature}.yaml" for feature in features} <= set(EXAMPLES)


@pytest.mark.parametrize("name", [*(f"examples/{name}" for name in EXAMPLES), "gateway.yaml", "demo.yaml"])
def test_it_loads_and_its_tests_pass(name: str, directory: Path) -> None:
    text = (directory / name).read_text()
    assert text.startswith("# ")
    loaded = load(directory / name, environment={})
    assert [str(warning) for warning in loaded.warnings] == []
    outcomes = run_tests(loaded.settings)
    assert [outcome.faults for outcome in outcomes if outcome.faults] == []
    assert bool(outcomes) == ("\ntests:" in text)
