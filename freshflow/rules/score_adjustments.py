"""Rules that change scores. The ranker is a model of choice, P(c) ~ exp(score(c)), so to let an item count f times as
much is to add log f to its score; and what is added is a contribution like that of a feature.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["price_adjustments", "value_adjustments"]

MIN_VALUE_RATIO = 1e-3  # of the usual value, that an item has at least: what is sold at a loss is not worth nothing


def price_adjustments(prices: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """power * log(price / usual price) of items (N,); the usual one is their median. 0 where no price is known."""
    has_price = prices > 0
    adjustments = np.zeros(len(prices))
    if has_price.any():
        adjustments[has_price] = power * np.log(prices[has_price] / np.median(prices[has_price]))
    return adjustments


def value_adjustments(
    rates: NDArray[np.float64], mean_rates: NDArray[np.float64], margins: NDArray[np.float64],
    *, click: float, cart: float, purchase: float, margin: float,
) -> NDArray[np.float64]:  # fmt: skip
    """log(V / usual V) of items (N,), with what a visit of an item is worth as

        V = click + cart * P(cart | visit) + (purchase + margin * margin of the item) * P(purchase | visit)

    `rates` (N, 2) are the two probabilities, `mean_rates` (2,) those of all items together. The expected value of
    showing c is P(c) V(c), which orders items as score(c) + log V(c) does. Where no margin is known it is the mean of
    those that are.
    """
    has_margin = ~np.isnan(margins)
    mean_margin = float(margins[has_margin].mean()) if has_margin.any() else 0.0
    item_margins = np.where(has_margin, margins, mean_margin)
    item_values = click + cart * rates[:, 0] + (purchase + margin * item_margins) * rates[:, 1]
    mean_value = click + cart * mean_rates[0] + (purchase + margin * mean_margin) * mean_rates[1]
    mean_value = mean_value if mean_value > 0 else float(np.abs(item_values).max(initial=0.0)) or 1.0
    adjustments: NDArray[np.float64] = np.log(np.maximum(item_values / mean_value, MIN_VALUE_RATIO))
    return adjustments
