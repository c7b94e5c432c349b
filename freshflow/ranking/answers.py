"""From queries and visits in stream order to lists: the compiled loop over a batch, and what it found."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow.compiled import compiled
from freshflow.items.fold import Tables, fold
from freshflow.ranking.candidates import BECAUSE as MARKED_BECAUSE
from freshflow.ranking.candidates import OWN as MARKED_OWN
from freshflow.ranking.candidates import ROW as MARKED_ROW
from freshflow.ranking.candidates import Scratch, gather
from freshflow.ranking.features import FEATURES, LAST_200, MOMENT, fill_features, fill_moment
from freshflow.ranking.queries import CAME, EXCLUDE_SEEN, MODEL, K, Queries
from freshflow.ranking.scoring import INPUTS, Weights, best, rank_of, reason_of, score, teach

__all__ = ["Answers", "Visits", "answer", "order"]

ASK, LEARN = 0, 1


class Visits(NamedTuple):
    """Visits in arrays: `items` (V,), `contexts` (V, L) -1 padded, `ts_ms`, `opens` and `weights` (V,)."""

    items: NDArray[np.int32]
    contexts: NDArray[np.int32]
    ts_ms: NDArray[np.int64]
    opens: NDArray[np.bool_]
    weights: NDArray[np.float64]


# Columns of `Answers.facts`, of `Answers.candidates` and of `Answers.places`.
FOUND, LISTED, TIED, STANDS, RANK, POPULAR_RANK = range(6)
ROW, OWN, BECAUSE = range(3)
CANDIDATE, REASON = range(2)


class Answers(NamedTuple):
    """What was found for Q queries with C candidates at most, and lists of K at most.

    `facts` (Q, 6): how many candidates; how many of them are listed; whether ids must break ties among these; where
    the item that came stands among the candidates, or -1, its rank by score, 0 if it is none of them, and its rank by
    what was popular right now. `candidates` (Q, C, 3): row, index into the user's history or -1, index into the context
    of the item that speaks most for it or -1. `features` (Q, C, F), `units` (Q, C, H), `scores` (Q, C), `moment`
    (Q, Z). `places` (Q, K, 2): candidates in the order of the list, and indices of `REASONS`. Where the item that came
    stands among the candidates, `gradient` (Q, F + H) and `unit_gradient` (Q, F + Z + 1, H) are what that teaches.
    """

    facts: NDArray[np.int32]
    candidates: NDArray[np.int32]
    moment: NDArray[np.float32]
    features: NDArray[np.float32]
    units: NDArray[np.float32]
    scores: NDArray[np.float64]
    places: NDArray[np.int32]
    gradient: NDArray[np.float64]
    unit_gradient: NDArray[np.float32]

    @classmethod
    def empty(cls, queries: int, candidates: int, longest: int, hidden: int) -> "Answers":
        """Room for so many queries, candidates of each, items of a list, and hidden units."""
        return cls(
            facts=np.zeros((queries, 6), np.int32),
            candidates=np.zeros((queries, candidates, 3), np.int32),
            moment=np.zeros((queries, len(MOMENT)), np.float32),
            features=np.zeros((queries, candidates, len(FEATURES)), np.float32),
            units=np.zeros((queries, candidates, hidden), np.float32),
            scores=np.zeros((queries, candidates)),
            places=np.zeros((queries, longest, 2), np.int32),
            gradient=np.zeros((queries, len(FEATURES) + hidden)),
            unit_gradient=np.zeros((queries, len(INPUTS), hidden), np.float32),
        )


@compiled
def answer(
    tables: Tables,
    weights: Weights,
    steps: NDArray[np.int32],
    queries: Queries,
    visits: Visits,
    scratch: Scratch,
    answers: Answers,
    most: int,
) -> None:
    """Take `steps` (N,) in order: the next of `queries` is ranked (0), or the next of `visits` folded in (1).

    So each list knows every visit before it and none after it. At most about `most` candidates are ranked.
    """
    q = v = 0
    for step in steps:
        if step == ASK:
            _rank(tables, weights, queries, q, scratch, answers, most)
            q += 1
        else:
            fold(tables, visits.items[v], visits.contexts[v], visits.ts_ms[v], visits.opens[v], visits.weights[v])
            v += 1


@compiled
def _rank(
    tables: Tables, weights: Weights, queries: Queries, q: int, scratch: Scratch, answers: Answers, most: int
) -> None:
    found = gather(tables, queries, q, most, scratch)
    facts, candidates = answers.facts[q], answers.candidates[q, :found]
    moment, features, units = answers.moment[q], answers.features[q, :found], answers.units[q, :found]
    scores = answers.scores[q, :found]
    linear = weights.linear[queries.facts[q, MODEL]]
    fill_moment(tables, queries, q, moment)
    fill_features(tables, queries, q, scratch, found, features)
    score(linear, weights.units, moment, features, units, scores)
    came = queries.facts[q, CAME]
    facts[FOUND], facts[STANDS], facts[RANK], facts[POPULAR_RANK] = found, -1, 0, 0
    for at in range(found):
        candidates[at, ROW] = scratch.marks[at, MARKED_ROW]
        candidates[at, OWN] = scratch.marks[at, MARKED_OWN]
        candidates[at, BECAUSE] = scratch.marks[at, MARKED_BECAUSE]
        if came >= 0 and candidates[at, ROW] == came:
            facts[STANDS] = at
    if facts[STANDS] >= 0:
        facts[POPULAR_RANK] = rank_of(features[:, LAST_200], facts[STANDS])
        gradient, unit_gradient = answers.gradient[q], answers.unit_gradient[q]
        teach(linear, moment, features, units, scores, facts[STANDS], gradient, unit_gradient)
    order(linear, weights.units, queries.facts[q, K], queries.facts[q, EXCLUDE_SEEN], q, answers)


@compiled
def order(
    linear: NDArray[np.float64], unit_weights: NDArray[np.float32], k: int, exclude_seen: bool, q: int, answers: Answers
) -> None:
    """Write what follows from the scores of query `q`: the rank of the item that came, places and reasons."""
    facts = answers.facts[q]
    found = facts[FOUND]
    scores, candidates, places = answers.scores[q, :found], answers.candidates[q, :found], answers.places[q]
    if facts[STANDS] >= 0:
        facts[RANK] = rank_of(scores, facts[STANDS])
    skipped = candidates[:, OWN] if exclude_seen else np.full(found, -1, np.int32)
    facts[LISTED], facts[TIED] = best(scores, skipped, k, places[:, CANDIDATE])
    for n in range(facts[LISTED]):
        at = places[n, CANDIDATE]
        mine, because = candidates[at, OWN] >= 0, candidates[at, BECAUSE]
        x, unit = answers.features[q, at], answers.units[q, at]
        places[n, REASON] = reason_of(linear, unit_weights, x, unit, mine, because)
