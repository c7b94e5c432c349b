"""The formats by name, and which of them a record or a file is of."""

import re
from collections.abc import Callable
from typing import Protocol

from freshflow.config.schema import AUTO_FORMAT, DEFAULT_WEIGHTS, EVENT_FIELDS, NATIVE_FORMAT, EventsConfig
from freshflow.events.formats import (
    ga4,
    movielens,
    otto,
    rees46,
    retailrocket,
    segment,
    snowplow,
    taobao,
    ubi,
    yoochoose,
)
from freshflow.events.formats.adapter import Adapter, AdapterResult
from freshflow.events.formats.cloudevents import ENVELOPE_SIGNATURE, EnvelopeReader
from freshflow.events.formats.cloudevents import FORMAT as CLOUDEVENTS
from freshflow.events.formats.mapping import FormatMapping, JsonRecord, Layout
from freshflow.events.model import CONTROL_TYPES

__all__ = ["FORMATS", "FormatRegistry", "create_layout_finder"]

FORMAT_MODULES = (ga4, segment, snowplow, ubi, otto, retailrocket, yoochoose, movielens, taobao, rees46)
ALL_MAPPINGS = tuple(mapping for module in FORMAT_MODULES for mapping in module.MAPPINGS)
FORMATS = (AUTO_FORMAT, NATIVE_FORMAT, CLOUDEVENTS, *dict.fromkeys(mapping.format for mapping in ALL_MAPPINGS))

NATIVE_SIGNATURE = frozenset({"type", "ts"})  # a record with both is taken for ours, whatever else it has
# Of what `freshflow forget` writes, which is read whatever the format.
FORGET_SIGNATURES = (frozenset({"type", "user_id", "ts"}), frozenset({"type", "session_id", "ts"}))
NATIVE_MAPPING = FormatMapping(
    format=NATIVE_FORMAT, fields={name: (name,) for name in EVENT_FIELDS}, type_paths=("type",)
)

Columns = tuple[str, ...] | None


class RecordReader(Protocol):
    """An adapter, or an envelope with one inside."""

    def read(self, record: JsonRecord, raw: bytes | None) -> AdapterResult:
        """The events of a record."""


class FormatRegistry:
    """The adapters of one configuration; with `guests`, devices are guests and no users."""

    def __init__(self, config: EventsConfig, *, has_anonymous_users: bool = False) -> None:
        self._format = config.format
        added_types = {name: name for name in config.weights if name not in DEFAULT_WEIGHTS} | config.types
        known_types = {name: name for name in (*config.weights, *CONTROL_TYPES)} | config.types
        mappings_by_id = {
            id(mapping): mapping.with_anonymous() if has_anonymous_users else mapping for mapping in ALL_MAPPINGS
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
        """Whether a record is first to be read as one of ours."""
        return self._format in (AUTO_FORMAT, NATIVE_FORMAT) and self._native_adapter is None

    def find_reader(self, record: JsonRecord, columns: Columns) -> RecordReader | None:
        """What reads a record; None means that it is one of ours as it stands."""
        if columns is None:
            names = frozenset(record)
            return (
                None if names in FORGET_SIGNATURES and record["type"] == "forget" else self._choose_reader(names, None)
            )
        if columns not in self._readers_by_columns:
            self._readers_by_columns[columns] = self._choose_reader(frozenset(columns), columns)
        return self._readers_by_columns[columns]

    def _choose_reader(self, names: frozenset[str], columns: Columns) -> RecordReader | None:
        if self._format == CLOUDEVENTS:
            return self._envelope_reader
        if self._format not in (AUTO_FORMAT, NATIVE_FORMAT):
            mappings = [mapping for mapping in ALL_MAPPINGS if mapping.format == self._format]
            return self._adapters[
                id(next((mapping for mapping in mappings if mapping.matches(names, columns)), mappings[0]))
            ]
        if self._has_field_map or self._format == NATIVE_FORMAT or names >= NATIVE_SIGNATURE:
            return self._native_adapter
        if columns is None and names >= ENVELOPE_SIGNATURE:
            return self._envelope_reader
        mapping = _detect_mapping(names, columns)
        return self._native_adapter if mapping is None else self._adapters[id(mapping)]

    def _choose_payload_adapter(self, record: JsonRecord) -> Adapter:
        """What reads a record inside an envelope."""
        names = frozenset(record)
        mapping = None if names >= NATIVE_SIGNATURE else _detect_mapping(names, None)
        return self._payload_adapter if mapping is None else self._adapters[id(mapping)]


def create_layout_finder(config: EventsConfig) -> Callable[[str], Layout | None]:
    """What tells from the first line of a file how it is laid out, if it has no header."""
    mappings = [mapping for mapping in ALL_MAPPINGS if config.format in (AUTO_FORMAT, mapping.format)]
    layouts = [layout for mapping in mappings for layout in mapping.layouts]

    def find_layout(first_line: str) -> Layout | None:
        return next((layout for layout in layouts if re.fullmatch(layout.first_line, first_line)), None)

    return find_layout


def _detect_mapping(names: frozenset[str], columns: Columns) -> FormatMapping | None:
    """The table of the one format that has these names."""
    mappings = [mapping for mapping in ALL_MAPPINGS if mapping.matches(names, columns)]
    return mappings[0] if len({mapping.format for mapping in mappings}) == 1 else None
