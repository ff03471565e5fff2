"""What good configs come to."""

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.config.load import Loaded, load
from gateway.config.settings import AdminSettings, GatewaySettings, RouteTest
from gateway.core.address import Address
from gateway.decide.balance.settings import BalanceSettings
from gateway.decide.resilience.overload_settings import OverloadSettings
from gateway.decide.route.settings import MatchSettings
from gateway.observe.access_log import AccessLogSettings
from gateway.pipeline.settings import (
    BufferSettings,
    ForwardSettings,
    HeaderEdits,
    RedirectSettings,
    RespondSettings,
    RouteSettings,
)
from gateway.transport.settings import ConnectionsSettings, ListenSettings, UpstreamTlsSettings
from gateway.upstreams.settings import TargetSettings, TimeoutSettings, UpstreamSettings
from tests.config.conftest import Write

Load = Callable[..., Loaded]
MINIMAL = "routes: [{match: /, respond: 204}]\n"


def settings(loaded: Load, text: str, **environment: str) -> GatewaySettings:
    return loaded(text, **environment).settings


def test_what_is_not_said_is_the_default_of_the_settings(loaded: Load) -> None:
    got = settings(loaded, MINIMAL)
    bare = GatewaySettings(listen=(ListenSettings(Address("0.0.0.0", 8080)),), routes=got.routes)
    names = [
        "listen",
        "admin",
        "workers",
        "executors",
        "loop_guard_s",
        "trusted_proxies",
        "log",
        "access_log",
        "client",
        "limits",
        "overload",
        "shutdown",
    ]
    assert [getattr(got, name) for name in names] == [getattr(bare, name) for name in names]
    assert got.routes == (RouteSettings("/", MatchSettings(("/",)), RespondSettings(204), source=got.path + ":1"),)


def test_every_default_of_an_upstream_and_a_route_is_that_of_the_settings(loaded: Load) -> None:
    got = settings(loaded, "upstreams: {a: http://h:1}\nroutes: [{name: r, match: /, to: a}]")
    assert got.upstreams == (UpstreamSettings("a", (TargetSettings("h", 1),)),)
    assert got.routes == (
        RouteSettings("r", MatchSettings(("/",)), ForwardSettings((("a", 1),)), source=got.path + ":2"),
    )


def test_port_0_may_stand_twice(loaded: Load) -> None:
    assert len(settings(loaded, MINIMAL + "listen: ['127.0.0.1:0', '127.0.0.1:0']").listen) == 2


def test_short_and_long_forms_say_the_same(loaded: Load) -> None:
    short = settings(
        loaded,
        """
listen: 127.0.0.1:1
admin: 127.0.0.1:2
log: debug
shutdown: 5s
trusted_proxies: 10.0.0.0/8
access_log: combined
upstreams:
  a: http://h:1
  b: [http://h:1, http://i:2]
  c: {targets: http://h:1, timeout: 5s, connections: 7, hedge: 50ms}
routes:
  - {name: r, match: "GET,POST h.example/x/{id}", to: a, redirect: /x}
""".replace(", redirect: /x", "")
        + "  - {name: s, match: /s, respond: pong}\n  - {name: t, match: /t, redirect: /u}\n"
        "  - {name: u, match: /u, to: b}\n  - {name: v, match: /v, to: c}\n",
    )
    long = settings(
        loaded,
        """
listen: [{address: "127.0.0.1:1"}]
admin: {address: "127.0.0.1:2"}
log: {level: debug}
shutdown: {drain: 5s}
trusted_proxies: [10.0.0.0/8]
access_log: {format: combined}
upstreams:
  a: {targets: [{url: "http://h:1"}]}
  b: {targets: [{url: "http://h:1", weight: 1}, {url: "http://i:2"}]}
  c: {targets: ["http://h:1"], timeout: {head: 5s}, connections: {max: 7}, hedge: {after: 50ms}}
routes:
  - {name: r, match: {path: ["/x/{id}"], methods: [GET, POST], hosts: [H.example]}, to: {a: 100%}}
  - {name: s, match: {path: /s}, respond: {status: 200, body: pong}}
  - {name: t, match: {path: /t}, redirect: {location: /u, status: 308}}
  - {name: u, match: {path: /u}, to: b}
  - {name: v, match: {path: /v}, to: c}
""",
    )
    assert [(route.name, route.match, route.answer) for route in short.routes] == [
        (route.name, route.match, route.answer) for route in long.routes
    ]
    for name in ("listen", "admin", "log", "shutdown", "trusted_proxies", "access_log", "upstreams"):
        assert getattr(short, name) == getattr(long, name)


