"""Features of candidates: bounded or logarithmic numbers, the same for every partition and every data set.

Beside the features of a candidate stand those of the *moment*, which are the same for all candidates of a query: they
order nothing by themselves, but say to the hidden units (`freshflow.ranking.units`) which evidence counts when.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled, lean
from freshflow.items.covisitation import TOGETHER
from freshflow.items.popularity import (
    ALL_DAY,
    ALL_HOUR,
    ALL_WEEK,
    EVENTS,
    FIRST_MS,
    HALF_LIVES_MS,
    HOUR,
    IN_WINDOW,
    LAST_MS,
    WINDOWS,
    Popularity,
    decay,
)
from freshflow.items.popularity import NOW_MS as LATEST_MS
from freshflow.items.revisits import VISITS, return_rate, stay_rate
from freshflow.items.tables import Tables
from freshflow.ranking.candidates import EVIDENCE, FOUND_AT, OWN, ROW, Scratch
from freshflow.ranking.candidates import PLACE as CONTEXT_PLACE
from freshflow.ranking.math_kernels import scale_exp2, scale_log1p, whole
from freshflow.ranking.query import DISTINCT, HISTORY, IDLE_MS, LENGTH, NOW_MS, PLACE, STAYS, Queries

__all__ = [
    "FEATURES",
    "IMPERSONAL",
    "LAST_200",
    "MOMENT",
    "PERSONAL",
    "SOURCES",
    "fill_features",
    "fill_moment",
    "fill_popularity",
]

POPULARITIES = ("last_50", "last_200", "last_2000", "hour", "day", "week")
# What speaks for or against going back to an item of the context, and for the last of them once more.
HABITS = ("return_rate", "stay_rate", "habit", "pause")

FEATURES: tuple[str, ...] = (
    *EVIDENCE,
    *POPULARITIES,
    *(f"opening_{name}" for name in POPULARITIES),
    *("age", "idle", "visits"),
    *("in_context", "context_place", "context_last", "context_second", "context_by_length"),
    *HABITS,
    *(f"{name}_last" for name in HABITS),
    *("own", "own_count", "own_recency", "own_rank"),
)
MOMENT: tuple[str, ...] = (
    *("no_context", "opens", "length", "length_1", "length_2", "pause_before", "history", "last_visits"),
    *("came_new", "came_again", "came_second", "came_older", "stays", "repeated"),
)

# Which source a feature speaks for: what a list's `reason` is drawn from.
SOURCES: dict[str, str] = {
    name: "together"
    if name in EVIDENCE
    else "again"
    if name.startswith(("own", "in_context", "context", *HABITS))
    else "popular"
    for name in FEATURES
}

SHARES = len(EVIDENCE) - 2  # the last two are counts
POPULAR, OPENING = FEATURES.index("last_50"), FEATURES.index("opening_last_50")
LAST_200 = FEATURES.index("last_200")
# Those that are the same whoever looks.
IMPERSONAL = tuple(n for n, name in enumerate(FEATURES) if SOURCES[name] == "popular")
AGE, CONTEXT, HABIT = FEATURES.index("age"), FEATURES.index("in_context"), FEATURES.index("return_rate")
PERSONAL = CONTEXT  # from here on they are about the user's own history and context
HABIT_LAST, OWN_AT = FEATURES.index("return_rate_last"), FEATURES.index("own")

ONE = np.float32(1)
SHARE_SCALE = np.float32(100)  # a share of a hundredth is .15 up the logarithmic scale, one of a tenth .52
LOG_SCALE = np.float32(1 / np.log(101))
AGE_SCALE = np.float32(1 / 18)  # logarithm of seconds: a minute is .23, an hour .46, a week .74, two and a half years 1
COUNT_SCALE, VISITS_SCALE, PAUSE_SCALE = np.float32(1 / 5), np.float32(1 / 8), np.float32(1 / 8)
LENGTH_SCALE = np.float32(1 / 3)


@lean
def _log_age(age_ms: float) -> np.float32:
    """log(1 + seconds) / 18; 0 for what lies ahead."""
    scaled: np.float32 = np.log(np.float32(1) + np.float32(max(age_ms, 0) * 1e-3)) * AGE_SCALE
    return scaled


@lean
def fill_moment(tables: Tables, queries: Queries, q: int, moment: NDArray[np.float32]) -> None:
    """Write the features of the moment of query `q` to `moment` (Z,), in the order of `MOMENT`."""
    last, fact = queries.context[q, 0], queries.facts[q]
    length = fact[LENGTH]
    moment[:] = 0
    moment[0] = last < 0
    moment[1] = length == 0
    moment[2] = min(length, 10) * np.float32(0.2)
    moment[3] = length == 1
    moment[4] = length == 2
    moment[5] = _log_count(fact[IDLE_MS] * 1e-3) * PAUSE_SCALE
    moment[6] = _log_count(queries.starts[q + 1, HISTORY] - queries.starts[q, HISTORY]) * LENGTH_SCALE
    if last >= 0:
        moment[7] = _log_count(tables.covisits.sums[last, TOGETHER]) * COUNT_SCALE
    if length > 0:
        moment[8 + min(fact[PLACE] + 1, 3)] = 1
    moment[12] = _log_count(fact[STAYS])
    moment[13] = _repeated(fact)


@lean
def _log_count(n: float) -> np.float32:
    scaled: np.float32 = np.log(np.float32(1) + np.float32(n))
    return scaled


@lean
def _repeated(fact: NDArray[np.int64]) -> np.float32:
    """The share of the running session's events that went back to an item of it."""
    if fact[LENGTH] == 0:
        return np.float32(0)
    share: np.float32 = np.float32(1) - np.float32(fact[DISTINCT]) / np.float32(fact[LENGTH])
    return share


