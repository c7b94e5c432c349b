"""Each format on lines from its public specification or README."""

import json

import pytest

from freshflow.config import registry as config_registry
from freshflow.config.schema import EventsConfig
from freshflow.events.formats import registry
from freshflow.events.formats.mapping import FormatMapping
from freshflow.events.formats.registry import create_layout_finder, register_format
from freshflow.events.model import Interaction, Origin, RawBatch, Search
from freshflow.events.parser import EventParser

ORIGIN = Origin("file", "events")
SNOWPLOW_ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
SNOWPLOW_PRODUCT = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"

GA4_EXPORT = {
    "event_name": "purchase",
    "event_timestamp": "1609459200123456",
    "user_pseudo_id": "1026454.4271112504",
    "event_params": [{"key": "ga_session_id", "value": {"int_value": "4520177140"}}],
    "items": [{"item_id": "SKU_12345", "item_name": "Stan and Friends Tee", "quantity": "1"}, {"item_name": "Tee"}],
}
GA4_PROTOCOL = {
    "client_id": "x",
    "timestamp_micros": 1609459200123456,
    "events": [
        {"name": "page_view", "params": {}},
        {"name": "view_item", "params": {"items": [{"item_id": "SKU_12345"}]}},
        {"name": "add_to_cart", "params": {"session_id": "123", "items": [{"item_id": "SKU_12345"}]}},
    ],
}
SEGMENT = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m1",
    "anonymousId": "a1",
    "userId": "019mr8mf4r",
    "timestamp": "2012-12-02T00:30:12.984Z",
    "properties": {
        "order_id": "50314b8e9bcf000000000000",
        "products": [{"product_id": "507f1f77bcf86cd799439011", "sku": "45790-32"}, {"sku": "46493-32"}],
    },
}
SNOWPLOW = {
    "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
    "collector_tstamp": "2013-11-26 00:03:57.885",
    "domain_userid": "bc2e92ec6c204a14",
    "domain_sessionid": "2b15e5c8",
    "event_name": "snowplow_ecommerce_action",
    SNOWPLOW_ACTION: {"type": "product_view"},
    SNOWPLOW_PRODUCT: [{"id": "P125", "name": "Baseball T", "price": 200, "currency": "USD"}],
}
UBI = {
    "action_name": "add_to_cart",
    "client_id": "5e3b2a1c-8b7d-4f2e-a3d4-c9b2e1f3a4b5",
    "session_id": "84266fdbd31d4c2c6d0665f7e8380fa3",
    "query_id": "00112233-4455-6677-8899-aabbccddeeff",
    "timestamp": "2018-11-13T20:20:39+00:00",
    "event_attributes": {"object": {"object_id": "ISBN 0-061-96436-0"}, "position": {"ordinal": 3}},
}
UBI_QUERY = {
    "query_id": "1234-user-5678",
    "client_id": "c1",
    "user_query": "laptop",
    "timestamp": "2018-11-13T20:20:39Z",
    "query_response_hit_ids": ["b", "a"],
}
OTTO = {
    "session": 42,
    "events": [
        {"aid": 0, "ts": 1661200010000, "type": "clicks"},
        {"aid": 2, "ts": 1661200040000, "type": "carts"},
        {"aid": 2, "ts": 1661200080000, "type": "orders"},
    ],
}
ENVELOPE = {
    "specversion": "1.0",
    "source": "/shop",
    "id": "C234",
    "type": "com.shop.view",
    "time": "2018-04-05T17:31:00Z",
}

CSV = {
    "retailrocket": (
        "timestamp,visitorid,event,itemid,transactionid",
        ["1433221332117,257597,view,355908,", "1439694000000,2,transaction,1000,234"],
        [("view", "257597", "355908", 1433221332117), ("purchase", "2", "1000", 1439694000000)],
    ),
    "movielens": (
        "userId,movieId,rating,timestamp",
        ["1,31,2.5,1260759179"],
        [("rate", "1", "31", 1260759179000)],
    ),
    "rees46": (
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session",
        ["2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde"],
        [("view", "541312140", "44600062", 1569888000000)],
    ),
}
HEADERLESS = {
    "yoochoose-clicks": ("1,2014-04-07T10:51:09.277Z,214536502,0", ("click", "1", "214536502", 1396867869277)),
    "yoochoose-buys": (
        "420374,2014-04-06T18:44:58.314Z,214537888,12462,1",
        ("purchase", "420374", "214537888", 1396809898314),
    ),
    "taobao": ("1,2268318,2520377,pv,1511544070", ("view", "1", "2268318", 1511544070000)),
    "movielens": ("1::1193::5::978300760", ("rate", "1", "1193", 978300760000)),
    "movielens ": ("196\t242\t3\t881250949", ("rate", "196", "242", 881250949000)),
}


