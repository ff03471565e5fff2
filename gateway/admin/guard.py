"""Who may ask what of the admin address.

named in `admin.open`, and only reading   anybody
with a token configured                   whoever sends it
without one, on loopback                  programs of this machine; not a browser page of another site, even
                                          where that site's name was made to resolve to 127.0.0.1
without one, elsewhere                    nobody
"""

import hmac
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.admin.problem import problem
from gateway.admin.state import AdminState

_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


def guard(state: AdminState) -> Middleware:
    """The middleware that refuses everybody else."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        return refusal(request, state) or await handler(request)

    return middleware


def refusal(request: web.Request, state: AdminState) -> web.Response | None:
    """The answer to a request that is not allowed; None for one that is."""
    settings = state.settings.admin
    name = request.path.strip("/").partition("/")[0]
    # the dashboard is a static page that says nothing; what it reads is guarded
    if request.method in _READING and (not name or name in settings.open):
        return None
    if settings.token:
        return None if _has_token(request, settings.token) else _unauthorized()
    if not settings.address.is_loopback:
        return problem(403, f"Set admin.token: without it, {settings.address} answers only what is open.")
    if not _is_loopback_name(request.headers.get(hdrs.HOST, "")):
        return problem(403, "The Host field is not a loopback address: ask 127.0.0.1 itself.")
    if _is_foreign(request):
        return problem(403, "A page of another origin may not ask this.")
    return None


def _has_token(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _unauthorized() -> web.Response:
    answer = problem(401, "Send the admin token: Authorization: Bearer <admin.token>.")
    answer.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return answer


def _is_loopback_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    octets = name.split(".")
    is_127 = len(octets) == 4 and octets[0] == "127" and all(octet.isdecimal() for octet in octets)
    return name in ("localhost", "::1") or is_127


def _is_foreign(request: web.Request) -> bool:
    """True if a browser says that another site asks."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and origin.partition("://")[2] != request.headers.get(hdrs.HOST)