@lean
def fill_features(
    tables: Tables, queries: Queries, q: int, scratch: Scratch, found: int, features: NDArray[np.float32]
) -> int:
    """Write the features of the `found` candidates in `scratch` to `features` (F, C), in the order of `FEATURES`.

    A feature of all candidates is one row, so that the arithmetic takes several candidates at a time. How many of them,
    from the first on, may have features of their own history or context (from `PERSONAL` on); of others these are 0.
    """
    marks, evidence = scratch.marks, scratch.evidence
    for at in range(found):
        of_candidate = evidence[marks[at, FOUND_AT]]
        for n in range(len(EVIDENCE)):
            features[n, at] = of_candidate[n]
    for n in range(SHARES):
        scale_log1p(features[n], found, SHARE_SCALE, LOG_SCALE)
    for n in range(SHARES, len(EVIDENCE)):
        scale_log1p(features[n], found, ONE, COUNT_SCALE)
    fill_popularity(tables, queries.facts[q, NOW_MS], marks[:found, ROW], features)
    for n in range(CONTEXT, len(FEATURES)):
        features[n, :found] = 0
    first, end = queries.starts[q, HISTORY], queries.starts[q + 1, HISTORY]
    personal = 0
    for at in range(found):
        if marks[at, CONTEXT_PLACE] >= 0 or marks[at, OWN] >= 0:
            personal = at + 1
        if marks[at, CONTEXT_PLACE] >= 0:
            _fill_habits(tables.returns.counts, queries.facts[q], marks[at], features[:, at])
        if marks[at, OWN] >= 0:
            own, now_ms = first + marks[at, OWN], queries.facts[q, NOW_MS]
            _fill_own(queries.counts[own], now_ms - queries.seen_ms[own], end - own, features[:, at])
    return min(whole(personal), found)


