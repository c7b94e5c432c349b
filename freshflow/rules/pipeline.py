"""Pipeline of the business rules of a partition, between ranking and the published list."""

from collections import Counter
from collections.abc import Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.config.schema import Config
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import CandidateList
from freshflow.rules.conversion_rates import ConversionRates, ConversionRatesState
from freshflow.rules.item_attributes import ItemAttributes
from freshflow.rules.registry import ListSelection, RuleInputs, registered_rules

MIN_SPARE_CANDIDATES = 50  # minimum number of candidates beyond the length of a list, for rules to choose from


class RulesState(StateTable, frozen=True):
    """State of the rules; the defaults are the state of rules that were off."""

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    conversion_rates: ConversionRatesState | None = None


class Rules:
    """Rules of a partition that are on, in their order, and the item data that they read.

    `counts` are the counters of all rules: `rule_X` for items that rule X removed from lists, and `rule_X_moved` for
    items that it left on them in another order.
    """

    def __init__(self, config: Config, item_statistics: ItemStatistics) -> None:
        self.config = config.rules
        self.item_statistics = item_statistics
        self.n_candidates = config.ranking.candidates + config.content.max_candidates
        self.item_attributes = ItemAttributes(config.rules)
        self.conversion_rates = ConversionRates()
        self.counts: Counter[str] = Counter()
        self._needs_conversion_rates = config.business_value.is_enabled
        inputs = RuleInputs(config, item_statistics, self.item_attributes, self.conversion_rates, self.counts)
        self._rules = [spec.build(inputs) for spec in registered_rules() if spec.is_on(config)]
        self.ensure_pinned_rows()

    def ranking_depth(self, k: int) -> int:
        """Return the number of candidates to rank for a list of `k` items."""
        return max(self.n_candidates, k + MIN_SPARE_CANDIDATES)

    def apply(self, candidates: CandidateList, query: Query, k: int) -> CandidateList:
        """Apply the rules to the candidates of one list.

        Args:
            candidates: The ranked candidates, the best first.
            query: The query that they were ranked for.
            k: Maximum length of the list.

        Returns:
            The items of the list.
        """
        selection = ListSelection(query, k, self._rules)
        for rule in self._rules:
            n_free, candidates_before = selection.n_free, candidates
            candidates = rule.apply(candidates, selection)
            if rule.is_counted and candidates is not candidates_before:
                self._count_changes(rule.name, candidates_before, candidates, n_free)
        listed_items = candidates.select(slice(selection.n_free))
        for rule in self._rules:
            listed_items = rule.finish(listed_items, selection)
        return listed_items

    def items_hidden_in_search(self, query: Query) -> Collection[str]:
        """Return the ids of items that search results must not show to the user."""
        if not self.config.hide_in_search:
            return ()
        return {*self.config.blocked, *(item for rule in self._rules for item in rule.hidden_items(query))}

    def _count_changes(self, rule: str, before: CandidateList, after: CandidateList, k: int) -> None:
        """Count the items that a rule has removed from a list of `k`, or moved on it."""
        rows_before, rows_after = before.rows[:k].tolist(), after.rows[:k].tolist()
        if rows_before == rows_after:
            return
        common_rows = set(rows_before) & set(rows_after)
        self.counts[f"rule_{rule}"] += len(rows_before) - len(common_rows)
        row_pairs = zip(
            (row for row in rows_before if row in common_rows),
            (row for row in rows_after if row in common_rows),
            strict=True,
        )
        self.counts[f"rule_{rule}_moved"] += sum(row_before != row_after for row_before, row_after in row_pairs)

    def on_visits(self, visits: Sequence[ItemVisit]) -> None:
        """Record visits to items."""
        entries = self.item_statistics.catalogue.entries
        for visit in visits:
            row = self.item_statistics.index.get(visit.item_id)
            entry = entries.get(row)
            if self._needs_conversion_rates:
                self.conversion_rates.add(row, visit.type, visit.ts_ms, self.item_statistics.capacity)
            self.item_attributes.record_visit(
                row, visit.ts_ms, has_published_ms=entry is not None and entry.published_ms is not None
            )

    def on_items_evicted(self, rows: NDArray[np.int64]) -> None:
        """Forget evicted items; their rows stand for other items, or none, from now on."""
        self.item_attributes.update_rows(self.item_statistics, rows.tolist())
        self.conversion_rates.drop(rows)
        self.ensure_pinned_rows()

    def ensure_pinned_rows(self) -> None:
        """Admit the items that rules name, such as pinned items, to the item statistics."""
        for rule in self._rules:
            rule.ensure_items()

    def state(self) -> RulesState:
        """Return the state."""
        return RulesState(dict(self.counts), self.conversion_rates.state())

    def restore(self, state: RulesState) -> None:
        """Continue from a state, with item statistics as they were then."""
        self.counts.update(state.counts)
        if state.conversion_rates is not None:
            self.conversion_rates.restore(state.conversion_rates)
        self.item_attributes.rebuild(self.item_statistics)
        self.ensure_pinned_rows()
