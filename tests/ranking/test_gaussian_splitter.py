"""The splitter of our trees: the splits of River's, without its random generators."""

import pickle

import numpy as np
import pytest
from river import tree as trees

from freshflow.ranking.gaussian_splitter import GaussianSplitter


def observed(splitter, n_values):
    random = np.random.default_rng(1)
    for n in range(n_values):
        splitter.update(float(random.normal(n % 2, 1.0)), n % 2 == 0, 1.0 + n % 3)
    return splitter


@pytest.mark.parametrize("n_values", [0, 1, 2, 3, 40, 400])
def test_best_split_equals_river_gaussian_splitter(n_values):
    criterion = trees.split_criterion.InfoGainSplitCriterion(min_branch_fraction=0.01)
    ours, rivers = (observed(made(), n_values) for made in (GaussianSplitter, trees.splitter.GaussianSplitter))
    before = {True: n_values / 2, False: n_values / 2}
    splits = [splitter.best_evaluated_split_suggestion(criterion, before, "x", True) for splitter in (ours, rivers)]
    assert splits[0].merit == splits[1].merit
    assert splits[0].split_info == splits[1].split_info
    assert splits[0].children_stats == splits[1].children_stats
    for value in (-1.0, 0.5, 3.0):
        assert ours.cond_proba(value, True) == pytest.approx(rivers.cond_proba(value, True))


def test_missing_values_are_ignored():
    splitter = GaussianSplitter()
    splitter.update(None, True, 1.0)
    assert not splitter.variances


def test_equal_splitters_pickle_to_equal_bytes():
    assert pickle.dumps(observed(GaussianSplitter(), 50)) == pickle.dumps(observed(GaussianSplitter(), 50))
