"""In which form the client wants the answer: whole, or each source as it arrives (RFC 9110 section 12.5.1)."""

import re
from typing import Final, Literal

Form = Literal["json", "sse", "ndjson"]
_TYPES: Final[tuple[tuple[Form, str], ...]] = (
    ("json", "application/json"),
    ("sse", "text/event-stream"),
    ("ndjson", "application/x-ndjson"),
)
"""The earlier of two that are wanted alike."""
_WEIGHT: Final = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE).fullmatch


def wanted_form(accept: str | None) -> Form:
    """The form of the highest weight; of equal ones what was named over what a `*` covers, JSON over streams.
    A stream has to be named.

    Where none of the three is acceptable it is JSON: an answer that is not liked beats none.
    """
    if accept is None:
        return "json"
    lower = accept.lower()
    return _negotiated(lower) if "event-stream" in lower or "ndjson" in lower else "json"


def _negotiated(accept: str) -> Form:
    ranges = dict(_range(each) for each in accept.split(",") if each.strip())
    best: Form = "json"
    best_rank = (0.0, -1)
    for form, kind in _TYPES:
        rank = _rank(kind, ranges)
        if rank[0] > 0.0 and rank > best_rank:
            best, best_rank = form, rank
    return best


def _range(text: str) -> tuple[str, float]:
    """A media range without its parameters, and its weight; 0 where the weight is none."""
    kind, *parameters = text.split(";")
    for each in parameters:
        if each.strip().startswith("q="):
            found = _WEIGHT(each)
            return kind.strip(), float(found[1]) if found else 0.0
    return kind.strip(), 1.0


def _rank(kind: str, ranges: dict[str, float]) -> tuple[float, int]:
    """The weight of a type, by the most specific range that covers it, and how specific that is."""
    for specific, candidate in ((2, kind), (1, f"{kind.partition('/')[0]}/*"), (0, "*/*")):
        if candidate in ranges:
            return ranges[candidate], specific
    return 0.0, -1
