"""A floor of fresh items: where too few stand among the first places, others take the last of these."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import FRESH, Ranked

__all__ = ["freshened"]


def freshened(
    ranked: Ranked,
    others: Callable[[], Ranked],
    is_fresh: Callable[[NDArray[np.int32]], NDArray[np.bool_]],
    least: int,
    places: int,
    fits: Callable[[Ranked, int], bool],
) -> Ranked:
    """With at least `least` fresh items among the first `places`, as far as there are any.

    They come from further down the list, or else from `others`, which were not ranked, the newest first; they give
    "fresh" as their reason, and take the places of the last that are not fresh. `fits` says whether an item may stand
    beside a list.
    """
    head, tail = ranked.take(slice(places)), ranked.take(slice(places, None))
    fresh_head = is_fresh(head.rows)
    missing = min(least, places) - int(fresh_head.sum())
    if missing <= 0:
        return ranked
    listed = set(ranked.rows.tolist())
    pool, more = tail.take(is_fresh(tail.rows)), others()
    pool = pool.followed_by(more.take(np.array([row not in listed for row in more.rows.tolist()], np.bool_)))
    for n in range(pool.size):
        if missing == 0:
            break
        one = pool.take(slice(n, n + 1))
        one = one._replace(reasons=np.full(1, FRESH, np.int32), sources=np.full(1, -1, np.int32))
        kept = head
        if head.size == places:
            old = np.flatnonzero(~is_fresh(head.rows))
            kept = head.take(np.arange(head.size) != old[-1])
        if fits(kept, int(one.rows[0])):
            head = kept.followed_by(one)
            missing -= 1
    stays = set(head.rows.tolist())
    rest = ranked.take(np.array([row not in stays for row in ranked.rows.tolist()], np.bool_))
    return head.followed_by(rest)
