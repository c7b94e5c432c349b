"""Messages between the stages of a pipeline: batches of one origin, so that routing costs are paid per batch."""

from typing import Any

import msgspec

from freshflow.events.model import Event, Origin
from freshflow.users.updates import ForwardedEvent, RemoteEvent, Step


class _PickledAsMsgpack(msgspec.Struct, frozen=True):
    """A message that may cross to another process: pickled as MessagePack, in less than half the time."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack, (type(self), msgspec.msgpack.encode(self))


def _unpack(struct_type: type[_PickledAsMsgpack], payload: bytes) -> _PickledAsMsgpack:
    return msgspec.msgpack.decode(payload, type=struct_type)


class EventBatch(_PickledAsMsgpack, frozen=True, tag="event_batch"):
    """Events of one origin for one partition, in order; every partition gets the catalogue events.

    `end_position` is the last position that was read, so that a partition knows how far the origin has come.
    """

    partition: int
    origin: Origin
    read_ms: int
    events: list[Event]
    end_position: int


class ForwardedBatch(_PickledAsMsgpack, frozen=True, tag="forwarded_batch"):
    """Events that the anonymous stage of partition `sender` forwards, complete up to `end_position` of their origin.

    `counts` are the sender's counters, for its own partition only.
    """

    partition: int
    sender: int
    origin: Origin
    read_ms: int
    events: list[ForwardedEvent]
    end_position: int
    counts: dict[str, int]


class StepBatch(_PickledAsMsgpack, frozen=True, tag="step_batch"):
    """Steps of a partition's own users and catalogue events, in order; `counts` are the counters of the user stage."""

    partition: int
    origin: Origin
    read_ms: int
    steps: list[Step]
    end_position: int
    counts: dict[str, int]


class RemoteEventBatch(_PickledAsMsgpack, frozen=True, tag="remote_event_batch"):
    """Events of another partition's users, for a partition to learn from."""

    partition: int
    origin: Origin
    remote_events: list[RemoteEvent]
