"""Vectors that say what items are like, as a model that reads their texts and looks at their pictures might."""

import numpy as np
from numpy.typing import NDArray

from freshflow.simulator.config import ShopConfig, generator

__all__ = ["embeddings"]

OWN, NEIGHBOURS, NOISE = 0.6, 0.6, 0.6  # beside what the leaf category is like, which counts 1


def embeddings(
    neighbours: NDArray[np.int64], leaf: NDArray[np.int64], config: ShopConfig
) -> NDArray[np.float32] | None:
    """Vectors (items, D) of length 1, or None where none are wanted.

        e(i) = c(leaf of i) + 0.6 o(i) + 0.6 mean of o(j) over the neighbours j of i + 0.6 noise,

    with c, o and the noise random vectors of length 1: items of a leaf, which the same visitors like, are alike, and so
    is what is looked at next.
    """
    if not config.embeddings:
        return None
    rng = generator(config, "embeddings")
    centres, own, noise = (_directions(n, config.embeddings, rng) for n in (int(leaf.max()) + 1, *[len(leaf)] * 2))
    drawn = centres[leaf] + OWN * own + NOISE * noise
    for slot in range(neighbours.shape[1]):
        drawn += NEIGHBOURS / neighbours.shape[1] * own[neighbours[:, slot]]
    return _of_length_1(drawn)


def _directions(count: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return _of_length_1(rng.standard_normal((count, width), np.float32))


def _of_length_1(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths
