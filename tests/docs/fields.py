"""Generate tables of the fields of a JSON Schema."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from freshflow.events.fields import MAX_ID_CHARS
from tests.docs.tables import table

Schema = Mapping[str, Any]


def fields_table(schema: Schema, definition: str) -> str:
    """Return a table of the fields of a definition and of the definitions that it refers to."""
    rows = []
    for name, words, required, meaning in _fields(schema["$defs"], definition, "", set()):
        rows.append((f"`{name}`", words, "yes" if required else "", meaning))
    return table(("field", "type", "always", "meaning"), rows)


def _fields(defs: Schema, definition: str, prefix: str, told: set[str]) -> Iterator[tuple[str, str, bool, str]]:
    whole = defs[definition]
    told.add(definition)
    for name, field in whole["properties"].items():
        inner = _inner(field)
        yield prefix + name, type_words(field), name in whole.get("required", ()), field.get("description", "")
        if inner is not None and inner not in told:
            dots = "[]." if field.get("type") == "array" else "."
            yield from _fields(defs, inner, f"{prefix}{name}{dots}", told)


def _inner(field: Schema) -> str | None:
    """Return the name of the definition of a field, or of its entries."""
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    for part in (*field.get("allOf", ()), field.get("items")):
        if part and (inner := _inner(part)):
            return inner
    return None


def type_words(field: Schema) -> str:
    """Describe the type of a field.

    >>> type_words({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 200}, {"type": "null"}]})
    'whole number, 1 to 200'
    """
    choices = field.get("anyOf")
    if choices and any(choice.get("format") == "date-time" for choice in choices):
        return "time"
    if choices and any("properties" in choice for choice in choices):
        return "place"
    if choices:
        return _joined(choices)
    if "const" in field or "enum" in field:
        values = field.get("enum", [field.get("const")])
        return "`" + "`, `".join(map(str, values)) + "`"
    if "$ref" in field or "allOf" in field:
        return "object"
    return _of_type(field)


def _joined(choices: Iterable[Schema]) -> str:
    kinds = [choice for choice in choices if choice.get("type") != "null"]
    if len(kinds) == 2 and kinds[0].get("maxLength", MAX_ID_CHARS + 1) <= MAX_ID_CHARS:
        return "id"
    return " or ".join(map(type_words, kinds))


def _of_type(field: Schema) -> str:
    match field.get("type"):
        case "string":
            return "text" + _range(field, "minLength", "maxLength", " characters,")
        case "integer":
            return "whole number" + _range(field, "minimum", "maximum", "")
        case "number":
            return "number" + _range(field, "minimum", "maximum", "")
        case "array":
            entry = f" of {type_words(field['items'])}s" if field["items"] else ""
            return f"list{entry}" + _range(field, "minItems", "maxItems", " entries")
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case _:
            return "object"


def _range(field: Schema, low: str, high: str, unit: str) -> str:
    if high in field:
        return f", {field.get(low, 0):,} to {field[high]:,}{unit}"
    return f", at least {field[low]:,}{unit}" if low in field else ""
