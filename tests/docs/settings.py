"""Generate the reference of settings from the configuration."""

from freshflow.cli.reference.example_file import toml_value
from freshflow.cli.reference.settings import SectionSettings, SettingDoc, sections
from freshflow.config.section import is_mapping
from tests.docs.tables import table


def settings_reference() -> str:
    """Return a table for each section, with examples."""
    return "\n\n".join(map(_section, sections()))


def _section(section: SectionSettings) -> str:
    rows = [(f"`{one.key}`", _default(one), one.allowed_values, _meaning(one)) for one in section.settings]
    return "\n\n".join([f"## {section.name}", section.summary, table(("key", "default", "allowed", "meaning"), rows)])


def _meaning(setting: SettingDoc) -> str:
    examples = "; ".join(f"`{example}`" for example in setting.examples)
    return f"{setting.description} {examples}".strip() if examples else setting.description


def _default(setting: SettingDoc) -> str:
    if is_mapping(setting.hint):
        return ", ".join(f"`{key} = {toml_value(value)}`" for key, value in setting.default.items())
    return f"`{toml_value(setting.default)}`"
