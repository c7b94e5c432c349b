"""Features of candidates: bounded or logarithmic numbers, the same for every partition and every data set."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from freshflow.items.knowledge import Chunk
from freshflow.ranking.candidates import EVIDENCE, Candidates
from freshflow.ranking.queries import Query

__all__ = ["FEATURES", "SOURCES", "compute"]

POPULARITIES = ("last_200", "last_2000", "hour", "day", "week")
RANKED = ("together_sum", "forward_last", "cosine", "last_200", "day")
LENGTHS = ("1", "2", "3+")  # length of the running session; at its start the other model answers
BY_LENGTH = ("rank_together_sum", "rank_last_200", "forward_last", "own_rank", "in_context")

FEATURES: tuple[str, ...] = (
    *EVIDENCE,
    *POPULARITIES,
    *(f"rank_{name}" for name in RANKED),
    "age",
    "idle",
    "in_context",
    "context_place",
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
    if name.startswith(("own", "in_context", "context"))
    else "popular"
    for name in FEATURES
}

SHARE_SCALE = 100.0  # a share of a hundredth is half way up the logarithmic scale
HOUR_MS = 3_600_000.0

Matrix = NDArray[np.float32]


def compute(chunk: Chunk, queries: Sequence[Query], candidates: Candidates) -> NDArray[np.float32]:
    """The features of all candidates (F, Q, C), in the order of `FEATURES`; zero where there is no candidate."""
    values: dict[str, Matrix] = {name: log_share(candidates.evidence[name]) for name in EVIDENCE}
    values |= _popularity(chunk, queries, candidates)
    values |= {f"rank_{name}": reciprocal_rank(values[name]) for name in RANKED}
    values |= _own(queries, candidates)
    values |= _by_length(queries, values)
    features = np.stack([values[name] for name in FEATURES]).astype(np.float32, copy=False)
    features[:, ~candidates.real] = 0
    return features


def log_share(share: Matrix) -> Matrix:
    """log(1 + 100 s) / log(101): 0 at 0, 1 at 1, steep where shares are small."""
    return np.log1p(SHARE_SCALE * share) / np.float32(np.log1p(SHARE_SCALE))


def log_age(age_ms: NDArray[np.int64]) -> Matrix:
    """log(1 + hours) / 10: 0 now, .14 after three hours, .5 after a week, 1 after two and a half years."""
    return (np.log1p(age_ms / HOUR_MS) / 10).astype(np.float32)


def reciprocal_rank(values: Matrix) -> Matrix:
    """1 / rank within each row (Q, C) by falling value, ties by place; 0 for values of 0."""
    order = np.argsort(-values, axis=1, kind="stable")
    ranks = np.empty_like(values)
    np.put_along_axis(ranks, order, 1 / np.arange(1, values.shape[1] + 1, dtype=np.float32)[None, :], axis=1)
    return np.where(values > 0, ranks, 0)


def _popularity(chunk: Chunk, queries: Sequence[Query], candidates: Candidates) -> dict[str, Matrix]:
    rows, popularity = candidates.rows, chunk.popularity
    now_ms = np.array([query.now_ms for query in queries])[:, None]
    position = np.array([query.position for query in queries])[:, None]
    sizes = np.maximum(popularity.window_sizes(position), 1)
    windows = popularity.in_window(rows, position) / sizes
    total = np.maximum(popularity.total(position, now_ms), 1e-9)
    decayed = np.minimum(popularity.decayed(rows, position, now_ms) / total, 1)
    named = {name: log_share(windows[n]) for n, name in enumerate(POPULARITIES[:2])}
    named |= {name: log_share(decayed[..., n]) for n, name in enumerate(POPULARITIES[2:])}
    named["age"] = log_age(np.maximum(now_ms - popularity.first_ms(rows, position), 0))
    named["idle"] = log_age(np.maximum(now_ms - popularity.last_ms(rows, position), 0))
    return named


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
    length = np.array([min(len(query.context.items), 3) for query in queries])[:, None]
    return {
        f"{name}_at_{label}": values[name] * (length == n).astype(np.float32)
        for name in BY_LENGTH
        for n, label in enumerate(LENGTHS, start=1)
    }
