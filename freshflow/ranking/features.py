"""Features of candidates: bounded or logarithmic numbers, the same for every partition and every data set."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow.items.knowledge import Chunk, ItemKnowledge
from freshflow.items.popularity import PopularityAt
from freshflow.ranking.candidates import EVIDENCE, Candidates
from freshflow.ranking.queries import Query

__all__ = ["FEATURES", "SOURCES", "compute"]

POPULARITIES = ("last_200", "last_2000", "hour", "day", "week")
OPENINGS = tuple(f"opening_{name}" for name in POPULARITIES)
# What speaks for or against going back to an item of the context, and for the last of them once more.
HABITS = ("return_rate", "habit", "pause")
RANKED = ("together_sum", "forward_last", "cosine", "last_200", "day")
LENGTHS = ("1", "2", "3+")  # length of the running session; at its start the other model answers
BY_LENGTH = ("rank_together_sum", "rank_last_200", "forward_last", "own_rank", "in_context")

FEATURES: tuple[str, ...] = (
    *EVIDENCE,
    *POPULARITIES,
    *OPENINGS,
    *(f"rank_{name}" for name in RANKED),
    "age",
    "idle",
    "in_context",
    "context_place",
    "context_last",
    "context_second",
    "context_by_length",
    *HABITS,
    *(f"{name}_last" for name in HABITS),
    "own",
    "own_count",
    "own_recency",
    "own_rank",
    *(f"{name}_at_{length}" for name in BY_LENGTH for length in LENGTHS),
)

# Which source a feature speaks for: what a list's `reason` is drawn from.
SOURCES: dict[str, str] = {
    name: "together"
    if name.removeprefix("rank_").startswith(("forward", "together", "cosine"))
    else "again"
    if name.startswith(("own", "in_context", "context", *HABITS))
    else "popular"
    for name in FEATURES
}

SHARE_SCALE = np.float32(100)  # a share of a hundredth is .15 up the logarithmic scale, one of a tenth .52
LOG_SCALE = 1 / np.log(1 + SHARE_SCALE)
HOUR_MS = np.float32(3_600_000)
PLACE_BITS = 16

Matrix = NDArray[np.float32]


def compute(
    knowledge: ItemKnowledge, chunk: Chunk, queries: Sequence[Query], candidates: Candidates
) -> NDArray[np.float32]:
    """The features of all candidates (F, Q, C), in the order of `FEATURES`; zero where there is no candidate."""
    values: dict[str, Matrix] = {name: log_share(candidates.evidence[name]) for name in EVIDENCE}
    values |= _popularity(chunk, queries, candidates)
    values |= _openings(chunk, queries, candidates)
    values |= {f"rank_{name}": reciprocal_rank(values[name]) for name in RANKED}
    values |= _own(queries, candidates)
    values |= _habits(knowledge, queries, candidates)
    values |= _by_length(queries, values)
    features = np.empty((len(FEATURES), *candidates.rows.shape), np.float32)
    real = candidates.real
    for n, name in enumerate(FEATURES):
        np.multiply(values[name], real, out=features[n])
    return features


def log_share(share: Matrix) -> Matrix:
    """log(1 + 100 s) / log(101): 0 at 0, 1 at 1, steep where shares are small."""
    scaled: Matrix = np.log(1 + SHARE_SCALE * share.astype(np.float32, copy=False)) * LOG_SCALE
    return scaled


def log_age(age_ms: NDArray[np.int64]) -> Matrix:
    """log(1 + hours) / 10: 0 now, .14 after three hours, .5 after a week, 1 after two and a half years."""
    scaled: Matrix = np.log(1 + age_ms.astype(np.float32) / HOUR_MS) / np.float32(10)
    return scaled


def reciprocal_rank(values: Matrix) -> Matrix:
    """1 / rank within each row (Q, C) by falling value, ties by place; 0 for values of 0. Values are not negative."""
    width = values.shape[1]
    # Bits of floats that are not negative sort as the floats do; with the place behind them the order is total.
    key = (values.view(np.int32).astype(np.int64) << PLACE_BITS) | np.arange(width - 1, -1, -1)
    key.sort(axis=1)
    place = width - 1 - (key & ((1 << PLACE_BITS) - 1))
    ranks = np.empty_like(values)
    np.put_along_axis(ranks, place, 1 / np.arange(width, 0, -1, dtype=np.float32)[None, :], axis=1)
    return np.where(values > 0, ranks, np.float32(0))


def _popularity(chunk: Chunk, queries: Sequence[Query], candidates: Candidates) -> dict[str, Matrix]:
    rows, popularity = candidates.rows, chunk.popularity
    now_ms, position = _moments(queries)
    named = dict(zip(POPULARITIES, _shares(popularity, rows, position, now_ms), strict=True))
    named["age"] = log_age(np.maximum(now_ms - popularity.first_ms(rows, position), 0))
    named["idle"] = log_age(np.maximum(now_ms - popularity.last_ms(rows, position), 0))
    return named


def _openings(chunk: Chunk, queries: Sequence[Query], candidates: Candidates) -> dict[str, Matrix]:
    now_ms, position = _moments(queries)
    position = chunk.openings_before(position)
    return dict(zip(OPENINGS, _shares(chunk.openings, candidates.rows, position, now_ms), strict=True))


def _moments(queries: Sequence[Query]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Event time and position of each query (Q, 1)."""
    now_ms = np.array([query.now_ms for query in queries], np.int64)[:, None]
    return now_ms, np.array([query.position for query in queries], np.int64)[:, None]


