"""The formats by name, and which of them a record or a file is of."""

import re
from collections.abc import Callable
from typing import Protocol

from freshflow.config.schema import AUTO, DEFAULT_WEIGHTS, EVENT_FIELDS, OURS, EventsConfig
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
from freshflow.events.formats.adapter import Adapter, Found
from freshflow.events.formats.cloudevents import FORMAT as CLOUDEVENTS
from freshflow.events.formats.cloudevents import KNOWN_BY as ENVELOPE
from freshflow.events.formats.cloudevents import Envelope
from freshflow.events.formats.mapping import Layout, Record, Table
from freshflow.events.model import CONTROL_TYPES

__all__ = ["FORMATS", "Formats", "layout_finder"]

MODULES = (ga4, segment, snowplow, ubi, otto, retailrocket, yoochoose, movielens, taobao, rees46)
TABLES = tuple(table for module in MODULES for table in module.TABLES)
FORMATS = (AUTO, OURS, CLOUDEVENTS, *dict.fromkeys(table.format for table in TABLES))

OUR_MARK = frozenset({"type", "ts"})  # a record with both is taken for ours, whatever else it has
# Of what `freshflow forget` writes, which is read whatever the format.
FORGET_NAMES = (frozenset({"type", "user_id", "ts"}), frozenset({"type", "session_id", "ts"}))
OUR_TABLE = Table(format=OURS, fields={name: (name,) for name in EVENT_FIELDS}, type_at=("type",))

Columns = tuple[str, ...] | None


class Reader(Protocol):
    """An adapter, or an envelope with one inside."""

    def read(self, record: Record, raw: bytes | None) -> Found:
        """The events of a record."""


class Formats:
    """The adapters of one configuration; with `guests`, devices are guests and no users."""

    def __init__(self, config: EventsConfig, *, guests: bool = False) -> None:
        self._format = config.format
        added = {name: name for name in config.weights if name not in DEFAULT_WEIGHTS} | config.types
        known = {name: name for name in (*config.weights, *CONTROL_TYPES)} | config.types
        shown = {id(table): table.with_guests() if guests else table for table in TABLES}
        self._adapters = {id_: Adapter(table, config.map, {**table.types, **added}) for id_, table in shown.items()}
        self._enveloped = Adapter(OUR_TABLE, config.map, known)
        self._mapped = bool(config.map)
        renamed = self._mapped or config.types
        self._renamed = Adapter(OUR_TABLE, config.map, None, config.types) if renamed else None
        self._envelope = Envelope(self._inside)
        self._by_columns: dict[Columns, Reader | None] = {}

    @property
    def takes_ours(self) -> bool:
        """Whether a record is first to be read as one of ours."""
        return self._format in (AUTO, OURS) and self._renamed is None

    def reader(self, record: Record, columns: Columns) -> Reader | None:
        """What reads a record; None means that it is one of ours as it stands."""
        if columns is None:
            names = frozenset(record)
            return None if names in FORGET_NAMES and record["type"] == "forget" else self._chosen(names, None)
        if columns not in self._by_columns:
            self._by_columns[columns] = self._chosen(frozenset(columns), columns)
        return self._by_columns[columns]

    def _chosen(self, names: frozenset[str], columns: Columns) -> Reader | None:
        if self._format == CLOUDEVENTS:
            return self._envelope
        if self._format not in (AUTO, OURS):
            tables = [table for table in TABLES if table.format == self._format]
            return self._adapters[id(next((table for table in tables if table.knows(names, columns)), tables[0]))]
        if self._mapped or self._format == OURS or names >= OUR_MARK:
            return self._renamed
        if columns is None and names >= ENVELOPE:
            return self._envelope
        table = _detected(names, columns)
        return self._renamed if table is None else self._adapters[id(table)]

    def _inside(self, record: Record) -> Adapter:
        """What reads a record inside an envelope."""
        names = frozenset(record)
        table = None if names >= OUR_MARK else _detected(names, None)
        return self._enveloped if table is None else self._adapters[id(table)]


def layout_finder(config: EventsConfig) -> Callable[[str], Layout | None]:
    """What tells from the first line of a file how it is laid out, if it has no header."""
    tables = [table for table in TABLES if config.format in (AUTO, table.format)]
    layouts = [layout for table in tables for layout in table.layouts]

    def find(first_line: str) -> Layout | None:
        return next((layout for layout in layouts if re.fullmatch(layout.first_line, first_line)), None)

    return find


def _detected(names: frozenset[str], columns: Columns) -> Table | None:
    """The table of the one format that has these names."""
    tables = [table for table in TABLES if table.knows(names, columns)]
    return tables[0] if len({table.format for table in tables}) == 1 else None
