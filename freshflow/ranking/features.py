"""Features of candidates: bounded or logarithmic numbers, the same for every partition and every data set.

Beside the features of a candidate stand those of the *moment*, which are the same for all candidates of a query: they
order nothing by themselves, but say to the hidden units (`freshflow.ranking.units`) which evidence counts when.
"""

import numpy as np
from numpy.typing import NDArray

from freshflow.compiled import compiled, inlined
from freshflow.items.covisits import TOGETHER
from freshflow.items.fold import Tables
from freshflow.items.popularity import (
    ALL_DAY,
    ALL_HOUR,
    ALL_WEEK,
    DAY,
    EVENTS,
    FIRST_MS,
    HOUR,
    IN_WINDOW,
    LAST_MS,
    WEEK,
    WINDOWS,
    decay,
)
from freshflow.items.popularity import NOW_MS as LATEST_MS
from freshflow.items.returns import VISITS, return_rate, stay_rate
from freshflow.ranking.candidates import EVIDENCE, OWN, ROW, TOGETHER_SUM, TWO_STEPS, Scratch
from freshflow.ranking.candidates import PLACE as CONTEXT_PLACE
from freshflow.ranking.queries import COUNT, DISTINCT, HISTORY, IDLE_MS, LENGTH, NOW_MS, PLACE, SEEN_MS, STAYS, Queries

__all__ = ["FEATURES", "IMPERSONAL", "LAST_200", "MOMENT", "SOURCES", "fill_features", "fill_moment", "fill_popularity"]

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
HABIT_LAST, OWN_AT = FEATURES.index("return_rate_last"), FEATURES.index("own")

SHARE_SCALE = np.float32(100)  # a share of a hundredth is .15 up the logarithmic scale, one of a tenth .52
LOG_SCALE = np.float32(1 / np.log(101))
AGE_SCALE = np.float32(1 / 18)  # logarithm of seconds: a minute is .23, an hour .46, a week .74, two and a half years 1
COUNT_SCALE, VISITS_SCALE, PAUSE_SCALE = np.float32(1 / 5), np.float32(1 / 8), np.float32(1 / 8)
LENGTH_SCALE = np.float32(1 / 3)


@compiled
def _log_share(share: float) -> np.float32:
    """log(1 + 100 s) / log(101): 0 at 0, 1 at 1, steep where shares are small."""
    scaled: np.float32 = np.log(np.float32(1) + SHARE_SCALE * np.float32(share)) * LOG_SCALE
    return scaled


@compiled
def _log_age(age_ms: float) -> np.float32:
    """log(1 + seconds) / 18; 0 for what lies ahead."""
    scaled: np.float32 = np.log(np.float32(1) + np.float32(max(age_ms, 0) * 1e-3)) * AGE_SCALE
    return scaled


@compiled
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


@compiled
def _log_count(n: float) -> np.float32:
    scaled: np.float32 = np.log(np.float32(1) + np.float32(n))
    return scaled


@compiled
def _repeated(fact: NDArray[np.int64]) -> np.float32:
    """The share of the running session's events that went back to an item of it."""
    if fact[LENGTH] == 0:
        return np.float32(0)
    share: np.float32 = np.float32(1) - np.float32(fact[DISTINCT]) / np.float32(fact[LENGTH])
    return share


