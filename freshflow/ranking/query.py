"""A query: for whom, and for which moment, items are to be ranked; and many of them in arrays."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW, ItemIndex
from freshflow.items.query_choices import TopClickedItems
from freshflow.users.profile import COUNT_TYPE, TIME_TYPE, Context, UserProfile

__all__ = ["CONTEXT_LENGTH", "QueryBatch", "Query", "build_query_batch"]

CONTEXT_LENGTH = 10  # items of the context whose neighbours are looked up


class Query(msgspec.Struct, frozen=True, gc=False):
    """What ranking needs to know of a user at `now_ms` (event time).

    `restrict_to` restricts the candidates to these item ids, all of which are ranked (search); `exclude_seen` leaves out
    what the history holds. `k` items are wanted. `target_item` is the item that came, where that is known: what is learned.
    `store_baseline` says that the ranking is the user's base for refreshes (`freshflow.ranking.incremental_scores`). `query_clicks` is what people
    choose after the search that the user comes from, so many visits ago.
    """

    profile: UserProfile
    context: Context
    now_ms: int
    k: int = 0
    target_item: str | None = None
    restrict_to: tuple[str, ...] | None = None
    exclude_seen: bool = False
    store_baseline: bool = False
    query_clicks: TopClickedItems | None = None

    @property
    def model_index(self) -> int:
        """Which of the ranker's models answers: 0 where the user has a context, 1 where there is none."""
        return 0 if self.context.items else 1


# Columns of `Queries.facts`.
(
    QUERY_NOW_MS,
    QUERY_SESSION_LENGTH,
    QUERY_SESSION_ITEMS,
    QUERY_IDLE_MS,
    QUERY_REPEAT_POSITION,
    QUERY_IMMEDIATE_REPEATS,
    QUERY_TARGET_ROW,
    QUERY_K,
    QUERY_EXCLUDE_SEEN,
    QUERY_IS_RESTRICTED,
    QUERY_MODEL_INDEX,
    QUERY_STORE_BASELINE,
    QUERY_SEARCH_AGE,
) = range(13)
# Columns of `Queries.starts`.
HISTORY_START, BANNED_START, RESTRICT_TO_START, QUERY_CLICKS_START = range(4)


class QueryBatch(NamedTuple):
    """Q queries.

    `scalars` (Q, 13): event time; events and distinct items of the running session; the pause before; where the latest
    item stood in the session (-1: new) and how often it came again at once; the row of the item that came, or -1; how
    many items are wanted; whether seen items are left out; whether the candidates are restricted to `restrict_to`; the
    model; whether the ranking is a base; how many visits ago a search was that counts.
    `context` (Q, 10) rows, the most recent first, -1 padded. The rest is flat, between the places `starts` (Q + 1, 4):
    `history`, `seen_ms` and `counts` (N,) rows of the user's items, the latest last, with event time and count;
    `banned_rows` rows that must not be shown; `restrict_to` rows of a search; `query_clicks` rows of what people choose after the search
    that came before, with `click_shares` and `click_counts` (M,), how often.
    """

    scalars: NDArray[np.int64]
    context: NDArray[np.int32]
    starts: NDArray[np.int32]
    history: NDArray[np.int32]
    seen_ms: NDArray[np.int64]
    counts: NDArray[np.uint32]
    banned_rows: NDArray[np.int32]
    restrict_to: NDArray[np.int32]
    query_clicks: NDArray[np.int32]
    click_shares: NDArray[np.float32]
    click_counts: NDArray[np.float32]


def build_query_batch(item_index: ItemIndex, queries: Sequence[Query]) -> QueryBatch:
    """The arrays of `queries`; rows of items that are not known are -1 in the history, and left out elsewhere."""
    profiles, contexts = [query.profile for query in queries], [query.context for query in queries]
    scalars: list[int] = []
    starts, n_history = [0, 0, 0, 0], 0
    banned_rows: list[int] = []
    restrict_to: list[int] = []
    query_clicks: list[int] = []
    click_stats: list[tuple[float, float]] = []  # shares and choices
    for query, profile, context in zip(queries, profiles, contexts, strict=True):
        length, target_item, search_age = context.session_length, query.target_item, 0
        n_history += len(profile.items)
        if profile.dismissed_items:
            banned_rows += item_index.known_rows(profile.dismissed_items)
        if query.restrict_to is not None:
            restrict_to += item_index.known_rows(query.restrict_to)
        if query.query_clicks is not None:
            search_age = query.query_clicks.n_visits_since_query
            for row, click_stat in zip(
                item_index.lookup_rows(query.query_clicks.items), query.query_clicks.share_counts, strict=True
            ):
                if row != NO_ROW:
                    query_clicks.append(row)
                    click_stats.append(click_stat)
        starts += (n_history, len(banned_rows), len(restrict_to), len(query_clicks))
        n_distinct, repeat_position, immediate_repeats = (
            (len(profile.session), profile.session_position, profile.n_immediate_repeats) if length else (0, NO_ROW, 0)
        )
        scalars += (query.now_ms, length, n_distinct, context.idle_ms, repeat_position, immediate_repeats)
        scalars += (
            NO_ROW if target_item is None else item_index.get(target_item),
            query.k,
            query.exclude_seen,
            query.restrict_to is not None,
        )
        scalars += (query.model_index, query.store_baseline, search_age)
    click_shares, click_counts = np.array(click_stats, np.float32).reshape(len(click_stats), 2).T
    return QueryBatch(
        scalars=np.array(scalars, np.int64).reshape(len(queries), 13),
        context=item_index.padded_rows([context.items[:CONTEXT_LENGTH] for context in contexts], CONTEXT_LENGTH),
        starts=np.array(starts, np.int32).reshape(len(queries) + 1, 4),
        history=np.array(
            item_index.lookup_rows(chain.from_iterable([profile.items for profile in profiles])), np.int32
        ),
        seen_ms=np.frombuffer(bytearray().join([profile.packed_seen_ms for profile in profiles]), TIME_TYPE),
        counts=np.frombuffer(bytearray().join([profile.packed_counts for profile in profiles]), COUNT_TYPE),
        banned_rows=np.array(banned_rows, np.int32),
        restrict_to=np.array(restrict_to, np.int32),
        query_clicks=np.array(query_clicks, np.int32),
        click_shares=click_shares.copy(),
        click_counts=click_counts.copy(),
    )
