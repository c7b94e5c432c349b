"""River's Adam with its arithmetic compiled: the same steps in a third of the time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import lean
from freshflow._river import VectorDict, optim

__all__ = ["Adam"]

# A moment below it is none. What falls by a tenth each time ends among numbers without a leading bit, for which
# processors take a hundred times as long, and stays there.
NEGLIGIBLE = 1e-30


class Adam(optim.Adam):  # type: ignore[misc]
    """Adam (Kingma and Ba, ICLR 2015), for weights in an array or by name, with g the gradient of the t-th step.

        m <- b1 m + (1 - b1) g
        v <- b2 v + (1 - b2) g^2
        w <- w - lr (1 - b2^t)^1/2 / (1 - b1^t) m / (v^1/2 + eps)

    where m and v of less than 1e-30 are taken as 0.

    >>> optimizer = Adam(lr=0.1)
    >>> optimizer.step(np.zeros(2), np.array([1.0, -5.0])).round(6).tolist()
    [-0.1, 0.1]
    """

    def __init__(self, lr: float, beta_1: float = 0.9, beta_2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(lr, beta_1, beta_2, eps)
        self.names: tuple[Any, ...] = ()
        self.m: Any = None
        self.v: Any = None

    def _step_with_vector(self, w: Any, g: Any) -> Any:
        if not isinstance(w, VectorDict):
            w -= self._step(g)
            return w
        names = tuple(g)
        if names == self.names:
            gradient = np.array(list(g.values()))
        else:
            gradient = self._with_new(g)
            names = self.names
        w.isub_scaled(VectorDict(dict(zip(names, self._step(gradient).tolist(), strict=True))), 1.0)
        return w

    def _with_new(self, g: Any) -> NDArray[np.float64]:
        """Make room for names not met before; the gradient (N,) by all of them, 0 where it names none."""
        new = tuple(name for name in g if name not in set(self.names))
        self.names += new
        if self.m is not None:
            self.m, self.v = (np.append(old, np.zeros(len(new))) for old in (self.m, self.v))
        return np.array([g.get(name, 0.0) for name in self.names])

    def _step(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """What the weights are to lose."""
        weights = np.zeros(gradient.shape, gradient.dtype)
        self._descend(weights, gradient[None])
        return -weights

    def steps(self, weights: NDArray[Any], gradients: NDArray[Any]) -> None:
        """Move `weights`, in place, by N gradients (N, ...), one after the other: the same as N calls of `step`."""
        self._descend(weights, gradients)
        self.n_iterations += len(gradients)

    def _descend(self, weights: NDArray[Any], gradients: NDArray[Any]) -> None:
        if self.m is None:
            self.m, self.v = (np.zeros(weights.shape, weights.dtype) for _ in range(2))
        times = self.n_iterations + 1 + np.arange(len(gradients))
        rates = self.learning_rate * (1 - self.beta_2**times) ** 0.5 / (1 - self.beta_1**times)
        flat = gradients.reshape(len(gradients), -1)
        _adam(weights.ravel(), flat, self.m.ravel(), self.v.ravel(), rates, self.beta_1, self.beta_2, self.eps)


@lean
def _adam(
    weights: NDArray[Any],
    gradients: NDArray[Any],
    m: NDArray[Any],
    v: NDArray[Any],
    rates: NDArray[np.float64],
    beta_1: float,
    beta_2: float,
    eps: float,
) -> None:
    number = weights.dtype.type
    b1, b2, new1, new2 = number(beta_1), number(beta_2), number(1 - beta_1), number(1 - beta_2)
    least = number(NEGLIGIBLE)
    for n in range(len(gradients)):
        rate = number(rates[n])
        for i in range(len(weights)):
            g = gradients[n, i]
            first, second = b1 * m[i] + new1 * g, b2 * v[i] + new2 * (g * g)
            m[i] = first if abs(first) > least else number(0)
            v[i] = second if second > least else number(0)
            weights[i] -= rate * m[i] / (np.sqrt(v[i]) + number(eps))
