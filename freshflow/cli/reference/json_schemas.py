"""JSON Schemas (2020-12) of all that comes in and goes out, made of the types that it is written with.

`recommendations` and `related` are of a line of a file; on a topic the value of a tombstone is null. Schemas are open:
fields may be added.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from freshflow.cli.reference.settings import is_table, sections
from freshflow.config.schema import Config
from freshflow.events.identity import MAX_ANONYMOUS_ID_CHARS
from freshflow.events.json_schema import (
    WIRE_EVENT_TYPES,
    ForgetEvent,
    IdentifyEvent,
    InteractionEvent,
    RequestEvent,
    SearchEvent,
)
from freshflow.metrics.report import RECORD_TYPES
from freshflow.outputs.dead_letters import DeadLetter
from freshflow.outputs.records import PublishedList, RelatedItems, Tombstone

__all__ = ["SCHEMAS", "build_schema"]

Schema = dict[str, Any]
DIALECT_URL = "https://json-schema.org/draft/2020-12/schema"
REF_TEMPLATE = "#/$defs/{name}"
USER_EVENTS = (InteractionEvent, RequestEvent, SearchEvent, ForgetEvent)  # events of which a guest may be the user


def build_schema(name: str, config: Config | None = None) -> Schema:
    """The schema of one of `SCHEMAS`; events are as the configuration allows them.

    >>> build_schema("dead-letters")["$defs"]["DeadLetter"]["required"]
    ['reason', 'code', 'source', 'rejected_at']
    """
    title, make = SCHEMAS[name]
    return {"$schema": DIALECT_URL, "title": title, **make(config or Config())}


def _events_schema(config: Config) -> Schema:
    has_anonymous_users = config.users.guests
    event_schema = _union_schema(
        [record for record in WIRE_EVENT_TYPES if has_anonymous_users or record is not IdentifyEvent]
    )
    defs = event_schema["$defs"]
    defs["InteractionEvent"]["properties"]["type"]["enum"] = list(config.events.weights)
    if has_anonymous_users:
        anonymous_keys = [_require_field("guest_id"), _require_field("session_id", maxLength=MAX_ANONYMOUS_ID_CHARS)]
        defs["IdentifyEvent"]["anyOf"] = anonymous_keys
        for record in USER_EVENTS:
            defs[record.__name__]["required"].remove("user_id")
            defs[record.__name__]["anyOf"] = [_require_field("user_id"), *anonymous_keys]
    return event_schema


def _require_field(name: str, **limits: int) -> Schema:
    """What has a field, which is not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}, **limits}}}


def _metrics_schema(_: Config) -> Schema:
    metrics_schema = _union_schema(RECORD_TYPES.values())
    for kind, type_ in RECORD_TYPES.items():
        record = metrics_schema["$defs"][type_.__name__]
        computed_at = {"type": "integer", "description": "When it was made, in epoch milliseconds."}
        record["properties"] = {"kind": {"const": kind}, "computed_at": computed_at} | record["properties"]
        record["required"] = ["kind", "computed_at", *record["required"]]
    return metrics_schema


def _config_schema(_: Config) -> Schema:
    (root_schema,), defs = _components([Config])
    for section in sections():
        table = defs[definition_name(defs, section.name)]
        for setting in section.settings:
            field = table["properties"][setting.name.partition(".")[2]]
            field["description"] = f"{setting.description} [{setting.allowed_values}]"
            if is_table(setting):  # a dotted name needs no quotes, and is a table within for TOML
                entry = field["additionalProperties"] or {}
                field["additionalProperties"] = {"anyOf": [entry, {"type": "object"}]} if entry else entry
    return {**root_schema, "$defs": defs}


def definition_name(defs: Mapping[str, Schema], section: str) -> str:
    """The definition of a section of the configuration."""
    section_schema = defs["Config"]["properties"][section]
    reference = section_schema.get("$ref") or section_schema["allOf"][0]["$ref"]
    return str(reference.rpartition("/")[2])


def _union_factory(*types: Any) -> Callable[[Config], Schema]:
    return lambda _: _union_schema(types)


def _union_schema(types: Iterable[Any]) -> Schema:
    """What is of one of the types, none of which shares all its required fields with another."""
    references, defs = _components(types)
    return {**(references[0] if len(references) == 1 else {"oneOf": list(references)}), "$defs": defs}


def _components(types: Iterable[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    references, defs = msgspec.json.schema_components(tuple(types), ref_template=REF_TEMPLATE)
    return references, _simplify(defs)


def _simplify(node: Any) -> Any:
    """Without defaults of null, and without whole numbers where all numbers are allowed."""
    if isinstance(node, list):
        return [
            _simplify(element) for element in node if element != {"type": "integer"} or {"type": "number"} not in node
        ]
    if not isinstance(node, dict):
        return node
    return {name: _simplify(value) for name, value in node.items() if (name, value) != ("default", None)}


SCHEMAS: dict[str, tuple[str, Callable[[Config], Schema]]] = {
    "events": ("An event that FreshFlow reads", _events_schema),
    "recommendations": (
        "A line of a file of lists that FreshFlow writes",
        _union_factory(PublishedList, Tombstone),
    ),
    "related": ("A line of a file of related items that FreshFlow writes", _union_factory(RelatedItems, Tombstone)),
    "metrics": ("A record of FreshFlow's metrics", _metrics_schema),
    "dead-letters": ("A record that FreshFlow refused", _union_factory(DeadLetter)),
    "config": ("FreshFlow's configuration, as TOML", _config_schema),
}
