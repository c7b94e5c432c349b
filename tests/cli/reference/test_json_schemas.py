"""The schemas: all that a job writes is of them, and what is wrong is not."""

import contextlib
import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from freshflow.cli.reference.example_file import EXAMPLE_FILE
from freshflow.cli.reference.json_schemas import build_schema
from freshflow.config.schema import Config
from freshflow.events.model import Origin, Rejected
from freshflow.events.reject_codes import REJECT_CODES, RejectCode
from freshflow.metrics.catalogue import COUNT_METRICS, QUALITY_METRICS, find_metric
from freshflow.outputs.dead_letters import encode_dead_letter
from freshflow.outputs.reasons import PUBLISHED_REASONS
from freshflow.outputs.records import LIST_REASONS, Cause
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines
from tests.docs.pages import call

Json = dict[str, Any]

SETTINGS = """
[users]
guests = true
[lists]
k = 8
contributions = true
[explore]
share = 0.2
[metrics]
report_every_events = 200
[rules]
pinned = { i17 = 3, i5 = 2, i30 = 4 }
per_category = 4
"""
LATER = """\
{"type": "view", "session_id": "s1", "item_id": "i17", "ts": TS}
{"type": "view", "session_id": "s1", "item_id": "i18", "ts": TS}
{"type": "identify", "session_id": "s1", "user_id": "u1", "ts": TS}
{"type": "request", "user_id": "u2", "request_id": "r", "ts": TS}
{"type": "forget", "user_id": "u2", "ts": TS}
{"type": "item", "item_id": "i17", "available": false, "ts": TS}"""


def closed(part: Any) -> Any:
    """A schema that takes nothing that it does not name."""
    if isinstance(part, list):
        return [closed(one) for one in part]
    if not isinstance(part, dict):
        return part
    whole = {name: closed(value) for name, value in part.items()}
    if part.get("type") == "object" and "properties" in part:
        whole["additionalProperties"] = False
    return whole


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(closed(build_schema(name)))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    """What a job writes that does all there is to do, by the name of the schema."""
    shop = list(shop_lines(ShopConfig(events=800, users=80, items=60, searches=0.2, requests=0.1)))
    last_ms = max(ms for ms, _, _ in shop)
    lines = [raw for _, _, raw in shop] + [one.replace("TS", str(last_ms)).encode() for one in LATER.split("\n")]
    places = {"recommendations": "lists.jsonl", "related": "related.jsonl", "metrics": "metrics.jsonl"}
    options = ["--output", "lists.jsonl", "--related", "related.jsonl", "--metrics", "metrics.jsonl", "--quiet"]
    with contextlib.chdir(tmp_path_factory.mktemp("job")):
        Path("events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        for name in ("a.toml", "b.toml"):
            Path(name).write_text(SETTINGS)
        call(["run", "--input", "events.jsonl", *options, "--variants", "a.toml", "b.toml"])
        places["dead-letters"] = "lists.dead-letters.jsonl"
        return {
            name: [json.loads(line) for line in Path(place).read_bytes().splitlines()] for name, place in places.items()
        }


@pytest.mark.parametrize("name", ["recommendations", "related", "metrics", "dead-letters"])
def test_all_that_a_job_writes_is_of_its_schema_which_names_every_field(written, name):
    takes = validator(name).is_valid
    assert written[name]
    assert not [record for record in written[name] if not takes(record)]


def test_the_job_did_all_that_there_is_to_do(written):
    lists = [one for one in written["recommendations"] if "value" not in one]
    assert {one["cause"] for one in lists} == set(get_args(Cause))
    items = [item for one in lists for item in one["items"]]
    assert {"together", "again", "popular", "pinned", "explore", "searched"} <= {item["reason"] for item in items}
    assert any("propensity" in item for item in items) and any("contributions" in item for item in items)
    assert any("value" in one for one in written["recommendations"])  # tombstones
    assert any("value" in one for one in written["related"])
    assert {one["kind"] for one in written["metrics"]} == {"partition", "forget", "comparison"}
    assert len({one["code"] for one in written["dead-letters"]}) > 4


def test_what_is_counted_is_told(written):
    reports = [one for one in written["metrics"] if one["kind"] == "partition"]
    names = {name for report in reports for name in report["counts"]}
    assert not [name for name in names if find_metric(name, COUNT_METRICS) is None]
    figures = {name for report in reports for name in report["quality"]}
    assert not [name for name in figures if find_metric(name, QUALITY_METRICS) is None]


def broken(record: Json) -> Iterator[Json]:
    """The record with each of its fields in turn missing or of another type, and those within."""
    for name, value in record.items():
        yield {other: of for other, of in record.items() if other != name}
        yield record | {name: [value] if not isinstance(value, list) else {"0": value}}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from (record | {name: [inner, *value[1:]]} for inner in broken(value[0]))
        elif isinstance(value, dict) and name in ("model", "source"):
            yield from (record | {name: inner} for inner in broken(value))


@pytest.mark.parametrize("name", ["recommendations", "related"])
def test_a_record_without_one_of_its_fields_or_with_another_type_is_refused(written, name):
    record = min((one for one in written[name] if "value" not in one), key=len)
    record = copy.deepcopy(record)
    for optional in ("contributions", "propensity"):
        for item in record["items"]:
            item.pop(optional, None)
    for optional in ("variant", "policy", "request_id"):
        record.pop(optional, None)
    takes = Draft202012Validator(build_schema(name)).is_valid
    assert takes(record)
    accepted = [one for one in broken(record) if takes(one)]
    assert not accepted


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("recommendations", "cause", "boredom"),
        ("recommendations", "source", {"file": "events.jsonl", "line": 0}),
        ("recommendations", "source", {"file": "events.jsonl", "offset": 7}),
        ("metrics", "kind", "verdict"),
        ("metrics", "counts", {"events": "many"}),
        ("dead-letters", "code", "ugly"),
        ("dead-letters", "raw", 7),
    ],
)
def test_a_value_that_is_never_written_is_refused(written, name, field, value):
    record = next(one for one in written[name] if field in one)
    assert not Draft202012Validator(build_schema(name)).is_valid(record | {field: value})


