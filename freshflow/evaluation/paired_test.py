"""Two configurations over the same file: both answer for every event, so their difference is taken event by event.

That is a far sharper comparison than one of users split in two, as most of what makes events easy or hard to predict is
the same for both. The interval is that of `freshflow.metrics.ab_test` with X_g what the second found more than the
first for the users of a group.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.evaluation.scores import Scores
from freshflow.metrics.ab_test import N_USER_GROUPS, Difference, paired_difference, sums_from_table
from freshflow.metrics.ranking_metrics import CUTOFF, NOT_COUNTED, NOT_RANKED, MetricValues

__all__ = ["COMPARED_KINDS", "PairedComparison", "compare_paired", "encode_paired_comparison"]

COMPARED_KINDS = ("all", "new", "published")
PAIRED_METRICS = ("hr20", "mrr20")


class PairedComparison(msgspec.Struct, frozen=True):
    """By kind of event: the figures of each variant by name, and by figure how much more the second has."""

    variants: dict[str, dict[str, MetricValues]]
    difference: dict[str, dict[str, Difference]]


def compare_paired(scores: Mapping[str, Scores]) -> PairedComparison:
    """What two evaluations of the same events, by name of the variant, say of the second against the first."""
    first, second = scores.values()
    return PairedComparison(
        {
            name: {kind: variant_scores.metric_values(kind) for kind in COMPARED_KINDS}
            for name, variant_scores in scores.items()
        },
        {kind: _metric_deltas(first, second, kind) for kind in COMPARED_KINDS},
    )


def encode_paired_comparison(comparison: PairedComparison) -> bytes:
    """The comparison as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(comparison)) + b"\n"


def _metric_deltas(first: Scores, second: Scores, kind: str) -> dict[str, Difference]:
    ranks = [np.frombuffer(scores.ranks[kind], np.uint8) for scores in (first, second)]
    is_counted = ranks[0] != NOT_COUNTED
    (first_hits, first_reciprocal), (second_hits, second_reciprocal) = (
        _hits_and_reciprocal_ranks(kind_ranks[is_counted]) for kind_ranks in ranks
    )
    table = np.zeros((N_USER_GROUPS, 1 + len(PAIRED_METRICS)))
    columns = [np.ones(len(first_hits)), second_hits - first_hits, second_reciprocal - first_reciprocal]
    np.add.at(table, np.frombuffer(first.user_groups, np.uint16)[is_counted], np.array(columns).T)
    sums = sums_from_table(table, PAIRED_METRICS)
    return {metric: paired_difference(sums, metric) for metric in PAIRED_METRICS}


def _hits_and_reciprocal_ranks(ranks: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    hits = (ranks != NOT_RANKED) & (ranks <= CUTOFF)
    return hits.astype(np.float64), np.where(hits, 1 / np.maximum(ranks, 1), 0.0)
