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
from typing import NamedTuple
from zlib import crc32

import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from freshflow.config import Config
from freshflow.events.types import Behaviour, Forget, ItemUpdate, Origin, Request, Search
from freshflow.items.knowledge import ItemKnowledge
from freshflow.items.visits import Visit
from freshflow.lists.batches import Batch, Ranked, length_of, visits_in_arrays
from freshflow.lists.composing import explain, items_of, listed, settle_ties, with_unknown
from freshflow.lists.refresh import Refresh, Refreshed
from freshflow.lists.related import LOOK_EVERY, Related, RelatedList
from freshflow.lists.signals import Signals
from freshflow.lists.texts import ItemTexts, text_of
from freshflow.lists.types import Cause, Forgotten, Model, Output, RecommendationList, RelatedItems
from freshflow.quality.drift import DriftWatch
from freshflow.quality.report import Receipt, Report
from freshflow.quality.validation import CUTOFF, Validation
from freshflow.ranking.answers import ASK, FOUND, POPULAR_RANK, RANK, STANDS, Answers, answer
from freshflow.ranking.candidates import Scratch
from freshflow.ranking.queries import Query, queries_in_arrays
from freshflow.ranking.ranker import Ranker
from freshflow.users.interactions import Ask, Departure, Interaction, Lesson, Signal, Step
from freshflow.users.state import UserState

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

