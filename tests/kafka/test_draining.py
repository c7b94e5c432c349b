"""`deploy/drain.py`: dead letters become records again."""

import subprocess
import sys
from pathlib import Path

import pytest

from freshflow.events.model import Origin, Rejected
from freshflow.outputs.dead_letters import encode_dead_letter

from .brokers import NewTopicFn, drain, fill

pytestmark = pytest.mark.kafka

SCRIPT = Path(__file__).parents[2] / "deploy" / "drain.py"


def letter(code: str, raw: bytes | None, max_raw: int | None = None, left_out: int | None = None) -> bytes | None:
    return encode_dead_letter(Rejected(Origin("topic", "events", 0), 7, raw, code, "Why.", left_out), 123, max_raw)[1]


def give_back(broker: str, letters: str, events: str, code: str) -> str:
    command = [sys.executable, SCRIPT, f"kafka://{broker}/{letters}", f"kafka://{broker}/{events}", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_records_of_a_code_are_given_back_once_as_they_came(broker: str, new_topic: NewTopicFn) -> None:
    letters, events = new_topic(2), new_topic()
    records = [
        (0, None, letter("unknown_type", b'{"type":"sniff"}')),
        (0, None, letter("not_json", b"{")),
        (0, None, letter("unknown_type", b'{"type":"sniff"}', max_raw=9)),
        (0, None, letter("unknown_type", None, left_out=20)),
        (0, None, letter("unknown_type", None)),
    ]
    fill(broker, letters, records)
    fill(broker, letters, [(1, None, letter("unknown_type", b"\xff\x00"))])
    assert "2 records given back; of 3 others" in give_back(broker, letters, events, "unknown_type")
    assert sorted(value or b"" for _, _, value in drain(broker, events)) == [b'{"type":"sniff"}', b"\xff\x00"]
    assert "0 records given back; of 0 others" in give_back(broker, letters, events, "unknown_type")
    fill(broker, letters, [(1, None, letter("unknown_type", b"later"))])
    assert "1 records given back; of 0 others" in give_back(broker, letters, events, "unknown_type")
    assert "1 records given back; of 0 others" in give_back(broker, letters, events, "not_json")
    assert len(drain(broker, events)) == 4


def test_a_topic_that_is_missing_is_told(broker: str, new_topic: NewTopicFn) -> None:
    assert "The topic none-such does not exist" in give_back(broker, "none-such", new_topic(), "not_json")
