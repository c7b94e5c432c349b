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
from freshflow.engine.micro_batch import MicroBatch, RankedStep, build_visit_batch, list_length
from freshflow.engine.remote_events import RemoteEventBuffer
from freshflow.events.model import Forget, Identify, Interaction, ItemUpdate, Origin, Request, Search
from freshflow.exploration.apply import EXPLORATION_POLICY, add_propensities, apply_exploration
from freshflow.exploration.bandit import Choice, Exploration
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.metrics.ab_test import UserGroups
from freshflow.metrics.drift import DriftDetector
from freshflow.metrics.prequential import CUTOFF, PrequentialMetrics
from freshflow.metrics.report import Receipt, Report
from freshflow.outputs.assembly import add_contributions, build_list_items, extract_lists, resolve_ties
from freshflow.outputs.json_writer import JsonListWriter, encode_items
from freshflow.outputs.records import Cause, ListDeletion, ListItem, Model, Output, RecommendationList, RelatedItems
from freshflow.ranking.candidates import CandidateBuffer
from freshflow.ranking.kernel import (
    N_CANDIDATES,
    RANK_STEP,
    TARGET_INDEX,
    TARGET_POPULARITY_RANK,
    TARGET_RANK,
    RankingResults,
    process_batch,
)
from freshflow.ranking.query import Query, build_query_batch
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.scheduler import RefreshedList, RefreshScheduler, RuleHooks
from freshflow.related.publisher import RELATED_CHECK_INTERVAL, RelatedList, RelatedPublisher
from freshflow.rules.apply import CandidateListByQuery, apply_rules
from freshflow.rules.pipeline import Rules
from freshflow.search.reranker import SearchReranker
from freshflow.users.profile import UserProfile
from freshflow.users.updates import (
    ListRequested,
    ProfileMerged,
    RemoteEvent,
    RemoteExample,
    Step,
    UserEvicted,
    UserInteraction,
)

__all__ = ["Partition"]

# Scores follow what the models have learned after every so many choices, and then lists are refreshed. To take in more
# at once costs less, but quality where weights still move fast, among the first so many.
EARLY_UPDATE_INTERVAL, UPDATE_INTERVAL, N_EARLY_EXAMPLES = 8, 16, 4096
# A dismissal of an item that was all but certain counts at most this many times a choice.
MIN_INVERSE_ODDS = 1 / 20
# Queries and visits taken by the compiled loop at once; it bounds the room for their candidates.
MAX_BATCH_QUERIES = 128
# Choices from one look for idle items to the next, a multiple of `LAG`. To drop some takes milliseconds.
IDLE_ITEM_CHECK_INTERVAL = 4096

ControlStep = ItemUpdate | Forget | UserEvicted  # steps that nothing is ranked for

NO_CHOICES: Mapping[int, Sequence[Choice]] = MappingProxyType({})

CAUSE_BY_EVENT_TYPE: dict[type, Cause] = {
    Interaction: "interaction",
    Request: "request",
    Search: "search",
    Identify: "identify",
}