def _shares(
    popularity: PopularityAt, rows: NDArray[np.int64], position: NDArray[np.int64], now_ms: NDArray[np.int64]
) -> list[Matrix]:
    """The five shares of `rows` (Q, C) in all visits, in the order of `POPULARITIES`, each (Q, C)."""
    windows = popularity.in_window(rows, position) / np.maximum(popularity.window_sizes(position), 1)
    total = np.maximum(popularity.total(position, now_ms), 1e-9)
    decayed = np.minimum(popularity.decayed(rows, position, now_ms) / total, 1)
    return [log_share(share) for share in (*windows, *np.moveaxis(decayed, -1, 0))]


def _habits(knowledge: ItemKnowledge, queries: Sequence[Query], candidates: Candidates) -> dict[str, Matrix]:
    """How likely the user goes back to what is in the context: by the item, by the session so far, by the pause."""
    in_context, last = candidates.place >= 0, candidates.place == 0
    factors = {
        "return_rate": knowledge.returns.rate(candidates.rows),
        "habit": np.array([_repeated(query) for query in queries])[:, None],
        "pause": np.log1p(np.array([query.context.idle_ms for query in queries]) / 1000)[:, None] / 8,
    }
    length = np.log1p(np.array([query.context.session_length for query in queries]))[:, None] / 3
    named = {name: (factor * in_context).astype(np.float32) for name, factor in factors.items()}
    named |= {f"{name}_last": (factor * last).astype(np.float32) for name, factor in factors.items()}
    return named | {
        "context_last": last.astype(np.float32),
        "context_second": (candidates.place == 1).astype(np.float32),
        "context_by_length": (length * in_context).astype(np.float32),
    }


def _repeated(query: Query) -> float:
    """The share of the running session's events that went back to an item of it."""
    length = query.context.session_length
    return max(0.0, 1 - len(query.user.session) / length) if length else 0.0


def _own(queries: Sequence[Query], candidates: Candidates) -> dict[str, Matrix]:
    """What the user's history and context say of the candidate itself."""
    own, place = candidates.own, candidates.place
    mine = own >= 0
    query, _ = np.nonzero(mine)
    lengths = np.array([len(query.user.items) for query in queries])
    starts = np.cumsum(lengths) - lengths
    seen_ms = np.array([ms for query in queries for ms in query.user.seen_ms], np.int64)
    counts = np.array([n for query in queries for n in query.user.counts], np.float32)
    now_ms = np.array([query.now_ms for query in queries])
    at = starts[query] + own[mine]
    blank = np.zeros(own.shape, np.float32)
    count, recency, rank = blank.copy(), blank.copy(), blank.copy()
    count[mine] = np.log1p(counts[at]) / 5
    recency[mine] = 1 - np.minimum(log_age(np.maximum(now_ms[query] - seen_ms[at], 0)), 1)
    rank[mine] = 1 / (lengths[query] - own[mine])
    return {
        "own": mine.astype(np.float32),
        "own_count": count,
        "own_recency": recency,
        "own_rank": rank,
        "in_context": (place >= 0).astype(np.float32),
        "context_place": np.where(place >= 0, 1 / (np.maximum(place, 0) + 1), 0).astype(np.float32),
    }


def _by_length(queries: Sequence[Query], values: dict[str, Matrix]) -> dict[str, Matrix]:
    """Copies of the strongest features, each alive only at one length of the session."""
    length = np.array([min(len(query.context.items), len(LENGTHS)) for query in queries])
    alive = [(length == n).astype(np.float32)[:, None] for n in range(1, len(LENGTHS) + 1)]
    return {f"{name}_at_{label}": values[name] * alive[n] for name in BY_LENGTH for n, label in enumerate(LENGTHS)}
