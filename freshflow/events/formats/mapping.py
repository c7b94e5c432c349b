"""What is known of another shape, as data: how to tell it, and where our fields stand in it.

A place is a dotted path: `params.items` is `items` in `params`. In a list of {"key", "value"} pairs, as BigQuery
exports them, a name means the value of that key; in any other list, a number is an index.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import structs

__all__ = ["Layout", "FormatMapping", "lookup_path"]

JsonRecord = dict[str, object]


class Layout(msgspec.Struct, frozen=True):
    """A file without a header: the names of its cells, a pattern of its first line, and what separates the cells."""

    columns: tuple[str, ...]
    first_line: str
    separator: str = ","


class FormatMapping(msgspec.Struct, frozen=True, kw_only=True):
    """One shape of records. Of several places for a field the first that is filled counts.

    `signatures`: sets of names, any of which no other shape has. `type` is that of all events, or `type_paths` is where it
    stands and `types` say what theirs are called here; events of other types are passed over. `events_path` is a list of
    events in a record, `item_list_paths` are lists of items in an event, and `item_fields` places within one of these; an event
    without such a list has its item in itself. Event times are "ours" (seconds, milliseconds, ISO 8601 with an offset),
    "microseconds", or "utc" where no offset is written. Where guests are known, `anonymous_id_paths` are the places for
    `format_user_id` that name no user but a device, and before them any others, and `anonymous_types` are known, too.
    """

    format: str
    fields: Mapping[str, tuple[str, ...]]
    signatures: tuple[frozenset[str], ...] = ()
    type: str | None = None
    type_paths: tuple[str, ...] = ()
    types: Mapping[str, str] = msgspec.field(default_factory=dict)
    events_path: str | None = None
    item_list_paths: tuple[str, ...] = ()
    item_fields: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    time_format: Literal["ours", "microseconds", "utc"] = "ours"
    layouts: tuple[Layout, ...] = ()
    anonymous_id_paths: tuple[str, ...] = ()
    anonymous_types: Mapping[str, str] = msgspec.field(default_factory=dict)

    def with_anonymous(self) -> "FormatMapping":
        """The table where guests are known: a device is no user."""
        user_paths = tuple(path for path in self.fields.get("user_id", ()) if path not in self.anonymous_id_paths)
        fields = (
            {**self.fields, "user_id": user_paths, "guest_id": self.anonymous_id_paths}
            if self.anonymous_id_paths
            else self.fields
        )
        return structs.replace(self, fields=fields, types={**self.types, **self.anonymous_types})

    def matches(self, names: frozenset[str], columns: tuple[str, ...] | None) -> bool:
        """Whether a record with these names, or a row with these columns, is of this shape."""
        if columns is not None and any(columns == layout.columns for layout in self.layouts):
            return True
        return any(signature <= names for signature in self.signatures)


def lookup_path(record: object, path: tuple[str, ...]) -> object:
    """What stands at a place; None where nothing does.

    >>> lookup_path({"params": [{"key": "n", "value": {"int": 3}}], "items": ["a"]}, ("params", "n", "int"))
    3
    """
    for name in path:
        if isinstance(record, dict):
            record = record.get(name)
        elif isinstance(record, list):
            record = _lookup_in_list(record, name)
        else:
            return None
    return None if record == "" else record


def _lookup_in_list(entries: list[object], name: str) -> object:
    if name.isdecimal():
        return entries[int(name)] if int(name) < len(entries) else None
    pairs = (entry for entry in entries if isinstance(entry, dict))
    return next((pair.get("value") for pair in pairs if pair.get("key") == name), None)
