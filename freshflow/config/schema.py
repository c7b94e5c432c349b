"""The configuration of a job: one TOML file, checked when it is loaded, frozen, and passed as values.

Each section is a frozen struct, so that a part of the job takes its own section and nothing else. The description of a
setting stands on its type; `freshflow.example.toml`, the JSON Schema and the reference page are generated from it.
"""

from typing import Any, get_type_hints

from freshflow.config.feature_sections import BusinessValueConfig as BusinessValueConfig
from freshflow.config.feature_sections import ContentConfig as ContentConfig
from freshflow.config.feature_sections import ExploreConfig as ExploreConfig
from freshflow.config.feature_sections import RefreshConfig as RefreshConfig
from freshflow.config.feature_sections import RelatedConfig as RelatedConfig
from freshflow.config.feature_sections import RulesConfig as RulesConfig
from freshflow.config.feature_sections import SearchConfig as SearchConfig
from freshflow.config.operation_sections import KafkaConfig as KafkaConfig
from freshflow.config.operation_sections import LogConfig as LogConfig
from freshflow.config.operation_sections import MetricsConfig as MetricsConfig
from freshflow.config.operation_sections import PluginsConfig as PluginsConfig
from freshflow.config.operation_sections import PrivacyConfig as PrivacyConfig
from freshflow.config.operation_sections import ServeConfig as ServeConfig
from freshflow.config.operation_sections import VariantConfig as VariantConfig
from freshflow.config.section import Section as Section
from freshflow.config.stream_sections import DEFAULT_FULL_VALUES as DEFAULT_FULL_VALUES
from freshflow.config.stream_sections import DEFAULT_WEIGHTS as DEFAULT_WEIGHTS
from freshflow.config.stream_sections import MAX_PARTITIONS as MAX_PARTITIONS
from freshflow.config.stream_sections import EventsConfig as EventsConfig
from freshflow.config.stream_sections import ItemsConfig as ItemsConfig
from freshflow.config.stream_sections import JobConfig as JobConfig
from freshflow.config.stream_sections import ListsConfig as ListsConfig
from freshflow.config.stream_sections import NoiseConfig as NoiseConfig
from freshflow.config.stream_sections import RankerConfig as RankerConfig
from freshflow.config.stream_sections import RankingConfig as RankingConfig
from freshflow.config.stream_sections import UsersConfig as UsersConfig

# Fields of native events, whose paths `events.map` can set.
EVENT_FIELDS = (
    *("type", "user_id", "item_id", "ts", "event_id", "session_id", "value", "guest_id"),
    *("query", "items", "request_id", "k", "exclude_seen"),
    *("title", "categories", "price", "available", "published_at", "embedding", "brand", "margin"),
)

# Types of control events (`freshflow.events.model`), which no interaction can have.
RESERVED_TYPES = ("forget", "identify", "item", "request", "search")


class Config(Section, frozen=True):
    """Configuration of a job."""

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
    plugins: PluginsConfig = PluginsConfig()


# Types of all settings by section and key, with their limits and descriptions.
TYPE_HINTS: dict[str, dict[str, Any]] = {
    section: {key: hint for key, hint in get_type_hints(type_, include_extras=True).items() if key != "extensions"}
    for section, type_ in get_type_hints(Config).items()
}
