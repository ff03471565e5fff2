"""The types of values in the model: what a scalar must look like, and the error when it does not."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from gateway.config.problems import did_you_mean
from gateway.config.units import (
    UnitError,
    format_duration,
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)
from gateway.core.address import Address, parse_address

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_FIELD_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?").fullmatch
_HERE = {"directory": Path()}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}").fullmatch


def fault(message: str, *, fix: str = "", hint: str = "") -> PydanticCustomError:
    """The error a validator raises. `fix` is the value to write instead, `hint` any other suggestion."""
    return PydanticCustomError("gateway", "{message}", {"message": message, "fix": fix, "hint": hint})


@dataclass(frozen=True, slots=True)
class Rule:
    """Metadata of an `Annotated` type: how a value is checked, and its JSON Schema."""

    check: Callable[[Any, Path], Any]
    """Gets the value and the directory that paths are relative to."""
    schema: dict[str, Any]
    show: Callable[[Any], Any] = str
    """The value as it is written in the YAML."""

    def __get_pydantic_core_schema__(self, _type: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            lambda value, info: self.check(value, (info.context or _HERE)["directory"])
        )

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self.schema)


def _with_units(parse: Callable[[Any], Any], example: str, *, off: bool = False, positive: bool = False) -> Rule:
    """A quantity with its unit; with `off`, that word gives None."""

    def check(value: Any, _: Path) -> Any:
        if off and value == "off":
            return None
        try:
            parsed = parse(value)
        except UnitError as error:
            raise fault(error.message, fix=error.fix) from None
        if positive and not parsed:
            raise fault("must be more than zero", hint="write off for no limit" if off else "")
        return parsed

    pattern, show = _UNITS[parse]
    quantity = {"type": "string", "pattern": pattern, "examples": [example]}
    schema = {"anyOf": [quantity, {"const": "off"}]} if off else quantity
    return Rule(check, schema, lambda value: "off" if value is None else show(value))


_UNITS: dict[Callable[[Any], Any], tuple[str, Callable[[Any], str]]] = {
    parse_duration: (r"^[0-9.]+(ms|s|m|h|d)$", format_duration),
    parse_size: (r"^[0-9.]+(B|KiB|MiB|GiB|TiB)$", format_size),
    parse_share: (r"^[0-9.]+%$", format_share),
}

Wait = Annotated[float, _with_units(parse_duration, "0s")]
"""A duration that may be zero."""
Duration = Annotated[float, _with_units(parse_duration, "2s", positive=True)]
DurationOrOff = Annotated[float | None, _with_units(parse_duration, "2s", off=True, positive=True)]
Size = Annotated[int, _with_units(parse_size, "64KiB")]
PositiveSize = Annotated[int, _with_units(parse_size, "64KiB", positive=True)]
SizeOrOff = Annotated[int | None, _with_units(parse_size, "1MiB", off=True)]
Share = Annotated[float, _with_units(parse_share, "20%")]
PositiveShare = Annotated[float, _with_units(parse_share, "20%", positive=True)]
ShareOrOff = Annotated[float | None, _with_units(parse_share, "85%", off=True, positive=True)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


def text(check: Callable[[str], Any], what: str, example: str) -> Rule:
    """A string that `check` turns into a value; its ValueError is the message."""

    def checked(value: Any, _: Path) -> Any:
        if not isinstance(value, str):
            raise wrong_kind(value, what, quotable=True)
        try:
            return check(value)
        except PydanticCustomError:
            raise
        except ValueError as error:
            raise fault(str(error)) from None

    return Rule(checked, {"type": "string", "examples": [example]})


def wrong_kind(value: Any, wanted: str, *, quotable: bool = False) -> PydanticCustomError:
    """`needs {wanted}; this is ...`, with the cure for the usual slip; `quotable` where any text will do."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value.values())) is None:
        word = f"{{{next(iter(value))}}}"
        return fault(f"needs {wanted}; without quotes {word} is a mapping", hint=f'quote it: "{word}"')
    if isinstance(value, (bool, int, float)):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        hint = f'quote it if it is text: "{shown}"' if quotable else ""
        return fault(f"needs {wanted}; {shown} is {kind_of(value)}", hint=hint)
    return fault(f"needs {wanted}; this is {kind_of(value)}")


