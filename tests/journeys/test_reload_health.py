"""Active checks come, go and change with a reload; those that stay the same go on with what they know."""

from collections.abc import Callable

from tests.journeys.test_reload import change, get
from tests.support.gateway import Gateway
from tests.support.upstream import OK, Recorded, Upstream, answering
from tests.support.wait import until

Serve = Callable[..., Gateway]
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Site:
    """Fails checks of /bad where it is not `well`, passes all others; counts the requests that are no checks."""

    def __init__(self, start: Callable[..., Upstream], *, well: bool = False) -> None:
        self.well = well
        self.served = 0
        self.upstream = start(answering(self._answer))
        self.url, self.address = self.upstream.url, self.upstream.address

    def _answer(self, request: Recorded) -> bytes:
        self.served += b"GET / " in request.line
        return BAD if b"/bad" in request.line and not self.well else OK


def config(upstream: str) -> str:
    return f"workers: 2\nupstreams: {{u: {upstream}}}\nroutes: [{{name: r, match: /*, to: u}}]\n"


def checked(*sites: Site, path: str = "/bad", more: str = "") -> str:
    urls = ", ".join(site.url for site in sites)
    return config(f"{{targets: [{urls}], health: {{path: {path}, every: 200ms}}{more}}}")


def state(gateway: Gateway, site: Site) -> str:
    targets = {each["address"]: each["state"] for each in gateway.status()["upstreams"][0]["targets"]}
    return str(targets.get(site.address))


def checks(gateway: Gateway, site: Site) -> float:
    return gateway.metric("gateway_upstream_health_checks_total", target=site.address)


def test_checks_begin_change_and_end_with_a_reload(serve: Serve, upstream: Callable[..., Upstream]) -> None:
    one = Site(upstream)
    gateway = serve(config(one.url))
    assert state(gateway, one) == "unchecked"
    change(gateway, checked(one))
    until(lambda: state(gateway, one) == "down", 10, "failed checks")
    change(gateway, checked(one, path="/good"))
    until(lambda: state(gateway, one) == "up", 10, "a check of the new path")
    change(gateway, config(one.url))
    until(lambda: state(gateway, one) == "unchecked", 10, "the end of the checks")
    asked, count = len(one.upstream.requests), checks(gateway, one)
    assert count >= 2
    change(gateway, checked(one))
    until(lambda: state(gateway, one) == "down", 10, "failed checks, again")
    assert len(one.upstream.requests) > asked
    assert checks(gateway, one) > count


def test_what_checks_know_outlives_other_changes_of_the_upstream(
    serve: Serve, upstream: Callable[..., Upstream]
) -> None:
    bad, good, third = Site(upstream), Site(upstream, well=True), Site(upstream, well=True)
    gateway = serve(checked(bad, good))
    until(lambda: state(gateway, bad) == "down", 10, "failed checks")
    before = bad.served
    change(gateway, checked(bad, good, third, more=", connections: {idle: 7}"))
    assert state(gateway, bad) == "down"
    assert {get(gateway.port, "/")[0] for _ in range(24)} == {200}
    assert bad.served == before
    until(lambda: state(gateway, third) == "up", 10, "a check of the new target")
    change(gateway, checked(good, third))
    assert state(gateway, bad) == "None"


def test_the_addresses_of_a_name_are_checked_and_left(serve: Serve, upstream: Callable[..., Upstream]) -> None:
    one = Site(upstream, well=True)
    name = f"dns://localhost:{one.address.rpartition(':')[2]}"
    gateway = serve(config(name))
    change(gateway, config(f"{{targets: [{name}], health: {{path: /bad, every: 200ms}}}}"))
    until(lambda: state(gateway, one) == "up", 10, "a check")
    change(gateway, config(name))
    until(lambda: state(gateway, one) == "unchecked", 10, "the end of the checks")
