import json

import pytest

from freshflow.config.schema import EventsConfig
from freshflow.events.model import Forget, Interaction, ItemUpdate, Origin, RawBatch, Rejected, Request, Search
from freshflow.events.parser import EventParser, parse_record

ORIGIN = Origin("file", "events.jsonl")
NOON = "2024-05-01T12:00:00Z"
NOON_MS = 1_714_564_800_000
CONFIG = EventsConfig()
VIEW = {"type": "view", "user_id": "u1", "item_id": "i1", "ts": NOON}


def parse(raw, columns=None, config=CONFIG):
    return parse_record(ORIGIN, 7, raw, columns=columns, config=config)


def parse_json(**fields):
    return parse(json.dumps(fields).encode())


def refused(raw, code, columns=None, config=CONFIG):
    """The reason of a record that must be refused with `code`; it is one sentence that can be printed."""
    outcome = parse(raw, columns, config)
    assert isinstance(outcome, Rejected), outcome
    assert (outcome.code, outcome.raw, outcome.position, outcome.origin) == (code, raw, 7, ORIGIN)
    assert outcome.reason.endswith(".")
    assert "\n" not in outcome.reason
    assert len(outcome.reason) < 400
    outcome.reason.encode()
    return outcome.reason


def refused_json(code, **fields):
    return refused(json.dumps(fields).encode(), code)


class TestBehaviour:
    def test_a_plain_view_has_the_weight_of_its_type(self):
        assert parse_json(**VIEW) == Interaction(7, "view", "u1", "i1", NOON_MS, 1.0)
        assert parse_json(**VIEW | {"type": "purchase"}).weight == 5.0

    def test_all_optional_fields_arrive(self):
        event = parse_json(**VIEW, event_id="e", session_id=12, value=4.5)
        assert (event.event_id, event.session_id, event.value) == ("e", "12", 4.5)

    def test_a_type_added_by_the_configuration_is_known(self):
        config = EventsConfig(weights={"listen": 2.5})
        raw = json.dumps(VIEW | {"type": "listen"}).encode()
        assert parse(raw, config=config) == Interaction(7, "listen", "u1", "i1", NOON_MS, 2.5)

    def test_unknown_extra_fields_are_ignored_whatever_they_hold(self):
        raw = json.dumps(VIEW).encode()[:-1] + b',"x":NaN,"y":1e999,"k":"z","price":[]}'
        assert parse(raw) == Interaction(7, "view", "u1", "i1", NOON_MS, 1.0)

    def test_null_is_the_same_as_absent(self):
        assert parse_json(**VIEW, event_id=None, value=None) == parse_json(**VIEW)
        assert "user_id is missing" in refused_json("missing_field", **VIEW | {"user_id": None})

    def test_an_empty_optional_text_is_the_same_as_absent(self):
        assert parse_json(**VIEW, session_id="") == parse_json(**VIEW)

    def test_text_outside_ascii_is_kept(self):
        assert parse(json.dumps(VIEW | {"user_id": "Zoë 🦊"}, ensure_ascii=False).encode()).user_id == "Zoë 🦊"


