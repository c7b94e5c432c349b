"""River models that rank: factories that the configuration names as `package.module:function`.

Each returns an untrained linear River binary classifier; it is called once for each of a partition's two models. They
have no intercept: it would add the same to every candidate's score, and so say nothing about their order.
"""

from river import linear_model, optim

__all__ = ["adam", "sgd"]

# From 0.001 to 0.02 hit rates differ by less than .002 (docs/decisions/0003-ranker.md).
ADAM_RATE = 0.005
SGD_RATE = 0.1


def adam() -> linear_model.LogisticRegression:
    """Logistic regression with Adam (Kingma and Ba, ICLR 2015): a step length of its own for each weight."""
    return linear_model.LogisticRegression(optimizer=optim.Adam(lr=ADAM_RATE), intercept_lr=0.0)


def sgd() -> linear_model.LogisticRegression:
    """Logistic regression with plain SGD: w <- w + a (y - sigma(w . x)) x."""
    return linear_model.LogisticRegression(optimizer=optim.SGD(lr=SGD_RATE), intercept_lr=0.0)
