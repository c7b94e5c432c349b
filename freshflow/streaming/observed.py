"""Observed sources, sinks and logics: wrappers around Bytewax's parts that record failures and time snapshots.

In a cluster Bytewax shows a step's error in no process, so the error is recorded as it passes the wrapper. Nothing is
read or ranked while an epoch ends, so the snapshots of each step are timed.
"""

import time
from collections.abc import Callable
from functools import wraps
from logging import getLogger
from typing import Any, TypeVar

from bytewax.inputs import (
    DynamicSource,
    FixedPartitionedSource,
    Source,
    StatefulSourcePartition,
    StatelessSourcePartition,
)
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, FixedPartitionedSink, Sink, StatefulSinkPartition, StatelessSinkPartition

from freshflow.errors import FreshFlowError

_logger = getLogger("freshflow")

ResultT = TypeVar("ResultT")
RecordDuration = Callable[[str, float], None]  # a step, and seconds


class FailureRecorder:
    """The first error that a step of this process raised; it is logged unless a user can have caused it."""

    def __init__(self) -> None:
        self.first_error: Exception | None = None

    def record(self, step: str, error: Exception) -> None:
        """Keep the error if it is the first."""
        if self.first_error is not None:
            return
        self.first_error = error
        if not isinstance(error, FreshFlowError):
            _logger.error("Step %s failed; the job stops.", step, exc_info=error)


