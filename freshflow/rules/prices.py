"""Rule `price`: the weight of an item depends on its price."""

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.registry import ListSelection, Rule, register_rule


@register_rule("price", order=21, is_on=lambda config: config.rules.price_power != 0, adjusts_scores=True)
class PriceRule(Rule):
    """Rule that multiplies the weight of an item by a power, `rules.price_power`, of its relative price."""

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Adjust scores by prices."""
        prices = self.inputs.item_attributes.prices[candidates.rows]
        adjustments = price_adjustments(prices, self.settings.price_power)
        return candidates.with_adjustment(self.name, adjustments, self.inputs.item_statistics.index.ids)


def price_adjustments(prices: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Return power * log(price / usual price) for items (N,), where the usual price is their median.

    Args:
        prices: Prices (N,); NaN where unknown, which gives 0.
        power: The exponent of the relative price.

    Returns:
        Addends to scores (N,).
    """
    has_price = prices > 0
    adjustments = np.zeros(len(prices))
    if has_price.any():
        adjustments[has_price] = power * np.log(prices[has_price] / np.median(prices[has_price]))
    return adjustments
