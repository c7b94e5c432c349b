"""The page on related items: its record has every field; `test_pages.py` runs its commands."""

import json

import msgspec

from freshflow.outputs.records import RelatedItems
from tests.docs.pages import DOCS, blocks


def test_record_shown_has_every_field():
    ((_, _, text),) = blocks(DOCS / "how-to" / "related.md", "json")
    record = json.loads(text)
    msgspec.convert(record, RelatedItems)
    assert {field.encode_name for field in msgspec.structs.fields(RelatedItems)} == record.keys()
