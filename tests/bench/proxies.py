"""The reverse proxies that are compared, each with the config a careful operator would write for the same work.

In all of them: one worker, keep-alive towards the upstream, X-Forwarded-For/-Proto/-Host and X-Request-Id set on the
request, X-Request-Id on the answer, one JSON line of access log per request to a file.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from certs import Certificates
from processes import Process, free_ports

ROOT = Path(__file__).resolve().parents[2]
PROXY_CORE = 0
PEERS = ("nginx", "haproxy", "caddy", "aiohttp")


@dataclass(frozen=True, slots=True)
class Site:
    """Where one proxy lives: its directory, its ports, and the upstream it forwards to."""

    name: str
    dir: Path
    upstream_port: int
    certificates: Certificates
    http: int
    ecdsa: int
    rsa: int
    admin: int

    @property
    def access_log(self) -> Path:
        return self.dir / "access.log"


class Proxy:
    """One proxy under test; starts anew with `restart`."""

    def __init__(self, site: Site, command: Callable[[Site], Sequence[str]]) -> None:
        self.site = site
        self.name = site.name
        self._command = command
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        site = self.site
        argv = self._command(site)
        # HAProxy logs to its standard output, so that file is its access log.
        output = site.access_log if self.name == "haproxy" else site.dir / "output.log"
        env = {"HOME": str(site.dir), "XDG_DATA_HOME": str(site.dir), "XDG_CONFIG_HOME": str(site.dir)}
        self._process = Process(argv, output, core=PROXY_CORE, cwd=ROOT, env=env)
        for port in (site.http, site.ecdsa, site.rsa):
            self._process.wait_listening(port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def check_alive(self) -> None:
        assert self._process is not None
        self._process.check_alive()

    def truncate_log(self) -> None:
        """A run of all loads writes gigabytes otherwise."""
        if self.site.access_log.exists():
            with open(self.site.access_log, "r+b") as log:
                log.truncate(0)


def make_site(name: str, base: Path, upstream_port: int, certificates: Certificates) -> Site:
    directory = base / name
    directory.mkdir()
    return Site(name, directory, upstream_port, certificates, *free_ports(4))


def peer(name: str, base: Path, upstream_port: int, certificates: Certificates) -> Proxy:
    commands = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy, "aiohttp": _aiohttp}
    return Proxy(make_site(name, base, upstream_port, certificates), commands[name])


@dataclass(frozen=True, slots=True)
class Gateway:
    """Ours: `command` is what stands before `run CONFIG`; `paths` are the routes, most of them for the routing load."""

    command: str
    paths: tuple[str, ...] = field(default=("/*",))

    def __call__(self, site: Site) -> list[str]:
        config = site.dir / "gateway.yaml"
        config.write_text(_gateway_config(site, self.paths))
        return [*shlex.split(self.command), "run", str(config)]


def _gateway_config(site: Site, paths: Sequence[str]) -> str:
    certificates = site.certificates
    listen = [
        f"127.0.0.1:{site.http}",
        *(
            {"address": f"127.0.0.1:{port}", "tls": {"cert": str(pair.cert), "key": str(pair.key)}}
            for port, pair in ((site.ecdsa, certificates.ecdsa), (site.rsa, certificates.rsa))
        ),
    ]
    lines = [
        f"listen: {json.dumps(listen)}",
        f"admin: 127.0.0.1:{site.admin}",
        "workers: 1",
        f"access_log: {{path: {json.dumps(str(site.access_log))}, format: json}}",
        f"upstreams: {{origin: 'http://127.0.0.1:{site.upstream_port}'}}",
        "routes:",
        *(f"  - {{name: route-{number}, match: {json.dumps(path)}, to: origin}}" for number, path in enumerate(paths)),
    ]
    return "\n".join(lines) + "\n"


def _nginx(site: Site) -> list[str]:
    config = site.dir / "nginx.conf"
    config.write_text(f"""
