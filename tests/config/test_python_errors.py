"""What is wrong with executors, handlers, plugins and applications, in exact words; nothing is imported here."""

from collections.abc import Callable

import pytest

from tests.config.conftest import Faults

HEAD = "upstreams: {orders: http://h:1}\nroutes:\n"
TAIL = "\nroutes: [{name: r, match: /, respond: 204}]\n"

ROUTE_FAULTS = [
    (
        "- {match: /, handler: 5}",
        "3:23: routes[0].handler: needs package.module:name or file.py:name, or a mapping with run; 5 is a number",
    ),
    ("- {match: /, handler: }", "3:14: routes[0].handler: has no value (give it one, or remove the key)"),
    ("- {match: /, handler: {}}", "3:14: routes[0].handler: needs the key `run`"),
    ("- {match: /, handler: {runs: 'm:f'}}", "3:24: routes[0].handler.runs: unknown key (did you mean run?)"),
    (
        "- {match: /, handler: shop.price.quote}",
        "3:23: routes[0].handler: what is in a module stands behind a colon (write `handler: shop.price:quote`)",
    ),
    (
        "- {match: /, handler: price.py}",
        "3:23: routes[0].handler: names a file and nothing in it (such as price.py:handle)",
    ),
    (
        "- {match: /, handler: quote}",
        "3:23: routes[0].handler: 'quote' is not Python code to run (write package.module:name or file.py:name)",
    ),
    (
        "- {match: /, handler: 'shop/price:quote'}",
        "3:23: routes[0].handler: 'shop/price' is neither a module nor a file (write `handler: shop/price.py:quote`)",
    ),
    (
        "- {match: /, handler: 'shop-price:quote'}",
        "3:23: routes[0].handler: 'shop-price' is not the name of a module (write package.module:name or file.py:name)",
    ),
    (
        "- {match: /, handler: 'shop.price:'}",
        "3:23: routes[0].handler: '' is not the name of anything in a module "
        "(write package.module:name or file.py:name)",
    ),
    (
        "- {match: /, handler: 'shop.price:make()'}",
        "3:23: routes[0].handler: make() is a call "
        "(name what is there: shop.price:make, or a variable that holds its result)",
    ),
    (
        "- {match: /, handler: {run: 'm:f', timeout: 5}}",
        "3:45: routes[0].handler.timeout: a duration needs a unit (ms, s, m, h or d) (write `timeout: 5s`)",
    ),
    (
        "- {match: /, handler: {run: 'm:f', executor: fraud}}",
        "3:46: routes[0].handler.executor: there is no executor 'fraud' (define it under `executors:`)",
    ),
    (
        "- {match: /, handler: {run: 'm:f', executor: defalt}}",
        "3:46: routes[0].handler.executor: there is no executor 'defalt' (did you mean default?)",
    ),
    (
        "- {match: /, handler: {run: 'm:f', executor: 5}}",
        "3:46: routes[0].handler.executor: needs the name of an executor; 5 is a number",
    ),
    (
        "- {match: /, to: orders, handler: 'm:f'}",
        "3:26: routes[0].handler: a route has one answer; this one has `to` already",
    ),
    ("- {match: /, handler: 'm:f', rewrite: /x}", "3:30: routes[0].rewrite: `rewrite` is for routes with `to`"),
    ("- {match: /x/*, handler: 'm:f', strip: /x}", "3:33: routes[0].strip: `strip` is for routes with `to` or `app`"),
    ("- {match: /, respond: 204, plugins: [{on_error: deny}]}", "3:38: routes[0].plugins[0]: needs the key `run`"),
    (
        "- {match: /, respond: 204, plugins: [{run: 'm:f', on_error: alow}]}",
        "3:61: routes[0].plugins[0].on_error: must be deny or allow; found 'alow' (did you mean allow?)",
    ),
    (
        "- {match: /, respond: 204, plugins: ['m:f', mf]}",
        "3:45: routes[0].plugins[1]: 'mf' is not Python code to run (write package.module:name or file.py:name)",
    ),
    (
        "- {match: /, respond: 204, plugins: [{run: 'm:f', name: ''}]}",
        "3:57: routes[0].plugins[0].name: a plugin's name is "
        "1 to 100 printable ASCII characters without blanks at its ends",
    ),
    (
        "- {match: /, respond: 204, plugins: [{run: 'm:f', executor: x}]}",
        "3:61: routes[0].plugins[0].executor: there is no executor 'x' (define it under `executors:`)",
    ),
    (
        "- {match: /, app: 'm:f'}",
        "3:19: routes[0].app: needs a mapping such as {wsgi: package.module:app} or "
        "{asgi: package.module:app}; this is text",
    ),
    (
        "- {match: /, app: {}}",
        "3:19: routes[0].app: an application needs wsgi or asgi (such as {wsgi: package.module:app})",
    ),
    (
        "- {match: /, app: {wsgi: 'm:a', asgi: 'm:b'}}",
        "3:33: routes[0].app.asgi: an application is wsgi or asgi; keep one of the two",
    ),
    (
        "- {match: /, app: {asgi: 'm:a', executor: default}}",
        "3:33: routes[0].app.executor: an ASGI application runs on "
        "the event loop, never on an executor (remove the key)",
    ),
    (
        "- {match: /a/*, app: {wsgi: 'm:a'}, strip: /b}",
        "3:44: routes[0].strip: /a/* does not begin with /b, so there is nothing to strip",
    ),
]


@pytest.mark.parametrize(("text", "fault"), ROUTE_FAULTS)
def test_a_fault_of_python_in_a_route(text: str, fault: str, faults: Faults) -> None:
    assert faults(HEAD + text, import_s=None) == [f"c.yaml:{fault}"]


EXECUTOR_FAULTS = [
    ("executors: []", "1:12: executors: needs a mapping; this is a list"),
    ("executors: {a: 5}", "1:16: executors.a: needs a mapping with threads or processes; 5 is a number"),
    ("executors: {a: {}}", "1:13: executors.a: an executor needs threads or processes (such as `a: {threads: 8}`)"),
    (
        "executors: {a: {threads: 1, processes: 1}}",
        "1:29: executors.a.processes: an executor has threads or processes; keep one of the two",
    ),
    (
        "executors: {a: {processes: 1, abandoned: 1}}",
        "1:31: executors.a.abandoned: is for threads; a process that does "
        "not end is killed and replaced (remove the key)",
    ),
    ("executors: {a: {threads: 0}}", "1:26: executors.a.threads: must be at least 1"),
    ("executors: {a: {threads: 5000}}", "1:26: executors.a.threads: must be at most 4096"),
    ("executors: {a: {threads: }}", "1:17: executors.a.threads: has no value (give it one, or remove the key)"),
    (
        "executors: {a: {threads: 1, timeout: off}}",
        "1:38: executors.a.timeout: needs a duration, such as 250ms, 2s or 1m; found 'off'",
    ),
    ("executors: {a: {threads: 1, que: 1}}", "1:29: executors.a.que: unknown key (did you mean queue?)"),
    (
        "executors: {a b: {threads: 1}}",
        "1:13: executors.a b: a name is made of letters, digits, `_`, `.` and `-`, and begins with a letter or digit",
    ),
    ("loop_guard: 50", "1:13: loop_guard: a duration needs a unit (ms, s, m, h or d) (write `loop_guard: 50s`)"),
    ("defaults: {route: {handler: 'm:f'}}", "1:20: defaults.route.handler: unknown key (did you mean headers?)"),
]


@pytest.mark.parametrize(("text", "fault"), EXECUTOR_FAULTS)
def test_a_fault_of_an_executor(text: str, fault: str, faults: Faults) -> None:
    assert faults(text + TAIL) == [f"c.yaml:{fault}"]


def test_an_application_does_not_run_in_processes(faults: Faults) -> None:
    text = "executors: {p: {processes: 1}}\nroutes: [{match: /, app: {wsgi: 'm:a', executor: p}}]"
    assert faults(text, import_s=None) == [
        "c.yaml:2:40: routes[0].app.executor: p has processes; an application needs threads, which share its memory"
    ]


def test_a_wrong_executor_does_not_make_its_name_unknown(faults: Faults) -> None:
    text = "executors: {p: {threads: x}}\nroutes: [{match: /, handler: {run: 'm:a', executor: p}}]"
    assert faults(text, import_s=None) == ["c.yaml:1:26: executors.p.threads: needs a whole number; this is text"]


WARNINGS = [
    (
        "executors: {idle: {threads: 1}}\nroutes: [{match: /, respond: 204}]",
        "1:13: executors.idle: nothing runs on this executor",
    ),
    (
        "routes:\n- {match: /a, respond: 204, plugins: 'a/x.py:f'}\n- {match: /b, respond: 204, plugins: 'b/x.py:f'}",
        "3:38: routes[1].plugins: is called 'x.py:f', as another plugin at c.yaml:2:38 "
        "(give one of them a `name:`; metrics and logs go by it)",
    ),
]


@pytest.mark.parametrize(("text", "warning"), WARNINGS)
def test_what_works_but_was_hardly_meant(text: str, warning: str, warnings: Callable[..., list[str]]) -> None:
    assert warnings(text, import_s=None) == [f"c.yaml:{warning}"]


@pytest.mark.parametrize(
    "text",
    [
        "executors: {default: {queue: 5}}\nroutes: [{match: /, respond: 204}]",
        "executors: {a: {threads: 1}}\ndefaults: {route: {plugins: {run: 'm:f', executor: a}}}"
        "\nroutes: [{match: /, respond: 204}]",
        "executors: {a: {threads: 1}}\nroutes: [{match: /, app: {wsgi: 'm:f', executor: a}}]",
        "upstreams: {idle: http://h}\nroutes: [{match: /, handler: 'm:f'}]",
        "upstreams: {idle: http://h}\nroutes: [{match: /, respond: 204, plugins: 'm:f'}]",
        "upstreams: {a: http://h}\nroutes: [{match: /, aggregate: {sources: {s: {to: a, path: /}}}}]",
        "routes: [{match: /a, respond: 204, plugins: 'm:f'}, {match: /b, respond: 204, plugins: 'm:f'}]",
    ],
)
def test_what_is_used_or_may_be(text: str, warnings: Callable[..., list[str]]) -> None:
    assert warnings(text, import_s=None) == []


def test_executors_of_included_files_are_merged(faults: Faults, write: Callable[..., object]) -> None:
    write("executors: {a: {threads: 1}, b: {threads: 1}}", "more.yaml")
    text = "include: more.yaml\nexecutors: {a: {threads: 2}}\nroutes: [{match: /, handler: {run: 'm:f', executor: b}}]"
    assert faults(text, import_s=None) == [
        "more.yaml:1:13: executors.a: is already defined at c.yaml:2:13 (rename one of the two)"
    ]
