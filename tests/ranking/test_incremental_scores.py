"""Looks at lists against their definition: what everyone's scores are, and which items a list is to hold by now."""

from typing import NamedTuple

import numpy as np
import pytest

from freshflow.events.model import ItemUpdate
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES, GLOBAL_FEATURES
from freshflow.ranking.incremental_scores import (
    UserBaselines,
    collect_popular_rows,
    global_scores,
    refresh_lists,
    write_baseline,
)
from freshflow.ranking.kernel import N_CANDIDATES
from tests.ranking.worlds import START_MS, World, trained

K, OWN = 4, 6
SESSIONS = ["a b c", "b d", "e f a", "g h", "a c", "h i b", "j a"]


def world() -> World:
    made = World(*SESSIONS)
    made.knowledge.update_catalogue(ItemUpdate(1, "f", START_MS, available=False))
    return made


def popular_in(made: World) -> np.ndarray:
    rows = np.empty(50, np.int32)
    seen = np.zeros(made.knowledge.capacity, bool)
    found = collect_popular_rows(made.knowledge.tables, rows, seen)
    assert not seen.any()
    return rows[:found]


def test_what_may_be_popular_is_all_that_is_touched_and_available_once():
    made = world()
    ids = [made.knowledge.index.ids[row] for row in popular_in(made)]
    assert sorted(ids) == sorted("abcdeghij")


def test_everyones_score_is_that_of_popularity_alone_at_the_opening_of_a_session():
    made, weights = world(), trained().weights
    ranked = made.rank(made.query(history=("a", "e")), weights=weights)
    plain = np.zeros((len(FEATURES), ranked.answers.results[0, N_CANDIDATES]))
    plain[list(GLOBAL_FEATURES)] = ranked.features().T[list(GLOBAL_FEATURES)]
    moment = np.zeros(len(CONTEXT_FEATURES))
    for name, value in {"opens": 1, "pause_before": 1.42, "history": 1.01, "last_visits": 1}.items():
        moment[CONTEXT_FEATURES.index(name)] = value
    inputs = np.vstack([plain, np.tile(np.append(moment, 1)[:, None], plain.shape[1])])
    units = np.maximum(0, weights.units.astype(np.float64) @ inputs)
    expected = weights.linear[0, : len(FEATURES)] @ plain + weights.linear[0, len(FEATURES) :] @ units
    rows = np.array([made.knowledge.index.get(item) for item in ranked.items()] + [-1], np.int32)
    known = np.full(made.knowledge.capacity, np.nan)
    global_scores(made.knowledge.tables, weights.linear[0], weights.units, made.now_ms, rows, known)
    np.testing.assert_allclose(known[rows[:-1]], expected, atol=1e-3)
    assert np.isnan(np.delete(known, rows[:-1])).all()


def test_scores_that_are_known_are_not_made_again():
    made, weights = world(), trained().weights
    known = np.full(made.knowledge.capacity, np.nan)
    row = made.knowledge.index.get("a")
    known[row] = 7
    rows = np.array([row], np.int32)
    global_scores(made.knowledge.tables, weights.linear[0], weights.units, made.now_ms, rows, known)
    assert known[row] == 7


@pytest.mark.parametrize("context", [(), ("a", "c")], ids=["nothing personal", "in a session"])
def test_a_base_gives_back_the_scores_it_was_taken_from(context):
    """At the same moment g(i) + r(i) are the scores of the ranking, and Z the sum of their exponentials."""
    made, weights = world(), trained().weights
    ranked = made.rank(made.query(*context, history=("e",), k=K), weights=weights)
    answers, found = ranked.answers, int(ranked.answers.results[0, N_CANDIDATES])
    scores = answers.scores[0, :found]
    places = np.argsort(-scores)[:OWN].astype(np.int32)
    rests, level = np.empty(len(places), np.float32), np.empty(2, np.float32)
    candidates, features = answers.candidates[0, :found], answers.features[0, :, :found].copy()
    write_baseline(weights, candidates, features, scores, places, rests, level)
    known = np.full(made.knowledge.capacity, np.nan)
    rows = candidates[:, 0].astype(np.int32)
    global_scores(made.knowledge.tables, weights.linear[0], weights.units, made.now_ms, rows, known)
    np.testing.assert_allclose(known[rows[places]] + rests, scores[places], atol=1e-3)
    assert level[1] == pytest.approx(np.log(np.exp(scores).sum()), abs=1e-5)
    impersonal = (candidates[:, 1] < 0) & (candidates[:, 2] < 0)
    rest = (scores - known[rows])[impersonal].mean() if impersonal.any() else 0
    assert level[0] == pytest.approx(rest, abs=1e-3)


class Looked(NamedTuple):
    """What a look kept of each user: the list, its scores, which items are the user's own, the gain."""

    rows: list[int]
    scores: list[float]
    is_own: list[bool]
    gain: float


