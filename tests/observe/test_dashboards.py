"""What deploy/ asks of Prometheus: only metrics and labels that exist, and alerts that fire when they should."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.observe.metrics import FAMILIES

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRAPE_LABELS = {"job", "instance"}
SELECTOR = re.compile(r"(gateway_\w+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
REFERENCE = re.compile(r"\{\{ ?\$labels\.(\w+) ?\}\}")


def alerts() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load(DEPLOY / "alerts.yml")
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"] if "targets" in panel]


def queries() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in json.loads((DEPLOY / "grafana.json").read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


def family_of(name: str) -> str:
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return base if base in FAMILIES and FAMILIES[base].kind == "histogram" else name


@pytest.mark.parametrize(("place", "expr"), list(queries()))
def test_queries_use_only_what_exists(place: str, expr: str) -> None:
    known = set(SCRAPE_LABELS)
    for name, selector in SELECTOR.findall(expr):
        family = FAMILIES[family_of(name)]
        assert (family.kind == "histogram") == (name != family.name), f"{place}: {name} is a {family.kind}"
        labels = {*family.labels, *SCRAPE_LABELS, *(["le"] if name.endswith("_bucket") else [])}
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) <= labels, f"{place}: {name}"
        known |= labels
    for grouped in GROUPING.findall(expr):
        assert set(re.findall(r"\w+", grouped)) <= known, f"{place}: {grouped}"


@pytest.mark.parametrize(("place", "expr"), list(queries()))
def test_counters_are_never_read_raw(place: str, expr: str) -> None:
    for match in SELECTOR.finditer(expr):
        counts = FAMILIES[family_of(match[1])].kind != "gauge"
        is_listing = expr.startswith("label_values")
        assert is_listing or counts == expr[match.end() :].startswith("["), f"{place}: {match[0]}"


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {family_of(name) for panel in panels() for t in panel["targets"] for name, _ in SELECTOR.findall(t["expr"])}
    assert shown == set(FAMILIES)


def test_alerts_say_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        kept = {label for grouped in GROUPING.findall(rule["expr"]) for label in re.findall(r"\w+", grouped)}
        names = [FAMILIES[family_of(name)] for name, _ in SELECTOR.findall(rule["expr"])]
        kept |= SCRAPE_LABELS | (
            {label for family in names for label in family.labels} if "by (" not in rule["expr"] else set()
        )
        assert set(REFERENCE.findall(str(rule["annotations"]))) <= kept, rule["alert"]


def test_legends_use_labels_that_the_query_keeps() -> None:
    for panel in panels():
        for target in panel["targets"]:
            kept = {label for grouped in GROUPING.findall(target["expr"]) for label in re.findall(r"\w+", grouped)}
            if "by (" not in target["expr"]:
                kept = SCRAPE_LABELS | {
                    label for name, _ in SELECTOR.findall(target["expr"]) for label in FAMILIES[family_of(name)].labels
                }
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        grid = panel["gridPos"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        assert grid["x"] + grid["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml")])
def test_promtool_accepts_the_files(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


GATEWAY = 'job="floodgate",instance="g"'
ERRORS = f'gateway_upstream_errors_total{{{GATEWAY},upstream="u",target="t",reason="connect_refused"}}'
ANSWERS = f'gateway_upstream_requests_total{{{GATEWAY},upstream="u",target="t",code="200"}}'
CIRCUIT = f'gateway_circuit_state{{{{{GATEWAY},upstream="u",state="{{}}"}}}}'
EJECTIONS = f'gateway_upstream_ejections_total{{{GATEWAY},upstream="u",target="t",reason="errors"}}'
REFUSED = f'gateway_queue_rejected_total{{{GATEWAY},queue="q",reason="queue_full"}}'
DENIED = f'gateway_upstream_retries_total{{{GATEWAY},upstream="u",outcome="denied_budget"}}'
CALLS = f'gateway_executor_tasks_total{{{GATEWAY},executor="e"'
PLUGIN = f'{{{GATEWAY},plugin="p"}}'
SOURCE = f'gateway_aggregate_sources_total{{{GATEWAY},route="r",source="s"'
REQUESTS = f'gateway_http_requests_total{{{GATEWAY},route="r",method="GET",source="upstream"'


@pytest.mark.parametrize(
    ("alert", "series", "fires"),
    [
        ("GatewayDown", {f"up{{{GATEWAY}}}": "0x20"}, True),
        ("GatewayDown", {f"up{{{GATEWAY}}}": "1x20"}, False),
        (
            "GatewayNoWorkerServes",
            {f'gateway_worker_up{{{GATEWAY},worker="0"}}': "0x20", f"gateway_draining{{{GATEWAY}}}": "0x20"},
            True,
        ),
        (
            "GatewayNoWorkerServes",
            {f'gateway_worker_up{{{GATEWAY},worker="0"}}': "0x20", f"gateway_draining{{{GATEWAY}}}": "1x20"},
            False,
        ),
        (
            "GatewayNoWorkerServes",
            {
                f'gateway_worker_up{{{GATEWAY},worker="0"}}': "0x20",
                f'gateway_worker_up{{{GATEWAY},worker="1"}}': "1x20",
                f"gateway_draining{{{GATEWAY}}}": "0x20",
            },
            False,
        ),
        ("GatewayErrors", {f'{REQUESTS},code="200"}}': "0+80x20", f'{REQUESTS},code="502"}}': "0+20x20"}, True),
        ("GatewayErrors", {f'{REQUESTS},code="200"}}': "0+980x20", f'{REQUESTS},code="502"}}': "0+20x20"}, False),
        ("GatewayErrors", {f'{REQUESTS},code="502"}}': "0+1x20"}, False),
        ("UpstreamTargetFails", {ERRORS: "0+60x20"}, True),
        ("UpstreamTargetFails", {ERRORS: "0+60x20", ANSWERS: "0+50x20"}, True),
        ("UpstreamTargetFails", {ERRORS: "0+60x20", ANSWERS: "0+70x20"}, False),
        ("UpstreamTargetFails", {ERRORS: "0+1x20"}, False),
        ("ExecutorRefuses", {f'{CALLS},outcome="rejected"}}': "0+6x20"}, True),
        ("ExecutorRefuses", {f'{CALLS},outcome="ok"}}': "0+6x20", f'{CALLS},outcome="rejected"}}': "4x20"}, False),
        ("ExecutorTooLate", {f'{CALLS},outcome="ok"}}': "0+90x20", f'{CALLS},outcome="abandoned"}}': "0+10x20"}, True),
        ("ExecutorTooLate", {f'{CALLS},outcome="ok"}}': "0+90x20", f'{CALLS},outcome="timeout"}}': "0+4x20"}, False),
        (
            "ExecutorCallsDoNotEnd",
            {f'gateway_executor_workers{{{GATEWAY},executor="e",state="abandoned"}}': "0x4 2x16"},
            True,
        ),
        (
            "ExecutorCallsDoNotEnd",
            {f'gateway_executor_workers{{{GATEWAY},executor="e",state="abandoned"}}': "2x16 0x4"},
            False,
        ),
        ("EventLoopBlocked", {f'gateway_event_loop_blocked_total{{{GATEWAY},code="m:f"}}': "0+1x20"}, True),
        ("EventLoopBlocked", {f'gateway_event_loop_blocked_total{{{GATEWAY},code="m:f"}}': "0x15 1x5"}, False),
        (
            "PluginFails",
            {
                f"gateway_plugin_errors_total{PLUGIN}": "0+6x20",
                f"gateway_plugin_duration_seconds_count{PLUGIN}": "0+60x20",
            },
            True,
        ),
        (
            "PluginFails",
            {
                f"gateway_plugin_errors_total{PLUGIN}": "0+1x20",
                f"gateway_plugin_duration_seconds_count{PLUGIN}": "0+60x20",
            },
            False,
        ),
        (
            "AggregateIncomplete",
            {f'{SOURCE},outcome="ok"}}': "0+60x20", f'{SOURCE},outcome="upstream_timeout"}}': "0+6x20"},
            True,
        ),
        ("AggregateIncomplete", {f'{SOURCE},outcome="ok"}}': "0+60x20"}, False),
        ("GatewayReloadFailed", {f"gateway_config_last_reload_successful{{{GATEWAY}}}": "0x20"}, True),
        ("GatewayReloadFailed", {f"gateway_config_last_reload_successful{{{GATEWAY}}}": "0x18 1x2"}, False),
        ("UpstreamCircuitOpen", {CIRCUIT.format("open"): "0x10 1x10", CIRCUIT.format("closed"): "1x10 0x10"}, True),
        ("UpstreamCircuitOpen", {CIRCUIT.format("open"): "0x20", CIRCUIT.format("closed"): "1x20"}, False),
        ("UpstreamAllTargetsBad", {f'gateway_upstream_panic_total{{{GATEWAY},upstream="u"}}': "0+5x20"}, True),
        ("UpstreamAllTargetsBad", {f'gateway_upstream_panic_total{{{GATEWAY},upstream="u"}}': "5x20"}, False),
        ("UpstreamTargetEjected", {EJECTIONS: "0+1x20"}, True),
        ("UpstreamTargetEjected", {EJECTIONS: "0x15 1x5"}, False),
        ("QueueRefuses", {REFUSED: "0+60x20"}, True),
        ("QueueRefuses", {REFUSED: "0x10 60x10"}, False),
        ("UpstreamRetryBudgetSpent", {DENIED: "0+6x20", ANSWERS: "0+60x20"}, True),
        ("UpstreamRetryBudgetSpent", {DENIED: "0x20", ANSWERS: "0+60x20"}, False),
        ("GatewayAccessLogDrops", {f"gateway_access_log_dropped_total{{{GATEWAY}}}": "5x17 9 9 9"}, True),
        ("GatewayAccessLogDrops", {f"gateway_access_log_dropped_total{{{GATEWAY}}}": "5x20"}, False),
    ],
)
def test_alerts_fire_when_they_should(tmp_path: Path, alert: str, series: dict[str, str], fires: bool) -> None:
    case = {
        "rule_files": [str(DEPLOY / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                        "eval_time": "20m",
                        "exp_samples": [{"labels": "{}", "value": int(fires)}],
                    }
                ],
            }
        ],
    }
    (tmp_path / "case.json").write_text(json.dumps(case))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "case.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
