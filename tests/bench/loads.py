"""The loads of the comparison: each one a row of the table, with what it must reach and what it aims at."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import Bench, Figures, check_answers, url
from generators import Answers, OneConnection, h2load_handshakes, h2load_rate, held, spread, wrk
from processes import cpu_seconds, memory
from proxies import PEERS, Proxy
from upstream import MIB

KEPT = 64
"""Keep-alive connections of the small loads."""
BODIES = 8
"""Connections of the 1 MiB loads."""
HANDSHAKES_PER_S = 500
IDLE = 5_000
MANY, FEW = 10_000, 100
MANY_ROUTES, FEW_ROUTES = 10_000, 10


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure of ours, or its ratio to that of a peer, must not exceed, and where we want it."""

    figure: str
    must: float
    aim: float
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """`measure` does one round of one proxy; `shows` is the figure of the published table."""

    name: str
    title: str
    measure: Callable[[Bench, Proxy], Figures]
    limits: tuple[Limit, ...] = ()
    peers: tuple[str, ...] = PEERS
    shows: str = "cpu_us"


def small_get(bench: Bench, proxy: Proxy) -> Figures:
    return bench.measure(proxy, lambda: wrk(url(proxy), connections=KEPT, seconds=bench.seconds))


def varied_get(bench: Bench, proxy: Proxy) -> Figures:
    return bench.measure(proxy, lambda: wrk(url(proxy), connections=KEPT, seconds=bench.seconds, script="vary.lua"))


def post(bench: Bench, proxy: Proxy) -> Figures:
    return bench.measure(
        proxy,
        lambda: wrk(url(proxy), connections=KEPT, seconds=bench.seconds, script="post.lua", arguments=["1024"]),
    )


def half_rate(bench: Bench, proxy: Proxy) -> Figures:
    rate = bench.half_peak()
    log = bench.dir / "h2load.log"
    return bench.measure(
        proxy, lambda: h2load_rate(url(proxy), log, connections=KEPT, seconds=bench.seconds, rate=rate)
    )


def added_latency(bench: Bench, proxy: Proxy) -> Figures:
    """Direct and proxied in turns of 100, so that what disturbs one disturbs both."""
    direct, proxied = OneConnection(bench.upstream.port), OneConnection(proxy.site.http)
    try:
        deadline = time.monotonic() + bench.seconds
        while time.monotonic() < deadline:
            direct.measure(100)
            proxied.measure(100)
    finally:
        direct.close()
        proxied.close()
    base, through = direct.p50_us(), proxied.p50_us()
    return {"added_us": through - base, "direct_us": base, "proxied_us": through}


def new_connections(bench: Bench, proxy: Proxy) -> Figures:
    return bench.measure(proxy, lambda: wrk(url(proxy), connections=KEPT, seconds=bench.seconds, close=True))


def tls_kept(bench: Bench, proxy: Proxy) -> Figures:
    address = f"https://127.0.0.1:{proxy.site.ecdsa}/"
    return bench.measure(proxy, lambda: wrk(address, connections=KEPT, seconds=bench.seconds))


def handshakes_ecdsa(bench: Bench, proxy: Proxy) -> Figures:
    return _handshakes(bench, proxy, proxy.site.ecdsa)


def handshakes_rsa(bench: Bench, proxy: Proxy) -> Figures:
    return _handshakes(bench, proxy, proxy.site.rsa)


def _handshakes(bench: Bench, proxy: Proxy, port: int) -> Figures:
    log = bench.dir / "h2load.log"
    address = f"https://127.0.0.1:{port}/"
    return bench.measure(proxy, lambda: h2load_handshakes(address, log, rate=HANDSHAKES_PER_S, seconds=bench.seconds))


def download(bench: Bench, proxy: Proxy) -> Figures:
    address = url(proxy, "/download")
    return bench.measure(proxy, lambda: wrk(address, connections=BODIES, seconds=bench.seconds))


def upload(bench: Bench, proxy: Proxy) -> Figures:
    address = url(proxy, "/upload")
    return bench.measure(
        proxy,
        lambda: wrk(address, connections=BODIES, seconds=bench.seconds, script="post.lua", arguments=[str(MIB)]),
    )


def memory_at_rest(bench: Bench, proxy: Proxy) -> Figures:
    proxy.restart()
    check_answers(proxy)
    time.sleep(1.0)
    found = memory(proxy.pid)
    return {"rss_mb": found.rss / 1e6, "pss_mb": found.pss / 1e6}


def memory_per_idle(bench: Bench, proxy: Proxy) -> Figures:
    """From a fresh start, after a second of load, so that what is made once is not counted as made per connection."""
    proxy.restart()
    check_answers(proxy)
    wrk(url(proxy), connections=KEPT, seconds=1)
    before = memory(proxy.pid).rss
    with held(proxy.site.http, IDLE):
        after = memory(proxy.pid).rss
    proxy.truncate_log()
    return {"idle_kb": (after - before) / IDLE / 1000}


def routing(bench: Bench, proxy: Proxy) -> Figures:
    """The same gateway with 10 and with 10 000 routes; the same 10 requests to both, then the same 10 000 to both."""
    figures: Figures = {"errors": 0.0}
    for requests, suffix in ((FEW_ROUTES, ""), (MANY_ROUTES, "_every_route")):
        for count in (FEW_ROUTES, MANY_ROUTES):
            routed = _routed(bench, proxy.name, count)
            cost = bench.measure(routed, lambda to=routed, many=requests: _paths(to, many, bench.seconds))  # type: ignore[misc]
            figures[f"cpu_us_{count}{suffix}"] = cost["cpu_us"]
            figures["errors"] += cost["errors"]
        figures[f"growth{suffix}"] = figures[f"cpu_us_{MANY_ROUTES}{suffix}"] / figures[f"cpu_us_{FEW_ROUTES}{suffix}"]
    return figures | bench.start_cost[f"{proxy.name}-{MANY_ROUTES}-routes"]


