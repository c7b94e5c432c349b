"""The whole path of an event in one process: users, then partitions, without a dataflow."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from freshflow.config.schema import Config
from freshflow.engine.messages import EventBatch, ForwardedBatch, RemoteEventBatch, StepBatch
from freshflow.engine.partition import Partition
from freshflow.engine.routing import Topology
from freshflow.engine.stages import (
    AnonymousStage,
    AnonymousStageOutput,
    UserStage,
    UserStageOutput,
    process_partition_batches,
    route_read_events,
)
from freshflow.events.model import Event, Origin, Rejected
from freshflow.metrics.report import Report
from freshflow.outputs.records import Output

PartitionBatches = list[StepBatch | RemoteEventBatch]


class RoutedBatches(NamedTuple):
    """The messages of the users of all partitions: by receiving partition, and the events that were rejected."""

    by_partition: list[PartitionBatches]
    rejected: list[Rejected]


class PipelineOutput(NamedTuple):
    """The outputs of all partitions, and the events that were rejected for the clock of their sender."""

    outputs: list[Output]
    rejected: list[Rejected]


class UserPipeline:
    """The first half of a pipeline: the stages of anonymous users, if they are tracked, and of users.

    Without `checks_clock_skew`, the caller has checked the clock of the events.
    """

    def __init__(self, config: Config, *, checks_clock_skew: bool = True) -> None:
        self.topology = Topology.of_partitions(config.job.partitions)
        self._has_anonymous_users = config.users.guests
        stages = range(config.job.partitions)
        self._user_stages = [UserStage(config, self.topology, checks_clock_skew=checks_clock_skew) for _ in stages]
        self._anonymous_stages = (
            [AnonymousStage(config, self.topology, checks_clock_skew=checks_clock_skew) for _ in stages]
            if config.users.guests
            else []
        )

    def process(self, origin: Origin, events: Iterable[Event], end_position: int, read_ms: int = 0) -> RoutedBatches:
        """Return the messages that follow from events.

        Args:
            origin: The file or topic of the events.
            events: The events, in order.
            end_position: The position up to which the origin has been read.
            read_ms: The processing time at which they were read, in epoch milliseconds.
        """
        batches = route_read_events(
            origin, events, read_ms, end_position, self.topology, has_anonymous_users=self._has_anonymous_users
        )
        if not self._anonymous_stages:
            return self._collect(self._process_users(batches))
        rejected: list[Rejected] = []
        forwarded = (routed for batch in batches for routed in self._anonymous_stages[batch.partition].process(batch))
        return self._collect(self._process_users(_without_rejected(forwarded, rejected)), rejected)

    def finish(self, read_ms: int = 0) -> RoutedBatches:
        """Return the messages that follow from the events that still wait at the end of the input."""
        rejected: list[Rejected] = []
        forwarded = (
            routed
            for partition, stage in enumerate(self._anonymous_stages)
            for routed in stage.finish(partition, read_ms)
        )
        routed = [*self._process_users(_without_rejected(forwarded, rejected))]
        for partition, stage in enumerate(self._user_stages):
            routed += stage.finish(partition, read_ms)
        return self._collect(routed, rejected)

    @property
    def counts(self) -> Counter[str]:
        """The counters of all stages."""
        return sum((stage.store.counts for stage in (*self._user_stages, *self._anonymous_stages)), Counter[str]())

    def _process_users(self, batches: Iterable[EventBatch | ForwardedBatch]) -> Iterator[UserStageOutput]:
        for batch in batches:
            yield from self._user_stages[batch.partition].process(batch)

    def _collect(self, routed: Iterable[UserStageOutput], rejected: Sequence[Rejected] = ()) -> RoutedBatches:
        batches: list[PartitionBatches] = [[] for _ in self._user_stages]
        user_rejected: list[Rejected] = []
        for partition, message in routed:
            if isinstance(message, list):
                user_rejected += message
            else:
                batches[partition].append(message)
        return RoutedBatches(batches, [*rejected, *user_rejected])


class PartitionPipeline:
    """The second half of a pipeline: the partitions, to which users send steps and remote events."""

    def __init__(self, config: Config, clock: Callable[[], int], *, publishes_related: bool = False) -> None:
        self.partitions = [
            Partition(number, config, clock, publishes_related=publishes_related)
            for number in range(config.job.partitions)
        ]
        self._origins: dict[int, Origin] = {}  # the latest origin by partition

    def process(self, batches_by_partition: Sequence[PartitionBatches]) -> list[Output]:
        """Take the messages of each partition and return the outputs, partition by partition."""
        outputs: list[Output] = []
        for partition, batches in zip(self.partitions, batches_by_partition, strict=True):
            if batches:
                self._origins[partition.number] = batches[-1].origin
                for _, batch_outputs in process_partition_batches(partition, batches):
                    outputs += batch_outputs
        return outputs

    def finish(self) -> list[Output]:
        """Take the remote events that are still buffered at the end of the input, and return the outputs."""
        outputs: list[Output] = []
        for number, origin in self._origins.items():
            outputs += self.partitions[number].finish(origin)
        return outputs

    def reports(self) -> list[Report]:
        """Return the report of each partition."""
        return [partition.report() for partition in self.partitions]


class Pipeline:
    """All users and partitions of a job, in one process. `clock` gives processing time in epoch milliseconds.

    Without `checks_clock_skew`, the caller has checked the clock of the events.
    """

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        *,
        checks_clock_skew: bool = True,
        publishes_related: bool = False,
    ) -> None:
        self._users = UserPipeline(config, checks_clock_skew=checks_clock_skew)
        self._partitions = PartitionPipeline(config, clock, publishes_related=publishes_related)

    def process(self, origin: Origin, events: Iterable[Event], end_position: int, read_ms: int = 0) -> PipelineOutput:
        """Return the outputs that follow from events.

        Args:
            origin: The file or topic of the events.
            events: The events, in order.
            end_position: The position up to which the origin has been read.
            read_ms: The processing time at which they were read, in epoch milliseconds.
        """
        routed = self._users.process(origin, events, end_position, read_ms)
        return PipelineOutput(self._partitions.process(routed.by_partition), routed.rejected)

    def finish(self, read_ms: int = 0) -> PipelineOutput:
        """Return the outputs that still follow at the end of the input."""
        routed = self._users.finish(read_ms)
        outputs = self._partitions.process(routed.by_partition) + self._partitions.finish()
        return PipelineOutput(outputs, routed.rejected)

    @property
    def event_ts(self) -> int:
        """The event time of the latest interaction, in epoch milliseconds; 0 before the first."""
        return max(partition.event_ts for partition in self._partitions.partitions)

    def reports(self) -> list[Report]:
        """Return the report of each partition."""
        return self._partitions.reports()


def _without_rejected(routed: Iterable[AnonymousStageOutput], rejected: list[Rejected]) -> Iterator[ForwardedBatch]:
    """Return the batches; add rejected events to `rejected`."""
    for _, message in routed:
        if isinstance(message, list):
            rejected += message
        else:
            yield message
