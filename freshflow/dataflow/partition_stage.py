"""The partition stage: item knowledge, ranker and published lists behind Bytewax's stateful step."""

from collections.abc import Callable, Iterable

from bytewax.operators import StatefulBatchLogic

from freshflow.config import Config
from freshflow.connectors.records import OutBatch
from freshflow.dataflow.messages import PartitionOutput, SignalBatch, StepBatch
from freshflow.events.types import Origin
from freshflow.lists.partition import Partition
from freshflow.lists.snapshot import dump, load
from freshflow.lists.types import encode
from freshflow.quality.report import encode_receipt, encode_report

__all__ = ["PartitionStage", "partition_stage"]


class PartitionStage(StatefulBatchLogic[StepBatch | SignalBatch, PartitionOutput, bytes]):  # type: ignore[misc]
    """Steps in, encoded lists and figures out. The partition is made at its first batch, which says its number."""

    def __init__(
        self, config: Config, clock: Callable[[], int], partition: Partition | None, keep_snapshots: bool
    ) -> None:
        self.config = config
        self.clock = clock
        self.partition = partition
        self.keep_snapshots = keep_snapshots
        self._origin: Origin | None = None

    def on_batch(self, values: list[StepBatch | SignalBatch]) -> tuple[Iterable[PartitionOutput], bool]:
        """Take each batch by itself; hold signals first, so that an own batch finds all that arrived with it."""
        for batch in values:
            if isinstance(batch, SignalBatch):
                self._of(batch).hear(batch.origin, batch.signals)
        outputs = [self._take(batch) for batch in values if isinstance(batch, StepBatch)]
        self._of(values[-1]).relieve(values[-1].origin)
        return outputs, StatefulBatchLogic.RETAIN

    def _of(self, batch: StepBatch | SignalBatch) -> Partition:
        if self.partition is None:
            self.partition = Partition(batch.partition, self.config, self.clock)
        self._origin = batch.origin
        return self.partition

    def _take(self, batch: StepBatch) -> PartitionOutput:
        partition = self._of(batch)
        lists: OutBatch = [encode(output) for output in partition.take(batch.origin, batch.steps, batch.upto)]
        report = partition.report_if_due()
        metrics: OutBatch = [encode_receipt(receipt, self.clock()) for receipt in partition.take_receipts()]
        metrics += [encode_report(report, self.clock())] if report else []
        return PartitionOutput(batch.read_ms, lists, partition.report(), metrics)

    def on_eof(self) -> tuple[Iterable[PartitionOutput], bool]:
        """Take in what is held, and report once more."""
        partition = self.partition
        if partition is None or self._origin is None:
            return [], StatefulBatchLogic.RETAIN
        partition.finish(self._origin)
        report = partition.report()
        output = PartitionOutput(self.clock(), [], report, [encode_report(report, self.clock())])
        return [output], StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """The partition, if there is a recovery to store it; Bytewax asks in any case."""
        return dump(self.partition) if self.keep_snapshots and self.partition is not None else b""


def partition_stage(
    config: Config, clock: Callable[[], int], keep_snapshots: bool
) -> Callable[[bytes | None], PartitionStage]:
    """The builder Bytewax calls for a new key, or with the snapshot of one that is resumed."""

    def build(snapshot: bytes | None) -> PartitionStage:
        partition = load(snapshot, config, clock) if snapshot else None
        return PartitionStage(config, clock, partition, keep_snapshots)

    return build