@lean
def _fill_habits(
    counts: NDArray[np.float64], fact: NDArray[np.int64], mark: NDArray[np.int32], x: NDArray[np.float32]
) -> None:
    """What speaks for going back to an item of the context."""
    place, row = mark[CONTEXT_PLACE], mark[ROW]
    x[CONTEXT] = 1
    x[CONTEXT + 1] = ONE / np.float32(place + 1)
    x[CONTEXT + 2] = place == 0
    x[CONTEXT + 3] = place == 1
    x[CONTEXT + 4] = _log_count(fact[LENGTH]) * LENGTH_SCALE
    x[HABIT] = return_rate(counts, row)
    x[HABIT + 1] = stay_rate(counts, row)
    x[HABIT + 2] = _repeated(fact)
    x[HABIT + 3] = _log_count(fact[IDLE_MS] * 1e-3) * PAUSE_SCALE
    if place == 0:
        for n in range(len(HABITS)):
            x[HABIT_LAST + n] = x[HABIT + n]


@lean
def _fill_own(count: int, idle_ms: int, rank: int, x: NDArray[np.float32]) -> None:
    """What speaks for going back to an item of the user's history, the latest but `rank` - 1."""
    x[OWN_AT] = 1
    x[OWN_AT + 1] = _log_count(count) * COUNT_SCALE
    x[OWN_AT + 2] = max(1 - _log_age(idle_ms), np.float32(0))
    x[OWN_AT + 3] = ONE / np.float32(rank)


@lean
def fill_popularity(tables: Tables, now_ms: int, rows: NDArray[np.int32], features: NDArray[np.float32]) -> None:
    """Write what is known of items whoever looks: the popularities, age, idle time and visits of `rows` (C,)."""
    found, memories, counts = len(rows), tables.popularity.memories, tables.returns.counts
    _fill_shares(tables.popularity, now_ms, rows, features, POPULAR)
    _fill_shares(tables.openings, now_ms, rows, features, OPENING)
    for at in range(found):
        row = rows[at]
        features[AGE, at] = max(now_ms - memories[row, FIRST_MS], 0.0) * 1e-3
        features[AGE + 1, at] = max(now_ms - memories[row, LAST_MS], 0.0) * 1e-3
        features[AGE + 2, at] = counts[row, VISITS]
    scale_log1p(features[AGE], found, ONE, AGE_SCALE)
    scale_log1p(features[AGE + 1], found, ONE, AGE_SCALE)
    scale_log1p(features[AGE + 2], found, ONE, VISITS_SCALE)


@compiled
def _fill_shares(
    popularity: Popularity, now_ms: int, rows: NDArray[np.int32], features: NDArray[np.float32], first: int
) -> None:
    """Write the shares of `rows` in all events, over each memory, to the six features from number `first` on."""
    found, memories, clock = len(rows), popularity.memories, popularity.clock
    ages_ms = np.empty(found, np.float32)
    totals = _totals(clock, now_ms)
    for at in range(found):
        memory = memories[rows[at]]
        ages_ms[at] = max(now_ms - memory[LAST_MS], 0.0)
        for n in range(len(WINDOWS)):
            features[first + n, at] = memory[IN_WINDOW + n] / min(max(clock[EVENTS], 1.0), WINDOWS[n])
        for n in range(len(HALF_LIVES_MS)):
            features[first + len(WINDOWS) + n, at] = memory[HOUR + n] / totals[n]
    for n in range(len(HALF_LIVES_MS)):
        share = features[first + len(WINDOWS) + n]
        scale_exp2(share, ages_ms, found, 1 / HALF_LIVES_MS[n])
        for at in range(found):
            share[at] = min(share[at], ONE)
    for n in range(len(POPULARITIES)):
        scale_log1p(features[first + n], found, SHARE_SCALE, LOG_SCALE)


@lean
def _totals(clock: NDArray[np.float64], now_ms: int) -> tuple[float, float, float]:
    """Decayed counts of all items together at `now_ms`; none is higher before its latest event."""
    hour, day, week = decay(max(now_ms - clock[LATEST_MS], 0.0))
    return max(clock[ALL_HOUR] * hour, 1e-9), max(clock[ALL_DAY] * day, 1e-9), max(clock[ALL_WEEK] * week, 1e-9)
