"""Pruning keeps the strongest candidates; its radix select is checked against a sort by numpy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.ranking.candidate_buffer import COVISIT_FEATURES, FORWARD_SUM, META_ROW, N_METADATA
from freshflow.ranking.candidate_pruning import _nth_largest, prune_candidates


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.integers(0, 2**31 - 1) | st.integers(0, 5), min_size=1, max_size=60), st.data())
def test_nth_largest_separates_as_a_sort_does(values, data):
    rank = data.draw(st.integers(1, len(values)))
    threshold = _nth_largest(np.array(values, np.int32), rank)
    expected = np.sort(values)[-rank]
    assert threshold <= expected
    reaching = sum(value >= threshold for value in values)
    assert reaching == rank or (threshold == expected and reaching > rank)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.floats(0, 4, width=16), min_size=2, max_size=50), st.data())
def test_pruning_keeps_the_strongest_in_order_of_discovery(strengths, data):
    n_candidates = len(strengths)
    max_candidates = data.draw(st.integers(1, n_candidates - 1))
    metadata = np.zeros((n_candidates, N_METADATA), np.int32)
    metadata[:, META_ROW] = np.arange(n_candidates)
    covisit_features = np.zeros((n_candidates, len(COVISIT_FEATURES) + 1), np.float32)
    covisit_features[:, FORWARD_SUM] = strengths
    n_kept = prune_candidates(metadata, covisit_features, n_candidates, max_candidates)
    strongest = np.argsort(-np.array(strengths, np.float32), kind="stable")[:max_candidates]
    assert metadata[:n_kept, META_ROW].tolist() == sorted(strongest.tolist())
