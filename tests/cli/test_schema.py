"""`freshflow schema`."""

import json

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.cli.reference.json_schemas import SCHEMAS
from freshflow.errors import ConfigError

EVENT = {"user_id": "u7", "item_id": "i42", "ts": 1764000000}


def printed(*arguments):
    told = CliRunner().invoke(app, ["schema", *map(str, arguments)], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_printed_is_a_json_schema(name):
    Draft202012Validator.check_schema(printed(name))


def test_events_of_a_type_are_known_to_the_schema_as_they_are_to_the_job(tmp_path):
    (tmp_path / "shop.toml").write_text("[events.weights]\nlisten = 2\n[users]\nguests = true\n")
    usual = Draft202012Validator(printed("events"))
    own = Draft202012Validator(printed("events", "--config", tmp_path / "shop.toml"))
    listens, guest = (
        EVENT | {"type": "listen"},
        {"type": "view", "session_id": "s1", "item_id": "i42", "ts": 1764000000},
    )
    assert (usual.is_valid(listens), own.is_valid(listens)) == (False, True)
    assert (usual.is_valid(guest), own.is_valid(guest)) == (False, True)
    identify = {"type": "identify", "user_id": "u7", "ts": 1764000000}
    assert (own.is_valid(identify), own.is_valid(identify | {"guest_id": "g1"})) == (False, True)


def test_another_name_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match="There is no schema of 'list'; there are events, recommendations, "):
        CliRunner().invoke(app, ["schema", "list"], catch_exceptions=False)