class TestIdentifiers:
    @pytest.mark.parametrize(
        ("written", "text"),
        [
            ("42", "42"),
            ("-5", "-5"),
            ("42.0", "42"),
            ("-0.0", "0"),
            ("1.5", "1.5"),
            ("1e3", "1000"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ('"007"', "007"),
        ],
    )
    def test_numbers_become_text_and_text_stays(self, written, text):
        raw = b'{"type":"view","user_id":%s,"item_id":%s,"ts":1714564800}'
        event = parse(raw % (written.encode(), written.encode()))
        assert (event.user_id, event.item_id) == (text, text)

    @pytest.mark.parametrize("value", [True, False, [], {}, ["u"]])
    def test_what_is_no_text_and_no_number_is_refused(self, value):
        assert "give a string or a number" in refused_json("wrong_type", **VIEW | {"user_id": value})

    def test_an_empty_id_is_refused_as_missing(self):
        assert "missing or empty" in refused_json("missing_field", **VIEW | {"item_id": ""})

    def test_an_id_of_512_characters_is_taken_and_one_of_513_is_not(self):
        assert parse_json(**VIEW | {"user_id": "ü" * 512}).user_id == "ü" * 512
        assert "at most 512" in refused_json("wrong_type", **VIEW | {"user_id": "ü" * 513})

    def test_a_number_of_many_digits_meets_the_same_limit(self):
        raw = b'{"type":"view","user_id":%s,"item_id":"i","ts":1714564800}'
        assert parse(raw % (b"1" * 512)).user_id == "1" * 512
        refused(raw % (b"1" * 513), "wrong_type")
        refused(raw % (b"1" * 5000), "not_finite")

    def test_half_a_character_is_refused_as_it_cannot_be_written_again(self):
        raw = b'{"type":"view","user_id":"\\ud83e","item_id":"i","ts":1714564800}'
        assert "a lone surrogate" in refused(raw, "not_utf8")


class TestTimes:
    def test_a_word_is_refused_with_the_word_and_what_is_allowed(self):
        assert refused_json("bad_time", **VIEW | {"ts": "yesterday"}) == (
            "ts = 'yesterday' is not a time: give ISO 8601 with an offset, or epoch seconds or milliseconds."
        )

    def test_a_numeric_string_is_a_number(self):
        assert parse_json(**VIEW | {"ts": "1714564800"}).ts_ms == NOON_MS

    def test_a_time_without_an_offset_is_refused(self):
        assert "has no UTC offset" in refused_json("bad_time", **VIEW | {"ts": "2024-05-01T12:00:00"})

    @pytest.mark.parametrize("ts", [0, 99_999_999_999, 1_714_564_800_000_000, "1989-12-31T23:59:59Z", 10**40])
    def test_an_absurd_time_is_refused(self, ts):
        assert "outside the years 1990 to 2199" in refused_json("bad_time", **VIEW | {"ts": ts})

    @pytest.mark.parametrize("ts", [True, [1714564800], {}])
    def test_what_is_no_text_and_no_number_is_no_time(self, ts):
        refused_json("wrong_type", **VIEW | {"ts": ts})

    @pytest.mark.parametrize("ts", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
    def test_a_number_that_is_not_finite_is_no_time(self, ts):
        refused(b'{"type":"view","user_id":"u","item_id":"i","ts":%s}' % ts, "not_finite")


class TestControl:
    def test_a_request_may_be_bare(self):
        assert parse_json(type="request", user_id="u", ts=NOON) == Request(7, "u", NOON_MS)

    def test_a_request_carries_its_id_length_and_wish(self):
        event = parse_json(type="request", user_id=1, ts=NOON, request_id=9, k=200, exclude_seen=True)
        assert event == Request(7, "1", NOON_MS, "9", 200, True)

    @pytest.mark.parametrize("k", [0, 201, -1, 1.5, "ten", True, "10"])
    def test_k_must_be_a_whole_number_from_1_to_200(self, k):
        refused_json("wrong_type", type="request", user_id="u", ts=NOON, k=k)

    def test_exclude_seen_must_be_true_or_false(self):
        reason = refused_json("wrong_type", type="request", user_id="u", ts=NOON, exclude_seen=1)
        assert reason == "exclude_seen = 1 is not allowed: give true or false."

    def test_a_search_keeps_the_order_of_its_items_and_each_once(self):
        event = parse_json(type="search", user_id="u", ts=NOON, query="red shoes", items=["b", 2, "b", "a"])
        assert event == Search(7, "u", NOON_MS, "red shoes", ("b", "2", "a"))

    def test_a_search_without_results_is_still_a_search(self):
        assert parse_json(type="search", user_id="u", ts=NOON, query="q", items=[]).items == ()

    @pytest.mark.parametrize("items", ["a", [None], [""], [["a"]], [True], list(range(1001)), {}])
    def test_items_must_be_a_list_of_at_most_1000_ids(self, items):
        refused_json("wrong_type", type="search", user_id="u", ts=NOON, query="q", items=items)

    def test_an_item_tells_only_what_it_says(self):
        assert parse_json(type="item", item_id="i", ts=NOON) == ItemUpdate(7, "i", NOON_MS)

    def test_an_item_with_everything(self):
        event = parse_json(
            type="item",
            item_id="i",
            ts=NOON,
            title="Pride and Prejudice",
            categories=["books", 3],
            price=9,
            available=False,
            published_at="1813-01-28T00:00:00Z",
            embedding=[0, 0.5],
        )
        assert event == ItemUpdate(
            7, "i", NOON_MS, "Pride and Prejudice", ("books", "3"), 9.0, False, -4_952_102_400_000, (0.0, 0.5)
        )

    @pytest.mark.parametrize(
        "wrong",
        [{"price": "9"}, {"available": 1}, {"embedding": []}, {"embedding": ["x"]}, {"categories": "a"}],
    )
    def test_an_item_with_a_wrong_field_is_refused(self, wrong):
        refused_json("wrong_type", type="item", item_id="i", ts=NOON, **wrong)

    def test_one_nan_in_an_embedding_is_enough(self):
        refused(b'{"type":"item","item_id":"i","ts":1714564800,"embedding":[1,NaN]}', "not_finite")

    def test_forget_needs_a_user(self):
        assert parse_json(type="forget", user_id="u", ts=NOON) == Forget(7, "u", NOON_MS)
        refused_json("missing_field", type="forget", ts=NOON)

    @pytest.mark.parametrize("name", ["type", "user_id", "ts", "query", "items"])
    def test_a_needed_field_that_is_missing_is_named(self, name):
        fields = {"type": "search", "user_id": "u", "ts": NOON, "query": "q", "items": ["a"]}
        del fields[name]
        assert refused_json("missing_field", **fields).startswith(f"{name} is missing")


class TestTypes:
    @pytest.mark.parametrize("name", ["identity", "View", " view", "viewed"])
    def test_an_unknown_type_is_refused_with_those_that_are_known(self, name):
        reason = refused_json("unknown_type", **VIEW | {"type": name})
        assert reason.startswith(f"type = {name!r} is unknown: use one of view, click,")
        assert "events.weights" in reason

    def test_a_type_that_is_no_string_is_refused(self):
        refused_json("wrong_type", **VIEW | {"type": 5})

    def test_a_control_type_cannot_be_turned_into_behaviour_by_a_weight(self):
        config = EventsConfig(weights={"forget": 1.0})
        raw = json.dumps({"type": "forget", "user_id": "u", "item_id": "i", "ts": NOON}).encode()
        assert parse(raw, config=config) == Forget(7, "u", NOON_MS)


class TestRecords:
    @pytest.mark.parametrize("raw", [None, b"", b"  \t", b"\r\n"])
    def test_a_blank_record_and_a_tombstone_are_empty(self, raw):
        refused(raw, "empty")

    def test_a_record_of_max_bytes_is_taken_and_one_byte_more_is_not(self):
        raw = json.dumps(VIEW).encode().ljust(200)
        assert isinstance(parse(raw, config=EventsConfig(max_bytes=200)), Interaction)
        assert "events.max_bytes = 200" in refused(raw + b" ", "too_large", config=EventsConfig(max_bytes=200))

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"type":"view","user_id":"\xff","item_id":"i","ts":1714564800}',
            b'{"type":"view","user_id":"u","item_id":"i","ts":1714564800,"ignored":"\xff"}',
            b"\xff\xfe{\x00}\x00",
            b"\x80",
        ],
    )
    def test_bytes_that_are_not_utf8_are_refused_wherever_they_stand(self, raw):
        assert "byte " in refused(raw, "not_utf8")

    @pytest.mark.parametrize(
        "raw",
        [b"{", b"hello", b"{'a': 1}", b'{"a":1}{"b":2}', b'{"a":1,}', b"\xef\xbb\xbf{}", b'"\n"', b"\x00"],
    )
    def test_what_is_not_json_is_refused(self, raw):
        assert refused(raw, "not_json").startswith("The record is not JSON")

    @pytest.mark.parametrize("raw", [b"[]", b"null", b"5", b'"view"', b"true", b"NaN", b"1e999"])
    def test_json_that_is_no_object_is_refused(self, raw):
        refused(raw, "not_an_object")

    @pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"])
    def test_very_deep_nesting_is_refused_without_a_crash(self, raw):
        assert refused(raw, "not_json") == "The record is nested too deeply."

    def test_ten_megabytes_in_one_line_are_refused_without_being_parsed(self):
        refused(b'{"type":"view","x":"' + b"a" * 10_000_000 + b'"}', "too_large")

    def test_a_value_that_is_not_finite_is_refused(self):
        for value in (b"NaN", b"-Infinity", b"1e999", b"1" * 400):
            raw = b'{"type":"rate","user_id":"u","item_id":"i","ts":1714564800,"value":%s}' % value
            assert refused(raw, "not_finite").startswith("value is NaN, infinite")

    def test_a_long_bad_value_is_shortened_in_the_reason(self):
        reason = refused_json("bad_time", **VIEW | {"ts": "x" * 10_000})
        assert len(reason) < 200
        assert "…" in reason


