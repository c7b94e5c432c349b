"""From queries and visits in stream order to lists: the compiled loop over a batch, and what it found."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._numba import compiled, lean
from freshflow.items.index import NO_ROW
from freshflow.items.tables import Tables, fold
from freshflow.ranking.candidates import AFTER_SEARCH, BECAUSE, RESEMBLES, Scratch, fill_up, gather
from freshflow.ranking.candidates import OWN as MARKED_OWN
from freshflow.ranking.candidates import ROW as MARKED_ROW
from freshflow.ranking.features import AGE, LAST_200, MOMENT, fill_features, fill_moment
from freshflow.ranking.features_content import COLD, clear_tastes, fill_content, has_content
from freshflow.ranking.incremental_scores import OWN as OWN_KEPT
from freshflow.ranking.incremental_scores import take_base
from freshflow.ranking.query import CAME, EXCLUDE_SEEN, HISTORY, KEEP, MODEL, K, Queries
from freshflow.ranking.scoring import (
    AGAIN,
    PLAIN,
    SEARCHED,
    SIMILAR,
    TOGETHER,
    Weights,
    best,
    rank_of,
    reasons_of,
    score,
    teach,
)

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
ROW, OWN, BEHIND, LIKE = range(4)
CANDIDATE, ITEM, REASON, SOURCE = range(4)


class Answers(NamedTuple):
    """What was found for Q queries with C candidates at most, and lists of K at most.

    `facts` (Q, 6): how many candidates; how many of them are listed; the places among which ids must break ties, 0 if
    none; where the item that came stands among the candidates, or -1, its rank by score, 0 if it is none of them, and
    its rank by what was popular right now. `candidates` (Q, C, 4): row, index into the user's history or -1, row of the
    item of the context that speaks most for it, -1, or -2 where a search does, and row of the one that it resembles
    most or -1. `scores` (Q, C), `moment` (Q, Z). `features` (Q, F, C) and `units` (Q, H, C), or those of the last query
    only, where Q = 1 for these two.

    The list is in `places` (Q, K, 4): candidate, row, index of `REASONS`, row of the item behind the reason or -1; and
    `listed_scores` (Q, K). Rows behind its end are -1, but where there are ties, all candidates that may be meant stand
    there. Where the item that came stands among the candidates, `gradient` (Q, F + H) and `unit_gradient`
    (Q, H, F + Z + 1) are what that teaches. `own` (Q, P, 3), of the best as in `places`, `rests` (Q, P) and `levels`
    (Q, 2) are what is kept for refreshes (`freshflow.ranking.incremental_scores`).
    """

    facts: NDArray[np.int32]
    candidates: NDArray[np.int32]
    moment: NDArray[np.float32]
    features: NDArray[np.float32]
    units: NDArray[np.float32]
    scores: NDArray[np.float64]
    places: NDArray[np.int32]
    listed_scores: NDArray[np.float64]
    own: NDArray[np.int32]
    rests: NDArray[np.float32]
    levels: NDArray[np.float32]
    gradient: NDArray[np.float64]
    unit_gradient: NDArray[np.float32]

    @classmethod
    def empty(
        cls, queries: int, candidates: int, longest: int, hidden: int, *, kept: bool, features: int = PLAIN
    ) -> "Answers":
        """Room for so many queries, candidates of each, items of a list, hidden units, and features.

        Features and hidden units are `kept` of every query, or overwritten by those of the next: they take most of the
        memory, and memory that is written anew each time is not in the cache.
        """
        described, longest = queries if kept else 1, max(longest, candidates, OWN_KEPT)
        return cls(
            facts=np.zeros((queries, 6), np.int32),
            candidates=np.zeros((queries, candidates, 4), np.int32),
            moment=np.zeros((queries, len(MOMENT)), np.float32),
            features=np.zeros((described, features, candidates), np.float32),
            units=np.zeros((described, hidden, candidates), np.float32),
            scores=np.zeros((queries, candidates)),
            places=np.zeros((queries, longest, 4), np.int32),
            listed_scores=np.zeros((queries, longest)),
            own=np.zeros((queries, OWN_KEPT, 3), np.int32),
            rests=np.zeros((queries, OWN_KEPT), np.float32),
            levels=np.zeros((queries, 2), np.float32),
            gradient=np.zeros((queries, features + hidden)),
            unit_gradient=np.zeros((queries, hidden, features + len(MOMENT) + 1), np.float32),
        )


@lean
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

    So each list knows every visit before it and none after it. At most `most` candidates are ranked, or as many as are
    wanted.
    """
    q = v = 0
    for step in steps:
        if step == ASK:
            _rank(tables, weights, queries, q, scratch, answers, most)
            q += 1
        else:
            fold(tables, visits.items[v], visits.contexts[v], visits.ts_ms[v], visits.opens[v], visits.weights[v])
            v += 1


