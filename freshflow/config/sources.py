"""Sources of settings: a TOML file, the environment, the command line.

Each source is read into a list of settings, one for each value, with its origin for error messages. Of several settings
with the same path the last one counts. Values are not checked here.

A string of the form `${NAME}` in the file is replaced by the environment variable NAME, which keeps secrets out of the
file. `FRESHFLOW_<SECTION>_<KEY>` overrides a key (`FRESHFLOW_LISTS_K=10`); its value is parsed as TOML, or else taken
as a string. `FRESHFLOW_KAFKA_OPTIONS_SASL_PASSWORD` sets the librdkafka option `sasl.password`; its value and that of
FRESHFLOW_PRIVACY_KEY are taken literally. Other variables that begin with FRESHFLOW_ are ignored.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from freshflow.errors import ConfigError

PRIVACY_KEY = ("privacy", "key")  # taken literally: a key of digits must not become a number
# Names of earlier versions and their successors.
RETIRED_SECTIONS = {"values": "business_value"}
RETIRED_KEYS = {
    ("users", "lateness_s"): "allowed_lateness_s",
    ("events", "jump_s"): "max_clock_skew_s",
    ("events", "future_s"): "max_future_s",
    ("events", "full"): "full_value",
    ("items", "kept_on_drift"): "drift_decay",
    ("ranker", "units"): "hidden_units",
    ("ranker", "shared"): "broadcast_examples",
    ("search", "queries"): "max_queries",
    ("search", "add"): "max_added_items",
    ("explore", "within_s"): "attribution_window_s",
    ("metrics", "every_events"): "report_every_events",
    ("related", "per_100_events"): "max_updates_per_100_events",
    ("serve", "away_s"): "resync_after_s",
}


class Setting(NamedTuple):
    """A value with its path, (section, key) or (section, key, entry) within a mapping, and its origin for errors.

    An empty table is a setting of value {}.
    """

    path: tuple[str, ...]
    value: Any
    origin: str


def settings_from_file(path: Path, environment: Mapping[str, str]) -> list[Setting]:
    """Return the settings of a TOML file, with `${NAME}` replaced.

    Raises:
        ConfigError: The file cannot be read, or a variable that it names is not set.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"The configuration file {path} does not exist; check --config.") from None
    except OSError as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise ConfigError(f"The configuration file {path} is nested too deeply; make it flatter.") from None
    except ValueError:  # Python's limit on the digits of an integer
        raise ConfigError(f"The configuration file {path} has a number of too many digits; correct it.") from None
    return [_interpolate(setting, environment) for setting in _flatten(tables, str(path))]


def settings_from_overrides(overrides: Mapping[str, Mapping[str, Any]], origin: str) -> list[Setting]:
    """Return the settings of the command line; None stands for an option that was not given."""
    return [setting for setting in _flatten(overrides, origin) if setting.value is not None]


def settings_from_environment(
    environment: Mapping[str, str], sections: Mapping[str, Mapping[str, bool]]
) -> list[Setting]:
    """Return the settings among environment variables.

    Variables whose second word is no section (FRESHFLOW_INPUT, FRESHFLOW_TEST_KAFKA) are ignored. A retired name
    becomes a setting of that name, which `check_setting` rejects with the new name.

    Args:
        environment: All environment variables.
        sections: By section and key, whether the key is a mapping.

    Raises:
        ConfigError: A variable names a section but none of its keys.
    """
    settings = []
    section_names = "|".join((*sections, *RETIRED_SECTIONS)).upper()
    for name in sorted(environment):
        match = re.fullmatch(rf"FRESHFLOW_({section_names})_(\w+)", name)
        if match is None:
            continue
        section = match[1].lower()
        path: tuple[str, ...] = (section, match[2].lower())
        if section not in RETIRED_SECTIONS:
            path = (section, *_split_key(name, section, match[2].lower(), sections[section]))
        if section == "kafka" and len(path) == 3:  # taken literally: a password 1e5 must not become a number
            path = (*path[:2], path[2].replace("_", "."))
            settings.append(Setting(path, environment[name], _variable_origin(name)))
        elif path == PRIVACY_KEY:
            settings.append(Setting(path, environment[name], _variable_origin(name)))
        else:
            settings += _flatten_value(path, _parse_toml_value(environment[name]), _variable_origin(name))
    return settings


def _split_key(name: str, section: str, suffix: str, keys: Mapping[str, bool]) -> tuple[str, ...]:
    if suffix in keys:
        return (suffix,)
    for key, is_mapping in keys.items():
        if is_mapping and suffix.startswith(f"{key}_") and suffix != f"{key}_":
            return (key, suffix.removeprefix(f"{key}_"))
    for (retired_section, key), new_key in RETIRED_KEYS.items():
        if retired_section == section and (suffix == key or (keys[new_key] and suffix.startswith(f"{key}_"))):
            return (key,)
    raise ConfigError(f"Environment variable {name} names no key of its section; known are {', '.join(keys)}.")


def _variable_origin(name: str) -> str:
    return f"environment variable {name}"


def _parse_toml_value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # not TOML, nested too deeply, or a number of thousands of digits
        return text
    return table["value"] if len(table) == 1 else text  # a text of several lines can hold further keys


def _flatten(tables: Mapping[str, Any], origin: str) -> Iterator[Setting]:
    for section, table in tables.items():
        if not isinstance(table, Mapping):
            yield Setting((section,), table, origin)
            continue
        if not table:
            yield Setting((section,), {}, origin)
        for key, value in table.items():
            yield from _flatten_value((section, key), value, origin)


def _flatten_value(path: tuple[str, ...], value: Any, origin: str) -> Iterator[Setting]:
    """Yield one setting per entry of a mapping; inner tables become dotted names: `sasl.password` needs no quotes."""
    pending = [(path, value)]
    while pending:
        path, value = pending.pop()
        if not isinstance(value, Mapping) or not value:
            yield Setting(path, value, origin)
            continue
        for entry, inner in reversed(list(value.items())):
            pending.append(((*path[:2], f"{path[2]}.{entry}" if len(path) == 3 else entry), inner))


def _interpolate(setting: Setting, environment: Mapping[str, str]) -> Setting:
    match = re.fullmatch(r"\$\{(\w+)\}", setting.value) if isinstance(setting.value, str) else None
    if match is None:
        return setting
    if match[1] not in environment:
        raise ConfigError(
            f"{setting.origin}: {'.'.join(setting.path)} asks for the environment variable {match[1]}, "
            "which is not set; set it."
        )
    return setting._replace(value=environment[match[1]])
