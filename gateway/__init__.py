"""Floodgate: a hybrid asyncio + thread-pool API gateway."""

from gateway.core.message import Fetched, FetchError, Headers, Request, Response

__all__ = ["FetchError", "Fetched", "Headers", "Request", "Response", "__version__", "compiled"]

__version__ = "0.1.0"

compiled: bool = not __file__.endswith(".py")
"""Whether the modules of the request path run as machine code; pyproject.toml says how to build that."""
