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
from freshflow.events.types import Forget, ItemUpdate, Origin, Search
from freshflow.items.knowledge import Chunk, ItemKnowledge
from freshflow.items.rows import NO_ROW
from freshflow.items.visits import Visit
from freshflow.lists.published import Published
from freshflow.lists.signals import Signals
from freshflow.lists.types import Forgotten, ListItem, Model, Output, RecommendationList
from freshflow.quality.report import Report
from freshflow.quality.validation import Validation
from freshflow.ranking.candidates import Candidates, gather
from freshflow.ranking.features import FEATURES, compute
from freshflow.ranking.queries import Query
from freshflow.ranking.ranker import Ranker
from freshflow.ranking.selection import Chosen, choose, rank_of
from freshflow.users.interactions import Ask, Interaction, Step
from freshflow.users.state import context_at

__all__ = ["Partition", "cut"]

# Popularity gained within a chunk is kept relative to its end; beyond a day the hour's half-life loses precision.
CHUNK_SPAN_MS = 86_400_000

Ranked = Interaction | Ask | Visit


class _Ranking(msgspec.Struct, frozen=True):
    """One pass over a chunk's queries: candidates, features (F, Q, C), scores (Q, C), weights (Q, F)."""

    queries: list[Query]
    candidates: Candidates
    features: NDArray[np.float32]
    scores: NDArray[np.float64]
    weights: NDArray[np.float64]


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

    def take(self, origin: Origin, steps: Sequence[Step]) -> list[Output]:
        """What is to be published after `steps` of one origin, in its order."""
        return self._take(origin, self.signals.merge(origin.key, steps))

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
            self._validate_and_learn(chunk, [step for step, _ in befores], ranking)
            computed_at = self.clock()
            for n, (step, _) in enumerate(afters, start=len(befores)):
                output = self._list(origin, step, ranking, n, computed_at)
                if output is not None:
                    outputs.append(output)
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
        return Query(step.user, context, event.ts_ms, position, only, event.exclude_seen)

    def _rank(self, chunk: Chunk, queries: list[Query]) -> _Ranking:
        candidates = gather(self.knowledge, chunk, queries, self.config.ranking)
        features = compute(chunk, queries, candidates)
        scores = self.ranker.scores(queries, features, candidates.real)
        return _Ranking(queries, candidates, features, scores, self.ranker.weights_for(queries))

    def _validate_and_learn(self, chunk: Chunk, steps: list[Interaction], ranking: _Ranking) -> None:
        last_200 = FEATURES.index("last_200")
        for n, step in enumerate(steps):
            row, rows = self.knowledge.rows.get(step.event.item_id), ranking.candidates.rows[n]
            scores = ranking.scores[n]
            self.validation.ours.add(rank_of(row, rows, scores))
            real = np.isfinite(scores)
            popular = np.where(real, ranking.features[last_200, n], -np.inf)
            self.validation.popularity.add(rank_of(row, rows, popular))
            came = np.flatnonzero(rows == row)
            if came.size:
                self.ranker.learn(ranking.queries[n], ranking.features[:, n], scores, int(came[0]))
        self.counts["events"] += len(steps)
        self.event_ts = max(self.event_ts, *(step.event.ts_ms for step in steps)) if steps else self.event_ts

    def _list(
        self, origin: Origin, step: Interaction | Ask, ranking: _Ranking, n: int, computed_at: int
    ) -> RecommendationList | None:
        """The list of query number `n`; None if it is not worth publishing, because nothing changed."""
        event, lists = step.event, self.config.lists
        asked = isinstance(step, Ask)
        k = (event.k if asked else None) or lists.k
        if isinstance(event, Search) and event.k is None:
            k = len(event.items)
        features, scores, weights = ranking.features[:, n], ranking.scores[n], ranking.weights[n]
        ids = self.knowledge.rows.ids
        chosen = choose(ranking.queries[n], n, ranking.candidates, features, scores, weights, ids, k)
        if isinstance(event, Search):
            chosen = self._with_unknown(event, chosen, k)
        if not asked and not self.published.is_new(event.user_id, (item.item_id for item in chosen)):
            self.counts["unchanged"] += 1
            return None
        self.counts["answers" if asked else "lists"] += 1
        cause = "search" if isinstance(event, Search) else "request" if asked else "interaction"
        return RecommendationList(
            user_id=event.user_id,
            list_id=_list_id(origin, event.position, cause),
            surface="search" if isinstance(event, Search) else "feed",
            cause=cause,
            event_ts=event.ts_ms,
            computed_at=computed_at,
            source=origin.place(event.position),
            model=Model(self.number, self.ranker.updates),
            items=tuple(
                ListItem(c.item_id, c.score, c.reason, c.because, _named(c.contributions, lists.contributions))
                for c in chosen
            ),
            request_id=event.request_id if asked else None,
        )

    def _with_unknown(self, event: Search, chosen: list[Chosen], k: int) -> list[Chosen]:
        """The engine's items that nobody has touched take part, too: without evidence, their score is 0."""
        nothing = np.zeros(len(FEATURES))
        unknown = [
            Chosen(item_id, 0.0, "unknown", (), nothing)
            for item_id in dict.fromkeys(event.items)
            if self.knowledge.rows.get(item_id) == NO_ROW
        ]
        return sorted([*chosen, *unknown], key=lambda item: (-item.score, item.item_id))[:k]

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


def _named(contributions: NDArray[np.float64], wanted: bool) -> dict[str, float] | None:
    if not wanted:
        return None
    return {name: value for name, value in zip(FEATURES, contributions.tolist(), strict=True) if value}
