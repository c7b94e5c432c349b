"""Pinned items: they stand in the places that the configuration gives them, and all others move down."""

import numpy as np

from freshflow.rules.candidate_list import PINNED, CandidateList

__all__ = ["insert_pinned", "split_pinned"]


def split_pinned(candidates: CandidateList, rows: list[int]) -> tuple[CandidateList, CandidateList]:
    """The items in `rows`, in this order, scored as they were ranked, and the others."""
    index_by_row = {row: n for n, row in enumerate(candidates.rows.tolist())}
    pinned_items = CandidateList.from_rows([], PINNED)
    for row in rows:
        pin = CandidateList.from_rows([row], PINNED)
        if row in index_by_row:  # with its score and all that made it; what has put it there is the rule in any case
            pin = candidates.select(slice(index_by_row[row], index_by_row[row] + 1))._replace(
                reasons=pin.reasons, sources=pin.sources
            )
        pinned_items = pinned_items.concatenate(pin)
    other_items = candidates.select(~np.isin(candidates.rows, np.array(rows, np.int32)))
    return pinned_items, other_items


def insert_pinned(other_items: CandidateList, pins: CandidateList, positions: list[int], k: int) -> CandidateList:
    """A list of `k` with pins at rising `positions`, from 1; where the list is too short for it, a pin comes last."""
    order: list[int] = list(range(pins.size, pins.size + other_items.size))
    for n, position in enumerate(positions):
        order.insert(position - 1, n)
    return pins.concatenate(other_items).select(np.array(order[:k], np.int64))