def parsed(*records, columns=None, separator=",", **config):
    """Events, refusals and what was passed over, of records that stand on lines 1, 2, …"""
    raws = [record if isinstance(record, str) else json.dumps(record) for record in records]
    parser = EventParser(EventsConfig(**config))
    lines = tuple((n, raw.encode()) for n, raw in enumerate(raws, start=1))
    events, rejected = parser.parse(RawBatch(ORIGIN, lines, 0, columns, separator))
    return events, rejected, dict(parser.n_unknown_type)


def brief(events):
    return [(event.type, event.user_id, event.item_id, event.ts_ms) for event in events]


def reason(*records, **options):
    events, (refusal,), _ = parsed(*records, **options)
    assert events == []
    return refusal.reason


JSON = {
    "ga4": (
        GA4_EXPORT,
        [
            ("purchase", "1026454.4271112504", "SKU_12345", 1609459200123),
            ("purchase", "1026454.4271112504", "Tee", 1609459200123),
        ],
        {},
    ),
    "ga4 ": (
        GA4_PROTOCOL,
        [("view", "x", "SKU_12345", 1609459200123), ("cart", "x", "SKU_12345", 1609459200123)],
        {"page_view": 1},
    ),
    "segment": (
        SEGMENT,
        [
            ("purchase", "019mr8mf4r", "507f1f77bcf86cd799439011", 1354408212984),
            ("purchase", "019mr8mf4r", "46493-32", 1354408212984),
        ],
        {},
    ),
    "snowplow": (SNOWPLOW, [("view", "bc2e92ec6c204a14", "P125", 1385424237885)], {}),
    "ubi": (UBI, [("cart", UBI["client_id"], "ISBN 0-061-96436-0", 1542140439000)], {}),
    "otto": (
        OTTO,
        [
            ("click", "42", "0", 1661200010000),
            ("cart", "42", "2", 1661200040000),
            ("purchase", "42", "2", 1661200080000),
        ],
        {},
    ),
    "cloudevents": (
        ENVELOPE | {"data": {"user_id": "u", "item_id": "i"}},
        [("view", "u", "i", 1522949460000)],
        {},
    ),
}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", JSON)
def test_json_of_a_format_is_read_by_name_and_without(name, named):
    record, expected, skipped = JSON[name]
    events, rejected, passed_over = parsed(record, format=name.strip() if named else "auto")
    assert (brief(events), rejected, passed_over) == (expected, [], skipped)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", CSV)
def test_csv_of_a_format_is_read_by_name_and_without(name, named):
    header, rows, expected = CSV[name]
    events, rejected, _ = parsed(*rows, columns=tuple(header.split(",")), format=name if named else "auto")
    assert (brief(events), rejected) == (expected, [])


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", HEADERLESS)
def test_a_file_without_a_header_is_told_by_its_first_line(name, named):
    line, expected = HEADERLESS[name]
    config = EventsConfig(format=name.strip() if named else "auto")
    layout = create_layout_finder(config)(line)
    events, _, _ = parsed(line, columns=layout.columns, separator=layout.separator, format=config.format)
    assert brief(events) == [expected]


@pytest.mark.parametrize("line", ["type,user_id,item_id,ts", "1,2,3,4", "", "1,2,3,4,5", CSV["rees46"][0]])
def test_other_first_lines_are_headers(line):
    assert create_layout_finder(EventsConfig())(line) is None


def test_a_rating_scales_its_event():
    (event,), _, _ = parsed(
        "1::1193::4::978300760", columns=("userId", "movieId", "rating", "timestamp"), separator="::"
    )
    assert (event.value, event.weight) == (4.0, 0.8)


