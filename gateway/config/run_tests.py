"""`tests:` of a config: where each request goes, against what it says."""

from dataclasses import dataclass
from typing import Any

from gateway.config.asked import parse_request
from gateway.config.explain import Explained, explain
from gateway.config.settings import GatewaySettings, RouteTest


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test; `faults` is empty where it passed."""

    test: RouteTest
    faults: tuple[str, ...]


def run_tests(settings: GatewaySettings) -> list[Outcome]:
    """All of them, without network."""
    return [Outcome(test, tuple(_faults(settings, test))) for test in settings.tests]


def _faults(settings: GatewaySettings, test: RouteTest) -> list[str]:
    try:
        asked = parse_request(test.request, test.headers)
    except ValueError as error:
        return [str(error)]
    told = explain(settings, asked)
    return [
        f"{key}: expected {wanted}, but it is {_shown(got)}"
        for key, wanted in test.expect
        for got in [_got(told, key)]
        if wanted not in got
    ]


def _got(told: Explained, key: str) -> list[Any]:
    """What a request may come to, under one key of `expect`."""
    if key == "route":
        return [told["route"] or "none"]
    if key == "upstream":
        return [each["upstream"] for each in told.get("upstreams", []) if each["share"]]
    return [told[key]] if key in told else []


def _shown(got: list[Any]) -> str:
    return " or ".join(map(str, got)) or "none"
