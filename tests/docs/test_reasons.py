"""The page on reasons: its table has every reason; `test_pages.py` runs its commands."""

import re

from freshflow.outputs.records import LIST_REASONS
from tests.docs.pages import DOCS


def test_table_has_every_reason():
    text = (DOCS / "reference" / "reasons.md").read_text("utf-8")
    cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    assert {word for cell in cells for word in re.findall(r"`(\w+)`", cell)} >= set(LIST_REASONS)
