"""Searches of a partition: the engine's results in another order, and what is learned from what people choose of them.

Queries and choices are taken one by one in the order of the stream, after the compiled loop has ranked what it takes at
once: an answer knows every choice before it and none after it, wherever batches end.
"""

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from freshflow.config.schema import SearchConfig
from freshflow.events.model import Search
from freshflow.events.query_keys import query_keys
from freshflow.items.query_choices import Choices
from freshflow.items.statistics import ItemKnowledge
from freshflow.items.visit import Visit
from freshflow.metrics.prequential import HitRate
from freshflow.outputs.records import ListItem
from freshflow.ranking.kernel import FOUND, OWN, ROW, Answers
from freshflow.ranking.query import Query
from freshflow.ranking.scoring import STEP
from freshflow.search.model import CHOSEN, ENGINE, SEARCH_FEATURES, Results, SearchRanker
from freshflow.search.model import OWN as OWN_FEATURE
from freshflow.users.profile import UserState
from freshflow.users.updates import Ask, Interaction

__all__ = ["Searches"]

MOST_CHOSEN = 30  # items that the feed takes into account after a search
SHOWN = 30  # results of an answer, from the first on, that choices are learned among
WAITING = 5_000  # users whose latest answer is kept until they choose; who searched longest ago goes first
LAST = "last"  # the contribution that takes an item to the end


class _Answer(msgspec.Struct, array_like=True):
    """The latest answer to a user: keys and time of the search, the first results as shown with their places in the
    engine's order (from 1) and features (C, F) in bytes; `chosen` are the results that were taken since.
    """

    key: str
    ts_ms: int
    items: list[str]
    engine: list[int]
    features: bytes
    chosen: list[str] = msgspec.field(default_factory=list)


