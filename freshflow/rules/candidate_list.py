"""What rules take and give: the ranked candidates of one query, the best first, more of them than will be shown."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.outputs.reasons import NOT_A_CANDIDATE, PUBLISHED_REASONS
from freshflow.ranking.scoring import SCORE_QUANTUM

PINNED, FRESH, EXPLORE = (PUBLISHED_REASONS.index(name) for name in ("pinned", "fresh", "explore"))
# What rules add to scores, by the name of its contribution.
ADJUSTMENTS = ("boost", "price", "value")


class CandidateList(NamedTuple):
    """N items in the order in which they would be shown.

    `rows` and `scores` (N,); `reasons` (N,), indices of `PUBLISHED_REASONS`; `sources` (N,), the row of the item behind the
    reason, or -1; `candidate_numbers` (N,), the number of the candidate in its answer, or `NOT_A_CANDIDATE`; `adjustments` (N, A), what
    rules added to the scores, see `ADJUSTMENTS`: the rest is what the ranker gave.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float64]
    reasons: NDArray[np.int32]
    sources: NDArray[np.int32]
    candidate_numbers: NDArray[np.int32]
    adjustments: NDArray[np.float64]

    @classmethod
    def from_rows(cls, rows: Sequence[int], reason: int) -> "CandidateList":
        """Items that were not ranked, on a list for this reason; nothing speaks for them, so their score is 0."""
        n = len(rows)
        no_sources = np.full(n, NO_ROW, np.int32)
        return cls(
            rows=np.array(rows, np.int32),
            scores=np.zeros(n),
            reasons=np.full(n, reason, np.int32),
            sources=no_sources,
            candidate_numbers=np.full(n, NOT_A_CANDIDATE, np.int32),
            adjustments=np.zeros((n, len(ADJUSTMENTS))),
        )

    @property
    def size(self) -> int:
        """How many items there are."""
        return len(self.rows)

    def select(self, indices: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "CandidateList":
        """The items at these places, in this order."""
        columns: tuple[Any, ...] = tuple(self)
        return CandidateList(*(column[indices] for column in columns))

    def concatenate(self, following_items: "CandidateList") -> "CandidateList":
        """These items and then the others."""
        columns: zip[tuple[Any, Any]] = zip(self, following_items, strict=True)
        return CandidateList(*map(np.concatenate, columns))

    def with_adjustment(self, name: str, amounts: NDArray[np.float64], ids: Sequence[str]) -> "CandidateList":
        """With `amounts` (N,) added to the scores under this name, in the order of the new ones; ties by item id.

        Scores stay multiples of the ranker's step, so what is said to be added is exactly the difference.
        """
        scores = np.rint((self.scores + amounts) / SCORE_QUANTUM) * SCORE_QUANTUM
        adjustments = self.adjustments.copy()
        adjustments[:, ADJUSTMENTS.index(name)] += scores - self.scores
        rows = self.rows.tolist()
        order = sorted(range(len(rows)), key=lambda n: (-scores[n], ids[rows[n]]))
        return self._replace(scores=scores, adjustments=adjustments).select(np.array(order, np.int64))
