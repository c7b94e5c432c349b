"""What rules take and give: the ranked candidates of one query, the best first, more of them than will be shown."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.ranking.scoring import REASONS, STEP

__all__ = ["ADDED", "EXPLORE", "FRESH", "NOT_RANKED", "PINNED", "SHOWN_REASONS", "Ranked"]

# Reasons of items that are shown: those of the ranking (SEARCHED too), and those of items that rules have brought in.
SHOWN_REASONS = (*REASONS, "searched", "pinned", "fresh", "explore")
PINNED, FRESH, EXPLORE = (SHOWN_REASONS.index(name) for name in ("pinned", "fresh", "explore"))
# What rules add to scores, by the name of its contribution.
ADDED = ("boost", "price", "value")
NOT_RANKED = -1


class Ranked(NamedTuple):
    """N items in the order in which they would be shown.

    `rows` and `scores` (N,); `reasons` (N,), indices of `SHOWN_REASONS`; `sources` (N,), the row of the item behind the
    reason, or -1; `candidates` (N,), the number of the candidate in its answer, or `NOT_RANKED`; `added` (N, A), what
    rules added to the scores, see `ADDED`: the rest is what the ranker gave.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float64]
    reasons: NDArray[np.int32]
    sources: NDArray[np.int32]
    candidates: NDArray[np.int32]
    added: NDArray[np.float64]

    @classmethod
    def of_rows(cls, rows: Sequence[int], reason: int) -> "Ranked":
        """Items that were not ranked, on a list for this reason; nothing speaks for them, so their score is 0."""
        n = len(rows)
        nothing = np.full(n, NO_ROW, np.int32)
        return cls(
            rows=np.array(rows, np.int32),
            scores=np.zeros(n),
            reasons=np.full(n, reason, np.int32),
            sources=nothing,
            candidates=np.full(n, NOT_RANKED, np.int32),
            added=np.zeros((n, len(ADDED))),
        )

    @property
    def size(self) -> int:
        """How many items there are."""
        return len(self.rows)

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Ranked":
        """The items at these places, in this order."""
        columns: tuple[Any, ...] = tuple(self)
        return Ranked(*(column[places] for column in columns))

    def followed_by(self, others: "Ranked") -> "Ranked":
        """These items and then the others."""
        columns: zip[tuple[Any, Any]] = zip(self, others, strict=True)
        return Ranked(*map(np.concatenate, columns))

    def plus(self, name: str, amounts: NDArray[np.float64], ids: Sequence[str]) -> "Ranked":
        """With `amounts` (N,) added to the scores under this name, in the order of the new ones; ties by item id.

        Scores stay multiples of the ranker's step, so what is said to be added is exactly the difference.
        """
        scores = np.rint((self.scores + amounts) / STEP) * STEP
        added = self.added.copy()
        added[:, ADDED.index(name)] += scores - self.scores
        rows = self.rows.tolist()
        order = sorted(range(len(rows)), key=lambda n: (-scores[n], ids[rows[n]]))
        return self._replace(scores=scores, added=added).take(np.array(order, np.int64))
