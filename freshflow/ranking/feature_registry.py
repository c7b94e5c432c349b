"""Registry of additional features of the ranker: functions in Python over the best candidates of one query.

The features of the first stage are computed and scored in one compiled loop, which calls no Python. Registered features
belong to the second stage: the model of `ranker.model` then re-ranks a shortlist of `ranker.shortlist` candidates with
the features of the first stage and the registered ones (`freshflow.ranking.reranker`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.items.statistics import ItemStatistics
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES
from freshflow.ranking.features_content import CONTENT_FEATURES
from freshflow.ranking.query import Query


class FeatureInputs(NamedTuple):
    """A query, N of its candidates by item row (N,), and the statistics and catalogue of all items."""

    query: Query
    rows: NDArray[np.int32]
    item_statistics: ItemStatistics

    @property
    def item_ids(self) -> list[str]:
        """Ids of the candidates."""
        ids = self.item_statistics.index.ids
        return [ids[row] for row in self.rows.tolist()]


FeatureFunction = Callable[[FeatureInputs], NDArray[np.float64]]

_functions: dict[str, FeatureFunction] = {}


def register_feature(name: str) -> Callable[[FeatureFunction], FeatureFunction]:
    """Register a function that returns the values (N,) of a feature for N candidates.

    The function must be pure: the same inputs give the same values, or a resumed job differs from an uninterrupted one.

    Raises:
        ValueError: Another feature has this name.
    """

    def register(function: FeatureFunction) -> FeatureFunction:
        is_taken = name in _functions and _functions[name].__qualname__ != function.__qualname__
        if is_taken or name in (*FEATURES, *CONTENT_FEATURES, *CONTEXT_FEATURES):
            raise ValueError(f"there is another feature named {name!r}; choose another name")
        _functions[name] = function
        return function

    return register


def registered_features() -> dict[str, FeatureFunction]:
    """Return the registered features by name."""
    return dict(_functions)
