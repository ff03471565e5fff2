"""The admin address: health, status, config, metrics, drain, and a dashboard."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from aiohttp import hdrs, web

from gateway.admin.collector import Metrics
from gateway.admin.guard import guard
from gateway.admin.problem import problem, problems
from gateway.admin.state import AdminState
from gateway.admin.status import Json, status
from gateway.admin.totals import Totals
from gateway.core.json import dumps_pretty

_T = TypeVar("_T")

_DASHBOARD = Path(__file__).with_name("dashboard.html")


def build_app(state: AdminState) -> web.Application:
    """The application to serve on `settings.admin.address`."""
    views = _Views(state)
    app = web.Application(middlewares=[problems, guard(state)], client_max_size=64 * 1024)
    app.on_response_prepare.append(_mark)
    app.on_cleanup.append(views.close)
    app.add_routes(
        [
            web.get("/", views.dashboard),
            web.get("/healthz", views.healthz),
            web.get("/readyz", views.readyz),
            web.get("/status", views.status),
            web.get("/config", views.config),
            web.get("/metrics", views.metrics),
            web.post("/drain", views.drain),
            web.post("/upstreams/{name}/targets/{address}/{call:drain|undrain}", views.drain_target),
            web.post("/reload", views.reload),
        ]
    )
    return app


class _Views:
    def __init__(self, state: AdminState) -> None:
        self._state = state
        self._totals = Totals()
        self._metrics = Metrics(state, self._totals)
        # one thread: readings come one after the other, and health is answered beside them; it is as nice as its maker
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="admin-reader")
        self._dashboard = _DASHBOARD.read_bytes()
        self._dashboard_policy = _policy(self._dashboard)

    async def close(self, _: web.Application) -> None:
        self._reader.shutdown(wait=False)

    async def _read(self, read: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, read)

    async def dashboard(self, _: web.Request) -> web.Response:
        answer = web.Response(body=self._dashboard, content_type="text/html", charset="utf-8")
        answer.headers["Content-Security-Policy"] = self._dashboard_policy
        return answer

    async def healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        now = time.monotonic()
        if self._state.draining:
            return web.Response(status=503, text="draining\n")
        if not any(slot.serves(now) for slot in self._state.slots):
            return web.Response(status=503, text="no worker serves\n")
        return web.Response(text="ready\n" + "".join(f"degraded: {each}\n" for each in self._degraded()))

    def _degraded(self) -> list[str]:
        """What does less than it was made for. The answer stays 200: all other routes work as ever."""
        executors = self._state.settings.executors
        return [
            f"executor {executors[place].name} (worker {slot.index})"
            for slot in self._state.slots
            if slot.alive()
            for place in slot.degraded
            if place < len(executors)  # just after a reload, a worker may still tell of those of before
        ]

    async def status(self, _: web.Request) -> web.Response:
        return await self._read(self._status)

    def _status(self) -> web.Response:
        return _json(self._document())

    def _document(self) -> Json:
        reading = self._totals.read(self._state.slots)
        return status(self._state, reading, time.monotonic(), time.time())

    async def config(self, _: web.Request) -> web.Response:
        return _json(self._state.settings.redacted)

    async def metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get(hdrs.ACCEPT, "")
        body, content_type = await self._read(lambda: self._metrics.render(accept))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    async def drain(self, _: web.Request) -> web.Response:
        self._state.drain()
        return _json({"state": "draining"}, status=202)

    async def drain_target(self, request: web.Request) -> web.Response:
        """Take a target out of balancing, or back in; what is under way there finishes."""
        name, address = request.match_info["name"], request.match_info["address"]
        known = {each["name"]: each["targets"] for each in (await self._read(self._document))["upstreams"]}
        if name not in known:
            return problem(404, f"There is no upstream {name[:100]!r}.")
        labels = [each["address"] for each in known[name]]
        if address not in labels:
            return problem(404, f"{name} has no target {address[:100]!r}. It has: {', '.join(labels[:20])}.")
        drained = request.match_info["call"] == "drain"
        await asyncio.wrap_future(self._state.drain_target(name, address, drained))
        return _json({"upstream": name, "target": address, "drained": drained})

    async def reload(self, _: web.Request) -> web.Response:
        done = await asyncio.wrap_future(self._state.reload())
        if done.errors:
            detail = "Nothing changed: the config cannot be used as it is."
            return problem(422, detail, errors=list(done.errors))
        return _json({"changed": done.changed, "warnings": list(done.warnings)})


def _policy(page: bytes) -> str:
    """The Content-Security-Policy under which nothing but the page's own script and style runs."""

    def sources(tag: bytes) -> str:
        inline = page.partition(b"<" + tag + b">")[2].partition(b"</" + tag + b">")[0]
        return f"'sha256-{b64encode(sha256(inline).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {sources(b'script')}; style-src {sources(b'style')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=dumps_pretty(document), content_type="application/json")


async def _mark(_: web.Request, response: web.StreamResponse) -> None:
    """Fields of every answer: none of them is for a cache or for a guess at its type."""
    response.headers[hdrs.SERVER] = "floodgate"
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
