"""Parser of records: bytes in, events or rejected records out.

The parser is pure: it uses no clock, environment or connector. Every record yields events or one `Rejected`, whatever
its bytes. Codes are listed in `freshflow.events.reject_codes`; only the code `ahead` is assigned elsewhere
(`freshflow.users.clock_skew`).

A record in another format (`freshflow.events.formats`) can contain several events, or none if their types are unknown;
these are counted by name in `EventParser.n_unknown_type`. Such a record is accepted or rejected as a whole.

Two parsers share the work. Most records are interactions in plain JSON: a typed msgspec decoder parses them in about
2 µs. All other records go to the strict parser (`freshflow.events.builders`), which accepts every valid record and
explains the faults of the others. Both return the same event for a record that the fast one accepts; a property test
checks this.
"""

import json
from collections import Counter
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, structs

from freshflow.config.schema import EventsConfig
from freshflow.events.builders import CONTROL_BUILDERS, build_interaction, scale_weight
from freshflow.events.csv_rows import BadRowError, parse_row
from freshflow.events.fields import MAX_ID_CHARS, VALUE_PLACEHOLDER, Fields, InvalidRecordError
from freshflow.events.formats.registry import FormatSelector
from freshflow.events.identity import (
    ANONYMOUS_PREFIX,
    MAX_ANONYMOUS_ID_CHARS,
    find_identify,
    is_anonymous_id,
    resolve_user_id,
)
from freshflow.events.model import (
    CONTROL_TYPES,
    Event,
    Forget,
    Identify,
    Interaction,
    ItemUpdate,
    Origin,
    RawBatch,
    Rejected,
    Request,
    Search,
)
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.events.timestamps import EARLIEST_MS, EPOCH_SECONDS_LIMIT, LATEST_MS, format_duration

MAX_UNKNOWN_TYPES, OTHER_TYPES_KEY = 50, "others"  # bounds memory: a stream can contain any number of names
MAX_TYPE_NAME_CHARS = 60  # of a counted name

PlainText = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
PlainInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class _PlainLine(msgspec.Struct, gc=False):
    """An interaction in plain JSON; all fields are optional, so that decoding fails only on invalid values."""

    type: str | None = None
    user_id: PlainText | PlainInt | None = None
    item_id: PlainText | PlainInt | None = None
    ts: Annotated[datetime, Meta(tz=True)] | int | float | None = None
    event_id: PlainText | PlainInt | None = None
    session_id: PlainText | PlainInt | None = None
    value: float | None = None


class _PlainAnonymousLine(_PlainLine, gc=False):
    """The same with anonymous users enabled; records with a `guest_id` go to the strict parser."""

    guest_id: PlainText | PlainInt | None = None


_decode_plain = msgspec.json.Decoder(_PlainLine).decode
_decode_plain_anonymous = msgspec.json.Decoder(_PlainAnonymousLine).decode


