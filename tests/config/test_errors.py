"""What is wrong with a config, in exact words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.lines import Place, Source
from gateway.config.load import ConfigError, load
from gateway.config.problems import MAX_SHOWN, Problem
from gateway.config.read import MAX_FILE_BYTES
from tests.config.conftest import Faults, Write

TAIL = "\nroutes: [{name: r, match: /, respond: 204}]\n"
SYNTAX = "the YAML cannot be read: "
NEEDS_ROUTES = "a config needs routes (such as routes: [{match: /*, to: orders}])"

YAML_FAULTS = [
    ("", "c.yaml:1:1: the file is empty; a config needs routes"),
    ("# nothing\n", "c.yaml:1:1: the file is empty; a config needs routes"),
    ("- a\n", "c.yaml:1:1: a config is a mapping with routes:, ...; this is a list"),
    ("text", "c.yaml:1:1: a config is a mapping with routes:, ...; this is text"),
    ("a: [", f"c.yaml:1:5: {SYNTAX}expected a value, but found the end of the file"),
    ("a:\n\t- b", f"c.yaml:2:1: {SYNTAX}found character '\\t' that cannot start any token (indent with spaces)"),
    ("a: 'x\n\n", f"c.yaml:1:4: {SYNTAX}a quoted text does not end"),
    (
        "a: b: c",
        f"c.yaml:1:5: {SYNTAX}a `:` that belongs to no key; is the indentation right, "
        "or is a text with `: ` not quoted?",
    ),
    (
        "routes:\n  - {match: GET /a/{id}, respond: 204}",
        f"c.yaml:2:20: {SYNTAX}expected ',' or '}}', but got '{{' (quote it: \"GET /a/{{id}}\")",
    ),
    (
        "admin: {token: ${TOKEN}}",
        f"c.yaml:1:17: {SYNTAX}expected ',' or '}}', but got '{{' (quote it: \"${{TOKEN}}\")",
    ),
    (b"a: \xff", "c.yaml:1:4: the file is not UTF-8: byte 0xff"),
    (b"a: 1\nb: \xc3\xa4\xfc", "c.yaml:2:5: the file is not UTF-8: byte 0xfc"),
    ("a: \x01", "c.yaml:1:4: the character U+0001 is not allowed in YAML"),
    ('a: "\\ud800"', "c.yaml:1:4: a: half a surrogate pair is not a character (write the character itself)"),
    ('a: "\\U99999999"', f"c.yaml:1:7: {SYNTAX}an escape that is no character"),
    ("a: 1\n---\nb: 1", "c.yaml:2:1: a config is one YAML document; remove the `---`"),
    ("? [a]\n: b", "c.yaml:1:3: a mapping or list cannot be a key"),
    ("a: *x", 'c.yaml:1:4: a: the alias *x has no anchor before it (if it is text, quote it: "*x")'),
    ("a: &x [*x]", 'c.yaml:1:8: a[0]: the alias *x contains itself (if it is text, quote it: "*x")'),
    ("a: " + "[" * 100_000, "c.yaml:1:43: a" + "[0]" * 39 + ": nested deeper than 40 levels"),
    (
        "a0: &a0 [0,0,0,0,0,0,0,0,0]\n" + "\n".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]" for n in range(1, 30)),
        "c.yaml:6:10: a5[0]: aliases add more than 100000 values",
    ),
    (
        "a0: &a0 [0]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 1000)),
        "c.yaml:40:12: a39[0]: nested deeper than 40 levels",
    ),
    ("*x : 1", 'c.yaml:1:1: an alias cannot be a key (quote it, such as "*")'),
    ("%YAML 3.1\n---\na: 1", f"c.yaml:1:1: {SYNTAX}found incompatible YAML document (version 1.* is required)"),
]


@pytest.mark.parametrize(("text", "fault"), YAML_FAULTS)
def test_a_file_that_is_no_config(text: str | bytes, fault: str, faults: Faults) -> None:
    assert faults(text) == [fault]


ONE_FAULT = [
    # names of keys
    ("shutdwn: 5s", "1:1: shutdwn: unknown key (did you mean shutdown?)"),
    ("watch: 1", "1:8: watch: needs true or false (did you mean true?)"),
    ("turbo: off", "1:1: turbo: unknown key"),
    ("limits:\n  boddy: 1KiB", "2:3: limits.boddy: unknown key (did you mean body?)"),
    (
        "log: {level: info, level: debug}",
        "1:20: log.level: the key `level` is already set at line 1 (keep one of the two)",
    ),
    ("log:\n  level: info\nlog: debug", "3:1: log: the key `log` is already set at line 1 (keep one of the two)"),
    ("<<: {log: info}", "1:1: merge keys (`<<`) are not YAML 1.2 (write what all share under `defaults:`)"),
    # kinds of values
    ("workers: '2'", "1:10: workers: needs a number or auto; this is text"),
    ("workers: 0", "1:10: workers: must be from 1 to 64, or auto"),
    ("workers:", "1:1: workers: has no value (give it one, or remove the key)"),
    (
        "limits: {header_count: '5'}",
        "1:24: limits.header_count: needs a whole number; this is text (remove the quotes: 5)",
    ),
    ("limits: {header_count: 0}", "1:24: limits.header_count: must be at least 1"),
    ("limits: 5", "1:9: limits: needs a mapping; 5 is a number"),
    ("access_log: {only_errors: yes}", "1:27: access_log.only_errors: needs true or false (did you mean true?)"),
    (
        "log: {level: warn}",
        "1:14: log.level: must be debug, info, warning or error; found 'warn' (did you mean warning?)",
    ),
    ("trusted_proxies: {}", "1:18: trusted_proxies: needs a network; this is a mapping"),
    (
        "trusted_proxies: 10.0.0.1/8",
        "1:18: trusted_proxies: '10.0.0.1/8' has bits set beyond its prefix (write `trusted_proxies: 10.0.0.0/8`)",
    ),
    (
        "trusted_proxies: [here]",
        "1:19: trusted_proxies[0]: 'here' is not a network; write one such as 10.0.0.0/8 or 192.0.2.7",
    ),
    (
        "log: !!binary info",
        '1:6: log: the tag !!binary has no meaning here (text that begins with `!` is quoted: "!...")',
    ),
    (
        "log: !!map {level: info}",
        '1:6: log: the tag !!map has no meaning here (text that begins with `!` is quoted: "!...")',
    ),
    # units
    ("shutdown: {drain: 5}", "1:19: shutdown.drain: a duration needs a unit (ms, s, m, h or d) (write `drain: 5s`)"),
    (
        "shutdown: {drain: 5sec}",
        "1:19: shutdown.drain: 'sec' is not a unit of a duration (ms, s, m, h or d) (write `drain: 5s`)",
    ),
    ("limits: {line: 8192}", "1:16: limits.line: a size needs a unit (B, KiB, MiB or GiB) (write `line: 8KiB`)"),
    ("limits: {line: 8K}", "1:16: limits.line: 'K' is not a unit of a size (B, KiB, MiB or GiB) (write `line: 8KiB`)"),
    ("limits: {line: 0B}", "1:16: limits.line: must be more than zero"),
    (
        "upstreams: {a: {targets: http://h, breaker: {errors: 0%}}}",
        "1:54: upstreams.a.breaker.errors: must be more than zero",
    ),
    ("limits: {line: big}", "1:16: limits.line: needs a size, such as 512B, 64KiB or 10MiB; found 'big'"),
    ("limits: {body: [1]}", "1:16: limits.body: needs a size, such as 512B, 64KiB or 10MiB"),
    ("access_log: {sample: 0.2}", "1:22: access_log.sample: a share needs a unit (%) (write `sample: 20%`)"),
    ("limits: {line: 2000TiB}", "1:16: limits.line: a size is at most 1024TiB"),
    ("shutdown: 999d", "1:11: shutdown: a duration is at most 366d"),
    # addresses
    ("listen: '8080'", "1:9: listen: an address needs a port, such as 0.0.0.0:8080"),
    (
        "listen: 8080",
        "1:9: listen: needs an address such as 0.0.0.0:8080, or a mapping with address; 8080 is a number",
    ),
    ("listen: :70000", "1:9: listen: port 70000 is out of range (0 to 65535)"),
    (
        "listen: [':1', {address: '0.0.0.0:1'}]",
        "1:26: listen[1].address: 0.0.0.0:1 is listened on already, at c.yaml:1:10",
    ),
    (
        f"listen: {['unix:/run/' + str(n) for n in range(201)]}",
        "1:9: listen: more than 200 addresses; leave the host out to listen on all of them",
    ),
    ("listen: 127.0.0.1:9901", "1:1: admin.address: 127.0.0.1:9901 is listened on already, at c.yaml:1:9"),
    ("listen: {}", "1:1: listen: needs the key `address`"),
    ("listen: []", "1:9: listen: a gateway needs an address to listen on (such as 0.0.0.0:8080)"),
    (
        "listen: {address: ':1', redirect: https}",
        "1:9: listen: every listener redirects to https, so no route can be reached (add one with tls)",
    ),
    (
        "admin: :9901",
        "1:8: admin: 0.0.0.0:9901 can be reached from other machines, so it needs a token "
        "(write `admin: {address: 0.0.0.0:9901, token: {file: path}}`, or listen on 127.0.0.1)",
    ),
    (
        "admin: {open: helthz}",
        "1:15: admin.open: must be healthz, readyz, metrics, status or config; found 'helthz' (did you mean healthz?)",
    ),
    ("admin: {token: {file: nope}}", "1:16: admin.token: cannot read nope: no such file or directory"),
    ("admin: {token: ''}", "1:16: admin.token: is empty (remove the key or give it a value)"),
    ("admin: {token: 12}", '1:16: admin.token: needs text; 12 is a number (quote it if it is text: "12")'),
    (
        "access_log: {fields: {drop: stats}}",
        "1:29: access_log.fields.drop: the access log has no field 'stats' (did you mean status?)",
    ),
    (
        "access_log: {fields: {add: cookie}}",
        "1:28: access_log.fields.add: 'cookie' cannot be added; write query or header:x-name",
    ),
    # variables
    ("log: ${LEVEL}", "1:6: log: the environment variable LEVEL is not set (set it, or write ${LEVEL:-default})"),
    ("log: ${LEVEL", "1:6: log: `${` begins a variable such as ${NAME} or ${NAME:-default} (write $${ for a plain ${)"),
    ("include: ${DIR}/x", "1:10: include: the environment variable DIR is not set (set it, or write ${DIR:-default})"),
    # includes
    ("include: nope.yaml", "1:10: include: cannot read nope.yaml: no such file or directory"),
    ("include: c.yaml", "1:10: include: c.yaml is read already (as the main file) (include each file once)"),
    ("include: 5", "1:10: include: needs text; this is a number"),
    ("${NAME}: 1", "1:1: the environment variable NAME is not set (set it, or write ${NAME:-default})"),
    # upstreams
    ("upstreams: {a: 'http://[::1'}", "1:16: upstreams.a: '[::1' is not a host with a port"),
    ("upstreams: {a: 'http://h h'}", "1:16: upstreams.a: 'h h' is not a host with a port"),
    (
        "upstreams: {a: {targets: 'http://h', balance: 5}}",
        "1:47: upstreams.a.balance: needs the name of a balancer, or {consistent_hash: header:x-user}; 5 is a number",
    ),
    (
        "upstreams: {a: {targets: 'http://h', balance: {random: x}}}",
        "1:47: upstreams.a.balance: unknown key 'random' (write a name, or {consistent_hash: header:x-user})",
    ),
    (
        "upstreams: {a: {targets: 'http://h', balance: {consistent_hash: 'header:a b'}}}",
        "1:47: upstreams.a.balance: 'a b' is not the name of a header",
    ),
    ("upstreams: []", "1:12: upstreams: needs a mapping; this is a list"),
    (
        "upstreams: {'a b': 'http://h'}",
        "1:13: upstreams.a b: a name is made of letters, digits, `_`, `.` and `-`, and begins with a letter or digit",
    ),
    ("upstreams: {a: {balance: random}}", "1:13: upstreams.a: needs the key `targets`"),
    ("upstreams: {a: []}", "1:16: upstreams.a: an upstream needs a target (such as `a: http://10.0.0.1:8000`)"),
    (
        "upstreams: {a: h:80}",
        "1:16: upstreams.a: a target begins with http://, https://, dns:// or unix: (write http://h:80)",
    ),
    (
        "upstreams: {a: htps://h}",
        "1:16: upstreams.a: htps:// is not a scheme of targets (http://, https://, dns://, unix:) "
        "(did you mean https?)",
    ),
    ("upstreams: {a: 'http://h:0'}", "1:16: upstreams.a: port 0 is out of range (1 to 65535)"),
    ("upstreams: {a: 'http://h:x'}", "1:16: upstreams.a: 'x' is not a port"),
    (
        "upstreams: {a: 'http://h/x'}",
        "1:16: upstreams.a: a target is an address without a path (write http://h; `rewrite:` changes paths)",
    ),
    (
        "upstreams: {a: 'http://u:p@h'}",
        "1:16: upstreams.a: a target has no user name (set a header: headers: {request: {set: {authorization: ...}}})",
    ),
    ("upstreams: {a: 'dns://h'}", "1:16: upstreams.a: a dns:// target needs a port (such as dns://h:8000)"),
    ("upstreams: {a: 'unix:x'}", "1:16: upstreams.a: a unix socket needs an absolute path, such as unix:/run/app.sock"),
    (
        "upstreams: {a: ['http://h', 'http://h:80']}",
        "1:29: upstreams.a[1]: h:80 is a target already, at c.yaml:1:17",
    ),
    ("upstreams: {a: [{url: 'http://h', weight: 0}]}", "1:43: upstreams.a[0].weight: must be at least 1"),
    (
        "upstreams: {a: {targets: 'http://h', balance: lest_loaded}}",
        "1:47: upstreams.a.balance: there is no balancer 'lest_loaded' (least_loaded, round_robin, random, "
        "two_choices, peak_ewma, consistent_hash) (did you mean least_loaded?)",
    ),
    (
        "upstreams: {a: {targets: 'http://h', balance: consistent_hash}}",
        "1:47: upstreams.a.balance: consistent_hash needs to know what to hash on "
        "(write `balance: {consistent_hash: ip}`)",
    ),
    (
        "upstreams: {a: {targets: 'http://h', balance: {consistent_hash: user}}}",
        "1:47: upstreams.a.balance: consistent_hash needs header:<name>, cookie:<name>, ip or path; found 'user'",
    ),
    (
        "upstreams: {a: {targets: 'http://h', timeout: 5}}",
        "1:47: upstreams.a.timeout: a duration needs a unit (ms, s, m, h or d) (write `timeout: 5s`)",
    ),
    ("upstreams: {a: {targets: 'http://h', hedge: {}}}", "1:38: upstreams.a.hedge: needs the key `after`"),
    (
        "upstreams: {a: {targets: 'http://h', hedge: p40}}",
        "1:45: upstreams.a.hedge: 'p40' is no percentile from p50 to p99.99 (write `hedge: p95`)",
    ),
    (
        "upstreams: {a: {targets: 'http://h', hedge: 95%}}",
        "1:45: upstreams.a.hedge: '95%' is no percentile from p50 to p99.99 (write `hedge: p95`)",
    ),
    (
        "upstreams: {a: {targets: 'http://h', hedge: {after: 50}}}",
        "1:53: upstreams.a.hedge.after: a duration needs a unit (ms, s, m, h or d) (write `after: 50s`)",
    ),
    (
        "upstreams: {a: {targets: 'http://h', hedge: 0s}}",
        "1:45: upstreams.a.hedge: must be more than zero (p95, or a time that few answers take, such as 50ms)",
    ),
    ("defaults: {upstream: {targets: x}}", "1:23: defaults.upstream.targets: unknown key"),
    ("defaults: {route: {to: x}}", "1:20: defaults.route.to: unknown key"),
    # tests
    ("tests: [{request: GET /, expect: {route: q}}]", "1:42: tests[0].expect.route: there is no route 'q'"),
    ("tests: [{request: GET /, expect: {upstream: q}}]", "1:45: tests[0].expect.upstream: there is no upstream 'q'"),
    (
        "tests: [{request: GET /, expect: {}}]",
        "1:34: tests[0].expect: a test expects something (such as `expect: {route: orders}`)",
    ),
]


@pytest.mark.parametrize(("text", "fault"), ONE_FAULT)
def test_one_fault(text: str, fault: str, faults: Faults) -> None:
    assert faults(text + TAIL) == [f"c.yaml:{fault}"]


def test_no_routes_is_an_error(faults: Faults) -> None:
    assert faults("log: debug") == [f"c.yaml:1:1: routes: {NEEDS_ROUTES}"]
    assert faults("routes: []") == [f"c.yaml:1:9: routes: {NEEDS_ROUTES}"]


def test_all_problems_at_once_in_the_order_of_the_file(faults: Faults) -> None:
    found = faults(
        """
