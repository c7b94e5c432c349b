"""The configuration of a job: one TOML file, checked on load, frozen, and passed as values.

Each section is a frozen struct, so that a part of the job takes its own section and nothing else. Every key
is documented in `freshflow/docs/freshflow.example.toml`, and a test keeps that file equal to these defaults.

A string of the form `${NAME}` in the file is replaced by the environment variable NAME, so that secrets need
not stand in it. `FRESHFLOW_<SECTION>_<KEY>` overrides a key (`FRESHFLOW_LISTS_K=10`); the value is read as
TOML, or as a string where it is not. `FRESHFLOW_KAFKA_OPTIONS_SASL_PASSWORD` sets the librdkafka option
`sasl.password`, to the text as it stands, as is FRESHFLOW_PRIVACY_KEY. Other variables that start with
FRESHFLOW_ are not ours.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from freshflow.config.sources import Setting, settings_from_environment, settings_from_file, settings_from_overrides
from freshflow.config.validation import SECRET_MASK, check_setting, is_mapping, is_secret
from freshflow.errors import ConfigError

__all__ = [
    "AUTO_FORMAT",
    "DEFAULT_FULL_VALUES",
    "DEFAULT_WEIGHTS",
    "EVENT_FIELDS",
    "MAX_PARTITIONS",
    "NATIVE_FORMAT",
    "Config",
    "ContentConfig",
    "EventsConfig",
    "ExploreConfig",
    "ItemsConfig",
    "JobConfig",
    "KafkaConfig",
    "ListsConfig",
    "LogConfig",
    "MetricsConfig",
    "NoiseConfig",
    "PrivacyConfig",
    "RankerConfig",
    "RankingConfig",
    "RefreshConfig",
    "RelatedConfig",
    "RulesConfig",
    "SearchConfig",
    "ServeConfig",
    "UsersConfig",
    "BusinessValueConfig",
    "VariantConfig",
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

# The value of an event that counts in full: five stars, a film watched to its end.
DEFAULT_FULL_VALUES: dict[str, float] = {"rate": 5.0, "watch": 1.0}

# Shapes of events that are known (`freshflow.events.formats`): ours, and those of others.
AUTO_FORMAT, NATIVE_FORMAT = "auto", "freshflow"
EventFormat = Literal[
    "auto",
    "freshflow",
    "cloudevents",
    "ga4",
    "segment",
    "snowplow",
    "ubi",
    "otto",
    "retailrocket",
    "yoochoose-clicks",
    "yoochoose-buys",
    "movielens",
    "taobao",
    "rees46",
]

# Fields of our events, which can be said to stand elsewhere in a record.
EVENT_FIELDS = (
    *("type", "user_id", "item_id", "ts", "event_id", "session_id", "value", "guest_id"),
    *("query", "items", "request_id", "k", "exclude_seen"),
    *("title", "categories", "price", "available", "published_at", "embedding", "brand", "margin"),
)

# Types of control events (`freshflow.events.model`), which no behaviour can be called.
RESERVED_TYPES = ("forget", "identify", "item", "request", "search")

# Of the metrics endpoint: a name or an IPv4 address, or an IPv6 address in brackets, and a port.
ADDRESS_PATTERN = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"

# Characters of the shortest key of pseudonyms: 128 random bits in hexadecimal digits.
MIN_KEY_CHARS = 32

MAX_PARTITIONS = 256

# (smaller, larger): item knowledge reads the end of a user's context, and a context is cut from the history.
ORDERED_SETTINGS = (
    (("items", "context"), ("users", "context")),
    (("users", "context"), ("users", "history")),
)

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveNumber = Annotated[float, Meta(gt=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the TOML file: frozen, and an unknown key is an error. Its repr hides secrets."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, _mask_secrets(name, getattr(self, name))) for name in self.__struct_fields__]


def _mask_secrets(name: str, value: Any) -> Any:
    if isinstance(value, str) and is_secret(name):
        return SECRET_MASK
    if not isinstance(value, dict):
        return value
    return {entry: SECRET_MASK if is_secret(entry) else inner for entry, inner in value.items()}


class JobConfig(Section, frozen=True):
    """How the graph is cut: partitions, records read at once, and the length of an epoch."""

    partitions: Annotated[int, Meta(ge=1, le=MAX_PARTITIONS)] = 1
    batch_size: Annotated[int, Meta(ge=1, le=10_000)] = 256
    epoch_s: PositiveSeconds = 2.0


class EventsConfig(Section, frozen=True):
    """What counts as an event."""

    format: EventFormat = "auto"
    map: dict[str, str] = msgspec.field(default_factory=dict)
    types: dict[str, str] = msgspec.field(default_factory=dict)
    max_bytes: Annotated[int, Meta(ge=100)] = 1_048_576
    max_future_s: PositiveSeconds = 3600.0
    max_clock_skew_s: PositiveSeconds = 86_400.0
    weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    full_value: dict[str, PositiveNumber] = msgspec.field(default_factory=lambda: dict(DEFAULT_FULL_VALUES))


class UsersConfig(Section, frozen=True):
    """What is kept of a user, and how many users."""

    session_gap_s: PositiveSeconds = 1800.0
    context: Annotated[int, Meta(ge=1, le=100)] = 20
    history: Annotated[int, Meta(ge=1, le=10_000)] = 100
    max: PositiveInt = 1_000_000
    allowed_lateness_s: Annotated[float, Meta(ge=0)] = 86_400.0
    idle_s: Annotated[float, Meta(ge=0)] = 0.0
    guests: bool = False
    guest_idle_s: Annotated[float, Meta(ge=0)] = 2_592_000.0


class NoiseConfig(Section, frozen=True):
    """From where on what a user does is no behaviour to learn from; a number of 0 switches its rule off."""

    events: Annotated[int, Meta(ge=0)] = 60
    window_s: PositiveSeconds = 60.0
    repeats: Annotated[int, Meta(ge=0)] = 20
    session_events: Annotated[int, Meta(ge=0)] = 1000
    unseen: Annotated[int, Meta(ge=0)] = 0


class ItemsConfig(Section, frozen=True):
    """What is kept of an item, and how many items."""

    max: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    neighbours: Annotated[int, Meta(ge=1, le=1024)] = 64
    context: Annotated[int, Meta(ge=1, le=100)] = 10
    drift_decay: Annotated[float, Meta(gt=0, le=1)] = 0.1
    idle_s: Annotated[float, Meta(ge=0)] = 0.0


class RankingConfig(Section, frozen=True):
    """How candidates are gathered."""

    candidates: Annotated[int, Meta(ge=10, le=2000)] = 120
    popular_recent: Annotated[int, Meta(ge=0, le=200)] = 25
    popular: Annotated[int, Meta(ge=0, le=2000)] = 10
    opening_recent: Annotated[int, Meta(ge=0, le=200)] = 15
    opening: Annotated[int, Meta(ge=0, le=2000)] = 20


class RankerConfig(Section, frozen=True):
    """The River model of a partition and how it is taught."""

    model: str = "freshflow.ranking.model_factories:adam"
    hidden_units: Annotated[int, Meta(ge=0, le=128)] = 16
    broadcast_examples: Annotated[int, Meta(ge=0)] = 20_000
    shortlist: Annotated[int, Meta(ge=2, le=200)] = 30


class ListsConfig(Section, frozen=True):
    """What a published list looks like."""

    k: Annotated[int, Meta(ge=1, le=200)] = 20
    contributions: bool = False


class RefreshConfig(Section, frozen=True):
    """How lists of users who are not active are kept fresh; an interval of 0 switches it off."""

    interval_s: Annotated[float, Meta(ge=0)] = 60.0
    horizon_s: PositiveSeconds = 7_776_000.0
    max_share: Annotated[float, Meta(ge=0, lt=1)] = 0.965
    users: Annotated[int, Meta(ge=1, le=10_000_000)] = 50_000


class MetricsConfig(Section, frozen=True):
    """How often a partition reports, in events it has seen, and where Prometheus may ask ("" for nowhere)."""

    report_every_events: PositiveInt = 10_000
    address: str = ""


class PrivacyConfig(Section, frozen=True):
    """Whether users are known by pseudonyms, and the key these are made with."""

    pseudonymise: bool = False
    key: str = ""


class SearchConfig(Section, frozen=True):
    """What is learned from searches, and which results an answer adds or leaves out."""

    max_queries: Annotated[int, Meta(ge=0, le=10_000_000)] = 20_000
    drop_unavailable: bool = False
    drop_dismissed: bool = False
    max_added_items: Annotated[int, Meta(ge=0, le=100)] = 0


class KafkaConfig(Section, frozen=True):
    """How brokers are reached; `options` go to librdkafka, `source` and `sink` to its one side only."""

    start: Literal["earliest", "latest"] = "earliest"
    on_lost: Literal["stop", "earliest"] = "stop"
    timeout_s: PositiveSeconds = 10.0
    options: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    source: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    sink: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)
    group: str = ""


class LogConfig(Section, frozen=True):
    """How the log is written, and whether it may quote what was refused, which may name a user."""

    format: Literal["text", "json"] = "text"
    quotes: bool = False


class VariantConfig(Section, frozen=True):
    """Under which name a configuration is compared with others; its lists and reports carry it."""

    name: str = ""


class RulesConfig(Section, frozen=True):
    """What is asked of lists beside good items (`freshflow.rules`); 0 and what is empty ask for nothing."""

    hide_bought_s: Annotated[float, Meta(ge=0)] = 0.0
    blocked: tuple[str, ...] = ()
    blocked_file: str = ""
    per_category: Annotated[int, Meta(ge=0)] = 0
    per_brand: Annotated[int, Meta(ge=0)] = 0
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    fresh: Annotated[int, Meta(ge=0, le=200)] = 0
    fresh_s: PositiveSeconds = 604_800.0
    price_power: Annotated[float, Meta(ge=-10, le=10)] = 0.0
    hide_in_search: bool = False
    pinned: dict[str, Annotated[int, Meta(ge=1, le=200)]] = msgspec.field(default_factory=dict)
    boost_items: dict[str, PositiveNumber] = msgspec.field(default_factory=dict)
    boost_categories: dict[str, PositiveNumber] = msgspec.field(default_factory=dict)
    boost_brands: dict[str, PositiveNumber] = msgspec.field(default_factory=dict)


class BusinessValueConfig(Section, frozen=True):
    """What it is worth that a user comes for an item, by what they do with it."""

    click: Annotated[float, Meta(ge=0)] = 1.0
    cart: Annotated[float, Meta(ge=0)] = 0.0
    purchase: Annotated[float, Meta(ge=0)] = 0.0
    margin: Annotated[float, Meta(ge=0)] = 0.0

    @property
    def is_enabled(self) -> bool:
        """Whether items are worth differently much."""
        return bool(self.cart or self.purchase or self.margin)


class ExploreConfig(Section, frozen=True):
    """Which share of places goes to young items, to learn what they are worth; 0 switches it off."""

    share: Annotated[float, Meta(ge=0, le=0.25)] = 0.0
    arms: Annotated[int, Meta(ge=1, le=1000)] = 50
    visits: PositiveInt = 20
    attribution_window_s: PositiveSeconds = 3600.0


class RelatedConfig(Section, frozen=True):
    """Which related items are published of an item, and how often."""

    k: Annotated[int, Meta(ge=1, le=100)] = 10
    min_support: Annotated[float, Meta(ge=0)] = 1.0
    interval_s: Annotated[float, Meta(ge=0)] = 60.0
    max_updates_per_100_events: PositiveNumber = 20.0
    min_change: Annotated[float, Meta(ge=0, le=1)] = 0.15


class ContentConfig(Section, frozen=True):
    """How items that few have touched are recommended by what they are; nothing of each switches it off."""

    nearest: Annotated[int, Meta(ge=0, le=200)] = 0
    newest: Annotated[int, Meta(ge=0, le=200)] = 0
    pool: Annotated[int, Meta(ge=1, le=1_000_000)] = 2000
    dimensions: Annotated[int, Meta(ge=0, le=4096)] = 0

    @property
    def max_candidates(self) -> int:
        """How many candidates content adds, at most."""
        return self.nearest + self.newest

    @property
    def is_enabled(self) -> bool:
        """Whether content counts at all."""
        return self.max_candidates > 0


class ServeConfig(Section, frozen=True):
    """Where `freshflow serve` listens, where it keeps its lists, and after how long a topic is read anew."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    store: Annotated[str, Meta(min_length=1)] = "freshflow-serve.sqlite"
    resync_after_s: PositiveSeconds = 43_200.0


