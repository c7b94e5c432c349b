"""Whether a setting is allowed, and how to say in plain words that it is not, without showing secrets."""

import difflib
import math
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from freshflow.config.sources import PRIVACY_KEY, RETIRED_KEYS, RETIRED_SECTIONS, Setting
from freshflow.errors import ConfigError

__all__ = ["SECRET_MASK", "TypeHints", "describe_type", "check_setting", "is_mapping", "is_secret", "display_value"]

TypeHints = Mapping[str, Mapping[str, Any]]  # section -> key -> type, with its limits
SECRET_MASK = "***"
SECRET_WORDS = ("password", "passphrase", "secret", "key", "token", "jaas", "oauth", "credential")
KAFKA_MAPPINGS = ("options", "source", "sink")
INT_BITS = 63  # what TOML says a whole number holds
TYPE_DESCRIPTIONS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def is_secret(name: str) -> bool:
    """Whether a mapping's entry is of a kind that must never be shown, by its name."""
    return any(word in name.lower() for word in SECRET_WORDS)


def is_mapping(hint: Any) -> bool:
    """Whether a key holds a table of free entries."""
    return get_origin(hint) is dict


def check_setting(setting: Setting, hints: TypeHints) -> None:
    """Raise `ConfigError` where a setting names nothing we know, or its value is not allowed."""
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
    if len(setting.path) == 3:
        if not is_mapping(hint):
            parent = ".".join(setting.path[:2])
            raise ConfigError(f"{key_label} is not allowed: {parent} is not a table but {describe_type(hint)}.")
        hint = get_args(hint)[1]
    if not _is_valid(setting.value, hint):
        raise ConfigError(f"{key_label} = {display_value(setting)} is not allowed: expected {describe_type(hint)}.")


def display_value(setting: Setting) -> str:
    """A value as an error may show it: nothing of the mappings of [kafka], where secrets stand, nor privacy.key."""
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
    """What a type allows: `Annotated[int, Meta(ge=1, le=200)]` is "a whole number from 1 to 200"."""
    if is_mapping(hint):
        return f"a table whose values are {describe_type(get_args(hint)[1])}"
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return TYPE_DESCRIPTIONS[arguments[0]] + _describe_limits(arguments[1])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return "a list of texts"
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(argument) for argument in arguments if argument is not int)
    return TYPE_DESCRIPTIONS[hint]


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
    except (msgspec.ValidationError, UnicodeEncodeError):  # a variable that is not UTF-8 holds lone surrogates
        return False
    return True


def _suggest_name(name: str, names: Iterable[str]) -> str:
    known_names = list(names)
    close_matches = difflib.get_close_matches(name, known_names, n=1)
    return f"did you mean {close_matches[0]}" if close_matches else f"known are {', '.join(known_names)}"
