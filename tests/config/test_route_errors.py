"""What is wrong with a route, in exact words."""

import pytest

from gateway.config.load import load
from tests.config.conftest import Faults, Write

UPSTREAMS = "upstreams: {orders: http://h:1, stock: http://i:1}\nroutes:\n"
ROUTE_FAULTS = [
    (
        "- {match: GET,PUT /a, to: orders}",
        "3:11: routes[0].match: a match needs a path; perhaps GET /",
        "3:15: routes[0].PUT /a: unknown key (inside {...} a comma ends a value; quote the whole of it)",
    ),
    (
        "- {match: /, respond: {headers: {Transfer-Encoding: x}}}",
        "3:34: routes[0].respond.headers.Transfer-Encoding: Transfer-Encoding is set by the gateway alone",
    ),
    (
        "- {match: /, respond: {body: 5}}",
        "3:30: routes[0].respond.body: needs text, or a mapping or list to be sent as JSON; 5 is a number "
        '(quote it if it is text: "5")',
    ),
    (
        "- {match: /}",
        "3:3: routes[0]: a route needs an answer (one of to, handler, app, aggregate, respond or redirect)",
    ),
    ("- {to: orders}", "3:3: routes[0]: needs the key `match`"),
    ("- {match: /, respond: }", "3:14: routes[0].respond: has no value (give it one, or remove the key)"),
    (
        "- {match: /, to: orders, respond: 204}",
        "3:26: routes[0].respond: a route has one answer; this one has `to` already",
    ),
    ("- {match: /, respond: 204, strip: /}", "3:28: routes[0].strip: `strip` is for routes with `to` or `app`"),
    (
        "- {match: /, respond: 204, class: default}",
        "3:28: routes[0].class: `class` is for routes with `to`, `aggregate`, `handler` or `app`: "
        "a fixed answer never waits",
    ),
    (
        "- {match: /, to: orders, class: defalt}",
        "3:33: routes[0].class: there is no queue 'defalt' (did you mean default?)",
    ),
    ("- {match: /, to: order}", "3:18: routes[0].to: there is no upstream 'order' (did you mean orders?)"),
    (
        "- {match: /, to: {orders: 50%, stok: 50%}}",
        "3:32: routes[0].to.stok: there is no upstream 'stok' (did you mean stock?)",
    ),
    (
        "- {match: /, to: {orders: 50, stock: 50%}}",
        "3:27: routes[0].to.orders: a share needs a unit (%) (write `orders: 50%`)",
    ),
    ("- {match: /, to: {orders: 0%}}", "3:18: routes[0].to: all shares are 0%, so no request has a place to go"),
    ("- {match: /, to: {}}", "3:18: routes[0].to: names no upstream"),
    (
        "- {match: /, to: [orders]}",
        "3:18: routes[0].to: needs the name of an upstream, or {orders: 90%, orders-next: 10%}; this is a list",
    ),
    ("- {match: get /, to: orders}", "3:11: routes[0].match: method 'get' is written 'GET'"),
    ("- {match: orders, to: orders}", "3:11: routes[0].match: a match needs a path; perhaps orders/*"),
    ("- {match: 'https://h/x', to: orders}", "3:11: routes[0].match: a match has no scheme; write h/x"),
    ("- {match: 'h:80/x', to: orders}", "3:11: routes[0].match: hosts match without their port; write h"),
    (
        "- {match: '/a/{id}.json', to: orders}",
        "3:11: routes[0].match: path '/a/{id}.json': a parameter is a whole segment of letters, "
        "digits and _, such as /orders/{id}",
    ),
    (
        "- {match: /a*, to: orders}",
        "3:11: routes[0].match: path '/a*': `*` stands only at the end, after a slash, such as /api/*",
    ),
    ("- {match: {path: x}, to: orders}", "3:18: routes[0].match.path: a path begins with /; write /x"),
    ("- {match: {paths: /x}, to: orders}", "3:12: routes[0].match.paths: unknown key (did you mean path?)"),
    (
        "- {match: {path: {id}}, to: orders}",
        '3:18: routes[0].match.path: needs a path; without quotes {id} is a mapping (quote it: "{id}")',
    ),
    (
        "- {match: {path: [/x, '/{a}', '/{b}']}, to: orders}",
        "3:11: routes[0].match: paths '/{a}' and '/{b}' match the same requests; keep one",
    ),
    (
        "- {match: {path: /x, headers: {'a b': c}}, to: orders}",
        "3:32: routes[0].match.headers.a b: 'a b' is not the name of a header",
    ),
    (
        "- {match: {path: /x, headers: {x_user: '*'}}, to: orders}",
        "3:32: routes[0].match.headers.x_user: no request can reach this route: x_user has a `_`, and such headers are "
        "dropped (write it with `-`, or set `limits: {underscores: allow}`)",
    ),
    (
        "- {match: {path: /x, headers: {X-Gateway-Reason: a}}, to: orders}",
        "3:32: routes[0].match.headers.X-Gateway-Reason: no request can reach this route: x-gateway-reason from "
        "a client is removed before routes are looked up",
    ),
    (
        "- {match: TRACE /, to: orders}",
        "3:11: routes[0].match: no request can reach this route: TRACE is answered by the gateway itself",
    ),
    (
        "- {match: '/a/{id}', to: orders, rewrite: '/b/{idd}'}",
        "3:43: routes[0].rewrite: rewrite uses {idd}, but /a/{id} has {id}",
    ),
    ("- {match: /a, to: orders, rewrite: b}", "3:36: routes[0].rewrite: a path begins with /; write /b"),
    (
        "- {match: /a, to: orders, rewrite: '/b?c'}",
        "3:36: routes[0].rewrite: a path is printable ASCII without blanks, ? and #; the query is passed on as it is",
    ),
    ("- {match: /a, to: orders, rewrite: /b/*}", "3:36: routes[0].rewrite: rewrite ends with /*, but /a does not"),
    (
        "- {match: /a/*, to: orders, rewrite: /b, strip: /a}",
        "3:49: routes[0].strip: rewrite and strip exclude each other; keep one",
    ),
    (
        "- {match: /a/*, to: orders, strip: /b}",
        "3:36: routes[0].strip: /a/* does not begin with /b, so there is nothing to strip",
    ),
    (
        "- {match: /, to: orders, host: 'a b'}",
        "3:32: routes[0].host: 'a b' is not a host name; perhaps the path should begin with / : /a b",
    ),
    (
        "- {match: /, to: orders, host: 'a:99999'}",
        "3:32: routes[0].host: 'a:99999' is not a host; write pass, upstream or a name such as a.example.com",
    ),
    (
        "- {match: /, to: orders, timeout: 5}",
        "3:35: routes[0].timeout: a duration needs a unit (ms, s, m, h or d) (write `timeout: 5s`)",
    ),
    (
        "- {match: /, to: orders, timeout: 0s}",
        "3:35: routes[0].timeout: must be more than zero (write off for no limit)",
    ),
    (
        "- {match: /, to: orders, body_limit: 1M}",
        "3:38: routes[0].body_limit: 'M' is not a unit of a size (B, KiB, MiB or GiB) (write `body_limit: 1MiB`)",
    ),
    (
        "- {match: /, to: orders, upgrade: h2c}",
        "3:35: routes[0].upgrade: h2c is never passed on: its requests would go past the routes",
    ),
    ("- {match: /, to: orders, limit: 10/s}", "3:26: routes[0].limit: unknown key"),
    (
        "- {match: /, to: orders, headers: {request: {set: {Host: x}}}}",
        "3:52: routes[0].headers.request.set.Host: the Host is not set here (use the route's `host:`)",
    ),
    (
        "- {match: /, to: orders, headers: {response: {set: {content-length: 1}}}}",
        "3:53: routes[0].headers.response.set.content-length: content-length is set by the gateway alone",
    ),
    (
        "- {match: /, to: orders, headers: {request: {remove: [a, TE]}}}",
        "3:58: routes[0].headers.request.remove[1]: TE cannot be removed: it is the gateway's",
    ),
    (
        '- {match: /, to: orders, headers: {request: {set: {a: "b\\r\\nc"}}}}',
        "3:55: routes[0].headers.request.set.a: a header's value is printable ASCII without blanks at its ends",
    ),
    (
        "- {match: /, to: orders, headers: {request: {set: {a: true}}}}",
        "3:55: routes[0].headers.request.set.a: needs the value of a header; true is true or false "
        '(quote it if it is text: "true")',
    ),
    ("- {match: /, respond: {status: 99}}", "3:32: routes[0].respond.status: must be at least 200"),
    (
        "- {match: /, respond: {status: 204, body: x}}",
        "3:43: routes[0].respond.body: an answer with status 204 has no body",
    ),
    (
        "- {match: /, redirect: shop}",
        "3:24: routes[0].redirect: 'shop' is not an absolute URL (https://...) or a path (/...)",
    ),
    (
        "- {match: /, redirect: //evil.example}",
        "3:24: routes[0].redirect: a location that begins with // leads to another host; write the whole URL",
    ),
    (
        "- {match: /, redirect: {location: /x, status: 300}}",
        "3:47: routes[0].redirect.status: must be 301, 302, 303, 307 or 308",
    ),
    (
        "- {name: '', match: /, respond: 204}",
        "3:10: routes[0].name: a route's name is 1 to 200 printable ASCII characters without blanks at its ends",
    ),
    ("- {name: _x, match: /, respond: 204}", "3:10: routes[0].name: names that begin with _ are the gateway's own"),
    (
        "- {name: a, match: /a, respond: 204}\n- {name: a, match: /b, respond: 204}",
        "4:10: routes[1].name: the route 'a' is already defined at c.yaml:3:10",
    ),
    (
        "- {name: a, match: '/x/{a}', respond: 204}\n- {name: b, match: 'GET /y', respond: 204}\n"
        "- {name: c, match: '/x/{b}', respond: 204}",
        "5:20: routes[2].match: ties with the route 'a' at c.yaml:3:3: both take /x/{b} "
        "(give one of them another path or one condition more)",
    ),
    (
        "- {name: a, match: 'GET,PUT h.x/', respond: 204}\n- {name: b, match: 'PUT,POST h.x/', respond: 204}",
        "4:20: routes[1].match: ties with the route 'a' at c.yaml:3:3: both take PUT h.x/ "
        "(give one of them another path or one condition more)",
    ),
    (
        "- {name: a, match: {path: /, headers: {x: '1'}}, respond: 204}\n"
        "- {name: b, match: {path: /, headers: {y: '1'}}, respond: 204}",
        "4:20: routes[1].match: ties with the route 'a' at c.yaml:3:3: both take / "
        "(give one of them another path or one condition more)",
    ),
    (
        "- {name: a, match: /x/*, respond: 204}\n- {name: b, match: /x, respond: 204}\n"
        "- {name: c, match: '/x/{p}/*', respond: 204}\n- {name: d, match: /x//*, respond: 204}",
        "3:20: routes[0].match: no request can reach this route: more specific routes take all of /x/*",
    ),
    ("- 5", "3:3: routes[0]: needs a mapping; 5 is a number"),
    ("  {}", "3:3: routes: needs a list; this is a mapping"),
]


