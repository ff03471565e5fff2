"""A Flask application, as people write them, with what a test needs to look into it."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

from flask import Flask, Response, abort, jsonify, request, session, stream_with_context, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.secret_key = "not secret"
app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign] # as behind any proxy before this one

notes: list[str] = []
"""What happened, for GET /notes."""
gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
made = 0


@app.get("/hello/<name>")
def hello(name: str) -> Response:
    return jsonify(hello=name, ip=request.remote_addr, here=url_for("hello", name=name), url=request.url)


@app.route("/echo", methods=["POST", "PUT"])
def echo() -> Response:
    return Response(request.get_data(), headers={"X-Length": str(request.content_length)})


@app.get("/environ")
def environ() -> Response:
    shown = {key: value for key, value in request.environ.items() if isinstance(value, str | int | bool | tuple)}
    return Response(json.dumps(shown), content_type="application/json")


@app.get("/login")
def login() -> Response:
    session["visits"] = session.get("visits", 0) + 1
    response = jsonify(visits=session["visits"])
    response.set_cookie("second", "2")
    return response


@app.get("/teapot")
def teapot() -> Response:
    abort(418)


@app.get("/raises")
def raises() -> Response:
    raise LookupError("a secret detail")


@app.get("/gated/<name>")
def gated(name: str) -> Response:
    """Three lines, the next when the gate was opened once more."""

    def lines() -> Iterator[str]:
        for number in range(3):
            yield f"{number} of {request.path}\n"
            gates[name].wait(20)
            gates[name].clear()

    return Response(stream_with_context(lines()), content_type="text/plain")


@app.post("/open/<name>")
def open_gate(name: str) -> str:
    gates[name].set()
    return "open"


@app.get("/large/<int:mib>")
def large(mib: int) -> Response:
    global made  # noqa: PLW0603
    made = 0

    def pieces() -> Iterator[bytes]:
        global made  # noqa: PLW0603
        try:
            for number in range(mib * 16):
                made += 1
                yield bytes([number % 251]) * 65536
        finally:
            notes.append("large closed")

    response = Response(pieces(), content_type="application/octet-stream")
    response.call_on_close(lambda: notes.append("response closed"))
    return response


@app.get("/slow/<int:ms>")
def slow(ms: int) -> str:
    notes.append("slow began")
    time.sleep(ms / 1000)
    notes.append("slow ended")
    return "slow"


@app.get("/notes")
def tell_notes() -> Response:
    return jsonify(notes=notes, made=made, threads=sorted(each.name for each in threading.enumerate()))


@app.post("/forget")
def forget() -> str:
    notes.clear()
    return "forgotten"