def test_everything_of_a_route(loaded: Load) -> None:
    (route,) = settings(
        loaded,
        """
upstreams: {a: http://h, b: http://i}
routes:
  - name: all
    match: {path: "/x/{id}", methods: "GET,PUT", hosts: "*.Example.com", headers: {X-Beta: "*"}, query: {v: 2}}
    to: {a: 87.5%, b: 12.5%}
    rewrite: /y/{id}
    host: upstream
    timeout: off
    body_limit: off
    buffer: {request: 0B, response: 1MiB}
    upgrade: []
    headers: {request: {set: {X-A: "1"}, remove: cookie}, response: {set: {x-b: 2}}}
""",
    ).routes
    assert route == RouteSettings(
        name="all",
        match=MatchSettings(("/x/{id}",), ("GET", "PUT"), ("*.example.com",), (("x-beta", "*"),), (("v", "2"),)),
        answer=ForwardSettings((("a", 7), ("b", 1)), rewrite="/y/{id}", host="upstream"),
        timeout_s=None,
        body_bytes=None,
        buffer=BufferSettings(0, 1024**2),
        upgrade=(),
        request_headers=HeaderEdits((("X-A", "1"),), ("cookie",)),
        response_headers=HeaderEdits((("x-b", "2"),), ()),
        source=route.source,
    )
    assert route.source.endswith("c.yaml:4")


def test_everything_of_an_upstream(loaded: Load, tmp_path: Path) -> None:
    (upstream,) = settings(
        loaded,
        """
upstreams:
  a:
    targets: [https://h, {url: "dns://n:2", weight: 3}, unix:/run/x, "http://[::1]:4/"]
    balance: {consistent_hash: "header:X-User"}
    timeout: {connect: 100ms, idle: off}
    connections: {max: 1, wait: 0s, idle: 0, idle_timeout: 1m}
    tls: {verify: false, server_name: n}
routes: [{match: /, to: a}]
""",
    ).upstreams
    assert upstream == UpstreamSettings(
        "a",
        (
            TargetSettings("h", 443, tls=True),
            TargetSettings("n", 2, weight=3, tls=True, dns=True),
            TargetSettings("localhost", 0, tls=True, path="/run/x"),
            TargetSettings("::1", 4),
        ),
        BalanceSettings("consistent_hash", "header:x-user"),
        TimeoutSettings(0.1, 30.0, None),
        ConnectionsSettings(1, 0.0, 0, 60.0),
        UpstreamTlsSettings(verify=False, server_name="n"),
    )


def test_defaults_are_merged_under_every_route_and_upstream(loaded: Load) -> None:
    got = settings(
        loaded,
        """
defaults:
  route: {timeout: 9s, headers: {request: {set: {x-a: "1", x-b: "1"}, remove: [x-c]}}}
  upstream: {timeout: 5s, tls: {verify: false}}
upstreams:
  a: dns://h:1
  b: {targets: http://h:1, timeout: {connect: 2s}}
routes:
  - {name: plain, match: /a, to: a, host: "b.example:8080"}
  - {name: own, match: /b, to: b, timeout: 1s, headers: {request: {set: {x-b: "2"}}}}
""",
    )
    plain, own = got.routes
    assert isinstance(plain.answer, ForwardSettings)
    assert plain.answer.host == "b.example:8080"
    assert (plain.timeout_s, own.timeout_s) == (9.0, 1.0)
    assert plain.request_headers == HeaderEdits((("x-a", "1"), ("x-b", "1")), ("x-c",))
    assert own.request_headers == HeaderEdits((("x-a", "1"), ("x-b", "2")), ("x-c",))
    assert [upstream.timeout for upstream in got.upstreams] == [TimeoutSettings(1.0, 5.0), TimeoutSettings(2.0, 5.0)]
    assert got.upstreams[0].tls.verify is False
    assert got.upstreams[0].targets[0].tls is False  # only `tls` of its own makes a dns:// target speak TLS


def test_answers_without_an_upstream(loaded: Load) -> None:
    got = settings(
        loaded,
        """
routes:
  - {name: a, match: /a, respond: {body: {x: [1, null]}, headers: {x-a: b}}}
  - {name: b, match: /b, respond: {body: <p>, headers: {Content-Type: text/html}}}
  - {name: c, match: /c/*, redirect: {location: /d/, status: 301}}
""",
    )
    assert [route.answer for route in got.routes] == [
        RespondSettings(200, b'{"x":[1,null]}', (("content-type", "application/json"), ("x-a", "b"))),
        RespondSettings(200, b"<p>", (("Content-Type", "text/html"),)),
        RedirectSettings("/d/", 301),
    ]


def test_routes_without_a_name_are_called_what_they_match(loaded: Load) -> None:
    got = settings(
        loaded,
        """
routes:
  - {match: "GET,POST h.example/a", respond: 204}
  - {match: {path: /b}, respond: 204}
  - {match: {path: /b, headers: {x: "1"}}, respond: 204}
""",
    )
    assert [route.name for route in got.routes] == ["GET,POST h.example/a", "/b", "/b #2"]


