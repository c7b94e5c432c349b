"""River models that rank: factories that the configuration names as `package.module:function`.

Each returns an untrained River binary classifier; it is called once for each of a partition's two models. Logistic
regressions learn choices and score all candidates; they have no intercept, which would add the same to every score.
Anything else re-orders the best that `adam` finds (freshflow.ranking.reranker).
"""

from typing import Any

from freshflow._river import compose, linear_model, optim, preprocessing, proba, trees
from freshflow.ranking.adam import Adam

__all__ = ["adam", "scaled", "sgd", "tree"]

# From 0.001 to 0.005 hit rates differ by less than .002 (docs/decisions/0003-ranker.md).
ADAM_LEARNING_RATE = 0.003
SCALED_LEARNING_RATE = 0.001
SGD_LEARNING_RATE = 0.1


def adam() -> linear_model.LogisticRegression:
    """Logistic regression with Adam (Kingma and Ba, ICLR 2015): a step length of its own for each weight."""
    return linear_model.LogisticRegression(optimizer=Adam(lr=ADAM_LEARNING_RATE), intercept_lr=0.0)


def sgd() -> linear_model.LogisticRegression:
    """Logistic regression with plain SGD: w <- w + a (y - sigma(w . x)) x."""
    return linear_model.LogisticRegression(optimizer=optim.SGD(lr=SGD_LEARNING_RATE), intercept_lr=0.0)


def scaled() -> compose.Pipeline:
    """`adam` behind a scaler, which gives rare differences a larger voice (freshflow.ranking.linear)."""
    regression = linear_model.LogisticRegression(optimizer=Adam(lr=SCALED_LEARNING_RATE), intercept_lr=0.0)
    return preprocessing.StandardScaler() | regression


def tree() -> trees.HoeffdingTreeClassifier:
    """A Hoeffding tree of at most 16 leaves (Domingos and Hulten, KDD 2000), some 40 kB each, over the shortlist.

    It splits only where it is sure: a tree that errs undoes what the first stage knows better. Its leaves give the
    share of what came in them; within a leaf the first stage's order stands.
    """
    return trees.HoeffdingTreeClassifier(
        max_depth=4, grace_period=500, delta=1e-7, tau=0.01, leaf_prediction="mc", splitter=UnseededGaussianSplitter()
    )


class UnseededGaussianSplitter(trees.splitter.GaussianSplitter):  # type: ignore[misc]
    """River's splitter by normal distributions, without the random generator that each of them carries to draw samples.

    Nobody draws any, and seeded by the operating system it makes snapshots of the same tree differ, at 2.5 kB each.
    """

    def update(self, att_val: float, target_val: Any, w: float) -> None:
        """Count a value of the feature for a class."""
        if target_val not in self._att_dist_per_class:
            gaussian = proba.Gaussian()
            gaussian._rng = None
            self._att_dist_per_class[target_val] = gaussian
            self._min_per_class[target_val] = self._max_per_class[target_val] = att_val
        super().update(att_val, target_val, w)