CAUSES: dict[type, Cause] = {Behaviour: "interaction", Request: "request", Search: "search"}


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
        self.knowledge = ItemKnowledge(config.items, config.ranking)
        self.ranker = Ranker(config.ranker)
        self.signals = Signals()
        self.texts = ItemTexts()
        # A re-ordered shortlist is no sum of scores that others share.
        self.refresh = Refresh(config, self.texts, on=config.refresh.interval_s > 0 and not self.ranker.rerankers)
        self.validation = Validation()
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
        """Report what the user stage has counted so far (`freshflow.users.bucket`) with the rest."""
        dict.update(self.counts, counts)  # a counter's own update would add

    def _take(self, origin: Origin, steps: Iterable[Step]) -> list[Output]:
        outputs: list[Output] = []
        batch = Batch(self.config)
        for step in steps:
            if batch.order and not self._fits(batch, step):
                outputs += self._take_batch(origin, batch)
                batch = Batch(self.config)
            if isinstance(step, Control):
                outputs += self._control(origin, step)
            else:
                self._admit(step)
                batch.add(step)
        return outputs + self._take_batch(origin, batch)

    def _control(self, origin: Origin, step: Control) -> list[Output]:
        if isinstance(step, ItemUpdate):
            was_available = self.knowledge.is_available(step.item_id)
            self.knowledge.update_catalogue(step)
            self._drop_items()
            self._relate_update(origin, step, was_available)
            return self._withdraw(origin, step) if step.available is False else []
        was_active = self.refresh.active.forget(step.user_id)
        if isinstance(step, Departure):
            return [Forgotten(step.user_id)] if step.idle else []
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
            lists += self._made_again(origin, update, slots[start : start + AT_ONCE])
        self.counts["withdrawn"] += len(lists)
        return lists

    def _made_again(self, origin: Origin, after: ItemUpdate, slots: NDArray[np.int32]) -> list[Output]:
        """The lists of users in `slots`, ranked in full after a catalogue event."""
        queries = self.refresh.queries(slots, self.event_ts)
        answers, asked = self._ask(queries), range(len(slots))
        texts = self._texts(asked, [self.config.lists.k] * len(slots), queries, answers)
        self.refresh.show(slots, answers, self.counts["events"], self.event_ts)
        made = [(self.refresh.active.ids[slot], text) for slot, text in zip(slots.tolist(), texts, strict=True)]
        return self._refreshes(Latest(origin, after.position, after.ts_ms), "withdrawal", made)

    def _is_due(self, choices: int) -> bool:
        """Whether scores follow now, after so many choices."""
        lag = SHORT_LAG if choices <= YOUNG else LAG
        return choices % lag == 0

    def _fits(self, batch: Batch, step: Step) -> bool:
        """Whether the loop may take `step` along: no weights are due, no item must go first, and there is room."""
        if isinstance(step, Control):
            return isinstance(step, Departure) and not self._may_be_active(step, batch)
        due = batch.choices > 0 and self._is_due(self.choices + batch.choices)
        if due or len(batch.order) >= AT_ONCE:
            return False
        came = _came(step)
        return came is None or not self.knowledge.is_in_the_way(came.item_id)

    def _may_be_active(self, step: Departure, batch: Batch) -> bool:
        """Whether something is to be done about a user who leaves."""
        return step.idle or self.refresh.active.knows(step.user_id) or batch.lists_for(step.user_id)

    def _admit(self, step: Ranked) -> None:
        came = _came(step)
        if came is not None:
            self.knowledge.admit(came.item_id, came.ts_ms)
            self._drop_items()

    def _drop_items(self) -> None:
        """Forget the rows of items that have been dropped, which will mean other items."""
        if len(self.knowledge.dropped):
            rows = self.knowledge.take_dropped()
            self.refresh.active.drop_items(rows)
            self.texts.drop(rows)
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
        self._validate_and_learn(batch, answers)
        outputs = self._lists(origin, batch, answers)
        if batch.choices and self._is_due(self.choices):
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
        made = self.refresh.lists(self.knowledge, self.ranker.weights, self._ask, self.counts["events"], now_ms)
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
                    *(user_id, digest.hexdigest(), "feed", "refresh", after.ts_ms, computed_at, source, model, items)
                )
            )
        return lists

    def _ask(self, queries: Sequence[Query]) -> Answers:
        """Rank for `queries` as things stand."""
        return self._answer([ASK] * len(queries), queries, [])

    def _answer(self, order: Sequence[int], queries: Sequence[Query], visits: Sequence[Visit]) -> Answers:
        self._scratch = self._scratch.for_items(self.knowledge.capacity)
        longest = max((query.k for query in queries), default=1)
        most = max(self.config.ranking.candidates, longest, *(len(query.only or ()) for query in queries))
        answers = self._room(len(queries), most, longest)
        answer(
            self.knowledge.tables,
            self.ranker.weights,
            np.array(order, np.int32),
            queries_in_arrays(self.knowledge.rows, queries),
            visits_in_arrays(self.knowledge.rows, visits, self.config.items.context),
            self._scratch,
            answers,
            self.config.ranking.candidates,
        )
        self.ranker.rescore(queries, answers)
        return answers

    def _room(self, queries: int, candidates: int, longest: int) -> Answers:
        """Room for answers: what the last batch needed, unless this one needs more."""
        answers = self._answers
        wanted = (queries, candidates, longest)
        if answers is None or np.less((*answers.scores.shape, answers.places.shape[1]), wanted).any():
            kept = self.config.lists.contributions or bool(self.ranker.rerankers)
            answers = Answers.empty(max(queries, AT_ONCE), candidates, longest, self.config.ranker.units, kept=kept)
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
        acts: list[tuple[Behaviour, UserState]] = []
        events, came, asked, interactions = [], [], [], []
        number = self.counts["events"] - batch.interactions
        for step, q in batch.listed:
            if isinstance(step, Ask):
                continue
            if isinstance(step, Interaction):
                number += 1
                interactions.append(len(acts))
            acts.append((step.event, step.after))
            events.append(number)
            came.append(self.knowledge.rows.get(step.event.item_id))
            asked.append(q)
        if not acts:
            return {}
        acted = self.refresh.note(acts, events, came, np.array(asked), answers)
        self.validation.published.add(acted.ranks[interactions].tolist())
        return dict(zip(asked, acted.is_new.tolist(), strict=True))

    def _lists(self, origin: Origin, batch: Batch, answers: Answers) -> list[Output]:
        """The lists of steps; those that did not change left out."""
        asked = [q for _, q in batch.listed]
        lengths = [length_of(step.event, self.config) for step, _ in batch.listed]
        texts = self._texts(asked, lengths, batch.queries, answers)
        is_new = self._note(batch, answers)
        computed_at, model = self.clock(), Model(self.number, self.ranker.scored_with)
        lists: list[Output] = []
        for n, (step, q) in enumerate(batch.listed):
            event = step.event
            if not is_new.get(q, True):
                self.counts["unchanged"] += 1
                continue
            self.counts["answers" if isinstance(step, Ask) else "lists"] += 1
            if isinstance(event, Search):
                texts[n] = self._found(event, q, lengths[n], batch.queries, answers)
            lists.append(_list(origin, event, texts[n], computed_at, model))
        return lists

    def _texts(
        self, asked: Sequence[int], lengths: Sequence[int], queries: Sequence[Query], answers: Answers
    ) -> list[Raw]:
        """The lists of queries number `asked`, of at most `lengths` items, as JSON."""
        ids = self.knowledge.rows.ids
        settle_ties(asked, answers, ids)
        several = listed(asked, lengths, answers)
        if not self.config.lists.contributions:
            return self.texts.of(several, ids)
        weights = self.ranker.weights
        return [
            text_of(explain(items, queries[q], q, answers, weights))
            for q, items in zip(asked, items_of(several, ids), strict=True)
        ]

    def _found(self, event: Search, q: int, length: int, queries: Sequence[Query], answers: Answers) -> Raw:
        """The items of a search as JSON, those included that nothing is known of."""
        explains = self.config.lists.contributions
        (items,) = items_of(listed([q], [length], answers), self.knowledge.rows.ids)
        if explains:
            items = explain(items, queries[q], q, answers, self.ranker.weights)
        return text_of(with_unknown(items, event, queries[q].user, self.knowledge, explains))

    def report(self) -> Report:
        """How the partition stands."""
        counts = self.counts | {
            "updates": self.ranker.updates,
            "items": len(self.knowledge.rows),
            "drifts": self.drift.detections,
            "items_evicted": self.knowledge.evicted,
            "items_idle": self.knowledge.idle,
            "users_active": len(self.refresh.active.ids),
        }
        quality = self.validation.ours.figures()
        for name in ("published", "popularity"):
            of = getattr(self.validation, name).figures()
            quality |= {f"{name}_{figure}": value for figure, value in of.items()}
        return Report(self.number, self.event_ts, dict(counts), quality)

    def report_if_due(self) -> Report | None:
        """A report if `metrics.every_events` events have passed since the last one, or quality has dropped since."""
        drifted = self.drift.last_detection > self.reported
        if not drifted and self.counts["events"] < self.reported + self.config.metrics.every_events:
            return None
        self.reported = self.counts["events"]
        return self.report()