class StepObserver:
    """Observer of one step: every call of its parts goes through `call`, every snapshot through `take_snapshot`.

    Args:
        step: The id of the step.
        failures: Recorder of the process's first failure.
        record_duration: Called with the step and the seconds that a snapshot took, a flush of a sink included.
    """

    def __init__(self, step: str, failures: FailureRecorder, record_duration: RecordDuration) -> None:
        self._step = step
        self._failures = failures
        self._record_duration = record_duration

    def call(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call a function; record the error if it fails. The end of a source is not an error."""
        try:
            return function(*arguments)
        except StopIteration:
            raise
        except Exception as error:
            self._failures.record(self._step, error)
            raise

    def take_snapshot(self, snapshot: Callable[[], ResultT]) -> ResultT:
        """Take a snapshot and record its duration, also if it fails."""
        start_s = time.perf_counter()
        try:
            return self.call(snapshot)
        finally:
            self._record_duration(self._step, time.perf_counter() - start_s)

    def observe_function(self, function: Callable[..., ResultT]) -> Callable[..., ResultT]:
        """Return the function of a stateless step, observed."""

        @wraps(function)
        def observed(*arguments: Any) -> ResultT:
            return self.call(function, *arguments)

        return observed

    def observe_logic(self, build: Callable[[Any], Any]) -> Callable[[Any], "ObservedLogic"]:
        """Return the builder of a stateful step's logic, observed."""
        return lambda resume_state: ObservedLogic(self.call(build, resume_state), self)

    def observe_source(self, source: Source[Any]) -> Source[Any]:
        """Return a source of either kind of Bytewax, observed."""
        if isinstance(source, FixedPartitionedSource):
            return ObservedSource(source, self)
        return ObservedDynamicSource(source, self)

    def observe_sink(self, sink: Sink[Any]) -> Sink[Any]:
        """Return a sink of either kind of Bytewax, observed."""
        if isinstance(sink, FixedPartitionedSink):
            return ObservedSink(sink, self)
        return ObservedDynamicSink(sink, self)


class ObservedLogic(StatefulBatchLogic[Any, Any, Any]):  # type: ignore[misc]
    """A stateful step's logic for one key, observed."""

    def __init__(self, logic: Any, observer: StepObserver) -> None:
        self._logic = logic
        self._observer = observer

    def on_batch(self, values: list[Any]) -> Any:
        """Process a batch."""
        return self._observer.call(self._logic.on_batch, values)

    def on_notify(self) -> Any:
        """Process a notification."""
        return self._observer.call(self._logic.on_notify)

    def on_eof(self) -> Any:
        """Process the end of the input."""
        return self._observer.call(self._logic.on_eof)

    def notify_at(self) -> Any:
        """Return the time of the next notification."""
        return self._observer.call(self._logic.notify_at)

    def snapshot(self) -> Any:
        """Return the state."""
        return self._observer.take_snapshot(self._logic.snapshot)


class ObservedSource(FixedPartitionedSource[Any, Any]):  # type: ignore[misc]
    """A source with a fixed number of partitions, observed."""

    def __init__(self, source: FixedPartitionedSource[Any, Any], observer: StepObserver) -> None:
        self._source = source
        self._observer = observer

    def list_parts(self) -> list[str]:
        """Return the names of the partitions."""
        return self._observer.call(self._source.list_parts)

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "ObservedSourcePartition":
        """Build a partition, observed."""
        part = self._observer.call(self._source.build_part, step_id, for_part, resume_state)
        return ObservedSourcePartition(part, self._observer)


class ObservedSourcePartition(StatefulSourcePartition[Any, Any]):  # type: ignore[misc]
    """A partition of a source, observed."""

    def __init__(self, part: StatefulSourcePartition[Any, Any], observer: StepObserver) -> None:
        self._part = part
        self._observer = observer

    def next_batch(self) -> Any:
        """Return the next items."""
        return self._observer.call(self._part.next_batch)

    def next_awake(self) -> Any:
        """Return the time of the next read."""
        return self._observer.call(self._part.next_awake)

    def snapshot(self) -> Any:
        """Return the position."""
        return self._observer.take_snapshot(self._part.snapshot)

    def close(self) -> None:
        """Close the partition."""
        self._part.close()


class ObservedSink(FixedPartitionedSink[Any, Any]):  # type: ignore[misc]
    """A sink with a fixed number of partitions, observed."""

    def __init__(self, sink: FixedPartitionedSink[Any, Any], observer: StepObserver) -> None:
        self._sink = sink
        self._observer = observer

    def list_parts(self) -> list[str]:
        """Return the names of the partitions."""
        return self._observer.call(self._sink.list_parts)

    def part_fn(self, item_key: str) -> Any:
        """Return the number that selects an item's partition."""
        return self._observer.call(self._sink.part_fn, item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "ObservedSinkPartition":
        """Build a partition, observed."""
        part = self._observer.call(self._sink.build_part, step_id, for_part, resume_state)
        return ObservedSinkPartition(part, self._observer)


class ObservedSinkPartition(StatefulSinkPartition[Any, Any]):  # type: ignore[misc]
    """A partition of a sink, observed."""

    def __init__(self, part: StatefulSinkPartition[Any, Any], observer: StepObserver) -> None:
        self._part = part
        self._observer = observer

    def write_batch(self, values: list[Any]) -> None:
        """Write items."""
        self._observer.call(self._part.write_batch, values)

    def snapshot(self) -> Any:
        """Flush the items and return the position."""
        return self._observer.take_snapshot(self._part.snapshot)

    def close(self) -> None:
        """Close the partition."""
        self._part.close()


class ObservedDynamicSource(DynamicSource[Any]):  # type: ignore[misc]
    """A source without stored positions, observed."""

    def __init__(self, source: DynamicSource[Any], observer: StepObserver) -> None:
        self._source = source
        self._observer = observer

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "ObservedStatelessSourcePartition":
        """Build a worker's partition, observed."""
        part = self._observer.call(self._source.build, step_id, worker_index, worker_count)
        return ObservedStatelessSourcePartition(part, self._observer)


class ObservedStatelessSourcePartition(StatelessSourcePartition[Any]):  # type: ignore[misc]
    """A worker's partition of a source without stored positions, observed."""

    def __init__(self, part: StatelessSourcePartition[Any], observer: StepObserver) -> None:
        self._part = part
        self._observer = observer

    def next_batch(self) -> Any:
        """Return the next items."""
        return self._observer.call(self._part.next_batch)

    def next_awake(self) -> Any:
        """Return the time of the next read."""
        return self._observer.call(self._part.next_awake)

    def close(self) -> None:
        """Close the partition."""
        self._part.close()


class ObservedDynamicSink(DynamicSink[Any]):  # type: ignore[misc]
    """A sink without stored positions, observed."""

    def __init__(self, sink: DynamicSink[Any], observer: StepObserver) -> None:
        self._sink = sink
        self._observer = observer

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "ObservedStatelessSinkPartition":
        """Build a worker's partition, observed."""
        part = self._observer.call(self._sink.build, step_id, worker_index, worker_count)
        return ObservedStatelessSinkPartition(part, self._observer)


class ObservedStatelessSinkPartition(StatelessSinkPartition[Any]):  # type: ignore[misc]
    """A worker's partition of a sink without stored positions, observed."""

    def __init__(self, part: StatelessSinkPartition[Any], observer: StepObserver) -> None:
        self._part = part
        self._observer = observer

    def write_batch(self, items: list[Any]) -> None:
        """Write items."""
        self._observer.call(self._part.write_batch, items)

    def close(self) -> None:
        """Close the partition."""
        self._part.close()
