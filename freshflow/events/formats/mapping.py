"""Format mappings as data: the signature of a format, and the paths of the native fields in it.

A path is dotted: `params.items` is `items` in `params`. In a list of {"key", "value"} pairs, as BigQuery exports them,
a name selects the value of that key; in any other list, a number is an index.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import structs

JsonRecord = dict[str, object]
TimeFormat = Literal["native", "microseconds", "utc"]


class Layout(msgspec.Struct, frozen=True):
    """A file without a header: its column names, a pattern of its first line, and its separator."""

    columns: tuple[str, ...]
    first_line: str
    separator: str = ","


class FormatMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Mapping from one kind of record of a format to native events. Of several paths the first with a value counts.

    Attributes:
        format: Name of the format, a value of `events.format`.
        fields: Paths of each native field.
        signatures: Sets of field names; a record with all names of one set is of this format, and of no other.
        type: Type of all events, if they have one.
        type_paths: Paths of the source type, otherwise.
        types: Source type → native type; events of other types are skipped.
        events_path: Path of a list of events in the record.
        item_list_paths: Paths of lists of items in an event. An event without such a list is an event of one item.
        item_fields: Paths of native fields in an entry of an item list.
        time_format: "native" (epoch seconds or milliseconds, ISO 8601 with an offset), "microseconds", or "utc" for
            times without an offset.
        layouts: Files without a header.
        anonymous_id_paths: Those paths of `user_id`, and others, that identify a device; used with `users.guests`.
        anonymous_types: Additional `types` with `users.guests`.
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
    time_format: TimeFormat = "native"
    layouts: tuple[Layout, ...] = ()
    anonymous_id_paths: tuple[str, ...] = ()
    anonymous_types: Mapping[str, str] = msgspec.field(default_factory=dict)

    def with_anonymous(self) -> "FormatMapping":
        """Return the mapping with device ids as anonymous ids instead of user ids."""
        user_paths = tuple(path for path in self.fields.get("user_id", ()) if path not in self.anonymous_id_paths)
        fields = (
            {**self.fields, "user_id": user_paths, "guest_id": self.anonymous_id_paths}
            if self.anonymous_id_paths
            else self.fields
        )
        return structs.replace(self, fields=fields, types={**self.types, **self.anonymous_types})

    def matches(self, names: frozenset[str], columns: tuple[str, ...] | None) -> bool:
        """Return whether a record with these field names, or a row with these columns, is of this format."""
        if columns is not None and any(columns == layout.columns for layout in self.layouts):
            return True
        return any(signature <= names for signature in self.signatures)


def lookup_path(record: object, path: tuple[str, ...]) -> object:
    """Return the value at a path, or None.

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
