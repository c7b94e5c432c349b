"""The configuration of a job: one TOML file, overridable by environment, checked on load, frozen, passed as values.

Each section is a frozen struct, so that a part of the job takes its own section and nothing else. Every key is
documented in `freshflow/docs/freshflow.example.toml`, and a test keeps that file equal to these defaults.

Environment: `FRESHFLOW_<SECTION>_<KEY>` overrides a key (`FRESHFLOW_LISTS_K=10`); the value is read as TOML, or as a
string where it is not. `FRESHFLOW_KAFKA_OPTIONS_SASL_PASSWORD` sets the librdkafka option `sasl.password`. A string
of the form `${NAME}` in the file is replaced by the environment variable NAME, so that secrets need not stand in it.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from freshflow.errors import ConfigError

__all__ = [
    "DEFAULT_WEIGHTS",
    "Config",
    "EventsConfig",
    "ItemsConfig",
    "JobConfig",
    "KafkaConfig",
    "ListsConfig",
    "MetricsConfig",
    "RankerConfig",
    "RankingConfig",
    "UsersConfig",
    "load_config",
]

# How much more than a view an event says; the order is that of effort and of money spent.
DEFAULT_WEIGHTS: dict[str, float] = {
    "view": 1.0,
    "click": 1.0,
    "watch": 1.0,
    "rate": 1.0,
    "like": 2.0,
    "wishlist": 2.0,
    "follow": 2.0,
    "comment": 2.0,
    "share": 2.0,
    "cart": 3.0,
    "purchase": 5.0,
    "dismiss": -1.0,
}

Positive = Annotated[int, Meta(ge=1)]
PositiveSeconds = Annotated[float, Meta(gt=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the TOML file: frozen, and an unknown key is an error."""


class JobConfig(Section):
    """How the graph is cut: partitions, records read at once, and the length of an epoch."""

    partitions: Annotated[int, Meta(ge=1, le=256)] = 1
    batch_size: Annotated[int, Meta(ge=1, le=10_000)] = 256
    epoch_s: PositiveSeconds = 10.0


class EventsConfig(Section):
    """What counts as an event."""

    max_bytes: Annotated[int, Meta(ge=100)] = 1_048_576
    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_WEIGHTS))


class UsersConfig(Section):
    """What is kept of a user, and how many users."""

    session_gap_s: PositiveSeconds = 1800.0
    context: Annotated[int, Meta(ge=1, le=100)] = 20
    history: Annotated[int, Meta(ge=1, le=10_000)] = 100
    max: Positive = 1_000_000


class ItemsConfig(Section):
    """What is kept of an item, and how many items."""

    max: Annotated[int, Meta(ge=10, le=10_000_000)] = 100_000
    neighbours: Annotated[int, Meta(ge=1, le=1024)] = 64
    context: Annotated[int, Meta(ge=1, le=100)] = 10


class RankingConfig(Section):
    """How candidates are gathered, and how many events share one look at the item knowledge."""

    chunk: Annotated[int, Meta(ge=1, le=64)] = 64
    candidates: Annotated[int, Meta(ge=10, le=2000)] = 150
    popular_recent: Annotated[int, Meta(ge=0, le=500)] = 40
    popular: Annotated[int, Meta(ge=0, le=500)] = 20


class RankerConfig(Section):
    """The River model of a partition and how it is taught."""

    model: str = "freshflow.ranking.rankers:adam"
    negatives: Annotated[int, Meta(ge=1, le=100)] = 4
    seed: int = 1


class ListsConfig(Section):
    """What a published list looks like."""

    k: Annotated[int, Meta(ge=1, le=200)] = 20
    because: Annotated[int, Meta(ge=0, le=10)] = 1
    contributions: bool = False


class MetricsConfig(Section):
    """How often a partition reports, in events it has seen."""

    every_events: Positive = 10_000


class KafkaConfig(Section):
    """How brokers are reached; `options` go to librdkafka as they are, `source` and `sink` to one side only."""

    start: Literal["earliest", "latest"] = "earliest"
    timeout_s: PositiveSeconds = 10.0
    options: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    source: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    sink: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)


