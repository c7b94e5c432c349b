"""The page on cold items: its example runs, and gives what the page shows."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from freshflow.cli.main import app
from freshflow.streaming.job import STOP_SIGNALS

PAGE = (Path(__file__).parents[1] / "freshflow" / "docs" / "how-to" / "cold-items.md").read_text("utf-8")
FILES = dict(re.findall(r"```(?:json|toml) (\S+)\n(.*?)```", PAGE, re.DOTALL))
(COMMAND,) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)


@pytest.fixture
def in_example(tmp_path, monkeypatch):
    for name in ("cold.toml", "cold.jsonl"):
        (tmp_path / name).write_text(FILES[name], "utf-8")
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}  # which a job in this process takes over
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def listed(*options: str) -> list[dict]:
    """The items of the last list that the page's command publishes."""
    program, *arguments = shlex.split(COMMAND)
    assert program == "freshflow"
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    return json.loads(Path("lists.jsonl").read_text().splitlines()[-1])["items"]


def test_the_example_gives_what_the_page_shows(in_example):
    assert listed() == json.loads(FILES["items"])


def test_without_content_there_is_nothing_to_show(in_example):
    Path("cold.toml").write_text("")
    assert listed() == []