@lean
def _rank(
    tables: Tables, weights: Weights, queries: Queries, q: int, scratch: Scratch, answers: Answers, most: int
) -> None:
    found = gather(tables, queries, q, max(most, queries.facts[q, K]), scratch)
    room = fill_up(scratch, found, answers.scores.shape[1])
    facts, candidates = answers.facts[q], answers.candidates[q, :found]
    kept = q if len(answers.features) > 1 else 0
    moment, features, units = answers.moment[q], answers.features[kept], answers.units[kept]
    scores = answers.scores[q, :room]
    linear = weights.linear[queries.facts[q, MODEL]]
    fill_moment(tables, queries, q, moment)
    personal = fill_features(tables, queries, q, scratch, room, features)
    if has_content(tables.contents):
        _fill_content(tables, queries, q, scratch, room, features)
    score(linear, weights.units, moment, features, personal, units, scores)
    scores[found:] = -np.inf
    came = queries.facts[q, CAME]
    facts[FOUND], facts[STANDS], facts[RANK], facts[POPULAR_RANK] = found, -1, 0, 0
    facts[LISTED], facts[TIED] = 0, 0
    for at in range(found):
        candidates[at, ROW] = scratch.marks[at, MARKED_ROW]
        candidates[at, OWN] = scratch.marks[at, MARKED_OWN]
        because = scratch.marks[at, BECAUSE]
        candidates[at, BEHIND] = queries.context[q, because] if because >= 0 else because
        candidates[at, LIKE] = scratch.marks[at, RESEMBLES]
        if came >= 0 and candidates[at, ROW] == came:
            facts[STANDS] = at
    if facts[STANDS] >= 0:
        facts[RANK] = rank_of(scores, facts[STANDS])
        facts[POPULAR_RANK] = rank_of(features[LAST_200, :found], facts[STANDS])
        gradient, unit_gradient = answers.gradient[q], answers.unit_gradient[q]
        teach(linear, moment, features, personal, units, scores, facts[STANDS], gradient, unit_gradient)
    if queries.facts[q, K] > 0:
        order(linear, weights.units, queries.facts[q, K], queries.facts[q, EXCLUDE_SEEN], q, answers)
    if queries.facts[q, KEEP]:
        best_of_all = answers.places[q, : min(facts[LISTED], OWN_KEPT)]
        places = best_of_all[:, CANDIDATE]
        take_base(weights, candidates, features, scores[:found], places, answers.rests[q], answers.levels[q])
        answers.own[q, :, 0] = NO_ROW
        for n in range(len(best_of_all)):
            for column in range(3):
                answers.own[q, n, column] = best_of_all[n, ITEM + column]


@compiled
def _fill_content(
    tables: Tables, queries: Queries, q: int, scratch: Scratch, found: int, features: NDArray[np.float32]
) -> None:
    """Write what content says of the `found` candidates of query `q`, and be done with the query's tastes."""
    contents, counts, marks, context = tables.contents, tables.returns.counts, scratch.marks, queries.context[q]
    fill_content(
        *(contents, counts, context, scratch.tastes, scratch.lengths, scratch.likes, marks[:found, MARKED_ROW]),
        *(features[AGE], marks[:found, RESEMBLES], features[PLAIN:]),
    )
    history = queries.history[queries.starts[q, HISTORY] : queries.starts[q + 1, HISTORY]]
    clear_tastes(contents, context, history, scratch.likes)


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
    skipped = np.full(found, -1, np.int32)
    if exclude_seen:
        skipped[:] = candidates[:, OWN]
    listed, tied = best(scores, skipped, k, places[:, CANDIDATE])
    described = _all_tied(scores, skipped, places[:, CANDIDATE], listed) if tied else listed
    facts[LISTED], facts[TIED] = listed, described if tied else 0
    kept = q if len(answers.features) > 1 else 0
    features, units, of_list = answers.features[kept], answers.units[kept], answers.listed_scores[q]
    at, reasons = np.empty(described, np.int32), np.empty(described, np.int32)
    mine, company = np.empty(described, np.bool_), np.empty(described, np.bool_)
    similar, untouched = np.empty(described, np.bool_), np.zeros(described, np.bool_)
    for n in range(described):
        at[n] = places[n, CANDIDATE]
        candidate = candidates[at[n]]
        mine[n], company[n], similar[n] = candidate[OWN] >= 0, candidate[BEHIND] != NO_ROW, candidate[LIKE] >= 0
        if len(features) > PLAIN:
            untouched[n] = features[PLAIN + COLD, at[n]] == 1
    reasons_of(linear, unit_weights, features, units, at, mine, company, similar, untouched, reasons)
    for n in range(described):
        row, behind = candidates[at[n], ROW], candidates[at[n], BEHIND]
        if reasons[n] == TOGETHER and behind == AFTER_SEARCH:
            reasons[n] = SEARCHED
        places[n, ITEM], places[n, REASON], of_list[n] = row, reasons[n], scores[at[n]]
        places[n, SOURCE] = behind if reasons[n] == TOGETHER else row if reasons[n] == AGAIN else NO_ROW
        if reasons[n] == SIMILAR:
            places[n, SOURCE] = candidates[at[n], LIKE]
    for n in range(described, len(places)):
        places[n, ITEM] = NO_ROW


@lean
def _all_tied(scores: NDArray[np.float64], skipped: NDArray[np.int32], places: NDArray[np.int32], listed: int) -> int:
    """Write all candidates that score as the last of a list behind those that score more; how many there are then."""
    last, n = scores[places[listed - 1]], 0
    while scores[places[n]] > last:
        n += 1
    for at in range(len(scores)):
        if scores[at] == last and skipped[at] < 0:
            places[n] = at
            n += 1
    return n
