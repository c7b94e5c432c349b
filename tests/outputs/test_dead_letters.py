import base64
import json

import pytest

from freshflow.events.model import Origin, Rejected
from freshflow.outputs.dead_letters import encode_dead_letter

FILE = Origin("file", "events.jsonl")
TOPIC = Origin("topic", "events", 3)


def letter(raw, origin=FILE, max_raw=None):
    key, value = encode_dead_letter(Rejected(origin, 7, raw, "not_json", "Why."), 123, max_raw)
    assert key is None
    assert b"\n" not in value
    return json.loads(value)


def test_a_line_of_a_file_says_what_where_when_and_why():
    assert letter(b"{nonsense") == {
        "reason": "Why.",
        "code": "not_json",
        "source": {"file": "events.jsonl", "line": 7},
        "rejected_at": 123,
        "raw": "{nonsense",
    }


def test_a_message_of_a_topic_says_its_partition_and_offset():
    assert letter(b"x", TOPIC)["source"] == {"topic": "events", "partition": 3, "offset": 7}


def test_a_tombstone_has_no_text():
    assert letter(None)["raw"] is None


def test_bytes_that_are_not_utf8_come_back_exactly():
    raw = b"\xff\x00abc\xf0\x9f"
    sent = letter(raw)
    assert "raw" not in sent
    assert base64.b64decode(sent["raw_base64"]) == raw


@pytest.mark.parametrize("raw", ["Zoë\n\0\u2028".encode(), b"", b'"quoted"'])
def test_text_comes_back_exactly(raw):
    assert letter(raw)["raw"].encode() == raw


def test_a_record_of_max_raw_bytes_is_whole_and_a_longer_one_says_how_long_it_was():
    assert letter(b"12345", max_raw=5).keys() == letter(b"1").keys()
    sent = letter(b"123456", max_raw=5)
    assert (sent["raw"], sent["raw_bytes"], sent["truncated"]) == ("12345", 6, True)


@pytest.mark.parametrize("max_raw", [1, 2, 3, 4])
def test_a_cut_through_a_character_leaves_the_character_out(max_raw):
    sent = letter("🦊🦊".encode(), max_raw=max_raw)
    assert sent["raw"] == ("🦊" if max_raw == 4 else "")


def test_a_whole_record_that_ends_inside_a_character_is_not_utf8():
    assert "raw_base64" in letter("🦊".encode()[:3], max_raw=100)


def test_ten_megabytes_are_cut_for_kafka():
    key, value = encode_dead_letter(Rejected(TOPIC, 7, b"x" * 10_000_000, "too_large", "Why."), 123, 100_000)
    assert (key, len(value) < 101_000) == (None, True)


@pytest.mark.parametrize(
    "raw", [b"\1" * 3000, b'"' * 3000, b"\xff" * 3000, b"x" * 400 + b"\1" * 3000, b"\1" * 400 + b"x" * 3000]
)
def test_what_json_spells_with_several_bytes_is_cut_to_what_fits(raw):
    sent = letter(raw, max_raw=1000)
    kept = sent["raw"].encode() if "raw" in sent else base64.b64decode(sent["raw_base64"])
    spelled = json.dumps(sent.get("raw", sent.get("raw_base64")))
    assert 0 < len(spelled) - 2 <= 1000
    assert raw.startswith(kept)
    assert (sent["raw_bytes"], sent["truncated"]) == (len(raw), True)