@pytest.mark.parametrize("case", ROUTE_FAULTS)
def test_a_fault_of_a_route(case: tuple[str, ...], faults: Faults) -> None:
    text, *wanted = case
    assert faults(UPSTREAMS + text) == [f"c.yaml:{fault}" for fault in wanted]


def test_routes_that_differ_do_not_tie(write: Write) -> None:
    load(
        write(
            "routes:\n"
            + "".join(
                f"  - {{match: {match}, respond: 204}}\n"
                for match in (
                    "GET /a",
                    "PUT /a",
                    "/a",
                    "h.x/a",
                    "'*.x/a'",
                    "'/{p}'",
                    "/*",
                    "GET /*",
                    "{path: /a, headers: {x: '1'}}",
                    "{path: /a, headers: {x: '2'}}",
                    "{path: /a, headers: {x: '*'}}",
                    "{path: /a, query: {x: '1'}}",
                    "{path: /a, methods: GET, headers: {x: '1'}}",
                )
            )
        )
    )


def test_many_routes_that_tie_are_each_told_once(faults: Faults) -> None:
    count = 150
    routes = "".join(f"- {{match: {{path: /, headers: {{x{n}: '1'}}}}, respond: 204}}\n" for n in range(count))
    found = faults("routes:\n" + routes)
    assert len(found) == count - 1
    assert all("ties with the route '/' at c.yaml:2:3" in line for line in found)