class Config(Section, frozen=True):
    """The whole configuration of a job."""

    job: JobConfig = JobConfig()
    events: EventsConfig = EventsConfig()
    users: UsersConfig = UsersConfig()
    noise: NoiseConfig = NoiseConfig()
    items: ItemsConfig = ItemsConfig()
    ranking: RankingConfig = RankingConfig()
    ranker: RankerConfig = RankerConfig()
    lists: ListsConfig = ListsConfig()
    refresh: RefreshConfig = RefreshConfig()
    metrics: MetricsConfig = MetricsConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    kafka: KafkaConfig = KafkaConfig()
    variant: VariantConfig = VariantConfig()
    search: SearchConfig = SearchConfig()
    explore: ExploreConfig = ExploreConfig()
    related: RelatedConfig = RelatedConfig()
    serve: ServeConfig = ServeConfig()
    rules: RulesConfig = RulesConfig()
    business_value: BusinessValueConfig = BusinessValueConfig()
    content: ContentConfig = ContentConfig()
    log: LogConfig = LogConfig()

    @property
    def has_rules(self) -> bool:
        """Whether any rule is to be applied to lists."""
        rules, numbers = self.rules, (self.rules.hide_bought_s, self.rules.per_category, self.rules.per_brand)
        thresholds = (*numbers, rules.diversity, rules.fresh, rules.price_power, self.business_value.is_enabled)
        tables = (rules.blocked, rules.pinned, rules.boost_items, rules.boost_categories, rules.boost_brands)
        return any(thresholds) or any(tables)


