"""What travels between the steps of the graph: batches that stay together, so that Bytewax's cost is per batch."""

from typing import Any

import msgspec

from freshflow.events.model import Event, Origin
from freshflow.io.record import OutBatch
from freshflow.metrics.report import Report
from freshflow.users.updates import Handed, Signal, Step

__all__ = [
    "Batches",
    "End",
    "EventBatch",
    "HandedBatch",
    "Look",
    "PartitionOutput",
    "RelatedOn",
    "SignalBatch",
    "StepBatch",
    "Taken",
]


class _Crossing(msgspec.Struct, frozen=True):
    """What may cross to another process: pickled as MessagePack, in less than half the time."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (type(self), msgspec.msgpack.encode(self))


def _unpacked(kind: type[_Crossing], packed: bytes) -> _Crossing:
    return msgspec.msgpack.decode(packed, type=kind)


class EventBatch(_Crossing, frozen=True, tag=True):
    """Events of one origin and one bucket of users, in order; catalogue events are in every bucket's.

    `upto` is the last position that was read, so that a partition knows how far the origin has come.
    """

    bucket: int
    origin: Origin
    read_ms: int
    events: list[Event]
    upto: int


class HandedBatch(_Crossing, frozen=True, tag=True):
    """What the bucket of guests number `sender` has for a bucket of users, of an origin up to the position `upto`.

    `counts` is what the sender has counted, for its own partition.
    """

    bucket: int
    sender: int
    origin: Origin
    read_ms: int
    events: list[Handed]
    upto: int
    counts: dict[str, int]


class StepBatch(_Crossing, frozen=True, tag=True):
    """Steps of a partition's own users, in order, and catalogue events; `counts` is what the user stage has counted."""

    partition: int
    origin: Origin
    read_ms: int
    steps: list[Step]
    upto: int
    counts: dict[str, int]


class SignalBatch(_Crossing, frozen=True, tag=True):
    """Visits of another partition's users, for a partition to learn from."""

    partition: int
    origin: Origin
    signals: list[Signal]


class Batches(msgspec.Struct, frozen=True, tag=True):
    """What a partition is given at once."""

    several: list[StepBatch | SignalBatch]


class Look(msgspec.Struct, frozen=True, tag=True):
    """The lists are looked at by the clock, at an event time."""

    now_ms: int


class End(msgspec.Struct, frozen=True, tag=True):
    """The input has ended."""


class RelatedOn(msgspec.Struct, frozen=True, tag=True):
    """A partition publishes related items from here on, or does not."""

    partition: int
    on: bool


Taken = Batches | Look | End | RelatedOn


class PartitionOutput(msgspec.Struct, frozen=True):
    """What a partition has to say after a batch: records for the sinks, and how it stands."""

    read_ms: int
    lists: OutBatch
    report: Report
    metrics: OutBatch
    related: OutBatch = []
    before: dict[str, int] = {}  # the counts of the report with which this process began
    ages_ms: list[int] = []  # of lists that an event caused: how long before it happened; where somebody asks
