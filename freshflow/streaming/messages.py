"""Messages that a partition takes and gives in the dataflow; the changelog holds those that it takes."""

import msgspec

from freshflow.engine.messages import RemoteEventBatch, StepBatch
from freshflow.io.record import OutBatch
from freshflow.metrics.report import Report


class BatchGroup(msgspec.Struct, frozen=True, tag="batch_group"):
    """The batches that a partition takes at once."""

    batches: list[StepBatch | RemoteEventBatch]


class RefreshTick(msgspec.Struct, frozen=True, tag="refresh_tick"):
    """A check by the clock, at an event time, of what is due."""

    now_ms: int


class EndOfInput(msgspec.Struct, frozen=True, tag="end_of_input"):
    """The input has ended."""


class RelatedItemsSwitch(msgspec.Struct, frozen=True, tag="related_items_switch"):
    """A change of the setting: a partition publishes related items from here on, or stops."""

    partition: int
    is_enabled: bool


PartitionMessage = BatchGroup | RefreshTick | EndOfInput | RelatedItemsSwitch


class PartitionOutput(msgspec.Struct, frozen=True):
    """The records of a partition for the sinks after a batch, and its report.

    `initial_counts` are the counters with which this process began. `list_ages_ms` are the ages of the events whose
    lists are in `lists`, where a metrics address is configured.
    """

    read_ms: int
    lists: OutBatch
    report: Report
    metrics: OutBatch
    related_lists: OutBatch = []
    initial_counts: dict[str, int] = {}
    list_ages_ms: list[int] = []