class Searches:
    """What is known of queries, the model, the answers that wait for a choice, and how good they were."""

    def __init__(self, config: SearchConfig, gap_ms: int) -> None:
        self.config = config
        self.gap_ms = gap_ms
        self.choices = Choices(config.queries)
        self.ranker = SearchRanker()
        self.waiting: dict[str, _Answer] = {}
        self.ours, self.engine = HitRate(), HitRate()

    def learn(self, step: Interaction | Visit) -> None:
        """A visit after a search, of this partition's user or of another's."""
        visit = step.visit if isinstance(step, Interaction) else step
        if isinstance(step, Interaction):
            self._choose(step)
        self.choices.learn(visit.searched, visit.item_id, visit.ts_ms, visit.weight / (1 + visit.after_search))

    def _choose(self, step: Interaction) -> None:
        """Score the answer that the user chose from, and teach the model."""
        event, search, answer = step.event, step.before.search, self.waiting.get(step.event.user_id)
        if answer is None or search is None or (answer.key, answer.ts_ms) != (search.keys[0], search.ts_ms):
            return
        item = event.item_id
        if item in answer.chosen or item not in answer.items:
            return
        at = answer.items.index(item)
        self.ours.add([at + 1])
        self.engine.add([answer.engine[at]])
        features = np.frombuffer(answer.features, np.float32).reshape(-1, len(SEARCH_FEATURES)).astype(np.float64)
        open_to = [n for n, other in enumerate(answer.items) if other not in answer.chosen]
        if len(open_to) > 1:
            self.ranker.learn(features[open_to], open_to.index(at), event.pull)
        answer.chosen.append(item)

    def with_chosen(self, query: Query) -> Query:
        """A query for the feed with what people choose after the user's latest search, as long as that counts."""
        user, search = query.user, query.user.search
        if (
            search is None
            or query.only is not None
            or query.now_ms - max(search.ts_ms, user.last_ms) > self.gap_ms
            or query.now_ms < search.ts_ms
        ):
            return query
        return structs.replace(query, chosen=self.choices.most(search.keys, MOST_CHOSEN, search.visits))

    def results(self, search: Search, user: UserState) -> tuple[str, ...]:
        """The engine's results, each once, and behind them, if wanted, what people choose most after the query."""
        found = dict.fromkeys(search.items)
        most = self.choices.most(query_keys(search.query), MOST_CHOSEN, 0) if self.config.add else None
        if most is None:
            return tuple(found)
        others = (item for item in most.items if item not in found and item not in user.dismissed)
        return (*found, *islice(others, self.config.add))

    def answer(
        self,
        ask: Ask,
        q: int,
        feed: list[ListItem],
        answers: Answers,
        knowledge: ItemKnowledge,
        hidden: Collection[str] = (),
    ) -> list[ListItem]:
        """The results of a search for its user, without those `hidden`; `feed` says what speaks for known ones, by
        query number `q`.
        """
        search = ask.event
        assert isinstance(search, Search)
        items, keys = list(self.results(search, ask.user)), query_keys(search.query)
        known = self.choices.knows(keys)
        scores, own = _found(items, q, answers, knowledge)
        features = Results(self.choices.shares(keys, items) if known else None, scores, own).features
        parts = self.ranker.contributions(features, known=known)
        totals = parts.sum(axis=1)
        last = self._last(items, ask.user, knowledge)
        if last:
            end = -float(np.ptp(totals)) - 1.0
            totals[last] += np.rint(end / STEP) * STEP
        reasons = {item.item_id: item for item in feed}
        listed = [
            _item(items[n], float(totals[n]), parts[n], reasons.get(items[n]), last=float(totals[n] - parts[n].sum()))
            for n in np.flatnonzero(self._kept(items, search, ask.user, knowledge, hidden)).tolist()
        ]
        listed = sorted(listed, key=lambda item: (-item.score, item.item_id))[: search.k]
        if ask.user.search is not None:
            self._wait(search, ask.user.search.keys[0], ask.user.search.ts_ms, listed, items, features)
        return listed

    def forget(self, user_id: str) -> None:
        """Keep nothing of a user."""
        self.waiting.pop(user_id, None)

    def figures(self) -> dict[str, float]:
        """The rank of what was chosen in our answers and in the engine's order, if anything was."""
        if not self.ours.events:
            return {}
        several = (("search", self.ours), ("engine", self.engine))
        return {f"{name}_{figure}": value for name, of in several for figure, value in of.figures().items()}

    def state(self) -> dict[str, Any]:
        """All there is to keep of what is no model; see `restore`."""
        return {"choices": self.choices.snapshot(), "waiting": msgspec.msgpack.encode(self.waiting)}

    def models(self) -> tuple[SearchRanker, HitRate, HitRate]:
        """What is kept as objects."""
        return self.ranker, self.ours, self.engine

    def restore(self, state: dict[str, Any], models: tuple[SearchRanker, HitRate, HitRate]) -> None:
        """Go on from a `state` and `models`."""
        self.choices.restore(state["choices"])
        self.waiting = msgspec.msgpack.decode(state["waiting"], type=dict[str, _Answer])
        self.ranker, self.ours, self.engine = models

    def _wait(
        self,
        search: Search,
        key: str,
        ts_ms: int,
        listed: list[ListItem],
        items: list[str],
        features: NDArray[np.float64],
    ) -> None:
        old = self.waiting.get(search.user_id)
        if ts_ms != search.ts_ms or (old is not None and (old.key, old.ts_ms) == (key, ts_ms)):
            return  # it came too late, or once more
        place = {item: n for n, item in enumerate(items)}
        shown = [item.item_id for item in listed[:SHOWN]]
        at = [place[item] for item in shown]
        self.waiting.pop(search.user_id, None)
        self.waiting[search.user_id] = _Answer(
            key, ts_ms, shown, [n + 1 for n in at], features[at].astype(np.float32).tobytes()
        )
        if len(self.waiting) > WAITING:
            del self.waiting[next(iter(self.waiting))]

    def _kept(
        self,
        items: Sequence[str],
        search: Search,
        user: UserState,
        knowledge: ItemKnowledge,
        hidden: Collection[str],
    ) -> list[bool]:
        """Whether each item stays: those of the engine do unless they were asked to go."""
        gone = {*hidden, *(user.items if search.exclude_seen else ())}
        if self.config.drop_dismissed:
            gone |= set(user.dismissed)
        staying = set() if self.config.drop_unavailable else set(search.items)
        return [item not in gone and (item in staying or knowledge.is_available(item)) for item in items]

    @staticmethod
    def _last(items: Sequence[str], user: UserState, knowledge: ItemKnowledge) -> list[int]:
        """The numbers of items that go to the end: not available, or turned down by the user."""
        dismissed = set(user.dismissed)
        return [n for n, item in enumerate(items) if item in dismissed or not knowledge.is_available(item)]


def _found(
    items: Sequence[str], q: int, answers: Answers, knowledge: ItemKnowledge
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The feed scores (C,) of results, NaN where there is none, and whether the user knows them."""
    found = answers.facts[q, FOUND]
    rows = answers.candidates[q, :found, ROW].tolist()
    number = {row: at for at, row in enumerate(rows)}
    at = np.array([number.get(row, -1) for row in knowledge.rows.rows_or_none(items)], np.int64)
    scores, own = np.full(len(items), np.nan), np.zeros(len(items), np.bool_)
    scores[at >= 0] = answers.scores[q, at[at >= 0]]
    own[at >= 0] = answers.candidates[q, at[at >= 0], OWN] >= 0
    return scores, own


def _item(item_id: str, score: float, parts: NDArray[np.float64], feed: ListItem | None, last: float) -> ListItem:
    """An item with the reason that says most, and what each feature adds to its score."""
    added = {name: value for name, value in zip(SEARCH_FEATURES, parts.tolist(), strict=True) if value}
    if last:
        added[LAST] = last
    strongest = max(range(len(parts)), key=lambda n: parts[n] if n != ENGINE else 0.0)
    if strongest == CHOSEN:
        return ListItem(item_id, score, "searched", (), added)
    if strongest == OWN_FEATURE:
        return ListItem(item_id, score, "again", (item_id,), added)
    if strongest != ENGINE and feed is not None:
        return ListItem(item_id, score, feed.reason, feed.because, added)
    return ListItem(item_id, score, "engine" if feed is not None else "unknown", (), added)
