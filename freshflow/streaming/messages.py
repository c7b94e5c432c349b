"""What travels between the steps of the graph: batches that stay together, so that Bytewax's cost is per batch."""

from typing import Any

import msgspec

from freshflow.events.model import Event, Origin
from freshflow.io.record import OutBatch
from freshflow.metrics.report import Report
from freshflow.users.updates import ForwardedEvent, RemoteEvent, Step

__all__ = [
    "BatchGroup",
    "EndOfInput",
    "EventBatch",
    "ForwardedBatch",
    "RefreshTick",
    "PartitionOutput",
    "RelatedItemsSwitch",
    "RemoteEventBatch",
    "StepBatch",
    "PartitionMessage",
]


class _PickledAsMsgpack(msgspec.Struct, frozen=True):
    """What may cross to another process: pickled as MessagePack, in less than half the time."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, (type(self), msgspec.msgpack.encode(self))


def _unpack(struct_type: type[_PickledAsMsgpack], payload: bytes) -> _PickledAsMsgpack:
    return msgspec.msgpack.decode(payload, type=struct_type)


class EventBatch(_PickledAsMsgpack, frozen=True, tag=True):
    """Events of one origin and one bucket of users, in order; catalogue events are in every bucket's.

    `end_position` is the last position that was read, so that a partition knows how far the origin has come.
    """

    partition: int
    origin: Origin
    read_ms: int
    events: list[Event]
    end_position: int


class ForwardedBatch(_PickledAsMsgpack, frozen=True, tag=True):
    """What the bucket of guests number `sender` has for a bucket of users, of an origin up to the position `end_position`.

    `counts` is what the sender has counted, for its own partition.
    """

    partition: int
    sender: int
    origin: Origin
    read_ms: int
    events: list[ForwardedEvent]
    end_position: int
    counts: dict[str, int]


class StepBatch(_PickledAsMsgpack, frozen=True, tag=True):
    """Steps of a partition's own users, in order, and catalogue events; `counts` is what the user stage has counted."""

    partition: int
    origin: Origin
    read_ms: int
    steps: list[Step]
    end_position: int
    counts: dict[str, int]


class RemoteEventBatch(_PickledAsMsgpack, frozen=True, tag=True):
    """Visits of another partition's users, for a partition to learn from."""

    partition: int
    origin: Origin
    remote_events: list[RemoteEvent]


class BatchGroup(msgspec.Struct, frozen=True, tag=True):
    """What a partition is given at once."""

    batches: list[StepBatch | RemoteEventBatch]


class RefreshTick(msgspec.Struct, frozen=True, tag=True):
    """The lists are looked at by the clock, at an event time."""

    now_ms: int


class EndOfInput(msgspec.Struct, frozen=True, tag=True):
    """The input has ended."""


class RelatedItemsSwitch(msgspec.Struct, frozen=True, tag=True):
    """A partition publishes related items from here on, or does not."""

    partition: int
    is_enabled: bool


PartitionMessage = BatchGroup | RefreshTick | EndOfInput | RelatedItemsSwitch


class PartitionOutput(msgspec.Struct, frozen=True):
    """What a partition has to say after a batch: records for the sinks, and how it stands."""

    read_ms: int
    lists: OutBatch
    report: Report
    metrics: OutBatch
    related_lists: OutBatch = []
    initial_counts: dict[str, int] = {}  # the counts of the report with which this process began
    list_ages_ms: list[int] = []  # of lists that an event caused: how long before it happened; where somebody asks
