"""Ranking metrics from the rank of each event's item on its list.

With one relevant item per event, and its rank r from 1,

    HR@k = mean of [r <= k],    MRR@k = mean of [r <= k] / r,    NDCG@k = mean of [r <= k] / log2(1 + r).

A rank takes a byte, so that an evaluation can keep those of its whole stream: `NOT_RANKED` for an item beyond the first
`CUTOFF`, `NOT_COUNTED` for an event without a prediction.
"""

from collections.abc import Container, Iterable
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

CUTOFF = 20  # the k of HR@k and MRR@k
NOT_RANKED = 0
NOT_COUNTED = 255

Ranks = NDArray[np.uint8]


class MetricValues(msgspec.Struct, frozen=True):
    """Number of counted events, and the means over them; 0 without events."""

    events: int = 0
    hr10: float = 0.0
    hr20: float = 0.0
    mrr20: float = 0.0
    ndcg20: float = 0.0


def rank_in_list(item_id: str, items: Iterable[str], excluded: Container[str] = ()) -> int:
    """Return the rank of an item among the first `CUTOFF` of a list, or `NOT_RANKED`.

    Args:
        item_id: The item.
        items: The list.
        excluded: Items of the list to skip.

    >>> items = ["a", "b", "c"]
    >>> rank_in_list("c", items), rank_in_list("c", items, excluded={"a"}), rank_in_list("d", items)
    (3, 2, 0)
    """
    allowed_items = (item for item in items if item not in excluded)
    return next(
        (rank for rank, item in enumerate(islice(allowed_items, CUTOFF), start=1) if item == item_id), NOT_RANKED
    )


def compute_metrics(ranks: Ranks) -> MetricValues:
    """Return the metrics of `ranks` (N,).

    >>> compute_metrics(np.array([1, 3, NOT_RANKED, NOT_COUNTED], np.uint8))
    MetricValues(events=3, hr10=0.6666666666666666, hr20=0.6666666666666666, mrr20=0.4444444444444444, ndcg20=0.5)
    """
    counted_ranks = ranks[ranks != NOT_COUNTED]
    if not len(counted_ranks):
        return MetricValues()
    hits = counted_ranks[(counted_ranks != NOT_RANKED) & (counted_ranks <= CUTOFF)].astype(np.float64)
    return MetricValues(
        events=len(counted_ranks),
        hr10=int((hits <= 10).sum()) / len(counted_ranks),
        hr20=len(hits) / len(counted_ranks),
        mrr20=float((1 / hits).sum()) / len(counted_ranks),
        ndcg20=float((1 / np.log2(1 + hits)).sum()) / len(counted_ranks),
    )


def compute_metrics_by_part(ranks: Ranks, n_parts: int) -> list[MetricValues]:
    """Return the metrics of `n_parts` consecutive parts of almost equal length."""
    return [compute_metrics(part) for part in np.array_split(ranks, n_parts)]
