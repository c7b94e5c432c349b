"""Pinned items: they stand in the places that the configuration gives them, and all others move down."""

import numpy as np

from freshflow.rules.candidate_list import PINNED, Ranked

__all__ = ["pinned", "taken_out"]


def taken_out(ranked: Ranked, rows: list[int]) -> tuple[Ranked, Ranked]:
    """The items in `rows`, in this order, scored as they were ranked, and the others."""
    at = {row: n for n, row in enumerate(ranked.rows.tolist())}
    out = Ranked.of_rows([], PINNED)
    for row in rows:
        pin = Ranked.of_rows([row], PINNED)
        if row in at:  # with its score and all that made it; what has put it there is the rule in any case
            pin = ranked.take(slice(at[row], at[row] + 1))._replace(reasons=pin.reasons, sources=pin.sources)
        out = out.followed_by(pin)
    others = ranked.take(~np.isin(ranked.rows, np.array(rows, np.int32)))
    return out, others


def pinned(others: Ranked, pins: Ranked, positions: list[int], k: int) -> Ranked:
    """A list of `k` with pins at rising `positions`, from 1; where the list is too short for it, a pin comes last."""
    order: list[int] = list(range(pins.size, pins.size + others.size))
    for n, position in enumerate(positions):
        order.insert(position - 1, n)
    return pins.followed_by(others).take(np.array(order[:k], np.int64))
