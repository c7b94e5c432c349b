"""The last step between ranking and composing: young items in some of the last places of a list."""

from collections.abc import Sequence

import numpy as np
from msgspec import structs

from freshflow.exploration.bandit import Choice, Exploration
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemKnowledge
from freshflow.outputs.records import ListItem
from freshflow.ranking.kernel import CANDIDATE, ITEM, LISTED, REASON, SOURCE, Answers
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import EXPLORE, NOT_RANKED

__all__ = ["POLICY", "explore", "with_propensities"]

POLICY = "upper-bounds"  # what made the propensities of a list


def explore(
    exploration: Exploration,
    length: int,
    query: Query,
    q: int,
    answers: Answers,
    knowledge: ItemKnowledge,
    hidden: frozenset[int],
    seed: int,
) -> list[Choice]:
    """Put arms into the list of query number `q`, of at most `length` items, and say what was chosen.

    An arm is none that the user knows or has turned down, that is not available, or whose row is `hidden`. The same
    `seed` gives the same choices.
    """
    n, places = min(length, int(answers.facts[q, LISTED])), answers.places[q]
    rows = {arm: knowledge.rows.get(arm) for arm in exploration.arms}
    there = set(places[:n, ITEM].tolist()) | hidden | {NO_ROW}
    out = {*query.user.items, *query.user.dismissed}
    out |= {arm for arm, row in rows.items() if row in there or not knowledge.is_available(arm)}
    choices = exploration.choose(n, out, np.random.default_rng(seed))
    for place, arm, _ in choices:
        if arm is not None:
            places[place, [CANDIDATE, ITEM, REASON, SOURCE]] = NOT_RANKED, rows[arm], EXPLORE, NO_ROW
            answers.listed_scores[q, place] = 0.0
    return choices


def with_propensities(items: Sequence[ListItem], choices: Sequence[Choice]) -> list[ListItem]:
    """The items of a list, those at open places with the probability that they stand there."""
    known = {choice.place: choice.propensity for choice in choices}
    return [structs.replace(item, propensity=known.get(place)) for place, item in enumerate(items)]