def test_the_gateways_own_keys(loaded: Load) -> None:
    got = settings(
        loaded,
        """
admin: {address: 0.0.0.0:9901, token: s3cret, open: metrics}
workers: 3
access_log:
  {path: /var/log/a, fields: {add: [query, "header:Referer"], drop: worker}, sample: 5%,
   min_duration: 1s, only_errors: true}
limits: {line: 1KiB, body: off, underscores: allow, connections: 5, buffered: 1MiB, keep_alive: 1m}
routes: [{match: /, respond: 204}]
tests: [{request: GET /, headers: {a: 1}, expect: {status: 204}}]
""",
    )
    assert got.admin == AdminSettings(Address("0.0.0.0", 9901), "s3cret", frozenset({"metrics"}))
    assert got.workers == 3
    assert got.access_log == AccessLogSettings(
        "/var/log/a", "json", ("query", "header:Referer"), ("worker",), 0.05, 1.0, True
    )
    assert (got.client.head.line_bytes, got.client.head.underscores, got.client.body_bytes) == (1024, "allow", None)
    assert (got.limits.connections, got.limits.buffered_bytes, got.client.keep_alive_s) == (5, 1024**2, 60.0)
    assert got.tests == (RouteTest("GET /", (("a", "1"),), (("status", 204),), got.path + ":9"),)


def test_the_access_log_can_be_off(loaded: Load) -> None:
    assert settings(loaded, MINIMAL + "access_log: off").access_log is None


def test_a_secret_is_read_from_its_file_and_never_shown(loaded: Load, write: Write) -> None:
    write("t0ken\n", "token")
    got = settings(
        loaded,
        """
admin: {token: {file: token}}
upstreams: {a: "http://${HOST_SECRET}"}
defaults: {route: {headers: {request: {set: {Authorization: Basic abc, x-plain: "is ${API_TOKEN}"}}}}}
routes: [{match: /, to: a, headers: {request: {set: {x-key: {file: token}}}}}]
""",
        API_TOKEN="hidden-one",
        HOST_SECRET="hidden-two",
    )
    assert got.admin.token == "t0ken"
    assert dict(got.routes[0].request_headers.set) == {
        "Authorization": "Basic abc",
        "x-plain": "is hidden-one",
        "x-key": "t0ken",
    }
    shown = repr(got.redacted)
    assert [secret for secret in ("t0ken", "hidden-one", "hidden-two", "abc") if secret in shown] == []
    assert "is ***" in shown


def test_files_are_relative_to_the_config(write: Write, tmp_path: Path) -> None:
    write("a-token", "secrets/token")
    got = load(write(MINIMAL + "admin: {token: {file: secrets/token}}", "here/../c.yaml"))
    assert got.settings.admin.token == "a-token"


def test_the_hash_is_that_of_the_text_of_all_files(write: Write) -> None:
    path = write(MINIMAL + "include: more.yaml")
    write("log: debug", "more.yaml")
    first = load(path).settings.hash
    assert load(path).settings.hash == first
    write("log: info", "more.yaml")
    assert load(path).settings.hash != first


def test_settings_reach_a_process_without_the_libraries_of_the_config(config_directory: Path, tmp_path: Path) -> None:
    """Workers unpickle them."""
    pickled = tmp_path / "settings"
    pickled.write_bytes(pickle.dumps(load(config_directory / "demo.yaml").settings))
    program = (
        "import pickle, sys; settings = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(len(settings.routes), *(name for name in ('pydantic', 'ruamel', 'click') if name in sys.modules))"
    )
    words = [sys.executable, "-c", program, str(pickled)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert said == [str(len(load(config_directory / "demo.yaml").settings.routes))]


def test_ten_thousand_routes_load_in_five_seconds(write: Write) -> None:
    routes = "".join(
        f"  - name: r{n}\n    match: GET /s{n % 100}/i{n}/{{id}}\n    to: u{n % 50}\n    timeout: 5s\n"
        for n in range(10_000)
    )
    upstreams = "".join(f"  u{n}: http://10.0.0.{n}:80\n" for n in range(50))
    path = write(f"upstreams:\n{upstreams}routes:\n{routes}")
    began = time.process_time()  # processor time, so that what else runs does not count
    assert len(load(path).settings.routes) == 10_000
    assert time.process_time() - began < 5.0


def test_the_weight_of_a_class_is_that_of_its_queue(loaded: Load) -> None:
    text = (
        "queues: {checkout: {weight: 10}}\nupstreams: {o: {targets: http://127.0.0.1:1, concurrency: 1}}\n"
        "routes:\n  - {match: /a, to: o, class: checkout}\n  - {match: /b, to: o}\n"
        "  - {match: /c, handler: 'html:escape', class: checkout}\n"
        "  - {match: /d, app: {wsgi: 'wsgiref.simple_server:demo_app'}, class: checkout}\n"
    )
    assert [(each.class_, each.class_weight) for each in loaded(text).settings.routes] == [
        ("checkout", 10),
        ("default", 1),
        ("checkout", 10),
        ("checkout", 10),
    ]


def test_overload(loaded: Load) -> None:
    texts = ("off", "{loop_lag: 100ms}", "{memory: 70%}", "{loop_lag: off, memory: off}")
    assert [settings(loaded, f"{MINIMAL}overload: {text}").overload for text in texts] == [
        OverloadSettings(None, None),
        OverloadSettings(0.1, 0.85),
        OverloadSettings(0.25, 0.7),
        OverloadSettings(None, None),
    ]
