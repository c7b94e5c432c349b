"""Generate the reference of settings from the configuration."""

from typing import Any

from freshflow.cli.reference.settings import SectionSettings, SettingDoc, sections
from freshflow.config.validation import is_mapping
from tests.docs.tables import table


def settings_reference() -> str:
    """Return a table for each section, with examples."""
    return "\n\n".join(map(_section, sections()))


def _section(section: SectionSettings) -> str:
    rows = [
        (f"`{one.name.partition('.')[2]}`", _default(one), one.allowed_values, _meaning(one))
        for one in section.settings
    ]
    return "\n\n".join([f"## {section.name}", section.summary, table(("key", "default", "allowed", "meaning"), rows)])


def _meaning(setting: SettingDoc) -> str:
    examples = "; ".join(f"`{example}`" for example in setting.examples)
    return f"{setting.description} {examples}".strip() if examples else setting.description


def _default(setting: SettingDoc) -> str:
    if is_mapping(setting.hint):
        return ", ".join(f"`{key} = {_toml(value)}`" for key, value in setting.default.items())
    return f"`{_toml(setting.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, tuple) else str(value)
