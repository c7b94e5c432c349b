"""Reference of all settings, from their types: name, default, allowed values and description."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

from msgspec import Meta

from freshflow.config.schema import TYPE_HINTS, Config
from freshflow.config.section import bare_type, is_mapping
from freshflow.events.formats.registry import format_names

ALLOWED_TEXTS = {bool: "true or false", int: "any whole number", float: "any number", str: "text"}


class SettingDoc(NamedTuple):
    """Documentation of one setting. `examples` are lines of TOML."""

    name: str
    hint: Any
    default: Any
    allowed_values: str
    description: str
    examples: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name of the setting in its section."""
        return self.name.partition(".")[2]


class SectionSettings(NamedTuple):
    """Documentation of a section and its settings."""

    name: str
    summary: str
    settings: tuple[SettingDoc, ...]


def sections() -> tuple[SectionSettings, ...]:
    """Return all sections, in the order of the configuration."""
    return tuple(_sections())


def _sections() -> Iterator[SectionSettings]:
    defaults = Config()
    for section, hints in TYPE_HINTS.items():
        values = getattr(defaults, section)
        summary = (type(values).__doc__ or "").partition("\n")[0]
        yield SectionSettings(
            section,
            summary,
            tuple(_describe_setting(f"{section}.{key}", hint, getattr(values, key)) for key, hint in hints.items()),
        )


def _describe_setting(name: str, hint: Any, default: Any) -> SettingDoc:
    metas: list[Meta] = [meta for meta in get_args(hint) if isinstance(meta, Meta)]
    allowed_values = next((meta.extra["allowed"] for meta in metas if meta.extra), None)
    if name == "events.format":
        allowed_values = _join_choices(format_names())
    return SettingDoc(
        name,
        hint,
        default,
        allowed_values or _allowed_values(hint),
        next(meta.description for meta in metas if meta.description),
        tuple(example for meta in metas for example in meta.examples or ()),
    )


def _allowed_values(hint: Any) -> str:
    """Return the values that a type allows, as a table or a comment shows them."""
    bare = bare_type(hint)
    if is_mapping(bare):
        value = get_args(bare)[1]
        return _allowed_values(value) if get_origin(bare_type(value)) is None else "text, numbers, true or false"
    if get_origin(bare) is Literal:
        return _join_choices(get_args(bare))
    if get_origin(bare) is tuple:
        return "a list of texts"
    limits = [meta for meta in get_args(hint) if isinstance(meta, Meta)]
    return next((text for text in map(_describe_range, limits) if text), ALLOWED_TEXTS[bare])


def _describe_range(meta: Meta) -> str:
    low = f"above {meta.gt:g}" if meta.gt is not None else None if meta.ge is None else f"{meta.ge}"
    if meta.le is not None or meta.lt is not None:
        return f"{low} to {meta.le}" if meta.le is not None else f"{low} to below {meta.lt}"
    if meta.gt is not None:
        return f"{low}"
    if low is None:
        return ""
    return "0 or more" if meta.ge == 0 else f"at least {low}"


def _join_choices(choices: tuple[str, ...]) -> str:
    *others, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(others)} or {last}"
