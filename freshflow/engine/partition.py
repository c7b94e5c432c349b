"""A partition: item knowledge, ranker and published lists of its users, and the five steps of every event.

    1 rank on the context before -> validate     3 fold into item knowledge
    2 learn (ranker)                             4 rank on the context after -> publish

Events are taken one by one, in the order of the stream: a list knows every event before it and its own, and none after
it. Only the weights of the ranker lag behind, by fewer than `LAG` events, so that a compiled loop takes several events
at once; where one batch ends and the next begins changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

import numpy as np
from msgspec import Raw, structs
from numpy.typing import NDArray

from freshflow.config.schema import Config
from freshflow.engine.micro_batch import Batch, Ranked, length_of, visits_in_arrays
from freshflow.engine.remote_events import Signals
from freshflow.events.model import Behaviour, Forget, Identify, ItemUpdate, Origin, Request, Search
from freshflow.exploration.apply import POLICY, explore, with_propensities
from freshflow.exploration.bandit import Choice, Exploration
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemKnowledge
from freshflow.items.visit import Visit
from freshflow.metrics.ab_test import UserGroups
from freshflow.metrics.drift import DriftWatch
from freshflow.metrics.prequential import CUTOFF, Validation
from freshflow.metrics.report import Receipt, Report
from freshflow.outputs.assembly import explain, items_of, listed, settle_ties
from freshflow.outputs.json_writer import ItemTexts, text_of
from freshflow.outputs.records import Cause, Forgotten, ListItem, Model, Output, RecommendationList, RelatedItems
from freshflow.ranking.candidates import Scratch
from freshflow.ranking.kernel import ASK, FOUND, POPULAR_RANK, RANK, STANDS, Answers, answer
from freshflow.ranking.query import Query, queries_in_arrays
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.scheduler import Refresh, Refreshed, Ruled
from freshflow.related.publisher import LOOK_EVERY, Related, RelatedList
from freshflow.rules.apply import Shown, choose
from freshflow.rules.pipeline import Rules
from freshflow.search.reranker import Searches
from freshflow.users.profile import UserState
from freshflow.users.updates import Ask, Departure, Interaction, Joined, Lesson, Signal, Step

__all__ = ["Partition"]

# Scores follow what the models have learned after every so many choices, and then lists are refreshed. To take in more
# at once costs less, but quality where weights still move fast, among the first so many.
SHORT_LAG, LAG, YOUNG = 8, 16, 4096
# A dismissal of an item that was all but certain counts at most this many times a choice.
LEAST_OTHERS = 1 / 20
# Queries and visits taken by the compiled loop at once; it bounds the room for their candidates.
AT_ONCE = 128
# Choices from one look for idle items to the next, a multiple of `LAG`. To drop some takes milliseconds.
ITEMS_LOOKED_AT = 4096

Control = ItemUpdate | Forget | Departure  # steps that nothing is ranked for

NOTHING_EXPLORED: Mapping[int, Sequence[Choice]] = MappingProxyType({})

CAUSES: dict[type, Cause] = {
    Behaviour: "interaction",
    Request: "request",
    Search: "search",
    Identify: "identify",
}


class Latest(NamedTuple):
    """Where the latest event of the partition's own users stands, and when it happened."""

    origin: Origin
    position: int
    ts_ms: int
    nth: int = 0


