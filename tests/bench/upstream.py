"""The upstream behind every proxy: one nginx worker on the core of the load generator."""

from pathlib import Path

from processes import Process, free_ports

MIB = 1024 * 1024


class Upstream:
    """`/` a small JSON answer, `/download` 1 MiB of a file, `/upload` reads the body whole, `/echo` what it saw."""

    def __init__(self, directory: Path, core: int) -> None:
        directory.mkdir()
        (self.port,) = free_ports(1)
        (directory / "download").write_bytes(bytes(range(256)) * (MIB // 256))
        config = directory / "nginx.conf"
        config.write_text(_config(directory, self.port))
        self._process = Process(["nginx", "-p", str(directory), "-c", str(config)], directory / "output.log", core=core)
        self._process.wait_listening(self.port)

    def stop(self) -> None:
        self._process.stop()


# `return` answers before a long body has come. So that an upload is an upload, its body is first read into memory
# on the way to a second server of the same nginx.
def _config(directory: Path, port: int) -> str:
    return f"""
user root;
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 15000; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_timeout 75s;
  keepalive_requests 100000000;
  client_max_body_size 0;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  upstream sink {{ server unix:{directory}/sink; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen unix:{directory}/sink;
    location / {{ return 200 '{{"stored":true}}'; }}
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{{"id":42,"symbol":"ACME","price":101.25,"quantity":7,"state":"open"}}'; }}
    location = /echo {{
      return 200 '{{"id":"$http_x_request_id","for":"$http_x_forwarded_for","proto":"$http_x_forwarded_proto"}}';
    }}
    location = /download {{ root {directory}; sendfile on; }}
    location = /upload {{
      client_body_buffer_size 2m;
      proxy_pass http://sink;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
  }}
}}
"""
