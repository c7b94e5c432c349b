"""The list of a query: item ids in a total order, and what speaks for each of them."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.ranking.answers import CANDIDATE, FOUND, LISTED, OWN, ROW, TIED, Answers
from freshflow.ranking.features import FEATURES
from freshflow.ranking.queries import Query
from freshflow.ranking.scoring import INPUTS, REASONS, Weights, reason_of

__all__ = ["Chosen", "chosen", "contributions", "explained"]

ROUNDING = 1e-7  # below what sets the scores of a shortlist apart from those of the first stage


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """An item of a list: its id and score, the source that speaks most for it, and the item ids behind that.

    `candidate` is its number among the query's candidates, -1 for an item without evidence.
    """

    item_id: str
    score: float
    reason: str
    because: tuple[str, ...]
    candidate: int


def chosen(query: Query, q: int, answers: Answers, weights: Weights, ids: Sequence[str], k: int) -> list[Chosen]:
    """The first `k` of query number `q`, by falling score, ties by item id; `ids` are item ids by row."""
    if answers.facts[q, TIED]:
        _break_ties(query, q, answers, weights, ids)
    listed = answers.places[q, : min(answers.facts[q, LISTED], k)]
    places = listed[:, CANDIDATE]
    candidates, scores = answers.candidates[q, places].tolist(), answers.scores[q, places].tolist()
    made = []
    for (place, code), (row, _, because), score in zip(listed.tolist(), candidates, scores, strict=True):
        item_id, reason = ids[row], REASONS[code]
        if reason == "together":
            of: tuple[str, ...] = (query.context.items[because],)
        else:
            of = (item_id,) if reason == "again" else ()
        made.append(Chosen(item_id, score, reason, of, place))
    return made


def _break_ties(query: Query, q: int, answers: Answers, weights: Weights, ids: Sequence[str]) -> None:
    """Order the list of a query whose scores alone do not; only `best` knows when."""
    found = int(answers.facts[q, FOUND])
    candidates, scores = answers.candidates[q, :found].tolist(), answers.scores[q, :found].tolist()
    allowed = [at for at in range(found) if not query.exclude_seen or candidates[at][OWN] < 0]
    linear = weights.linear[query.model]
    for n, at in enumerate(sorted(allowed, key=lambda at: (-scores[at], ids[candidates[at][ROW]]))[: query.k]):
        _, own, because = candidates[at]
        features, units = answers.features[q, at], answers.units[q, at]
        answers.places[q, n] = at, reason_of(linear, weights.units, features, units, own >= 0, because)


def contributions(q: int, candidate: int, answers: Answers, weights: Weights, model: int) -> NDArray[np.float64]:
    """What each input (F + Z + 1,) adds to the score of a candidate; they add up to it.

    A feature adds w_f x_f. A hidden unit adds a_h u_h, shared out among its inputs as they make up its sum:
    V_h,i input_i / (V_h . input).
    """
    x = answers.features[q, candidate].astype(np.float64)
    inputs = np.concatenate([x, answers.moment[q], [1.0]])
    parts = weights.units.astype(np.float64) * inputs[:, None]  # (F + Z + 1, H)
    unit, width = answers.units[q, candidate].astype(np.float64), len(FEATURES)
    active = unit > 0
    added = weights.linear[model, width:][active] * unit[active] / parts[:, active].sum(axis=0)
    shares: NDArray[np.float64] = parts[:, active] @ added
    shares[:width] += weights.linear[model, :width] * x
    return shares


def explained(q: int, candidate: int, answers: Answers, weights: Weights, model: int) -> dict[str, float]:
    """The `contributions` by name, those of nothing left out; they add up to the score of the candidate.

    A score that is not theirs is a shortlist's (`freshflow.ranking.shortlist`); it has one contribution, "model".
    """
    if candidate < 0:
        return {}
    score = float(answers.scores[q, candidate])
    shares = contributions(q, candidate, answers, weights, model).tolist()
    if not math.isclose(sum(shares), score, rel_tol=ROUNDING, abs_tol=ROUNDING):
        return {"model": score}
    return {name: value for name, value in zip(INPUTS, shares, strict=True) if value}
