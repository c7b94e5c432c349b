"""A partition: item knowledge, ranker and published lists of its users, and the five steps of every event.

    1 rank on the context before -> validate     3 fold into item knowledge
    2 learn (ranker)                             4 rank on the context after -> publish

Events are taken in chunks. Both rankings of a chunk are one pass of numpy over the knowledge at its start, plus what
popularity the chunk's own earlier visits add; so a list may lag other users' events by a chunk and never leads them,
while it knows every event of its own user, whose context and history travel with the event.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow.config import Config
from freshflow.events.types import Behaviour, Forget, ItemUpdate, Origin, Request, Search
from freshflow.items.knowledge import Chunk, ItemKnowledge
from freshflow.items.rows import NO_ROW
from freshflow.items.visits import Visit
from freshflow.lists.published import Published
from freshflow.lists.signals import Signals
from freshflow.lists.types import Cause, Forgotten, ListItem, Model, Output, RecommendationList
from freshflow.quality.report import Report
from freshflow.quality.validation import Validation
from freshflow.ranking.candidates import Candidates, gather
from freshflow.ranking.features import FEATURES, compute
from freshflow.ranking.queries import Query
from freshflow.ranking.ranker import Ranker, choice_gradients
from freshflow.ranking.selection import Chosen, choose, ranks_of
from freshflow.users.interactions import Ask, Interaction, Step
from freshflow.users.state import UserState, context_at

__all__ = ["Partition", "cut"]

# Popularity gained within a chunk is kept relative to its end; beyond a day the hour's half-life loses precision.
CHUNK_SPAN_MS = 86_400_000

CAUSES: dict[type, Cause] = {Behaviour: "interaction", Request: "request", Search: "search"}

Ranked = Interaction | Ask | Visit


class _Ranking(msgspec.Struct, frozen=True):
    """One pass over a chunk's queries: candidates, features (F, Q, C), scores (Q, C)."""

    queries: list[Query]
    candidates: Candidates
    features: NDArray[np.float32]
    scores: NDArray[np.float64]


