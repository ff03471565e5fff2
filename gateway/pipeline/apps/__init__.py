"""Whole WSGI and ASGI applications that answer a route in process."""
