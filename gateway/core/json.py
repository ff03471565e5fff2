"""The one door to orjson."""

from typing import Any, Final

import orjson

JSONDecodeError = orjson.JSONDecodeError
Fragment = orjson.Fragment
"""Of bytes that are JSON already: `dumps` puts them in as they are."""

_dumps: Final = orjson.dumps
_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE


def dumps(value: Any) -> bytes:
    """`value` as compact JSON bytes (UTF-8)."""
    return orjson.dumps(value)


def dumps_line(value: Any) -> bytes:
    """`value` as one line of compact JSON, newline included."""
    return _dumps(value, None, _NEWLINE)


def dumps_pretty(value: Any) -> bytes:
    """`value` as indented JSON bytes with a final newline."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def loads(data: bytes | str) -> Any:
    """The value of a JSON text. Raises JSONDecodeError."""
    return orjson.loads(data)
