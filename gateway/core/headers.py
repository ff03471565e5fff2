"""Header fields as the users' Python sees them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch


class Headers:
    """Header fields: names in any case, repeated ones kept in their order (RFC 9110 section 5)."""

    __slots__ = ("_lines",)

    def __init__(self, fields: "Mapping[str, str] | Iterable[tuple[str, str]] | Headers" = ()) -> None:
        """Raises ValueError on a name that is no token, or a value that could end its line."""
        self._lines: list[tuple[str, str]] = []
        pairs = fields.items() if isinstance(fields, (Headers, Mapping)) else fields
        for name, value in pairs:
            self.add(name, value)

    @classmethod
    def of_checked(cls, lines: Iterable[tuple[str, str]]) -> "Headers":
        """Of fields that passed the gateway's own grammar."""
        headers = cls()
        headers._lines = list(lines)
        return headers

    def add(self, name: str, value: str) -> None:
        """One more field, beside those of the same name. Raises ValueError."""
        if _NAME(name) is None:
            raise ValueError(f"{name!r} is not the name of a header field")
        if _VALUE(value) is None:
            raise ValueError(f"the value of {name} holds a character that no header field can: {value!r}")
        self._lines.append((name, value.strip(" \t")))

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value; repeated fields are joined with a comma (RFC 9110 section 5.3)."""
        found = self.get_all(name)
        return ", ".join(found) if found else default

    def get_all(self, name: str) -> list[str]:
        """The values of all fields of that name."""
        key = name.lower()
        return [value for known, value in self._lines if known.lower() == key]

    def items(self) -> list[tuple[str, str]]:
        """(name as written, value), in order."""
        return list(self._lines)

    def setdefault(self, name: str, value: str) -> None:
        """Add the field where there is none of that name. Raises ValueError."""
        if name not in self:
            self.add(name, value)

    def copy(self) -> "Headers":
        """The same fields, to be changed apart."""
        return Headers.of_checked(self._lines)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        """Replace all fields of that name. Raises ValueError."""
        one = Headers([(name, value)])
        self.pop(name)
        self._lines += one._lines

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.pop(name)

    def pop(self, name: str) -> str | None:
        """Take the fields of that name out; their value."""
        value, key = self.get(name), name.lower()
        self._lines = [line for line in self._lines if line[0].lower() != key]
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(known.lower() == name.lower() for known, _ in self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._lines))

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._lines == other._lines

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._lines!r})"
