"""Top-k: which candidates make the list, in a total order, and what speaks for each of them."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.ranking.candidates import Candidates
from freshflow.ranking.features import FEATURES, SOURCES
from freshflow.ranking.queries import Query

__all__ = ["REASONS", "Chosen", "choose", "rank_of"]

REASONS = ("together", "again", "popular")

# (sources, features): which source each feature speaks for.
BY_SOURCE = np.array([[SOURCES[name] == reason for name in FEATURES] for reason in REASONS], np.float64)


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """An item of a list: its row and score, the source that speaks most for it, and the item ids behind that.

    `contributions` (F,) add up to `score`.
    """

    item_id: str
    score: float
    reason: str
    because: tuple[str, ...]
    contributions: NDArray[np.float64]


def choose(
    query: Query,
    at: int,
    candidates: Candidates,
    features: NDArray[np.float32],
    scores: NDArray[np.float64],
    weights: NDArray[np.float64],
    ids: Sequence[str],
    k: int,
) -> list[Chosen]:
    """The best `k` of the candidates of query number `at`, by falling score, ties by item id.

    `features` (F, C), `scores` (C,) and `weights` (F,) are those of this query; `ids` are item ids by row.
    """
    rows = candidates.rows[at]
    if query.exclude_seen:
        scores = np.where(candidates.own[at] >= 0, -np.inf, scores)
    places = _best(scores, rows, ids, k)
    added = weights[:, None] * features[:, places]
    # The whole of the list's evidence at once; reasons are the source with the largest contribution.
    strongest = (BY_SOURCE @ added).argmax(axis=0).tolist()
    mine, behind = candidates.own[at, places].tolist(), candidates.because[at, places].tolist()
    chosen = []
    for n, place in enumerate(places):
        item_id = ids[rows[place]]
        reason, because = _reason(query, item_id, REASONS[strongest[n]], mine[n] >= 0, behind[n])
        chosen.append(Chosen(item_id, float(scores[place]), reason, because, added[:, n]))
    return chosen


def _best(scores: NDArray[np.float64], rows: NDArray[np.int64], ids: Sequence[str], k: int) -> list[int]:
    """Places of the best `k` by falling score, ties by id; places of minus infinity are no candidates."""
    if k < len(scores):
        floor = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero((scores >= floor) & np.isfinite(scores))
    else:
        places = np.flatnonzero(np.isfinite(scores))
    ordered = sorted(zip((-scores[places]).tolist(), [ids[row] for row in rows[places]], places.tolist(), strict=True))
    return [place for _, _, place in ordered[:k]]


def _reason(query: Query, item_id: str, strongest: str, mine: bool, behind: int) -> tuple[str, tuple[str, ...]]:
    """A reason that is true of this item: company it keeps, the user's own return to it, or being popular."""
    if strongest == "again" and mine:
        return "again", (item_id,)
    if strongest != "popular" and behind >= 0:
        return "together", (query.context.items[behind],)
    return "popular", ()


def rank_of(row: int, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> int | None:
    """The rank, from 1, of the candidate in `row` by falling score, ties by place; None if it is no candidate."""
    places = np.flatnonzero(rows == row)
    if not places.size:
        return None
    place = int(places[0])
    own = scores[place]
    return 1 + int((scores > own).sum()) + int((scores[:place] == own).sum())
