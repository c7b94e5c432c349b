"""The guide to formats: its example lines are written to files, and its commands run over them, named and guessed."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.cli.shapes import event_overrides
from freshflow.config.loader import load_config
from freshflow.errors import ConfigError, find_user_error
from freshflow.events.formats.registry import format_names
from freshflow.streaming.job import STOP_SIGNALS

GUIDE = (Path(__file__).parents[2] / "freshflow" / "docs" / "reference" / "formats.md").read_text("utf-8")
FILES = re.findall(r"```(?:json|csv) (\S+)\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def in_examples(tmp_path, monkeypatch):
    """The files of the guide, in the folder that the test runs in."""
    (tmp_path / "formats").mkdir()
    for name, content in FILES:
        (tmp_path / name).write_text(content, "utf-8")
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}  # which a job in this process takes over
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_guide_has_a_command_for_every_format():
    named = {shlex.split(command)[-1] for command in COMMANDS if "--format" in command}
    assert named == set(format_names()) - {"auto", "freshflow"}


def test_the_commands_of_the_guide_take_every_record_of_their_files(in_examples):
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "freshflow"
        run(*arguments)
        if arguments[0] == "run":
            assert (in_examples / "formats/lists.jsonl").read_bytes(), command
            assert not (in_examples / "formats/lists.dead-letters.jsonl").exists(), command


@pytest.mark.parametrize("command", [command for command in COMMANDS if " evaluate " in command])
def test_a_format_that_is_guessed_gives_what_a_named_one_gives(in_examples, command):
    arguments = shlex.split(command)[1:]
    figures = []
    for options in (arguments, arguments[:-2]):
        run(*options, "--json", "report.json")
        report = json.loads((in_examples / "report.json").read_bytes())
        figures.append({name: report[name] for name in ("events", "users", "items", "rejected", "passed_over")})
    assert figures[0] == figures[1]
    assert figures[0]["events"] > 0
    assert figures[0]["rejected"] == {}


def test_what_is_passed_over_is_shown_at_the_end(in_examples):
    output = run("run", "--input", "formats/segment.jsonl", "--output", "lists.jsonl")
    assert re.search(r"passed over +1", output)
    assert re.search(r"page +1", output)


def test_lists_of_one_record_have_ids_and_places_of_their_own(in_examples):
    run("run", "--input", "formats/otto.jsonl", "--output", "lists.jsonl")
    lists = [json.loads(line) for line in (in_examples / "lists.jsonl").read_bytes().splitlines()]
    lists = [one for one in lists if one["cause"] == "interaction"]
    assert [one["source"].get("event", 0) for one in lists] == sorted({one["source"].get("event", 0) for one in lists})
    assert len({one["list_id"] for one in lists}) == len(lists) > 1


def test_a_file_of_an_unknown_layout_is_refused_with_what_to_do(in_examples):
    Path("x.dat").write_text("a;b;c\n")
    result = CliRunner().invoke(app, ["evaluate", "x.dat"])
    assert "is that of no known format: name the format" in str(find_user_error(result.exception))


@pytest.mark.parametrize(
    ("format", "map", "said"),
    [
        ("ga5", None, "events.format = 'ga5' is not allowed: expected one of auto, freshflow"),
        (None, "user_id", "'user_id' is not a pair"),
        (None, "user=u", "events.map.user is not a field of an event"),
        (None, "user_id=a..b", "events.map.user_id = 'a..b' is not allowed"),
    ],
)
def test_a_wrong_option_is_refused_in_a_sentence(format, map, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_config(overrides={"events": event_overrides(format, map)})


def test_the_environment_can_name_fields():
    config = load_config(environment={"FRESHFLOW_EVENTS_FORMAT": "ga4", "FRESHFLOW_EVENTS_MAP_USER_ID": "crm.id"})
    assert (config.events.format, config.events.map) == ("ga4", {"user_id": "crm.id"})
