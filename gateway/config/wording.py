"""pydantic's errors in our words, with their places in the files."""

from collections.abc import Callable
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gateway.config.lines import Found, KeyPath, Place, Source, Value, locate, path_text
from gateway.config.problems import Problem, did_you_mean
from gateway.config.types import kind_of

_KEY = "[key]"
"""How pydantic marks that a key of a mapping, not its value, is wrong."""


def problems_of(error: ValidationError, model: type[BaseModel], root: Value, whole: Source) -> list[Problem]:
    """One Problem for each error; `whole` is the file to name where nothing more exact is known."""
    errors = error.errors(include_url=False)
    unknown = [item for item in errors if item["type"] == "extra_forbidden"]
    problems = []
    meant: set[KeyPath] = set()
    for item in unknown:
        *parent, key = item["loc"]
        hint = did_you_mean(str(key), known_keys(model, tuple(parent)))
        if hint:
            meant.add((*parent, hint.removeprefix("did you mean ").removesuffix("?")))
        elif item["input"] is None and set(str(key)) & set("/ "):
            hint = "inside {...} a comma ends a value; quote the whole of it"
        found = locate(root, item["loc"])
        problems.append(Problem(_key_place(found, whole), path_text(found.path), "unknown key", hint))
    for item in errors:
        if item["type"] == "extra_forbidden" or (item["type"] == "missing" and item["loc"] in meant):
            continue
        problems.append(_problem(dict(item), root, whole))
    return problems


def known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that the mapping at `path` may have."""
    kind: Any = model
    for part in path:
        kind = _inside(kind, part)
    return _keys(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _inside(kind: Any, part: str | int) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if part == (field.alias or name):
                return _bare(field.annotation)
        return None
    arguments = get_args(kind)
    return _bare(arguments[-1]) if arguments else None


def _bare(kind: Any) -> Any:
    """Without None."""
    if get_origin(kind) in (Union, UnionType):
        kind = next(argument for argument in get_args(kind) if argument is not type(None))
    return kind


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _problem(item: dict[str, Any], root: Value, whole: Source) -> Problem:
    path: KeyPath = item["loc"]
    of_key = bool(path) and path[-1] == _KEY
    if of_key:
        path = path[:-1]
    found = locate(root, path)
    if item["type"] == "missing":
        return _missing(found, path, whole)
    key = path_text(found.path)
    if item["input"] is None and found.whole and not of_key:
        message = "has no value"
        return Problem(_key_place(found, whole), key, message, "give it one, or remove the key")
    message, hint = _fault(item, found.path)
    place = _key_place(found, whole) if of_key else _value_place(found, whole)
    return Problem(place, key, message, hint)


def _missing(found: Found, path: KeyPath, whole: Source) -> Problem:
    place = _key_place(found, whole)
    if path == ("routes",):
        return Problem(place, "routes", "a config needs routes", "such as routes: [{match: /*, to: orders}]")
    return Problem(place, path_text(found.path), f"needs the key `{path[-1]}`")


def _fault(item: dict[str, Any], path: KeyPath) -> tuple[str, str]:
    """The message and the suggestion."""
    details = item.get("ctx", {})
    if item["type"] == "gateway":
        fix, hint = details["fix"], details["hint"]
        if fix:
            key = f"{path[-1]}: " if path and isinstance(path[-1], str) else ""
            hint = f"write `{key}{fix}`"
        return details["message"], hint
    word = _WORDS.get(item["type"])
    return word(item["input"], details) if word else (str(item["msg"]), "")


def _kind(wanted: str) -> Callable[[Any, dict[str, Any]], tuple[str, str]]:
    def word(value: Any, _: dict[str, Any]) -> tuple[str, str]:
        return f"needs {wanted}; this is {kind_of(value)}", ""

    return word


def _integer(value: Any, _: dict[str, Any]) -> tuple[str, str]:
    quoted = isinstance(value, str) and value.isdecimal()
    hint = f"remove the quotes: {value}" if quoted else ""
    return f"needs a whole number; this is {kind_of(value)}", hint


def _boolean(value: Any, _: dict[str, Any]) -> tuple[str, str]:
    word = str(value).lower()
    meant = "true" if word in ("yes", "on", "y", "1") else "false" if word in ("no", "off", "n", "0") else ""
    return "needs true or false", f"did you mean {meant}?" if meant else ""


_WORDS: dict[str, Callable[[Any, dict[str, Any]], tuple[str, str]]] = {
    "int_type": _integer,
    "bool_type": _boolean,
    "string_type": _kind("text"),
    "list_type": _kind("a list"),
    "dict_type": _kind("a mapping"),
    "greater_than_equal": lambda _, details: (f"must be at least {details['ge']}", ""),
    "less_than_equal": lambda _, details: (f"must be at most {details['le']}", ""),
    "string_too_short": lambda _, details: ("is empty", ""),
    "string_too_long": lambda _, details: (f"is longer than {details['max_length']} characters", ""),
}


def _key_place(found: Found, whole: Source) -> Place:
    return found.mark.key if found.mark else Place(whole, 1, 1)


def _value_place(found: Found, whole: Source) -> Place:
    return found.mark.value if found.mark else Place(whole, 1, 1)
