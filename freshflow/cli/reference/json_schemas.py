"""JSON Schemas (2020-12) of all inputs, outputs and the configuration, generated from their types.

`recommendations` and `related` describe a line of a file; on a topic the value of a tombstone is null. Schemas are
open: fields may be added.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from freshflow.cli.reference.settings import sections
from freshflow.config.registry import rule_settings
from freshflow.config.schema import Config
from freshflow.config.section import is_mapping
from freshflow.events.formats.registry import format_names
from freshflow.events.identity import MAX_ANONYMOUS_ID_CHARS
from freshflow.events.json_schema import (
    WIRE_EVENT_TYPES,
    ForgetEvent,
    IdentifyEvent,
    InteractionEvent,
    RequestEvent,
    SearchEvent,
)
from freshflow.metrics.catalogue import COUNT_METRICS, QUALITY_METRICS, Metric
from freshflow.metrics.report import RECORD_TYPES, Report
from freshflow.outputs.dead_letters import DeadLetter
from freshflow.outputs.reasons import PUBLISHED_REASONS
from freshflow.outputs.records import ListItem, PublishedList, RelatedItems, Tombstone

Schema = dict[str, Any]
DIALECT_URL = "https://json-schema.org/draft/2020-12/schema"
REF_TEMPLATE = "#/$defs/{name}"
USER_EVENTS = (InteractionEvent, RequestEvent, SearchEvent, ForgetEvent)  # events that may have an anonymous user


def build_schema(name: str, config: Config | None = None) -> Schema:
    """Return a schema of `SCHEMAS`; that of events allows the events that the configuration allows.

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
    """Return the schema of objects with this field, not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}, **limits}}}


def _metrics_schema(_: Config) -> Schema:
    metrics_schema = _union_schema(RECORD_TYPES.values())
    for kind, type_ in RECORD_TYPES.items():
        record = metrics_schema["$defs"][type_.__name__]
        computed_at = {"type": "integer", "description": "Time at which it was made, in epoch milliseconds."}
        record["properties"] = {"kind": {"const": kind}, "computed_at": computed_at} | record["properties"]
        record["required"] = ["kind", "computed_at", *record["required"]]
    report = metrics_schema["$defs"][Report.__name__]["properties"]
    report["counts"] |= _figures_schema(COUNT_METRICS, "integer")
    report["quality"] |= _figures_schema(QUALITY_METRICS, "number")
    return metrics_schema


def _lists_schema(_: Config) -> Schema:
    lists_schema = _union_schema([PublishedList, Tombstone])
    reason = lists_schema["$defs"][ListItem.__name__]["properties"]["reason"]
    reason["enum"] = list(dict.fromkeys([*reason["enum"], *PUBLISHED_REASONS]))  # rules may have registered more
    return lists_schema


def _figures_schema(metrics: Sequence[Metric], type_: str) -> Schema:
    """Return the keywords of an object of figures by name, one property or pattern for each metric."""
    figures: Schema = {"properties": {}, "patternProperties": {}}
    for metric in metrics:
        schema = {"type": type_, "description": f"{metric.description} [{metric.unit}]"}
        if "*" in metric.name:
            figures["patternProperties"][f"^{metric.name.replace('*', '[a-z0-9_]+')}$"] = schema
        else:
            figures["properties"][metric.name] = schema
    return figures


def _config_schema(_: Config) -> Schema:
    (root_schema,), defs = _components([Config])
    for section in sections():
        table = defs[definition_name(defs, section.name)]
        for setting in section.settings:
            field = table["properties"][setting.key]
            field["description"] = f"{setting.description} [{setting.allowed_values}]"
            field.pop("examples", None)  # lines of TOML, not values
            if is_mapping(setting.hint):  # a dotted name needs no quotes, and is an inner table in TOML
                entry = field["additionalProperties"] or {}
                field["additionalProperties"] = {"anyOf": [entry, {"type": "object"}]} if entry else entry
    defs[definition_name(defs, "events")]["properties"]["format"]["enum"] = list(format_names())
    return {**root_schema, "$defs": defs | _add_registered_rules(defs[definition_name(defs, "rules")])}


def _add_registered_rules(rules_table: Schema) -> dict[str, Schema]:
    """Replace `extensions` by the tables of the registered rules, and return the definitions of these."""
    del rules_table["properties"]["extensions"]
    rule_defs: dict[str, Schema] = {}
    for name, settings in rule_settings().items():
        (rules_table["properties"][name],), components = _components([settings])
        rule_defs |= components
    return rule_defs


def definition_name(defs: Mapping[str, Schema], section: str) -> str:
    """Return the name of the definition of a section of the configuration."""
    section_schema = defs["Config"]["properties"][section]
    reference = section_schema.get("$ref") or section_schema["allOf"][0]["$ref"]
    return str(reference.rpartition("/")[2])


def _union_factory(*types: Any) -> Callable[[Config], Schema]:
    return lambda _: _union_schema(types)


def _union_schema(types: Iterable[Any]) -> Schema:
    """Return the schema of a value of one of the types, which differ in their required fields."""
    references, defs = _components(types)
    return {**(references[0] if len(references) == 1 else {"oneOf": list(references)}), "$defs": defs}


def _components(types: Iterable[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    references, defs = msgspec.json.schema_components(tuple(types), ref_template=REF_TEMPLATE)
    return references, _simplify(defs)


def _simplify(node: Any) -> Any:
    """Remove defaults of null, and whole numbers where all numbers are allowed."""
    if isinstance(node, list):
        return [
            _simplify(element) for element in node if element != {"type": "integer"} or {"type": "number"} not in node
        ]
    if not isinstance(node, dict):
        return node
    return {name: _simplify(value) for name, value in node.items() if (name, value) != ("default", None)}


SCHEMAS: dict[str, tuple[str, Callable[[Config], Schema]]] = {
    "events": ("An event that FreshFlow reads", _events_schema),
    "recommendations": ("A line of a file of lists that FreshFlow writes", _lists_schema),
    "related": ("A line of a file of related items that FreshFlow writes", _union_factory(RelatedItems, Tombstone)),
    "metrics": ("A record of FreshFlow's metrics", _metrics_schema),
    "dead-letters": ("A record that FreshFlow rejected", _union_factory(DeadLetter)),
    "config": ("FreshFlow's configuration, as TOML", _config_schema),
}
