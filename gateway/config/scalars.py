"""Scalars: `${VAR}` and `${VAR:-default}` in parsed text, then the YAML 1.2 core schema.

No `yes`, no `on`, no octal `010`, no sexagesimal `1:30`: those are text or decimal numbers.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\})?")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}").fullmatch
_BASED = re.compile(r"0(?:o[0-7]{1,20}|x[0-9a-fA-F]{1,15})").fullmatch
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,3})?").fullmatch
_WORDS: Mapping[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("+-.0123456789")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL|AUTH", re.IGNORECASE).search


class ScalarError(Exception):
    """A scalar that cannot be read."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


class Variables:
    """The environment, and which of its values are secret (to be shown as `***`)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.secrets: set[str] = set()

    def scalar(self, text: str, plain: bool) -> str | int | float | bool | None:
        """The value of a scalar; one that is quoted (not `plain`) is always text."""
        if "${" in text:
            text = _REFERENCE.sub(self._expand, text)
        return resolve(text) if plain else text

    def _expand(self, found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name: str | None = found[1]
        if name is None:
            raise ScalarError("`${` begins a variable such as ${NAME} or ${NAME:-default}", "write $${ for a plain ${")
        value = self._environment.get(name)
        # As in a shell, `:-` also stands in for an empty value.
        if not value and found[2]:
            return found[3] or ""
        if value is None:
            raise ScalarError(f"the environment variable {name} is not set", f"set it, or write ${{{name}:-default}}")
        if value and _SECRET_NAME(name):
            self.secrets.add(value)
        return value


def resolve(text: str) -> str | int | float | bool | None:
    """A plain scalar by the core schema of YAML 1.2 (chapter 10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER(text):
        return int(text)
    if _BASED(text):
        return int(text, 0)
    return float(text) if _FLOAT(text) else text
