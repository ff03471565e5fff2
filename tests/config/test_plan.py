"""What `plan` says of two configs, and of the requests in a log."""

from collections.abc import Callable

import pytest

from gateway.config.diff import Changes, changes
from gateway.config.load import Loaded

CONFIG = """
listen: 127.0.0.1:8080
upstreams:
  orders: {targets: [http://10.0.0.1:80, http://10.0.0.2:80]}
executors: {quick: {threads: 4}}
routes:
  - {name: orders, match: /orders/*, to: orders}
  - {name: status, match: /status, respond: "fine"}
"""


def changed(loaded: Callable[..., Loaded], *replaced: tuple[str, str], more: str = "") -> Changes:
    text = CONFIG
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return changes(loaded(CONFIG).settings, loaded(text + more).settings)


def test_a_file_written_in_another_way_changes_nothing(loaded: Callable[..., Loaded]) -> None:
    found = changed(loaded, ("routes:\n", "# moved\n\nroutes:\n"), more="workers: 1\n")
    assert not found
    assert found.document() == {
        kind: [] for kind in ("refused", "listeners", "routes", "upstreams", "executors", "others")
    }


@pytest.mark.parametrize(
    ("kind", "old", "new", "texts"),
    [
        ("listeners", "127.0.0.1:8080", "127.0.0.1:81", ["- listener 127.0.0.1:8080", "+ listener 127.0.0.1:81"]),
        (
            "listeners",
            "127.0.0.1:8080",
            "{address: 127.0.0.1:8080, proxy_protocol: true}",
            ["~ listener 127.0.0.1:8080: proxy_protocol"],
        ),
        ("routes", "name: status,", "name: state,", ["- route status", "+ route state"]),
        ("routes", "to: orders}", "to: orders, timeout: 5s}", ["~ route orders: timeout"]),
        ("routes", "to: orders}", "to: orders, strip: /orders}", ["~ route orders: strip"]),
        ("routes", "match: /status", "match: {path: /status, methods: GET}", ["~ route status: match.methods"]),
        ("routes", "to: orders}", "to: orders, body_limit: 1KiB}", ["~ route orders: body_limit"]),
        ("routes", '"fine"', '"fine."', ["~ route status: body"]),
        ("routes", 'respond: "fine"', "redirect: /", ["~ route status: respond becomes redirect"]),
        (
            "upstreams",
            "http://10.0.0.1:80, http://10.0.0.2:80",
            "{url: http://10.0.0.2:80, weight: 2}, http://10.0.0.3:80",
            ["~ upstream orders: targets (-10.0.0.1:80 ~10.0.0.2:80 +10.0.0.3:80)"],
        ),
        (
            "upstreams",
            ":80]}",
            ":80], timeout: {connect: 2s}, balance: {consistent_hash: ip}}",
            ["~ upstream orders: balance, timeout.connect"],
        ),
        ("executors", "threads: 4", "threads: 5", ["~ executor quick: threads"]),
        ("executors", "quick:", "slow:", ["- executor quick", "+ executor slow"]),
    ],
)
def test_each_change_is_told_by_name_with_its_keys(
    kind: str, old: str, new: str, texts: list[str], loaded: Callable[..., Loaded]
) -> None:
    found = changed(loaded, (old, new)).document()
    assert found.pop(kind) == texts
    assert not any(found.values())


def test_what_stands_for_itself(loaded: Callable[..., Loaded]) -> None:
    more = "limits: {line: 4KiB, connections: 5, keep_alive: 1s}\nlog: {level: debug}\naccess_log: off\n"
    assert changed(loaded, more=more).others == (
        "~ log.level",
        "~ access_log",
        "~ limits.line",
        "~ limits.keep_alive",
        "~ limits.connections",
    )


def test_what_cannot_be_changed_live_is_refused_with_the_reason(loaded: Callable[..., Loaded]) -> None:
    assert changed(loaded, more="workers: 2\nadmin: 127.0.0.1:9902\n").refused == (
        "workers: the number of processes is fixed at start; restart the gateway",
        "admin.address.port: the admin address is opened once at start; restart the gateway",
    )


def test_no_value_is_told_since_it_may_be_a_secret(loaded: Callable[..., Loaded]) -> None:
    edits = "to: orders, headers: {request: {set: {authorization: 'Bearer s3cret'}}}}"
    found = changed(loaded, ("to: orders}", edits))
    assert found.routes == ("~ route orders: headers.request.set",)