@compiled
def fill_features(
    tables: Tables, queries: Queries, q: int, scratch: Scratch, found: int, features: NDArray[np.float32]
) -> None:
    """Write the features of the `found` candidates in `scratch` to `features` (C, F), in the order of `FEATURES`."""
    fact, counts = queries.facts[q], tables.returns.counts
    now_ms = fact[NOW_MS]
    by_length, pause = _log_count(fact[LENGTH]) * LENGTH_SCALE, _log_count(fact[IDLE_MS] * 1e-3) * PAUSE_SCALE
    history = queries.history[queries.starts[q, HISTORY] : queries.starts[q + 1, HISTORY]]
    features[:found] = 0
    fill_popularity(tables, now_ms, scratch.marks[:found, ROW], features)
    for at in range(found):
        row, x, evidence = scratch.marks[at, ROW], features[at], scratch.evidence[at]
        if evidence[TOGETHER_SUM] > 0 or evidence[TWO_STEPS] > 0:
            for n in range(SHARES):
                if evidence[n] > 0:
                    x[n] = _log_share(evidence[n])
            for n in range(SHARES, SHARES + 2):
                x[n] = _log_count(evidence[n]) * COUNT_SCALE
        place, own = scratch.marks[at, CONTEXT_PLACE], scratch.marks[at, OWN]
        if place >= 0:
            x[CONTEXT] = 1
            x[CONTEXT + 1] = np.float32(1) / (place + 1)
            x[CONTEXT + 2] = place == 0
            x[CONTEXT + 3] = place == 1
            x[CONTEXT + 4] = by_length
            x[HABIT] = return_rate(counts, row)
            x[HABIT + 1] = stay_rate(counts, row)
            x[HABIT + 2] = _repeated(fact)
            x[HABIT + 3] = pause
            if place == 0:
                for n in range(4):
                    x[HABIT_LAST + n] = x[HABIT + n]
        if own >= 0:
            x[OWN_AT] = 1
            x[OWN_AT + 1] = _log_count(history[own, COUNT]) * COUNT_SCALE
            x[OWN_AT + 2] = max(1 - _log_age(now_ms - history[own, SEEN_MS]), np.float32(0))
            x[OWN_AT + 3] = np.float32(1) / (len(history) - own)


@compiled
def fill_popularity(tables: Tables, now_ms: int, rows: NDArray[np.int32], features: NDArray[np.float32]) -> None:
    """Write what is known of items whoever looks: the popularities, age, idle time and visits of `rows` (C,)."""
    memories, opening_memories = tables.popularity.memories, tables.openings.memories
    totals, opening_totals = _totals(tables.popularity.clock, now_ms), _totals(tables.openings.clock, now_ms)
    for at in range(len(rows)):
        row, x = rows[at], features[at]
        _popularity(memories[row], now_ms, totals, x[POPULAR : POPULAR + 6])
        _popularity(opening_memories[row], now_ms, opening_totals, x[OPENING : OPENING + 6])
        x[AGE] = _log_age(now_ms - memories[row, FIRST_MS])
        x[AGE + 1] = _log_age(now_ms - memories[row, LAST_MS])
        x[AGE + 2] = _log_count(tables.returns.counts[row, VISITS]) * VISITS_SCALE


@compiled
def _totals(clock: NDArray[np.float64], now_ms: int) -> tuple[float, float, float, float]:
    """Events so far and decayed counts of all items together at `now_ms`; none is higher before its latest event."""
    hour, day, week = decay(max(now_ms - clock[LATEST_MS], 0.0))
    all_hour, all_day, all_week = clock[ALL_HOUR] * hour, clock[ALL_DAY] * day, clock[ALL_WEEK] * week
    return clock[EVENTS], max(all_hour, 1e-9), max(all_day, 1e-9), max(all_week, 1e-9)


@inlined
def _popularity(
    memory: NDArray[np.float64], now_ms: int, totals: tuple[float, float, float, float], x: NDArray[np.float32]
) -> None:
    """The shares of an item in all events, over each memory."""
    if memory[WEEK] == 0:
        return
    for n in range(3):
        if memory[IN_WINDOW + n] > 0:
            x[n] = _log_share(memory[IN_WINDOW + n] / min(totals[0], WINDOWS[n]))
    hour, day, week = decay(max(now_ms - memory[LAST_MS], 0.0))
    x[3] = _log_share(min(memory[HOUR] * hour / totals[1], 1.0))
    x[4] = _log_share(min(memory[DAY] * day / totals[2], 1.0))
    x[5] = _log_share(min(memory[WEEK] * week / totals[3], 1.0))
