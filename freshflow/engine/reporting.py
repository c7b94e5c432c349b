"""Reports of a partition: its counters, the size of its tables, and the quality of its predictions."""

from collections import Counter

from freshflow.config.schema import Config
from freshflow.feature import Feature
from freshflow.items.statistics import ItemStatistics
from freshflow.metrics.ab_test import UserGroups
from freshflow.metrics.drift import DriftDetector
from freshflow.metrics.prequential import PrequentialMetrics
from freshflow.metrics.report import Receipt, Report
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.active_users import ActiveUsers


class PartitionMetrics:
    """The counters and quality figures of a partition, and the receipts of users it has forgotten.

    `user_groups` are kept in jobs with variants only.
    """

    def __init__(self, config: Config) -> None:
        self.variant = config.variant.name or None
        self.counts: Counter[str] = Counter()
        self.prequential = PrequentialMetrics()
        self.drift_detector = DriftDetector()
        self.user_groups = UserGroups()
        self.receipts: list[Receipt] = []
        self.n_reported_events = 0
        self._report_interval = config.metrics.report_every_events

    @property
    def is_report_due(self) -> bool:
        """True once `metrics.report_every_events` events have passed, or drift was detected, since the last report."""
        has_drifted = self.drift_detector.last_detection > self.n_reported_events
        return has_drifted or self.counts["events"] >= self.n_reported_events + self._report_interval

    def drain_receipts(self) -> list[Receipt]:
        """Return the receipts since the last call."""
        receipts, self.receipts = self.receipts, []
        return receipts


def build_report(
    number: int,
    event_ts: int,
    metrics: PartitionMetrics,
    item_statistics: ItemStatistics,
    ranker: Ranker,
    active_users: ActiveUsers,
    features: tuple[Feature, ...],
) -> Report:
    """Return the report of a partition.

    Args:
        number: The number of the partition.
        event_ts: The event time of the partition.
        metrics: Its counters and quality figures.
        item_statistics: Its items.
        ranker: Its ranker.
        active_users: Its users.
        features: Its features.
    """
    counts: dict[str, int] = metrics.counts | {
        "updates": ranker.n_updates,
        "items": len(item_statistics.index),
        "drifts": metrics.drift_detector.detections,
        "items_evicted": item_statistics.n_evicted,
        "items_idle": item_statistics.n_idle_evicted,
        "embeddings_left_out": item_statistics.embedding_store.n_dimension_mismatches,
        "users_active": len(active_users.ids),
        "users_active_evicted": active_users.n_evicted,
    }
    quality = metrics.prequential.fresh.values()
    for name in ("published", "popularity"):
        values = getattr(metrics.prequential, name).values()
        quality |= {f"{name}_{metric}": value for metric, value in values.items()}
    for feature in features:
        counts |= feature.counters()
        quality |= feature.quality()
    group_sums = None if metrics.variant is None else metrics.user_groups.sums()
    return Report(number, event_ts, counts, quality, metrics.variant, group_sums)
