"""Hook of mkdocs that converts the pages, which are written for GitHub, where the two differ."""

import re
from typing import Any

NAMED = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)  # a block with a file name
OUTSIDE = re.compile(r"\[([^]]*)\]\((?:\.\./)+(?:README|CHANGELOG|deploy|tests|flows)[^)]*\)")
ITEM_BEHIND_TEXT = re.compile(r"^(?!(?:[-*]|\d+\.) |  |\||#|>|$)(.+)\n(?=(?:[-*]|1\.) )", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Convert a page: put file names above their blocks and a blank line before lists, and unlink external files."""
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    for at, part in enumerate(parts):
        parts[at] = NAMED.sub(r"`\2`\n\n```\1", part) if at % 2 else _mended(part)
    return "".join(parts)


def _mended(text: str) -> str:
    return ITEM_BEHIND_TEXT.sub(r"\1\n\n", OUTSIDE.sub(r"\1", text))
