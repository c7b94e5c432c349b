"""A query: for whom, and for which moment, items are to be ranked; and many of them in arrays."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW, ItemRows
from freshflow.items.query_choices import Chosen
from freshflow.users.profile import COUNTS, TIMES, Context, UserState

__all__ = ["CONTEXT_LENGTH", "Queries", "Query", "queries_in_arrays"]

CONTEXT_LENGTH = 10  # items of the context whose neighbours are looked up


class Query(msgspec.Struct, frozen=True, gc=False):
    """What ranking needs to know of a user at `now_ms` (event time).

    `only` restricts the candidates to these item ids, all of which are ranked (search); `exclude_seen` leaves out
    what the history holds. `k` items are wanted. `came` is the item that came, where that is known: what is learned.
    `keep` says that the ranking is the user's base for refreshes (`freshflow.ranking.incremental_scores`). `chosen` is what people
    choose after the search that the user comes from, so many visits ago.
    """

    user: UserState
    context: Context
    now_ms: int
    k: int = 0
    came: str | None = None
    only: tuple[str, ...] | None = None
    exclude_seen: bool = False
    keep: bool = False
    chosen: Chosen | None = None

    @property
    def model(self) -> int:
        """Which of the ranker's models answers: 0 where the user has a context, 1 where there is none."""
        return 0 if self.context.items else 1


# Columns of `Queries.facts`.
NOW_MS, LENGTH, DISTINCT, IDLE_MS, PLACE, STAYS, CAME, K, EXCLUDE_SEEN, RESTRICTED, MODEL, KEEP, SEARCH_AGE = range(13)
# Columns of `Queries.starts`.
HISTORY, BANNED, ONLY, CHOSEN = range(4)


class Queries(NamedTuple):
    """Q queries.

    `facts` (Q, 13): event time; events and distinct items of the running session; the pause before; where the latest
    item stood in the session (-1: new) and how often it came again at once; the row of the item that came, or -1; how
    many items are wanted; whether seen items are left out; whether the candidates are restricted to `only`; the
    model; whether the ranking is a base; how many visits ago a search was that counts.
    `context` (Q, 10) rows, the most recent first, -1 padded. The rest is flat, between the places `starts` (Q + 1, 4):
    `history`, `seen_ms` and `counts` (N,) rows of the user's items, the latest last, with event time and count;
    `banned` rows that must not be shown; `only` rows of a search; `chosen` rows of what people choose after the search
    that came before, with `shares` and `choices` (M,), how often.
    """

    facts: NDArray[np.int64]
    context: NDArray[np.int32]
    starts: NDArray[np.int32]
    history: NDArray[np.int32]
    seen_ms: NDArray[np.int64]
    counts: NDArray[np.uint32]
    banned: NDArray[np.int32]
    only: NDArray[np.int32]
    chosen: NDArray[np.int32]
    shares: NDArray[np.float32]
    choices: NDArray[np.float32]


def queries_in_arrays(rows: ItemRows, queries: Sequence[Query]) -> Queries:
    """The arrays of `queries`; rows of items that are not known are -1 in the history, and left out elsewhere."""
    users, moments = [query.user for query in queries], [query.context for query in queries]
    facts: list[int] = []
    starts, seen = [0, 0, 0, 0], 0
    banned: list[int] = []
    only: list[int] = []
    chosen: list[int] = []
    told: list[tuple[float, float]] = []  # shares and choices
    for query, user, moment in zip(queries, users, moments, strict=True):
        length, came, search_age = moment.session_length, query.came, 0
        seen += len(user.items)
        if user.dismissed:
            banned += rows.rows(user.dismissed)
        if query.only is not None:
            only += rows.rows(query.only)
        if query.chosen is not None:
            search_age = query.chosen.age
            for row, of_row in zip(rows.rows_or_none(query.chosen.items), query.chosen.shares, strict=True):
                if row != NO_ROW:
                    chosen.append(row)
                    told.append(of_row)
        starts += (seen, len(banned), len(only), len(chosen))
        distinct, place, stays = (len(user.session), user.place, user.stays) if length else (0, NO_ROW, 0)
        facts += (query.now_ms, length, distinct, moment.idle_ms, place, stays)
        facts += (NO_ROW if came is None else rows.get(came), query.k, query.exclude_seen, query.only is not None)
        facts += (query.model, query.keep, search_age)
    shares, choices = np.array(told, np.float32).reshape(len(told), 2).T
    return Queries(
        facts=np.array(facts, np.int64).reshape(len(queries), 13),
        context=rows.padded([moment.items[:CONTEXT_LENGTH] for moment in moments], CONTEXT_LENGTH),
        starts=np.array(starts, np.int32).reshape(len(queries) + 1, 4),
        history=np.array(rows.rows_or_none(chain.from_iterable([user.items for user in users])), np.int32),
        seen_ms=np.frombuffer(bytearray().join([user.packed_seen_ms for user in users]), TIMES),
        counts=np.frombuffer(bytearray().join([user.packed_counts for user in users]), COUNTS),
        banned=np.array(banned, np.int32),
        only=np.array(only, np.int32),
        chosen=np.array(chosen, np.int32),
        shares=shares.copy(),
        choices=choices.copy(),
    )
