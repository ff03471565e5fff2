"""JSON Schema of the config, for editors: short forms, units, defaults as they are written, `${VAR}`."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.config.model import Config
from gateway.config.model_base import UNSET
from gateway.config.types import Rule

_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
"""Stands wherever a number, a word of a list or true/false does."""


def json_schema() -> dict[str, Any]:
    """The schema of a whole file (draft 2020-12). Included files have the same keys, none of them required."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Floodgate"
    for model in models():
        _write_defaults(model, schema if model is Config else schema["$defs"][model.__name__])
    written: dict[str, Any] = _with_variables(schema)
    return written


def models() -> list[type[BaseModel]]:
    """Every model of the config."""
    found: dict[type[BaseModel], None] = {Config: None}
    for model in found.copy():
        _collect(model, found)
    return list(found)


def _collect(model: type[BaseModel], found: dict[type[BaseModel], None]) -> None:
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            if inner not in found:
                found[inner] = None
                _collect(inner, found)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type is made of: its own, its items', its values'."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from models_in(argument)


def written_default(field: FieldInfo) -> Any:
    """The default as it stands in YAML; None where there is none to write."""
    default = field.default
    if default is PydanticUndefined or default in ("", [], {}, UNSET):
        return None
    for metadata in field.metadata:
        if isinstance(metadata, Rule):
            return metadata.show(default)
    plain = isinstance(default, (bool, int, str, list))
    return default if plain and not _has_models(default) else None


def _has_models(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, BaseModel) for item in value)


def _write_defaults(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """pydantic writes the value after validation (30.0); people write `30s`."""
    objects = [schema, *schema.get("anyOf", [])]
    properties = next(each["properties"] for each in objects if "properties" in each)
    for name, field in model.model_fields.items():
        entry = properties[field.alias or name]
        entry.pop("default", None)
        default = written_default(field)
        if default is not None:
            entry["default"] = default


def _with_variables(schema: Any, in_properties: bool = False) -> Any:
    """Allow `${VAR}` where the type is not text already."""
    if isinstance(schema, list):
        return [_with_variables(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    written = {
        key: value
        if key in ("default", "examples", "enum", "required") and not in_properties
        else _with_variables(value, key in ("properties", "$defs") and not in_properties)
        for key, value in schema.items()
    }
    closed = written.get("type") in ("integer", "number", "boolean") or "enum" in written or "pattern" in written
    if in_properties or not closed:
        return written
    outside = {key: written.pop(key) for key in ("default", "description", "examples", "title") if key in written}
    return {"anyOf": [written, dict(_VARIABLE)], **outside}
