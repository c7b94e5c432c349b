"""Input and output of rules: the ranked candidates of one query, the best first, more of them than a list holds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.outputs.reasons import NOT_A_CANDIDATE, PUBLISHED_REASONS
from freshflow.ranking.scoring import SCORE_QUANTUM

PINNED, FRESH, EXPLORE = (PUBLISHED_REASONS.index(name) for name in ("pinned", "fresh", "explore"))
# Names of the rules that adjust scores, in the order in which they run; `freshflow.rules.registry` fills it.
ADJUSTMENTS: list[str] = []


class CandidateList(NamedTuple):
    """N items in the order of the list.

    Attributes:
        rows: Item rows (N,).
        scores: Scores (N,).
        reasons: Numbers of `PUBLISHED_REASONS` (N,).
        sources: Rows (N,) of the items behind the reasons, or -1.
        candidate_numbers: Numbers (N,) of the candidates in the ranking, or `NOT_A_CANDIDATE`.
        adjustments: Addends of rules to the scores (N, A), in the order of `ADJUSTMENTS`.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float64]
    reasons: NDArray[np.int32]
    sources: NDArray[np.int32]
    candidate_numbers: NDArray[np.int32]
    adjustments: NDArray[np.float64]

    @classmethod
    def from_rows(cls, rows: Sequence[int], reason: int) -> "CandidateList":
        """Return items that were not ranked, with this reason and a score of 0."""
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
        """Number of items."""
        return len(self.rows)

    def select(self, indices: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "CandidateList":
        """Return the items at these indices, in this order."""
        columns: tuple[Any, ...] = tuple(self)
        return CandidateList(*(column[indices] for column in columns))

    def concatenate(self, following_items: "CandidateList") -> "CandidateList":
        """Return these items followed by the others."""
        columns: zip[tuple[Any, Any]] = zip(self, following_items, strict=True)
        return CandidateList(*map(np.concatenate, columns))

    def with_adjustment(self, name: str, amounts: NDArray[np.float64], ids: Sequence[str]) -> "CandidateList":
        """Add to the scores, and sort by the new ones, descending, ties by item id.

        Scores stay multiples of `SCORE_QUANTUM`, so that the recorded adjustment is exactly the difference.

        Args:
            name: Name of the rule, one of `ADJUSTMENTS`.
            amounts: Addends (N,).
            ids: Item ids by row.

        Returns:
            The items in their new order.
        """
        scores = np.rint((self.scores + amounts) / SCORE_QUANTUM) * SCORE_QUANTUM
        adjustments = self.adjustments.copy()
        adjustments[:, ADJUSTMENTS.index(name)] += scores - self.scores
        rows = self.rows.tolist()
        order = sorted(range(len(rows)), key=lambda n: (-scores[n], ids[rows[n]]))
        return self._replace(scores=scores, adjustments=adjustments).select(np.array(order, np.int64))
