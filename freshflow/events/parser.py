"""Records in, events or refusals out: the one place that knows the wire format of what comes in.

Pure: no clock, no environment, no connector. Every record becomes exactly one `Event` or one `Rejected`,
whatever its bytes are. Codes of a `Rejected` are in `freshflow.events.reject_codes`; `ahead` alone is not found here, but by
`freshflow.users.clock_skew`.

A record of another shape (`freshflow.events.formats`) may give several events, or none where its types are not
known: these are counted by name in `EventParser.passed_over`. Of such a record all events are taken, or it is refused.

Two readers share the work. Most records are behaviour in plain JSON; a typed msgspec decoder takes those in
about 2 µs. What it does not take, for whatever reason, goes to the careful reader (`freshflow.events.builders`),
which takes all that is allowed and finds the words for the rest. Where the fast one takes a record, the
careful one would give the same event; a property test holds them to it.
"""

import json
from collections import Counter
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, structs

from freshflow.config.schema import EventsConfig
from freshflow.events.builders import CONTROLS, build_behaviour, counted
from freshflow.events.csv_rows import BadRowError, row_fields
from freshflow.events.fields import MAX_ID_CHARS, QUOTED, Fields, RefusedError
from freshflow.events.formats.registry import Formats
from freshflow.events.identity import GUEST, MAX_GUEST_CHARS, identified, is_guest, with_owner
from freshflow.events.model import (
    CONTROL_TYPES,
    Behaviour,
    Event,
    Forget,
    Identify,
    ItemUpdate,
    Origin,
    RawBatch,
    Rejected,
    Request,
    Search,
)
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.events.timestamps import EARLIEST_MS, LATEST_MS, SECONDS_BELOW, duration

__all__ = ["EventParser", "parse_record"]

NAMES, OTHERS = 50, "others"  # names come from outside, and a stream may make them up
SHOWN_CHARS = 60  # of a name

PlainText = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
PlainInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class _PlainLine(msgspec.Struct, gc=False):
    """Behaviour as nearly every record spells it; all optional, so only what is there can be wrong."""

    type: str | None = None
    user_id: PlainText | PlainInt | None = None
    item_id: PlainText | PlainInt | None = None
    ts: Annotated[datetime, Meta(tz=True)] | int | float | None = None
    event_id: PlainText | PlainInt | None = None
    session_id: PlainText | PlainInt | None = None
    value: float | None = None


class _PlainGuestLine(_PlainLine, gc=False):
    """The same where guests are known; a named one needs a closer look."""

    guest_id: PlainText | PlainInt | None = None


_decode_plain = msgspec.json.Decoder(_PlainLine).decode
_decode_guests = msgspec.json.Decoder(_PlainGuestLine).decode