@pytest.mark.parametrize(
    ("raw", "max_raw", "left_out"), [(None, None, None), (b"\xff", None, None), (b"long", 2, None), (None, None, 40)]
)
def test_dead_letters_of_every_kind_are_of_the_schema(raw, max_raw, left_out):
    rejected = Rejected(Origin("topic", "events", 3), 7, raw, "empty", "Why.", n_hidden_bytes=left_out)
    _, letter = encode_dead_letter(rejected, 1_764_000_000_000, max_raw)
    assert letter is not None
    validator("dead-letters").validate(json.loads(letter))


def test_codes_have_a_meaning_each():
    assert tuple(REJECT_CODES) == get_args(RejectCode)


def test_reasons_are_those_of_lists_and_those_of_searches():
    assert set(LIST_REASONS) == {*PUBLISHED_REASONS, "searched", "engine", "unknown"}


# The configuration


def test_the_example_file_is_of_the_schema_of_the_configuration():
    Draft202012Validator(build_schema("config")).validate(tomllib.loads(EXAMPLE_FILE.read_text("utf-8")))


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("lists.k = 200", True),
        ("lists.k = 201", False),
        ("lists.kk = 1", False),
        ("list.k = 1", False),
        ("job.epoch_s = 0", False),
        ("kafka.start = 'end'", False),
        ("events.weights.listen = -2.5", True),
        ("events.weights.listen = 'much'", False),
        ("kafka.options.sasl.password = 'p'", True),
        ("rules.pinned.i17 = 201", False),
    ],
)
def test_the_schema_of_the_configuration_refuses_what_the_job_does(text, allowed):
    assert Draft202012Validator(build_schema("config")).is_valid(tomllib.loads(text)) == allowed


def test_every_setting_has_its_meaning_and_its_default_in_the_schema():
    defs = build_schema("config")["$defs"]
    for table in (name for name in defs if name != "Config"):
        for key, field in defs[table]["properties"].items():
            assert "description" in field, f"{table}.{key}"
    assert defs["ListsConfig"]["properties"]["k"]["default"] == Config().lists.k
