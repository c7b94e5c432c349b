"""From answers to what is published: items with what speaks for them, by list."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.items.index import NO_ROW
from freshflow.outputs.records import ListItem
from freshflow.ranking.kernel import CANDIDATE, ITEM, LISTED, REASON, SOURCE, TIED, Answers
from freshflow.ranking.query import Query
from freshflow.ranking.scoring import Weights
from freshflow.ranking.tie_breaking import break_ties, explained
from freshflow.rules.candidate_list import ADDED, NOT_RANKED, SHOWN_REASONS, Ranked

__all__ = ["Listed", "explain", "items_of", "listed", "settle_ties"]


class Listed(NamedTuple):
    """Lists in arrays (N, K), of which the first `sizes` (N,) count; `sources` are rows of what is behind an item."""

    rows: NDArray[np.int32]
    scores: NDArray[np.float64]
    reasons: NDArray[np.int32]
    sources: NDArray[np.int32]
    sizes: NDArray[np.int32]

    def one(self, n: int) -> "Listed":
        """List number `n` alone."""
        some = slice(n, n + 1)
        return Listed(self.rows[some], self.scores[some], self.reasons[some], self.sources[some], self.sizes[some])


def settle_ties(asked: Sequence[int], answers: Answers, ids: list[str]) -> None:
    """Order the lists of queries number `asked` where scores alone do not; `ids` are item ids by row."""
    for q, tied in zip(asked, answers.facts[asked, TIED].tolist(), strict=True):
        if tied:
            break_ties(q, answers, ids)


def listed(asked: Sequence[int], lengths: Sequence[int], answers: Answers) -> Listed:
    """The lists of queries number `asked`, of at most `lengths` items."""
    longest = max(lengths, default=0)
    places = answers.places[asked, :longest]
    sizes = np.minimum(answers.facts[asked, LISTED], np.array(lengths, np.int32))
    scores = answers.listed_scores[asked, :longest]
    return Listed(places[..., ITEM], scores, places[..., REASON], places[..., SOURCE], sizes)


def items_of(several: Listed, ids: list[str]) -> list[list[ListItem]]:
    """The items of each list; `ids` are those of items by row."""
    rows, scores, reasons, sources, sizes = several
    within = np.arange(rows.shape[1]) < sizes[:, None]
    items = map(
        ListItem,
        map(ids.__getitem__, rows[within].tolist()),
        scores[within].tolist(),
        map(SHOWN_REASONS.__getitem__, reasons[within].tolist()),
        [() if source == NO_ROW else (ids[source],) for source in sources[within].tolist()],
    )
    return [list(islice(items, size)) for size in sizes.tolist()]


def explain(
    items: list[ListItem], query: Query, q: int, answers: Answers, weights: Weights, shown: Ranked | None = None
) -> list[ListItem]:
    """The first items of query number `q`, with what every feature, and every rule by which they are `shown`, adds to
    their scores.
    """
    parts: list[dict[str, float]] = []
    for place, candidate in enumerate(answers.places[q, : len(items), CANDIDATE].tolist()):
        if candidate == NOT_RANKED:
            parts.append({})  # whatever stood there before, and whatever rules added to that
            continue
        part = explained(q, candidate, answers, weights, query.model)
        if shown is not None:
            by_rules = zip(ADDED, shown.added[place].tolist(), strict=True)
            part |= {name: amount for name, amount in by_rules if amount}
        parts.append(part)
    return [structs.replace(item, contributions=part) for item, part in zip(items, parts, strict=True)]
