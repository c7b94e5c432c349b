"""Base of all sections of the configuration: frozen, strict, and without secrets in its repr."""

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

SECRET_MASK = "***"
SECRET_WORDS = ("password", "passphrase", "secret", "key", "token", "jaas", "oauth", "credential")

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveNumber = Annotated[float, Meta(gt=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the TOML file. It is frozen, an unknown key is an error, and its repr hides secrets."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, _mask_secrets(name, getattr(self, name))) for name in self.__struct_fields__]


def is_secret(name: str) -> bool:
    """Return whether a setting or an entry of a mapping must never be shown, judged by its name."""
    return any(word in name.lower() for word in SECRET_WORDS)


def section_hints(section: type[Section]) -> dict[str, Any]:
    """Return the types of the settings of a section by key, with their limits and descriptions."""
    return get_type_hints(section, include_extras=True)


def bare_type(hint: Any) -> Any:
    """Return the type of a setting without its limits and description.

    >>> bare_type(Annotated[int, Meta(ge=1)])
    <class 'int'>
    """
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def is_mapping(hint: Any) -> bool:
    """Return whether a setting is a table of free entries."""
    return get_origin(bare_type(hint)) is dict


def is_section(hint: Any) -> bool:
    """Return whether a setting is itself a table with known keys, as the settings of a registered rule are."""
    return isinstance(hint, type) and issubclass(hint, Section)


def _mask_secrets(name: str, value: Any) -> Any:
    if isinstance(value, str) and is_secret(name):
        return SECRET_MASK
    if not isinstance(value, dict):
        return value
    return {entry: SECRET_MASK if is_secret(entry) else inner for entry, inner in value.items()}
