"""Registry of the business rules: each rule's module registers its name, its order, its settings and its switch.

Rules run in rising order over the candidates of one list. The built-in rules and their orders:

    10 blocked     15 bought       remove items
    20 boost       21 price        22 value     adjust scores, and with them the order
    30 pinned                      take the pinned items out; they get their positions at the end
    40 category    45 brand        keep the best of each group
    50 diversity                   re-order by dissimilarity
    60 fresh                       bring in new items

A rule of `plugins.modules` chooses any order between or beyond these.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.config.registry import add_rule_settings
from freshflow.config.schema import Config, Section
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.reasons import register_reason
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import ADJUSTMENTS, PINNED, CandidateList
from freshflow.rules.conversion_rates import ConversionRates
from freshflow.rules.item_attributes import ItemAttributes


class RuleInputs(NamedTuple):
    """State of a partition that its rules read.

    `counts` are the counters that the partition reports; a rule that is not `is_counted` adds to them itself.
    """

    config: Config
    item_statistics: ItemStatistics
    item_attributes: ItemAttributes
    conversion_rates: ConversionRates
    counts: Counter[str]


class Rule:
    """A business rule of a partition: it changes the candidates of one list at a time.

    A subclass overrides the hooks that it needs. The pipeline counts, under the rule's name, the items that `apply`
    removes from the list (`rule_NAME`) and those that it moves (`rule_NAME_moved`).
    """

    name = ""  # set by `register_rule`
    reason = 0  # number of its reason, set by `register_rule`
    is_counted = True

    def __init__(self, settings: Any, inputs: RuleInputs) -> None:
        self.settings = settings
        self.inputs = inputs

    def apply(self, candidates: CandidateList, selection: "ListSelection") -> CandidateList:
        """Return the candidates after the rule, the first ones first."""
        return candidates

    def finish(self, listed_items: CandidateList, selection: "ListSelection") -> CandidateList:
        """Return the final list, after all rules have been applied and the list has been cut to its length."""
        return listed_items

    def can_add(self, listed_rows: NDArray[np.int32], row: int) -> bool:
        """Return whether the item in `row` may join a list of the items in `listed_rows` (N,)."""
        return True

    def hidden_items(self, query: Query) -> Collection[str]:
        """Return the ids of items that the user of a query must not be shown, blocked items aside."""
        return ()

    def ensure_items(self) -> None:
        """Admit the items that the rule names to the item statistics; called at start and after evictions."""


class ListSelection:
    """Selection of one list of `k` items for a query, shared by the rules that run one after the other.

    `pinned_items` (P) are the items with a fixed position, from 1, in `pinned_positions`; the rule `pinned` sets both.
    """

    def __init__(self, query: Query, k: int, rules: Sequence[Rule]) -> None:
        self.query = query
        self.k = k
        self.pinned_items = CandidateList.from_rows([], PINNED)
        self.pinned_positions: list[int] = []
        self._rules = rules

    @property
    def n_free(self) -> int:
        """Number of positions without a pinned item."""
        return self.k - self.pinned_items.size

    @cached_property
    def hidden_items(self) -> set[str]:
        """Ids of items that the user must not be shown, blocked items aside."""
        return {item for rule in self._rules for item in rule.hidden_items(self.query)}

    def can_add(self, listed_items: CandidateList, row: int) -> bool:
        """Return whether all rules allow the item in `row` beside the pinned items and `listed_items`."""
        rows = np.concatenate([self.pinned_items.rows, listed_items.rows])
        return all(rule.can_add(rows, row) for rule in self._rules)


class RuleSpec(NamedTuple):
    """A registered rule. Its settings are those of `[rules]`, or the table `[rules.NAME]` of type `settings`."""

    name: str
    order: int
    rule: type[Rule]
    is_on: Callable[[Config], bool]
    settings: type[Section] | None
    adjusts_scores: bool

    def build(self, inputs: RuleInputs) -> Rule:
        """Build the rule of a partition."""
        rules_config = inputs.config.rules
        if self.settings is None:
            return self.rule(rules_config, inputs)
        return self.rule(msgspec.convert(rules_config.extensions[self.name], self.settings), inputs)


_RuleT = TypeVar("_RuleT", bound=type[Rule])
_specs: dict[str, RuleSpec] = {}


def register_rule(
    name: str,
    *,
    order: int,
    is_on: Callable[[Config], bool] | None = None,
    settings: type[Section] | None = None,
    reason: str | None = None,
    adjusts_scores: bool = False,
) -> Callable[[_RuleT], _RuleT]:
    """Register a class as the rule of this name.

    Args:
        name: Name of the counters `rule_NAME` and `rule_NAME_moved`, of the contribution and of the table of settings.
        order: Position among the rules; the lowest runs first.
        is_on: Switch of a built-in rule. By default a rule is on where the configuration has `[rules.NAME]`.
        settings: Type of the table `[rules.NAME]`. By default the rule reads `[rules]`.
        reason: Reason of the items that the rule brings into lists, if it does; its number is `Rule.reason`.
        adjusts_scores: Whether the rule calls `CandidateList.with_adjustment` with its name.

    Raises:
        ValueError: Another rule has this name.
    """

    def register(rule: _RuleT) -> _RuleT:
        if name in _specs and _specs[name].rule.__qualname__ != rule.__qualname__:
            raise ValueError(f"there is another rule named {name!r}; choose another name")
        rule.name = name
        is_configured = is_on or (lambda config: name in config.rules.extensions)
        _specs[name] = RuleSpec(name, order, rule, is_configured, settings, adjusts_scores)
        ADJUSTMENTS[:] = [spec.name for spec in registered_rules() if spec.adjusts_scores]
        if settings is not None:
            add_rule_settings(name, settings)
        if reason is not None:
            rule.reason = register_reason(reason)
        return rule

    return register


def registered_rules() -> list[RuleSpec]:
    """Return all rules in the order in which they run."""
    return sorted(_specs.values(), key=lambda spec: (spec.order, spec.name))


def has_rules(config: Config) -> bool:
    """Return whether a configuration switches any rule on."""
    return any(spec.is_on(config) for spec in registered_rules())
