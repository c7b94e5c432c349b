"""Rule `pinned`: pinned items stand at the positions of the configuration, and all other items move down."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from freshflow.items.index import NO_ROW
from freshflow.rules.candidate_list import PINNED, CandidateList
from freshflow.rules.registry import ListSelection, Rule, RuleInputs, register_rule


@register_rule("pinned", order=30, is_on=lambda config: bool(config.rules.pinned), reason="pinned")
class PinningRule(Rule):
    """Rule of `rules.pinned`. It takes pinned items out for the rules after it, and inserts them at the end.

    It counts the pinned items of a list by their place before the rule: on the list (`rule_pinned_moved`) or not
    (`rule_pinned`).
    """

    is_counted = False

    def __init__(self, settings: Any, inputs: RuleInputs) -> None:
        super().__init__(settings, inputs)
        self._positions = sorted((position, item) for item, position in settings.pinned.items())

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Take the pinned items of the list out of the candidates."""
        pins = [(position, row) for position, row in self._eligible_pins(selection) if position <= selection.k]
        if not pins:
            return candidates
        selection.pinned_positions = [position for position, _ in pins]
        selection.pinned_items, other_items = split_pinned(candidates, [row for _, row in pins])
        rows_before = set(candidates.rows[: selection.k].tolist())
        n_listed = sum(row in rows_before for _, row in pins)
        self.inputs.counts["rule_pinned_moved"] += n_listed
        self.inputs.counts["rule_pinned"] += len(pins) - n_listed
        return other_items

    def finish(self, listed_items: CandidateList, selection: ListSelection) -> CandidateList:
        """Insert the pinned items at their positions."""
        if not selection.pinned_positions:
            return listed_items
        return insert_pinned(listed_items, selection.pinned_items, selection.pinned_positions, selection.k)

    def ensure_items(self) -> None:
        """Admit pinned items to the item statistics: a list is made of item rows."""
        item_statistics = self.inputs.item_statistics
        for _, item in self._positions:
            if item_statistics.index.get(item) == NO_ROW:
                item_statistics.admit(item, 0)
                self.inputs.item_attributes.update_rows(item_statistics, [item_statistics.index.get(item)])

    def _eligible_pins(self, selection: ListSelection) -> list[tuple[int, int]]:
        """Return the positions and rows of the pinned items that the user may be shown, by rising position."""
        item_statistics, hidden_ids = self.inputs.item_statistics, selection.hidden_items
        rows = [
            (position, item_statistics.index.get(item))
            for position, item in self._positions
            if item not in hidden_ids and item not in selection.query.profile.dismissed_items
        ]
        is_blocked = self.inputs.item_attributes.is_blocked
        return [
            (position, row)
            for position, row in rows
            if row != NO_ROW and item_statistics.catalogue.available[row] and not is_blocked[row]
        ]


def split_pinned(candidates: CandidateList, rows: Sequence[int]) -> tuple[CandidateList, CandidateList]:
    """Return the items in `rows`, in this order and with the scores of the ranking, and the other items."""
    index_by_row = {row: n for n, row in enumerate(candidates.rows.tolist())}
    pinned_items = CandidateList.from_rows([], PINNED)
    for row in rows:
        pin = CandidateList.from_rows([row], PINNED)
        if row in index_by_row:  # with its score and contributions; its reason is the rule in any case
            pin = candidates.select(slice(index_by_row[row], index_by_row[row] + 1))._replace(
                reasons=pin.reasons, sources=pin.sources
            )
        pinned_items = pinned_items.concatenate(pin)
    other_items = candidates.select(~np.isin(candidates.rows, np.array(rows, np.int32)))
    return pinned_items, other_items


def insert_pinned(other_items: CandidateList, pins: CandidateList, positions: Sequence[int], k: int) -> CandidateList:
    """Insert pinned items into a list; in a list that is too short for its position, a pin comes last.

    Args:
        other_items: The items without a position of their own.
        pins: The pinned items (P).
        positions: Their positions (P,) from 1, rising.
        k: Maximum length of the list.

    Returns:
        The whole list.
    """
    order: list[int] = list(range(pins.size, pins.size + other_items.size))
    for n, position in enumerate(positions):
        order.insert(position - 1, n)
    return pins.concatenate(other_items).select(np.array(order[:k], np.int64))
