"""The second stage of a ranker: any River classifier, which re-orders the best candidates of the linear first stage.

Of the `room` candidates with the highest first scores s, the one to which the model gives the n-th highest chance
p(c) = predict_proba_one(c)[True] comes n-th. Their scores become

    score(c) = log-odds p(c) + offset + e n(c),   e = 1e-6,

where n(c) is the place, from 1, of its first score among those there are, the lowest first, and the offset makes the
lowest log-odds the lowest first score. So the others keep their scores
and stay below; differences are log-odds; and what a model gives the same chance, as a tree does, or one that has
learned nothing yet, stays as the first stage had it.

The model learns pointwise, from the shortlists that held the item that came: this as True, some others as False. These
are drawn, for the best-ranked others are a biased sample: what ranks high would be pushed down because it does.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from freshflow.ranking.features import FEATURES, MOMENT
from freshflow.ranking.kernel import FOUND, OWN, RANK, STANDS, Answers, order
from freshflow.ranking.query import Query
from freshflow.ranking.scoring import STEP, Weights, names_of, score

__all__ = ["SHORTLIST_INPUTS", "Features", "chance", "examples", "rescore"]

# What the model is asked with: the candidate, the moment, and log P(c) as the first stage has it. Where content is on,
# its features stand behind those of the candidate.
SHORTLIST_INPUTS = (*FEATURES, *MOMENT, "log_share")
LEAST_LOG_SHARE = -20.0
LEAST_CHANCE = 1e-9  # log-odds stay within 21 of 0
NUDGE = 1e-6  # e
OTHERS = 6  # how many of the shortlist are taught as not chosen; 12 do little better and cost twice as much

Features = dict[str, float]


class _Shortlist:
    """The best of query `q` by the first stage, at most `room`: their `places`, the best first, and first `scores`."""

    def __init__(self, query: Query, q: int, answers: Answers, weights: Weights, room: int) -> None:
        found = answers.facts[q, FOUND]
        self.q, self.answers = q, answers
        scores = np.empty(found)
        score(
            weights.linear[query.model],
            weights.units,
            answers.moment[q],
            answers.features[q],
            found,
            answers.units[q],
            scores,
        )
        places = np.argsort(-scores, kind="stable")
        if query.exclude_seen:
            places = places[answers.candidates[q, places, OWN] < 0]
        self.places = places[:room]
        self.scores = scores[self.places]
        highest = scores.max(initial=-np.inf)
        log_shares = self.scores - highest - np.log(np.exp(scores - highest).sum())
        self.log_shares = np.maximum(log_shares, LEAST_LOG_SHARE)

    def features(self, at: Sequence[int]) -> list[Features]:
        """What the model is asked with, for the members with these numbers."""
        moment = self.answers.moment[self.q].tolist()
        candidates = self.answers.features[self.q][:, self.places[at]].T.tolist()
        names = (*names_of(self.answers.features.shape[1]), *MOMENT, "log_share")
        return [
            dict(zip(names, (*candidate, *moment, log_share), strict=True))
            for candidate, log_share in zip(candidates, self.log_shares[at].tolist(), strict=True)
        ]


def rescore(models: Sequence[Any], queries: Sequence[Query], answers: Answers, weights: Weights, room: int) -> None:
    """Re-order the shortlists of queries: scores, places and reasons, and the rank of the item that came.

    Where no list is wanted and the item that came is not on the shortlist, nothing depends on the order, and nothing is
    done. `weights` are those the answers were made with.
    """
    for q, query in enumerate(queries):
        facts = answers.facts[q]
        if not facts[FOUND] or not (query.k or 0 < facts[RANK] <= room):
            continue
        listed = _Shortlist(query, q, answers, weights, room)
        if not len(listed.places):
            continue
        model, least = models[query.model], listed.scores.min()
        chances = [chance(model, features) for features in listed.features(range(len(listed.places)))]
        odds = np.array([math.log(p / (1 - p)) for p in chances])
        rescored = odds - odds.min() + least + NUDGE * (1 + np.unique(listed.scores, return_inverse=True)[1])
        answers.scores[q, listed.places] = np.rint(rescored / STEP) * STEP
        order(weights.linear[query.model], weights.units, query.k, query.exclude_seen, q, answers)


def chance(model: Any, features: Features) -> float:
    """The chance that `model` gives a candidate, within bounds; the least if it knows nothing of any choice."""
    p = (model.predict_proba_one(features) or {}).get(True, 0.0)
    return min(max(p, LEAST_CHANCE), 1 - LEAST_CHANCE) if p == p else LEAST_CHANCE


def examples(
    query: Query, q: int, answers: Answers, weights: Weights, room: int, random: np.random.Generator
) -> list[tuple[Features, bool]]:
    """What the item that came teaches a model: (features, whether it came); nothing if it was not on the shortlist."""
    listed = _Shortlist(query, q, answers, weights, room)
    came = np.flatnonzero(listed.places == answers.facts[q, STANDS])
    if not len(came):
        return []
    others = random.permutation(np.delete(np.arange(len(listed.places)), came))[:OTHERS]
    taught = [*came.tolist(), *others.tolist()]
    return [(features, n == 0) for n, features in enumerate(listed.features(taught))]