class EventParser:
    """A parser of records for one configuration.

    `n_unknown_type` counts events of unknown types in other formats, by name for at most `MAX_UNKNOWN_TYPES` names.

    With `pseudonyms`, no output contains a user id: events carry pseudonyms, and rejected records neither their bytes
    nor values quoted from them. With `has_anonymous_users`, events without a `user_id` belong to anonymous users
    (`freshflow.events.identity`).
    """

    def __init__(
        self, config: EventsConfig, pseudonyms: Pseudonyms | None = None, *, has_anonymous_users: bool = False
    ) -> None:
        self._pseudonyms = pseudonyms
        self._has_anonymous_users = has_anonymous_users
        self._decode_line = _decode_plain_anonymous if has_anonymous_users else _decode_plain
        self._max_bytes = config.max_bytes
        self._max_future_ms = round(config.max_future_s * 1000)
        self._ts_limit_ms = LATEST_MS
        self._full_values = dict(config.full_value)
        self._formats = FormatSelector(config, has_anonymous_users=has_anonymous_users)
        self.n_unknown_type: Counter[str] = Counter()
        self._weights = {name: weight for name, weight in config.weights.items() if name not in CONTROL_TYPES}

    def parse(self, batch: RawBatch) -> tuple[list[Event], list[Rejected]]:
        """Parse a batch; return its events and its rejected records, each in order of position.

        Without a `read_ms` (0), no event is rejected as too far in the future.
        """
        self._ts_limit_ms = min(batch.read_ms + self._max_future_ms + 1, LATEST_MS) if batch.read_ms else LATEST_MS
        events: list[Event] = []
        rejected: list[Rejected] = []
        is_plain = batch.columns is None and self._formats.accepts_native
        for position, raw in batch.records:
            event = self._parse_plain(position, raw) if is_plain and raw is not None else None
            if event is not None:
                events.append(event)
                continue
            try:
                events += self._parse_strict(position, raw, batch)
            except InvalidRecordError as error:
                rejected.append(self._build_rejected(batch.origin, position, raw, error))
        if self._pseudonyms is not None:
            events = list(map(self._pseudonyms.pseudonymise_event, events))
        return events, rejected

    def _build_rejected(self, origin: Origin, position: int, raw: bytes | None, error: InvalidRecordError) -> Rejected:
        if self._pseudonyms is None or raw is None:
            return Rejected(origin, position, raw, error.code, error.reason, redacted_reason=error.redacted_reason)
        # An invalid record can contain a user id anywhere, for example in a field of another name.
        return Rejected(origin, position, None, error.code, error.redacted_reason, n_hidden_bytes=len(raw))

    def _parse_plain(self, position: int, raw: bytes) -> Interaction | None:
        """Parse an interaction in plain JSON; return None if the record needs the strict parser.

        All code is inlined: one call costs a twentieth of the whole function.
        """
        if len(raw) > self._max_bytes:
            return None
        try:
            if not raw.isascii():
                raw.decode()  # the decoder does not validate skipped fields
            line = self._decode_line(raw)
        except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
            return None
        weight = self._weights.get(line.type)  # type: ignore[arg-type]  # None is not a key
        user_id, item_id, ts = line.user_id, line.item_id, line.ts
        if self._has_anonymous_users:
            user_id = _plain_user_id(line)
        if weight is None or user_id is None or item_id is None or ts is None:
            return None
        if isinstance(ts, datetime):
            ts_ms = round(ts.timestamp() * 1000)
        else:
            ts_ms = round(ts * 1000) if ts < EPOCH_SECONDS_LIMIT else round(ts)
        if not EARLIEST_MS <= ts_ms < self._ts_limit_ms:
            return None
        event_id, session_id = line.event_id, line.session_id
        return Interaction(
            position,
            line.type,  # type: ignore[arg-type]  # a key of the weights
            user_id if isinstance(user_id, str) else str(user_id),
            item_id if isinstance(item_id, str) else str(item_id),
            ts_ms,
            weight if line.value is None else scale_weight(weight, line.value, self._full_values.get(line.type)),  # type: ignore[arg-type]
            str(event_id) if isinstance(event_id, int) else event_id,
            str(session_id) if isinstance(session_id, int) else session_id,
            line.value,
        )

    def _parse_strict(self, position: int, raw: bytes | None, batch: RawBatch) -> list[Event]:
        """Parse any record; raise `InvalidRecordError` if it is invalid."""
        record = _decode_record(self._decode_text(raw), batch.columns, batch.separator)
        reader = self._formats.find_reader(record, batch.columns)
        if reader is None:
            return self._build_events(position, Fields(record))
        result = reader.read(record, raw)
        events: list[Event] = []
        for nth, mapped_event in enumerate(result.events):
            try:
                events += self._build_events(position, Fields(mapped_event.values), nth)
            except InvalidRecordError as error:
                raise error.with_field(mapped_event.source_name(error.field)) if error.field else error from None
        self._count_unknown_types(result.unknown_types)
        return events

    def _count_unknown_types(self, names: list[str]) -> None:
        for type_name in names:
            # An unknown type can be a misplaced user id, so its name is withheld with pseudonyms.
            short_name = type_name[:MAX_TYPE_NAME_CHARS] if self._pseudonyms is None else OTHER_TYPES_KEY
            name = short_name if short_name.isprintable() else repr(short_name)
            is_known = name in self.n_unknown_type or len(self.n_unknown_type) < MAX_UNKNOWN_TYPES
            self.n_unknown_type[name if is_known else OTHER_TYPES_KEY] += 1

    def _build_events(self, position: int, fields: Fields, nth: int = 0) -> list[Event]:
        """Build the event of the fields, preceded by an `Identify` if the record identifies an anonymous user."""
        event = self._build_event(position, fields)
        if nth:
            return [_with_nth(event, nth)]
        has_user = self._has_anonymous_users and isinstance(event, Interaction | Request | Search)
        identify_event = find_identify(position, fields) if has_user else None
        return [event] if identify_event is None else [identify_event, event]

    def _build_event(self, position: int, fields: Fields) -> Event:
        type_ = self._event_type(fields)
        if self._has_anonymous_users and type_ not in ("item", "identify"):
            fields = resolve_user_id(fields)
        if type_ in CONTROL_BUILDERS:
            event = CONTROL_BUILDERS[type_](position, fields)
        else:
            event = build_interaction(position, fields, type_, self._weights[type_], self._full_values.get(type_))
        if event.ts_ms >= self._ts_limit_ms:
            ahead_s = (event.ts_ms - self._ts_limit_ms + self._max_future_ms + 1) / 1000
            raise InvalidRecordError(
                "future",
                f"ts = {VALUE_PLACEHOLDER} is {format_duration(ahead_s)} after the time the record was read, more than "
                f"events.max_future_s = {self._max_future_ms / 1000:g} seconds: correct the clock of the sender.",
                fields.values["ts"],
                field="ts",
            )
        return event

    def _decode_text(self, raw: bytes | None) -> str:
        """Decode a record; raise `InvalidRecordError` if it is empty, too large or not UTF-8."""
        if raw is None:
            raise InvalidRecordError("empty", "The record is a tombstone; to delete a user, send a forget event.")
        if len(raw) > self._max_bytes:
            reason = f"The record is longer than events.max_bytes = {self._max_bytes} bytes."
            raise InvalidRecordError("too_large", reason)
        if not raw.strip():
            raise InvalidRecordError("empty", "The record is blank.")
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            reason = f"The record is not UTF-8: byte {error.start + 1} is 0x{raw[error.start]:02x}."
            raise InvalidRecordError("not_utf8", reason) from None

    def _event_type(self, fields: Fields) -> str:
        value = fields.values.get("type")
        if value is None or value == "":
            raise InvalidRecordError(
                "missing_field", "type is missing or empty: every event requires it.", field="type"
            )
        if not isinstance(value, str):
            raise InvalidRecordError(
                "wrong_type", f"type = {VALUE_PLACEHOLDER} is not allowed: give a string.", value, field="type"
            )
        if value == "identify" and not self._has_anonymous_users:
            reason = f"type = {VALUE_PLACEHOLDER} requires users.guests = true: enable it, or do not send such events."
            raise InvalidRecordError("unknown_type", reason, value, field="type")
        if value not in self._weights and value not in CONTROL_BUILDERS:
            known_types = ", ".join(
                [*self._weights, *(name for name in CONTROL_TYPES if self._has_anonymous_users or name != "identify")]
            )
            reason = f"type = {VALUE_PLACEHOLDER} is unknown: use one of {known_types}, or add it to events.weights."
            raise InvalidRecordError("unknown_type", reason, value, field="type")
        return value


