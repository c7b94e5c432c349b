"""A floor of fresh items: where too few stand among the first places, others take the last of these."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import FRESH, CandidateList

__all__ = ["ensure_fresh_items"]


def ensure_fresh_items(
    candidates: CandidateList,
    find_fresh_items: Callable[[], CandidateList],
    is_fresh: Callable[[NDArray[np.int32]], NDArray[np.bool_]],
    min_fresh: int,
    n_positions: int,
    can_add: Callable[[CandidateList, int], bool],
) -> CandidateList:
    """With at least `min_fresh` fresh items among the first `n_positions`, as far as there are any.

    They come from further down the list, or else from `find_fresh_items`, which were not ranked, the newest first; they give
    "fresh" as their reason, and take the places of the last that are not fresh. `can_add` says whether an item may stand
    beside a list.
    """
    head, tail = candidates.select(slice(n_positions)), candidates.select(slice(n_positions, None))
    is_fresh_head = is_fresh(head.rows)
    n_missing = min(min_fresh, n_positions) - int(is_fresh_head.sum())
    if n_missing <= 0:
        return candidates
    listed_rows = set(candidates.rows.tolist())
    pool, unranked_items = tail.select(is_fresh(tail.rows)), find_fresh_items()
    pool = pool.concatenate(
        unranked_items.select(np.array([row not in listed_rows for row in unranked_items.rows.tolist()], np.bool_))
    )
    for n in range(pool.size):
        if n_missing == 0:
            break
        fresh_item = pool.select(slice(n, n + 1))
        fresh_item = fresh_item._replace(reasons=np.full(1, FRESH, np.int32), sources=np.full(1, -1, np.int32))
        shortened_head = head
        if head.size == n_positions:
            replaceable = np.flatnonzero(~is_fresh(head.rows))
            shortened_head = head.select(np.arange(head.size) != replaceable[-1])
        if can_add(shortened_head, int(fresh_item.rows[0])):
            head = shortened_head.concatenate(fresh_item)
            n_missing -= 1
    head_rows = set(head.rows.tolist())
    rest = candidates.select(np.array([row not in head_rows for row in candidates.rows.tolist()], np.bool_))
    return head.concatenate(rest)
