"""A query: the user and the moment for which items are ranked; and the queries of a batch as arrays."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW, ItemIndex
from freshflow.items.query_choices import TopClickedItems
from freshflow.users.profile import COUNT_TYPE, TIME_TYPE, Context, UserProfile

CONTEXT_LENGTH = 10  # latest items of the context that count


class Query(msgspec.Struct, frozen=True, gc=False):
    """The user, the moment and the options of one ranking.

    Attributes:
        profile: The user's profile.
        context: The user's most recent interactions.
        now_ms: Event time.
        k: The length of the list; 0 for none.
        target_item: The item of the event, where there is one: the ranking is scored and learns from it.
        restrict_to: Item ids that are all ranked, and no others (search).
        exclude_seen: Leaves out the items of the history.
        store_baseline: Keeps the ranking as the user's baseline for refreshes (`freshflow.ranking.incremental_scores`).
        query_clicks: The items that users choose after the search that this user comes from.
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
        """The ranker's model for this query: 0 for users with a context, 1 for those without."""
        return 0 if self.context.items else 1


# Columns of `QueryBatch.scalars`.
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
# Columns of `QueryBatch.starts`.
HISTORY_START, BANNED_START, RESTRICT_TO_START, QUERY_CLICKS_START = range(4)


class QueryBatch(NamedTuple):
    """Q queries as arrays. Variable-length parts are flat, between the positions in `starts`.

    Attributes:
        scalars: (Q, 13) event time; events and distinct items of the session; pause before the event in ms; position of
            the latest item in the session (-1: new) and its immediate repeats; row of the target item or -1; length of
            the list; whether seen items are excluded; whether candidates are restricted; model; whether the baseline is
            stored; age of the search in visits.
        context: (Q, 10) item rows, the latest first, padded with -1.
        starts: (Q + 1, 4) of the history, the banned rows, the restriction and the query's clicks.
        history: (N,) item rows of the users' histories, the latest last, -1 for unknown items.
        seen_ms: (N,) event time of each.
        counts: (N,) interactions with each.
        banned_rows: Item rows that must not be shown.
        restrict_to: Item rows of searches.
        query_clicks: (M,) item rows that users choose after a search.
        click_shares: (M,) their shares of these choices.
        click_counts: (M,) their number of choices.
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
    """Return the arrays of `queries`; unknown items are -1 in the history and left out elsewhere."""
    profiles, contexts = [query.profile for query in queries], [query.context for query in queries]
    scalars: list[int] = []
    starts, n_history = [0, 0, 0, 0], 0
    banned_rows: list[int] = []
    restrict_to: list[int] = []
    query_clicks: list[int] = []
    click_stats: list[tuple[float, float]] = []  # share and count of each
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