def parse_record(
    origin: Origin, position: int, raw: bytes | None, *, columns: tuple[str, ...] | None, config: EventsConfig
) -> Event | Rejected:
    """Parse one record; `EventParser` parses many.

    >>> line = b'{"type": "view", "user_id": 7, "item_id": "a", "ts": "2024-05-01T12:00:00Z"}'
    >>> event = parse_record(Origin("file", "-"), 1, line, columns=None, config=EventsConfig())
    >>> event.type, event.user_id, event.item_id, event.ts_ms, event.weight
    ('view', '7', 'a', 1714564800000, 1.0)

    Args:
        origin: The log of the record.
        position: Its position in the log.
        raw: Its bytes, or None for a tombstone.
        columns: Column names of a CSV row; None for other formats.
        config: The `[events]` section of the configuration.
    """
    events, rejected = EventParser(config).parse(RawBatch(origin, ((position, raw),), 0, columns))
    return events[0] if events else rejected[0]


def _with_nth(event: Event, nth: int) -> Event:
    if isinstance(event, ItemUpdate | Forget | Identify):
        reason = "The record has several events, one of type item, forget or identify: send that in its own record."
        raise InvalidRecordError("wrong_type", reason)
    return structs.replace(event, nth=nth)


def _plain_user_id(line: _PlainLine) -> str | int | None:
    """Return the id of the user or anonymous user; None if the record needs the strict parser."""
    if not isinstance(line, _PlainAnonymousLine) or line.guest_id is not None:
        return None
    user_id, session_id = line.user_id, line.session_id
    if user_id is None:
        is_short = session_id is not None and len(str(session_id)) <= MAX_ANONYMOUS_ID_CHARS
        return f"{ANONYMOUS_PREFIX}{session_id}" if is_short else None
    return None if isinstance(user_id, str) and is_anonymous_id(user_id) else user_id


def _decode_record(text: str, columns: tuple[str, ...] | None, separator: str) -> dict[str, object]:
    if columns is not None:
        try:
            return parse_row(columns, text, separator)
        except BadRowError as error:
            raise InvalidRecordError("bad_row", str(error)) from None
    try:
        values = _decode_json(text)
    except ValueError as error:
        reason = f"The record is not JSON: {str(error)[:1].lower()}{str(error)[1:]}, in {VALUE_PLACEHOLDER}."
        raise InvalidRecordError("not_json", reason, text) from None
    except RecursionError:
        raise InvalidRecordError("not_json", "The record is nested too deeply.") from None
    if not isinstance(values, dict):
        reason = f"The record is {VALUE_PLACEHOLDER}, not an object: give the fields of one event in braces."
        raise InvalidRecordError("not_an_object", reason, values)
    return values


def _decode_json(text: str) -> object:
    """Decode JSON, also with the numbers NaN and Infinity, which are harmless in unused fields."""
    try:
        return msgspec.json.decode(text)
    except ValueError:
        return json.loads(text, parse_int=_parse_integer)


def _parse_integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts: its guard against quadratic time
        return float("inf")
