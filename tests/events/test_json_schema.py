"""What is shown of events, as types and as a schema, against the parser that reads them."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from freshflow.cli.reference.json_schemas import build_schema
from freshflow.config.schema import EVENT_FIELDS, Config, UsersConfig
from freshflow.events.fields import MAX_DIMENSIONS, MAX_ID_CHARS, MAX_IDS, MAX_K, MAX_TEXT_CHARS
from freshflow.events.identity import MAX_ANONYMOUS_ID_CHARS
from freshflow.events.json_schema import WIRE_EVENT_TYPES
from freshflow.events.model import Forget, Identify, Interaction, ItemUpdate, Origin, RawBatch, Request, Search
from freshflow.events.parser import EventParser

TS = 1_764_000_000
BASES: dict[type, dict[str, Any]] = {
    Interaction: {"type": "view", "user_id": "u", "item_id": "i", "ts": TS},
    Request: {"type": "request", "user_id": "u", "ts": TS},
    Search: {"type": "search", "user_id": "u", "ts": TS, "query": "shoes", "items": ["i", "j"]},
    ItemUpdate: {"type": "item", "item_id": "i", "ts": TS},
    Forget: {"type": "forget", "user_id": "u", "ts": TS},
    Identify: {"type": "identify", "user_id": "u", "guest_id": "g", "ts": TS},
}
TAGS = {kind: None if kind is Interaction else base["type"] for kind, base in BASES.items()}
# At the bounds of what is allowed, and just beyond; for each field that has such a bound.
TIMES = [
    *("2025-11-24T16:00:00Z", "2025-11-24T16:00:00.5+02:00", "2025-11-24T16:00:00", "yesterday", [], True),
    *(631_152_000, 631_151_999, 7_258_118_399, 7_258_118_400, 631_152_000_000, 7_258_118_399_999, 7_258_118_400_000),
    *(0, 99_999_999_999, 100_000_000_000, 1_764_000_000.25),
]
IDS = ["x", "x" * MAX_ID_CHARS, "x" * (MAX_ID_CHARS + 1), 7, -7, 2.5, 0, True, [], {}, ["x"]]
TEXTS = ["x", "x" * MAX_TEXT_CHARS, "x" * (MAX_TEXT_CHARS + 1), 7, 2.5, False, []]
NUMBERS = [0, -1, 2.5, 1e300, "2.5", True, []]
FLAGS = [True, False, 1, "true", []]
VALUES: dict[str, list[Any]] = {
    "type": ["purchase", "look", 7, [], True],
    "user_id": IDS,
    "item_id": IDS,
    "ts": TIMES,
    "event_id": IDS,
    "session_id": IDS,
    "value": NUMBERS,
    "request_id": IDS,
    "k": [1, MAX_K, 0, MAX_K + 1, 2.5, "5", True],
    "exclude_seen": FLAGS,
    "query": TEXTS,
    "items": [["i"], [], [7, "7"], ["x"] * MAX_IDS, ["x"] * (MAX_IDS + 1), "i", [[]], [None], [""], {}],
    "title": TEXTS,
    "categories": [["shoes"], [], ["x"] * MAX_IDS, ["x"] * (MAX_IDS + 1), "shoes", [""]],
    "price": NUMBERS,
    "margin": NUMBERS,
    "available": FLAGS,
    "brand": TEXTS,
    "embedding": [[0.5, 1], [], [0.5] * MAX_DIMENSIONS, [0.5] * (MAX_DIMENSIONS + 1), ["0.5"], [None], 0.5],
    "published_at": [*TIMES, -30_610_224_000, -30_610_224_001],
    "guest_id": ["g", "g" * MAX_ANONYMOUS_ID_CHARS, "g" * (MAX_ANONYMOUS_ID_CHARS + 1), 7, True, []],
}


def takes(record: Any, guests: bool) -> bool:
    """Whether the parser makes an event of a record; else it refuses it."""
    batch = RawBatch(Origin("file", "-"), ((1, json.dumps(record).encode()),), 0)
    events, rejected = EventParser(Config().events, has_anonymous_users=guests).parse(batch)
    assert bool(events) != bool(rejected)
    return bool(events)


@pytest.fixture(scope="module")
def valid() -> dict[bool, Callable[[Any], bool]]:
    """Whether the schema takes a record, by whether guests are known."""
    configs = {guests: Config(users=UsersConfig(guests=guests)) for guests in (False, True)}
    return {guests: Draft202012Validator(build_schema("events", config)).is_valid for guests, config in configs.items()}


def cases(kind: type, fields: Iterable[str]) -> Iterator[dict[str, Any]]:
    """An event of a kind, whole, without each of its fields, and with each field at its bounds and beyond."""
    base = BASES[kind]
    yield base
    yield from ({name: of for name, of in base.items() if name != gone} for gone in base)
    yield from (base | {name: value} for name in fields for value in (*VALUES[name], None))


def fields_of(kind: type) -> set[str]:
    (record,) = (one for one in WIRE_EVENT_TYPES if one.__struct_config__.tag == TAGS[kind])
    return set(record.__struct_fields__)


def test_all_fields_of_events_and_no_others_are_shown():
    named = {field for kind in BASES for field in fields_of(kind)} | {"type"}
    assert named == set(EVENT_FIELDS) == set(VALUES)


@pytest.mark.parametrize("kind", [kind for kind in BASES if kind is not Identify], ids=lambda kind: kind.__name__)
def test_the_schema_takes_what_the_parser_does(valid, kind):
    fields = fields_of(kind) - {"guest_id"} - (set() if kind is Interaction else {"session_id"})  # not looked at
    differing = [case for case in cases(kind, fields) if valid[False](case) != takes(case, guests=False)]
    assert not differing


@pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.__name__)
def test_where_guests_are_known_the_parser_takes_what_the_schema_does(valid, kind):
    refused = [case for case in cases(kind, fields_of(kind)) if valid[True](case) and not takes(case, guests=True)]
    assert not refused


@pytest.mark.parametrize(
    "named",
    [
        {"guest_id": "g"},
        {"guest_id": None},
        {"session_id": "s"},
        {"session_id": "s" * (MAX_ANONYMOUS_ID_CHARS + 1)},
        {},
    ],
)
@pytest.mark.parametrize("kind", [kind for kind in BASES if kind is not ItemUpdate], ids=lambda kind: kind.__name__)
def test_where_guests_are_known_they_stand_for_users(valid, kind, named):
    base = {name: value for name, value in BASES[kind].items() if name not in ("user_id", "guest_id")}
    record = base | named | ({"user_id": "u"} if kind is Identify else {})
    assert valid[True](record) == takes(record, guests=True)