listen: 0.0.0.0:80800
workers: none
upstreams:
  orders: {targets: [http://h], timeout: 5}
  stock: http://i
routes:
  - {match: /a, to: orders}
  - {match: /b, to: stok}
  - {match: /c, too: stock}
  - {match: /a, to: stock}
tests:
  - {request: GET /a, expect: {upstream: order}}
"""
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["c.yaml:2:9", "listen"],
        ["c.yaml:3:10", "workers"],
        ["c.yaml:5:42", "upstreams.orders.timeout"],
        ["c.yaml:9:21", "routes[1].to"],
        ["c.yaml:10:17", "routes[2].too"],
        ["c.yaml:11:13", "routes[3].match"],
        ["c.yaml:13:42", "tests[0].expect.upstream"],
    ]


def test_a_queue_that_is_refused_is_not_missed_by_its_routes(faults: Faults) -> None:
    text = "queues: {paying: {wait: 3}}\nroutes: [{match: /a, to: a, class: paying}]\nupstreams: {a: 'http://h'}\n"
    assert faults(text) == [
        "c.yaml:1:25: queues.paying.wait: a duration needs a unit (ms, s, m, h or d) (write `wait: 3s`)"
    ]


def test_a_problem_shows_its_line_with_a_caret(write: Write) -> None:
    path = write("routes:\n  - match: GET /\n    timeot: 5s\n    respond: 204\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}:3:5: routes[0].timeot: unknown key (did you mean timeout?)\n  3 |     timeot: 5s\n    |     ^^^^^^"
    )
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.source_line) == (3, 5, "    timeot: 5s")


def test_a_long_line_is_cut_around_its_place() -> None:
    place = Place(Source("c.yaml", "a" * 500 + " bad " + "b" * 500), 1, 502)
    headline, line, caret = Problem(place, "", "wrong").render().split("\n")
    assert headline == "c.yaml:1:502: wrong"
    assert len(line) < 140
    assert line[caret.index("^") :].startswith("bad ")
    assert caret.endswith("^^^")


def test_nothing_of_a_file_moves_the_cursor_of_a_terminal() -> None:
    place = Place(Source("c.yaml", "a: \x1b[31mred\x07\tx"), 1, 4)
    shown = Problem(place, "k", "found \x1b]0;t\x07").render()
    assert [character for character in shown if ord(character) < 0x20 and character != "\n"] == []


def test_of_very_many_problems_the_first_are_shown(write: Write) -> None:
    count = MAX_SHOWN + 7
    path = write("routes:\n" + "".join(f"  - {{match: /{n}, to: x{n}}}\n" for n in range(count)))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.problems) == count
    assert str(caught.value).endswith("\n... and 7 more")


@pytest.mark.parametrize(
    ("name", "fault"),
    [("nope.yaml", "no such file or directory"), (".", "is a directory"), ("a\0b", "is not the path of a file")],
)
def test_a_path_that_is_no_file(name: str, fault: str, tmp_path: "object") -> None:
    with pytest.raises(ConfigError, match=fault):
        load(f"{tmp_path}/{name}")


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ConfigError, match="larger than 64 MiB; is it a config"):
        load(path)


def test_a_secret_that_is_no_text(write: Write, faults: Faults) -> None:
    write(b"\xff", "secret")
    (found,) = faults("admin: {token: {file: secret}}" + TAIL)
    assert found == "c.yaml:1:16: admin.token: secret is not UTF-8 text"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("upstreams: {idle: http://h}" + TAIL, "1:13: upstreams.idle: no route uses this upstream"),
        (
            "upstreams: {a: http://h}\nroutes: [{match: /, to: {a: 60%}}]",
            "2:25: routes[0].to: the shares add up to 60% and are taken in proportion",
        ),
        (
            "upstreams: {a: {targets: http://h, tls: {verify: false}}}\nroutes: [{match: /, to: a}]",
            "1:36: upstreams.a.tls: no target speaks TLS (write https:// in its URL)",
        ),
        (
            "upstreams: {a: {targets: http://h, hedge: p95}}\nroutes: [{match: /, to: a}]",
            "1:36: upstreams.a.hedge: there is no second target to ask",
        ),
        (
            "upstreams: {a: {targets: http://h, retry: 3}}\nroutes: [{match: /, to: a}]",
            "1:36: upstreams.a.retry: each attempt is at another target, and there is only one",
        ),
        (
            "upstreams: {a: {targets: http://h, outlier: {}}}\nroutes: [{match: /, to: a}]",
            "1:36: upstreams.a.outlier: the only target is never put aside",
        ),
        (
            "upstreams: {a: {targets: [http://h, http://i], retry: {attempts: 1, when: reset}}}\n"
            "routes: [{match: /, to: a}]",
            "1:69: upstreams.a.retry.when: nothing is tried again with `attempts: 1`",
        ),
        (
            "upstreams: {a: {targets: [http://h, http://i], timeout: 1s, hedge: 1s}}\nroutes: [{match: /, to: a}]",
            "1:61: upstreams.a.hedge: `timeout.head` is over before a second target is asked",
        ),
    ],
)
def test_what_works_but_was_hardly_meant(text: str, warning: str, warnings: Callable[[str], list[str]]) -> None:
    assert warnings(text) == [f"c.yaml:{warning}"]


def test_an_old_version_of_yaml_is_refused(faults: Faults) -> None:
    assert faults("%YAML 1.1\n---\nroutes: [{match: /, respond: 204}]") == [
        "c.yaml:2:1: the config is YAML 1.2; remove the %YAML line"
    ]
