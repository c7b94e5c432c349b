"""Rule `value`: the weight of an item depends on the expected value of a visit, by `[business_value]`."""

import numpy as np
from msgspec.structs import asdict
from numpy.typing import NDArray

from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.registry import ListSelection, Rule, register_rule

MIN_VALUE_RATIO = 1e-3  # minimum of value / usual value: an item sold at a loss keeps a positive weight


@register_rule("value", order=22, is_on=lambda config: config.business_value.is_enabled, adjusts_scores=True)
class BusinessValueRule(Rule):
    """Rule that orders items by P(visit) times the expected value of the visit."""

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Adjust scores by expected values."""
        inputs, rows = self.inputs, candidates.rows
        adjustments = value_adjustments(
            inputs.conversion_rates.rates(rows, selection.query.now_ms),
            inputs.conversion_rates.mean_rates(),
            inputs.item_attributes.margins[rows],
            **asdict(inputs.config.business_value),
        )
        return candidates.with_adjustment(self.name, adjustments, inputs.item_statistics.index.ids)


def value_adjustments(
    rates: NDArray[np.float64], mean_rates: NDArray[np.float64], margins: NDArray[np.float64],
    *, click: float, cart: float, purchase: float, margin: float,
) -> NDArray[np.float64]:  # fmt: skip
    """Return log(V / usual V) of items (N,).

    The value of a visit to an item is

        V = click + cart * P(cart | visit) + (purchase + margin * margin of the item) * P(purchase | visit)

    The expected value of showing c is P(c) V(c), which orders items as score(c) + log V(c) does.

    Args:
        rates: Rates of carts and purchases per visit (N, 2).
        mean_rates: The same over all items (2,).
        margins: Margins of items (N,); NaN, where unknown, stands for the mean of the known ones.
        click: Value of the visit itself.
        cart: Additional value of a cart.
        purchase: Additional value of a purchase.
        margin: Additional value of a purchase per unit of margin.

    Returns:
        Addends to scores (N,).
    """
    has_margin = ~np.isnan(margins)
    mean_margin = float(margins[has_margin].mean()) if has_margin.any() else 0.0
    item_margins = np.where(has_margin, margins, mean_margin)
    item_values = click + cart * rates[:, 0] + (purchase + margin * item_margins) * rates[:, 1]
    mean_value = click + cart * mean_rates[0] + (purchase + margin * mean_margin) * mean_rates[1]
    mean_value = mean_value if mean_value > 0 else float(np.abs(item_values).max(initial=0.0)) or 1.0
    adjustments: NDArray[np.float64] = np.log(np.maximum(item_values / mean_value, MIN_VALUE_RATIO))
    return adjustments