user root;
worker_processes 1;
daemon off;
pid {site.dir}/nginx.pid;
error_log {site.dir}/error.log;
events {{ worker_connections 15000; }}
http {{
  log_format line escape=json '{{"ts":"$time_iso8601","request_id":"$request_id","client_ip":"$remote_addr",'
    '"method":"$request_method","scheme":"$scheme","host":"$http_host","path":"$uri","protocol":"$server_protocol",'
    '"upstream":"origin","target":"$upstream_addr","status":$status,"upstream_status":"$upstream_status",'
    '"bytes_in":$request_length,"bytes_out":$bytes_sent,"duration_s":$request_time,'
    '"connect_s":"$upstream_connect_time","ttfb_s":"$upstream_header_time","user_agent":"$http_user_agent"}}';
  access_log {site.access_log} line buffer=64k flush=1s;
  keepalive_timeout 75s;
  keepalive_requests 100000000;
  client_max_body_size 10m;
  client_body_temp_path {site.dir}/body;
  proxy_temp_path {site.dir}/proxy;
  fastcgi_temp_path {site.dir}/fastcgi;
  uwsgi_temp_path {site.dir}/uwsgi;
  scgi_temp_path {site.dir}/scgi;
  upstream origin {{
    server 127.0.0.1:{site.upstream_port};
    keepalive 512;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{site.http} backlog=4096;
    listen 127.0.0.1:{site.ecdsa} ssl backlog=4096;
    ssl_certificate {site.certificates.ecdsa.cert};
    ssl_certificate_key {site.certificates.ecdsa.key};
    {_NGINX_LOCATION}
  }}
  server {{
    listen 127.0.0.1:{site.rsa} ssl backlog=4096;
    ssl_certificate {site.certificates.rsa.cert};
    ssl_certificate_key {site.certificates.rsa.key};
    {_NGINX_LOCATION}
  }}
}}
""")
    return ["nginx", "-p", str(site.dir), "-c", str(config)]


# The body of an upload is passed on as it comes, as the others do; otherwise nginx writes 1 MiB to a file first.
_NGINX_LOCATION = """
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Request-Id $request_id;
      add_header X-Request-Id $request_id always;
    }
"""


def _haproxy(site: Site) -> list[str]:
    for name, pair in (("ecdsa", site.certificates.ecdsa), ("rsa", site.certificates.rsa)):
        (site.dir / f"{name}.pem").write_text(pair.cert.read_text() + pair.key.read_text())
    line = (
        '{"ts":%Ts.%ms,"request_id":"%ID","client_ip":"%ci","method":"%HM","path":"%[capture.req.uri,json(utf8s)]",'
        '"protocol":"%HV","upstream":"%b","target":"%s","status":%ST,"bytes_in":%U,"bytes_out":%B,"duration_ms":%Ta,'
        '"queue_ms":%Tw,"connect_ms":%Tc,"ttfb_ms":%Tr,"user_agent":"%[capture.req.hdr(0),json(utf8s)]"}'
    )
    config = site.dir / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
  maxconn 9500
  log stdout format raw local0 info
defaults
  mode http
  option dontlognull
  log global
  timeout client 75s
  timeout server 60s
  timeout connect 1s
  timeout http-keep-alive 75s
frontend front
  bind 127.0.0.1:{site.http} backlog 4096
  bind 127.0.0.1:{site.ecdsa} ssl crt {site.dir}/ecdsa.pem backlog 4096 alpn http/1.1
  bind 127.0.0.1:{site.rsa} ssl crt {site.dir}/rsa.pem backlog 4096 alpn http/1.1
  capture request header User-Agent len 128
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  option forwardfor
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-response set-header X-Request-Id %[unique-id]
  log-format '{line}'
  default_backend origin
backend origin
  http-reuse always
  server origin 127.0.0.1:{site.upstream_port} pool-purge-delay 60s
""")
    return ["haproxy", "-db", "-f", str(config)]


def _caddy(site: Site) -> list[str]:
    body = f"""
  log {{
    output file {site.access_log} {{
      roll_disabled
    }}
    format json
  }}
  header X-Request-Id {{http.request.uuid}}
  reverse_proxy 127.0.0.1:{site.upstream_port} {{
    header_up X-Request-Id {{http.request.uuid}}
    transport http {{
      keepalive_idle_conns_per_host 512
    }}
  }}
}}
"""
    head = "{\n  admin off\n  auto_https off\n  log {\n    output discard\n  }\n}\n"
    sites = f"http://127.0.0.1:{site.http} {{\n  bind 127.0.0.1{body}"
    for port, pair in ((site.ecdsa, site.certificates.ecdsa), (site.rsa, site.certificates.rsa)):
        sites += f"https://127.0.0.1:{port} {{\n  bind 127.0.0.1\n  tls {pair.cert} {pair.key}{body}"
    config = site.dir / "Caddyfile"
    config.write_text(head + sites)
    return ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]


def _aiohttp(site: Site) -> list[str]:
    certificates = site.certificates
    return [
        python(),
        str(Path(__file__).with_name("aiohttp_proxy.py")),
        f"--upstream=http://127.0.0.1:{site.upstream_port}",
        f"--log={site.access_log}",
        f"--http={site.http}",
        f"--tls={site.ecdsa},{certificates.ecdsa.cert},{certificates.ecdsa.key}",
        f"--tls={site.rsa},{certificates.rsa.cert},{certificates.rsa.key}",
    ]


def python() -> str:
    """The interpreter that has the gateway and aiohttp: the checkout's own, or the first on the path."""
    own = ROOT / ".venv" / "bin" / "python"
    return str(own) if own.exists() else "python3"


def builds(given: Sequence[str], default: str) -> dict[str, str]:
    """What `--ours [NAME=]COMMAND` said: the commands by name; without any, the checkout's."""
    commands = {}
    for each in given or [f"{python()} -m gateway"]:
        name, equals, command = each.partition("=")
        named = bool(equals) and name.isidentifier()
        commands[name if named else default] = command if named else each
    return commands
