"""The application of wsgi.yaml (pip install flask)."""

import time

from flask import Flask, Response, jsonify, request, url_for

app = Flask(__name__)


@app.get("/")
def home() -> str:
    return f'<a href="{url_for("hello", name="you")}">hello</a>'


@app.get("/hello/<name>")
def hello(name: str) -> str:
    time.sleep(0.01)  # blocks its thread, and nobody else
    return f"hello {name}\n"


@app.post("/echo")
def echo() -> Response:
    return jsonify(request.get_json())