class LatestEvent(NamedTuple):
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
        self.item_statistics = ItemStatistics(config.items, config.ranking, config.content, config.rules.blocked)
        self.ranker = Ranker(config.ranker, content=config.content.is_enabled)
        self.rules = Rules(config, self.item_statistics) if config.has_rules else None
        self.exploration = Exploration(config.explore) if config.explore.share else None
        self.remote_events = RemoteEventBuffer()
        self.search_reranker = SearchReranker(config.search, int(config.users.session_gap_s * 1000))
        self.json_writer = JsonListWriter()
        # A re-ordered shortlist is no sum of scores that others share.
        is_on = config.refresh.interval_s > 0 and not self.ranker.rerankers
        self.refresh_scheduler = RefreshScheduler(config, self.search_reranker, self.json_writer, is_on=is_on)
        self.prequential_metrics = PrequentialMetrics()
        self.variant = config.variant.name or None
        self.user_groups = UserGroups() if self.variant is not None else None
        self.drift_detector = DriftDetector()
        self.counts: Counter[str] = Counter()
        self.event_ts = 0
        self.latest_event: LatestEvent | None = None
        self.n_refresh_checks = 0  # at lists, since this process started
        self.n_reported_events = 0
        self.receipts: list[Receipt] = []
        self.related_publisher: RelatedPublisher | None = None
        self.pending_related: list[RelatedItems] = []
        self._candidate_buffer = CandidateBuffer.empty()
        self._allocated_results: RankingResults | None = None

    def buffer_remote_events(self, origin: Origin, events: Sequence[RemoteEvent]) -> None:
        """Hold signals of other partitions until the own stream has come as far."""
        self.remote_events.add(origin.key, events)

    def flush_if_full(self, origin: Origin) -> None:
        """Take in the signals that are held if there are too many of them."""
        self._process_steps(origin, self.remote_events.drain_overflow())

    def finish(self, origin: Origin) -> None:
        """Take in the signals that are still held."""
        self._process_steps(origin, self.remote_events.drain())
        self._publish_due_related(self.event_ts)

    def set_related_publishing(self, is_enabled: bool) -> None:
        """Publish lists of related items from now on, or do not; `drain_related` gives them."""
        self.related_publisher = (
            RelatedPublisher(self.config.related, self.number, self.config.job.partitions) if is_enabled else None
        )

    def process(self, origin: Origin, steps: Sequence[Step], end_position: int | None = None) -> list[Output]:
        """What is to be published after `steps` of one origin, in its order; it has been read as far as `end_position`."""
        return self._process_steps(origin, self.remote_events.merge(origin.key, steps, end_position))

    def update_user_counts(self, counts: Mapping[str, int]) -> None:
        """Report what the user stage has counted so far (`freshflow.users.store`) with the rest."""
        dict.update(self.counts, counts)  # a counter's own update would add

    def _process_steps(self, origin: Origin, steps: Iterable[Step]) -> list[Output]:
        outputs: list[Output] = []
        batch = self._new_batch()
        for step in steps:
            # By identity, as it is asked of every visit of everyone: `isinstance` takes five times as long to say no.
            if type(step) is ItemUpdate or type(step) is Forget or type(step) is UserEvicted:
                if batch.step_kinds and not self._can_skip_flush(batch, step):
                    outputs += self._process_batch(origin, batch)
                    batch = self._new_batch()
                outputs += self._apply_control_step(origin, step)
                continue
            target_event = _target_of_step(step)
            if batch.step_kinds and not self._can_batch(batch, step, target_event):
                outputs += self._process_batch(origin, batch)
                batch = self._new_batch()
            if target_event is not None and self.item_statistics.index.get(target_event.item_id) == NO_ROW:
                self._add_item(target_event)
            batch.add(step)
        return outputs + self._process_batch(origin, batch)

    def _new_batch(self) -> MicroBatch:
        """An empty batch, which is full when scores follow."""
        update_interval = EARLY_UPDATE_INTERVAL if self.n_examples < N_EARLY_EXAMPLES else UPDATE_INTERVAL
        return MicroBatch(
            self.config, self.search_reranker, self.rules, update_interval - self.n_examples % update_interval
        )

    def _apply_control_step(self, origin: Origin, step: ControlStep) -> list[Output]:
        if isinstance(step, ItemUpdate):
            is_new = self.item_statistics.index.get(step.item_id) == NO_ROW
            was_available = self.item_statistics.is_available(step.item_id)
            self.item_statistics.update_catalogue(step)
            self._on_item_changed(step.item_id)
            if is_new and self.exploration is not None:
                self.exploration.add_arm(step.item_id)
            self._release_evicted_rows()
            self._on_availability_changed(origin, step, was_available)
            return self._withdraw_item(origin, step) if step.available is False else []
        was_active = self.refresh_scheduler.active_users.forget(step.user_id)
        self.search_reranker.forget(step.user_id)
        if self.exploration is not None:
            self.exploration.forget(step.user_id)
        if isinstance(step, UserEvicted):
            return [ListDeletion(step.user_id)] if step.is_idle else []
        if step.is_in_other_bucket:
            return []
        self.drift_detector.forget(crc32(step.user_id.encode()))
        self.counts["forgotten"] += 1
        source, is_known = origin.source_ref(step.position), step.is_known or was_active
        self.receipts.append(Receipt(self.number, step.ts_ms, source, is_known, self.counts["forgotten"]))
        return [ListDeletion(step.user_id)]

    def drain_receipts(self) -> list[Receipt]:
        """Those of users forgotten since the last call."""
        receipts, self.receipts = self.receipts, []
        return receipts

    def drain_related(self) -> list[RelatedItems]:
        """The lists of related items that are to be published since the last call."""
        related, self.pending_related = self.pending_related, []
        return related

    def _publish_due_related(self, now_ms: int) -> None:
        """Look at related items by `now_ms` (event time)."""
        if self.related_publisher is not None and self.latest_event is not None:
            self._add_pending_related(
                self.latest_event, self.related_publisher.collect_due_lists(self.item_statistics, now_ms)
            )

    def _on_availability_changed(self, origin: Origin, update: ItemUpdate, was_available: bool) -> None:
        """An item event: related items that are not available any more leave at once."""
        if self.related_publisher is None or update.available in (None, was_available):
            return
        if update.available:
            self.related_publisher.on_item_available(self.item_statistics, update.item_id)
            return
        trigger_event = LatestEvent(origin, update.position, update.ts_ms)
        self._add_pending_related(
            trigger_event, self.related_publisher.withdraw_item(self.item_statistics, update.item_id, self.event_ts)
        )

    def _add_pending_related(self, trigger_event: LatestEvent, lists: Sequence[RelatedList]) -> None:
        """Related items are to be published, as they are after an event."""
        if not lists:
            return
        computed_at, source = self.clock(), trigger_event.origin.source_ref(trigger_event.position, trigger_event.nth)
        model = {"partition": self.number}
        self.pending_related += [
            RelatedItems(related_list.item_id, computed_at, trigger_event.ts_ms, source, model, related_list.items)
            for related_list in lists
        ]
        self.counts["related"] += len(lists)

    def _withdraw_item(self, origin: Origin, update: ItemUpdate) -> list[Output]:
        """The lists that show an item which is not available any more, made again without it."""
        slots = self.refresh_scheduler.active_users.slots_showing(self.item_statistics.index.get(update.item_id))
        lists: list[Output] = []
        for start in range(0, len(slots), MAX_BATCH_QUERIES):
            remade_lists = self._remake_lists(slots[start : start + MAX_BATCH_QUERIES], self.event_ts)
            lists += self._build_refresh_lists(
                LatestEvent(origin, update.position, update.ts_ms), "withdrawal", remade_lists
            )
        self.counts["withdrawn"] += len(lists)
        return lists

    def _remake_lists(self, slots: NDArray[np.int32], now_ms: int) -> list[RefreshedList]:
        """The lists of users in `slots` that are others than those they have, ranked in full."""
        queries = self.refresh_scheduler.build_queries(slots, now_ms)
        if self.rules is not None:
            queries = [structs.replace(query, k=self.rules.ranking_depth(query.k)) for query in queries]
        rankings, query_indices, lengths = (
            self._rank_queries(queries),
            range(len(slots)),
            [self.config.lists.k] * len(slots),
        )
        candidate_lists = self._apply_rules(query_indices, lengths, queries, rankings)
        texts = self._encode_lists(query_indices, lengths, queries, rankings, candidate_lists)
        is_new = self.refresh_scheduler.record_lists(slots, rankings, self.counts["events"], now_ms)
        refreshed_lists = zip(slots.tolist(), texts, is_new.tolist(), strict=True)
        return [
            (self.refresh_scheduler.active_users.ids[slot], text)
            for slot, text, has_changed in refreshed_lists
            if has_changed
        ]

    def _can_skip_flush(self, batch: MicroBatch, step: ControlStep) -> bool:
        """Whether the loop need not be done before `step`: a user leaves, and there is nothing to be done about it."""
        if not isinstance(step, UserEvicted) or step.is_idle or batch.has_list_for(step.user_id):
            return False
        return (
            not self.refresh_scheduler.active_users.is_active(step.user_id)
            and step.user_id not in self.search_reranker.pending_answers
        )

    def _can_batch(self, batch: MicroBatch, step: RankedStep, target_event: Interaction | ItemVisit | None) -> bool:
        """Whether the loop may take `step` along: no weights are due, no item must go first, and there is room."""
        if batch.n_examples == batch.max_examples or len(batch.step_kinds) >= MAX_BATCH_QUERIES:
            return False
        if batch.list_steps and (self.rules is not None or self.exploration is not None):
            return False  # both go by what is known at the time of the list
        if batch.search_steps and _follows_search(step):
            return False  # what people chose after searches is learned first
        return target_event is None or not self.item_statistics.admission_affects_others(target_event.item_id)

    def _add_item(self, target_event: Interaction | ItemVisit) -> None:
        """Make an item known that somebody came to."""
        self.item_statistics.admit(target_event.item_id, target_event.ts_ms)
        self._on_item_changed(target_event.item_id)
        if self.exploration is not None:
            self.exploration.add_arm(target_event.item_id)
        self._release_evicted_rows()

    def _on_item_changed(self, item_id: str) -> None:
        """An item is new, or the catalogue says something else of it."""
        if self.rules is not None:
            self.rules.item_attributes.update_rows(self.item_statistics, [self.item_statistics.index.get(item_id)])

    def _release_evicted_rows(self) -> None:
        """Forget the rows of items that have been dropped, which will mean other items."""
        if len(self.item_statistics.evicted_rows):
            rows = self.item_statistics.drain_evicted_rows()
            self.refresh_scheduler.active_users.drop_items(rows)
            self.json_writer.drop_items(rows)
            if self.rules is not None:
                self.rules.on_items_evicted(rows)
            if self.related_publisher is not None:
                ended_lists = self.related_publisher.drop_items(rows)
                if self.latest_event is not None:
                    self._add_pending_related(self.latest_event, ended_lists)

    def _process_batch(self, origin: Origin, batch: MicroBatch) -> list[Output]:
        if not batch.step_kinds:
            return []
        if batch.last_event is not None:
            event = batch.last_event
            self.latest_event = LatestEvent(origin, event.position, event.ts_ms, event.nth)
        rankings = self._rank_batch(batch.step_kinds, batch.queries, batch.visits)
        if self.rules is not None:
            self.rules.on_visits(batch.visits)
        if self.exploration is not None:
            self._record_exploration_outcomes(batch)
        self._validate_and_learn(batch, rankings)
        outputs = self._build_lists(origin, batch, rankings)
        if batch.n_examples == batch.max_examples:
            self.ranker.apply_updates()
            if self.n_examples % IDLE_ITEM_CHECK_INTERVAL == 0:
                self.item_statistics.evict_idle()
                self._release_evicted_rows()
            if self.refresh_scheduler.is_on and batch.last_event is not None:
                outputs += self._refresh_lists(self.event_ts, "refresh")
            if self.n_examples % RELATED_CHECK_INTERVAL == 0:
                self._publish_due_related(self.event_ts)
        return outputs

    def refresh_aged_lists(self, now_ms: int) -> list[Output]:
        """The lists that time alone has aged by `now_ms` (event time), where no event has come since the last look."""
        self._publish_due_related(now_ms)
        return self._refresh_lists(now_ms, f"refresh {now_ms}") if self.refresh_scheduler.is_on else []

    def _refresh_lists(self, now_ms: int, cause_name: str) -> list[Output]:
        """The lists that the world's change has aged, made again after the latest event."""
        self.n_refresh_checks += 1
        trigger_event = self.latest_event
        if trigger_event is None:
            return []
        rule_hooks = (
            None if self.rules is None else RuleHooks(self.rules.item_attributes.is_blocked, self._remake_lists)
        )
        remade_lists = self.refresh_scheduler.collect_due_lists(
            self.item_statistics, self.ranker.weights, self._rank_queries, self.counts["events"], now_ms, rule_hooks
        )
        self.counts["refreshed"] += len(remade_lists)
        return self._build_refresh_lists(trigger_event, cause_name, remade_lists)

    def _build_refresh_lists(
        self, trigger_event: LatestEvent, cause_name: str, remade_lists: Sequence[RefreshedList]
    ) -> list[Output]:
        """Lists that were made again after an event, for a reason of this name."""
        computed_at = self.clock()
        source, model = (
            trigger_event.origin.source_ref(trigger_event.position, trigger_event.nth),
            Model(self.number, self.ranker.n_applied_updates),
        )
        name_digest = blake2b(
            _list_name(trigger_event.origin, trigger_event.position, cause_name, trigger_event.nth), digest_size=8
        )
        lists: list[Output] = []
        for user_id, items in remade_lists:
            digest = name_digest.copy()
            digest.update(user_id.encode())
            lists.append(
                RecommendationList(
                    *(
                        user_id,
                        digest.hexdigest(),
                        "feed",
                        "refresh",
                        trigger_event.ts_ms,
                        computed_at,
                        source,
                        model,
                        items,
                    ),
                    variant=self.variant,
                )
            )
        return lists

    def _rank_queries(self, queries: Sequence[Query]) -> RankingResults:
        """Rank for `queries` as things stand."""
        return self._rank_batch([RANK_STEP] * len(queries), queries, [])

    def _rank_batch(
        self, step_kinds: Sequence[int], queries: Sequence[Query], visits: Sequence[ItemVisit]
    ) -> RankingResults:
        embeddings = self.item_statistics.tables.embeddings
        self._candidate_buffer = self._candidate_buffer.with_item_capacity(
            self.item_statistics.capacity
        ).with_taste_size(embeddings)
        n_candidates = self.config.ranking.candidates + self.config.content.max_candidates
        max_length = max([query.k for query in queries], default=1)
        max_candidates = max(
            n_candidates, max_length, *[len(query.restrict_to) for query in queries if query.restrict_to is not None]
        )
        rankings = self._result_buffers(len(queries), max_candidates, max_length)
        process_batch(
            self.item_statistics.tables,
            self.ranker.weights,
            np.array(step_kinds, np.int32),
            build_query_batch(self.item_statistics.index, queries),
            build_visit_batch(self.item_statistics.index, visits, self.config.items.context),
            self._candidate_buffer,
            rankings,
            n_candidates,
        )
        self.ranker.rerank(queries, rankings)
        return rankings

    def _result_buffers(self, n_queries: int, n_candidates: int, max_length: int) -> RankingResults:
        """Room for answers: what the last batch needed, unless this one needs more."""
        rankings = self._allocated_results
        if (
            rankings is None
            or len(rankings.scores) < n_queries
            or rankings.scores.shape[1] < n_candidates
            or rankings.entries.shape[1] < max_length
        ):
            keep_features = self.config.lists.contributions or bool(self.ranker.rerankers)
            n_units, n_features = (
                self.config.ranker.hidden_units,
                len(self.ranker.input_names) - self.config.ranker.hidden_units,
            )
            capacity = max(n_queries, MAX_BATCH_QUERIES)
            rankings = RankingResults.empty(
                capacity, n_candidates, max_length, n_units, keep_features=keep_features, n_features=n_features
            )
            self._allocated_results = rankings
        return rankings

    @property
    def n_examples(self) -> int:
        """How many choices the ranker was shown."""
        return self.counts["events"] + self.counts["lessons"]

    def _validate_and_learn(self, batch: MicroBatch, rankings: RankingResults) -> None:
        """Score the lists that were ranked before each step against what came, then teach the ranker what came."""
        results = rankings.results[: len(batch.queries)].tolist()
        ranks, popular_ranks = [], []
        for step, q in batch.training_steps:
            result, query = results[q], batch.queries[q]
            if isinstance(step, UserInteraction):
                event = step.event
                ranks.append(result[TARGET_RANK])
                popular_ranks.append(result[TARGET_POPULARITY_RANK])
                hit = float(0 < result[TARGET_RANK] <= CUTOFF)
                if self.drift_detector.update(hit, crc32(event.user_id.encode())) == "steep fall":
                    self.counts["adapted"] += 1
                    self.item_statistics.decay_covisits(self.config.items.drift_decay)
                self.event_ts = max(self.event_ts, event.ts_ms)
                factor = event.sample_weight
            elif isinstance(step, RemoteExample):
                factor = step.visit.sample_weight
            else:
                factor = -step.event.sample_weight * _odds(q, rankings)
            if result[TARGET_INDEX] >= 0:
                if factor > 0:
                    self.ranker.record_rerank_examples(query, q, rankings)
                self._learn_example(factor, query.model_index, q, rankings)
        self.counts["events"] += batch.n_interactions
        self.counts["lessons"] += batch.n_examples - batch.n_interactions
        self.prequential_metrics.fresh.add(ranks)
        self.prequential_metrics.popularity.add(popular_ranks)

    def _learn_example(self, factor: float, model: int, q: int, rankings: RankingResults) -> None:
        """Teach the ranker what came, `factor` times."""
        gradient, unit_gradient = rankings.gradient[q], rankings.unit_gradient[q]
        if factor != 1:
            gradient, unit_gradient = gradient * factor, unit_gradient * np.float32(factor)
        self.ranker.record_choice(model, gradient, unit_gradient)

    def _record_published(self, batch: MicroBatch, rankings: RankingResults) -> dict[int, bool]:
        """Take down what users did and are shown now, and score what they were shown before.

        By the number of the query: whether its list is another than that.
        """
        user_events: list[tuple[Interaction | Identify, UserProfile]] = []
        event_numbers, target_rows, query_indices, interaction_indices = [], [], [], []
        event_number = self.counts["events"] - batch.n_interactions
        for step, q in batch.list_steps:
            if type(step) is ListRequested:
                continue
            if type(step) is UserInteraction:
                event_number += 1
                interaction_indices.append(len(user_events))
            user_events.append((step.event, step.profile_after))
            event_numbers.append(event_number)
            target_rows.append(
                NO_ROW if type(step) is ProfileMerged else self.item_statistics.index.get(step.event.item_id)
            )
            query_indices.append(q)
        if not user_events:
            return {}
        activity = self.refresh_scheduler.record_activity(
            user_events, event_numbers, target_rows, np.array(query_indices), rankings
        )
        published_ranks = activity.ranks[interaction_indices].tolist()
        self.prequential_metrics.published.add(published_ranks)
        if self.user_groups is not None:
            user_hashes = [crc32(user_events[n][0].user_id.encode()) for n in interaction_indices]
            prior_query_indices = [q for step, q in batch.training_steps if isinstance(step, UserInteraction)]
            self.user_groups.add(
                user_hashes, rankings.results[prior_query_indices, TARGET_RANK].tolist(), published_ranks
            )
        return dict(zip(query_indices, activity.is_new.tolist(), strict=True))

    def _build_lists(self, origin: Origin, batch: MicroBatch, rankings: RankingResults) -> list[Output]:
        """The lists of steps; those that did not change left out."""
        query_indices = [q for _, q in batch.list_steps]
        lengths = [list_length(step.event, self.config) for step, _ in batch.list_steps]
        candidate_lists = self._apply_rules(query_indices, lengths, batch.queries, rankings)
        exploration_choices = self._explore_lists(origin, batch, lengths, rankings)
        texts = self._encode_lists(
            query_indices, lengths, batch.queries, rankings, candidate_lists, exploration_choices
        )
        is_new = self._record_published(batch, rankings)
        computed_at, model = self.clock(), Model(self.number, self.ranker.n_applied_updates)
        search_texts = self._rerank_searches(batch, rankings) if batch.search_steps else {}
        lists: list[Output] = []
        for n, (step, q) in enumerate(batch.list_steps):
            event = step.event
            if not is_new.get(q, True):
                self.counts["unchanged"] += 1
                continue
            self.counts["answers" if type(step) is ListRequested else "lists"] += 1
            policy = EXPLORATION_POLICY if exploration_choices.get(q) else None
            lists.append(
                _build_list(origin, event, search_texts.get(q, texts[n]), computed_at, model, self.variant, policy)
            )
        return lists

    def _record_exploration_outcomes(self, batch: MicroBatch) -> None:
        """What the steps say of young items."""
        if self.exploration is not None:
            for step, _ in batch.training_steps:
                if isinstance(step, UserInteraction):
                    self.exploration.record_outcome(step.event.user_id, step.event.item_id, step.event.ts_ms)
            for visit in batch.visits:
                self.exploration.count_visit(visit.item_id)

    def _explore_lists(
        self, origin: Origin, batch: MicroBatch, lengths: Sequence[int], rankings: RankingResults
    ) -> dict[int, list[Choice]]:
        """Put young items into lists that were chosen, and say by the number of the query how likely that was."""
        exploration_choices: dict[int, list[Choice]] = {}
        if self.exploration is None:
            return exploration_choices
        blocked_rows = () if self.rules is None else np.flatnonzero(self.rules.item_attributes.is_blocked).tolist()
        hidden_rows = frozenset[int](blocked_rows)
        for (step, q), length in zip(batch.list_steps, lengths, strict=True):
            event, query = step.event, batch.queries[q]
            if isinstance(event, Search):
                continue
            name = _list_name(origin, event.position, "explore", event.nth) + CAUSE_BY_EVENT_TYPE[type(event)].encode()
            seed = int.from_bytes(blake2b(name + event.user_id.encode(), digest_size=16).digest(), "big")
            exploration_choices[q] = apply_exploration(
                self.exploration, length, query, q, rankings, self.item_statistics, hidden_rows, seed
            )
            self.exploration.record_list(event.user_id, exploration_choices[q], query.now_ms)
        return exploration_choices

    def _apply_rules(
        self, query_indices: Sequence[int], lengths: Sequence[int], queries: Sequence[Query], rankings: RankingResults
    ) -> CandidateListByQuery:
        """Settle the lists of queries number `query_indices`, of at most `lengths` items; what rules have chosen for each."""
        resolve_ties(query_indices, rankings, self.item_statistics.index.ids)
        return apply_rules(self.rules, query_indices, lengths, queries, rankings)

    def _encode_lists(
        self,
        query_indices: Sequence[int],
        lengths: Sequence[int],
        queries: Sequence[Query],
        rankings: RankingResults,
        candidate_lists: CandidateListByQuery,
        exploration_choices: Mapping[int, Sequence[Choice]] = NO_CHOICES,
    ) -> list[Raw]:
        """The settled lists of queries number `query_indices`, of at most `lengths` items, as JSON."""
        ids = self.item_statistics.index.ids
        lists, has_contributions = extract_lists(query_indices, lengths, rankings), self.config.lists.contributions
        if not has_contributions and not exploration_choices:
            return self.json_writer.encode_lists(lists, ids)
        weights, texts = self.ranker.weights, []
        for q, items in zip(query_indices, build_list_items(lists, ids), strict=True):
            explained_items = (
                add_contributions(items, queries[q], q, rankings, weights, candidate_lists.get(q))
                if has_contributions
                else items
            )
            texts.append(encode_items(add_propensities(explained_items, exploration_choices.get(q, ()))))
        return texts

    def _rerank_searches(self, batch: MicroBatch, rankings: RankingResults) -> dict[int, Raw]:
        """The answers to searches by the number of their query, and what is learned from what followed, in order."""
        search_query_indices = iter([q for step, q in batch.list_steps if isinstance(step.event, Search)])
        texts: dict[int, Raw] = {}
        for step in batch.search_steps:
            if not isinstance(step, ListRequested):
                self.search_reranker.learn(step)
                continue
            q = next(search_query_indices)
            (feed,) = build_list_items(
                extract_lists([q], [batch.queries[q].k], rankings), self.item_statistics.index.ids
            )
            hidden_ids = () if self.rules is None else self.rules.items_hidden_in_search(batch.queries[q])
            search_items = self.search_reranker.rerank(step, q, feed, rankings, self.item_statistics, hidden_ids)
            self._count_search(step, search_items)
            if not self.config.lists.contributions:
                search_items = [structs.replace(item, contributions=None) for item in search_items]
            texts[q] = encode_items(search_items)
        return texts

    def _count_search(self, request: ListRequested, search_items: Sequence[ListItem]) -> None:
        """Count an answer, and whether it has another order than the engine's."""
        assert isinstance(request.event, Search)
        shown_ids = dict.fromkeys(item.item_id for item in search_items)
        engine_ids = dict.fromkeys(request.event.items)
        self.counts["searches"] += 1
        self.counts["searches_reordered"] += [item_id for item_id in engine_ids if item_id in shown_ids] != [
            item_id for item_id in shown_ids if item_id in engine_ids
        ]

    def report(self) -> Report:
        """How the partition stands."""
        counts = self.counts | {
            "updates": self.ranker.n_updates,
            "items": len(self.item_statistics.index),
            "drifts": self.drift_detector.detections,
            "items_evicted": self.item_statistics.n_evicted,
            "items_idle": self.item_statistics.n_idle_evicted,
            "embeddings_left_out": self.item_statistics.embedding_store.n_dimension_mismatches,
            "users_active": len(self.refresh_scheduler.active_users.ids),
            "users_active_evicted": self.refresh_scheduler.active_users.n_evicted,
            "refreshes_allowed": int(self.refresh_scheduler.tokens),
            "search_choices": self.search_reranker.reranked_metrics.events,
        }
        counts |= {} if self.rules is None else self.rules.counts
        if self.exploration is not None:
            counts |= {"explored": self.exploration.n_shown, "explored_taken": self.exploration.n_taken}
        quality = self.prequential_metrics.fresh.values()
        for name in ("published", "popularity"):
            values = getattr(self.prequential_metrics, name).values()
            quality |= {f"{name}_{metric}": value for metric, value in values.items()}
        quality |= self.search_reranker.values()
        group_sums = self.user_groups.sums() if self.user_groups is not None else None
        return Report(self.number, self.event_ts, dict(counts), quality, self.variant, group_sums)

    def report_if_due(self) -> Report | None:
        """A report if `metrics.report_every_events` events have passed since the last one, or quality has dropped since."""
        has_drifted = self.drift_detector.last_detection > self.n_reported_events
        if not has_drifted and self.counts["events"] < self.n_reported_events + self.config.metrics.report_every_events:
            return None
        self.n_reported_events = self.counts["events"]
        return self.report()


