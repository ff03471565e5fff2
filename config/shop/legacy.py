"""A Flask application as it may have stood on a server of its own for years: it runs inside the gateway.

It knows nothing of that. Its calls run on threads; bodies are read before it is called and sent after it is done, so
that a slow client holds none of them.
"""

import threading

from flask import Flask, request, url_for
from flask.typing import ResponseReturnValue

app = Flask(__name__)


@app.get("/")
def home() -> str:
    """With a link that leads back through the gateway: the route's `strip` is Flask's SCRIPT_NAME."""
    return f'<a href="{url_for("invoice", number=7)}">invoice 7</a>\n'


@app.get("/invoices/<int:number>")
def invoice(number: int) -> ResponseReturnValue:
    return {"invoice": number, "client": request.remote_addr, "thread": threading.current_thread().name}


@app.post("/invoices")
def pay() -> ResponseReturnValue:
    return {"paid": request.get_json()["invoice"]}, 201
