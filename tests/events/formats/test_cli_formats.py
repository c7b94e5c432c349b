"""Types that are called otherwise where events come from (`[events.types]`)."""

import json

import pytest

from freshflow.config.loader import load_config
from freshflow.config.schema import EventsConfig
from freshflow.errors import ConfigError
from freshflow.events.model import Interaction, Origin, RawBatch, Request
from freshflow.events.parser import EventParser

OURS = {"type": "viewed", "user_id": "u1", "item_id": "tea", "ts": 1_764_000_000}
TYPES = {"viewed": "view", "order placed": "purchase", "ask": "request"}


def parsed(record, columns=None, **settings):
    raw = record if columns else json.dumps(record).encode()
    parser = EventParser(EventsConfig(types=TYPES, **settings))
    return parser, *parser.parse(RawBatch(Origin("file", "-"), ((1, raw),), 0, columns))


def test_a_type_is_taken_for_what_it_is_called_here_with_its_weight():
    for theirs, ours, weight in (("viewed", "view", 1.0), ("order placed", "purchase", 5.0), ("view", "view", 1.0)):
        _, (event,), rejected = parsed(OURS | {"type": theirs})
        assert isinstance(event, Interaction)
        assert (event.type, event.weight, rejected) == (ours, weight, [])


def test_a_row_of_csv_with_columns_of_its_own():
    columns = ("who", "what", "type", "ts")
    _, (event,), _ = parsed(b"u1,tea,viewed,1764000000", columns, map={"user_id": "who", "item_id": "what"})
    assert (event.user_id, event.item_id, event.type) == ("u1", "tea", "view")


def test_it_may_be_a_control_event():
    _, (event,), _ = parsed({"type": "ask", "user_id": "u1", "ts": 1_764_000_000})
    assert isinstance(event, Request)


def test_what_is_called_nothing_keeps_its_name_and_is_refused_by_it():
    _, events, (refused,) = parsed(OURS | {"type": "scrolled"})
    assert not events
    assert refused.reason.startswith("type = 'scrolled' is unknown")


def test_another_format_knows_them_beside_its_own():
    session = {"session": 1, "events": [{"aid": 2, "ts": 1_661_200_010_000, "type": "viewed"}]}
    parser, (event,), _ = parsed(session, format="otto")
    assert event.type == "view"
    assert not parser.n_unknown_type


def test_a_shape_that_is_known_by_its_names_stays_known():
    columns = ("timestamp", "visitorid", "event", "itemid", "transactionid")
    for event, ours in (("viewed", "view"), ("addtocart", "cart")):
        _, (found,), _ = parsed(f"1433221332117,257597,{event},355908,".encode(), columns)
        assert (found.type, found.user_id) == (ours, "257597")


def test_a_type_that_nothing_here_is_called_is_no_setting(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_text('[events.types]\nbought = "buy"\n')
    with pytest.raises(ConfigError, match=r"events\.types\.bought = 'buy' is not allowed: expected one of view, "):
        load_config(path)
    path.write_text('[events.types]\nbought = "buy"\n[events.weights]\nbuy = 4.0\n')
    assert load_config(path).events.types == {"bought": "buy"}
