"""What holds for events of our shape holds for others: pseudonyms, refusals that quote nobody, times in the future."""

import json

import msgspec
import pytest

from freshflow.config.schema import Config, EventsConfig, PrivacyConfig
from freshflow.events.model import Forget, Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.recommender import Recommender

KEY = "0123456789abcdef0123456789abcdef"
NAMES = Pseudonyms(KEY)
ORIGIN = Origin("topic", "events", 3)
TS_MS = 1_714_564_800_000
ID = "zz-jane@example.org"


def otto(*events: dict, user: object = ID) -> dict:
    """A record of OTTO with so many events."""
    return {
        "session": user,
        "events": [{"aid": n, "ts": TS_MS, "type": "clicks"} | one for n, one in enumerate(events)],
    }


def parsed(record: dict, pseudonyms: Pseudonyms | None = NAMES, read_ms: int = 0, **settings):
    parser = EventParser(EventsConfig(**settings), pseudonyms)
    events, rejected = parser.parse(RawBatch(ORIGIN, ((5, json.dumps(record).encode()),), read_ms))
    return events, rejected, parser.n_unknown_type


def test_adapted_events_have_pseudonyms_and_keep_their_numbers():
    hidden, _, _ = parsed(otto({}, {}, {}))
    plain, _, _ = parsed(otto({}, {}, {}), None)
    assert hidden == [NAMES.pseudonymise_event(event) for event in plain]
    assert [(event.user_id, event.position, event.nth) for event in hidden] == [
        (NAMES.pseudonymise(ID), 5, n) for n in range(3)
    ]
    assert ID.encode() not in msgspec.json.encode(hidden)


REFUSED = [
    otto({}, {"ts": ID}),
    otto({}, {"type": [ID]}),
    otto({}, {"aid": 40 * ID}),
    otto({}, {"aid": ID + "\ud800"}),
    otto({}, user=[ID]),
    {"session": ID, "events": ID},
    {"specversion": "1.0", "type": ID, "source": ID, "id": ID, "data": {"user_id": ID, "item_id": "i", "ts": TS_MS}}
    | {"type": 7},
    {"specversion": "1.0", "type": "view", "source": ID, "id": ID, "data": ID},
]


@pytest.mark.parametrize("record", REFUSED)
def test_a_refusal_of_an_adapted_record_neither_quotes_nor_keeps_it(record):
    events, (rejected,), _ = parsed(record)
    assert not events
    assert ID.encode() not in msgspec.json.encode(rejected)
    assert rejected.n_hidden_bytes == len(json.dumps(record).encode())
    _, (plain,), _ = parsed(record, None)
    assert plain.code == rejected.code


def test_a_field_goes_by_the_name_it_has_in_the_record_whether_its_value_is_quoted_or_not():
    for pseudonyms, shown in ((None, f"'{ID}'"), (NAMES, "***")):
        _, (rejected,), _ = parsed(otto({}, {"ts": ID}), pseudonyms)
        assert rejected.reason.startswith(f"events[1].ts = {shown} is not a time: ")


def test_types_that_are_passed_over_are_counted_without_names_where_users_have_pseudonyms():
    record = otto({"type": ID}, {"type": "hover"}, {})
    assert parsed(record)[2] == {"others": 2}
    assert parsed(record, None)[2] == {ID: 1, "hover": 1}


def test_a_record_with_an_event_too_far_in_the_future_is_refused_whole():
    record = otto({}, {"ts": TS_MS + 3_600_001})
    events, (rejected,), _ = parsed(record, None, read_ms=TS_MS)
    assert (events, rejected.code) == ([], "future")
    assert rejected.reason.startswith(f"events[1].ts = {TS_MS + 3_600_001} is 3,600 seconds after")
    assert len(parsed(record, None, read_ms=TS_MS + 1)[0]) == 2
    _, (hidden,), _ = parsed(record, read_ms=TS_MS)
    assert hidden.reason.startswith("events[1].ts = *** is 3,600 seconds after")


@pytest.mark.parametrize("settings", [{}, {"format": "ga4"}, {"format": "otto"}, {"map": {"user_id": "visitor.id"}}])
def test_what_the_forget_command_writes_is_read_whatever_the_format(settings):
    ((forget,), _, _) = parsed({"type": "forget", "user_id": "u", "ts": TS_MS}, None, **settings)
    assert forget == Forget(5, "u", TS_MS)


def test_several_catalogue_events_in_one_record_are_refused():
    events, (rejected,), _ = parsed(otto({}, {}), None, format="otto", map={"type": "=item"})
    assert (events, rejected.code) == ([], "wrong_type")


@pytest.mark.parametrize("privacy", [PrivacyConfig(), PrivacyConfig(pseudonymise=True, key=KEY)])
def test_the_library_learns_from_another_shape_and_is_asked_in_its_own(privacy):
    made = Recommender(Config(events=EventsConfig(format="otto"), privacy=privacy))
    for n in range(20):
        made.learn_one(otto({"aid": "tea"}, {"aid": "cup", "ts": TS_MS + 60_000 * n + 1}, user=f"u{n}"))
    assert {item.item_id for item in made.recommend("u1")} == {"tea", "cup"}
