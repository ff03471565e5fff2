"""The config as it may be shown: plain values, secrets as `***`."""

import re
from typing import Any

from gateway.config.lines import Value

HIDDEN = "***"
_SECRET_KEY = re.compile(r"token|secret|passw|authorization|cookie|api[-_]?key|credential", re.IGNORECASE).search


def redact(value: Value, secrets: set[str]) -> Any:
    """A plain copy. Hidden are: values of keys that sound secret, values read from `{file: ...}`, and wherever they
    stand the `secrets` (values of environment variables that sound secret)."""
    if isinstance(value, dict):
        if set(value) == {"file"}:
            return HIDDEN
        return {key: HIDDEN if _hides(key, item) else redact(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [redact(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, HIDDEN)
    return value


def _hides(key: str, value: Value) -> bool:
    return not isinstance(value, (dict, list)) and bool(_SECRET_KEY(key))
