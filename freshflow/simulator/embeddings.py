"""Content vectors of simulated items, as a model of their texts and images could compute them."""

import numpy as np
from numpy.typing import NDArray

from freshflow.simulator.config import ShopConfig, create_rng

ITEM_WEIGHT, NEIGHBOUR_WEIGHT, NOISE_WEIGHT = 0.6, 0.6, 0.6  # relative to the category's vector, with weight 1


def build_embeddings(
    neighbours: NDArray[np.int64], leaf: NDArray[np.int64], config: ShopConfig
) -> NDArray[np.float32] | None:
    """Return a unit vector for each item, or None if `config.embeddings` is 0.

        e(i) = c(leaf of i) + 0.6 o(i) + 0.6 mean of o(j) over the neighbours j of i + 0.6 noise

    with random unit vectors c, o and noise. Items of a leaf category, which the same visitors like, are thus similar,
    and so are items viewed in sequence.

    Args:
        neighbours: Neighbours of each item, shape (items, N).
        leaf: Index of each item's leaf category, shape (items,).
        config: The configuration.

    Returns:
        Vectors (items, D).
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
