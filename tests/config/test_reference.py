"""config/reference.yaml is what the models say, and a config that works."""

import subprocess
import sys
from pathlib import Path

from gateway.config.lines import Map, Seq, Source
from gateway.config.load import load
from gateway.config.parse import parse
from gateway.config.reference import reference
from gateway.config.run_tests import run_tests
from gateway.config.scalars import Variables
from gateway.config.schema import models
from tests.config.certificates import issue


def test_the_file_is_what_the_models_say(config_directory: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "gateway.config.reference"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert made == (config_directory / "reference.yaml").read_text(), "run python -m gateway.config.reference"


def test_it_loads_with_certificates_in_place_and_its_tests_pass(tmp_path: Path) -> None:
    issue(tmp_path / "tls", "server", "client")
    (tmp_path / "tls" / "clients.pem").write_bytes((tmp_path / "tls" / "ca.pem").read_bytes())
    path = tmp_path / "reference.yaml"
    path.write_text(reference())
    loaded = load(path, import_s=None)  # there is no Python beside it
    assert [warning.key for warning in loaded.warnings] == ["include"]  # there is no conf.d beside it
    outcomes = run_tests(loaded.settings)
    assert len(outcomes) == 3
    assert [outcome.faults for outcome in outcomes if outcome.faults] == []


def test_every_key_is_in_it() -> None:
    written: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, Map):
            written.update(value)
        for item in value.values() if isinstance(value, Map) else value if isinstance(value, Seq) else ():
            collect(item)

    collect(parse(Source("reference.yaml", reference()), Variables({}), []))
    keys = {field.alias or name for model in models() for name, field in model.model_fields.items()}
    assert keys - written == set()