def test_registered_format_is_read_by_name_and_detected(monkeypatch):
    monkeypatch.setattr(registry, "_mappings_by_format", dict(registry._mappings_by_format))
    monkeypatch.setattr(config_registry, "_formats", [*config_registry._formats])
    plays = FormatMapping(
        format="plays",
        signatures=(frozenset({"listener", "track"}),),
        type="watch",
        fields={"user_id": ("listener",), "item_id": ("track",), "ts": ("at",)},
    )
    register_format(plays)
    assert config_registry.format_names()[-1] == "plays"
    for name in ("auto", "plays"):
        (event,), _, _ = parsed({"listener": "u1", "track": "t1", "at": 1_764_000_000}, format=name)
        assert (event.type, event.user_id, event.item_id) == ("watch", "u1", "t1")


@pytest.mark.parametrize("names", [("ga4",), ("freshflow",), ("one", "two")])
def test_register_format_rejects_taken_or_several_names(names):
    with pytest.raises(ValueError, match="name"):
        register_format(*(FormatMapping(format=name, fields={}) for name in names))


# Several events of one record


def test_events_of_one_record_share_its_position_and_count_from_zero():
    events, _, _ = parsed(SEGMENT, OTTO)
    assert [(event.position, event.nth) for event in events] == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]


def test_events_of_one_record_share_the_id_of_the_record_or_a_digest_of_it():
    events, _, _ = parsed(SEGMENT, OTTO, OTTO | {"session": 43})
    assert [event.event_id for event in events[:2]] == ["m1", "m1"]
    assert len({event.event_id for event in events[2:5]}) == len({event.event_id for event in events[5:]}) == 1
    assert events[2].event_id != events[5].event_id


def test_of_a_record_with_a_broken_event_none_is_taken():
    broken = OTTO | {"events": [*OTTO["events"], {"ts": 1661200090000, "type": "clicks"}]}
    assert reason(broken) == "events[3].aid is missing or empty: this type of event requires it."


# Refusals name the fields of the record


@pytest.mark.parametrize(
    ("record", "beginning"),
    [
        (GA4_EXPORT | {"items": [{"price": 3}]}, "items[0].item_id or items[0].item_name is missing"),
        (GA4_EXPORT | {"items": []}, "items is missing or empty"),
        (GA4_EXPORT | {"user_pseudo_id": None}, "user_id or user_pseudo_id is missing"),
        (GA4_EXPORT | {"event_timestamp": "soon"}, "event_timestamp = 'soon' is not a time"),
        (GA4_EXPORT | {"event_name": None}, "event_name is missing"),
        (GA4_EXPORT | {"event_name": 7}, "event_name = 7 is not allowed"),
        (SEGMENT | {"properties": {}}, "properties.products or properties.product_id or properties.sku is missing"),
        (SEGMENT | {"timestamp": True}, "timestamp = true is not allowed"),
        (UBI | {"timestamp": "2018-11-13T20:20:39"}, "timestamp = '2018-11-13T20:20:39' has no UTC offset"),
        (UBI | {"event_attributes": {"object": {"object_id": []}}}, "event_attributes.object.object_id = a list"),
        (OTTO | {"events": []}, "events is missing, empty or not a list"),
        (ENVELOPE, "data is missing"),
        (ENVELOPE | {"data": {"user_id": "u"}}, "data.item_id is missing"),
        (ENVELOPE | {"data": {"user_id": "u", "item_id": "i"}, "time": "noon"}, "time = 'noon' is not a time"),
        (ENVELOPE | {"data": OTTO | {"session": [1]}}, "data.session = a list is not allowed"),
    ],
)
def test_a_refusal_names_the_field_of_the_record(record, beginning):
    assert reason(record).startswith(beginning)


def test_a_broken_record_of_ours_is_refused_as_ours():
    assert reason({"type": "view", "ts": 1, "event_name": "x", "event_timestamp": 1, "user_pseudo_id": "u"}).startswith(
        "user_id"
    )


# Types that are not known


def test_unknown_types_are_passed_over_and_counted_by_name():
    page = {"type": "page", "messageId": "m", "anonymousId": "a", "timestamp": "2012-12-02T00:30:12Z"}
    events, rejected, passed_over = parsed(
        page, page, GA4_EXPORT | {"event_name": "session_start"}, UBI | {"action_name": "login"}
    )
    assert (events, rejected) == ([], [])
    assert passed_over == {"page": 2, "session_start": 1, "login": 1}


def test_names_that_a_stream_makes_up_are_counted_together_from_some_number_on():
    _, _, passed_over = parsed(*(UBI | {"action_name": f"a{n}"} for n in range(200)))
    assert len(passed_over) == 51
    assert sum(passed_over.values()) == 200