def _target_of_step(step: RankedStep) -> Interaction | ItemVisit | None:
    """What says which item came at which time, if item knowledge learns from the step."""
    if type(step) is ItemVisit:
        return step
    if type(step) is UserInteraction:
        return step.event
    return step.visit if type(step) is RemoteExample else None


def _follows_search(step: RankedStep) -> bool:
    """Whether the step is a search, or a list before or after it may follow one."""
    if isinstance(step, ItemVisit):
        return False
    if isinstance(step, ListRequested):
        return isinstance(step.event, Search) or step.profile.search is not None
    users = [getattr(step, name, None) for name in ("profile_before", "profile_after")]
    return any(user is not None and user.search is not None for user in users)


def _odds(q: int, rankings: RankingResults) -> float:
    """P / (1 - P) of the item that was turned down: the gradient of log(1 - P) is that of log P times minus this."""
    scores = rankings.scores[q, : rankings.results[q, N_CANDIDATES]]
    if rankings.results[q, TARGET_INDEX] < 0:
        return 0.0
    inverse_odds = np.exp(
        np.delete(scores, rankings.results[q, TARGET_INDEX]) - scores[rankings.results[q, TARGET_INDEX]]
    ).sum()
    return float(1 / max(inverse_odds, MIN_INVERSE_ODDS))


def _build_list(
    origin: Origin,
    event: Interaction | Request | Search | Identify,
    items: Raw,
    computed_at: int,
    model: Model,
    variant: str | None,
    policy: str | None,
) -> RecommendationList[Raw]:
    cause = CAUSE_BY_EVENT_TYPE[type(event)]
    return RecommendationList(
        user_id=event.user_id,
        list_id=blake2b(_list_name(origin, event.position, cause, event.nth), digest_size=8).hexdigest(),
        surface="search" if type(event) is Search else "feed",
        cause=cause,
        event_ts=event.ts_ms,
        computed_at=computed_at,
        source=origin.source_ref(event.position, event.nth),
        model=model,
        items=items,
        request_id=event.request_id if type(event) is Request or type(event) is Search else None,
        variant=variant,
        policy=policy,
    )


def _list_name(origin: Origin, position: int, cause: str, nth: int = 0) -> bytes:
    """What no other list of the user is made from; its digest is the id of the list."""
    position_text = f"{position}/{nth}" if nth else f"{position}"
    return f"{origin.key}\n{position_text}\n{cause}\n".encode()
