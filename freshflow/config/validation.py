"""Checks of settings, with one sentence for each problem: the place, the key, the value and the allowed values."""

import difflib
import math
import re
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from freshflow.config.registry import format_names
from freshflow.config.schema import EVENT_FIELDS, RESERVED_TYPES, Config
from freshflow.config.section import SECRET_MASK, bare_type, is_mapping, is_section, section_hints
from freshflow.config.sources import PRIVACY_KEY, RETIRED_KEYS, RETIRED_SECTIONS, Setting
from freshflow.errors import ConfigError

TypeHints = Mapping[str, Mapping[str, Any]]  # section -> key -> type, with its limits
SettingsByPath = Mapping[tuple[str, ...], Setting]

KAFKA_MAPPINGS = ("options", "source", "sink")
INT_BITS = 63  # of a TOML integer, beside its sign
TYPE_DESCRIPTIONS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}

# A name or an IPv4 address, or an IPv6 address in brackets, and a port.
ADDRESS_PATTERN = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
FUNCTION_PATTERN = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*"
# Characters of the shortest key of pseudonyms: 128 random bits in hexadecimal digits.
MIN_KEY_CHARS = 32
# Pairs of a smaller and a larger setting: item statistics read the end of a user's context, a part of the history.
ORDERED_SETTINGS = (
    (("items", "context"), ("users", "context")),
    (("users", "context"), ("users", "history")),
)


def check_setting(setting: Setting, hints: TypeHints) -> None:
    """Check the name and the value of one setting.

    Raises:
        ConfigError: The name is unknown or retired, or the value is not allowed.
    """
    section, *keys = setting.path
    if section in RETIRED_SECTIONS:
        raise ConfigError(f"{setting.origin}: [{section}] is now called [{RETIRED_SECTIONS[section]}]; rename it.")
    if section not in hints:
        raise ConfigError(f"{setting.origin}: [{section}] is not a known section; {_suggest_name(section, hints)}.")
    if not keys:
        if setting.value != {}:
            raise ConfigError(f"{setting.origin}: {section} must be a table, written [{section}].")
        return
    if (section, keys[0]) in RETIRED_KEYS:
        new_name = f"{section}.{RETIRED_KEYS[section, keys[0]]}"
        raise ConfigError(f"{setting.origin}: {section}.{keys[0]} is now called {new_name}; rename it.")
    if keys[0] not in hints[section]:
        problem = f"{section}.{keys[0]} is not a known key"
        raise ConfigError(f"{setting.origin}: {problem}; {_suggest_name(keys[0], hints[section])}.")
    _check_value(setting, hints[section][keys[0]])


def _check_value(setting: Setting, hint: Any) -> None:
    key_label = f"{setting.origin}: {'.'.join(setting.path)}"
    parent = ".".join(setting.path[:2])
    if is_section(hint):
        hint = _hint_in_table(setting, parent, section_hints(hint))
    elif len(setting.path) == 3:
        if not is_mapping(hint):
            raise ConfigError(f"{key_label} is not allowed: {parent} is not a table but {describe_type(hint)}.")
        hint = get_args(bare_type(hint))[1]
    if not _is_valid(setting.value, hint):
        raise ConfigError(f"{key_label} = {display_value(setting)} is not allowed: expected {describe_type(hint)}.")


def _hint_in_table(setting: Setting, table: str, hints: Mapping[str, Any]) -> Any:
    """Return the type of a setting in a table with known keys, such as that of a registered rule."""
    if len(setting.path) == 2:
        if setting.value != {}:
            raise ConfigError(f"{setting.origin}: {table} must be a table, written [{table}].")
        return dict[str, Any]
    key = setting.path[2]
    if key not in hints:
        raise ConfigError(f"{setting.origin}: {table}.{key} is not a known key; {_suggest_name(key, hints)}.")
    return hints[key]


def display_value(setting: Setting) -> str:
    """Return a value for an error message; the mappings of [kafka] and privacy.key are masked, as they hold secrets."""
    if setting.path == PRIVACY_KEY:
        return SECRET_MASK
    if setting.path[0] == "kafka" and (len(setting.path) == 3 or setting.path[1] in KAFKA_MAPPINGS):
        return SECRET_MASK
    if isinstance(setting.value, bool):
        return str(setting.value).lower()
    try:
        text = repr(setting.value)
    except (ValueError, RecursionError):
        return "a value of too many digits or levels"
    return text if len(text) <= 80 else f"{text[:77]}..."


def describe_type(hint: Any) -> str:
    """Return the values that a type allows in words.

    >>> describe_type(Annotated[int, msgspec.Meta(ge=1, le=200)])
    'a whole number from 1 to 200'
    """
    bare, *metas = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if is_mapping(bare):
        return f"a table whose values are {describe_type(get_args(bare)[1])}"
    if get_origin(bare) is Literal:
        return f"one of {', '.join(map(str, get_args(bare)))}"
    if get_origin(bare) is tuple:
        return "a list of texts"
    if get_origin(bare) in (Union, types.UnionType):
        return " or ".join(describe_type(argument) for argument in get_args(bare) if argument is not int)
    return TYPE_DESCRIPTIONS[bare] + "".join(map(_describe_limits, metas))


def _describe_limits(meta: msgspec.Meta) -> str:
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge} to {meta.le}"
    if meta.ge is not None:
        return f" of at least {meta.ge}"
    return f" above {meta.gt}" if meta.gt is not None else ""