def _paths(routed: Proxy, requests: int, seconds: float) -> Answers:
    return wrk(
        url(routed), connections=KEPT, seconds=seconds, script="paths.lua", arguments=[str(requests), str(MANY_ROUTES)]
    )


def _routed(bench: Bench, subject: str, count: int) -> Proxy:
    """A gateway with `count` routes, running, every route taken once; made in the first round."""
    name = f"{subject}-{count}-routes"
    if name not in bench.proxies:
        routed = bench.add_gateway(name, subject, (*_route_paths(count), "/echo"))
        began = time.monotonic()
        routed.start()
        check_answers(routed, timeout_s=60.0)
        bench.start_cost[name] = {"start_s": time.monotonic() - began, "start_cpu_s": cpu_seconds(routed.pid)}
        _paths(routed, MANY_ROUTES, 2.0)
    return bench.proxies[name]


def _route_paths(count: int) -> tuple[str, ...]:
    """All take the requests of paths.lua: a route per first segment, or one per path, every second with a parameter."""
    if count == FEW_ROUTES:
        return tuple(f"/group-{each}/*" for each in range(count))
    return tuple(f"/group-{each % 10}/item-{each}" + ("/{id}" if each % 2 else "") for each in range(count))


def open_connections(bench: Bench, proxy: Proxy) -> Figures:
    """100 open connections, then 10 000 with 100 of them active, then all of 10 000 active, at one rate."""
    rate = min(bench.half_peak(), 4_000.0)
    log = bench.dir / "h2load.log"

    def active(connections: int) -> float:
        return bench.measure(
            proxy,
            lambda: h2load_rate(url(proxy), log, connections=connections, seconds=bench.seconds, rate=rate),
        )["cpu_us"]

    few = active(FEW)
    with held(proxy.site.http, FEW) as sockets:
        few_spread = bench.measure(proxy, lambda: spread(sockets, rate, bench.seconds))["cpu_us"]
    with held(proxy.site.http, MANY - FEW) as sockets:
        many = active(FEW)
        many_spread = bench.measure(proxy, lambda: spread(sockets, rate, bench.seconds))["cpu_us"]
    return {
        "cpu_us_100": few,
        "cpu_us_10000": many,
        "growth": many / few,
        "growth_all_active": many_spread / few_spread,
    }


LOADS = (
    Load(
        "get",
        "small GET, 64 connections",
        small_get,
        (
            Limit("cpu_us", 2.0, 1.25, "nginx"),
            Limit("cpu_us", 0.4, 0.4, "caddy"),
            Limit("cpu_us", 0.3, 0.3, "aiohttp"),
        ),
    ),
    Load("get-varied", "small GET, every head different", varied_get, (Limit("cpu_us", 2.0, 1.25, "nginx"),)),
    Load("post", "POST of 1 KiB", post, (Limit("cpu_us", 2.0, 1.25, "nginx"),)),
    Load(
        "half-rate",
        "p99 of the small GET at half of our peak rate",
        half_rate,
        (Limit("p99_ms", 2.0, 1.0, "nginx"),),
        ("nginx", "haproxy"),
        "p99_ms",
    ),
    Load(
        "latency",
        "latency added at one connection",
        added_latency,
        (Limit("added_us", 2.0, 1.5, "nginx"),),
        shows="added_us",
    ),
    Load("connect", "a new connection for every request", new_connections, (Limit("cpu_us", 2.0, 1.5, "nginx"),)),
    Load("tls", "TLS to the client, keep-alive", tls_kept, (Limit("cpu_us", 2.0, 1.5, "nginx"),)),
    Load(
        "handshake-ecdsa",
        "TLS handshake for every request, ECDSA P-256",
        handshakes_ecdsa,
        (Limit("cpu_us", 1.5, 1.2, "nginx"),),
    ),
    Load(
        "handshake-rsa",
        "TLS handshake for every request, RSA-2048",
        handshakes_rsa,
        (Limit("cpu_us", 1.5, 1.2, "nginx"),),
    ),
    Load("download", "download 1 MiB", download, (Limit("cpu_us", 1.5, 1.0, "haproxy"),)),
    Load("upload", "upload 1 MiB", upload, (Limit("cpu_us", 1.5, 1.0, "haproxy"),)),
    Load(
        "idle",
        "memory per idle keep-alive connection, 5 000 held",
        memory_per_idle,
        (Limit("idle_kb", 5.0, 3.0),),
        shows="idle_kb",
    ),
    Load(
        "rest",
        "memory at rest (ours: supervisor and one worker)",
        memory_at_rest,
        (Limit("rss_mb", 90.0, 60.0),),
        shows="rss_mb",
    ),
    Load(
        "routes",
        "10 000 routes against 10",
        routing,
        (Limit("growth", 1.1, 1.0), Limit("start_s", 5.0, 2.0)),
        (),
        "growth",
    ),
    Load(
        "connections",
        "10 000 open connections against 100, same rate",
        open_connections,
        (Limit("growth", 1.3, 1.1),),
        ("nginx",),
        "growth",
    ),
)


def median_ratio(ours: list[Figures], theirs: list[Figures], figure: str) -> float:
    """Median over the rounds of ours by theirs: the two of a round ran one after the other."""
    return statistics.median(a[figure] / b[figure] for a, b in zip(ours, theirs, strict=True))


def median_figures(rounds: list[Figures]) -> Figures:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