class Partition:
    """The state of partition `number`; `clock` gives processing time in epoch milliseconds, for `computed_at` only."""

    def __init__(self, number: int, config: Config, clock: Callable[[], int]) -> None:
        self.number = number
        self.config = config
        self.clock = clock
        self.knowledge = ItemKnowledge(config.items, config.ranking, config.content, config.rules.blocked)
        self.ranker = Ranker(config.ranker, content=config.content.on)
        self.rules = Rules(config, self.knowledge) if config.ruled else None
        self.exploration = Exploration(config.explore) if config.explore.share else None
        self.signals = Signals()
        self.searches = Searches(config.search, int(config.users.session_gap_s * 1000))
        self.texts = ItemTexts()
        # A re-ordered shortlist is no sum of scores that others share.
        is_on = config.refresh.interval_s > 0 and not self.ranker.rerankers
        self.refresh = Refresh(config, self.searches, self.texts, on=is_on)
        self.validation = Validation()
        self.variant = config.variant.name or None
        self.by_user = UserGroups() if self.variant is not None else None
        self.drift = DriftWatch()
        self.counts: Counter[str] = Counter()
        self.event_ts = 0
        self.latest: Latest | None = None
        self.looks = 0  # at lists, since this process started
        self.reported = 0
        self.receipts: list[Receipt] = []
        self.related: Related | None = None
        self.relations: list[RelatedItems] = []
        self._scratch = Scratch.empty()
        self._answers: Answers | None = None

    def hear(self, origin: Origin, signals: Sequence[Signal]) -> None:
        """Hold signals of other partitions until the own stream has come as far."""
        self.signals.add(origin.key, signals)

    def relieve(self, origin: Origin) -> None:
        """Take in the signals that are held if there are too many of them."""
        self._take(origin, self.signals.overflow())

    def finish(self, origin: Origin) -> None:
        """Take in the signals that are still held."""
        self._take(origin, self.signals.drain())
        self._relate(self.event_ts)

    def publish_related(self, on: bool) -> None:
        """Publish lists of related items from now on, or do not; `take_relations` gives them."""
        self.related = Related(self.config.related, self.number, self.config.job.partitions) if on else None

    def take(self, origin: Origin, steps: Sequence[Step], upto: int | None = None) -> list[Output]:
        """What is to be published after `steps` of one origin, in its order; it has been read as far as `upto`."""
        return self._take(origin, self.signals.merge(origin.key, steps, upto))

    def note_users(self, counts: Mapping[str, int]) -> None:
        """Report what the user stage has counted so far (`freshflow.users.store`) with the rest."""
        dict.update(self.counts, counts)  # a counter's own update would add

    def _take(self, origin: Origin, steps: Iterable[Step]) -> list[Output]:
        outputs: list[Output] = []
        batch = self._batch()
        for step in steps:
            # By identity, as it is asked of every visit of everyone: `isinstance` takes five times as long to say no.
            if type(step) is ItemUpdate or type(step) is Forget or type(step) is Departure:
                if batch.order and not self._passes(batch, step):
                    outputs += self._take_batch(origin, batch)
                    batch = self._batch()
                outputs += self._control(origin, step)
                continue
            came = _came(step)
            if batch.order and not self._fits(batch, step, came):
                outputs += self._take_batch(origin, batch)
                batch = self._batch()
            if came is not None and self.knowledge.rows.get(came.item_id) == NO_ROW:
                self._admit(came)
            batch.add(step)
        return outputs + self._take_batch(origin, batch)

    def _batch(self) -> Batch:
        """An empty batch, which is full when scores follow."""
        lag = SHORT_LAG if self.choices < YOUNG else LAG
        return Batch(self.config, self.searches, self.rules, lag - self.choices % lag)

    def _control(self, origin: Origin, step: Control) -> list[Output]:
        if isinstance(step, ItemUpdate):
            is_new = self.knowledge.rows.get(step.item_id) == NO_ROW
            was_available = self.knowledge.is_available(step.item_id)
            self.knowledge.update_catalogue(step)
            self._know(step.item_id)
            if is_new and self.exploration is not None:
                self.exploration.launch(step.item_id)
            self._drop_items()
            self._relate_update(origin, step, was_available)
            return self._withdraw(origin, step) if step.available is False else []
        was_active = self.refresh.active.forget(step.user_id)
        self.searches.forget(step.user_id)
        if self.exploration is not None:
            self.exploration.forget(step.user_id)
        if isinstance(step, Departure):
            return [Forgotten(step.user_id)] if step.idle else []
        if step.elsewhere:
            return []
        self.drift.forget(crc32(step.user_id.encode()))
        self.counts["forgotten"] += 1
        source, known = origin.place(step.position), step.known or was_active
        self.receipts.append(Receipt(self.number, step.ts_ms, source, known, self.counts["forgotten"]))
        return [Forgotten(step.user_id)]

    def take_receipts(self) -> list[Receipt]:
        """Those of users forgotten since the last call."""
        receipts, self.receipts = self.receipts, []
        return receipts

    def take_relations(self) -> list[RelatedItems]:
        """The lists of related items that are to be published since the last call."""
        relations, self.relations = self.relations, []
        return relations

    def _relate(self, now_ms: int) -> None:
        """Look at related items by `now_ms` (event time)."""
        if self.related is not None and self.latest is not None:
            self._note_related(self.latest, self.related.look(self.knowledge, now_ms))

    def _relate_update(self, origin: Origin, update: ItemUpdate, was_available: bool) -> None:
        """An item event: related items that are not available any more leave at once."""
        if self.related is None or update.available in (None, was_available):
            return
        if update.available:
            self.related.bring_back(self.knowledge, update.item_id)
            return
        after = Latest(origin, update.position, update.ts_ms)
        self._note_related(after, self.related.withdraw(self.knowledge, update.item_id, self.event_ts))

    def _note_related(self, after: Latest, lists: Sequence[RelatedList]) -> None:
        """Related items are to be published, as they are after an event."""
        if not lists:
            return
        computed_at, source = self.clock(), after.origin.place(after.position, after.nth)
        model = {"partition": self.number}
        self.relations += [
            RelatedItems(one.item_id, computed_at, after.ts_ms, source, model, one.items) for one in lists
        ]
        self.counts["related"] += len(lists)

    def _withdraw(self, origin: Origin, update: ItemUpdate) -> list[Output]:
        """The lists that show an item which is not available any more, made again without it."""
        slots = self.refresh.active.shown(self.knowledge.rows.get(update.item_id))
        lists: list[Output] = []
        for start in range(0, len(slots), AT_ONCE):
            made = self._made_again(slots[start : start + AT_ONCE], self.event_ts)
            lists += self._refreshes(Latest(origin, update.position, update.ts_ms), "withdrawal", made)
        self.counts["withdrawn"] += len(lists)
        return lists

    def _made_again(self, slots: NDArray[np.int32], now_ms: int) -> list[Refreshed]:
        """The lists of users in `slots` that are others than those they have, ranked in full."""
        queries = self.refresh.queries(slots, now_ms)
        if self.rules is not None:
            queries = [structs.replace(query, k=self.rules.depth(query.k)) for query in queries]
        answers, asked, lengths = self._ask(queries), range(len(slots)), [self.config.lists.k] * len(slots)
        shown = self._choose(asked, lengths, queries, answers)
        texts = self._texts(asked, lengths, queries, answers, shown)
        is_new = self.refresh.show(slots, answers, self.counts["events"], now_ms)
        several = zip(slots.tolist(), texts, is_new.tolist(), strict=True)
        return [(self.refresh.active.ids[slot], text) for slot, text, new in several if new]

    def _passes(self, batch: Batch, step: Control) -> bool:
        """Whether the loop need not be done before `step`: a user leaves, and there is nothing to be done about it."""
        if not isinstance(step, Departure) or step.idle or batch.lists_for(step.user_id):
            return False
        return not self.refresh.active.knows(step.user_id) and step.user_id not in self.searches.waiting

    def _fits(self, batch: Batch, step: Ranked, came: Behaviour | Visit | None) -> bool:
        """Whether the loop may take `step` along: no weights are due, no item must go first, and there is room."""
        if batch.choices == batch.room or len(batch.order) >= AT_ONCE:
            return False
        if batch.listed and (self.rules is not None or self.exploration is not None):
            return False  # both go by what is known at the time of the list
        if batch.searching and _comes_from_search(step):
            return False  # what people chose after searches is learned first
        return came is None or not self.knowledge.is_in_the_way(came.item_id)

    def _admit(self, came: Behaviour | Visit) -> None:
        """Make an item known that somebody came to."""
        self.knowledge.admit(came.item_id, came.ts_ms)
        self._know(came.item_id)
        if self.exploration is not None:
            self.exploration.launch(came.item_id)
        self._drop_items()

    def _know(self, item_id: str) -> None:
        """An item is new, or the catalogue says something else of it."""
        if self.rules is not None:
            self.rules.traits.derive(self.knowledge, [self.knowledge.rows.get(item_id)])

    def _drop_items(self) -> None:
        """Forget the rows of items that have been dropped, which will mean other items."""
        if len(self.knowledge.dropped):
            rows = self.knowledge.take_dropped()
            self.refresh.active.drop_items(rows)
            self.texts.drop(rows)
            if self.rules is not None:
                self.rules.drop_items(rows)
            if self.related is not None:
                ended = self.related.drop(rows)
                if self.latest is not None:
                    self._note_related(self.latest, ended)

    def _take_batch(self, origin: Origin, batch: Batch) -> list[Output]:
        if not batch.order:
            return []
        if batch.last_event is not None:
            event = batch.last_event
            self.latest = Latest(origin, event.position, event.ts_ms, event.nth)
        answers = self._answer(batch.order, batch.queries, batch.visits)
        if self.rules is not None:
            self.rules.learn(batch.visits)
        if self.exploration is not None:
            self._take_verdicts(batch)
        self._validate_and_learn(batch, answers)
        outputs = self._lists(origin, batch, answers)
        if batch.choices == batch.room:
            self.ranker.take_over()
            if self.choices % ITEMS_LOOKED_AT == 0:
                self.knowledge.drop_idle()
                self._drop_items()
            if self.refresh.on and batch.last_event is not None:
                outputs += self._refreshed(self.event_ts, "refresh")
            if self.choices % LOOK_EVERY == 0:
                self._relate(self.event_ts)
        return outputs

    def look(self, now_ms: int) -> list[Output]:
        """The lists that time alone has aged by `now_ms` (event time), where no event has come since the last look."""
        self._relate(now_ms)
        return self._refreshed(now_ms, f"refresh {now_ms}") if self.refresh.on else []

    def _refreshed(self, now_ms: int, name: str) -> list[Output]:
        """The lists that the world's change has aged, made again after the latest event."""
        self.looks += 1
        after = self.latest
        if after is None:
            return []
        ruled = None if self.rules is None else Ruled(self.rules.traits.blocked, self._made_again)
        made = self.refresh.lists(self.knowledge, self.ranker.weights, self._ask, self.counts["events"], now_ms, ruled)
        self.counts["refreshed"] += len(made)
        return self._refreshes(after, name, made)

    def _refreshes(self, after: Latest, name: str, made: Sequence[Refreshed]) -> list[Output]:
        """Lists that were made again after an event, for a reason of this name."""
        computed_at = self.clock()
        source, model = after.origin.place(after.position, after.nth), Model(self.number, self.ranker.scored_with)
        named = blake2b(_list_name(after.origin, after.position, name, after.nth), digest_size=8)
        lists: list[Output] = []
        for user_id, items in made:
            digest = named.copy()
            digest.update(user_id.encode())
            lists.append(
                RecommendationList(
                    *(user_id, digest.hexdigest(), "feed", "refresh", after.ts_ms, computed_at, source, model, items),
                    variant=self.variant,
                )
            )
        return lists

    def _ask(self, queries: Sequence[Query]) -> Answers:
        """Rank for `queries` as things stand."""
        return self._answer([ASK] * len(queries), queries, [])

    def _answer(self, order: Sequence[int], queries: Sequence[Query], visits: Sequence[Visit]) -> Answers:
        contents = self.knowledge.tables.contents
        self._scratch = self._scratch.for_items(self.knowledge.capacity).for_contents(contents)
        candidates = self.config.ranking.candidates + self.config.content.candidates
        longest = max([query.k for query in queries], default=1)
        most = max(candidates, longest, *[len(query.only) for query in queries if query.only is not None])
        answers = self._room(len(queries), most, longest)
        answer(
            self.knowledge.tables,
            self.ranker.weights,
            np.array(order, np.int32),
            queries_in_arrays(self.knowledge.rows, queries),
            visits_in_arrays(self.knowledge.rows, visits, self.config.items.context),
            self._scratch,
            answers,
            candidates,
        )
        self.ranker.rescore(queries, answers)
        return answers

    def _room(self, queries: int, candidates: int, longest: int) -> Answers:
        """Room for answers: what the last batch needed, unless this one needs more."""
        answers = self._answers
        if (
            answers is None
            or len(answers.scores) < queries
            or answers.scores.shape[1] < candidates
            or answers.places.shape[1] < longest
        ):
            kept = self.config.lists.contributions or bool(self.ranker.rerankers)
            units, features = self.config.ranker.units, len(self.ranker.names) - self.config.ranker.units
            room = max(queries, AT_ONCE)
            answers = Answers.empty(room, candidates, longest, units, kept=kept, features=features)
            self._answers = answers
        return answers

    @property
    def choices(self) -> int:
        """How many choices the ranker was shown."""
        return self.counts["events"] + self.counts["lessons"]

    def _validate_and_learn(self, batch: Batch, answers: Answers) -> None:
        """Score the lists that were ranked before each step against what came, then teach the ranker what came."""
        facts = answers.facts[: len(batch.queries)].tolist()
        ranks, popular_ranks = [], []
        for step, q in batch.learned:
            fact, query = facts[q], batch.queries[q]
            if isinstance(step, Interaction):
                event = step.event
                ranks.append(fact[RANK])
                popular_ranks.append(fact[POPULAR_RANK])
                hit = float(0 < fact[RANK] <= CUTOFF)
                if self.drift.update(hit, crc32(event.user_id.encode())) == "steep fall":
                    self.counts["adapted"] += 1
                    self.knowledge.fade(self.config.items.kept_on_drift)
                self.event_ts = max(self.event_ts, event.ts_ms)
                factor = event.pull
            elif isinstance(step, Lesson):
                factor = step.visit.weight
            else:
                factor = -step.event.pull * _odds(q, answers)
            if fact[STANDS] >= 0:
                if factor > 0:
                    self.ranker.learn_shortlist(query, q, answers)
                self._learn(factor, query.model, q, answers)
        self.counts["events"] += batch.interactions
        self.counts["lessons"] += batch.choices - batch.interactions
        self.validation.ours.add(ranks)
        self.validation.popularity.add(popular_ranks)

    def _learn(self, factor: float, model: int, q: int, answers: Answers) -> None:
        """Teach the ranker what came, `factor` times."""
        gradient, unit_gradient = answers.gradient[q], answers.unit_gradient[q]
        if factor != 1:
            gradient, unit_gradient = gradient * factor, unit_gradient * np.float32(factor)
        self.ranker.learn(model, gradient, unit_gradient)

    def _note(self, batch: Batch, answers: Answers) -> dict[int, bool]:
        """Take down what users did and are shown now, and score what they were shown before.

        By the number of the query: whether its list is another than that.
        """
        acts: list[tuple[Behaviour | Identify, UserState]] = []
        events, came, asked, interactions = [], [], [], []
        number = self.counts["events"] - batch.interactions
        for step, q in batch.listed:
            if type(step) is Ask:
                continue
            if type(step) is Interaction:
                number += 1
                interactions.append(len(acts))
            acts.append((step.event, step.after))
            events.append(number)
            came.append(NO_ROW if type(step) is Joined else self.knowledge.rows.get(step.event.item_id))
            asked.append(q)
        if not acts:
            return {}
        acted = self.refresh.note(acts, events, came, np.array(asked), answers)
        published = acted.ranks[interactions].tolist()
        self.validation.published.add(published)
        if self.by_user is not None:
            users = [crc32(acts[n][0].user_id.encode()) for n in interactions]
            before = [q for step, q in batch.learned if isinstance(step, Interaction)]
            self.by_user.add(users, answers.facts[before, RANK].tolist(), published)
        return dict(zip(asked, acted.is_new.tolist(), strict=True))

    def _lists(self, origin: Origin, batch: Batch, answers: Answers) -> list[Output]:
        """The lists of steps; those that did not change left out."""
        asked = [q for _, q in batch.listed]
        lengths = [length_of(step.event, self.config) for step, _ in batch.listed]
        shown = self._choose(asked, lengths, batch.queries, answers)
        explored = self._explore(origin, batch, lengths, answers)
        texts = self._texts(asked, lengths, batch.queries, answers, shown, explored)
        is_new = self._note(batch, answers)
        computed_at, model = self.clock(), Model(self.number, self.ranker.scored_with)
        found = self._searched(batch, answers) if batch.searching else {}
        lists: list[Output] = []
        for n, (step, q) in enumerate(batch.listed):
            event = step.event
            if not is_new.get(q, True):
                self.counts["unchanged"] += 1
                continue
            self.counts["answers" if type(step) is Ask else "lists"] += 1
            policy = POLICY if explored.get(q) else None
            lists.append(_list(origin, event, found.get(q, texts[n]), computed_at, model, self.variant, policy))
        return lists

    def _take_verdicts(self, batch: Batch) -> None:
        """What the steps say of young items."""
        if self.exploration is not None:
            for step, _ in batch.learned:
                if isinstance(step, Interaction):
                    self.exploration.came(step.event.user_id, step.event.item_id, step.event.ts_ms)
            for visit in batch.visits:
                self.exploration.visit(visit.item_id)

    def _explore(
        self, origin: Origin, batch: Batch, lengths: Sequence[int], answers: Answers
    ) -> dict[int, list[Choice]]:
        """Put young items into lists that were chosen, and say by the number of the query how likely that was."""
        explored: dict[int, list[Choice]] = {}
        if self.exploration is None:
            return explored
        blocked = () if self.rules is None else np.flatnonzero(self.rules.traits.blocked).tolist()
        hidden = frozenset[int](blocked)
        for (step, q), length in zip(batch.listed, lengths, strict=True):
            event, query = step.event, batch.queries[q]
            if isinstance(event, Search):
                continue
            name = _list_name(origin, event.position, "explore", event.nth) + CAUSES[type(event)].encode()
            seed = int.from_bytes(blake2b(name + event.user_id.encode(), digest_size=16).digest(), "big")
            explored[q] = explore(self.exploration, length, query, q, answers, self.knowledge, hidden, seed)
            self.exploration.show(event.user_id, explored[q], query.now_ms)
        return explored

    def _choose(
        self, asked: Sequence[int], lengths: Sequence[int], queries: Sequence[Query], answers: Answers
    ) -> Shown:
        """Settle the lists of queries number `asked`, of at most `lengths` items; what rules have chosen for each."""
        settle_ties(asked, answers, self.knowledge.rows.ids)
        return choose(self.rules, asked, lengths, queries, answers)

    def _texts(
        self,
        asked: Sequence[int],
        lengths: Sequence[int],
        queries: Sequence[Query],
        answers: Answers,
        shown: Shown,
        explored: Mapping[int, Sequence[Choice]] = NOTHING_EXPLORED,
    ) -> list[Raw]:
        """The settled lists of queries number `asked`, of at most `lengths` items, as JSON."""
        ids = self.knowledge.rows.ids
        several, explains = listed(asked, lengths, answers), self.config.lists.contributions
        if not explains and not explored:
            return self.texts.of(several, ids)
        weights, texts = self.ranker.weights, []
        for q, items in zip(asked, items_of(several, ids), strict=True):
            told = explain(items, queries[q], q, answers, weights, shown.get(q)) if explains else items
            texts.append(text_of(with_propensities(told, explored.get(q, ()))))
        return texts

    def _searched(self, batch: Batch, answers: Answers) -> dict[int, Raw]:
        """The answers to searches by the number of their query, and what is learned from what followed, in order."""
        asked = iter([q for step, q in batch.listed if isinstance(step.event, Search)])
        texts: dict[int, Raw] = {}
        for step in batch.searching:
            if not isinstance(step, Ask):
                self.searches.learn(step)
                continue
            q = next(asked)
            (feed,) = items_of(listed([q], [batch.queries[q].k], answers), self.knowledge.rows.ids)
            hidden = () if self.rules is None else self.rules.hidden_in_search(batch.queries[q])
            found = self.searches.answer(step, q, feed, answers, self.knowledge, hidden)
            self._count_search(step, found)
            if not self.config.lists.contributions:
                found = [structs.replace(item, contributions=None) for item in found]
            texts[q] = text_of(found)
        return texts

    def _count_search(self, ask: Ask, found: Sequence[ListItem]) -> None:
        """Count an answer, and whether it has another order than the engine's."""
        assert isinstance(ask.event, Search)
        shown = dict.fromkeys(item.item_id for item in found)
        engine = dict.fromkeys(ask.event.items)
        self.counts["searches"] += 1
        self.counts["searches_reordered"] += [one for one in engine if one in shown] != [
            one for one in shown if one in engine
        ]

    def report(self) -> Report:
        """How the partition stands."""
        counts = self.counts | {
            "updates": self.ranker.updates,
            "items": len(self.knowledge.rows),
            "drifts": self.drift.detections,
            "items_evicted": self.knowledge.evicted,
            "items_idle": self.knowledge.idle,
            "embeddings_left_out": self.knowledge.contents.misfits,
            "users_active": len(self.refresh.active.ids),
            "users_active_evicted": self.refresh.active.evicted,
            "refreshes_allowed": int(self.refresh.allowed),
            "search_choices": self.searches.ours.events,
        }
        counts |= {} if self.rules is None else self.rules.counts
        if self.exploration is not None:
            counts |= {"explored": self.exploration.shown, "explored_taken": self.exploration.taken}
        quality = self.validation.ours.figures()
        for name in ("published", "popularity"):
            of = getattr(self.validation, name).figures()
            quality |= {f"{name}_{figure}": value for figure, value in of.items()}
        quality |= self.searches.figures()
        sums = self.by_user.sums() if self.by_user is not None else None
        return Report(self.number, self.event_ts, dict(counts), quality, self.variant, sums)

    def report_if_due(self) -> Report | None:
        """A report if `metrics.every_events` events have passed since the last one, or quality has dropped since."""
        drifted = self.drift.last_detection > self.reported
        if not drifted and self.counts["events"] < self.reported + self.config.metrics.every_events:
            return None
        self.reported = self.counts["events"]
        return self.report()