def _is_valid(value: Any, hint: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(value, int) and value.bit_length() > INT_BITS:
        return False
    try:
        msgspec.convert(value, hint)
    except (msgspec.ValidationError, UnicodeEncodeError):  # lone surrogates stand for bytes that are not UTF-8
        return False
    return True


def _suggest_name(name: str, names: Iterable[str]) -> str:
    known_names = list(names)
    close_matches = difflib.get_close_matches(name, known_names, n=1)
    return f"did you mean {close_matches[0]}" if close_matches else f"known are {', '.join(known_names)}"


def check_consistency(config: Config, settings_by_path: SettingsByPath) -> None:
    """Check settings against each other, and the syntax of names and addresses.

    Raises:
        ConfigError: A combination of settings is not allowed.
    """
    for low, high in ORDERED_SETTINGS:
        smaller, larger = (getattr(getattr(config, section), key) for section, key in (low, high))
        if smaller > larger:
            setting = settings_by_path.get(low) or settings_by_path[high]
            raise _not_allowed_error(setting, low, smaller, f"at most {'.'.join(high)}, which is {larger}")
    _check_syntax(config, settings_by_path)
    _check_events(config, settings_by_path)
    _check_privacy_key(config, settings_by_path)
    _check_business_value(config, settings_by_path)
    _check_pins(config, settings_by_path)


def _check_syntax(config: Config, settings_by_path: SettingsByPath) -> None:
    address, model, name = config.metrics.address, config.ranker.model, config.variant.name
    has_port = re.fullmatch(ADDRESS_PATTERN, address) and 0 < int(address.rpartition(":")[2]) < 65_536
    for path, value, is_allowed, allowed in (
        (("metrics", "address"), address, not address or has_port, "host:port, as 127.0.0.1:9464"),
        (("ranker", "model"), model, re.fullmatch(FUNCTION_PATTERN, model), "package.module:function"),
        (
            ("variant", "name"),
            name,
            re.fullmatch(r"[\w-]{0,32}", name, re.ASCII),
            "at most 32 letters, digits, - and _",
        ),
    ):
        if not is_allowed:
            raise _not_allowed_error(settings_by_path[path], path, value, allowed)


def _check_events(config: Config, settings_by_path: SettingsByPath) -> None:
    events = config.events
    if events.format not in format_names():
        setting = settings_by_path["events", "format"]
        raise _not_allowed_error(setting, setting.path, events.format, f"one of {', '.join(format_names())}")
    for name, field_path in events.map.items():
        setting = settings_by_path["events", "map", name]
        if name not in EVENT_FIELDS:
            known_fields = ", ".join(EVENT_FIELDS)
            raise ConfigError(
                f"{setting.origin}: {'.'.join(setting.path)} is not a field of an event; known are {known_fields}."
            )
        if not field_path.removeprefix("=").strip(".") or ".." in field_path:
            raise _not_allowed_error(setting, setting.path, field_path, "the path of the field, as a or a.b, or =text")
    for name, event_type in events.types.items():
        if event_type not in events.weights and event_type not in RESERVED_TYPES:
            setting = settings_by_path["events", "types", name]
            known_types = ", ".join((*events.weights, *RESERVED_TYPES))
            raise _not_allowed_error(
                setting, setting.path, event_type, f"one of {known_types}; [events.weights] adds more"
            )
    for name in events.weights:
        if name in RESERVED_TYPES or not name.strip():
            setting = settings_by_path["events", "weights", name]
            allowed = f"the type of an interaction; {', '.join(RESERVED_TYPES)} are control events"
            raise _not_allowed_error(setting, setting.path, setting.value, allowed)


def _check_privacy_key(config: Config, settings_by_path: SettingsByPath) -> None:
    key = config.privacy.key
    if config.privacy.pseudonymise and len(key) < MIN_KEY_CHARS:
        origin = settings_by_path["privacy", "pseudonymise"].origin
        problem = f"has {len(key)} characters" if key else "is missing"
        raise ConfigError(
            f"{origin}: privacy.pseudonymise needs a privacy.key of at least {MIN_KEY_CHARS} characters, which "
            f"{problem}; set the environment variable FRESHFLOW_PRIVACY_KEY, e.g. to the output of "
            "`openssl rand -hex 32`."
        )


def _check_business_value(config: Config, settings_by_path: SettingsByPath) -> None:
    value = config.business_value
    if not (value.click or value.is_enabled):
        setting = settings_by_path["business_value", "click"]
        raise _not_allowed_error(
            setting, setting.path, value.click, "above 0 where cart, purchase and margin are all 0"
        )


def _check_pins(config: Config, settings_by_path: SettingsByPath) -> None:
    """Check that no two items are pinned to one position."""
    item_by_position: dict[int, str] = {}
    for item, position in config.rules.pinned.items():
        if position in item_by_position:
            setting = settings_by_path["rules", "pinned", item]
            raise _not_allowed_error(
                setting, setting.path, position, f"another position, as {item_by_position[position]} is pinned there"
            )
        item_by_position[position] = item


def _not_allowed_error(setting: Setting, path: tuple[str, ...], value: object, allowed: str) -> ConfigError:
    return ConfigError(f"{setting.origin}: {'.'.join(path)} = {value!r} is not allowed: expected {allowed}.")