TYPE_HINTS: dict[str, dict[str, Any]] = {
    section: get_type_hints(type_, include_extras=True) for section, type_ in get_type_hints(Config).items()
}


def load_config(
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    overlay: Path | None = None,
) -> Config:
    """Read a configuration: defaults, the file, the file `overlay` it, the environment, `overrides` (the command line's).

    Later ones win; `defaults` stand in place of the usual ones; a None among the overrides counts for nothing. A
    mapping (`events.weights`, `kafka.options`) is added to, entry by entry, never replaced.
    Raises `ConfigError` with the place, the key, the value and what is allowed.
    """
    environment = environment or {}
    mappings = {name: {key: is_mapping(hint) for key, hint in keys.items()} for name, keys in TYPE_HINTS.items()}
    settings = settings_from_overrides(defaults or {}, "the command line")
    for file in (path, overlay):
        settings += settings_from_file(Path(file), environment) if file is not None else []
    settings += settings_from_environment(environment, mappings)
    settings += settings_from_overrides(overrides or {}, "the command line")
    for setting in settings:
        check_setting(setting, TYPE_HINTS)
    config = msgspec.convert(_build_tables(settings), Config)
    settings_by_path = {setting.path: setting for setting in settings}
    _check_consistency(config, settings_by_path)
    return _add_blocked_file(config, settings_by_path)


