"""Snapshots of a partition: the typed states of its owners, as tables of one snapshot.

A snapshot carries the settings that shaped it; one that was made under other settings is refused.
"""

from collections.abc import Callable
from typing import Any

from freshflow._state_tables import PieceFactory, SnapshotFormat, StateTable, TableReader
from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.engine.remote_events import RemoteEventsState
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.feature import TriggerEvent
from freshflow.items.catalogue import CatalogueState
from freshflow.items.embeddings import EmbeddingsState
from freshflow.items.index import IndexState
from freshflow.items.statistics import ItemsState
from freshflow.metrics.ab_test import UserGroupsState
from freshflow.metrics.drift import DriftState
from freshflow.metrics.prequential import PrequentialState
from freshflow.ranking.feature_registry import registered_features
from freshflow.ranking.features import FEATURES
from freshflow.ranking.features_content import CONTENT_FEATURES
from freshflow.ranking.ranker import RankerState
from freshflow.refresh.active_users import ActiveUsersState
from freshflow.state.settings_guard import check_settings

PARTITION_SNAPSHOT = SnapshotFormat(b"freshflow-partition-15\n", "a partition", "a damaged partition")


class PartitionState(StateTable, frozen=True):
    """State of a partition itself: its number, the settings that shape it, its counts and its latest event."""

    number: int
    settings: dict[str, Any]
    publishes_related: bool
    counts: dict[str, int]
    event_ts: int
    latest_event: TriggerEvent | None
    n_reported_events: int


def dump(partition: Partition) -> bytes:
    """Encode a partition as bytes; it stays as it is."""
    return PARTITION_SNAPSHOT.dump(collect_tables(partition))


def freeze(partition: Partition) -> PieceFactory:
    """Copy the state of a partition; the result encodes the pieces of its `dump` later, in another thread."""
    return PARTITION_SNAPSHOT.freeze(collect_tables(partition))


def load(
    snapshot: bytes | bytearray, config: Config, clock: Callable[[], int], *, publishes_related: bool | None = None
) -> Partition:
    """Return the partition of a `dump`.

    Args:
        snapshot: The bytes of the dump.
        config: The configuration.
        clock: The processing time in epoch milliseconds.
        publishes_related: True if related items have a sink; by default, as in the dumped partition.

    Raises:
        SnapshotError: If the dump is of another version, made under other settings, or damaged.
    """
    with PARTITION_SNAPSHOT.open(snapshot) as tables:
        state = tables.read("partition", PartitionState)
        check_settings(state.settings, state_settings(config))
        if publishes_related is None:
            publishes_related = state.publishes_related
        partition = Partition(state.number, config, clock, publishes_related=publishes_related)
        _restore(partition, state, tables)
        return partition


def collect_tables(partition: Partition) -> dict[str, StateTable]:
    """Return the states of a partition's owners by name."""
    item_statistics, metrics = partition.item_statistics, partition.metrics
    n_rows = len(item_statistics.index.ids)
    tables: dict[str, StateTable] = {
        "partition": PartitionState(
            number=partition.number,
            settings=state_settings(partition.config),
            publishes_related=partition.publishes_related,
            counts=dict(metrics.counts),
            event_ts=partition.event_ts,
            latest_event=partition.latest_event,
            n_reported_events=metrics.n_reported_events,
        ),
        "item_index": item_statistics.index.state(),
        "catalogue": item_statistics.catalogue.state(n_rows),
        "embeddings": item_statistics.embedding_store.state(n_rows),
        "items": item_statistics.state(),
        "ranker": partition.ranker.state(),
        "active_users": partition.active_users.state(),
        "remote_events": partition.remote_events.state(),
        "prequential_metrics": metrics.prequential.state(),
        "drift": metrics.drift_detector.state(),
        "user_groups": metrics.user_groups.state(),
    }
    feature_states = ((feature.name, feature.state()) for feature in partition.features)
    return tables | {_feature_table(name): state for name, state in feature_states if state is not None}


def _restore(partition: Partition, state: PartitionState, tables: TableReader) -> None:
    item_statistics, metrics = partition.item_statistics, partition.metrics
    item_statistics.index.restore(tables.read("item_index", IndexState))
    item_statistics.catalogue.restore(tables.read("catalogue", CatalogueState))
    item_statistics.embedding_store.restore(tables.read("embeddings", EmbeddingsState), item_statistics.index.ids)
    item_statistics.restore(tables.read("items", ItemsState))
    partition.ranker.restore(tables.read("ranker", RankerState))
    partition.active_users.restore(tables.read("active_users", ActiveUsersState))
    partition.remote_events.restore(tables.read("remote_events", RemoteEventsState))
    metrics.prequential.restore(tables.read("prequential_metrics", PrequentialState))
    metrics.drift_detector.restore(tables.read("drift", DriftState))
    metrics.user_groups.restore(tables.read("user_groups", UserGroupsState))
    metrics.counts.update(state.counts)
    metrics.n_reported_events = state.n_reported_events
    partition.event_ts, partition.latest_event = state.event_ts, state.latest_event
    for feature in partition.features:
        name = _feature_table(feature.name)
        feature.restore(tables.read(name, feature.state_type) if name in tables else None)


def _feature_table(name: str) -> str:
    """Return the name of a feature's table, which no other owner has."""
    return f"features.{name}"


def state_settings(config: Config) -> dict[str, Any]:
    """Return the settings that shape the state of a partition, by name; another value needs another state."""
    pseudonyms = Pseudonyms.from_config(config.privacy)
    return {
        "job.partitions": config.job.partitions,
        "items.neighbours": config.items.neighbours,
        "items.max": config.items.max,
        "ranker.model": config.ranker.model,
        "ranker.hidden_units": config.ranker.hidden_units,
        "refresh.users": config.refresh.users,
        "variant.name": config.variant.name,
        "privacy.pseudonymise": config.privacy.pseudonymise,
        "privacy.key (its fingerprint)": pseudonyms.fingerprint if pseudonyms is not None else None,
        "content.dimensions": config.content.dimensions,
        "content (whether it is on)": config.content.is_enabled,
        "features of the ranker": [
            *FEATURES,
            *(CONTENT_FEATURES if config.content.is_enabled else ()),
            *registered_features(),
        ],
    }
