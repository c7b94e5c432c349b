"""The page on guests: its example runs, and gives what the page shows; its Python runs, too."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.streaming.job import STOP_SIGNALS

PAGE = (Path(__file__).parents[1] / "freshflow" / "docs" / "how-to" / "guests.md").read_text("utf-8")
FILES = dict(re.findall(r"```(?:json|toml) (\S+)\n(.*?)```", PAGE, re.DOTALL))
(COMMAND,) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHOWN = ("user_id", "cause", "request_id", "key", "value")


@pytest.fixture
def in_example(tmp_path, monkeypatch):
    for name in ("guests.toml", "guests.jsonl"):
        (tmp_path / name).write_text(FILES[name], "utf-8")
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}  # which a job in this process takes over
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def shown(record):
    fields = {name: record[name] for name in SHOWN if name in record}
    return fields | ({"items": [item["item_id"] for item in record["items"]]} if "items" in record else {})


@pytest.mark.parametrize("partitions", ["1", "3"])
def test_the_example_gives_what_the_page_shows(in_example, partitions):
    program, *arguments = shlex.split(COMMAND)
    assert program == "freshflow"
    result = CliRunner().invoke(app, [*arguments, "--partitions", partitions])
    assert result.exit_code == 0, result.output
    found = [shown(json.loads(line)) for line in Path("lists.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in FILES["lists.jsonl"].splitlines()]
    if partitions == "1":
        assert found == expected
    assert [one for one in found if one.get("cause") == "identify"] == expected[4:5]
    assert not Path("lists.dead-letters.jsonl").exists()


def test_the_python_of_the_page_runs_and_the_user_has_the_guests_history():
    names = {}
    exec(PYTHON, names)
    (known,) = names["recommender"].recommend("ann")
    assert (known.item_id, names["recommender"].recommend(session_id="s1")) == ("cup", [known])


def test_a_file_with_guests_is_evaluated_as_one_history(in_example):
    command = ["evaluate", "guests.jsonl", "--config", "guests.toml", "--json", "report.json"]
    result = CliRunner().invoke(app, [*command, "--partitions", "3"])
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_bytes())
    assert (report["events"], report["users"], report["rejected"]) == (3, 1, {})
