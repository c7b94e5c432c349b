"""Application of exploration to ranked lists: young items replace ranked ones in some of the last places."""

import numpy as np

from freshflow.exploration.bandit import Choice, Exploration
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.reasons import NOT_A_CANDIDATE
from freshflow.ranking.kernel import (
    ENTRY_CANDIDATE,
    ENTRY_REASON,
    ENTRY_ROW,
    ENTRY_SOURCE_ROW,
    N_LISTED,
    RankingResults,
)
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import EXPLORE

EXPLORATION_POLICY = "upper-bounds"  # the name of the policy in published lists


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
    """Put arms into the list of query number `q`.

    Items that the user knows or has dismissed, and items that are unavailable or hidden, are no arms.

    Args:
        exploration: The bandit and its arms.
        length: The maximum number of items of the list.
        query: The query.
        q: Its number.
        rankings: The results of the query, changed in place.
        item_statistics: The items.
        hidden_rows: The rows of items that must not be shown.
        seed: The seed of the draws; the same seed gives the same choices.

    Returns:
        The choice at each open position.
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
