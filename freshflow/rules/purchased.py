"""Rule `bought`: items that the user has bought lately are hidden from the user for a time."""

from collections.abc import Collection
from typing import Any

import numpy as np

from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.registry import ListSelection, Rule, RuleInputs, register_rule
from freshflow.users.purchases import purchased_items


@register_rule("bought", order=15, is_on=lambda config: config.rules.hide_bought_s > 0)
class PurchasedRule(Rule):
    """Rule that hides purchases for `rules.hide_bought_s` seconds."""

    def __init__(self, settings: Any, inputs: RuleInputs) -> None:
        super().__init__(settings, inputs)
        self._hide_ms = int(settings.hide_bought_s * 1000)

    def hidden_items(self, query: Query) -> Collection[str]:
        """Return the items that the user has bought within the last `hide_bought_s` seconds."""
        return purchased_items(query.profile, query.now_ms - self._hide_ms)

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Remove recent purchases of the user."""
        rows = self.inputs.item_statistics.index.known_rows(self.hidden_items(selection.query))
        return remove_purchased(candidates, set(rows))


def remove_purchased(candidates: CandidateList, purchased_rows: Collection[int]) -> CandidateList:
    """Remove the items in `purchased_rows`."""
    if not purchased_rows:
        return candidates
    return candidates.select(np.array([row not in purchased_rows for row in candidates.rows.tolist()], np.bool_))
