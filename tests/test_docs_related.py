"""The page on related items: its commands run, its record has the written fields, its settings are the defaults."""

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import msgspec

from freshflow.config.schema import RelatedConfig
from freshflow.outputs.records import RelatedItems

PAGE = (Path(__file__).parents[1] / "freshflow" / "docs" / "how-to" / "related.md").read_text("utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_commands_write_records_as_the_page_shows_one(
    freshflow: Callable[..., CompletedProcess[str]], read: Callable[[str], list[dict[str, Any]]]
) -> None:
    for line in block("sh").splitlines():
        assert freshflow(*shlex.split(line)[1:]).returncode == 0
    shown = json.loads(block("json"))
    records = [one for one in read("related.jsonl") if "item_id" in one]
    assert len(records) > 500
    assert shown.keys() == records[0].keys()
    assert shown["source"].keys() == records[0]["source"].keys()
    assert shown | {"computed_at": 0} in [one | {"computed_at": 0} for one in records]
    msgspec.convert(shown, RelatedItems)


def test_the_settings_are_the_defaults() -> None:
    assert msgspec.convert(tomllib.loads(block("toml"))["related"], RelatedConfig) == RelatedConfig()