def kind_of(value: Any) -> str:
    """What a person calls it."""
    if isinstance(value, bool):
        return "true or false"
    kinds = {int: "a number", float: "a number", str: "text", dict: "a mapping", list: "a list"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "nothing")


def one_of(*names: str) -> Rule:
    """One of a few words."""

    def check(value: Any, _: Path) -> str:
        # `min: 1.2` reads as a number, and nobody means another 1.2.
        word = str(value) if isinstance(value, float) else value
        if isinstance(word, str) and word in names:
            return word
        known = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
        shown = str(value)[:40] if isinstance(value, (str, int, float)) else kind_of(value)
        raise fault(f"must be {known}; found {shown!r}", hint=did_you_mean(shown, names))

    return Rule(check, {"enum": list(names)})


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network; write one such as 10.0.0.0/8 or 192.0.2.7") from None
    raise fault(f"{text!r} has bits set beyond its prefix", fix=str(wider))


def _name(text: str) -> str:
    if not _NAME(text):
        raise ValueError("a name is made of letters, digits, `_`, `.` and `-`, and begins with a letter or digit")
    return text


def header_name(text: str) -> str:
    """A field name (RFC 9110 5.1)."""
    if not _TOKEN(text):
        raise ValueError(f"{text[:40]!r} is not the name of a header")
    return text


def header_value(value: Any) -> str:
    """A field value of visible ASCII; a whole number is taken as it is written."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise wrong_kind(value, "the value of a header", quotable=True)
    if not _FIELD_VALUE(value):
        raise fault("a header's value is printable ASCII without blanks at its ends")
    return value


class OneOrMany:
    """Metadata of a list for which a single item may be written."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, list) else self.single(value), handler(source)
        )

    def single(self, value: Any) -> list[Any]:
        """The list that a single value stands for."""
        return [value]

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


def secret(check: Callable[[Any], str]) -> Rule:
    """A value that may be kept in a file of its own: `{file: path}`, without the newline at its end."""

    def checked(value: Any, directory: Path) -> str:
        if not (isinstance(value, dict) and set(value) == {"file"} and isinstance(value["file"], str)):
            return check(value)
        path = directory / value["file"]
        try:
            return check(path.read_text("utf-8").rstrip("\r\n"))
        except OSError as error:
            raise fault(f"cannot read {path}: {reason(error)}") from None
        except ValueError:
            raise fault(f"{path} is not UTF-8 text") from None

    in_file = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}
    return Rule(checked, {"anyOf": [{"type": ["string", "integer"]}, in_file | {"additionalProperties": False}]})


def reason(error: OSError) -> str:
    """`no such file or directory`."""
    return (error.strerror or str(error)).lower()


def _not_empty(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_kind(value, "text", quotable=True)
    if not value or "\0" in value:
        raise fault("has a NUL" if value else "is empty", hint="remove the key or give it a value")
    return value


Network = Annotated[str, text(_network, "a network", "10.0.0.0/8")]
ListenAddress = Annotated[Address, text(parse_address, "an address", "127.0.0.1:8080")]
Name = Annotated[str, text(_name, "a name", "orders")]
FilePath = Annotated[str, text(_not_empty, "the path of a file", "server.pem")]
HeaderName = Annotated[str, text(header_name, "the name of a header", "x-tier")]
HeaderValue = Annotated[str, secret(header_value)]
Secret = Annotated[str, secret(_not_empty)]


class CommaList(OneOrMany):
    """Metadata of a list that may be written as one string with commas."""

    def single(self, value: Any) -> list[Any]:
        return value.split(",") if isinstance(value, str) else [value]
