"""Pseudonyms: what stands for an id, and that nothing which leaves the parser holds the id itself."""

import hmac
import json
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.config.schema import EventsConfig, PrivacyConfig
from freshflow.events.model import Forget, Interaction, ItemUpdate, Origin, RawBatch, Request, Search
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.outputs.dead_letters import encode_dead_letter

KEY = "0123456789abcdef0123456789abcdef"
NAMES = Pseudonyms(KEY)
PARSER = EventParser(EventsConfig(max_bytes=2000), NAMES)
ORIGIN = Origin("topic", "events", 3)
TS_MS = 1_714_564_800_000
ID = "zz-jane@example.org"
VIEW = {"type": "view", "user_id": ID, "item_id": "i", "ts": TS_MS}


def parse(*raws: bytes | None, columns: tuple[str, ...] | None = None):
    return PARSER.parse(RawBatch(ORIGIN, tuple(enumerate(raws)), 0, columns))


def event(**fields):
    ((one,), rejected) = parse(json.dumps(fields).encode())
    assert not rejected
    return one


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"), min_size=1, max_size=99))
def test_a_pseudonym_is_the_first_half_of_hmac_sha256_in_hexadecimal(id_, key):
    assert Pseudonyms(key).pseudonymise(id_) == hmac.new(key.encode(), id_.encode(), "sha256").hexdigest()[:32]


def test_a_fingerprint_tells_keys_apart():
    assert NAMES.fingerprint == Pseudonyms(KEY).fingerprint != Pseudonyms(KEY[::-1]).fingerprint


def test_nothing_is_replaced_unless_it_is_switched_on():
    assert Pseudonyms.from_config(PrivacyConfig(key=KEY)) is None
    assert Pseudonyms.from_config(PrivacyConfig(pseudonymise=True, key=KEY)).pseudonymise("u") == NAMES.pseudonymise(
        "u"
    )


def test_behaviour_has_pseudonyms_for_the_user_the_session_and_the_event():
    found = event(**VIEW, session_id=f"{ID}-1", event_id=f"{ID}-2", value=3.0)
    expected = Interaction(
        0,
        "view",
        NAMES.pseudonymise(ID),
        "i",
        TS_MS,
        1.0,
        NAMES.pseudonymise(f"{ID}-2"),
        NAMES.pseudonymise(f"{ID}-1"),
        3.0,
    )
    assert found == expected
    assert event(**VIEW) == Interaction(0, "view", NAMES.pseudonymise(ID), "i", TS_MS)


def test_a_number_and_its_text_are_the_same_user():
    assert event(**VIEW | {"user_id": 7}).user_id == event(**VIEW | {"user_id": "7"}).user_id == NAMES.pseudonymise("7")


def test_control_events_name_the_user_by_pseudonym_and_keep_the_rest():
    user = NAMES.pseudonymise(ID)
    common = {"user_id": ID, "ts": TS_MS}
    assert event(type="forget", **common) == Forget(0, user, TS_MS)
    assert event(type="request", **common, request_id="r", k=3) == Request(0, user, TS_MS, "r", 3)
    assert event(type="search", **common, query="Q", items=["a"]) == Search(
        0, user, TS_MS, NAMES.pseudonymise("q"), ("a",)
    )
    assert event(type="item", item_id="i", ts=TS_MS, title="t") == ItemUpdate(0, "i", TS_MS, "t")


REFUSED = [
    json.dumps({"type": "view", "userId": ID, "item_id": "i", "ts": TS_MS}),
    json.dumps(VIEW | {"type": ID}),
    json.dumps(VIEW | {"type": [ID]}),
    json.dumps(VIEW | {"ts": ID}),
    json.dumps(VIEW | {"user_id": 99 * ID}),
    json.dumps(VIEW | {"session_id": True}),
    json.dumps(VIEW | {"value": ID}),
    json.dumps(VIEW | {"user_id": ID + "\ud800"}),
    json.dumps(VIEW | {"type": "request", "k": ID}),
    json.dumps(VIEW)[:-1],
    json.dumps(ID),
    json.dumps(VIEW | {"x": 2000 * "x"}),
    ID,
]


@pytest.mark.parametrize("record", REFUSED)
def test_a_dead_letter_says_what_is_wrong_and_where_and_neither_quotes_nor_keeps_the_record(record):
    raw = record.encode()
    events, (rejected,) = parse(raw)
    assert not events
    assert ID.encode() not in msgspec.json.encode(rejected)
    letter = json.loads(encode_dead_letter(rejected, 123)[1])
    assert ID not in json.dumps(letter)
    assert letter.keys() == {"reason", "code", "source", "rejected_at", "raw_left_out", "raw_bytes"}
    assert letter["raw_bytes"] == len(raw)
    assert letter["source"] == {"topic": "events", "partition": 3, "offset": 0}
    plain = EventParser(EventsConfig(max_bytes=2000)).parse(RawBatch(ORIGIN, ((0, raw),), 0))[1][0]
    assert (plain.code, plain.raw, plain.n_hidden_bytes) == (rejected.code, raw, None)
    assert rejected.reason.endswith(".")


def test_a_reason_names_the_field_without_its_value():
    _, (rejected,) = parse(json.dumps(VIEW | {"ts": ID}).encode())
    assert rejected.reason.startswith("ts = *** is not a time: ")


def test_a_row_of_csv_is_left_out_too():
    _, (rejected,) = parse(f"view,{ID},i".encode(), columns=("type", "user_id", "item_id", "ts"))
    assert ID.encode() not in msgspec.json.encode(rejected)
    assert rejected.n_hidden_bytes


def test_a_tombstone_has_nothing_to_leave_out():
    _, (rejected,) = parse(None)
    assert json.loads(encode_dead_letter(rejected, 1)[1])["raw"] is None


fields = st.dictionaries(
    st.sampled_from(["type", "user_id", "item_id", "ts", "event_id", "session_id", "value", "query", "k", "other"]),
    st.sampled_from(["view", "request", "search", "forget", "item", ID, [ID], {ID: ID}, f"{ID}{ID}", TS_MS, None, 1.5]),
)


@given(fields, st.integers(0, 300), st.sampled_from(["", "}", '"', "[", "\\", "\ud800"]))
def test_no_record_brings_an_id_past_the_parser(some, at, patch):
    text = json.dumps({name: value for name, value in some.items() if name not in ("item_id", "query")})
    for record in (text, text[:at] + patch + text[at:]):
        events, rejected = parse(record.encode("utf-8", "surrogatepass"))
        assert ID.encode() not in msgspec.json.encode(rejected)
        # Ids of items and requests are passed on as they are.
        kept = [msgspec.to_builtins(one) | {"item_id": "", "request_id": "", "type": ""} for one in events]
        assert ID not in json.dumps(kept)


@given(st.text(string.printable, min_size=1, max_size=20).filter(str.strip))
def test_plain_and_careful_reader_give_the_same_pseudonym(id_):
    plain = json.dumps({"type": "view", "user_id": id_, "item_id": "i", "ts": TS_MS})
    careful = json.dumps({"type": "view", "user_id": id_, "item_id": "i", "ts": str(TS_MS)})
    (first, second), _ = parse(plain.encode(), careful.encode())
    assert first.user_id == second.user_id == NAMES.pseudonymise(id_)
