"""What holds for any record: a parser never raises, and its fast and its careful reader agree."""

import json
import string
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from freshflow.config.schema import DEFAULT_FULL_VALUES, DEFAULT_WEIGHTS, EventsConfig
from freshflow.events.model import Interaction, Origin, RawBatch, Rejected
from freshflow.events.parser import EventParser, parse_record
from freshflow.events.timestamps import EARLIEST_MS, LATEST_MS, parse_epoch_ms

CONFIG = EventsConfig(max_bytes=2000)
PARSER = EventParser(CONFIG)
ORIGIN = Origin("topic", "events", 3)
CODES = {
    *("empty", "too_large", "not_utf8", "not_json", "not_an_object", "bad_row"),
    *("unknown_type", "missing_field", "wrong_type", "not_finite", "bad_time"),
}

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
times_ms = st.integers(EARLIEST_MS, LATEST_MS - 1)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
FIELD_NAMES = [
    *("type", "user_id", "item_id", "ts", "event_id", "session_id", "value", "query", "items", "request_id"),
    *("k", "exclude_seen", "title", "categories", "price", "available", "published_at", "embedding", "other"),
]
names = st.sampled_from(FIELD_NAMES)
types = st.sampled_from([*DEFAULT_WEIGHTS, "request", "search", "item", "forget", "identify"])
objects = st.builds(lambda type_, rest: {"type": type_} | rest, types, st.dictionaries(names, anything))
behaviours = st.fixed_dictionaries(
    {
        "type": st.sampled_from(list(DEFAULT_WEIGHTS)),
        "user_id": texts | st.integers(),
        "item_id": texts | st.integers(),
        "ts": times_ms.filter(lambda ms: ms >= 1e11),
    },
    optional={
        "event_id": texts,
        "session_id": texts,
        "value": st.floats(allow_nan=False, allow_infinity=False),
    },
)


def check(raw, columns=None):
    outcome = parse_record(ORIGIN, 5, raw, columns=columns, config=CONFIG)
    if isinstance(outcome, Rejected):
        assert outcome.code in CODES
        assert outcome.raw == raw
        assert outcome.reason.encode().endswith(b".")
    else:
        assert outcome.position == 5
    return outcome


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise(raw):
    check(raw)


@given(st.binary(max_size=200), st.lists(st.text(max_size=5), max_size=4).map(tuple))
def test_no_bytes_make_the_csv_parser_raise(raw, columns):
    check(raw, columns)


@given(objects, st.booleans())
def test_no_json_makes_the_parser_raise(fields, ensure_ascii):
    text = json.dumps(fields, ensure_ascii=ensure_ascii)
    check(text.encode("utf-8", "surrogatepass"))


@given(objects, st.integers(0, 300), st.sampled_from([b"", b"}", b'"', b"\xff", b"[", b"1e999", b"\\"]))
def test_no_broken_json_makes_the_parser_raise(fields, at, patch):
    raw = json.dumps(fields).encode()
    check(raw[:at] + patch + raw[at + 1 :])


@given(behaviours | objects)
def test_where_the_fast_reader_takes_a_record_the_careful_one_gives_the_same(fields):
    raw = json.dumps(fields).encode()
    plain = PARSER._parse_plain(5, raw)
    if plain is not None:
        assert PARSER._parse_strict(5, raw, RawBatch(ORIGIN, (), 0)) == [plain]


@given(behaviours)
def test_good_behaviour_comes_back_as_it_was_written(fields):
    event = check(json.dumps(fields).encode())
    value, full = fields.get("value"), DEFAULT_FULL_VALUES.get(fields["type"])
    share = 1.0 if value is None or full is None else min(max(value / full, 0.1), 1.0)
    assert event == Interaction(
        5,
        fields["type"],
        str(fields["user_id"]),
        str(fields["item_id"]),
        fields["ts"],
        DEFAULT_WEIGHTS[fields["type"]] * share,
        fields.get("event_id"),
        fields.get("session_id"),
        fields.get("value"),
    )


@given(behaviours)
def test_the_fast_reader_takes_plain_behaviour(fields):
    plain = {name: value for name, value in fields.items() if not isinstance(value, int) or abs(value) < 2**63}
    if plain.keys() == fields.keys():
        assert PARSER._parse_plain(5, json.dumps(fields).encode()) is not None


@given(behaviours)
def test_json_and_csv_say_the_same(fields):
    cells = ['"' + str(value).replace('"', '""') + '"' for value in fields.values()]
    row = check(",".join(cells).encode(), tuple(fields))
    if not any("\r" in cell or "\0" in cell for cell in cells):
        assert row == check(json.dumps(fields).encode())


@given(times_ms, st.integers(-23 * 60, 23 * 60))
def test_iso_and_epoch_agree_to_the_millisecond(time_ms, offset_min):
    instant = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ms)
    local = instant.astimezone(timezone(timedelta(minutes=offset_min)))
    assert parse_epoch_ms(local.isoformat()) == time_ms
    assert parse_epoch_ms(time_ms / 1000) == time_ms
    assert parse_epoch_ms(str(time_ms)) == time_ms


@given(st.text(string.printable, max_size=30))
def test_text_is_a_time_or_a_value_error(text):
    try:
        assert EARLIEST_MS <= parse_epoch_ms(text) < LATEST_MS
    except ValueError as error:
        assert str(error)


@given(st.lists(st.binary(max_size=50) | behaviours.map(lambda f: json.dumps(f).encode()), max_size=20))
def test_every_record_of_a_batch_becomes_exactly_one_event_or_refusal_in_order(raws):
    events, rejected = PARSER.parse(RawBatch(ORIGIN, tuple(enumerate(raws)), 0))
    positions = [event.position for event in events], [refusal.position for refusal in rejected]
    assert positions == (sorted(positions[0]), sorted(positions[1]))
    assert sorted(positions[0] + positions[1]) == list(range(len(raws)))
