"""Who acts without a user id is a guest, by a name that no user can have; and what says who a guest is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshflow.config.schema import EventsConfig, PrivacyConfig
from freshflow.events.identity import ANONYMOUS_PREFIX, MAX_ANONYMOUS_ID_CHARS
from freshflow.events.model import Forget, Identify, Interaction, Origin, RawBatch, Request, Search
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms

ORIGIN = Origin("file", "events.jsonl")
TS_MS = 1_764_000_000_000
VIEW = {"type": "view", "item_id": "i", "ts": TS_MS}
KEY = 32 * "k"


def parse(*records, guests=True, pseudonyms=None, **settings):
    parser = EventParser(EventsConfig(**settings), pseudonyms, has_anonymous_users=guests)
    raw = tuple((n, json.dumps(record).encode()) for n, record in enumerate(records))
    events, rejected = parser.parse(RawBatch(ORIGIN, raw, 0))
    return events, rejected, parser.n_unknown_type


def event(guests=True, pseudonyms=None, **fields):
    events, rejected, _ = parse(fields, guests=guests, pseudonyms=pseudonyms)
    assert not rejected, rejected
    return events[-1]


def refusal(guests=True, **fields):
    events, (rejected,), _ = parse(fields, guests=guests)
    assert not events
    return rejected.reason


def test_behaviour_with_a_session_alone_is_a_guests_and_keeps_its_session():
    assert event(**VIEW, session_id="s") == Interaction(0, "view", "guest:s", "i", TS_MS, session_id="s")


def test_a_guest_is_known_by_guest_id_rather_than_by_session():
    found = event(**VIEW, session_id="s", guest_id=7)
    assert (found.user_id, found.session_id) == ("guest:7", "s")


def test_requests_searches_and_forgetting_name_a_guest_likewise():
    common = {"session_id": "s", "ts": TS_MS}
    assert event(type="request", **common) == Request(0, "guest:s", TS_MS)
    assert event(type="search", **common, query="q", items=["a"]) == Search(0, "guest:s", TS_MS, "q", ("a",))
    assert event(type="forget", **common) == Forget(0, "guest:s", TS_MS)


def test_a_users_event_stays_the_users_whatever_its_session():
    assert event(**VIEW, user_id="u", session_id="s").user_id == "u"


def test_without_guests_a_session_alone_is_refused_as_ever():
    assert refusal(False, **VIEW, session_id="s") == "user_id is missing or empty: this type of event requires it."


def test_an_event_of_nobody_is_refused_with_what_would_do():
    assert refusal(**VIEW) == ("user_id, guest_id and session_id are missing or empty: give one of them.")


@pytest.mark.parametrize("type_", ["view", "request", "search", "forget", "identify"])
def test_no_user_can_have_the_id_of_a_guest(type_):
    reason = refusal(**VIEW | {"type": type_}, user_id="guest:s", session_id="s", query="q", items=["a"])
    assert reason.startswith("user_id = 'guest:s' is not allowed: with users.guests = true the prefix guest: is")


def test_without_guests_a_user_may_be_called_so():
    assert event(False, **VIEW, user_id="guest:s").user_id == "guest:s"


@pytest.mark.parametrize("name", ["session_id", "guest_id"])
def test_the_name_of_a_guest_leaves_room_for_what_marks_it(name):
    assert len(event(**VIEW, **{name: MAX_ANONYMOUS_ID_CHARS * "s"}).user_id) == MAX_ANONYMOUS_ID_CHARS + len(
        ANONYMOUS_PREFIX
    )
    reason = refusal(**VIEW, **{name: (MAX_ANONYMOUS_ID_CHARS + 1) * "s"})
    assert reason.startswith(f"{name} = 's") and reason.endswith("at most 506 are allowed for the id of a guest.")


ids = st.none() | st.text(max_size=3) | st.sampled_from(["guest:", "guest:s", "s"]) | st.integers(-1, 9)


@given(ids, ids, ids)
def test_the_plain_and_the_careful_reader_take_guests_alike(user_id, guest_id, session_id):
    fields = VIEW | {"user_id": user_id, "guest_id": guest_id, "session_id": session_id}
    (plain, refused, _), (careful, refused_too, _) = parse(fields), parse(fields | {"ts": str(TS_MS)})
    assert plain == careful
    assert [one.reason for one in refused] == [one.reason for one in refused_too]


def test_identify_says_who_a_guest_is():
    assert event(type="identify", user_id="u", session_id="s", ts=TS_MS) == Identify(0, "u", "guest:s", TS_MS)
    assert event(type="identify", user_id="u", guest_id="g", session_id="s", ts=TS_MS).anonymous_id == "guest:g"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"user_id": "u"}, "session_id and guest_id are missing or empty"),
        ({"session_id": "s"}, "user_id is missing or empty: this type"),
        ({"user_id": "u", "session_id": True}, "session_id = true is not allowed"),
        ({}, "user_id is missing or empty: this type"),
    ],
)
def test_an_identify_that_does_not_name_both_is_refused(fields, said):
    assert refusal(type="identify", ts=TS_MS, **fields).startswith(said)


def test_identify_without_guests_says_what_to_set():
    assert refusal(False, type="identify", user_id="u", session_id="s", ts=TS_MS) == (
        "type = 'identify' requires users.guests = true: enable it, or do not send such events."
    )


def test_an_event_that_names_a_user_and_a_device_identifies_the_guest_before_it():
    events, _, _ = parse(VIEW | {"user_id": "u", "guest_id": "g"})
    assert events == [Identify(0, "u", "guest:g", TS_MS), Interaction(0, "view", "u", "i", TS_MS)]


def test_pseudonyms_cover_the_names_of_guests_and_do_not_take_them_for_users():
    names = Pseudonyms.from_config(PrivacyConfig(pseudonymise=True, key=KEY), has_anonymous_users=True)
    plain = Pseudonyms(KEY).pseudonymise("s")
    assert event(**VIEW, session_id="s", pseudonyms=names).user_id == f"guest:{plain}"
    assert event(**VIEW, session_id="s", pseudonyms=names).session_id == plain
    assert event(**VIEW, user_id="s", pseudonyms=names).user_id == plain
    said = event(type="identify", user_id="u", session_id="s", ts=TS_MS, pseudonyms=names)
    assert said == Identify(0, Pseudonyms(KEY).pseudonymise("u"), f"guest:{plain}", TS_MS)
    assert Pseudonyms(KEY).pseudonymise_user("guest:s") == Pseudonyms(KEY).pseudonymise("guest:s")


def test_a_guests_event_written_anew_is_read_as_it_was():
    made = event(**VIEW, session_id="s", guest_id="g", value=2)
    assert event(**json.loads(made.to_record("g"))) == made


GA4 = {"event_name": "view_item", "event_timestamp": TS_MS * 1000, "user_pseudo_id": "d", "items": [{"item_id": "i"}]}
MEASURED = {"client_id": "d", "events": [{"name": "view_item", "params": {"items": [{"item_id": "i"}]}}]}
MEASURED |= {"timestamp_micros": TS_MS * 1000}
SEGMENT = {"messageId": "m", "anonymousId": "d", "timestamp": "2025-11-24T16:00:00Z"}
VIEWED = SEGMENT | {"type": "track", "event": "Product Viewed", "properties": {"product_id": "i"}}
SNOWPLOW = {"event_id": "e", "collector_tstamp": "2025-11-24T16:00:00Z", "domain_userid": "d", "event": "product_view"}
SNOWPLOW |= {"contexts_com_snowplowanalytics_snowplow_ecommerce_product_1": [{"id": "i"}]}
UBI = {"action_name": "click", "client_id": "d", "timestamp": "2025-11-24T16:00:00Z", "object": {"object_id": "i"}}
SHAPES = [(GA4, "user_id"), (MEASURED, "user_id"), (VIEWED, "userId"), (SNOWPLOW, "user_id"), (UBI, "user_id")]


@pytest.mark.parametrize(("record", "user"), SHAPES)
def test_a_device_of_another_shape_is_a_guest_and_with_a_user_says_who(record, user):
    (device,), _, _ = parse(record)
    assert device.user_id == "guest:d"
    said, behaviour = parse(record | {user: "u"})[0]
    assert said == Identify(0, "u", "guest:d", TS_MS)
    assert behaviour.user_id == "u"
    (alone,), _, _ = parse(record, guests=False)
    assert alone.user_id == "d"


@pytest.mark.parametrize("call", [{"type": "identify"}, {"type": "alias", "previousId": "d"}])
def test_segments_identify_and_alias_say_who_a_guest_is(call):
    record = SEGMENT | call | {"userId": "u"}
    if "previousId" in call:
        del record["anonymousId"]
    assert parse(record)[0] == [Identify(0, "u", "guest:d", TS_MS)]
    events, rejected, passed_over = parse(record, guests=False)
    assert (events, rejected, passed_over) == ([], [], {call["type"]: 1})


def test_a_call_that_tells_traits_of_a_guest_alone_is_passed_over():
    assert parse(SEGMENT | {"type": "identify"}) == ([], [], {"identify without a user or a guest": 1})


@pytest.mark.parametrize("format_", ["auto", "ga4", "segment"])
def test_what_forget_writes_of_a_guest_is_read_in_any_format(format_):
    events, _, _ = parse({"type": "forget", "session_id": "s", "ts": TS_MS}, format=format_)
    assert events == [Forget(0, "guest:s", TS_MS)]
