"""As much of a JSON Schema validator as the schema of the config needs; an unknown keyword is an error."""

import re
from typing import Any

ABOUT = {"title", "description", "default", "examples", "$schema", "$defs"}
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def valid(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether `value` is what `schema` allows."""
    return all(
        _holds(keyword, wanted, value, schema, root) for keyword, wanted in schema.items() if keyword not in ABOUT
    )


def _holds(keyword: str, wanted: Any, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    match keyword:
        case "$ref":
            return valid(value, root["$defs"][wanted.rpartition("/")[2]], root)
        case "type":
            kinds = wanted if isinstance(wanted, list) else [wanted]
            return any(
                isinstance(value, KINDS[kind]) and isinstance(value, bool) == (kind == "boolean") for kind in kinds
            )
        case "anyOf":
            return any(valid(value, each, root) for each in wanted)
        case "enum":
            return value in wanted
        case "const":
            return bool(value == wanted)
        case "pattern":
            return not isinstance(value, str) or bool(re.search(wanted, value))
        case "minimum":
            return not isinstance(value, int) or value >= wanted
        case "maximum":
            return not isinstance(value, int) or value <= wanted
        case "minLength":
            return not isinstance(value, str) or len(value) >= wanted
        case "maxLength":
            return not isinstance(value, str) or len(value) <= wanted
        case "required":
            return not isinstance(value, dict) or set(wanted) <= set(value)
        case "items":
            return not isinstance(value, list) or all(valid(each, wanted, root) for each in value)
        case "properties":
            return not isinstance(value, dict) or all(
                valid(value[key], wanted[key], root) for key in wanted if key in value
            )
        case "additionalProperties":
            return not isinstance(value, dict) or _others(value, wanted, schema, root)
        case "propertyNames":
            return not isinstance(value, dict) or all(valid(key, wanted, root) for key in value)
    raise AssertionError(f"keyword {keyword}")


def _others(value: dict[str, Any], wanted: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    others = [each for key, each in value.items() if key not in schema.get("properties", {})]
    return not others if wanted is False else wanted is True or all(valid(each, wanted, root) for each in others)
