"""The page on search: its events give the answers that it shows, under the settings that it shows."""

import json
import re
from pathlib import Path

from freshflow.config.schema import Config, load_config
from freshflow.engine.partition import Partition
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.users.store import UserStore
from tests.builders.streams import items, read

PAGE = (Path(__file__).parents[1] / "freshflow" / "docs" / "how-to" / "search.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"```(?:json|toml) (\S+)\n(.*?)```", PAGE, re.DOTALL))
ORIGIN = Origin("file", "events.jsonl")


def test_the_events_of_the_page_give_its_answers():
    config = Config()
    lines = BLOCKS["search/events.jsonl"].encode().splitlines()
    events, rejected = EventParser(config.events).parse(RawBatch(ORIGIN, tuple(enumerate(lines, start=1)), 0))
    assert not rejected
    lists = read(Partition(0, config, lambda: 0).process(ORIGIN, UserStore.for_partition(config).process(events)))
    answers = [
        {
            "user_id": one.user_id,
            "request_id": one.request_id,
            "items": [[item.item_id, item.reason] for item in one.items],
        }
        for one in lists
        if one.surface == "search"
    ]
    assert answers == [json.loads(line) for line in BLOCKS["answers"].splitlines()]
    assert all(items(one) for one in lists)


def test_the_settings_of_the_page_are_the_defaults(tmp_path):
    path = tmp_path / "freshflow.toml"
    path.write_text(BLOCKS["search/freshflow.toml"])
    assert load_config(path) == Config()