def _came(step: Ranked) -> Behaviour | Visit | None:
    """What says which item came at which time, if item knowledge learns from the step."""
    if type(step) is Visit:
        return step
    if type(step) is Interaction:
        return step.event
    return step.visit if type(step) is Lesson else None


def _comes_from_search(step: Ranked) -> bool:
    """Whether the step is a search, or a list before or after it may follow one."""
    if isinstance(step, Visit):
        return False
    if isinstance(step, Ask):
        return isinstance(step.event, Search) or step.user.search is not None
    users = [getattr(step, name, None) for name in ("before", "after")]
    return any(user is not None and user.search is not None for user in users)


def _odds(q: int, answers: Answers) -> float:
    """P / (1 - P) of the item that was turned down: the gradient of log(1 - P) is that of log P times minus this."""
    scores = answers.scores[q, : answers.facts[q, FOUND]]
    if answers.facts[q, STANDS] < 0:
        return 0.0
    others = np.exp(np.delete(scores, answers.facts[q, STANDS]) - scores[answers.facts[q, STANDS]]).sum()
    return float(1 / max(others, LEAST_OTHERS))


def _list(
    origin: Origin,
    event: Behaviour | Request | Search | Identify,
    items: Raw,
    computed_at: int,
    model: Model,
    variant: str | None,
    policy: str | None,
) -> RecommendationList[Raw]:
    cause = CAUSES[type(event)]
    return RecommendationList(
        user_id=event.user_id,
        list_id=blake2b(_list_name(origin, event.position, cause, event.nth), digest_size=8).hexdigest(),
        surface="search" if type(event) is Search else "feed",
        cause=cause,
        event_ts=event.ts_ms,
        computed_at=computed_at,
        source=origin.place(event.position, event.nth),
        model=model,
        items=items,
        request_id=event.request_id if type(event) is Request or type(event) is Search else None,
        variant=variant,
        policy=policy,
    )


def _list_name(origin: Origin, position: int, cause: str, nth: int = 0) -> bytes:
    """What no other list of the user is made from; its digest is the id of the list."""
    place = f"{position}/{nth}" if nth else f"{position}"
    return f"{origin.key}\n{place}\n{cause}\n".encode()
