"""Adapter that applies a format mapping: a decoded record in, events with native field names out.

A field is searched for from the inside out: in an item, in its event, in the record, in the envelope around it.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

from freshflow.events.csv_rows import parse_cell
from freshflow.events.fields import VALUE_PLACEHOLDER, InvalidRecordError
from freshflow.events.formats.mapping import FormatMapping, JsonRecord, TimeFormat, lookup_path

LITERAL_PREFIX = "="  # marks a constant in place of a path
MIN_MICROSECONDS = 10**14  # the year 5138 in milliseconds, March 1973 in microseconds
# A time without an offset, as in warehouses, also with a blank between date and time.
NAIVE_TIME_PATTERN = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?)(?: UTC)?")

FieldPath = tuple[str, ...]


class EnvelopeContext(NamedTuple):
    """An envelope around a record: its attributes, and the native fields that it provides where the record has none."""

    attributes: JsonRecord
    payload_field: str  # the field that holds the record
    fields: Mapping[str, object]
    source_names: Mapping[str, str]  # by native field, its name in the envelope


class Scope(NamedTuple):
    """A part of a record that is searched for fields, and the prefix of their names for errors."""

    values: object
    prefix: str


class MappedEvent:
    """An event of a record: `values` are its native fields."""

    __slots__ = ("_adapter", "_envelope", "_item", "_scopes", "values")

    def __init__(
        self,
        adapter: "Adapter",
        values: dict[str, object],
        scopes: list[Scope],
        envelope: EnvelopeContext | None,
        item: Scope | None = None,
    ) -> None:
        self.values = values
        self._adapter = adapter
        self._scopes = scopes
        self._envelope = envelope
        self._item = item

    def source_name(self, field_name: str) -> str:
        """Return the name of a native field in the source of the event."""
        return self._adapter.source_name(field_name, self._scopes, self._envelope, self._item)


class AdapterResult(NamedTuple):
    """Events of a record, and the names of the unknown types that were skipped."""

    events: list[MappedEvent]
    unknown_types: list[str]


class Adapter:
    """A format mapping combined with the field paths of a configuration, which take precedence.

    Args:
        mapping: The mapping of the format.
        renames: `events.map`: native field → path in the source, or a constant after `=`.
        types: Source type → native type; other types are skipped. None reads `type` like any other field.
        type_aliases: With `types` None, source type → native type; other types keep their names.
    """

    def __init__(
        self,
        mapping: FormatMapping,
        renames: Mapping[str, str],
        types: Mapping[str, str] | None,
        type_aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._literals: dict[str, object] = {
            field_name: source_path[len(LITERAL_PREFIX) :]
            for field_name, source_path in renames.items()
            if source_path.startswith(LITERAL_PREFIX)
        }
        renamed_paths = {
            field_name: _parse_paths([source_path])
            for field_name, source_path in renames.items()
            if field_name not in self._literals
        }
        self._fields = {
            field_name: _parse_paths(dotted_paths) for field_name, dotted_paths in mapping.fields.items()
        } | renamed_paths
        self._item_fields = {
            field_name: _parse_paths(dotted_paths) for field_name, dotted_paths in mapping.item_fields.items()
        }
        self._item_fields |= {
            field_name: paths for field_name, paths in renamed_paths.items() if field_name in self._item_fields
        }
        self._type_paths = renamed_paths.get("type", _parse_paths(mapping.type_paths))
        self._fixed_type = self._literals.pop("type", mapping.type)
        self._types = types
        self._type_aliases = type_aliases
        self._events_path = tuple(mapping.events_path.split(".")) if mapping.events_path else None
        self._item_list_paths = _parse_paths(mapping.item_list_paths)
        self._time_format = mapping.time_format

    def read(self, record: JsonRecord, raw: bytes | None, envelope: EnvelopeContext | None = None) -> AdapterResult:
        """Return the events of a record.

        Several events of one record share an id: that of the record, or else a digest of its bytes.

        Args:
            record: The decoded record.
            raw: Its bytes.
            envelope: The envelope around it, if any.

        Raises:
            InvalidRecordError: A field is missing or has a wrong type; the error names it as the source does.
        """
        result = AdapterResult([], [])
        for scopes in self._event_scopes(record, envelope):
            source_type, event_type = self._resolve_type(scopes, envelope)
            if event_type is None:
                result.unknown_types.append(source_type)
            elif event_type == "search":
                self._add_search(source_type, scopes, envelope, result)
            elif event_type == "identify" and self._types is not None:
                self._add_identify(source_type, scopes, envelope, result)
            else:
                result.events.extend(self._split_items(event_type, scopes, envelope))
        if len(result.events) > 1:
            record_id = blake2b(raw or b"", digest_size=16).hexdigest()
            for mapped_event in result.events:
                mapped_event.values.setdefault("event_id", record_id)
        return result

    def source_name(
        self, field_name: str, scopes: list[Scope], envelope: EnvelopeContext | None, item: Scope | None = None
    ) -> str:
        """Return the path of a field in the source, or all paths where it may stand.

        Args:
            field_name: The native field.
            scopes: The scopes of the event, innermost first.
            envelope: The envelope around the record, if any.
            item: The scope of the item, for an event of an item list.
        """
        if field_name == "type":
            paths = self._type_paths
        elif item is not None and field_name in self._item_fields:
            paths, scopes = self._item_fields[field_name], [item, *scopes]
        else:
            paths = self._fields.get(field_name, ())
        for path in paths:
            for values, prefix in scopes:
                if lookup_path(values, path) is not None:
                    return prefix + ".".join(path)
        envelope_names = (
            [envelope.source_names[field_name]] if envelope is not None and field_name in envelope.source_names else []
        )
        if envelope_names and envelope is not None and field_name in envelope.fields:
            return envelope_names[0]
        names = [".".join(path) for path in paths] or [field_name]
        if item is None and field_name in self._item_fields:
            names = [".".join(self._item_list_paths[0]), *names] if paths else [".".join(self._item_list_paths[0])]
        return " or ".join([*(scopes[0].prefix + name for name in names), *envelope_names])

    def _event_scopes(self, record: JsonRecord, envelope: EnvelopeContext | None) -> Iterator[list[Scope]]:
        """Yield the scopes of each event of a record, innermost first."""
        prefix = f"{envelope.payload_field}." if envelope else ""
        outer_scopes = [Scope(record, prefix), *([Scope(envelope.attributes, "")] if envelope else [])]
        if self._events_path is None:
            yield outer_scopes
            return
        name = ".".join(self._events_path)
        events = lookup_path(record, self._events_path)
        if not isinstance(events, list) or not events:
            raise InvalidRecordError(
                "missing_field", f"{prefix}{name} is missing, empty or not a list.", field=prefix + name
            )
        for n, event in enumerate(events):
            yield [Scope(event, f"{prefix}{name}[{n}]."), *outer_scopes]

    def _resolve_type(self, scopes: list[Scope], envelope: EnvelopeContext | None) -> tuple[str, str | None]:
        """Return the source type of an event and its native type, which is None for an unknown type."""
        if self._fixed_type is not None:
            return str(self._fixed_type), str(self._fixed_type)
        source_type = _find_first(scopes, self._type_paths)
        is_from_envelope = source_type is None and envelope is not None
        if is_from_envelope and envelope is not None:
            source_type = envelope.fields.get("type")
        if source_type is None:
            name = self.source_name("type", scopes, envelope)
            raise InvalidRecordError(
                "missing_field", f"{name} is missing or empty, and every event needs it.", field=name
            )
        if not isinstance(source_type, str):
            name = self.source_name("type", scopes, envelope)
            raise InvalidRecordError(
                "wrong_type", f"{name} = {VALUE_PLACEHOLDER} is not allowed: give a string.", source_type, field=name
            )
        if self._types is None:
            return source_type, self._type_aliases.get(source_type, source_type)
        if is_from_envelope:  # com.example.view
            return source_type, self._types.get(source_type) or self._types.get(source_type.rpartition(".")[2])
        return source_type, self._types.get(source_type)

    def _shared_fields(
        self, event_type: str, scopes: list[Scope], envelope: EnvelopeContext | None
    ) -> dict[str, object]:
        """Return the fields that the events of all items of an event share."""
        values: dict[str, object] = {"type": event_type}
        for name, paths in self._fields.items():
            value = _find_first(scopes, paths)
            if value is not None and name != "type":
                values[name] = self._convert_value(name, value)
        values |= self._literals
        if envelope is not None:
            for name, value in envelope.fields.items():
                values.setdefault(name, value)
        return values

    def _split_items(
        self, event_type: str, scopes: list[Scope], envelope: EnvelopeContext | None
    ) -> Iterator[MappedEvent]:
        """Yield one event per item."""
        shared_values = self._shared_fields(event_type, scopes, envelope)
        item_list = self._find_item_list(scopes[0])
        if item_list is None:
            yield MappedEvent(self, shared_values, scopes, envelope)
            return
        for n, item in enumerate(item_list.values if isinstance(item_list.values, list) else ()):
            item_scope = Scope(item, f"{item_list.prefix}[{n}].")
            values = {name: value for name, value in shared_values.items() if name not in self._item_fields}
            for name, paths in self._item_fields.items():
                value = _find_first([item_scope], paths)
                if value is not None:
                    values[name] = self._convert_value(name, value)
            yield MappedEvent(self, values, scopes, envelope, item_scope)

    def _add_search(
        self, source_type: str, scopes: list[Scope], envelope: EnvelopeContext | None, result: AdapterResult
    ) -> None:
        """Add a search that has results; a search without results has nothing to re-rank and is skipped."""
        values = self._shared_fields("search", scopes, envelope)
        item_list = self._find_item_list(scopes[0])
        if item_list is not None and isinstance(item_list.values, list):
            ids = [_find_first([Scope(item, "")], self._item_fields["item_id"]) for item in item_list.values]
            values["items"] = [item_id for item_id in ids if item_id is not None]
        if values.get("items") or self._types is None:
            result.events.append(MappedEvent(self, values, scopes, envelope))
        else:
            result.unknown_types.append(f"{source_type} without results")

    def _add_identify(
        self, source_type: str, scopes: list[Scope], envelope: EnvelopeContext | None, result: AdapterResult
    ) -> None:
        """Add an identify event that names a user and an anonymous id; calls with traits of one of them are skipped."""
        values = self._shared_fields("identify", scopes, envelope)
        if values.get("user_id") and (values.get("guest_id") or values.get("session_id")):
            result.events.append(MappedEvent(self, values, scopes, envelope))
        else:
            result.unknown_types.append(f"{source_type} without a user or a guest")

    def _find_item_list(self, event: Scope) -> Scope | None:
        """Return the item list of an event, or None if it is missing or empty."""
        for path in self._item_list_paths:
            items = lookup_path(event.values, path)
            if isinstance(items, list) and items:
                return Scope(items, event.prefix + ".".join(path))
        return None

    def _convert_value(self, field_name: str, value: object) -> object:
        if field_name == "ts":
            return _normalize_time(value, self._time_format)
        return parse_cell(field_name, value) if isinstance(value, str) else value


def _parse_paths(dotted_paths: tuple[str, ...] | list[str]) -> tuple[FieldPath, ...]:
    return tuple(tuple(dotted_path.split(".")) for dotted_path in dotted_paths)


def _find_first(scopes: list[Scope], paths: tuple[FieldPath, ...]) -> object:
    """Return the first value at one of several paths; an earlier path wins over a later one in any scope."""
    for path in paths:
        for values, _ in scopes:
            value = lookup_path(values, path)
            if value is not None:
                return value
    return None


def _normalize_time(value: object, time_format: TimeFormat) -> object:
    """Return a time in a native notation; other values stay as they are, for the error message.

    >>> _normalize_time("1609459200123456", "microseconds"), _normalize_time("2019-10-01 00:00:00 UTC", "utc")
    (1609459200123, '2019-10-01 00:00:00+00:00')
    """
    if time_format == "microseconds":
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value
        return number // 1000 if isinstance(number, int) and number >= MIN_MICROSECONDS else value
    if time_format == "utc" and isinstance(value, str) and (match := NAIVE_TIME_PATTERN.fullmatch(value)):
        return f"{match[1]}+00:00"
    return value