class TestCsv:
    COLUMNS = ("type", "user_id", "item_id", "ts", "value")

    def test_a_row_gives_the_same_event_as_json(self):
        event = parse(b"rate,u1,i1,2024-05-01T12:00:00Z,4.5", self.COLUMNS)
        assert event == parse_json(**VIEW | {"type": "rate"}, value=4.5)

    def test_times_may_be_numbers(self):
        assert parse(b"view,u1,i1,1714564800,", self.COLUMNS).ts_ms == NOON_MS

    def test_lists_are_split_by_bars_and_flags_are_understood(self):
        columns = ("type", "user_id", "ts", "query", "items", "k", "exclude_seen")
        event = parse(b'search,u,1714564800,"a, b",x|y|z,10,1', columns)
        assert event == Search(7, "u", NOON_MS, "a, b", ("x", "y", "z"), None, 10, True)

    def test_an_item_row(self):
        columns = ("type", "item_id", "ts", "title", "categories", "price", "available", "embedding")
        event = parse(b'item,i,1714564800,"two\nlines",a|b,9.5,true,0.5|1', columns)
        assert event == ItemUpdate(7, "i", NOON_MS, "two\nlines", ("a", "b"), 9.5, True, None, (0.5, 1.0))

    @pytest.mark.parametrize("row", [b"view,u1,i1", b"view,u1,i1,1714564800,1,2", b'view,"u1,i1,1714564800,'])
    def test_a_row_that_does_not_fit_is_refused(self, row):
        refused(row, "bad_row", self.COLUMNS)

    def test_cells_that_cannot_be_read_are_refused_by_their_field(self):
        assert "value = 'many'" in refused(b"view,u,i,1714564800,many", "wrong_type", self.COLUMNS)
        refused(b"view,u,i,1714564800,nan", "not_finite", self.COLUMNS)
        refused(b"view,,i,1714564800,", "missing_field", self.COLUMNS)
        refused(b"view,\xff,i,1714564800,", "not_utf8", self.COLUMNS)
        refused(b" ", "empty", self.COLUMNS)