class Partition:
    """The state of partition `number`; `clock` gives processing time in epoch milliseconds, for `computed_at` only."""

    def __init__(self, number: int, config: Config, clock: Callable[[], int]) -> None:
        self.number = number
        self.config = config
        self.clock = clock
        self.knowledge = ItemKnowledge(config.items)
        self.ranker = Ranker(config.ranker)
        self.signals = Signals()
        self.published = Published(max(1, config.users.max // config.job.partitions))
        self.validation = Validation()
        self.counts: Counter[str] = Counter()
        self.event_ts = 0
        self.reported = 0

    def hear(self, origin: Origin, visits: Sequence[Visit]) -> None:
        """Hold signals of other partitions until the own stream has come as far."""
        self.signals.add(origin.key, visits)

    def relieve(self, origin: Origin) -> None:
        """Take in the signals that are held if there are too many of them."""
        self._take(origin, self.signals.overflow())

    def finish(self, origin: Origin) -> None:
        """Take in the signals that are still held."""
        self._take(origin, self.signals.drain())

    def take(self, origin: Origin, steps: Sequence[Step], upto: int | None = None) -> list[Output]:
        """What is to be published after `steps` of one origin, in its order; it has been read as far as `upto`."""
        return self._take(origin, self.signals.merge(origin.key, steps, upto))

    def _take(self, origin: Origin, steps: Sequence[Step]) -> list[Output]:
        outputs: list[Output] = []
        for part in cut(steps, self.config.ranking.chunk):
            if isinstance(part, ItemUpdate):
                self.knowledge.update_catalogue(part)
            elif isinstance(part, Forget):
                self.published.forget(part.user_id)
                outputs.append(Forgotten(part.user_id))
            else:
                outputs += self._take_chunk(origin, part)
        return outputs

    def _take_chunk(self, origin: Origin, steps: list[Ranked]) -> list[Output]:
        visits = [step.visit if isinstance(step, Interaction) else step for step in steps if not isinstance(step, Ask)]
        chunk = self.knowledge.admit(visits)
        befores, afters = self._queries(steps)
        outputs: list[Output] = []
        if befores or afters:
            ranking = self._rank(chunk, [query for _, query in [*befores, *afters]])
            self._validate_and_learn([step for step, _ in befores], ranking)
            outputs = self._lists(origin, [step for step, _ in afters], ranking)
        self.ranker.take_over()
        self.knowledge.fold(chunk)
        return outputs

    def _queries(
        self, steps: list[Ranked]
    ) -> tuple[list[tuple[Interaction, Query]], list[tuple[Interaction | Ask, Query]]]:
        """What to rank for validation and learning, and what to rank for lists; both in the order of `steps`."""
        befores: list[tuple[Interaction, Query]] = []
        afters: list[tuple[Interaction | Ask, Query]] = []
        position = 0
        for step in steps:
            if isinstance(step, Interaction):
                befores.append((step, Query(step.before, step.context, step.event.ts_ms, position)))
                afters.append((step, self._query_after(step, position + 1)))
            elif isinstance(step, Ask):
                afters.append((step, self._query_asked(step, position)))
            position += not isinstance(step, Ask)
        return befores, afters

    def _query_after(self, step: Interaction, position: int) -> Query:
        users = self.config.users
        gap_ms = int(users.session_gap_s * 1000)
        context = context_at(step.after, step.event.ts_ms, gap_ms=gap_ms, limit=users.context)
        return Query(step.after, context, step.event.ts_ms, position)

    def _query_asked(self, step: Ask, position: int) -> Query:
        users, event = self.config.users, step.event
        gap_ms = int(users.session_gap_s * 1000)
        context = context_at(step.user, event.ts_ms, gap_ms=gap_ms, limit=users.context)
        only = event.items if isinstance(event, Search) else None
        exclude_seen = not isinstance(event, Behaviour) and event.exclude_seen
        return Query(step.user, context, event.ts_ms, position, only, exclude_seen)

    def _rank(self, chunk: Chunk, queries: list[Query]) -> _Ranking:
        candidates = gather(self.knowledge, chunk, queries, self.config.ranking)
        features = compute(self.knowledge, chunk, queries, candidates)
        scores = self.ranker.scores(queries, features, candidates.real)
        return _Ranking(queries, candidates, features, scores)

    def _validate_and_learn(self, steps: list[Interaction], ranking: _Ranking) -> None:
        """Score the lists that were ranked before each step against what came, then teach the ranker what came."""
        n = len(steps)
        if not n:
            return
        rows = np.array(self.knowledge.rows.rows_or_none([step.event.item_id for step in steps]), np.int64)
        candidates, scores, features = ranking.candidates.rows[:n], ranking.scores[:n], ranking.features[:, :n]
        ranks, places = ranks_of(rows, candidates, scores)
        popular = np.where(candidates != NO_ROW, features[FEATURES.index("last_200")], -np.inf)
        popular_ranks, _ = ranks_of(rows, candidates, popular)
        self.validation.ours.add(ranks.tolist())
        self.validation.popularity.add(popular_ranks.tolist())

        known = np.flatnonzero(places >= 0)
        gradients = choice_gradients(features[:, known], scores[known], places[known])
        for at, gradient in zip(known.tolist(), gradients.tolist(), strict=True):
            self.ranker.learn(ranking.queries[at], gradient)
        self.counts["events"] += n
        self.event_ts = max(self.event_ts, *(step.event.ts_ms for step in steps))

    def _lists(self, origin: Origin, steps: list[Interaction | Ask], ranking: _Ranking) -> list[Output]:
        """The lists of `steps`, whose queries are the last ones of `ranking`; those that did not change left out."""
        first = len(ranking.queries) - len(steps)
        chosen = choose(
            ranking.queries[first:],
            ranking.candidates.after(first),
            ranking.features[:, first:],
            ranking.scores[first:],
            self.ranker.weights_for(ranking.queries[first:]),
            self.knowledge.rows.ids,
            [self._length(step.event) for step in steps],
        )
        computed_at = self.clock()
        lists: list[Output] = []
        for step, items in zip(steps, chosen, strict=True):
            if isinstance(step, Ask) and isinstance(step.event, Search):
                items = self._with_unknown(step.event, step.user, items)[: step.event.k]
            if not isinstance(step.event, Behaviour):
                self.counts["answers"] += 1
            elif not self.published.is_new(step.event.user_id, (item.item_id for item in items)):
                self.counts["unchanged"] += 1
                continue
            else:
                self.counts["lists"] += 1
            lists.append(self._list(origin, step.event, items, computed_at))
        return lists

    def _length(self, event: Behaviour | Request | Search) -> int:
        """How many candidates to choose for the list of an event: of a search's, all."""
        if isinstance(event, Search):
            return len(event.items)
        return (event.k if isinstance(event, Request) else None) or self.config.lists.k

    def _list(
        self, origin: Origin, event: Behaviour | Request | Search, items: list[Chosen], computed_at: int
    ) -> RecommendationList:
        cause = CAUSES[type(event)]
        explained = self.config.lists.contributions
        return RecommendationList(
            user_id=event.user_id,
            list_id=_list_id(origin, event.position, cause),
            surface="search" if isinstance(event, Search) else "feed",
            cause=cause,
            event_ts=event.ts_ms,
            computed_at=computed_at,
            source=origin.place(event.position),
            model=Model(self.number, self.ranker.scored_with),
            items=tuple(
                ListItem(c.item_id, c.score, c.reason, c.because, _named(c.contributions) if explained else None)
                for c in items
            ),
            request_id=None if isinstance(event, Behaviour) else event.request_id,
        )

    def _with_unknown(self, event: Search, user: UserState, chosen: list[Chosen]) -> list[Chosen]:
        """The engine's items that nothing is known of take part, too: without evidence, their score is 0."""
        nothing, known = np.zeros(len(FEATURES)), {item.item_id for item in chosen} | set(user.dismissed)
        if event.exclude_seen:
            known |= set(user.items)
        unknown = [
            Chosen(item_id, 0.0, "unknown", (), nothing)
            for item_id in dict.fromkeys(event.items)
            if item_id not in known and self.knowledge.is_available(item_id)
        ]
        return sorted([*chosen, *unknown], key=lambda item: (-item.score, item.item_id))

    def report(self) -> Report:
        """How the partition stands."""
        counts = self.counts | {
            "updates": self.ranker.updates,
            "items": len(self.knowledge.rows),
            "items_evicted": self.knowledge.evicted,
            "users_published": len(self.published.digests),
        }
        rival = {f"popularity_{name}": value for name, value in self.validation.popularity.figures().items()}
        quality = self.validation.ours.figures() | rival
        return Report(self.number, self.event_ts, dict(counts), quality)

    def report_if_due(self) -> Report | None:
        """A report if `metrics.every_events` events have passed since the last one."""
        if self.counts["events"] < self.reported + self.config.metrics.every_events:
            return None
        self.reported = self.counts["events"]
        return self.report()


def cut(steps: Sequence[Step], size: int) -> list[list[Ranked] | ItemUpdate | Forget]:
    """Steps in chunks of at most `size` that span at most a day; catalogue and forget events stand alone."""
    parts: list[list[Ranked] | ItemUpdate | Forget] = []
    chunk: list[Ranked] = []
    earliest = latest = 0
    for step in steps:
        if isinstance(step, ItemUpdate | Forget):
            parts.append(step)
            chunk = []
            continue
        ts_ms = step.ts_ms if isinstance(step, Visit) else step.event.ts_ms
        earliest, latest = min(earliest, ts_ms), max(latest, ts_ms)
        if not chunk or len(chunk) == size or latest - earliest > CHUNK_SPAN_MS:
            chunk, earliest, latest = [], ts_ms, ts_ms
            parts.append(chunk)
        chunk.append(step)
    return parts


def _list_id(origin: Origin, position: int, cause: str) -> str:
    return blake2b(f"{origin.key}\n{position}\n{cause}".encode(), digest_size=8).hexdigest()


def _named(contributions: NDArray[np.float64]) -> dict[str, float]:
    return {name: value for name, value in zip(FEATURES, contributions.tolist(), strict=True) if value}
