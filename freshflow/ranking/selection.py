"""Top-k: which candidates make the list, in a total order, and what speaks for each of them."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.ranking.candidates import Candidates
from freshflow.ranking.features import FEATURES, SOURCES
from freshflow.ranking.queries import Query

__all__ = ["REASONS", "Chosen", "choose", "ranks_of"]

REASONS = ("together", "again", "popular")

# (reasons, features): which source each feature speaks for.
BY_SOURCE = np.array([[SOURCES[name] == reason for name in FEATURES] for reason in REASONS], np.float64)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """An item of a list: its id and score, the source that speaks most for it, and the item ids behind that.

    `contributions` (F,) add up to `score`.
    """

    item_id: str
    score: float
    reason: str
    because: tuple[str, ...]
    contributions: Floats


def choose(
    queries: Sequence[Query],
    candidates: Candidates,
    features: NDArray[np.float32],
    scores: Floats,
    weights: Floats,
    ids: Sequence[str],
    k: Sequence[int],
) -> list[list[Chosen]]:
    """For each query its best `k` candidates, by falling score, ties by item id.

    `features` (F, Q, C), `scores` (Q, C) and `weights` (Q, F) are those of `candidates`; `ids` are item ids by row.
    """
    unseen = np.array([query.exclude_seen for query in queries])[:, None] & (candidates.own >= 0)
    scores = np.where(unseen, -np.inf, scores)
    places = _best(scores, candidates.rows, ids, k)
    query = np.repeat(np.arange(len(queries)), [len(best) for best in places])
    place = np.array([one for best in places for one in best], np.int64)
    added = weights[query] * features[:, query, place].T  # (N, F), all lists end to end
    strongest = (added @ BY_SOURCE.T).argmax(axis=1).tolist()
    mine, behind = (candidates.own[query, place] >= 0).tolist(), candidates.because[query, place].tolist()
    score, row = scores[query, place].tolist(), candidates.rows[query, place].tolist()

    chosen: list[list[Chosen]] = [[] for _ in queries]
    for n, at in enumerate(query.tolist()):
        item_id = ids[row[n]]
        reason, because = _reason(queries[at], item_id, REASONS[strongest[n]], mine[n], behind[n])
        chosen[at].append(Chosen(item_id, score[n], reason, because, added[n]))
    return chosen


def _best(scores: Floats, rows: Ints, ids: Sequence[str], k: Sequence[int]) -> list[list[int]]:
    """For each query the places of its best `k`, by falling score, ties by id; minus infinity is no candidate."""
    wanted = min(max(k, default=0) + 1, scores.shape[1])  # one more, to see whether a tie crosses the cut
    top = np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted] if wanted else np.empty((len(k), 0), np.int64)
    at = np.arange(len(top))[:, None]
    order = np.argsort(-scores[at, top], axis=1, kind="stable")
    top = top[at, order]
    values = scores[at, top]
    found = np.isfinite(values).sum(axis=1).tolist()
    tied = (values[:, 1:] == values[:, :-1]) & np.isfinite(values[:, 1:])
    best = []
    for n, size in enumerate(k):
        if tied[n].any():
            best.append(_best_with_ties(scores[n], rows[n], ids, size))
        else:
            best.append(top[n, : min(size, found[n])].tolist())
    return best


def _best_with_ties(scores: Floats, rows: Ints, ids: Sequence[str], k: int) -> list[int]:
    places: list[int] = np.flatnonzero(np.isfinite(scores)).tolist()
    return sorted(places, key=lambda place: (-scores[place], ids[int(rows[place])]))[:k]


def _reason(query: Query, item_id: str, strongest: str, mine: bool, behind: int) -> tuple[str, tuple[str, ...]]:
    """A reason that is true of this item: company it keeps, the user's own return to it, or being popular."""
    if strongest == "again" and mine:
        return "again", (item_id,)
    if strongest != "popular" and behind >= 0:
        return "together", (query.context.items[behind],)
    return "popular", ()


def ranks_of(rows: Ints, candidates: Ints, scores: Floats) -> tuple[Ints, Ints]:
    """For each query the rank, from 1, of the item in `rows` (Q,) by falling score, and its place; 0 and -1 if absent.

    `candidates` (Q, C) are item rows, `scores` (Q, C) theirs; ties are broken by place.
    """
    if not candidates.shape[1]:
        return np.zeros(len(rows), np.int64), np.full(len(rows), -1)
    is_it = (candidates == rows[:, None]) & (rows >= 0)[:, None]
    place = is_it.argmax(axis=1)
    found = is_it.any(axis=1)
    own = scores[np.arange(len(rows)), place][:, None]
    earlier = np.arange(candidates.shape[1]) < place[:, None]
    rank = 1 + ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return np.where(found, rank, 0), np.where(found, place, -1)
