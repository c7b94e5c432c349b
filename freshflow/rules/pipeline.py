"""All rules in their order, over the ranked candidates of one query: the step between ranking and composing.

    hide      blocked and lately bought items go
    weigh     boosts, prices and values change scores, and with them the order
    pin       pinned items are taken out, to be put in their places at last
    cap       of each category and brand the best stay
    diversify the best of what is least like what stands above it
    freshen   enough items of a list are new
    pin       and here are the pinned ones

Each rule is a pure function in a file of its own. Without rules there is no pipeline.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from msgspec.structs import asdict
from numpy.typing import NDArray

from freshflow.config.schema import Config
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import FRESH, PINNED, CandidateList
from freshflow.rules.conversion_rates import ConversionRates
from freshflow.rules.diversity import diversify
from freshflow.rules.exclusions import remove_blocked, remove_purchased
from freshflow.rules.freshness import ensure_fresh_items
from freshflow.rules.item_attributes import ItemAttributes
from freshflow.rules.pinning import insert_pinned, split_pinned
from freshflow.rules.quotas import cap_groups, mask_within_caps
from freshflow.rules.score_adjustments import price_adjustments, value_adjustments
from freshflow.users.purchases import purchased_items

__all__ = ["Rules"]

MIN_SPARE_CANDIDATES = 50  # candidates that rules may choose from beyond a list, at least


class Rules:
    """The rules of a partition: what is to be shown of what was ranked. `counts` says what each rule did so far:

    `rule_X`, items of lists that rule X took off them, and `rule_X_moved`, items that it left on them in another order.
    """

    def __init__(self, config: Config, item_statistics: ItemStatistics) -> None:
        self.config, self.business_value = config.rules, config.business_value
        self.item_statistics = item_statistics
        self.n_candidates = config.ranking.candidates + config.content.max_candidates
        self.list_length = config.lists.k
        self.item_attributes = ItemAttributes(config.rules)
        self.conversion_rates = ConversionRates()
        self.counts: Counter[str] = Counter()
        self._index_by_row = np.empty(0, np.int32)
        self._pinned_positions = sorted((position, item) for item, position in config.rules.pinned.items())
        self._hide_purchased_ms = int(config.rules.hide_bought_s * 1000)
        self.ensure_pinned_rows()

    def ranking_depth(self, k: int) -> int:
        """How many candidates are to be ranked for a list of `k`."""
        return max(self.n_candidates, k + MIN_SPARE_CANDIDATES)

    def apply(self, candidates: CandidateList, query: Query, k: int) -> CandidateList:
        """The items to be shown of those `candidates` for a query, at most `k`."""
        candidates = self._adjust_scores(self._hide(candidates, query, k), query, k)
        initial_candidates = candidates
        pin_positions = [(position, row) for position, row in self._eligible_pins(query) if position <= k]
        pinned_items, candidates = (
            split_pinned(candidates, [row for _, row in pin_positions])
            if pin_positions
            else (CandidateList.from_rows([], PINNED), candidates)
        )
        n_free = k - pinned_items.size
        for rule, groups, max_per_group in self._group_caps():
            candidates = self._count_changes(
                rule, candidates, cap_groups(candidates, groups, max_per_group, groups[pinned_items.rows]), n_free
            )
        if self.config.diversity:
            candidates = self._count_changes("diversity", candidates, self._diversify(candidates, n_free), n_free)
        if self.config.fresh:
            candidates = self._count_changes(
                "fresh", candidates, self._ensure_fresh_items(candidates, pinned_items, pin_positions, query, k), n_free
            )
        candidates = candidates.select(slice(n_free))
        if not pin_positions:
            return candidates
        final_list = insert_pinned(candidates, pinned_items, [position for position, _ in pin_positions], k)
        self.counts["rule_pinned_moved"] += sum(row in initial_candidates.rows[:k].tolist() for _, row in pin_positions)
        self.counts["rule_pinned"] += sum(row not in initial_candidates.rows[:k].tolist() for _, row in pin_positions)
        return final_list

    def items_hidden_in_search(self, query: Query) -> Collection[str]:
        """The items that must not be shown to a user whatever is found."""
        if not self.config.hide_in_search:
            return ()
        return {*self.config.blocked, *purchased_items(query.profile, query.now_ms - self._hide_purchased_ms)}

    def _hide(self, candidates: CandidateList, query: Query, k: int) -> CandidateList:
        candidates = self._count_changes(
            "blocked", candidates, remove_blocked(candidates, self.item_attributes.is_blocked), k
        )
        purchased_rows = self.item_statistics.index.known_rows(
            purchased_items(query.profile, query.now_ms - self._hide_purchased_ms)
        )
        return self._count_changes("bought", candidates, remove_purchased(candidates, set(purchased_rows)), k)

    def _adjust_scores(self, candidates: CandidateList, query: Query, k: int) -> CandidateList:
        config, business_value, attributes, rows = (
            self.config,
            self.business_value,
            self.item_attributes,
            candidates.rows,
        )
        ids = self.item_statistics.index.ids
        if config.boost_items or config.boost_categories or config.boost_brands:
            candidates = self._count_changes(
                "boost", candidates, candidates.with_adjustment("boost", attributes.boosts[rows], ids), k
            )
        if config.price_power:
            adjustments = price_adjustments(attributes.prices[candidates.rows], config.price_power)
            candidates = self._count_changes(
                "price", candidates, candidates.with_adjustment("price", adjustments, ids), k
            )
        if business_value.is_enabled:
            item_rates, value_weights = (
                self.conversion_rates.rates(candidates.rows, query.now_ms),
                asdict(business_value),
            )
            adjustments = value_adjustments(
                item_rates, self.conversion_rates.mean_rates(), attributes.margins[candidates.rows], **value_weights
            )
            candidates = self._count_changes(
                "value", candidates, candidates.with_adjustment("value", adjustments, ids), k
            )
        return candidates

    def _eligible_pins(self, query: Query) -> list[tuple[int, int]]:
        """Positions and rows of pinned items that may be shown to a user, by rising position."""
        item_statistics, user = self.item_statistics, query.profile
        purchased_ids = purchased_items(user, query.now_ms - self._hide_purchased_ms)
        positions_and_rows = [
            (position, item_statistics.index.get(item))
            for position, item in self._pinned_positions
            if item not in (*user.dismissed_items, *purchased_ids)
        ]
        return [
            (position, row)
            for position, row in positions_and_rows
            if row != NO_ROW and item_statistics.catalogue.available[row] and not self.item_attributes.is_blocked[row]
        ]

    def _group_caps(self) -> list[tuple[str, NDArray[np.int32], int]]:
        config, attributes = self.config, self.item_attributes
        caps = [
            ("category", attributes.categories, config.per_category),
            ("brand", attributes.brands, config.per_brand),
        ]
        return [(rule, groups, max_per_group) for rule, groups, max_per_group in caps if max_per_group]

    def _diversify(self, candidates: CandidateList, k: int) -> CandidateList:
        if len(self._index_by_row) < self.item_statistics.capacity:
            self._index_by_row = np.full(self.item_statistics.capacity, NO_ROW, np.int32)
        covisits = self.item_statistics.tables.covisits
        return diversify(
            candidates, self.item_attributes.categories, covisits, self._index_by_row, self.config.diversity, k
        )

    def _ensure_fresh_items(
        self,
        candidates: CandidateList,
        pinned_items: CandidateList,
        pin_positions: list[tuple[int, int]],
        query: Query,
        k: int,
    ) -> CandidateList:
        """With enough fresh items among the places of a published list; pinned ones count there."""
        config, attributes, user = self.config, self.item_attributes, query.profile
        after_ms, n_positions = query.now_ms - int(config.fresh_s * 1000), min(self.list_length, k)
        pinned_rows = [row for position, row in pin_positions if position <= n_positions]
        min_fresh = config.fresh - int((attributes.first_seen_ms[pinned_rows] > after_ms).sum())

        def find_fresh_items() -> CandidateList:
            hidden_ids = {*user.dismissed_items, *purchased_items(user, query.now_ms - self._hide_purchased_ms)}
            hidden_ids |= set(user.items) if query.exclude_seen else set()
            excluded_rows = {*self.item_statistics.index.known_rows(hidden_ids), *pinned_items.rows.tolist()}
            is_allowed = self.item_statistics.catalogue.available & ~attributes.is_blocked
            newest_rows = attributes.newest_items.rows_after(attributes.first_seen_ms, after_ms)
            return CandidateList.from_rows(
                [row for row in newest_rows if is_allowed[row] and row not in excluded_rows], FRESH
            )

        def can_add(listed_items: CandidateList, row: int) -> bool:
            rows = np.concatenate([pinned_items.rows, listed_items.rows])
            return all(
                bool(mask_within_caps(groups[[row]], max_per_group, groups[rows])[0])
                for _, groups, max_per_group in self._group_caps()
            )

        def is_fresh(rows: NDArray[np.int32]) -> NDArray[np.bool_]:
            return attributes.first_seen_ms[rows] > after_ms

        return ensure_fresh_items(
            candidates, find_fresh_items, is_fresh, min_fresh, n_positions - len(pinned_rows), can_add
        )

    def _count_changes(
        self, rule: str, candidates_before: CandidateList, candidates_after: CandidateList, k: int
    ) -> CandidateList:
        """What a rule has made of a list of `k`, after it has been counted."""
        if candidates_after is not candidates_before:
            rows_before, rows_after = candidates_before.rows[:k].tolist(), candidates_after.rows[:k].tolist()
            if rows_before != rows_after:
                common_rows = set(rows_before) & set(rows_after)
                self.counts[f"rule_{rule}"] += len(rows_before) - len(common_rows)
                row_pairs = zip(
                    (row for row in rows_before if row in common_rows),
                    (row for row in rows_after if row in common_rows),
                    strict=True,
                )
                self.counts[f"rule_{rule}_moved"] += sum(row_before != row_after for row_before, row_after in row_pairs)
        return candidates_after

    def on_visits(self, visits: Sequence[ItemVisit]) -> None:
        """Somebody came for these items."""
        entries = self.item_statistics.catalogue.entries
        for visit in visits:
            row = self.item_statistics.index.get(visit.item_id)
            entry = entries.get(row)
            if self.business_value.is_enabled:
                self.conversion_rates.add(row, visit.type, visit.ts_ms, self.item_statistics.capacity)
            self.item_attributes.record_visit(
                row, visit.ts_ms, has_published_ms=entry is not None and entry.published_ms is not None
            )

    def on_items_evicted(self, rows: NDArray[np.int64]) -> None:
        """Item rows mean other items, or none, from now on."""
        self.item_attributes.update_rows(self.item_statistics, rows.tolist())
        self.conversion_rates.drop(rows)
        self.ensure_pinned_rows()

    def ensure_pinned_rows(self) -> None:
        """Have a row for each pinned item, as lists are made of rows."""
        for _, item in self._pinned_positions:
            if self.item_statistics.index.get(item) == NO_ROW:
                self.item_statistics.admit(item, 0)
                self.item_attributes.update_rows(self.item_statistics, [self.item_statistics.index.get(item)])

    def state(self) -> dict[str, Any]:
        """All there is to keep; see `restore`."""
        return {"counts": dict(self.counts), "outcomes": vars(self.conversion_rates)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, with item knowledge as it was then; it is empty where there were no rules then."""
        self.counts.update(state.get("counts", {}))
        vars(self.conversion_rates).update(state.get("outcomes", {}))
        self.item_attributes.rebuild(self.item_statistics)
        self.ensure_pinned_rows()
