"""Vectors that say what items are like, as a model that reads their texts and looks at their pictures might."""

import numpy as np
from numpy.typing import NDArray

from freshflow.simulator.config import ShopConfig, create_rng

__all__ = ["build_embeddings"]

ITEM_WEIGHT, NEIGHBOUR_WEIGHT, NOISE_WEIGHT = 0.6, 0.6, 0.6  # beside what the leaf category is like, which counts 1


def build_embeddings(
    neighbours: NDArray[np.int64], leaf: NDArray[np.int64], config: ShopConfig
) -> NDArray[np.float32] | None:
    """Vectors (items, D) of length 1, or None where none are wanted.

        e(i) = c(leaf of i) + 0.6 o(i) + 0.6 mean of o(j) over the neighbours j of i + 0.6 noise,

    with c, o and the noise random vectors of length 1: items of a leaf, which the same visitors like, are alike, and so
    is what is looked at next.
    """
    if not config.embeddings:
        return None
    rng = create_rng(config, "embeddings")
    centres, item_vectors, noise = (
        _draw_directions(n, config.embeddings, rng) for n in (int(leaf.max()) + 1, *[len(leaf)] * 2)
    )
    vectors = centres[leaf] + ITEM_WEIGHT * item_vectors + NOISE_WEIGHT * noise
    for slot in range(neighbours.shape[1]):
        vectors += NEIGHBOUR_WEIGHT / neighbours.shape[1] * item_vectors[neighbours[:, slot]]
    return _normalize(vectors)


def _draw_directions(n_vectors: int, n_dimensions: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return _normalize(rng.standard_normal((n_vectors, n_dimensions), np.float32))


def _normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths
