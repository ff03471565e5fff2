"""What a single value cannot show: names that lead nowhere, things said twice, things that can never happen."""

from dataclasses import dataclass, field

from gateway.config.lines import KeyPath, Map, Place, Source, locate, path_text
from gateway.config.model import Config
from gateway.config.model_listen import Listen
from gateway.config.problems import Problem, did_you_mean

MAX_LISTENERS = 200
"""Their sockets go to a worker in one message, which carries at most 253 (unix(7), SCM_RIGHTS)."""
MAX_GUESSES = 50
"""Did-you-mean compares with every known name; with thousands of names a few guesses are enough."""


@dataclass
class Checked:
    """A config that its model accepts, with the way back to the files, and the faults found in it.

    `route_indices` and `test_indices` say which entry of the file each route and test is: entries that the model
    refused are left out. `names`, `executors` and `queues` are all that the file names, also those refused.
    """

    config: Config
    root: Map
    whole: Source
    route_indices: list[int]
    test_indices: list[int]
    names: list[str]
    executors: list[str]
    queues: list[str]
    complete: bool
    """False where the model refused something: then what is missing may be there."""
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    _guesses: int = 0

    def fault(self, path: KeyPath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.problems.append(self._problem(path, message, hint, at_key))

    def warn(self, path: KeyPath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.warnings.append(self._problem(path, message, hint, at_key))

    def place(self, path: KeyPath) -> Place:
        mark = locate(self.root, path).mark
        return mark.value if mark else Place(self.whole, 1, 1)

    def guess(self, word: str, known: list[str]) -> str:
        self._guesses += 1
        return did_you_mean(word, known) if self._guesses <= MAX_GUESSES else ""

    def _problem(self, path: KeyPath, message: str, hint: str, at_key: bool) -> Problem:
        found = locate(self.root, path)
        if found.mark is None:
            return Problem(Place(self.whole, 1, 1), path_text(path), message, hint)
        place = found.mark.key if at_key else found.mark.value
        return Problem(place, path_text(found.path), message, hint)


def check_listeners(checked: Checked) -> None:
    """Each address once, the admin address guarded, one policy of client certificates for one listener."""
    seen: dict[str, KeyPath] = {}
    if len(checked.config.listen) > MAX_LISTENERS:
        checked.fault(("listen",), f"more than {MAX_LISTENERS} addresses; leave the host out to listen on all of them")
    for index, listen in enumerate(checked.config.listen):
        path: KeyPath = ("listen", index)
        name = str(listen.address)
        if name in seen and not name.endswith(":0"):  # port 0 is another port each time
            checked.fault((*path, "address"), f"{name} is listened on already, at {checked.place(seen[name])}")
        seen.setdefault(name, path)
        _check_listener(checked, listen, path)
    admin = checked.config.admin
    if str(admin.address) in seen and admin.address.port:
        checked.fault(("admin", "address"), f"{admin.address} is listened on already, at {checked.place(('listen',))}")
    if not admin.address.is_loopback and not admin.token:
        checked.fault(
            ("admin", "address"),
            f"{admin.address} can be reached from other machines, so it needs a token",
            f"write `admin: {{address: {admin.address}, token: {{file: path}}}}`, or listen on 127.0.0.1",
        )


def _check_listener(checked: Checked, listen: Listen, path: KeyPath) -> None:
    if listen.redirect and listen.tls:
        checked.fault((*path, "redirect"), "a listener with tls is https already; redirect is for plain ones")
    for key in ("min", "client_ca"):
        values = {getattr(tls, key) for tls in listen.tls if key == "min" or tls.client_ca}
        if len(values) > 1:
            checked.fault((*path, "tls"), f"the certificates of one listener must agree in `{key}`")


def check_reachable(checked: Checked) -> None:
    """With nothing but redirects to https, no route is ever asked."""
    config = checked.config
    if not config.listen:
        checked.fault(("listen",), "a gateway needs an address to listen on", "such as 0.0.0.0:8080")
    elif config.routes and all(listen.redirect for listen in config.listen):
        checked.fault(("listen",), "every listener redirects to https, so no route can be reached", "add one with tls")


def check_upstreams(checked: Checked) -> None:
    """Targets exist and differ, and somebody uses the upstream."""
    used = _used(checked.config)
    for name, upstream in checked.config.upstreams.items():
        path: KeyPath = ("upstreams", name)
        if not upstream.targets:
            checked.fault((*path, "targets"), "an upstream needs a target", f"such as `{name}: http://10.0.0.1:8000`")
        _check_targets(checked, name, path)
        _check_attempts(checked, name, path)
        if used is not None and name not in used and checked.complete:
            checked.warn(path, "no route uses this upstream", at_key=True)


def _used(config: Config) -> set[str] | None:
    """Upstreams that a route names; None where Python may ask any."""
    used: set[str] = set()
    for route in config.routes:
        if route.plugins or route.handler or route.app:
            return None
        used.update(route.to)
        if route.aggregate:
            used.update(source.to for source in route.aggregate.sources.values())
    return used


def _check_targets(checked: Checked, name: str, path: KeyPath) -> None:
    upstream = checked.config.upstreams[name]
    labels: dict[str, int] = {}
    for index, target in enumerate(upstream.targets):
        first = labels.setdefault(target.url.label, index)
        if first != index:
            place = checked.place((*path, "targets", first))
            checked.fault((*path, "targets", index), f"{target.url.label} is a target already, at {place}")
    written = upstream.tls.model_fields_set if "tls" in upstream.model_fields_set else ()
    speaks = any(target.url.tls or target.url.dns or target.url.path for target in upstream.targets)
    if written and upstream.targets and not speaks:
        checked.warn((*path, "tls"), "no target speaks TLS", "write https:// in its URL", at_key=True)


def _check_attempts(checked: Checked, name: str, path: KeyPath) -> None:
    """What needs a second target has one, and what is written can come to pass; defaults are for others, too."""
    upstream, default = checked.config.upstreams[name], checked.config.defaults.upstream
    hedge, retry = upstream.hedge, upstream.retry
    if len(upstream.targets) == 1 and not upstream.targets[0].url.dns:
        if hedge and not default.hedge:
            checked.warn((*path, "hedge"), "there is no second target to ask", at_key=True)
        if retry.attempts > 1 and retry != default.retry:
            checked.warn((*path, "retry"), "each attempt is at another target, and there is only one", at_key=True)
        if upstream.outlier and not default.outlier:
            checked.warn((*path, "outlier"), "the only target is never put aside", at_key=True)
    if retry.attempts == 1 and retry != default.retry and "when" in retry.model_fields_set:
        checked.warn((*path, "retry", "when"), "nothing is tried again with `attempts: 1`", at_key=True)
    if hedge and not default.hedge and hedge.after.after_s >= upstream.timeout.head:
        checked.warn((*path, "hedge"), "`timeout.head` is over before a second target is asked", at_key=True)


def check_tests(checked: Checked) -> None:
    """Tests name routes and upstreams that exist."""
    routes = [route.name for route in checked.config.routes]
    known = set(routes)
    for index, test in zip(checked.test_indices, checked.config.tests, strict=True):
        path: KeyPath = ("tests", index, "expect")
        expect = test.expect
        if not expect.model_fields_set:
            checked.fault(path, "a test expects something", "such as `expect: {route: orders}`")
        if expect.route and expect.route not in known | {"none"} and checked.complete:
            checked.fault((*path, "route"), f"there is no route {expect.route!r}", checked.guess(expect.route, routes))
        if expect.upstream and expect.upstream not in checked.names:
            hint = checked.guess(expect.upstream, checked.names)
            checked.fault((*path, "upstream"), f"there is no upstream {expect.upstream!r}", hint)
