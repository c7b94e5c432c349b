"""Every setting with its type, default, bounds and meaning.

Types, defaults and bounds are those of `freshflow.config.schema`; meanings are the comments of `freshflow.example.toml`, the
one place where they stand.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from freshflow.config.schema import HINTS, Config
from freshflow.config.validation import is_mapping

__all__ = ["EXAMPLE", "SectionSettings", "Setting", "sections"]

EXAMPLE = Path(__file__).parents[2] / "docs" / "freshflow.example.toml"
COMMENT, HEADER, KEY = re.compile(r"# ?(.*)"), re.compile(r"\[([\w.]+)\]"), re.compile(r"(\w+) = ")
ALLOWED = re.compile(r"\[([^]]*)\] ?")
SHOWN = "  "  # what a line of a comment begins with that is an example


class Setting(NamedTuple):
    """One key. `allowed` says in words what the example file has in brackets; `examples` are lines of TOML."""

    name: str
    hint: Any
    default: Any
    allowed: str
    meaning: str
    examples: tuple[str, ...]


class SectionSettings(NamedTuple):
    """A table of the file, what it is about, and its keys."""

    name: str
    about: str
    settings: tuple[Setting, ...]


@cache
def sections() -> tuple[SectionSettings, ...]:
    """All sections, in the order of the configuration."""
    comments = _comments(EXAMPLE.read_text("utf-8"))
    return tuple(
        SectionSettings(
            section,
            type_.__doc__.partition("\n")[0],
            tuple(_setting(section, key, hint, comments) for key, hint in HINTS[section].items()),
        )
        for section, type_ in get_type_hints(Config).items()
    )


def _setting(section: str, key: str, hint: Any, comments: dict[str, list[str]]) -> Setting:
    lines = comments[f"{section}.{key}"]
    said = " ".join(line for line in lines if not line.startswith(SHOWN))
    allowed = ALLOWED.search(said)
    assert allowed is not None, f"{EXAMPLE}: {section}.{key} does not say in brackets what is allowed"
    return Setting(
        f"{section}.{key}",
        hint,
        getattr(getattr(Config(), section), key),
        allowed[1],
        (said[: allowed.start()] + said[allowed.end() :]).strip(),
        tuple(line.strip() for line in lines if line.startswith(SHOWN)),
    )


def _comments(text: str) -> dict[str, list[str]]:
    """The lines of the comment above each key and each table, by its dotted name."""
    found: dict[str, list[str]] = {}
    section, lines = "", []
    for line in text.splitlines():
        if comment := COMMENT.fullmatch(line):
            lines.append(comment[1])
            continue
        if header := HEADER.fullmatch(line):
            section = header[1]
            found[section] = lines
        elif key := KEY.match(line):
            found[f"{section}.{key[1]}"] = lines
        lines = []
    return found


def is_table(setting: Setting) -> bool:
    """Whether the setting is a table of free entries."""
    return is_mapping(setting.hint)
