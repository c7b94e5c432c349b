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
from freshflow.metrics.ab_test import GROUPS, Difference, mean_difference, sums_of
from freshflow.metrics.prequential import CUTOFF
from freshflow.metrics.ranking_metrics import MISSED, NOT_COUNTED, Figures

__all__ = ["COMPARED", "Paired", "compare", "encode_paired"]

COMPARED = ("all", "new", "published")
FIGURES = ("hr20", "mrr20")


class Paired(msgspec.Struct, frozen=True):
    """By kind of event: the figures of each variant by name, and by figure how much more the second has."""

    variants: dict[str, dict[str, Figures]]
    difference: dict[str, dict[str, Difference]]


def compare(scores: Mapping[str, Scores]) -> Paired:
    """What two evaluations of the same events, by name of the variant, say of the second against the first."""
    first, second = scores.values()
    return Paired(
        {name: {kind: one.figures(kind) for kind in COMPARED} for name, one in scores.items()},
        {kind: _difference(first, second, kind) for kind in COMPARED},
    )


def encode_paired(paired: Paired) -> bytes:
    """The comparison as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(paired)) + b"\n"


def _difference(first: Scores, second: Scores, kind: str) -> dict[str, Difference]:
    ranks = [np.frombuffer(one.ranks[kind], np.uint8) for one in (first, second)]
    counted = ranks[0] != NOT_COUNTED
    (hits, reciprocal), (other_hits, other_reciprocal) = (_found(of[counted]) for of in ranks)
    table = np.zeros((GROUPS, 1 + len(FIGURES)))
    columns = [np.ones(len(hits)), other_hits - hits, other_reciprocal - reciprocal]
    np.add.at(table, np.frombuffer(first.groups, np.uint16)[counted], np.array(columns).T)
    sums = sums_of(table, FIGURES)
    return {figure: mean_difference(sums, figure) for figure in FIGURES}


def _found(ranks: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    hits = (ranks != MISSED) & (ranks <= CUTOFF)
    return hits.astype(np.float64), np.where(hits, 1 / np.maximum(ranks, 1), 0.0)
