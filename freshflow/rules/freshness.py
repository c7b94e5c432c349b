"""Rule `fresh`: a minimum number of fresh items among the first positions of a list."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from freshflow.rules.candidate_list import FRESH, CandidateList
from freshflow.rules.registry import ListSelection, Rule, register_rule


@register_rule("fresh", order=60, is_on=lambda config: config.rules.fresh > 0, reason="fresh")
class FreshnessRule(Rule):
    """Rule of `rules.fresh`: it counts positions of a published list, of which pinned items take some."""

    def apply(self, candidates: CandidateList, selection: ListSelection) -> CandidateList:
        """Bring in fresh items where too few are listed."""
        attributes, n_positions = self.inputs.item_attributes, min(self.inputs.config.lists.k, selection.k)
        after_ms = selection.query.now_ms - int(self.settings.fresh_s * 1000)
        n_pins = sum(position <= n_positions for position in selection.pinned_positions)
        pinned_rows = selection.pinned_items.rows[:n_pins]
        n_pinned_fresh = int((attributes.first_seen_ms[pinned_rows] > after_ms).sum())
        return ensure_fresh_items(
            candidates,
            lambda: self._find_fresh_items(selection, after_ms),
            lambda rows: attributes.first_seen_ms[rows] > after_ms,
            self.settings.fresh - n_pinned_fresh,
            n_positions - n_pins,
            selection.can_add,
        )

    def _find_fresh_items(self, selection: ListSelection, after_ms: int) -> CandidateList:
        """Return the newest items that the user may be shown, the newest first."""
        item_statistics, attributes = self.inputs.item_statistics, self.inputs.item_attributes
        profile = selection.query.profile
        hidden_ids = selection.hidden_items | set(profile.dismissed_items)
        hidden_ids |= set(profile.items) if selection.query.exclude_seen else set()
        excluded_rows = {*item_statistics.index.known_rows(hidden_ids), *selection.pinned_items.rows.tolist()}
        is_allowed = item_statistics.catalogue.available & ~attributes.is_blocked
        newest_rows = attributes.newest_items.rows_after(attributes.first_seen_ms, after_ms)
        return CandidateList.from_rows(
            [row for row in newest_rows if is_allowed[row] and row not in excluded_rows], FRESH
        )


def ensure_fresh_items(
    candidates: CandidateList,
    find_fresh_items: Callable[[], CandidateList],
    is_fresh: Callable[[NDArray[np.int32]], NDArray[np.bool_]],
    min_fresh: int,
    n_positions: int,
    can_add: Callable[[CandidateList, int], bool],
) -> CandidateList:
    """Put at least `min_fresh` fresh items among the first `n_positions`, as far as there are any.

    They replace the last items that are not fresh, and have the reason "fresh".

    Args:
        candidates: The items, the best first.
        find_fresh_items: Returns fresh items that were not ranked, the newest first, for lists with too few.
        is_fresh: Returns for rows (N,) a mask (N,) of the fresh ones.
        min_fresh: Minimum number of fresh items.
        n_positions: Number of positions to look at.
        can_add: Returns whether an item, given by row, may join a list.

    Returns:
        The list.
    """
    head, tail = candidates.select(slice(n_positions)), candidates.select(slice(n_positions, None))
    is_fresh_head = is_fresh(head.rows)
    n_missing = min(min_fresh, n_positions) - int(is_fresh_head.sum())
    if n_missing <= 0:
        return candidates
    listed_rows = set(candidates.rows.tolist())
    pool, unranked_items = tail.select(is_fresh(tail.rows)), find_fresh_items()
    pool = pool.concatenate(
        unranked_items.select(np.array([row not in listed_rows for row in unranked_items.rows.tolist()], np.bool_))
    )
    for n in range(pool.size):
        if n_missing == 0:
            break
        fresh_item = pool.select(slice(n, n + 1))
        fresh_item = fresh_item._replace(reasons=np.full(1, FRESH, np.int32), sources=np.full(1, -1, np.int32))
        shortened_head = head
        if head.size == n_positions:
            replaceable = np.flatnonzero(~is_fresh(head.rows))
            shortened_head = head.select(np.arange(head.size) != replaceable[-1])
        if can_add(shortened_head, int(fresh_item.rows[0])):
            head = shortened_head.concatenate(fresh_item)
            n_missing -= 1
    head_rows = set(head.rows.tolist())
    rest = candidates.select(np.array([row not in head_rows for row in candidates.rows.tolist()], np.bool_))
    return head.concatenate(rest)