def test_a_batch_gives_events_and_refusals_each_in_order():
    good, bad = json.dumps(VIEW).encode(), b"nonsense"
    batch = RawBatch(ORIGIN, ((1, good), (2, bad), (4, None), (5, good)), read_ms=0)
    events, rejected = EventParser(CONFIG).parse(batch)
    assert [event.position for event in events] == [1, 5]
    assert [(r.position, r.code) for r in rejected] == [(2, "not_json"), (4, "empty")]


class TestFuture:
    """Nothing is dated later than `events.max_future_s` after the moment it was read."""

    READ_MS = NOON_MS

    def parse_at(self, ahead_ms, read_ms=READ_MS, config=CONFIG, **fields):
        raw = json.dumps(VIEW | {"ts": NOON_MS + ahead_ms} | fields).encode()
        return EventParser(config).parse(RawBatch(ORIGIN, ((7, raw),), read_ms))

    def test_an_event_exactly_at_the_limit_is_taken(self):
        events, rejected = self.parse_at(3_600_000)
        assert (events[0].ts_ms, rejected) == (NOON_MS + 3_600_000, [])

    def test_an_event_a_millisecond_beyond_the_limit_is_refused_with_what_to_do(self):
        events, (rejected,) = self.parse_at(3_600_001)
        assert (events, rejected.code) == ([], "future")
        assert "events.max_future_s = 3600 seconds" in rejected.reason
        assert json.loads(rejected.raw)["ts"] == NOON_MS + 3_600_001

    @pytest.mark.parametrize("type_", ["request", "item", "forget"])
    def test_control_events_are_held_to_it_as_well(self, type_):
        _, (rejected,) = self.parse_at(63_072_000_000, type=type_)
        assert rejected.code == "future"
        assert "is 730 days after the time the record was read" in rejected.reason

    def test_a_replay_of_an_old_file_is_never_ahead(self):
        assert self.parse_at(0, read_ms=NOON_MS + 10**11)[1] == []

    def test_where_the_time_of_reading_is_not_known_nothing_is_ahead(self):
        assert self.parse_at(10**12, read_ms=0)[1] == []

    def test_the_limit_moves_with_each_batch(self):
        parser = EventParser(EventsConfig(max_future_s=1))
        raw = json.dumps(VIEW | {"ts": NOON_MS + 1001}).encode()
        assert [len(parser.parse(RawBatch(ORIGIN, ((1, raw),), NOON_MS + ms))[0]) for ms in (1, 0, 1)] == [1, 0, 1]
