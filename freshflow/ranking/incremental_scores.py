"""Keeping lists fresh without ranking them anew: what speaks for an item whoever looks, and what for one user's sake.

For a user who does nothing, hardly anything but popularity moves between two looks at a list. Let g(i) be the score of
item i at the opening of a session for someone of whom nothing else is known. A full ranking at time t0 leaves, for each
of the user's P best items, the rest  r(i) = score(i) - g0(i),  for all others the mean rest b of what nothing personal
speaks for, and the logarithm of the sum Z of exp(score). Later, the score of an item is

    s(i) = g(i) + r(i)   of the user's own P,   and   g(j) + b   of what is popular by then,

so one column of scores serves all users. It is exact for items whose score is the sum of the two parts, and close to it
where hidden units cross them. As the ranker is a model of choice, exp(s(i)) / Z is the probability that i is what the
user comes for next: what a new list gains over the last one is the difference of the sums of these over its items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled, lean
from freshflow.items.popularity import recent
from freshflow.items.tables import Tables
from freshflow.ranking.candidates import RECENT
from freshflow.ranking.features import FEATURES, IMPERSONAL, MOMENT, fill_popularity
from freshflow.ranking.math_kernels import LN_2, scale_exp2
from freshflow.ranking.scoring import Weights, score, settled

__all__ = ["OWN", "Views", "everyones_scores", "look", "popular_now", "take_base"]

OWN = 40  # items of which a user's own part of the score is kept
BIASED = 40  # candidates from which the mean rest is taken

NOBODY = -1
UNWANTED = -1
OPENS, PAUSE, HISTORY = MOMENT.index("opens"), MOMENT.index("pause_before"), MOMENT.index("history")
LAST_VISITS = MOMENT.index("last_visits")
# The moment for which everyone's scores are made: after a day, by someone of twenty items who last saw a common one.
DAY_PAUSE, TWENTY_ITEMS, COMMON = np.float32(1.42), np.float32(1.01), np.float32(1.0)


class Views(NamedTuple):
    """What is kept of U users' lists: `listed` (U, K) rows; of their P best items the rows `own` (U, P), -1 for none,
    the rests `own_score`, and `behind` (U, P, 2): the reason, and the row of the item behind it or -1; and `level`
    (U, 2): the mean rest of all other items, and log Z.
    """

    listed: NDArray[np.int32]
    own: NDArray[np.int32]
    own_score: NDArray[np.float32]
    level: NDArray[np.float32]
    behind: NDArray[np.int32]


@compiled
def popular_now(tables: Tables, rows: NDArray[np.int32], seen: NDArray[np.bool_]) -> int:
    """Write the distinct available rows of all leading items and of the latest events to `rows`; how many.

    `seen` (item rows,) is all False before and after.
    """
    touched = np.empty(RECENT, np.int32)
    n_touched = recent(tables.popularity.ring, tables.popularity.clock, touched)
    leading, n = tables.leading, 0
    for part in range(len(leading.sizes) + 1):
        size = leading.sizes[part] if part < len(leading.sizes) else n_touched
        for at in range(size):
            row = leading.rows[part, at] if part < len(leading.sizes) else touched[at]
            if row >= 0 and n < len(rows) and not seen[row] and tables.available[row]:
                seen[row] = True
                rows[n] = row
                n += 1
    for at in range(n):
        seen[rows[at]] = False
    return n


@compiled
def _everyones_moment() -> NDArray[np.float32]:
    moment = np.zeros(len(MOMENT), np.float32)
    moment[OPENS], moment[PAUSE], moment[HISTORY], moment[LAST_VISITS] = 1, DAY_PAUSE, TWENTY_ITEMS, COMMON
    return moment


@compiled
def _everyones_scores(
    linear: NDArray[np.float64], unit_weights: NDArray[np.float32], features: NDArray[np.float32]
) -> NDArray[np.float64]:
    """g (N,) of items from `features` (F, N), of which only those count that are the same for everyone."""
    items = features.shape[1]
    plain = np.zeros((unit_weights.shape[1] - len(MOMENT) - 1, items), np.float32)
    for f in IMPERSONAL:
        plain[f] = features[f]
    units = np.empty((len(unit_weights), items), np.float32)
    scores = np.empty(items)
    score(linear, unit_weights, _everyones_moment(), plain, 0, units, scores)
    return scores


@compiled
def everyones_scores(
    tables: Tables,
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    now_ms: int,
    rows: NDArray[np.int32],
    known: NDArray[np.float64],
) -> None:
    """Write g of item `rows` at `now_ms` to `known`, by item row, where it is NaN; -1 is no row."""
    wanted = np.empty(len(rows), np.int32)
    n = 0
    for row in rows:
        if row >= 0 and np.isnan(known[row]):
            wanted[n] = row
            known[row] = 0
            n += 1
    if n:
        features = np.zeros((len(FEATURES), n), np.float32)
        fill_popularity(tables, now_ms, wanted[:n], features)
        known[wanted[:n]] = _everyones_scores(linear, unit_weights, features)


@compiled
def take_base(
    weights: Weights,
    candidates: NDArray[np.int32],
    features: NDArray[np.float32],
    scores: NDArray[np.float64],
    places: NDArray[np.int32],
    rests: NDArray[np.float32],
    level: NDArray[np.float32],
) -> None:
    """Write what is to be kept of a full ranking: the `rests` (P,) of the best and the `level` (2,), see `Views`.

    `candidates` (C, 4), `features` (F, C) and `scores` (C,) are those of the ranking, the best stand at `places` (P,).
    """
    n, biased = len(places), 0
    at_rest = np.empty(BIASED, np.int64)
    highest = scores.max() if len(scores) else 0.0
    total = 0.0
    for c in range(len(scores)):
        total += np.exp(scores[c] - highest)
        if candidates[c, 1] < 0 and candidates[c, 2] < 0 and biased < BIASED:
            at_rest[biased] = c
            biased += 1
    if n:
        shared = _everyones_scores(weights.linear[0], weights.units, features[:, places])
        for at in range(n):
            rests[at] = scores[places[at]] - shared[at]
    rest = 0.0
    if biased:
        shared = _everyones_scores(weights.linear[0], weights.units, features[:, at_rest[:biased]])
        for at in range(biased):
            rest += (scores[at_rest[at]] - shared[at]) / biased
    level[0] = rest
    level[1] = highest + np.log(max(total, 1e-9))


@compiled
def look(
    tables: Tables,
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    now_ms: int,
    views: Views,
    slots: NDArray[np.int32],
    chances: NDArray[np.float64],
    banned: NDArray[np.int32],
    starts: NDArray[np.int64],
    worth: float,
    known: NDArray[np.float64],
    popular: NDArray[np.int32],
    found: NDArray[np.int32],
    places: NDArray[np.int32],
    scores: NDArray[np.float64],
    worthy: NDArray[np.int32],
    gains: NDArray[np.float64],
) -> int:
    """Make the lists of users in `slots` (S,) as they would be now, and keep those worth a message.

    `chances` (S,) are those that the user acts soon; a list is worth it if the hits it gains, times that, are at least
    `worth`. Between the places `starts` (S + 1,), `banned` holds rows that must not be shown to a user. `popular` (N,)
    are the rows that everyone may be shown, by falling g, which `known` holds by item row.
    Writes what each gains, in this sense, to `gains` (S,), the numbers in `slots` of those kept to `worthy`, and their
    lists to `found` (S, K), -1 padded, with `scores` and `places`, indices into the user's own items or -1. Own items
    are put in the order of their scores.
    """
    kept = 0
    _know(tables, linear, unit_weights, now_ms, views, slots, known)
    values, mark = np.empty(views.own.shape[1]), np.zeros(len(known), np.int32)
    below_z, likely = np.empty(2 * found.shape[1], np.float32), np.empty(2 * found.shape[1], np.float32)
    for n in range(len(slots)):
        slot = slots[n]
        own, listed = views.own[slot], views.listed[slot]
        bias, log_z = views.level[slot, 0], views.level[slot, 1]
        unwanted = banned[starts[n] : starts[n + 1]]
        _sort_own(tables.available, known, own, views.own_score[slot], views.behind[slot], values)
        mark[unwanted] = UNWANTED
        for at in range(len(own)):
            if own[at] >= 0:
                mark[own[at]] = at + 1
        size = _merge(own, values, popular, known, bias, mark, found[kept], places[kept], scores[kept])
        shown = 0
        for row in listed:
            if row >= 0 and tables.available[row]:
                value = values[mark[row] - 1] if mark[row] > 0 else known[row] + bias
                below_z[shown] = max(log_z - value, 0.0)
                shown += 1
        for at in range(size):
            below_z[shown + at] = max(log_z - scores[kept, at], 0.0)
        likely[:] = 1
        scale_exp2(likely, below_z, shown + size, 1 / LN_2)
        before, after = likely[:shown].sum(), likely[shown : shown + size].sum()
        for row in own:
            if row >= 0:
                mark[row] = 0
        mark[unwanted] = 0
        gains[n] = (after - before) / max(after, 1.0) * chances[n]
        if gains[n] >= worth:
            found[kept, size:] = NOBODY
            worthy[kept] = n
            kept += 1
    return kept


@compiled
def _know(
    tables: Tables,
    linear: NDArray[np.float64],
    unit_weights: NDArray[np.float32],
    now_ms: int,
    views: Views,
    slots: NDArray[np.int32],
    known: NDArray[np.float64],
) -> None:
    """Write g of all items that users in `slots` have of their own or on their lists to `known`, where it is NaN."""
    wanted = np.empty(len(slots) * (views.own.shape[1] + views.listed.shape[1]), np.int32)
    n = 0
    for slot in slots:
        for rows in (views.own[slot], views.listed[slot]):
            for row in rows:
                wanted[n] = row
                n += 1
    everyones_scores(tables, linear, unit_weights, now_ms, wanted, known)


@lean
def _sort_own(
    available: NDArray[np.bool_],
    known: NDArray[np.float64],
    own: NDArray[np.int32],
    own_score: NDArray[np.float32],
    behind: NDArray[np.int32],
    values: NDArray[np.float64],
) -> None:
    """Put a user's own items (P,), and what is kept of each, in the order of their scores, which go to `values` (P,).

    They are nearly so from the last time. Those that are not available come last.
    """
    for at in range(len(own)):
        row, rest = own[at], own_score[at]
        value = settled(known[row] + rest) if row >= 0 and available[row] else -np.inf
        reason, source = behind[at, 0], behind[at, 1]
        place = at
        while place > 0 and values[place - 1] < value:
            values[place], own[place], own_score[place] = values[place - 1], own[place - 1], own_score[place - 1]
            behind[place, 0], behind[place, 1] = behind[place - 1, 0], behind[place - 1, 1]
            place -= 1
        values[place], own[place], own_score[place] = value, row, rest
        behind[place, 0], behind[place, 1] = reason, source


@lean
def _merge(
    own: NDArray[np.int32],
    values: NDArray[np.float64],
    popular: NDArray[np.int32],
    known: NDArray[np.float64],
    bias: float,
    mark: NDArray[np.int32],
    found: NDArray[np.int32],
    places: NDArray[np.int32],
    scores: NDArray[np.float64],
) -> int:
    """Write the best of a user's own items and of the popular ones to `found` (K,); how many. Ties to the own.

    Both are in the order of their scores; popular ones that are marked are left out.
    """
    n = at = next_popular = 0
    while n < len(found):
        while next_popular < len(popular) and mark[popular[next_popular]] != 0:
            next_popular += 1
        mine = values[at] if at < len(own) else -np.inf
        theirs = settled(known[popular[next_popular]] + bias) if next_popular < len(popular) else -np.inf
        if mine == theirs == -np.inf:
            break
        if mine >= theirs:
            found[n], places[n], scores[n] = own[at], at, mine
            at += 1
        else:
            found[n], places[n], scores[n] = popular[next_popular], NOBODY, theirs
            next_popular += 1
        n += 1
    return n