class EventParser:
    """Parses records by one configuration; build it once.

    `passed_over` counts events of other shapes whose types are not known, at most `NAMES` of these by name.

    With `pseudonyms`, nothing that leaves it holds a user's id: neither events nor refusals, which come without the raw
    record and quote nothing of it. With `guests`, who has no user id is one (`freshflow.events.identity`).
    """

    def __init__(self, config: EventsConfig, pseudonyms: Pseudonyms | None = None, *, guests: bool = False) -> None:
        self._pseudonyms = pseudonyms
        self._guests = guests
        self._decode = _decode_guests if guests else _decode_plain
        self._max_bytes = config.max_bytes
        self._future_ms = round(config.future_s * 1000)
        self._before_ms = LATEST_MS
        self._full = dict(config.full)
        self._formats = Formats(config, guests=guests)
        self.passed_over: Counter[str] = Counter()
        self._weights = {name: weight for name, weight in config.weights.items() if name not in CONTROL_TYPES}

    def parse(self, batch: RawBatch) -> tuple[list[Event], list[Rejected]]:
        """The events and the refused records of a batch, each in the order of their positions.

        Without a `read_ms` (0) nothing is too far in the future.
        """
        self._before_ms = min(batch.read_ms + self._future_ms + 1, LATEST_MS) if batch.read_ms else LATEST_MS
        events: list[Event] = []
        rejected: list[Rejected] = []
        plain = batch.columns is None and self._formats.takes_ours
        for position, raw in batch.records:
            event = self._plain(position, raw) if plain and raw is not None else None
            if event is not None:
                events.append(event)
                continue
            try:
                events += self._careful(position, raw, batch)
            except RefusedError as refusal:
                rejected.append(self._rejected(batch.origin, position, raw, refusal))
        if self._pseudonyms is not None:
            events = list(map(self._pseudonyms.hide, events))
        return events, rejected

    def _rejected(self, origin: Origin, position: int, raw: bytes | None, refusal: RefusedError) -> Rejected:
        if self._pseudonyms is None or raw is None:
            return Rejected(origin, position, raw, refusal.code, refusal.reason, unquoted=refusal.unquoted)
        # An id may stand anywhere in what is no event, in a field of another name for instance.
        return Rejected(origin, position, None, refusal.code, refusal.unquoted, left_out=len(raw))

    def _plain(self, position: int, raw: bytes) -> Behaviour | None:
        """The behaviour in a plain record, or None where a closer look is needed.

        Everything is inlined, as a call costs a twentieth of the whole.
        """
        if len(raw) > self._max_bytes:
            return None
        try:
            if not raw.isascii():
                raw.decode()  # the decoder would not look into fields it skips
            line = self._decode(raw)
        except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
            return None
        weight = self._weights.get(line.type)  # type: ignore[arg-type]  # None is no key
        user_id, item_id, ts = line.user_id, line.item_id, line.ts
        if self._guests:
            user_id = _plain_owner(line)
        if weight is None or user_id is None or item_id is None or ts is None:
            return None
        if isinstance(ts, datetime):
            ts_ms = round(ts.timestamp() * 1000)
        else:
            ts_ms = round(ts * 1000) if ts < SECONDS_BELOW else round(ts)
        if not EARLIEST_MS <= ts_ms < self._before_ms:
            return None
        event_id, session_id = line.event_id, line.session_id
        return Behaviour(
            position,
            line.type,  # type: ignore[arg-type]  # a key of the weights
            user_id if isinstance(user_id, str) else str(user_id),
            item_id if isinstance(item_id, str) else str(item_id),
            ts_ms,
            weight if line.value is None else counted(weight, line.value, self._full.get(line.type)),  # type: ignore[arg-type]
            str(event_id) if isinstance(event_id, int) else event_id,
            str(session_id) if isinstance(session_id, int) else session_id,
            line.value,
        )

    def _careful(self, position: int, raw: bytes | None, batch: RawBatch) -> list[Event]:
        """The events in any record; raises `RefusedError`."""
        record = _decode(self._checked(raw), batch.columns, batch.separator)
        reader = self._formats.reader(record, batch.columns)
        if reader is None:
            return self._events(position, Fields(record))
        found = reader.read(record, raw)
        events: list[Event] = []
        for nth, shaped in enumerate(found.events):
            try:
                events += self._events(position, Fields(shaped.values), nth)
            except RefusedError as refusal:
                raise refusal.of(shaped.name_of(refusal.field)) if refusal.field else refusal from None
        self._pass_over(found.passed_over)
        return events

    def _pass_over(self, names: list[str]) -> None:
        for whole in names:
            short = whole[:SHOWN_CHARS] if self._pseudonyms is None else OTHERS  # what is no type may be an id
            name = short if short.isprintable() else repr(short)
            known = name in self.passed_over or len(self.passed_over) < NAMES
            self.passed_over[name if known else OTHERS] += 1

    def _events(self, position: int, fields: Fields, nth: int = 0) -> list[Event]:
        """The event that these fields say, after what its record says of who a guest is; raises `RefusedError`."""
        event = self._event(position, fields)
        if nth:
            return [_numbered(event, nth)]
        named = self._guests and isinstance(event, Behaviour | Request | Search)
        said = identified(position, fields) if named else None
        return [event] if said is None else [said, event]

    def _event(self, position: int, fields: Fields) -> Event:
        """The event that these fields say; raises `RefusedError`."""
        type_ = self._type(fields)
        if self._guests and type_ not in ("item", "identify"):
            fields = with_owner(fields)
        if type_ in CONTROLS:
            event = CONTROLS[type_](position, fields)
        else:
            event = build_behaviour(position, fields, type_, self._weights[type_], self._full.get(type_))
        if event.ts_ms >= self._before_ms:
            ahead_s = (event.ts_ms - self._before_ms + self._future_ms + 1) / 1000
            raise RefusedError(
                "future",
                f"ts = {QUOTED} lies {duration(ahead_s)} after the record was read, more than "
                f"events.future_s = {self._future_ms / 1000:g} seconds: set the clock of what sent it.",
                fields.values["ts"],
                field="ts",
            )
        return event

    def _checked(self, raw: bytes | None) -> str:
        """The text of a record that is neither empty nor too large."""
        if raw is None:
            raise RefusedError("empty", "The record is a tombstone; to delete a user, send a forget event.")
        if len(raw) > self._max_bytes:
            reason = f"The record is longer than events.max_bytes = {self._max_bytes} bytes."
            raise RefusedError("too_large", reason)
        if not raw.strip():
            raise RefusedError("empty", "The record is blank.")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            reason = f"The record is not UTF-8: byte {error.start + 1} is 0x{raw[error.start]:02x}."
            raise RefusedError("not_utf8", reason) from None

    def _type(self, fields: Fields) -> str:
        value = fields.values.get("type")
        if value is None or value == "":
            raise RefusedError("missing_field", "type is missing or empty, and every event needs it.", field="type")
        if not isinstance(value, str):
            raise RefusedError("wrong_type", f"type = {QUOTED} is not allowed: give a string.", value, field="type")
        if value == "identify" and not self._guests:
            reason = f"type = {QUOTED} is for guests, and users.guests is false: set it, or leave such events out."
            raise RefusedError("unknown_type", reason, value, field="type")
        if value not in self._weights and value not in CONTROLS:
            known = ", ".join([*self._weights, *(name for name in CONTROL_TYPES if self._guests or name != "identify")])
            reason = f"type = {QUOTED} is not known: known are {known}; events.weights adds more."
            raise RefusedError("unknown_type", reason, value, field="type")
        return value


