"""Names and settings that formats and rules register, so that a configuration can be checked against them.

The layers above register here (`freshflow.events.formats.registry`, `freshflow.rules.registry`), as do the modules of
`plugins.modules`; this package imports none of them.
"""

from freshflow.config.section import Section

AUTO_FORMAT, NATIVE_FORMAT, ENVELOPE_FORMAT = "auto", "freshflow", "cloudevents"

_formats = [AUTO_FORMAT, NATIVE_FORMAT, ENVELOPE_FORMAT]
_rule_settings: dict[str, type[Section]] = {}


def add_format_name(name: str) -> None:
    """Allow a value of `events.format`."""
    if name not in _formats:
        _formats.append(name)


def format_names() -> tuple[str, ...]:
    """Return the values that `events.format` allows."""
    return tuple(_formats)


def add_rule_settings(name: str, settings: type[Section]) -> None:
    """Allow the table `[rules.NAME]`, whose keys and types are those of `settings`."""
    _rule_settings[name] = settings


def rule_settings() -> dict[str, type[Section]]:
    """Return the registered tables of `[rules]` by name."""
    return dict(_rule_settings)
