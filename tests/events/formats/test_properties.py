"""Whatever stands in a record, it gives events, is refused in one sentence, or is passed over by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.config.schema import EventsConfig
from freshflow.events.formats.registry import format_names
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser

GA4 = {
    "client_id": "x",
    "timestamp_micros": 1609459200123456,
    "events": [{"name": "view_item", "params": {"session_id": "1", "items": [{"item_id": "a"}, {"item_name": "b"}]}}],
}
EXPORT = {
    "event_name": "purchase",
    "event_timestamp": "1609459200123456",
    "user_pseudo_id": "u",
    "event_params": [{"key": "ga_session_id", "value": {"int_value": "4520177140"}}],
    "items": [{"item_id": "a"}],
}
SEGMENT = {
    "type": "track",
    "event": "Products Searched",
    "messageId": "m",
    "userId": "u",
    "timestamp": "2012-12-02T00:30:12Z",
    "properties": {"query": "q", "products": [{"product_id": "a"}, {"sku": "b"}]},
}
QUERY = {"query_id": "q", "client_id": "c", "user_query": "t", "timestamp": "2018-11-13T20:20:39Z"}
OTTO = {"session": 42, "events": [{"aid": 0, "ts": 1661200010000, "type": "clicks"}]}
ENVELOPE = {"specversion": "1.0", "source": "/s", "id": "1", "type": "x.view", "time": "2018-04-05T17:31:00Z"}
RECORDS = [GA4, EXPORT, SEGMENT, QUERY | {"query_response_hit_ids": ["a"]}, OTTO]
RECORDS += [ENVELOPE | {"data": record} for record in (*RECORDS, {"user_id": "u", "item_id": "i"})]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "value", "id", "type"]), inner),
    max_leaves=5,
)


def places(record, path=()):
    """Every place in a record."""
    yield path
    entries = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for name, inner in entries:
        yield from places(inner, (*path, name))


def replaced(record, path, value):
    if not path:
        return value
    copy = dict(record) if isinstance(record, dict) else list(record)
    copy[path[0]] = replaced(record[path[0]], path[1:], value)
    return copy


@st.composite
def broken(draw):
    """A record of a known shape with something else at one of its places."""
    record = draw(st.sampled_from(RECORDS))
    return replaced(record, draw(st.sampled_from(list(places(record)))), draw(ANYTHING))


@pytest.mark.parametrize("record", RECORDS)
def test_whole_records_give_events(record):
    events, rejected = EventParser(EventsConfig()).parse(
        RawBatch(Origin("file", "e"), ((1, json.dumps(record).encode()),), 0)
    )
    assert events
    assert not rejected


@given(broken(), st.sampled_from(format_names()))
def test_every_record_is_accounted_for(record, name: str):
    parser = EventParser(EventsConfig(format=name))
    events, rejected = parser.parse(RawBatch(Origin("file", "e"), ((1, json.dumps(record).encode()),), 0))
    assert len(rejected) <= 1
    assert not (events and rejected)
    assert events or rejected or parser.n_unknown_type
    assert [event.nth for event in events] == list(range(len(events)))
    for refusal in rejected:
        assert refusal.reason.endswith(".")
        assert "\n" not in refusal.reason
        refusal.reason.encode()
    json.dumps(parser.n_unknown_type, ensure_ascii=False).encode()