def _came(step: Ranked) -> Behaviour | Visit | None:
    """What says which item came at which time, if item knowledge learns from the step."""
    if isinstance(step, Interaction):
        return step.event
    if isinstance(step, Lesson):
        return step.visit
    return step if isinstance(step, Visit) else None


def _odds(q: int, answers: Answers) -> float:
    """P / (1 - P) of the item that was turned down: the gradient of log(1 - P) is that of log P times minus this."""
    scores = answers.scores[q, : answers.facts[q, FOUND]]
    if answers.facts[q, STANDS] < 0:
        return 0.0
    others = np.exp(np.delete(scores, answers.facts[q, STANDS]) - scores[answers.facts[q, STANDS]]).sum()
    return float(1 / max(others, LEAST_OTHERS))


def _list(
    origin: Origin, event: Behaviour | Request | Search, items: Raw, computed_at: int, model: Model
) -> RecommendationList[Raw]:
    cause = CAUSES[type(event)]
    return RecommendationList(
        user_id=event.user_id,
        list_id=blake2b(_list_name(origin, event.position, cause, event.nth), digest_size=8).hexdigest(),
        surface="search" if isinstance(event, Search) else "feed",
        cause=cause,
        event_ts=event.ts_ms,
        computed_at=computed_at,
        source=origin.place(event.position, event.nth),
        model=model,
        items=items,
        request_id=None if isinstance(event, Behaviour) else event.request_id,
    )


def _list_name(origin: Origin, position: int, cause: str, nth: int = 0) -> bytes:
    """What no other list of the user is made from; its digest is the id of the list."""
    place = f"{position}/{nth}" if nth else f"{position}"
    return f"{origin.key}\n{place}\n{cause}\n".encode()
