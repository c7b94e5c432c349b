"""A partition: the items, the ranker and the published lists of its users, and the five steps of every event.

    1 rank on the context before -> validate     3 update the item statistics
    2 learn (ranker)                             4 rank on the context after -> publish
                                                 5 refresh lists that have aged

Events are taken in the order of the stream: a list knows every event before its own, its own, and none after it. Only
the weights of the ranker lag behind, by fewer examples than its update interval, so that a compiled loop takes several
events at once. Lists do not depend on where one micro-batch ends and the next begins.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from freshflow.config.schema import Config
from freshflow.engine.batch_ranking import BatchRanker
from freshflow.engine.control_events import ControlEvents, ItemLifecycle
from freshflow.engine.features import build_features
from freshflow.engine.learning import Learning
from freshflow.engine.micro_batch import MicroBatch, MicroBatcher, target_event_of
from freshflow.engine.publishing import ListEncoder, ListPublisher
from freshflow.engine.queries import QueryBuilder
from freshflow.engine.remade_lists import RemadeLists
from freshflow.engine.remote_events import RemoteEventBuffer
from freshflow.engine.reporting import PartitionMetrics, build_report
from freshflow.events.model import Forget, ItemUpdate, Origin
from freshflow.feature import DueCheck, TriggerEvent
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemStatistics
from freshflow.metrics.report import Receipt, Report
from freshflow.outputs.json_writer import JsonListWriter
from freshflow.outputs.records import Output
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.active_users import ActiveUsers
from freshflow.users.updates import RemoteEvent, Step, UserEvicted


class Partition:
    """Partition `number` of a job. `clock` gives processing time in epoch milliseconds, for `computed_at` only.

    Related items are published if `publishes_related` is true.
    """

    def __init__(
        self, number: int, config: Config, clock: Callable[[], int], *, publishes_related: bool = False
    ) -> None:
        self.number = number
        self.config = config
        self.publishes_related = publishes_related
        self.item_statistics = ItemStatistics(config.items, config.ranking, config.content, config.rules.blocked)
        self.ranker = Ranker(config.ranker, content=config.content.is_enabled, item_statistics=self.item_statistics)
        self.active_users = ActiveUsers(config.refresh, config.lists.k)
        self.remote_events = RemoteEventBuffer()
        self.metrics = PartitionMetrics(config)
        self.event_ts = 0
        self.latest_event: TriggerEvent | None = None
        items, ranker, active_users, metrics = self.item_statistics, self.ranker, self.active_users, self.metrics
        json_writer = JsonListWriter()
        features = self.features = build_features(
            number, config, clock, items, ranker, active_users, json_writer, publishes_related=publishes_related
        )
        queries = QueryBuilder(config, features)
        encoder = ListEncoder(config, items, ranker, features, json_writer)
        self._batcher = MicroBatcher(queries, items, features)
        self._batch_ranker = BatchRanker(config, items, ranker)
        self._learning = Learning(config, items, ranker, metrics)
        self._publisher = ListPublisher(number, config, clock, items, ranker, active_users, features, encoder, metrics)
        self._remade_lists = RemadeLists(
            number, config, clock, ranker, active_users, features, queries, self._batch_ranker, encoder, metrics
        )
        self._lifecycle = ItemLifecycle(items, active_users, json_writer, features)
        self._control_events = ControlEvents(
            number, items, active_users, features, self._lifecycle, self._remade_lists, metrics
        )

    def buffer_remote_events(self, origin: Origin, events: Sequence[RemoteEvent]) -> None:
        """Buffer events of other partitions until the own stream has come as far."""
        self.remote_events.add(origin.key, events)

    def process(self, origin: Origin, steps: Sequence[Step], end_position: int | None = None) -> list[Output]:
        """Take steps of one origin and the remote events that are due.

        Args:
            origin: The file or topic of the steps.
            steps: The steps of the partition's own users and catalogue events, in order.
            end_position: The position up to which the origin has been read.

        Returns:
            The outputs, in order.
        """
        return self._process_steps(origin, self.remote_events.merge(origin.key, steps, end_position))

    def flush_if_full(self, origin: Origin) -> list[Output]:
        """Take all buffered remote events once the buffer exceeds its limit; return the outputs."""
        return self._process_steps(origin, self.remote_events.drain_overflow())

    def finish(self, origin: Origin) -> list[Output]:
        """Take the remote events that are still buffered at the end of the input; return the outputs."""
        outputs = self._process_steps(origin, self.remote_events.drain())
        return outputs + self._collect_due("end", self.event_ts)

    def check_by_clock(self, now_ms: int) -> list[Output]:
        """Return the outputs that are due at event time `now_ms` without a new event."""
        return self._collect_due("clock", now_ms)

    def _process_steps(self, origin: Origin, steps: Iterable[Step]) -> list[Output]:
        outputs: list[Output] = []
        index, batch = self.item_statistics.index, self._batcher.start(self._learning.n_examples_to_update)
        for step in steps:
            # Compared by identity on the hot path: a negative `isinstance` takes five times as long.
            if type(step) is ItemUpdate or type(step) is Forget or type(step) is UserEvicted:
                if batch.step_kinds and not self._control_events.can_overtake(step, batch):
                    outputs += self._process_batch(origin, batch)
                    batch = self._batcher.start(self._learning.n_examples_to_update)
                outputs += self._control_events.apply(origin, step, self.latest_event, self.event_ts)
                continue
            target_event = target_event_of(step)
            if batch.step_kinds and not batch.can_add(step, target_event):
                outputs += self._process_batch(origin, batch)
                batch = self._batcher.start(self._learning.n_examples_to_update)
            if target_event is not None and index.get(target_event.item_id) == NO_ROW:
                outputs += self._lifecycle.admit(target_event.item_id, target_event.ts_ms, self.latest_event)
            batch.add(step)
        return outputs + self._process_batch(origin, batch)

    def _process_batch(self, origin: Origin, batch: MicroBatch) -> list[Output]:
        if not batch.step_kinds:
            return []
        if batch.interactions:
            event = batch.interactions[-1].event
            self.latest_event = TriggerEvent(origin, event.position, event.ts_ms, event.nth)
            self.event_ts = max(self.event_ts, batch.latest_ms)
        rankings = self._batch_ranker.rank(batch.step_kinds, batch.queries, batch.visits)
        for feature in self.features:
            feature.on_visits(batch.visits, batch.interactions)
        self._learning.learn(batch, rankings)
        outputs = self._publisher.publish(origin, batch, rankings)
        if batch.is_full:
            self.ranker.apply_updates()
            outputs += self._lifecycle.evict_idle(self._learning.n_examples, self.latest_event)
            outputs += self._collect_due("events", self.event_ts, has_interactions=bool(batch.interactions))
        return outputs

    def _collect_due(
        self, kind: Literal["events", "clock", "end"], now_ms: int, *, has_interactions: bool = False
    ) -> list[Output]:
        """Return the outputs that features publish by themselves; none before the first interaction."""
        if self.latest_event is None:
            return []
        n_events, n_examples = self.metrics.counts["events"], self._learning.n_examples
        check = DueCheck(kind, now_ms, self.latest_event, n_events, n_examples, has_interactions)
        return [output for feature in self.features for output in feature.collect_due(check, self._remade_lists)]

    @property
    def n_checks(self) -> int:
        """The number of checks of features at events since the process started (`Feature.n_checks`)."""
        return sum(feature.n_checks for feature in self.features)

    def update_user_counts(self, counts: Mapping[str, int]) -> None:
        """Report the counters of the user store with those of the partition."""
        dict.update(self.metrics.counts, counts)  # `Counter.update` would add

    def drain_receipts(self) -> list[Receipt]:
        """Return the receipts of users who were forgotten since the last call."""
        return self.metrics.drain_receipts()

    def report(self) -> Report:
        """Return the report of the partition."""
        return build_report(
            self.number,
            self.event_ts,
            self.metrics,
            self.item_statistics,
            self.ranker,
            self.active_users,
            self.features,
        )

    def report_if_due(self) -> Report | None:
        """Return a report if one is due (`PartitionMetrics.is_report_due`)."""
        if not self.metrics.is_report_due:
            return None
        self.metrics.n_reported_events = self.metrics.counts["events"]
        return self.report()
