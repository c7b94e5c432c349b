"""Models that rank: factories that the configuration names as `package.module:function`.

Each returns an untrained River binary classifier; it is called once for each of a partition's two models. Logistic
regressions learn choices and score all candidates; they have no intercept, which would add the same to every score.
Any other classifier re-orders the best candidates of `adam` (freshflow.ranking.reranker).
"""

from freshflow._river import compose, linear_model, optim, preprocessing, trees
from freshflow.ranking.adam import Adam
from freshflow.ranking.choice_regression import ChoiceRegression
from freshflow.ranking.gaussian_splitter import GaussianSplitter

# From 0.001 to 0.005 hit rates differ by less than .002 (docs/decisions/0003-ranker.md).
ADAM_LEARNING_RATE = 0.003
SCALED_LEARNING_RATE = 0.001
SGD_LEARNING_RATE = 0.1


def adam() -> ChoiceRegression:
    """Return a logistic regression with Adam (Kingma and Ba, ICLR 2015): a step length per weight."""
    return ChoiceRegression(Adam(lr=ADAM_LEARNING_RATE))


def sgd() -> linear_model.LogisticRegression:
    """Return a logistic regression with plain SGD: w <- w + a (y - sigma(w . x)) x."""
    return linear_model.LogisticRegression(optimizer=optim.SGD(lr=SGD_LEARNING_RATE), intercept_lr=0.0)


def scaled() -> compose.Pipeline:
    """Return `adam` behind a scaler, which amplifies rare differences (freshflow.ranking.linear)."""
    return preprocessing.StandardScaler() | ChoiceRegression(Adam(lr=SCALED_LEARNING_RATE))


def tree() -> trees.HoeffdingTreeClassifier:
    """Return a Hoeffding tree (Domingos and Hulten, KDD 2000) of at most 16 leaves of about 40 kB each, a re-ranker.

    It splits only when the evidence is strong: an unreliable tree undoes the order of the first stage. A leaf predicts
    the share of its examples that were chosen; within a leaf the order of the first stage stays.
    """
    return trees.HoeffdingTreeClassifier(
        max_depth=4, grace_period=500, delta=1e-7, tau=0.01, leaf_prediction="mc", splitter=GaussianSplitter()
    )
