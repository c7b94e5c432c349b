"""Loading of a configuration from a TOML file, the environment and the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from freshflow.config.plugins import import_built_in_modules, import_plugins
from freshflow.config.registry import rule_settings
from freshflow.config.schema import DEFAULT_FULL_VALUES, DEFAULT_WEIGHTS, TYPE_HINTS, Config
from freshflow.config.section import is_mapping, is_section
from freshflow.config.sources import Setting, settings_from_environment, settings_from_file, settings_from_overrides
from freshflow.config.validation import TypeHints, check_consistency, check_setting
from freshflow.errors import ConfigError

PLUGIN_VARIABLE = "FRESHFLOW_PLUGINS_MODULES"


def load_config(
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    overlay: Path | None = None,
) -> Config:
    """Load a configuration, after the modules of `plugins.modules` have been imported.

    Each source overrides those before it: `defaults`, the file, the file `overlay`, the environment, `overrides`.
    Entries of a mapping (`events.weights`, `kafka.options`) are added to the mapping; they never replace it.

    Args:
        path: The TOML file.
        environment: The environment variables to read.
        overrides: Settings of the command line by section and key; None stands for an option that was not given.
        defaults: Settings that replace the built-in defaults.
        overlay: A second TOML file, that of a variant.

    Raises:
        ConfigError: A setting is unknown, not allowed, or contradicts another; a plugin cannot be imported.
    """
    environment = environment or {}
    settings = settings_from_overrides(defaults or {}, "the command line")
    for file in (path, overlay):
        settings += settings_from_file(Path(file), environment) if file is not None else []
    command_line = settings_from_overrides(overrides or {}, "the command line")
    _import_plugins([*settings, *_environment_settings(_plugin_variable(environment), TYPE_HINTS), *command_line])
    hints = setting_hints()
    settings += _environment_settings(environment, hints) + command_line
    for setting in settings:
        check_setting(setting, hints)
    config = _convert(settings)
    settings_by_path = {setting.path: setting for setting in settings}
    check_consistency(config, settings_by_path)
    return _add_blocked_file(config, settings_by_path)


def setting_hints() -> dict[str, dict[str, Any]]:
    """Return the types of all settings by section and key, those of registered rules included."""
    return {**TYPE_HINTS, "rules": {**TYPE_HINTS["rules"], **rule_settings()}}


def _environment_settings(environment: Mapping[str, str], hints: TypeHints) -> list[Setting]:
    mappings = {
        name: {key: is_mapping(hint) or is_section(hint) for key, hint in keys.items()} for name, keys in hints.items()
    }
    return settings_from_environment(environment, mappings)


def _plugin_variable(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name == PLUGIN_VARIABLE}


def _import_plugins(settings: list[Setting]) -> None:
    """Import the built-in modules and those of `plugins.modules`, of which the last setting counts."""
    import_built_in_modules()
    module_settings = [setting for setting in settings if setting.path == ("plugins", "modules")]
    if module_settings:
        setting = module_settings[-1]
        check_setting(setting, TYPE_HINTS)
        import_plugins(setting.value, f"{setting.origin}: plugins.modules")


def _convert(settings: list[Setting]) -> Config:
    registered_rules = rule_settings()
    tables: dict[str, dict[str, Any]] = {
        "events": {"weights": dict(DEFAULT_WEIGHTS), "full_value": dict(DEFAULT_FULL_VALUES)}
    }
    for setting in settings:
        path = setting.path
        if path[0] == "rules" and path[1:2] and path[1] in registered_rules:
            path = ("rules", "extensions", *path[1:])
        elif setting.value == {}:  # an empty section, or a mapping to which nothing is added
            continue
        table = tables
        for key in path[:-1]:
            table = table.setdefault(key, {})
        table[path[-1]] = table.get(path[-1], {}) if setting.value == {} else setting.value
    return msgspec.convert(tables, Config)


def _add_blocked_file(config: Config, settings_by_path: Mapping[tuple[str, ...], Setting]) -> Config:
    """Return the configuration with the ids of `rules.blocked_file`, one a line, among `rules.blocked`."""
    rules = config.rules
    if not rules.blocked_file:
        return config
    origin = settings_by_path["rules", "blocked_file"].origin
    try:
        lines = Path(rules.blocked_file).read_text("utf-8-sig").splitlines()
    except OSError as error:
        cause = error.strerror
    except UnicodeDecodeError:
        cause = "it is not UTF-8"
    else:
        ids = (item for line in lines if (item := line.strip()))
        blocked = tuple(dict.fromkeys((*rules.blocked, *ids)))
        return msgspec.structs.replace(config, rules=msgspec.structs.replace(rules, blocked=blocked))
    raise ConfigError(
        f"{origin}: rules.blocked_file = {rules.blocked_file!r} cannot be read: {cause}; give a text file with one "
        "item id a line."
    )
