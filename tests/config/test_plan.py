"""What `plan` says of two configs, and of the requests in a log."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.config.diff import Changes, changes
from gateway.config.load import Loaded
from tests.config.conftest import Write

CONFIG = """
listen: 127.0.0.1:8080
upstreams:
  orders: {targets: [http://10.0.0.1:80, http://10.0.0.2:80]}
executors: {quick: {threads: 4}}
routes:
  - {name: orders, match: /orders/*, to: orders}
  - {name: status, match: /status, respond: "fine"}
"""

NOTHING: dict[str, list[str]] = {
    kind: [] for kind in ("refused", "listeners", "routes", "upstreams", "executors", "others")
}


def changed(loaded: Callable[..., Loaded], *replaced: tuple[str, str], more: str = "") -> Changes:
    text = CONFIG
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return changes(loaded(CONFIG).settings, loaded(text + more).settings)


def test_a_file_written_in_another_way_changes_nothing(loaded: Callable[..., Loaded]) -> None:
    found = changed(loaded, ("routes:\n", "# moved\n\nroutes:\n"), more="workers: 1\n")
    assert not found
    assert found.document() == NOTHING


def test_a_class_is_told_as_the_key_it_is(loaded: Callable[..., Loaded]) -> None:
    found = changed(loaded, ("to: orders}", "to: orders, class: paying}"), more="queues: {paying: {}}\n")
    assert found.document() == NOTHING | {"routes": ["~ route orders: class"]}


@pytest.mark.parametrize(
    ("kind", "old", "new", "texts"),
    [
        (
            "listeners",
            "127.0.0.1:8080",
            "127.0.0.1:81",
            ["- listener 127.0.0.1:8080", "+ listener 127.0.0.1:81"],
        ),
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
        ("upstreams", ":80]}", ":80], hedge: p95}", ["~ upstream orders: hedge"]),
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
    assert changed(loaded, more=more + "overload: {memory: off}\n").others == (
        "~ log.level",
        "~ access_log",
        "~ limits.line",
        "~ limits.keep_alive",
        "~ limits.connections",
        "~ overload.memory",
    )


def test_what_cannot_be_changed_live_is_refused_with_the_reason(loaded: Callable[..., Loaded]) -> None:
    more = "workers: 2\nadmin: 127.0.0.1:9902\n"
    assert changed(loaded, more=more).document() == {
        **NOTHING,
        "refused": [
            "workers: the number of processes is fixed at start; restart the gateway",
            "admin.address.port: the admin address is opened once at start; restart the gateway",
        ],
    }


def test_no_value_is_told_since_it_may_be_a_secret(loaded: Callable[..., Loaded]) -> None:
    edits = "to: orders, headers: {request: {set: {authorization: 'Bearer s3cret'}}}}"
    found = changed(loaded, ("to: orders}", edits))
    assert found.routes == ("~ route orders: headers.request.set",)


def line(request: str, **more: str) -> str:
    method, _, target = request.partition(" ")
    host, slash, path = target.partition("/")
    return json.dumps({"method": method, "host": host, "path": slash + path, **more}) + "\n"


def planned(write: Write, new: str, log: str | bytes | None = None, *words: str, old: str = CONFIG) -> Result:
    paths = [write(old, "old.yaml"), write(new, "new.yaml")]
    logged = [] if log is None else ["--log", write(log, "access.log")]
    return CliRunner().invoke(main, [str(word) for word in ["plan", *paths, *logged, *words]])


def test_nothing_to_change_is_said(write: Write) -> None:
    done = planned(write, CONFIG)
    assert (done.exit_code, done.stdout) == (0, "a reload would change nothing\n")


def test_changes_are_said_and_what_is_refused_is_marked(write: Write) -> None:
    done = planned(write, CONFIG.replace("/status,", "/state,") + "workers: 2\n")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "! workers: the number of processes is fixed at start; restart the gateway",
        "~ route status: match.path",
        "a reload would be refused for what is marked with !",
    ]


def test_a_log_says_which_requests_go_elsewhere(write: Write) -> None:
    new = CONFIG.replace("/orders/*", "'/orders/{id}'").replace('"fine"', '"fine."')
    requests = ["GET h/orders/1", "GET h/orders/1/items", "PUT h:81/orders/2/x", "GET h/status", "GET h/none"]
    done = planned(write, new, "".join(map(line, requests)))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[2:] == [
        "log: 3 of 5 requests go elsewhere",
        "       2  orders (orders) -> 404 no_route",
        "          GET h/orders/1/items",
        "          PUT h/orders/2/x",
        "       1  status (respond 200) -> status (respond 200), in another way",
        "          GET h/status",
    ]


def test_what_the_log_cannot_tell_is_said(write: Write) -> None:
    new = CONFIG + "  - {name: beta, match: {path: /orders/*, headers: {x-beta: '*'}, query: {v: '2'}}, respond: 204}\n"
    told = {"header:x-beta": "1", "query": "v=2"}
    log = line("GET /orders/1") + line("GET /status") + line("GET /orders/2", **told)
    done = planned(write, new, log)
    assert done.stdout.splitlines()[1:] == [
        "log: 1 of 3 requests go elsewhere",
        "       1  orders (orders) -> beta (respond 204)",
        "          GET /orders/2",
        '       1  unknown: routes look at what is not logged (access_log: fields: add: ["header:x-beta", "query"])',
    ]


def test_lines_that_cannot_be_read_are_counted(write: Write) -> None:
    good = line("GET /status")
    bad = ["\n", "[]\n", "null\n", '1.2.3.4 - - "GET / HTTP/1.1"\n', '{"method": null, "path": "/"}\n', "{" * 200_000]
    bad.insert(0, line("GET /orders/%2f"))
    done = planned(write, CONFIG, good + good.join(bad).removesuffix("\n") + "\n" + good, "--json")
    log = json.loads(done.stdout)["log"]
    assert (log["requests"], log["unreadable"], log["moved"]) == (len(bad) + 1, len(bad), 0)


def test_moves_are_bounded_and_most_come_first(write: Write) -> None:
    routes = "".join(f"  - {{name: r{number}, match: /{number}, respond: 200}}\n" for number in range(30))
    log = line("GET /29") + "".join(line(f"GET /{number}") for number in range(30))
    done = planned(write, CONFIG + routes, log, "--json")
    found = json.loads(done.stdout)
    assert len(found["changes"]["routes"]) == len(found["log"]["moves"]) == 30
    assert found["log"]["moves"][0] == {
        "old": "404 no_route",
        "new": "r29 (respond 200)",
        "requests": 2,
        "samples": ["GET /29", "GET /29"],
    }
    assert planned(write, CONFIG + routes, log).stdout.splitlines()[-1] == ("      10  in other ways; --json tells 30")


@pytest.mark.parametrize("broken", ["old", "new"])
def test_a_wrong_config_is_told_with_all_its_errors(broken: str, write: Write) -> None:
    wrong = CONFIG.replace("respond:", "respnd:")
    done = planned(write, CONFIG, old=wrong) if broken == "old" else planned(write, wrong)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{broken}.yaml:8" in done.stderr
    assert "did you mean respond?" in done.stderr


def test_a_log_that_is_not_there_is_an_error_of_the_command_line(write: Write) -> None:
    done = planned(write, CONFIG, None, "--log", "/nowhere/access.log")
    assert done.exit_code == 2
    assert "No such file" in done.stderr


def test_python_is_imported_in_a_child_unless_that_is_refused(write: Write) -> None:
    write("import sys\nsys.exit()\n", "code.py")
    new = CONFIG + "  - {name: price, match: /price, handler: 'code.py:answer'}\n"
    done = planned(write, new)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "importing it failed: SystemExit" in done.stderr
    assert planned(write, new, None, "--no-import").stdout == "+ route price\n"
