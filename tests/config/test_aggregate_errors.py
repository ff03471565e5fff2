"""What is wrong with an aggregate, in exact words, at its line."""

from collections.abc import Callable

import pytest

from tests.config.conftest import Faults

HEAD = "upstreams: {orders: http://h:1, stock: http://i:1}\nroutes:\n- match: /p/{user}\n  aggregate:\n"

FAULTS = [
    ("    {}", "4:3: routes[0].aggregate: needs the key `sources`"),
    ("    5", "5:5: routes[0].aggregate: needs a mapping with sources; 5 is a number"),
    ("    sources: {}", "5:14: routes[0].aggregate.sources: an aggregate needs at least one source"),
    ("    sources: {a: orders}", "5:18: routes[0].aggregate.sources.a: needs a mapping with to and path; this is text"),
    ("    sources: {a: {to: orders}}", "5:15: routes[0].aggregate.sources.a: needs the key `path`"),
    (
        "    sources: {a: {to: order, path: /}}",
        "5:23: routes[0].aggregate.sources.a.to: there is no upstream 'order' (did you mean orders?)",
    ),
    (
        "    sources: {a: {to: orders, path: x}}",
        "5:37: routes[0].aggregate.sources.a.path: a path begins with /; write /x",
    ),
    (
        '    sources: {a: {to: orders, path: "/{usr}"}}',
        "5:37: routes[0].aggregate.sources.a.path: {usr}: no source and no "
        "parameter is named usr (did you mean user?); sources: none; parameters: user",
    ),
    (
        '    sources: {a: {to: orders, path: "/{a.x}"}}',
        "5:37: routes[0].aggregate.sources.a.path: {a.x}: a source cannot wait for itself",
    ),
    (
        "    sources: {a: {to: orders, path: {user}}}",
        "5:37: routes[0].aggregate.sources.a.path: needs a path; without "
        'quotes {user} is a mapping (quote it: "{user}")',
    ),
    ("    sources: {a: {to: orders, path: /, retry: {}}}", "5:40: routes[0].aggregate.sources.a.retry: unknown key"),
    (
        "    sources: {a: {to: orders, path: /, method: get}}",
        "5:48: routes[0].aggregate.sources.a.method: method 'get' is written 'GET'",
    ),
    (
        '    sources: {a: {to: orders, path: /, pick: "a["}}',
        "5:46: routes[0].aggregate.sources.a.pick: not a JMESPath "
        'expression: Invalid jmespath expression: Incomplete expression: "a[" ^',
    ),
    (
        "    sources: {a: {to: orders, path: /, required: true, optional: true}}",
        "5:56: routes[0].aggregate.sources.a.optional: says the opposite of required; keep one of the two",
    ),
    (
        "    sources: {a: {to: orders, path: /, required: true, fallback: 1}}",
        "5:66: routes[0].aggregate.sources.a."
        "fallback: a source is either required or has a fallback; keep one of the two",
    ),
    (
        "    sources: {a: {to: orders, path: /, headers: {host: x}}}",
        "5:56: routes[0].aggregate.sources.a.headers.host: the gateway writes host itself",
    ),
    (
        "    sources: {a: {to: orders, path: /, headers: {x-a: '{b.c}'}}}",
        "5:55: routes[0].aggregate.sources.a.headers."
        "x-a: {b.c}: no source and no parameter is named b; sources: none; parameters: user",
    ),
    (
        "    sources: {_a: {to: orders, path: /}}",
        "5:15: routes[0].aggregate.sources._a: a source's name is made of "
        "letters, digits, `_` and `-`, and begins with a letter",
    ),
    (
        "    sources: {a: {to: orders, path: /}}\n    merge: join",
        "6:12: routes[0].aggregate.merge: must be object, flat or list; found 'join'",
    ),
    (
        '    sources: {a: {to: orders, path: /}}\n    shape: {x: "{b}"}',
        "6:16: routes[0].aggregate.shape.x: {b}: no source and no parameter is named b; sources: a; parameters: user",
    ),
    (
        '    sources: {a: {to: orders, path: /}}\n    shape: {x: "{a}"}\n    merge: flat',
        "6:5: routes[0].aggregate.shape: shape says all of the answer; remove it, or remove merge",
    ),
    (
        "    sources: {a: {to: orders, path: /}}\n    forward: [a b]",
        "6:15: routes[0].aggregate.forward[0]: 'a b' is not the name of a header",
    ),
    (
        "    sources: {a: {to: orders, path: /}}\n    forward: [host]",
        "6:15: routes[0].aggregate.forward[0]: the gateway writes host itself",
    ),
    (
        "    sources: {a: {to: orders, path: /}}\n    deadline: off",
        "6:15: routes[0].aggregate.deadline: needs a duration, such as 250ms, 2s or 1m; found 'off'",
    ),
    (
        '    sources:\n      a: {to: orders, path: "/{b.x}"}\n      b: {to: stock, path: "/{c.x}"}\n'
        '      c: {to: stock, path: /, body: ["{a.x}"]}',
        "6:29: routes[0].aggregate.sources.a.path: these sources wait for "
        "each other: a waits for b waits for c waits for a",
    ),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_fault_of_an_aggregate(text: str, fault: str, faults: Faults) -> None:
    assert faults(HEAD + text) == [f"c.yaml:{fault}"]


def test_a_parameter_must_be_in_every_path(faults: Faults) -> None:
    text = "upstreams: {a: http://h}\nroutes:\n- match: {path: ['/p/{user}', /p]}\n"
    text += '  aggregate: {sources: {s: {to: a, path: "/{user}"}}}'
    (fault,) = faults(text)
    assert fault == (
        "c.yaml:4:42: routes[0].aggregate.sources.s.path: {user}: no source and no parameter is named user; "
        "sources: none; parameters: none"
    )


WARNINGS = [
    (
        "    {deadline: 1s, sources: {a: {to: orders, path: /, timeout: 2s}, b: {to: stock, path: /}}}",
        "5:64: routes[0].aggregate.sources.a.timeout: is longer than the deadline of 1s, which counts",
    ),
    (
        "    {sources: {a: {to: orders, path: /, body: {}}, b: {to: stock, path: /}}}",
        "5:41: routes[0].aggregate.sources.a.body: many servers ignore the body of a GET (write `method: POST`)",
    ),
]


@pytest.mark.parametrize(("text", "warning"), WARNINGS)
def test_what_works_but_was_hardly_meant(text: str, warning: str, warnings: Callable[..., list[str]]) -> None:
    assert warnings(HEAD + text) == [f"c.yaml:{warning}"]
