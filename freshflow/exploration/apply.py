"""The last step between ranking and composing: young items in some of the last places of a list."""

from collections.abc import Sequence

import numpy as np
from msgspec import structs

from freshflow.exploration.bandit import Choice, Exploration
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.records import ListItem
from freshflow.ranking.kernel import (
    ENTRY_CANDIDATE,
    ENTRY_REASON,
    ENTRY_ROW,
    ENTRY_SOURCE_ROW,
    N_LISTED,
    RankingResults,
)
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import EXPLORE, NOT_A_CANDIDATE

__all__ = ["EXPLORATION_POLICY", "apply_exploration", "add_propensities"]

EXPLORATION_POLICY = "upper-bounds"  # what made the propensities of a list


def apply_exploration(
    exploration: Exploration,
    length: int,
    query: Query,
    q: int,
    rankings: RankingResults,
    item_statistics: ItemStatistics,
    hidden_rows: frozenset[int],
    seed: int,
) -> list[Choice]:
    """Put arms into the list of query number `q`, of at most `length` items, and say what was chosen.

    An arm is none that the user knows or has turned down, that is not available, or whose row is `hidden_rows`. The same
    `seed` gives the same choices.
    """
    n, entries = min(length, int(rankings.results[q, N_LISTED])), rankings.entries[q]
    rows = {arm: item_statistics.index.get(arm) for arm in exploration.arms}
    excluded_rows = set(entries[:n, ENTRY_ROW].tolist()) | hidden_rows | {NO_ROW}
    excluded_ids = {*query.profile.items, *query.profile.dismissed_items}
    excluded_ids |= {arm for arm, row in rows.items() if row in excluded_rows or not item_statistics.is_available(arm)}
    choices = exploration.choose_items(n, excluded_ids, np.random.default_rng(seed))
    for position, arm, _ in choices:
        if arm is not None:
            entries[position, [ENTRY_CANDIDATE, ENTRY_ROW, ENTRY_REASON, ENTRY_SOURCE_ROW]] = (
                NOT_A_CANDIDATE,
                rows[arm],
                EXPLORE,
                NO_ROW,
            )
            rankings.entry_scores[q, position] = 0.0
    return choices


def add_propensities(items: Sequence[ListItem], choices: Sequence[Choice]) -> list[ListItem]:
    """The items of a list, those at open places with the probability that they stand there."""
    propensity_by_position = {choice.position: choice.propensity for choice in choices}
    return [
        structs.replace(item, propensity=propensity_by_position.get(position)) for position, item in enumerate(items)
    ]
