"""Choices to rank and learn: answers with candidates made up at random, scored as the compiled loop would."""

from collections.abc import Callable

import numpy as np

from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES
from freshflow.ranking.gradients import choice_gradient
from freshflow.ranking.kernel import (
    CANDIDATE_ROW,
    HISTORY_INDEX,
    N_CANDIDATES,
    TARGET_INDEX,
    TARGET_RANK,
    RankingResults,
    build_list,
)
from freshflow.ranking.query import Query
from freshflow.ranking.ranker import Ranker
from freshflow.ranking.scoring import score_candidates
from freshflow.users.profile import Context, UserProfile

F, Z = len(FEATURES), len(CONTEXT_FEATURES)
NOW_MS = 1_700_000_000_000
CANDIDATES = 40
LAG = 8
IN_SESSION = Query(UserProfile(), Context(("a",), 1, 0), NOW_MS, k=20)
AT_START = Query(UserProfile(), Context((), 0, 0), NOW_MS, k=20)

Taste = Callable[[np.ndarray], np.ndarray]


def features(seed: int, candidates: int = CANDIDATES) -> np.ndarray:
    """Features (C, F), half of them zero, as features are."""
    random = np.random.default_rng(seed)
    shape = (candidates, F)
    return (random.uniform(0, 1, shape) * random.integers(0, 2, shape)).astype(np.float32)


def of_few(x: np.ndarray) -> np.ndarray:
    """A taste that is a sum: some features please, some displease, most say nothing."""
    return 4 * x[:, 0] + 3 * x[:, 5] - 3 * x[:, 9] + 2 * x[:, 20]


def answered(
    ranker: Ranker, x: np.ndarray, came: int = -1, query: Query = IN_SESSION, moment: np.ndarray | None = None
) -> RankingResults:
    """What the compiled loop finds where these are the candidates; candidate n is item n, and `came` came."""
    answers = RankingResults.empty(1, len(x), max(query.k, 1), len(ranker.units), keep_features=True)
    answers.features[0] = x.T
    answers.context_features[0] = 0 if moment is None else moment
    answers.results[0, N_CANDIDATES], answers.results[0, TARGET_INDEX] = len(x), came
    answers.candidates[0, :, CANDIDATE_ROW] = np.arange(len(x))
    answers.candidates[0, :, HISTORY_INDEX:] = -1
    linear, units = ranker.weights.linear[query.model_index], ranker.weights.units
    score_candidates(
        linear, units, answers.context_features[0], answers.features[0], len(x), answers.units[0], answers.scores[0]
    )
    if came >= 0:
        gradients = answers.gradient[0], answers.unit_gradient[0]
        moment = answers.context_features[0]
        choice_gradient(
            linear, moment, answers.features[0], len(x), answers.units[0], answers.scores[0], came, *gradients
        )
    build_list(linear, units, query.k, query.exclude_seen, 0, answers)
    return answers


def learn(ranker: Ranker, x: np.ndarray, came: int, query: Query = IN_SESSION) -> RankingResults:
    """One event as a partition takes it: rank, re-order, learn, and take over after every so many."""
    answers = answered(ranker, x, came, query)
    ranker.rerank([query], answers)
    ranker.record_choice(query.model_index, answers.gradient[0], answers.unit_gradient[0])
    ranker.record_rerank_examples(query, 0, answers)
    if ranker.n_updates % LAG == 0:
        ranker.apply_updates()
    return answers


def taught(ranker: Ranker, choices: int, taste: Taste = of_few, first: int = 0) -> Ranker:
    """The ranker after so many choices: what came pleased most, give or take."""
    for seed in range(first, first + choices):
        x = features(seed)
        learn(ranker, x, came_of(x, taste, seed), IN_SESSION if seed % 4 else AT_START)
    ranker.apply_updates()
    return ranker


def came_of(x: np.ndarray, taste: Taste, seed: int) -> int:
    """What somebody of this taste comes for: exp(taste) are the odds."""
    return int(np.argmax(taste(x) + np.random.default_rng(10_000 + seed).gumbel(0, 0.5, len(x))))


def hit_rate(ranker: Ranker, taste: Taste = of_few, *, at: int = 5, choices: int = 200) -> float:
    """The share of new choices whose item ranks among the first `at` of 40."""
    hits = 0
    for seed in range(50_000, 50_000 + choices):
        x = features(seed)
        answers = answered(ranker, x, came_of(x, taste, seed))
        ranker.rerank([IN_SESSION], answers)
        hits += answers.results[0, TARGET_RANK] <= at
    return hits / choices
