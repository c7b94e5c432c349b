"""Registry of the input formats, and the choice of the format of a record or a file."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from freshflow.config.registry import AUTO_FORMAT, ENVELOPE_FORMAT, NATIVE_FORMAT, add_format_name
from freshflow.config.registry import format_names as format_names
from freshflow.config.schema import DEFAULT_WEIGHTS, EVENT_FIELDS, EventsConfig
from freshflow.events.formats.adapter import Adapter, AdapterResult
from freshflow.events.formats.cloudevents import ENVELOPE_SIGNATURE, EnvelopeReader
from freshflow.events.formats.mapping import FormatMapping, JsonRecord, Layout
from freshflow.events.model import CONTROL_TYPES

NATIVE_SIGNATURE = frozenset({"type", "ts"})  # a record with both is native, whatever other fields it has
# Fields of the output of `freshflow forget`, which is read in any format.
FORGET_SIGNATURES = (frozenset({"type", "user_id", "ts"}), frozenset({"type", "session_id", "ts"}))
NATIVE_MAPPING = FormatMapping(
    format=NATIVE_FORMAT, fields={name: (name,) for name in EVENT_FIELDS}, type_paths=("type",)
)

Columns = tuple[str, ...] | None

_mappings_by_format: dict[str, tuple[FormatMapping, ...]] = {}


def register_format(*mappings: FormatMapping) -> None:
    """Register the mappings of one format under its name, `FormatMapping.format`.

    `events.format` then allows the name, and `auto` recognises records by the signatures and layouts of the mappings.

    Raises:
        ValueError: The mappings have several names, or another format has this name.
    """
    names = {mapping.format for mapping in mappings}
    if len(names) != 1:
        raise ValueError(f"one format has one name, not {sorted(names)}")
    (name,) = names
    if name in (AUTO_FORMAT, NATIVE_FORMAT, ENVELOPE_FORMAT) or _mappings_by_format.get(name, mappings) != mappings:
        raise ValueError(f"there is another format named {name!r}; choose another name")
    _mappings_by_format[name] = mappings
    add_format_name(name)


def registered_mappings() -> list[FormatMapping]:
    """Return the mappings of all formats, those of one format in the order in which they were registered."""
    return [mapping for name in sorted(_mappings_by_format) for mapping in _mappings_by_format[name]]


class RecordReader(Protocol):
    """A reader of decoded records: an adapter, or an envelope around one."""

    def read(self, record: JsonRecord, raw: bytes | None) -> AdapterResult:
        """Return the events of a record."""


class FormatSelector:
    """Adapters of the registered formats for one configuration.

    With `has_anonymous_users`, device ids are those of anonymous users instead of users.
    """

    def __init__(self, config: EventsConfig, *, has_anonymous_users: bool = False) -> None:
        self._format = config.format
        self._mappings = registered_mappings()
        added_types = {name: name for name in config.weights if name not in DEFAULT_WEIGHTS} | config.types
        known_types = {name: name for name in (*config.weights, *CONTROL_TYPES)} | config.types
        mappings_by_id = {
            id(mapping): mapping.with_anonymous() if has_anonymous_users else mapping for mapping in self._mappings
        }
        self._adapters = {
            mapping_id: Adapter(mapping, config.map, {**mapping.types, **added_types})
            for mapping_id, mapping in mappings_by_id.items()
        }
        self._payload_adapter = Adapter(NATIVE_MAPPING, config.map, known_types)
        self._has_field_map = bool(config.map)
        has_renames = self._has_field_map or config.types
        self._native_adapter = Adapter(NATIVE_MAPPING, config.map, None, config.types) if has_renames else None
        self._envelope_reader = EnvelopeReader(self._choose_payload_adapter)
        self._readers_by_columns: dict[Columns, RecordReader | None] = {}

    @property
    def accepts_native(self) -> bool:
        """True if a record may be read as a native event without a look at its fields."""
        return self._format in (AUTO_FORMAT, NATIVE_FORMAT) and self._native_adapter is None

    def find_reader(self, record: JsonRecord, columns: Columns) -> RecordReader | None:
        """Return the reader of a record; None stands for a native event that needs no mapping."""
        if columns is None:
            names = frozenset(record)
            return (
                None if names in FORGET_SIGNATURES and record["type"] == "forget" else self._choose_reader(names, None)
            )
        if columns not in self._readers_by_columns:
            self._readers_by_columns[columns] = self._choose_reader(frozenset(columns), columns)
        return self._readers_by_columns[columns]

    def _choose_reader(self, names: frozenset[str], columns: Columns) -> RecordReader | None:
        if self._format == ENVELOPE_FORMAT:
            return self._envelope_reader
        if self._format not in (AUTO_FORMAT, NATIVE_FORMAT):
            mappings = [mapping for mapping in self._mappings if mapping.format == self._format]
            return self._adapters[
                id(next((mapping for mapping in mappings if mapping.matches(names, columns)), mappings[0]))
            ]
        if self._has_field_map or self._format == NATIVE_FORMAT or names >= NATIVE_SIGNATURE:
            return self._native_adapter
        if columns is None and names >= ENVELOPE_SIGNATURE:
            return self._envelope_reader
        mapping = _detect_mapping(self._mappings, names, columns)
        return self._native_adapter if mapping is None else self._adapters[id(mapping)]

    def _choose_payload_adapter(self, record: JsonRecord) -> Adapter:
        """Return the adapter of a record inside an envelope."""
        names = frozenset(record)
        mapping = None if names >= NATIVE_SIGNATURE else _detect_mapping(self._mappings, names, None)
        return self._payload_adapter if mapping is None else self._adapters[id(mapping)]


def create_layout_finder(config: EventsConfig) -> Callable[[str], Layout | None]:
    """Return a function from the first line of a file to its layout, if the file has no header."""
    mappings = [mapping for mapping in registered_mappings() if config.format in (AUTO_FORMAT, mapping.format)]
    layouts = [layout for mapping in mappings for layout in mapping.layouts]

    def find_layout(first_line: str) -> Layout | None:
        return next((layout for layout in layouts if re.fullmatch(layout.first_line, first_line)), None)

    return find_layout


def _detect_mapping(mappings: Sequence[FormatMapping], names: frozenset[str], columns: Columns) -> FormatMapping | None:
    """Return the mapping of the only format that matches, or None."""
    matches = [mapping for mapping in mappings if mapping.matches(names, columns)]
    return matches[0] if len({mapping.format for mapping in matches}) == 1 else None
