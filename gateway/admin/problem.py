"""Errors of the admin address as problem documents (RFC 9457)."""

import logging
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.core.json import dumps_pretty

_log = logging.getLogger(__name__)


def problem(status: int, detail: str, **more: object) -> web.Response:
    document = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return web.Response(status=status, body=dumps_pretty(document), content_type="application/problem+json")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what aiohttp raises, and our own mistakes, into problem documents."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        answer = problem(405, f"{request.path} takes {', '.join(sorted(error.allowed_methods))}.")
        answer.headers[hdrs.ALLOW] = ", ".join(sorted(error.allowed_methods))
        return answer
    except web.HTTPNotFound:
        return problem(
            404,
            "There is: / /healthz /readyz /status /config /metrics, and POST /drain, /reload, "
            "/upstreams/{name}/targets/{address}/drain and .../undrain.",
        )
    except web.HTTPException as error:
        return problem(error.status, error.reason)
    except Exception:
        _log.exception("admin address: %s %s failed", request.method, request.path)
        return problem(500, "It failed; the gateway's log says why.")
