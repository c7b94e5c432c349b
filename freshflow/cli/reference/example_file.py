"""The example of a configuration file: every setting with its default, its description and its allowed values."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any

from freshflow.cli.reference.settings import SettingDoc, sections
from freshflow.config.section import is_mapping

EXAMPLE_FILE = Path(__file__).parents[2] / "docs" / "freshflow.example.toml"
COMMENT_WIDTH = 118
HEADER = """\
# Every setting of FreshFlow with its default. Keep the lines that you change and delete the rest.
#
# Environment variables override settings, FRESHFLOW_<SECTION>_<KEY>: FRESHFLOW_LISTS_K=10.
# A text of the form "${NAME}" is replaced by the environment variable NAME; keep passwords there.
# Allowed values are in brackets; any other value stops the job at its start, with the reason.
"""


def example_file() -> str:
    """Return the text of the example file."""
    return "\n".join([HEADER, *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    for number, section in enumerate(sections()):
        if number:
            yield ""
        yield from _comment(section.summary)
        yield f"[{section.name}]"
        # A table of entries ends the keys of its section in TOML, so that plain keys go first.
        for position, setting in enumerate(sorted(section.settings, key=lambda setting: is_mapping(setting.hint))):
            if position or is_mapping(setting.hint):
                yield ""
            yield from _comment(f"{setting.description} [{setting.allowed_values}]")
            yield from _assignment(setting)


def _assignment(setting: SettingDoc) -> Iterator[str]:
    if not is_mapping(setting.hint):
        yield f"{setting.key} = {toml_value(setting.default)}"
        return
    yield from (f"#   {example}" for example in setting.examples)
    yield f"[{setting.name}]"
    yield from (f"{entry} = {toml_value(value)}" for entry, value in setting.default.items())


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(text, COMMENT_WIDTH, break_on_hyphens=False)]


def toml_value(value: Any) -> str:
    """Return a default as TOML.

    >>> toml_value(("a",)), toml_value(True), toml_value(0.5)
    ('["a"]', 'true', '0.5')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return f"[{', '.join(map(toml_value, value))}]" if isinstance(value, tuple) else str(value)