def looked(
    made: World, views: UserBaselines, chances: np.ndarray, banned: list[list[int]], worth: float
) -> dict[int, Looked]:
    users, weights = len(chances), trained().weights
    known = np.full(made.knowledge.capacity, np.nan)
    popular = popular_in(made)
    global_scores(made.knowledge.tables, weights.linear[0], weights.units, made.now_ms, popular, known)
    popular = popular[np.argsort(-known[popular], kind="stable")]
    starts = np.cumsum([0, *map(len, banned)]).astype(np.int64)
    unwanted = np.array([row for rows in banned for row in rows], np.int32)
    found, places = np.empty((users, K), np.int32), np.empty((users, K), np.int32)
    scores, worthy, gains = np.empty((users, K)), np.empty(users, np.int32), np.empty(users)
    kept = refresh_lists(
        *(made.knowledge.tables, weights.linear[0], weights.units, made.now_ms, views),
        *(np.arange(users, dtype=np.int32), chances, unwanted, starts, worth),
        *(known, popular, found, places, scores, worthy, gains),
    )
    sizes = (found[:kept] >= 0).sum(1)
    kept_of = {}
    for n, size in enumerate(sizes):
        user, rows, own = int(worthy[n]), found[n, :size], places[n, :size] >= 0
        assert (views.item_rows[user, places[n, :size][own]] == rows[own]).all()
        kept_of[user] = Looked(rows.tolist(), scores[n, :size].tolist(), own.tolist(), gains[user])
    return kept_of


def kept_of_own(views: UserBaselines) -> list[set[tuple]]:
    columns = zip(views.item_rows.tolist(), views.residuals.tolist(), views.reasons.tolist(), strict=True)
    return [{(row, rest, *behind) for row, rest, behind in zip(*user, strict=True)} for user in columns]


def by_definition(made: World, views: UserBaselines, user: int, chance: float, banned: list[int]) -> Looked:
    """Every item that may be shown, sorted by its score; own items before others where scores tie."""
    weights, known = trained().weights, np.full(made.knowledge.capacity, np.nan)
    everyone = np.arange(len(made.knowledge.index.ids), dtype=np.int32)
    global_scores(made.knowledge.tables, weights.linear[0], weights.units, made.now_ms, everyone, known)
    own, bias, log_z = views.item_rows[user].tolist(), float(views.levels[user, 0]), float(views.levels[user, 1])
    available = made.knowledge.tables.available

    def value(row: int) -> float:
        return known[row] + (float(views.residuals[user, own.index(row)]) if row in own else bias)

    others = [row for row in popular_in(made).tolist() if row not in own and row not in banned]
    allowed = [row for row in own if row >= 0 and available[row]] + others
    rows = sorted(allowed, key=value, reverse=True)[:K]
    listed = [row for row in views.list_rows[user].tolist() if row >= 0 and available[row]]
    after, before = (sum(np.exp(min(value(row) - log_z, 0)) for row in several) for several in (rows, listed))
    return Looked(
        rows, [value(row) for row in rows], [row in own for row in rows], chance * (after - before) / max(after, 1)
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_look_finds_the_best_items_and_keeps_the_lists_that_gain_enough(seed):
    made, random, users = world(), np.random.default_rng(seed), 6
    items = len(made.knowledge.index.ids)
    unavailable = made.knowledge.index.get("f")
    views = UserBaselines(
        np.array([random.permutation(items)[:K] for _ in range(users)], np.int32),
        np.array([random.permutation(items)[:OWN] for _ in range(users)], np.int32),
        random.normal(0, 1, (users, OWN)).astype(np.float32),
        random.normal(0, 1, (users, 2)).astype(np.float32),
        random.integers(0, items, (users, OWN, 2)).astype(np.int32),
    )
    views.list_rows[0, 2:] = -1
    views.item_rows[1, 3:] = -1
    banned = [[], [], [0, 1], [], random.permutation(items)[:5].tolist(), []]
    banned = [[row for row in rows if row not in views.item_rows[user]] for user, rows in enumerate(banned)]
    chances = random.uniform(0, 1, users)
    expected = {user: by_definition(made, views, user, chances[user], banned[user]) for user in range(users)}
    worth = float(np.median([one.gain for one in expected.values()]))
    kept_with = kept_of_own(views)
    kept = looked(made, views, chances, banned, worth)
    assert kept_of_own(views) == kept_with  # only its order has changed
    assert set(kept) == {user for user, one in expected.items() if one.gain >= worth}
    for user, one in kept.items():
        assert unavailable not in one.rows
        assert (one.rows, one.is_own) == (expected[user].rows, expected[user].is_own)
        assert one.scores == pytest.approx(expected[user].scores)
        assert one.gain == pytest.approx(expected[user].gain)
