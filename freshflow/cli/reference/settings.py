"""Every setting with its type, default, bounds and meaning.

Types, defaults and bounds are those of `freshflow.config.schema`; meanings are the comments of `freshflow.example.toml`, the
one place where they stand.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from freshflow.config.schema import TYPE_HINTS, Config
from freshflow.config.validation import is_mapping

__all__ = ["EXAMPLE_FILE", "SectionSettings", "SettingDoc", "sections"]

EXAMPLE_FILE = Path(__file__).parents[2] / "docs" / "freshflow.example.toml"
COMMENT_PATTERN, HEADER_PATTERN, KEY_PATTERN = (
    re.compile(r"# ?(.*)"),
    re.compile(r"\[([\w.]+)\]"),
    re.compile(r"(\w+) = "),
)
ALLOWED_PATTERN = re.compile(r"\[([^]]*)\] ?")
EXAMPLE_INDENT = "  "  # what a line of a comment begins with that is an example


class SettingDoc(NamedTuple):
    """One key. `allowed_values` says in words what the example file has in brackets; `examples` are lines of TOML."""

    name: str
    hint: Any
    default: Any
    allowed_values: str
    description: str
    examples: tuple[str, ...]


class SectionSettings(NamedTuple):
    """A table of the file, what it is about, and its keys."""

    name: str
    summary: str
    settings: tuple[SettingDoc, ...]


@cache
def sections() -> tuple[SectionSettings, ...]:
    """All sections, in the order of the configuration."""
    comments = _parse_comments(EXAMPLE_FILE.read_text("utf-8"))
    return tuple(
        SectionSettings(
            section,
            type_.__doc__.partition("\n")[0],
            tuple(_build_setting(section, key, hint, comments) for key, hint in TYPE_HINTS[section].items()),
        )
        for section, type_ in get_type_hints(Config).items()
    )


def _build_setting(section: str, key: str, hint: Any, comments: dict[str, list[str]]) -> SettingDoc:
    lines = comments[f"{section}.{key}"]
    text = " ".join(line for line in lines if not line.startswith(EXAMPLE_INDENT))
    allowed_match = ALLOWED_PATTERN.search(text)
    assert allowed_match is not None, f"{EXAMPLE_FILE}: {section}.{key} does not say in brackets what is allowed"
    return SettingDoc(
        f"{section}.{key}",
        hint,
        getattr(getattr(Config(), section), key),
        allowed_match[1],
        (text[: allowed_match.start()] + text[allowed_match.end() :]).strip(),
        tuple(line.strip() for line in lines if line.startswith(EXAMPLE_INDENT)),
    )


def _parse_comments(text: str) -> dict[str, list[str]]:
    """The lines of the comment above each key and each table, by its dotted name."""
    comments_by_name: dict[str, list[str]] = {}
    section, lines = "", []
    for line in text.splitlines():
        if comment := COMMENT_PATTERN.fullmatch(line):
            lines.append(comment[1])
            continue
        if header := HEADER_PATTERN.fullmatch(line):
            section = header[1]
            comments_by_name[section] = lines
        elif key := KEY_PATTERN.match(line):
            comments_by_name[f"{section}.{key[1]}"] = lines
        lines = []
    return comments_by_name


def is_table(setting: SettingDoc) -> bool:
    """Whether the setting is a table of free entries."""
    return is_mapping(setting.hint)
