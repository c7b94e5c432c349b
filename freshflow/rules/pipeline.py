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
from numpy.typing import NDArray

from freshflow.config import Config
from freshflow.items.knowledge import ItemKnowledge
from freshflow.items.visits import Visit
from freshflow.ranking.queries import Query
from freshflow.rules.hiding import without_blocked, without_bought
from freshflow.rules.ranked import Ranked
from freshflow.rules.traits import Traits
from freshflow.users.bought import bought_since

__all__ = ["Rules"]

SPARE = 50  # candidates that rules may choose from beyond a list, at least


class Rules:
    """The rules of a partition: what is to be shown of what was ranked. `counts` says what each rule did so far:

    `rule_X`, items of lists that rule X took off them, and `rule_X_moved`, items that it left on them in another order.
    """

    def __init__(self, config: Config, knowledge: ItemKnowledge) -> None:
        self.config = config.rules
        self.knowledge = knowledge
        self.candidates = config.ranking.candidates
        self.places = config.lists.k
        self.traits = Traits(config.rules)
        self.counts: Counter[str] = Counter()
        self._hide_ms = int(config.rules.hide_bought_s * 1000)

    def depth(self, k: int) -> int:
        """How many candidates are to be ranked for a list of `k`."""
        return max(self.candidates, k + SPARE)

    def choose(self, ranked: Ranked, query: Query, k: int) -> Ranked:
        """The items to be shown of those `ranked` for a query, at most `k`."""
        ranked = self._hide(ranked, query, k)
        return ranked.take(slice(k))

    def order(self, ranked: Ranked, query: Query) -> Ranked:
        """What a search engine found, in the order to be shown, with nothing added."""
        if self.config.search == "none":
            return ranked
        if self.config.search == "hide":
            ranked = self._hide(ranked, query, len(ranked))
        return ranked

    def hidden_in_search(self, query: Query) -> Collection[str]:
        """The items that must not be shown to a user whatever is found."""
        if self.config.search != "hide":
            return ()
        return {*self.config.blocked, *bought_since(query.user, query.now_ms - self._hide_ms)}

    def _hide(self, ranked: Ranked, query: Query, k: int) -> Ranked:
        ranked = self._counted("blocked", ranked, without_blocked(ranked, self.traits.blocked), k)
        bought = self.knowledge.rows.rows(bought_since(query.user, query.now_ms - self._hide_ms))
        return self._counted("bought", ranked, without_bought(ranked, set(bought)), k)

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
            self.traits.visit(row, visit.ts_ms, published=entry is not None and entry.published_ms is not None)

    def drop_items(self, rows: NDArray[np.int64]) -> None:
        """Item rows mean other items, or none, from now on."""
        self.traits.derive(self.knowledge, rows.tolist())

    def state(self) -> dict[str, Any]:
        """All there is to keep; see `restore`."""
        return {"counts": dict(self.counts)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, with item knowledge as it was then; it is empty where there were no rules then."""
        self.counts.update(state.get("counts", {}))
        self.traits.derive_all(self.knowledge)
