"""The partition stage: item knowledge, ranker and published lists behind Bytewax's stateful step."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bytewax.operators import StatefulBatchLogic

from freshflow.config.schema import Config
from freshflow.engine.partition import Partition
from freshflow.engine.snapshot import frozen, load, settings_of
from freshflow.events.model import Forget, Origin
from freshflow.io.record import OutBatch
from freshflow.metrics.report import encode_receipt, encode_report
from freshflow.outputs.records import Output, RecommendationList, encode_all, encode_related
from freshflow.refresh.event_clock import LiveTime
from freshflow.state.backend import Keeping, Kept
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import Batches, End, Look, PartitionOutput, RelatedOn, SignalBatch, StepBatch, Taken

__all__ = ["PartitionStage", "partition_stage"]

SETTLE_S = 1.0


class PartitionStage(StatefulBatchLogic[StepBatch | SignalBatch, PartitionOutput, bytes]):  # type: ignore[misc]
    """Steps in, encoded lists and figures out. The partition is made at its first batch, which says its number.

    In a `live` job its lists are looked at by the clock, too, while no event makes it look at them. Related
    items are part of the state where they are wanted.
    """

    def __init__(
        self, config: Config, clock: Callable[[], int], kept: Kept, *, live: bool, related: bool = False
    ) -> None:
        self.config = config
        self.clock = clock
        self.kept = kept
        self.partition: Partition | None = None
        self.related = related
        self._tells_ages = live and bool(config.metrics.address)
        self.time = LiveTime(0, clock()) if live and (config.refresh.interval_s > 0 or related) else None
        self._origin: Origin | None = None
        self.before: dict[str, int] = {}  # the counts that are resumed from
        if kept.base is not None:
            self.partition = load(kept.base, config, clock)
            kept.base = None
        for taken in kept.taken_since():
            self._take(taken)
        if self.partition is not None:
            self.before = self.partition.report().counts
        if self.time is not None and self.partition is not None:
            self.time = LiveTime(self.partition.event_ts, clock())

    def on_batch(self, values: list[StepBatch | SignalBatch]) -> tuple[Iterable[PartitionOutput], bool]:
        """Take what has arrived."""
        number = values[0].partition
        if self.related != (self._numbered(number).related is not None):
            self._noted(RelatedOn(number, self.related))
        return self._noted(Batches(values), sum(len(v.steps) for v in values if isinstance(v, StepBatch)))

    def notify_at(self) -> datetime | None:
        """When to look at the lists if no event makes the partition look before; soon, if files are to be deleted."""
        look = None if self.time is None else datetime.fromtimestamp(self.time.look_at_ms / 1000, UTC)
        soon = datetime.now(UTC) + timedelta(seconds=SETTLE_S) if self.kept.settles else None
        return min((at for at in (look, soon) if at is not None), default=None)

    def on_notify(self) -> tuple[Iterable[PartitionOutput], bool]:
        """Look at the lists, unless an event has just made the partition do so."""
        clock_ms, time = self.clock(), self.time
        if time is None or self.partition is None or clock_ms < time.look_at_ms:
            return [], StatefulBatchLogic.RETAIN
        time.looked(clock_ms)
        return self._noted(Look(time.now_ms(clock_ms)))

    def on_eof(self) -> tuple[Iterable[PartitionOutput], bool]:
        """Take in what is held, and report once more."""
        return self._noted(End())

    def _noted(self, taken: Taken, events: int = 0) -> tuple[Iterable[PartitionOutput], bool]:
        self.kept.note(taken, events)
        return self._take(taken), StatefulBatchLogic.RETAIN

    def _take(self, taken: Taken) -> list[PartitionOutput]:
        """What follows from the state and what is taken, and nothing else."""
        if isinstance(taken, Batches):
            return self._take_batches(taken.several)
        if isinstance(taken, RelatedOn):
            self._numbered(taken.partition).publish_related(taken.on)
            return []
        partition = self.partition
        if partition is None:
            return []
        if isinstance(taken, Look):
            outputs = partition.look(taken.now_ms)
            return [self._output(partition, outputs, self.clock())] if outputs or partition.relations else []
        if self._origin is None:
            return []
        partition.finish(self._origin)
        report = partition.report()
        metrics: OutBatch = [encode_report(report, self.clock())]
        return [PartitionOutput(self.clock(), [], report, metrics, self._related(partition), self.before)]

    def _take_batches(self, several: list[StepBatch | SignalBatch]) -> list[PartitionOutput]:
        """Take each batch by itself; hold signals first, so that an own batch finds all that arrived with it."""
        for batch in several:
            if isinstance(batch, SignalBatch):
                self._of(batch).hear(batch.origin, batch.signals)
        outputs = [self._take_steps(batch) for batch in several if isinstance(batch, StepBatch)]
        partition = self._of(several[-1])
        partition.relieve(several[-1].origin)
        return outputs if not partition.relations else [*outputs, self._output(partition, [], self.clock())]

    def _of(self, batch: StepBatch | SignalBatch) -> Partition:
        self._origin = batch.origin
        return self._numbered(batch.partition)

    def _numbered(self, number: int) -> Partition:
        if self.partition is None:
            self.partition = Partition(number, self.config, self.clock)
        return self.partition

    def _take_steps(self, batch: StepBatch) -> PartitionOutput:
        partition = self._of(batch)
        partition.note_users(batch.counts)
        outputs = partition.take(batch.origin, batch.steps, batch.upto)
        if self.config.users.guests and any(type(step) is Forget for step in batch.steps):
            self.kept.renew()  # what was taken so far may name a guest of who is to be forgotten
        if self.time is not None:
            self.time.follow(partition.event_ts, batch.read_ms, partition.looks, self.clock())
        return self._output(partition, outputs, batch.read_ms)

    def _output(self, partition: Partition, outputs: list[Output], read_ms: int) -> PartitionOutput:
        lists: OutBatch = list(encode_all(outputs))
        report = partition.report_if_due()
        receipts = partition.take_receipts()
        if receipts:
            self.kept.renew()  # what was taken so far names who is to be forgotten
        metrics: OutBatch = [encode_receipt(receipt, self.clock()) for receipt in receipts]
        metrics += [encode_report(report, self.clock())] if report else []
        ages_ms = _ages_ms(outputs) if self._tells_ages else []
        return PartitionOutput(
            read_ms, lists, partition.report(), metrics, self._related(partition), self.before, ages_ms
        )

    def _related(self, partition: Partition) -> OutBatch:
        return [encode_related(one) for one in partition.take_relations()]

    def snapshot(self) -> bytes:
        """What recovery needs of the partition, if there is one; Bytewax asks in any case."""
        return b"" if self.partition is None else self.kept.mark(partial(frozen, self.partition))


def _ages_ms(outputs: list[Output]) -> list[int]:
    """From event to list, of the lists that an event caused: those of a refresh are caused by the world."""
    lists = (one for one in outputs if isinstance(one, RecommendationList) and one.cause != "refresh")
    return [one.computed_at - one.event_ts for one in lists]


def partition_stage(
    config: Config,
    clock: Callable[[], int],
    keeping: Keeping,
    *,
    live: bool,
    related: bool = False,
    split: dict[str, Any] | None = None,
) -> Callable[[bytes | None], PartitionStage]:
    """The builder Bytewax calls for a new key, or with what was stored of one that is resumed.

    `split` are settings of how the job's users are split (`Variants.settings`), if they are several variants'.
    """
    settings = settings_of(config) | (split or Variants([config]).settings())
    return lambda stored: PartitionStage(config, clock, keeping.of(stored, Taken, settings), live=live, related=related)
