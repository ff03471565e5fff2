"""What is wrong with an aggregate, found before anything is asked."""

import re
from difflib import get_close_matches
from typing import Any, Final

from gateway.decide.aggregate.combine import REPORT
from gateway.decide.aggregate.graph import dependencies, find_cycle, references_of, texts_of
from gateway.decide.aggregate.pick import pick_problem
from gateway.decide.aggregate.references import Place, Reference, members, parse_references, references_in
from gateway.decide.aggregate.settings import AggregateSettings, SourceSettings
from gateway.decide.route.path import PathError, normalise_path

Problems = list[tuple[Place, str]]
"""Each with the place of the key under `aggregate`."""

MERGES: Final = ("object", "flat", "list")
MAX_SOURCES: Final = 100
"""So many requests of ours may one of a client make."""
_OURS: Final = frozenset("host content-length transfer-encoding connection upgrade via x-request-id te trailer".split())
"""Fields that say how a message is framed or where it goes."""
_OF_THE_CLIENT: Final = {
    "accept-encoding": "answers have to come as they are to be merged",
    "content-encoding": "sources do not get the body of the client's request",
    "content-type": "sources do not get the body of the client's request",
    "expect": "sources do not get the body of the client's request",
    "range": "a part of an answer cannot be merged",
    "if-none-match": "304 has no answer to merge",
    "if-modified-since": "304 has no answer to merge",
}
_TARGET: Final = re.compile(r"/[!\"$-~]*").fullmatch
_DOTS_AT_REFERENCE: Final = re.compile(r"/\.{1,2}$")


def aggregate_problems(settings: AggregateSettings, params: frozenset[str]) -> Problems:
    """Every problem with its place: unknown names, cycles, paths, picks, fields.

    `params` are the names that every path of the route's match has. An aggregate with problems must not be built.
    """
    found: Problems = []
    names = [source.name for source in settings.sources]
    if not names:
        found.append((("sources",), "an aggregate needs at least one source"))
    if len(names) > MAX_SOURCES:
        found.append((("sources",), f"{len(names)} sources are more than the {MAX_SOURCES} an answer is made of"))
    for name in sorted({each for each in names if names.count(each) > 1}):
        found.append((("sources", name), f"there are two sources {name}"))
    for source in settings.sources:
        found += [(("sources", source.name, *at), why) for at, why in _source_problems(source, params, names)]
    found += _forward_problems(settings) + _shape_problems(settings, params, names)
    return found or _cycle_problems(settings)


def _source_problems(source: SourceSettings, params: frozenset[str], names: list[str]) -> Problems:
    found: Problems = []
    for at, text in texts_of(source):
        found += [((*at, *place), why) for place, why in _text_problems(text, params, names, own=source.name)]
    if not any(at == ("path",) for at, _ in found):
        found += [(("path",), why) for why in _path_problems(source.path)]
    if source.pick and (why := pick_problem(source.pick)):
        found.append((("pick",), why))
    for name, _ in source.headers:
        if name.lower() in _OURS:
            found.append((("headers", name), f"the gateway writes {name} itself"))
    if source.required and source.has_fallback:
        found.append((("fallback",), "a source is either required or has a fallback; keep one of the two"))
    if source.method == "HEAD":
        found.append((("method",), "an answer to HEAD has no body to merge; use GET"))
    if source.timeout_s is not None and source.timeout_s <= 0:
        found.append((("timeout",), "a timeout is longer than nothing"))
    return found


def _text_problems(value: Any, params: frozenset[str], names: list[str], own: str = "") -> Problems:
    """Of all texts in a JSON value."""
    if isinstance(value, str):
        try:
            pieces = parse_references(value)
        except ValueError as error:
            return [((), str(error))]
        return [
            ((), why) for each in pieces if isinstance(each, Reference) and (why := _unknown(each, params, names, own))
        ]
    found: Problems = []
    for key, inner in members(value):
        if isinstance(value, dict) and not isinstance(key, str):
            found.append(((key,), f"a member's name is a text; write {str(key)!r}"))
        found += [((key, *place), why) for place, why in _text_problems(inner, params, names, own)]
    return found


def _unknown(reference: Reference, params: frozenset[str], names: list[str], own: str) -> str:
    """Why a reference leads nowhere; empty where it does."""
    name = reference.name
    is_param = not reference.path and name in params
    if name in names:
        if is_param:
            return f"{reference} is a parameter and a source; give one of them another name"
        return f"{reference}: a source cannot wait for itself" if name == own else ""
    if is_param:
        return ""
    if name in params:
        return f"{reference}: a parameter is a text without members; write {{{name}}}"
    near = get_close_matches(name, [*names, *params], 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{reference}: no source and no parameter is named {name}{hint}; {_known(params, names, own)}"


def _known(params: frozenset[str], names: list[str], own: str) -> str:
    others = ", ".join(name for name in names if name != own) or "none"
    return f"sources: {others}; parameters: {', '.join(sorted(params)) or 'none'}"


def _path_problems(path: str) -> list[str]:
    """Of the literal parts; what references put in is checked when it is there."""
    pieces = parse_references(path)
    if not path.startswith("/"):
        hint = "not with a reference" if path[:1] == "{" else f"write /{path}"
        return [f"a path begins with /; {hint}"]
    whole = "".join(each if isinstance(each, str) else "x" for each in pieces)
    if not _TARGET(whole):
        return ["a path is printable ASCII without blanks and #; escape others, as in %20"]
    before = ""
    for each in pieces:
        if not isinstance(each, str):
            if "?" not in before and _DOTS_AT_REFERENCE.search(before):
                return ["the path has dots before a reference"]
            before += "x"
        else:
            before += each
    return _not_normal(whole.partition("?")[0])


def _not_normal(path: str) -> list[str]:
    try:
        normal = normalise_path(path)
    except PathError as error:
        return [str(error)]
    return [] if normal == path else [f"the path has dot segments or needless escapes; perhaps {normal}"]


def _forward_problems(settings: AggregateSettings) -> Problems:
    found: Problems = []
    for index, name in enumerate(settings.forward):
        if name.lower() in _OURS:
            found.append((("forward", index), f"the gateway writes {name} itself"))
        elif why := _OF_THE_CLIENT.get(name.lower()):
            found.append((("forward", index), f"{name} cannot go to sources: {why}"))
    return found


def _shape_problems(settings: AggregateSettings, params: frozenset[str], names: list[str]) -> Problems:
    if settings.merge not in MERGES:
        return [(("merge",), f"merge is one of {', '.join(MERGES)}")]
    shape = settings.shape
    if shape is None:
        return []
    if not isinstance(shape, dict | list):
        return [(("shape",), "a shape is a mapping or a list")]
    found: Problems = [(("shape", *at), why) for at, why in _text_problems(shape, params, names)]
    if isinstance(shape, dict) and REPORT in shape:
        found.append((("shape", REPORT), f"{REPORT} is where the gateway says what is missing"))
    if not found and not any(each.name in names for _, each in references_in(shape)):
        found.append((("shape",), "the shape refers to no source"))
    return found


def _cycle_problems(settings: AggregateSettings) -> Problems:
    cycle = find_cycle(dependencies(settings))
    if not cycle:
        return []
    first, following = cycle[0], cycle[1]
    source = next(each for each in settings.sources if each.name == first)
    at = next(at for at, each in references_of(source) if each.name == following)
    ring = " waits for ".join((*cycle, first))
    return [(("sources", first, *at), f"these sources wait for each other: {ring}")]
