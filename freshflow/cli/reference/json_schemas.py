"""JSON Schemas (2020-12) of all that comes in and goes out, made of the types that it is written with.

`recommendations` and `related` are of a line of a file; on a topic the value of a tombstone is null. Schemas are open:
fields may be added.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from freshflow.cli.reference.settings import is_table, sections
from freshflow.config.schema import Config
from freshflow.events.identity import MAX_GUEST_CHARS
from freshflow.events.json_schema import RECORDS, BehaviourEvent, ForgetEvent, IdentifyEvent, RequestEvent, SearchEvent
from freshflow.metrics.report import KINDS
from freshflow.outputs.dead_letters import DeadLetter
from freshflow.outputs.records import PublishedList, RelatedItems, Tombstone

__all__ = ["SCHEMAS", "schema"]

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{name}"
OWNED = (BehaviourEvent, RequestEvent, SearchEvent, ForgetEvent)  # events of which a guest may be the user


def schema(name: str, config: Config | None = None) -> Schema:
    """The schema of one of `SCHEMAS`; events are as the configuration allows them.

    >>> schema("dead-letters")["$defs"]["DeadLetter"]["required"]
    ['reason', 'code', 'source', 'rejected_at']
    """
    title, make = SCHEMAS[name]
    return {"$schema": DIALECT, "title": title, **make(config or Config())}


def _events(config: Config) -> Schema:
    guests = config.users.guests
    made = _one_of([record for record in RECORDS if guests or record is not IdentifyEvent])
    defs = made["$defs"]
    defs["BehaviourEvent"]["properties"]["type"]["enum"] = list(config.events.weights)
    if guests:
        named = [_with("guest_id"), _with("session_id", maxLength=MAX_GUEST_CHARS)]
        defs["IdentifyEvent"]["anyOf"] = named
        for record in OWNED:
            defs[record.__name__]["required"].remove("user_id")
            defs[record.__name__]["anyOf"] = [_with("user_id"), *named]
    return made


def _with(name: str, **limits: int) -> Schema:
    """What has a field, which is not null."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}, **limits}}}


def _metrics(_: Config) -> Schema:
    made = _one_of(KINDS.values())
    for kind, type_ in KINDS.items():
        record = made["$defs"][type_.__name__]
        computed_at = {"type": "integer", "description": "When it was made, in epoch milliseconds."}
        record["properties"] = {"kind": {"const": kind}, "computed_at": computed_at} | record["properties"]
        record["required"] = ["kind", "computed_at", *record["required"]]
    return made


def _config(_: Config) -> Schema:
    (made,), defs = _components([Config])
    for section in sections():
        table = defs[made_name(defs, section.name)]
        for setting in section.settings:
            field = table["properties"][setting.name.partition(".")[2]]
            field["description"] = f"{setting.meaning} [{setting.allowed}]"
            if is_table(setting):  # a dotted name needs no quotes, and is a table within for TOML
                entry = field["additionalProperties"] or {}
                field["additionalProperties"] = {"anyOf": [entry, {"type": "object"}]} if entry else entry
    return {**made, "$defs": defs}


def made_name(defs: Mapping[str, Schema], section: str) -> str:
    """The definition of a section of the configuration."""
    whole = defs["Config"]["properties"][section]
    reference = whole.get("$ref") or whole["allOf"][0]["$ref"]
    return str(reference.rpartition("/")[2])


def _of(*types: Any) -> Callable[[Config], Schema]:
    return lambda _: _one_of(types)


def _one_of(types: Iterable[Any]) -> Schema:
    """What is of one of the types, none of which shares all its required fields with another."""
    references, defs = _components(types)
    return {**(references[0] if len(references) == 1 else {"oneOf": list(references)}), "$defs": defs}


def _components(types: Iterable[Any]) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
    references, defs = msgspec.json.schema_components(tuple(types), ref_template=REF)
    return references, _tidied(defs)


def _tidied(part: Any) -> Any:
    """Without defaults of null, and without whole numbers where all numbers are allowed."""
    if isinstance(part, list):
        return [_tidied(one) for one in part if one != {"type": "integer"} or {"type": "number"} not in part]
    if not isinstance(part, dict):
        return part
    return {name: _tidied(value) for name, value in part.items() if (name, value) != ("default", None)}


SCHEMAS: dict[str, tuple[str, Callable[[Config], Schema]]] = {
    "events": ("An event that FreshFlow reads", _events),
    "recommendations": (
        "A line of a file of lists that FreshFlow writes",
        _of(PublishedList, Tombstone),
    ),
    "related": ("A line of a file of related items that FreshFlow writes", _of(RelatedItems, Tombstone)),
    "metrics": ("A record of FreshFlow's metrics", _metrics),
    "dead-letters": ("A record that FreshFlow refused", _of(DeadLetter)),
    "config": ("FreshFlow's configuration, as TOML", _config),
}