def parse_record(
    origin: Origin, position: int, raw: bytes | None, *, columns: tuple[str, ...] | None, config: EventsConfig
) -> Event | Rejected:
    """The event in one record, or why there is none; `EventParser` does the same for many.

    >>> line = b'{"type": "view", "user_id": 7, "item_id": "a", "ts": "2024-05-01T12:00:00Z"}'
    >>> parse_record(Origin("file", "-"), 1, line, columns=None, config=EventsConfig())
    Behaviour(position=1, type='view', user_id='7', item_id='a', ts_ms=1714564800000, weight=1.0, \
event_id=None, session_id=None, value=None)
    """
    events, rejected = EventParser(config).parse(RawBatch(origin, ((position, raw),), 0, columns))
    return events[0] if events else rejected[0]


def _numbered(event: Event, nth: int) -> Event:
    if isinstance(event, ItemUpdate | Forget | Identify):
        reason = "The record has several events of type item, forget or identify: each needs its own."
        raise RefusedError("wrong_type", reason)
    return structs.replace(event, nth=nth)


def _plain_owner(line: _PlainLine) -> str | int | None:
    """The id of the user or guest who acted; None where a closer look is needed."""
    if not isinstance(line, _PlainGuestLine) or line.guest_id is not None:
        return None
    user_id, session_id = line.user_id, line.session_id
    if user_id is None:
        short = session_id is not None and len(str(session_id)) <= MAX_GUEST_CHARS
        return f"{GUEST}{session_id}" if short else None
    return None if isinstance(user_id, str) and is_guest(user_id) else user_id


def _decode(text: str, columns: tuple[str, ...] | None, separator: str) -> dict[str, object]:
    if columns is not None:
        try:
            return row_fields(columns, text, separator)
        except BadRowError as error:
            raise RefusedError("bad_row", str(error)) from None
    try:
        values = _decode_json(text)
    except ValueError as error:
        reason = f"The record is not JSON: {str(error)[:1].lower()}{str(error)[1:]}, in {QUOTED}."
        raise RefusedError("not_json", reason, text) from None
    except RecursionError:
        raise RefusedError("not_json", "The record is nested too deeply.") from None
    if not isinstance(values, dict):
        reason = f"The record is {QUOTED}, no object: give the fields of one event in braces."
        raise RefusedError("not_an_object", reason, values)
    return values


def _decode_json(text: str) -> object:
    """Any JSON, and the numbers that JSON has no spelling for; so an unused field with one does no harm."""
    try:
        return msgspec.json.decode(text)
    except ValueError:
        return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # longer than Python converts, a guard against quadratic time
        return float("inf")
