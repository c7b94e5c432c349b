"""The engine behind the tables: one decoded record in, the fields of its events in our names out.

A field is looked for from the inside out: in an item, in its event, in the record, in the envelope around it.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Literal, NamedTuple

from freshflow.events.csv_rows import typed_cell
from freshflow.events.fields import QUOTED, RefusedError
from freshflow.events.formats.mapping import Record, Table, found

__all__ = ["Adapter", "Found", "Shaped", "Wrapped"]

LITERAL = "="  # begins what a field is, in a renaming, in place of where it stands
MICROSECONDS_FROM = 10**14  # the year 5138 in milliseconds, March 1973 in microseconds
# A time to which an offset is to be added: as in warehouses, with a blank between date and time.
WITHOUT_OFFSET = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?)(?: UTC)?")

Path = tuple[str, ...]


class Wrapped(NamedTuple):
    """An envelope around a record: its attributes, and what of our fields it says where the record leaves them out."""

    attributes: Record
    name: str  # of the record in it
    fields: Mapping[str, object]
    named: Mapping[str, str]  # what these fields are called there


class Scope(NamedTuple):
    """A part of a record that is searched for fields, and what stands before their names in it."""

    values: object
    prefix: str


class Shaped:
    """One event: `values` are its fields in our names."""

    __slots__ = ("_adapter", "_item", "_scopes", "_wrapped", "values")

    def __init__(
        self,
        adapter: "Adapter",
        values: dict[str, object],
        scopes: list[Scope],
        wrapped: Wrapped | None,
        item: Scope | None = None,
    ) -> None:
        self.values = values
        self._adapter = adapter
        self._scopes = scopes
        self._wrapped = wrapped
        self._item = item

    def name_of(self, ours: str) -> str:
        """What one of our fields is called where this event comes from."""
        return self._adapter.name_of(ours, self._scopes, self._wrapped, self._item)


class Found(NamedTuple):
    """The events of a record, and by name those that were passed over."""

    events: list[Shaped]
    passed_over: list[str]


class Adapter:
    """A table with the renamings of a configuration, ours → theirs, which go before it.

    `types` are theirs → ours, and others are passed over. Without them `type` is a field as any other, of whose values
    `called` says which are called otherwise here.
    """

    def __init__(
        self,
        table: Table,
        renames: Mapping[str, str],
        types: Mapping[str, str] | None,
        called: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._literals: dict[str, object] = {
            ours: theirs[len(LITERAL) :] for ours, theirs in renames.items() if theirs.startswith(LITERAL)
        }
        renamed = {ours: _paths([theirs]) for ours, theirs in renames.items() if ours not in self._literals}
        self._fields = {ours: _paths(places) for ours, places in table.fields.items()} | renamed
        self._in_item = {ours: _paths(places) for ours, places in table.in_item.items()}
        self._in_item |= {ours: paths for ours, paths in renamed.items() if ours in self._in_item}
        self._type_at = renamed.get("type", _paths(table.type_at))
        self._type = self._literals.pop("type", table.type)
        self._types = types
        self._called = called
        self._events = tuple(table.events.split(".")) if table.events else None
        self._items = _paths(table.items)
        self._time = table.time

    def read(self, record: Record, raw: bytes | None, wrapped: Wrapped | None = None) -> Found:
        """The events of a record whose bytes are `raw`. Raises `RefusedError` that names a field of the record.

        Several events of one record share an id: that of the record, or else a digest of its bytes.
        """
        result = Found([], [])
        for scopes in self._events_of(record, wrapped):
            theirs, ours = self._type_of(scopes, wrapped)
            if ours is None:
                result.passed_over.append(theirs)
            elif ours == "search":
                self._add_search(theirs, scopes, wrapped, result)
            elif ours == "identify" and self._types is not None:
                self._add_identify(theirs, scopes, wrapped, result)
            else:
                result.events.extend(self._with_items(ours, scopes, wrapped))
        if len(result.events) > 1:
            record_id = blake2b(raw or b"", digest_size=16).hexdigest()
            for shaped in result.events:
                shaped.values.setdefault("event_id", record_id)
        return result

    def name_of(self, ours: str, scopes: list[Scope], wrapped: Wrapped | None, item: Scope | None = None) -> str:
        """Where a field stands, or all places where it could."""
        if ours == "type":
            paths = self._type_at
        elif item is not None and ours in self._in_item:
            paths, scopes = self._in_item[ours], [item, *scopes]
        else:
            paths = self._fields.get(ours, ())
        for path in paths:
            for values, prefix in scopes:
                if found(values, path) is not None:
                    return prefix + ".".join(path)
        outside = [wrapped.named[ours]] if wrapped is not None and ours in wrapped.named else []
        if outside and wrapped is not None and ours in wrapped.fields:
            return outside[0]
        names = [".".join(path) for path in paths] or [ours]
        if item is None and ours in self._in_item:
            names = [".".join(self._items[0]), *names] if paths else [".".join(self._items[0])]
        return " or ".join([*(scopes[0].prefix + name for name in names), *outside])

    def _events_of(self, record: Record, wrapped: Wrapped | None) -> Iterator[list[Scope]]:
        """The scopes of each event in a record, from the inside out."""
        inside = f"{wrapped.name}." if wrapped else ""
        outer = [Scope(record, inside), *([Scope(wrapped.attributes, "")] if wrapped else [])]
        if self._events is None:
            yield outer
            return
        name = ".".join(self._events)
        events = found(record, self._events)
        if not isinstance(events, list) or not events:
            raise RefusedError("missing_field", f"{inside}{name} is missing, empty or no list.", field=inside + name)
        for n, event in enumerate(events):
            yield [Scope(event, f"{inside}{name}[{n}]."), *outer]

    def _type_of(self, scopes: list[Scope], wrapped: Wrapped | None) -> tuple[str, str | None]:
        """Their type of an event and ours, which is None where the event is passed over."""
        if self._type is not None:
            return str(self._type), str(self._type)
        theirs = _first(scopes, self._type_at)
        from_envelope = theirs is None and wrapped is not None
        if from_envelope and wrapped is not None:
            theirs = wrapped.fields.get("type")
        if theirs is None:
            name = self.name_of("type", scopes, wrapped)
            raise RefusedError("missing_field", f"{name} is missing or empty, and every event needs it.", field=name)
        if not isinstance(theirs, str):
            name = self.name_of("type", scopes, wrapped)
            raise RefusedError("wrong_type", f"{name} = {QUOTED} is not allowed: give a string.", theirs, field=name)
        if self._types is None:
            return theirs, self._called.get(theirs, theirs)
        if from_envelope:  # com.example.view
            return theirs, self._types.get(theirs) or self._types.get(theirs.rpartition(".")[2])
        return theirs, self._types.get(theirs)

    def _shared(self, ours: str, scopes: list[Scope], wrapped: Wrapped | None) -> dict[str, object]:
        """The fields that all events of the items of an event have in common."""
        values: dict[str, object] = {"type": ours}
        for name, paths in self._fields.items():
            value = _first(scopes, paths)
            if value is not None and name != "type":
                values[name] = self._converted(name, value)
        values |= self._literals
        if wrapped is not None:
            for name, value in wrapped.fields.items():
                values.setdefault(name, value)
        return values

    def _with_items(self, ours: str, scopes: list[Scope], wrapped: Wrapped | None) -> Iterator[Shaped]:
        """One event an item."""
        shared = self._shared(ours, scopes, wrapped)
        where = self._listed(scopes[0])
        if where is None:
            yield Shaped(self, shared, scopes, wrapped)
            return
        for n, item in enumerate(where.values if isinstance(where.values, list) else ()):
            within = Scope(item, f"{where.prefix}[{n}].")
            values = {name: value for name, value in shared.items() if name not in self._in_item}
            for name, paths in self._in_item.items():
                value = _first([within], paths)
                if value is not None:
                    values[name] = self._converted(name, value)
            yield Shaped(self, values, scopes, wrapped, within)

    def _add_search(self, theirs: str, scopes: list[Scope], wrapped: Wrapped | None, result: Found) -> None:
        """A search, if it says what was found; else there is nothing to be put in order."""
        values = self._shared("search", scopes, wrapped)
        where = self._listed(scopes[0])
        if where is not None and isinstance(where.values, list):
            ids = [_first([Scope(item, "")], self._in_item["item_id"]) for item in where.values]
            values["items"] = [item_id for item_id in ids if item_id is not None]
        if values.get("items") or self._types is None:
            result.events.append(Shaped(self, values, scopes, wrapped))
        else:
            result.passed_over.append(f"{theirs} without results")

    def _add_identify(self, theirs: str, scopes: list[Scope], wrapped: Wrapped | None, result: Found) -> None:
        """What is said of who a guest is, if it names both; calls that only tell traits of one are none."""
        values = self._shared("identify", scopes, wrapped)
        if values.get("user_id") and (values.get("guest_id") or values.get("session_id")):
            result.events.append(Shaped(self, values, scopes, wrapped))
        else:
            result.passed_over.append(f"{theirs} without a user or a guest")

    def _listed(self, event: Scope) -> Scope | None:
        """The list of items in an event, if it has one that is not empty."""
        for path in self._items:
            items = found(event.values, path)
            if isinstance(items, list) and items:
                return Scope(items, event.prefix + ".".join(path))
        return None

    def _converted(self, ours: str, value: object) -> object:
        if ours == "ts":
            return _time(value, self._time)
        return typed_cell(ours, value) if isinstance(value, str) else value


def _paths(places: tuple[str, ...] | list[str]) -> tuple[Path, ...]:
    return tuple(tuple(place.split(".")) for place in places)


def _first(scopes: list[Scope], paths: tuple[Path, ...]) -> object:
    """What is first found at one of several places, of which the first goes before the second in any scope."""
    for path in paths:
        for values, _ in scopes:
            value = found(values, path)
            if value is not None:
                return value
    return None


def _time(value: object, written: Literal["ours", "microseconds", "utc"]) -> object:
    """A time in a spelling that is ours; what is no time stays, for a refusal to show it.

    >>> _time("1609459200123456", "microseconds"), _time("2019-10-01 00:00:00 UTC", "utc")
    (1609459200123, '2019-10-01 00:00:00+00:00')
    """
    if written == "microseconds":
        digits = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value
        return digits // 1000 if isinstance(digits, int) and digits >= MICROSECONDS_FROM else value
    if written == "utc" and isinstance(value, str) and (match := WITHOUT_OFFSET.fullmatch(value)):
        return f"{match[1]}+00:00"
    return value
