"""The page on serving: its table has every path; `test_pages.py` runs its commands and requests."""

import re

from freshflow.serving.openapi import PATHS
from tests.docs.pages import DOCS


def test_table_has_every_path():
    text = (DOCS / "how-to" / "serve.md").read_text("utf-8")
    assert re.findall(r"^\| `(/\S+)` \|", text, re.MULTILINE) == list(PATHS)
