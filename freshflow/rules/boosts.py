"""Rule `boost`: factors on the weight of items, categories and brands.

The ranker is a model of choice, P(c) ~ exp(score(c)). To count an item f times as much is to add log f to its score,
and the addend is a contribution like that of a feature.
"""

from freshflow.config.schema import Config
from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.registry import ListSelection, Rule, register_rule


def _is_on(config: Config) -> bool:
    return bool(config.rules.boost_items or config.rules.boost_categories or config.rules.boost_brands)


@register_rule("boost", order=20, is_on=_is_on, adjusts_scores=True)
class BoostRule(Rule):
    """Rule that adds the logarithms of the factors of an item, `ItemAttributes.boosts`, to its score."""

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Adjust scores by the boosts of items."""
        boosts = self.inputs.item_attributes.boosts[candidates.rows]
        return candidates.with_adjustment(self.name, boosts, self.inputs.item_statistics.index.ids)
