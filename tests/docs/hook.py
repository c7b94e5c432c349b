"""What mkdocs is told beside `mkdocs.yml`: pages are written as GitHub shows them, and mended where mkdocs differs."""

import re
from typing import Any



NAMED = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)  # a block with the name of a file
OUTSIDE = re.compile(r"\[([^]]*)\]\((?:\.\./)+(?:README|CHANGELOG|deploy|tests|flows)[^)]*\)")
ITEM_BEHIND_TEXT = re.compile(r"^(?!(?:[-*]|\d+\.) |  |\||#|>|$)(.+)\n(?=(?:[-*]|1\.) )", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page for mkdocs: names of blocks stand above them, lists have a line of their own, and links stay within."""
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    for at, part in enumerate(parts):
        parts[at] = NAMED.sub(r"`\2`\n\n```\1", part) if at % 2 else _mended(part)
    return "".join(parts)


def _mended(text: str) -> str:
    return ITEM_BEHIND_TEXT.sub(r"\1\n\n", OUTSIDE.sub(r"\1", text))
