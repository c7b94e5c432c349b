"""The page on reasons: its table has every reason; `test_pages.py` runs its commands."""

import re

from freshflow.outputs.records import LIST_REASONS
from tests.docs.pages import DOCS


def test_table_has_every_reason():
    text = (DOCS / "reference" / "reasons.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) >= set(LIST_REASONS)
