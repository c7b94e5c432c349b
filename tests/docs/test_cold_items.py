"""The page on cold items: its list depends on `[content]`; `test_pages.py` runs its commands."""

import json
from pathlib import Path

from tests.docs.pages import DOCS, call, commands, write_files

PAGE = DOCS / "how-to" / "cold-items.md"


def test_list_without_content_is_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(PAGE, tmp_path)
    Path("cold.toml").write_text("")
    (command,) = commands(PAGE)
    call(command)
    assert json.loads(Path("lists.jsonl").read_text().splitlines()[-1])["items"] == []
