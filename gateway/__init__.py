"""Floodgate: a hybrid asyncio + thread-pool API gateway."""

__version__ = "0.1.0"
