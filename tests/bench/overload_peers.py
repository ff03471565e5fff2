"""What tests/bench/overload compares: our gateway and the proxies beside it, as an operator would set them up for this.

All: one worker (ours has more with --workers), keep-alive to the upstream, an access log of one line a request.
"""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from processes import Process, free_ports
from proxies import PROXY_CORE, ROOT

SLOTS = 20
"""What those are told that have to be told what the upstream can do."""
WAIT_MS = 500
"""How long an ordinary request may wait, where that can be said."""


@dataclass(frozen=True, slots=True)
class Peer:
    """`name` is what `--peers` calls it; several builds of ours share one. `told`: what the upstream can do."""

    name: str
    title: str
    command: Callable[[Path, int, int], list[str]]
    told: bool = False


def start(peer: Peer, directory: Path, upstream: int) -> tuple[Process, int]:
    """The process, and the port where it listens."""
    (port,) = free_ports(1)
    process = Process(peer.command(directory, port, upstream), directory / "output.log", core=PROXY_CORE, cwd=ROOT)
    process.wait_listening(port)
    process.wait_started()
    return process, port


def _ours(concurrency: str, gateway: str, workers: int) -> Callable[[Path, int, int], list[str]]:
    def command(directory: Path, port: int, upstream: int) -> list[str]:
        config = directory / "gateway.yaml"
        config.write_text(f"""
listen: 127.0.0.1:{port}
workers: {workers}
admin: 127.0.0.1:{free_ports(1)[0]}
access_log: {{path: {directory}/access.log}}
queues:
  checkout: {{max: 5000, wait: 3s, weight: 10}}
  default: {{max: 1000, wait: {WAIT_MS}ms}}
upstreams:
  shop: {{targets: ["http://127.0.0.1:{upstream}"], concurrency: {concurrency}}}
routes:
  - {{name: checkout, match: POST /orders, to: shop, class: checkout}}
  - {{name: shop, match: /*, to: shop}}
""")
        return [*shlex.split(gateway), "run", str(config)]

    return command


def _nginx(server: str) -> Callable[[Path, int, int], list[str]]:
    def command(directory: Path, port: int, upstream: int) -> list[str]:
        config = directory / "nginx.conf"
        config.write_text(f"""
user root;
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 15000; }}
http {{
  access_log {directory}/access.log combined buffer=64k flush=1s;
  keepalive_requests 100000000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream shop {{ server 127.0.0.1:{upstream} {server}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
""")
        return ["nginx", "-p", str(directory), "-c", str(config)]

    return command


def _haproxy(directory: Path, port: int, upstream: int) -> list[str]:
    config = directory / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
  maxconn 9500
  log stdout format raw local0 info
defaults
  mode http
  log global
  option httplog
  timeout client 75s
  timeout server 60s
  timeout connect 1s
  timeout queue {WAIT_MS}ms
frontend front
  bind 127.0.0.1:{port} backlog 4096
  http-request set-priority-class int(-10) if {{ path /orders }}
  default_backend shop
backend shop
  http-reuse always
  server shop 127.0.0.1:{upstream} maxconn {SLOTS} pool-purge-delay 60s
""")
    return ["haproxy", "-db", "-f", str(config)]


def ours(title: str, gateway: str, workers: int) -> tuple[Peer, ...]:
    """One build of ours; `gateway` is what stands before `run CONFIG`."""
    told = str(max(1, SLOTS // workers))
    return (
        Peer("ours", f"{title}, `concurrency: adaptive`", _ours("adaptive", gateway, workers)),
        Peer("ours-told", f"{title}, `concurrency: {told}`", _ours(told, gateway, workers), told=True),
    )


OTHERS = (
    Peer("haproxy", f"HAProxy, `maxconn {SLOTS}`, priority class", _haproxy, told=True),
    Peer("nginx", "nginx", _nginx("max_fails=0")),
    Peer("nginx-told", f"nginx, `max_conns={SLOTS}`", _nginx(f"max_fails=0 max_conns={SLOTS}"), told=True),
)
