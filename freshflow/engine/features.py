"""The features of a partition, by its configuration."""

from collections.abc import Callable

from freshflow.config.schema import Config
from freshflow.exploration.feature import ExplorationFeature
from freshflow.feature import Feature
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.json_writer import JsonListWriter
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.active_users import ActiveUsers
from freshflow.refresh.feature import RefreshFeature
from freshflow.related.feature import RelatedFeature
from freshflow.rules.feature import RulesFeature
from freshflow.rules.registry import has_rules
from freshflow.search.feature import SearchFeature


def build_features(
    number: int,
    config: Config,
    clock: Callable[[], int],
    item_statistics: ItemStatistics,
    ranker: Ranker,
    active_users: ActiveUsers,
    json_writer: JsonListWriter,
    *,
    publishes_related: bool,
) -> tuple[Feature, ...]:
    """Return the features that are on, in the order in which they change lists.

    Args:
        number: The number of the partition.
        config: The configuration.
        clock: The processing time in epoch milliseconds.
        item_statistics: The items of the partition.
        ranker: The ranker of the partition.
        active_users: The users of the partition and their lists.
        json_writer: The encoder of lists.
        publishes_related: True if related items have a sink.
    """
    features: list[Feature] = [SearchFeature(config, item_statistics)]
    if has_rules(config):
        features.append(RulesFeature(config, item_statistics))
    if config.explore.share:
        features.append(ExplorationFeature(config.explore, item_statistics))
    # The scores of a re-ranked list are no sums of a user's part and a part that all users share.
    if config.refresh.interval_s > 0 and not ranker.rerankers:
        features.append(RefreshFeature(config, item_statistics, ranker, active_users, json_writer))
    if publishes_related:
        features.append(RelatedFeature(number, config, item_statistics, clock))
    return tuple(features)
