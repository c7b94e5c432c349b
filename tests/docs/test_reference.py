"""The generated tables and schemas are current; `make docs-reference` updates them."""

import re

from typer.testing import CliRunner

from freshflow.cli.main import app
from tests.docs.commands import commands
from tests.docs.pages import DOCS, PAGES, ROOT
from tests.docs.reference import REGIONS, generated


def test_generated_tables_and_schemas_are_current():
    stale = [str(path.relative_to(ROOT)) for path, text in generated() if not path.exists() or path.read_text() != text]
    assert not stale, "run `make docs-reference`"


def test_command_line_page_has_every_option():
    page = (DOCS / "reference" / "cli.md").read_text("utf-8")
    for name, function in commands():
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        help_ = CliRunner().invoke(app, [*name.split()[1:], "--help"], env={"COLUMNS": "200"}).output
        rows = re.findall(r"^\| `(--.*?)`", section, re.MULTILINE)
        options = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
        shown = re.findall(r"^│ \*? {0,3}(--[a-z-]+)(?: {1,6}(--[a-z-]+))?", help_, re.MULTILINE)
        assert options == {option for pair in shown for option in pair} - {"", "--help"}
        assert function.__doc__.partition("\n")[0] in section
    assert len(list(commands())) > 5


def test_every_generated_table_is_in_one_page():
    used = [name for page in PAGES for name in re.findall(r"<!-- generated: (.+?) -->", page.read_text("utf-8"))]
    assert sorted(used) == sorted(REGIONS)