def _add_blocked_file(config: Config, settings_by_path: Mapping[tuple[str, ...], Setting]) -> Config:
    """With the ids of the file of blocked items, one a line, among `rules.blocked`."""
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
        f"{origin}: rules.blocked_file = {rules.blocked_file!r} cannot be read: {cause}; give a text file with one item "
        "id a line."
    )


def _build_tables(settings: list[Setting]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {
        "events": {"weights": dict(DEFAULT_WEIGHTS), "full_value": dict(DEFAULT_FULL_VALUES)}
    }
    for setting in settings:
        if setting.value == {}:  # an empty section, or a mapping to which nothing is added
            continue
        table = tables.setdefault(setting.path[0], {})
        for key in setting.path[1:-1]:
            table = table.setdefault(key, {})
        table[setting.path[-1]] = setting.value
    return tables


def _check_consistency(config: Config, settings_by_path: Mapping[tuple[str, ...], Setting]) -> None:
    """Refuse what no single type can: values that contradict each other, and names of the wrong shape."""
    for low, high in ORDERED_SETTINGS:
        smaller, larger = (getattr(getattr(config, section), key) for section, key in (low, high))
        if smaller > larger:
            setting = settings_by_path.get(low) or settings_by_path[high]
            raise _not_allowed_error(setting, low, smaller, f"at most {'.'.join(high)}, which is {larger}")
    address = config.metrics.address
    if address and (re.fullmatch(ADDRESS_PATTERN, address) is None or not 0 < int(address.rpartition(":")[2]) < 65_536):
        raise _not_allowed_error(
            settings_by_path["metrics", "address"], ("metrics", "address"), address, "host:port, as 127.0.0.1:9464"
        )
    model = config.ranker.model
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", model):
        raise _not_allowed_error(
            settings_by_path["ranker", "model"], ("ranker", "model"), model, "package.module:function"
        )
    if not re.fullmatch(r"[\w-]{0,32}", config.variant.name, re.ASCII):
        allowed = "at most 32 letters, digits, - and _"
        raise _not_allowed_error(settings_by_path["variant", "name"], ("variant", "name"), config.variant.name, allowed)
    for name, field_path in config.events.map.items():
        setting = settings_by_path["events", "map", name]
        if name not in EVENT_FIELDS:
            raise _invalid_name_error(setting, f"is no field of an event: known are {', '.join(EVENT_FIELDS)}")
        if not field_path.removeprefix("=").strip(".") or ".." in field_path:
            raise _not_allowed_error(setting, setting.path, field_path, "where the field stands, as a or a.b, or =text")
    for name, event_type in config.events.types.items():
        if event_type not in config.events.weights and event_type not in RESERVED_TYPES:
            setting = settings_by_path["events", "types", name]
            known_types = ", ".join((*config.events.weights, *RESERVED_TYPES))
            raise _not_allowed_error(
                setting, setting.path, event_type, f"one of {known_types}; [events.weights] adds more"
            )
    if config.privacy.pseudonymise and len(config.privacy.key) < MIN_KEY_CHARS:
        origin = settings_by_path["privacy", "pseudonymise"].origin
        problem = f"has {len(config.privacy.key)} characters" if config.privacy.key else "is missing"
        raise ConfigError(
            f"{origin}: privacy.pseudonymise needs a privacy.key of at least {MIN_KEY_CHARS} characters, which {problem}; "
            "set the environment variable FRESHFLOW_PRIVACY_KEY, e.g. to what `openssl rand -hex 32` prints."
        )
    value = config.business_value
    if not (value.click or value.is_enabled):
        setting = settings_by_path["business_value", "click"]
        raise _not_allowed_error(
            setting, setting.path, value.click, "above 0 where cart, purchase and margin are all 0"
        )
    _check_pins(config, settings_by_path)
    for name in config.events.weights:
        if name in RESERVED_TYPES or not name.strip():
            setting = settings_by_path["events", "weights", name]
            allowed = f"the name of a behaviour; {', '.join(RESERVED_TYPES)} are control events"
            raise _not_allowed_error(setting, setting.path, setting.value, allowed)


def _check_pins(config: Config, settings_by_path: Mapping[tuple[str, ...], Setting]) -> None:
    """Refuse two pinned items at one position."""
    item_by_position: dict[int, str] = {}
    for item, position in config.rules.pinned.items():
        if position in item_by_position:
            setting = settings_by_path["rules", "pinned", item]
            raise _not_allowed_error(
                setting, setting.path, position, f"another position, as {item_by_position[position]} is pinned there"
            )
        item_by_position[position] = item


def _invalid_name_error(setting: Setting, problem: str) -> ConfigError:
    return ConfigError(f"{setting.origin}: {'.'.join(setting.path)} {problem}.")


def _not_allowed_error(setting: Setting, path: tuple[str, ...], value: object, allowed: str) -> ConfigError:
    return ConfigError(f"{setting.origin}: {'.'.join(path)} = {value!r} is not allowed: expected {allowed}.")
