"""Paired comparison of two configurations over the same file, by the difference of their scores per event.

Pairing removes the variance between events, so the interval is much narrower than with users split in two. It is the
interval of `freshflow.metrics.ab_test`, with X_g the score of the second minus the first, summed over user group g.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.evaluation.scores import Scores
from freshflow.metrics.ab_test import N_USER_GROUPS, Difference, paired_difference, sums_from_table
from freshflow.metrics.ranking_metrics import CUTOFF, NOT_COUNTED, NOT_RANKED, MetricValues

COMPARED_KINDS = ("all", "new", "published")
PAIRED_METRICS = ("hr20", "mrr20")


class PairedComparison(msgspec.Struct, frozen=True):
    """Metrics of each variant by name and kind of event, and the second minus the first by kind and metric."""

    variants: dict[str, dict[str, MetricValues]]
    difference: dict[str, dict[str, Difference]]


def compare_paired(scores: Mapping[str, Scores]) -> PairedComparison:
    """Compare the scores of two variants, by name, over the same events."""
    first, second = scores.values()
    return PairedComparison(
        {
            name: {kind: variant_scores.metric_values(kind) for kind in COMPARED_KINDS}
            for name, variant_scores in scores.items()
        },
        {kind: _metric_deltas(first, second, kind) for kind in COMPARED_KINDS},
    )


def encode_paired_comparison(comparison: PairedComparison) -> bytes:
    """Encode the comparison as indented JSON."""
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