class Config(Section):
    """The whole configuration of a job."""

    job: JobConfig = JobConfig()
    events: EventsConfig = EventsConfig()
    users: UsersConfig = UsersConfig()
    items: ItemsConfig = ItemsConfig()
    ranking: RankingConfig = RankingConfig()
    ranker: RankerConfig = RankerConfig()
    lists: ListsConfig = ListsConfig()
    metrics: MetricsConfig = MetricsConfig()
    kafka: KafkaConfig = KafkaConfig()


def load_config(
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Read a configuration: defaults, then the file, then the environment, then `overrides` (the command line's).

    Raises `ConfigError` with the key, the value and what is allowed.
    """
    environment = environment or {}
    where = str(path) if path is not None else "the configuration"
    tables = _read(Path(path)) if path is not None else {}
    _apply_environment(tables, environment)
    for section, values in (overrides or {}).items():
        _table(tables, section, where).update({key: value for key, value in values.items() if value is not None})
    try:
        tables = _interpolate(tables, environment, ())
        config = msgspec.convert(tables, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(error, tables, where)) from None
    if "weights" in tables.get("events", {}):  # a file adds to the known types, it does not replace them
        weights = DEFAULT_WEIGHTS | config.events.weights
        config = msgspec.structs.replace(config, events=msgspec.structs.replace(config.events, weights=weights))
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"The configuration file {path} does not exist; check --config.") from None
    except OSError as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} is not valid TOML: {error}.") from None


def _table(tables: dict[str, Any], section: str, where: str) -> dict[str, Any]:
    table = tables.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: {section} = {table!r} must be a table, written [{section}].")
    return table


def _apply_environment(tables: dict[str, Any], environment: Mapping[str, str]) -> None:
    sections = get_type_hints(Config)
    for name in sorted(environment):
        match = re.fullmatch(r"FRESHFLOW_([A-Z]+)_([A-Z0-9_]+)", name)
        if match is None or (section := match[1].lower()) not in sections:
            continue
        key = match[2].lower()
        table = _table(tables, section, f"environment variable {name}")
        fields = sections[section].__struct_fields__
        if key not in fields:
            outer = next((f for f in fields if key.startswith(f + "_") and _is_mapping(sections[section], f)), None)
            if outer is None:
                raise ConfigError(
                    f"Environment variable {name} names no key of [{section}]; known are {', '.join(fields)}."
                )
            table = table.setdefault(outer, {})
            key = key.removeprefix(outer + "_")
            if section == "kafka":
                key = key.replace("_", ".")
        table[key] = _toml_value(environment[name])


def _is_mapping(section: type, field: str) -> bool:
    return str(get_type_hints(section)[field]).startswith("dict")


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _interpolate(value: Any, environment: Mapping[str, str], path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolate(inner, environment, (*path, key)) for key, inner in value.items()}
    if isinstance(value, str) and (match := re.fullmatch(r"\$\{(\w+)\}", value)):
        if match[1] not in environment:
            raise ConfigError(
                f"{'.'.join(path)} asks for the environment variable {match[1]}, which is not set; set it."
            )
        return environment[match[1]]
    return value


def _explain(error: msgspec.ValidationError, tables: dict[str, Any], where: str) -> str:
    """One sentence with the key, its value and what is allowed, from msgspec's message and path."""
    message, _, path = str(error).partition(" - at `$.")
    keys = path.rstrip("`").split(".") if path else []
    if message.startswith("Object contains unknown field"):
        unknown = message.split("`")[1]
        section = msgspec.structs.fields(Config)
        known = [f.name for f in section]
        if keys:
            known = list(get_type_hints(Config)[keys[0]].__struct_fields__)
        return f"{where}: {'.'.join([*keys, unknown])} is not a known key; known here are {', '.join(known)}."
    value: Any = tables
    shown = []
    for key in keys:
        shown.append(key)
        if key == "[...]":  # msgspec does not say which entry of a mapping
            break
        value = value.get(key) if isinstance(value, dict) else value
    secret = any(word in " ".join(shown) for word in ("kafka",))
    said = "" if secret or isinstance(value, dict) else f" = {value!r}"
    return f"{where}: {'.'.join(shown)}{said} is not allowed: {message[0].lower()}{message[1:]}."
