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
from freshflow.items.statistics import ItemKnowledge
from freshflow.items.visit import Visit
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import FRESH, PINNED, Ranked
from freshflow.rules.conversion_rates import Outcomes
from freshflow.rules.diversity import diverse
from freshflow.rules.exclusions import without_blocked, without_bought
from freshflow.rules.freshness import freshened
from freshflow.rules.item_attributes import Traits
from freshflow.rules.pinning import pinned, taken_out
from freshflow.rules.quotas import capped, within
from freshflow.rules.score_adjustments import of_price, of_value
from freshflow.users.purchases import bought_since

__all__ = ["Rules"]

SPARE = 50  # candidates that rules may choose from beyond a list, at least


class Rules:
    """The rules of a partition: what is to be shown of what was ranked. `counts` says what each rule did so far:

    `rule_X`, items of lists that rule X took off them, and `rule_X_moved`, items that it left on them in another order.
    """

    def __init__(self, config: Config, knowledge: ItemKnowledge) -> None:
        self.config, self.values = config.rules, config.values
        self.knowledge = knowledge
        self.candidates = config.ranking.candidates + config.content.candidates
        self.places = config.lists.k
        self.traits = Traits(config.rules)
        self.outcomes = Outcomes()
        self.counts: Counter[str] = Counter()
        self._number = np.empty(0, np.int32)
        self._pins = sorted((position, item) for item, position in config.rules.pinned.items())
        self._hide_ms = int(config.rules.hide_bought_s * 1000)
        self.admit_pinned()

    def depth(self, k: int) -> int:
        """How many candidates are to be ranked for a list of `k`."""
        return max(self.candidates, k + SPARE)

    def choose(self, ranked: Ranked, query: Query, k: int) -> Ranked:
        """The items to be shown of those `ranked` for a query, at most `k`."""
        ranked = self._weigh(self._hide(ranked, query, k), query, k)
        before = ranked
        pins = [(at, row) for at, row in self._pins_for(query) if at <= k]
        out, ranked = taken_out(ranked, [row for _, row in pins]) if pins else (Ranked.of_rows([], PINNED), ranked)
        free = k - out.size
        for rule, groups, most in self._caps():
            ranked = self._counted(rule, ranked, capped(ranked, groups, most, groups[out.rows]), free)
        if self.config.diversity:
            ranked = self._counted("diversity", ranked, self._diverse(ranked, free), free)
        if self.config.fresh:
            ranked = self._counted("fresh", ranked, self._freshened(ranked, out, pins, query, k), free)
        ranked = ranked.take(slice(free))
        if not pins:
            return ranked
        shown = pinned(ranked, out, [at for at, _ in pins], k)
        self.counts["rule_pinned_moved"] += sum(row in before.rows[:k].tolist() for _, row in pins)
        self.counts["rule_pinned"] += sum(row not in before.rows[:k].tolist() for _, row in pins)
        return shown

    def hidden_in_search(self, query: Query) -> Collection[str]:
        """The items that must not be shown to a user whatever is found."""
        if not self.config.hide_in_search:
            return ()
        return {*self.config.blocked, *bought_since(query.user, query.now_ms - self._hide_ms)}

    def _hide(self, ranked: Ranked, query: Query, k: int) -> Ranked:
        ranked = self._counted("blocked", ranked, without_blocked(ranked, self.traits.blocked), k)
        bought = self.knowledge.rows.rows(bought_since(query.user, query.now_ms - self._hide_ms))
        return self._counted("bought", ranked, without_bought(ranked, set(bought)), k)

    def _weigh(self, ranked: Ranked, query: Query, k: int) -> Ranked:
        config, values, traits, rows = self.config, self.values, self.traits, ranked.rows
        ids = self.knowledge.rows.ids
        if config.boost_items or config.boost_categories or config.boost_brands:
            ranked = self._counted("boost", ranked, ranked.plus("boost", traits.boosts[rows], ids), k)
        if config.price_power:
            amounts = of_price(traits.prices[ranked.rows], config.price_power)
            ranked = self._counted("price", ranked, ranked.plus("price", amounts, ids), k)
        if values.on:
            rates, worth = self.outcomes.rates(ranked.rows, query.now_ms), asdict(values)
            amounts = of_value(rates, self.outcomes.usual(), traits.margins[ranked.rows], **worth)
            ranked = self._counted("value", ranked, ranked.plus("value", amounts, ids), k)
        return ranked

    def _pins_for(self, query: Query) -> list[tuple[int, int]]:
        """Positions and rows of pinned items that may be shown to a user, by rising position."""
        knowledge, user = self.knowledge, query.user
        bought = bought_since(user, query.now_ms - self._hide_ms)
        several = [(at, knowledge.rows.get(item)) for at, item in self._pins if item not in (*user.dismissed, *bought)]
        return [
            (at, row)
            for at, row in several
            if row != NO_ROW and knowledge.catalogue.available[row] and not self.traits.blocked[row]
        ]

    def _caps(self) -> list[tuple[str, NDArray[np.int32], int]]:
        config, traits = self.config, self.traits
        caps = [("category", traits.categories, config.per_category), ("brand", traits.brands, config.per_brand)]
        return [(rule, groups, most) for rule, groups, most in caps if most]

    def _diverse(self, ranked: Ranked, k: int) -> Ranked:
        if len(self._number) < self.knowledge.capacity:
            self._number = np.full(self.knowledge.capacity, NO_ROW, np.int32)
        covisits = self.knowledge.tables.covisits
        return diverse(ranked, self.traits.categories, covisits, self._number, self.config.diversity, k)

    def _freshened(self, ranked: Ranked, out: Ranked, pins: list[tuple[int, int]], query: Query, k: int) -> Ranked:
        """With enough fresh items among the places of a published list; pinned ones count there."""
        config, traits, user = self.config, self.traits, query.user
        after_ms, places = query.now_ms - int(config.fresh_s * 1000), min(self.places, k)
        above = [row for at, row in pins if at <= places]
        least = config.fresh - int((traits.since_ms[above] > after_ms).sum())

        def others() -> Ranked:
            hidden = {*user.dismissed, *bought_since(user, query.now_ms - self._hide_ms)}
            hidden |= set(user.items) if query.exclude_seen else set()
            gone = {*self.knowledge.rows.rows(hidden), *out.rows.tolist()}
            allowed = self.knowledge.catalogue.available & ~traits.blocked
            newest = traits.newest.rows(traits.since_ms, after_ms)
            return Ranked.of_rows([row for row in newest if allowed[row] and row not in gone], FRESH)

        def fits(listed: Ranked, row: int) -> bool:
            rows = np.concatenate([out.rows, listed.rows])
            return all(bool(within(groups[[row]], most, groups[rows])[0]) for _, groups, most in self._caps())

        def is_fresh(rows: NDArray[np.int32]) -> NDArray[np.bool_]:
            return traits.since_ms[rows] > after_ms

        return freshened(ranked, others, is_fresh, least, places - len(above), fits)

    def _counted(self, rule: str, before: Ranked, after: Ranked, k: int) -> Ranked:
        """What a rule has made of a list of `k`, after it has been counted."""
        if after is not before:
            old, new = before.rows[:k].tolist(), after.rows[:k].tolist()
            if old != new:
                stay = set(old) & set(new)
                self.counts[f"rule_{rule}"] += len(old) - len(stay)
                moved = zip((row for row in old if row in stay), (row for row in new if row in stay), strict=True)
                self.counts[f"rule_{rule}_moved"] += sum(one != other for one, other in moved)
        return after

    def learn(self, visits: Sequence[Visit]) -> None:
        """Somebody came for these items."""
        entries = self.knowledge.catalogue.entries
        for visit in visits:
            row = self.knowledge.rows.get(visit.item_id)
            entry = entries.get(row)
            if self.values.on:
                self.outcomes.add(row, visit.type, visit.ts_ms, self.knowledge.capacity)
            self.traits.visit(row, visit.ts_ms, published=entry is not None and entry.published_ms is not None)

    def drop_items(self, rows: NDArray[np.int64]) -> None:
        """Item rows mean other items, or none, from now on."""
        self.traits.derive(self.knowledge, rows.tolist())
        self.outcomes.drop(rows)
        self.admit_pinned()

    def admit_pinned(self) -> None:
        """Have a row for each pinned item, as lists are made of rows."""
        for _, item in self._pins:
            if self.knowledge.rows.get(item) == NO_ROW:
                self.knowledge.admit(item, 0)
                self.traits.derive(self.knowledge, [self.knowledge.rows.get(item)])

    def state(self) -> dict[str, Any]:
        """All there is to keep; see `restore`."""
        return {"counts": dict(self.counts), "outcomes": vars(self.outcomes)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, with item knowledge as it was then; it is empty where there were no rules then."""
        self.counts.update(state.get("counts", {}))
        vars(self.outcomes).update(state.get("outcomes", {}))
        self.traits.derive_all(self.knowledge)
        self.admit_pinned()
