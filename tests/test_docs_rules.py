"""The page on rules: its example gives the output that it shows."""

import re
from pathlib import Path

from typer.testing import CliRunner

from freshflow.cli.main import app

PAGE = Path(__file__).parents[1] / "freshflow" / "docs" / "how-to" / "rules.md"


def test_the_example_gives_what_the_page_shows(tmp_path, monkeypatch):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (toml, events, commands, output) = (text for _, text in blocks)
    monkeypatch.chdir(tmp_path)
    Path("rules.toml").write_text(toml)
    Path("events.jsonl").write_text(events)
    for command in commands.splitlines():
        told = CliRunner().invoke(app, command.split()[1:], catch_exceptions=False)
        assert told.exit_code == 0, told.output
    table = told.stdout.split("events.\n\n")[1]
    assert [line.split() for line in table.splitlines()] == [line.split() for line in output.splitlines()]
