"""The files of deploy/ name what exists, and agree with each other and with the config."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.config.settings import ShutdownSettings
from gateway.demo.ports import UPSTREAMS
from tests.laws.tree import ROOT

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "floodgate.service"


def documents(path: Path) -> list[Any]:
    return [document for document in YAML(typ="safe").load_all(path.read_text()) if document]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(documents(DEPLOY / "compose.yaml")[0])


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return {each["kind"]: each for each in documents(DEPLOY / "kubernetes" / "gateway.yaml")}


def test_scripts_are_sound_bash() -> None:
    called = ("deploy/quickstart", "tests/check", "tests/compiled", ".ci/run")
    for script in (*called, "deploy/venv.sh"):
        subprocess.run(["bash", "-n", ROOT / script], check=True)
    assert all((ROOT / script).stat().st_mode & 0o111 for script in called)


def test_integration_runs_what_everybody_runs() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if not line.startswith("#")]
    assert lines == ['exec "$(dirname "$0")/../tests/check" "$@"']


def test_image_copies_what_exists_and_is_sent() -> None:
    sent = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for copy in copies for source in copy.split()}
    assert sources == sent
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    hooks = {hook["path"] for hook in wheel.get("hooks", {}).values()}
    assert {"pyproject.toml", "LICENSE", project["project"]["readme"], *wheel["packages"], *hooks} <= sources


def test_image_runs_as_a_user_who_is_not_root(cluster: dict[str, Any]) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    assert int(user[1]) > 0
    pod = cluster["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    assert (pod["runAsUser"], pod["runAsGroup"]) == (int(user[1]), int(user[2]))


def test_compose_mounts_what_exists(compose: dict[str, Any]) -> None:
    mounts = [mount.split(":") for each in compose["services"].values() for mount in each.get("volumes", [])]
    assert len(mounts) >= 6
    assert [source for source, *_ in mounts if not (DEPLOY / source).resolve().exists()] == []
    assert all(mode == "ro" for _, _, mode in mounts)


def test_compose_publishes_on_loopback_only(compose: dict[str, Any]) -> None:
    published = [port for each in compose["services"].values() for port in each.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_compose_runs_the_demo(compose: dict[str, Any]) -> None:
    """The addresses that the config gets are those that the upstreams of the demo listen on."""
    listening = {}
    for kind, names in UPSTREAMS.items():
        words = compose["services"][kind]["command"]
        assert words[0] == kind
        listening |= {name: f"{kind}:{word.rpartition(':')[2]}" for name, word in zip(names, words[1:], strict=True)}
    given = compose["services"]["gateway"]["environment"]
    assert {name: given[f"DEMO_{name.upper().replace('-', '_')}"] for name in listening} == listening
    expanded = set(re.findall(r"\$\{(DEMO_\w+)", (ROOT / "config" / "demo.yaml").read_text()))
    assert expanded == set(given)


def test_compose_scrapes_the_gateway(compose: dict[str, Any]) -> None:
    targets = [
        target
        for job in documents(DEPLOY / "prometheus.yml")[0]["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    ]
    port = compose["services"]["gateway"]["environment"]["DEMO_ADMIN"].rpartition(":")[2]
    assert f"gateway:{port}" in targets


def test_unit_waits_for_the_drain() -> None:
    stop = re.search(r"^TimeoutStopSec=(\d+)s$", UNIT.read_text(), re.MULTILINE)
    assert stop
    assert int(stop[1]) > ShutdownSettings().drain_s


def test_unit_is_sound(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:  # a container without systemd: the file is still read, section by section
        assert re.findall(r"^\[(\w+)\]$", UNIT.read_text(), re.MULTILINE) == ["Unit", "Service", "Install"]
        return
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/floodgate/.venv/bin/gateway", "/bin/true"))
    done = subprocess.run([verify, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_pod_has_time_to_drain_and_probes_that_answer(cluster: dict[str, Any]) -> None:
    pod = cluster["Deployment"]["spec"]["template"]["spec"]
    config = YAML(typ="safe").load(cluster["ConfigMap"]["data"]["gateway.yaml"])
    promised = sum(int(config["shutdown"][key].removesuffix("s")) for key in ("wait", "drain"))
    assert pod["terminationGracePeriodSeconds"] > promised
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert config["listen"] == f"0.0.0.0:{ports['http']}"
    assert config["admin"]["address"] == f"0.0.0.0:{ports['admin']}"
    assert {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")} == {
        "/readyz",
        "/healthz",
    }


def test_pod_config_is_good(
    cluster: dict[str, Any], tmp_path: Path, gateway_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(cluster["ConfigMap"]["data"]["gateway.yaml"])
    done = gateway_command("check", config, ADMIN_TOKEN="secret")
    assert done.returncode == 0, done.stderr