def test_a_type_that_the_configuration_adds_is_known_in_every_format():
    events, _, _ = parsed(UBI | {"action_name": "hover"}, weights=EventsConfig().weights | {"hover": 0.5})
    assert [(event.type, event.weight) for event in events] == [("hover", 0.5)]


def test_an_envelope_of_another_type_is_passed_over():
    _, rejected, passed_over = parsed(ENVELOPE | {"type": "com.shop.user.created", "data": {"name": "n"}})
    assert (rejected, passed_over) == ([], {"com.shop.user.created": 1})


# Searches


def test_a_query_with_what_it_found_is_a_search():
    events, _, _ = parsed(UBI_QUERY)
    assert events == [Search(1, "c1", 1542140439000, "laptop", ("b", "a"), "1234-user-5678")]


def test_a_search_without_results_is_passed_over():
    search = SEGMENT | {"event": "Products Searched", "properties": {"query": "blue roses"}}
    assert parsed(search)[2] == {"Products Searched without results": 1}
    search["properties"]["products"] = [{"product_id": "b"}, {"product_id": "a"}]
    ((event,), _, _) = parsed(search)
    assert (event.query, event.items) == ("blue roses", ("b", "a"))


# Envelopes


def test_an_envelope_holds_a_record_of_any_format():
    events, _, _ = parsed(ENVELOPE | {"data": GA4_PROTOCOL, "type": "ga"})
    assert brief(events) == JSON["ga4 "][1]
    assert {event.event_id for event in events} == {"/shop C234"}


def test_what_a_record_says_goes_before_what_its_envelope_says():
    data = {"type": "cart", "user_id": "u", "item_id": "i", "ts": 1522949461, "event_id": "e"}
    assert parsed(ENVELOPE | {"data": data})[0] == [Interaction(1, "cart", "u", "i", 1522949461000, 3.0, "e")]


# Renamings


def test_fields_may_stand_elsewhere_and_in_others():
    record = {"kind": "view", "visitor": {"id": 7}, "product": [{"sku": "a"}], "at": 1522949461, "value": 2}
    places = {"type": "kind", "user_id": "visitor.id", "item_id": "product.0.sku", "ts": "at"}
    (event,), _, _ = parsed(record, map=places)
    assert event == Interaction(1, "view", "7", "a", 1522949461000, value=2.0)


def test_a_renamed_field_is_refused_by_its_own_name():
    places = {"user_id": "visitor.id", "type": "kind"}
    assert reason({"kind": "view", "item_id": "a", "ts": 1522949461}, map=places).startswith("visitor.id is missing")
    assert reason({"kind": "look", "user_id": "u"}, map=places).startswith("kind = 'look' is unknown")


def test_a_field_may_be_the_text_itself():
    (event,), _, _ = parsed("u,i,3,1522949461", columns=("who", "what", "stars", "ts"), map={
        "type": "=rate", "user_id": "who", "item_id": "what", "value": "stars"
    })  # fmt: skip
    assert (event.type, event.value) == ("rate", 3.0)


def test_a_renaming_goes_before_the_format():
    record = GA4_EXPORT | {"crm": {"id": "c9"}}
    events, _, _ = parsed(record, format="ga4", map={"user_id": "crm.id", "item_id": "item_name"})
    assert [(event.user_id, event.item_id) for event in events] == [("c9", "Stan and Friends Tee"), ("c9", "Tee")]


def test_a_field_of_the_envelope_can_be_asked_for():
    record = ENVELOPE | {"subject": "u9", "data": {"item_id": "i"}}
    (event,), _, _ = parsed(record, format="cloudevents", map={"user_id": "subject"})
    assert event.user_id == "u9"


def test_results_that_ga4_saw_are_a_search_and_a_search_term_alone_is_passed_over():
    params = [{"key": "search_term", "value": {"string_value": "red tee"}}]
    row = {"event_name": "view_search_results", "event_timestamp": 1609459200123456, "user_pseudo_id": "u"}
    row |= {"event_params": params, "items": [{"item_id": "b"}, {"item_id": "a"}]}
    ((event,), _, _) = parsed(row)
    assert event == Search(1, "u", 1609459200123, "red tee", ("b", "a"))
    assert parsed(row | {"items": []})[2] == {"view_search_results without results": 1}
