"""Rules that change scores. The ranker is a model of choice, P(c) ~ exp(score(c)), so to let an item count f times as
much is to add log f to its score; and what is added is a contribution like that of a feature.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["of_price", "of_value"]

LEAST_SHARE = 1e-3  # of the usual value, that an item has at least: what is sold at a loss is not worth nothing


def of_price(prices: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """power * log(price / usual price) of items (N,); the usual one is their median. 0 where no price is known."""
    known = prices > 0
    amounts = np.zeros(len(prices))
    if known.any():
        amounts[known] = power * np.log(prices[known] / np.median(prices[known]))
    return amounts


def of_value(
    rates: NDArray[np.float64], usual_rates: NDArray[np.float64], margins: NDArray[np.float64],
    *, click: float, cart: float, purchase: float, margin: float,
) -> NDArray[np.float64]:  # fmt: skip
    """log(V / usual V) of items (N,), with what a visit of an item is worth as

        V = click + cart * P(cart | visit) + (purchase + margin * margin of the item) * P(purchase | visit)

    `rates` (N, 2) are the two probabilities, `usual_rates` (2,) those of all items together. The expected value of
    showing c is P(c) V(c), which orders items as score(c) + log V(c) does. Where no margin is known it is the mean of
    those that are.
    """
    known = ~np.isnan(margins)
    usual_margin = float(margins[known].mean()) if known.any() else 0.0
    earned = np.where(known, margins, usual_margin)
    values = click + cart * rates[:, 0] + (purchase + margin * earned) * rates[:, 1]
    usual = click + cart * usual_rates[0] + (purchase + margin * usual_margin) * usual_rates[1]
    usual = usual if usual > 0 else float(np.abs(values).max(initial=0.0)) or 1.0
    logarithms: NDArray[np.float64] = np.log(np.maximum(values / usual, LEAST_SHARE))
    return logarithms
