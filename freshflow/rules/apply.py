"""Between ranking and composing: lists of which rules choose the items, put in the places of the ranked ones."""

from collections.abc import Sequence

import numpy as np

from freshflow.items.index import NO_ROW
from freshflow.ranking.kernel import CANDIDATE, ITEM, LISTED, REASON, SOURCE, Answers
from freshflow.ranking.query import Query
from freshflow.rules.candidate_list import ADDED, Ranked
from freshflow.rules.pipeline import Rules

__all__ = ["Shown", "choose", "ranked_of", "show"]

Shown = dict[int, Ranked]  # by the number of the query


def choose(
    rules: Rules | None, asked: Sequence[int], lengths: Sequence[int], queries: Sequence[Query], answers: Answers
) -> Shown:
    """Let rules choose the lists of queries number `asked`, of at most `lengths` items, and write them to `answers`.

    Scores must be settled: ties are broken. Without rules nothing is done.
    """
    if rules is None:
        return {}
    shown: Shown = {}
    for q, k in zip(asked, lengths, strict=True):
        query = queries[q]
        if query.only is not None:  # an engine found them: `freshflow.search.reranker`
            continue
        shown[q] = rules.choose(ranked_of(q, answers), query, k)
        show(shown[q], q, answers)
    return shown


def ranked_of(q: int, answers: Answers) -> Ranked:
    """What was ranked for query number `q`."""
    n = answers.facts[q, LISTED]
    places = answers.places[q, :n].T.copy()
    scores, added = answers.listed_scores[q, :n].copy(), np.zeros((n, len(ADDED)))
    return Ranked(places[ITEM], scores, places[REASON], places[SOURCE], places[CANDIDATE], added)


def show(chosen: Ranked, q: int, answers: Answers) -> None:
    """Put what was chosen in the places of what was ranked for query number `q`."""
    n = chosen.size
    places = answers.places[q]
    for column, values in (
        *((CANDIDATE, chosen.candidates), (ITEM, chosen.rows)),
        *((REASON, chosen.reasons), (SOURCE, chosen.sources)),
    ):
        places[:n, column] = values
    places[n:, ITEM] = NO_ROW
    answers.listed_scores[q, :n] = chosen.scores
    answers.facts[q, LISTED] = n
