"""A file as the job reads it, up to the user stage: batches of steps and remote events, and rejected records."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from freshflow.config.schema import Config
from freshflow.engine.messages import StepBatch
from freshflow.engine.pipeline import PartitionBatches, UserPipeline
from freshflow.errors import InputError
from freshflow.events.formats.registry import create_layout_finder
from freshflow.events.model import Event, Interaction, Origin, RawBatch, Rejected, Request
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.files.reader import EventFile
from freshflow.users.clock_skew import SkewDetector
from freshflow.users.updates import BotEvent, Dismissal, Step, UserInteraction

PROCESSED_STEPS = (UserInteraction, Dismissal, BotEvent)  # the steps of interactions
# Leaves twenty items after the removal of seen ones for nearly all users.
REQUEST_LIST_SIZE = 100


class EvaluationBatch(msgspec.Struct, frozen=True):
    """One batch of records as it reaches the partitions: `by_partition`, the steps and remote events of each.

    `excluded_events` are interactions without a step: duplicates and late ones.
    """

    by_partition: list[PartitionBatches]
    excluded_events: list[Interaction]

    @property
    def steps(self) -> list[Step]:
        """The steps of all partitions, each partition's in order."""
        return steps_of(self.by_partition)


class EvaluationStream:
    """A file read with the job's parser and user stages, with a request for a list before each interaction.

    Events ahead of the file are rejected as in a job with one partition. The request is an ordinary one for
    `REQUEST_LIST_SIZE` items at the position of its event; with `score_every` = n it precedes one event in n. Reading
    ends after `max_events` interactions. As each event comes with a request, half of `job.batch_size` records are read
    at once, which gives batches as long as the job's.

    Raises:
        InputError: If the file cannot be read, or later if it turns out damaged.
    """

    def __init__(self, path: str, config: Config, *, max_events: int | None = None, score_every: int = 1) -> None:
        if path == "-" or "://" in path:
            raise InputError(f"The input {path} is not a file; an evaluation reads from a file: give a path.")
        self._find_layout = create_layout_finder(config.events)
        EventFile(path, config.events.max_bytes, self._find_layout).close()
        self.path = path
        self.config = config
        self.max_events = max_events
        self.score_every = score_every
        self.n_rejected: Counter[str] = Counter()
        self.first_rejections: dict[str, str] = {}  # by code: line and reason of the first rejection
        self.n_unknown_type: Counter[str] = Counter()
        self.n_events = 0
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[EvaluationBatch]:
        """Yield the batches from the beginning of the file."""
        config = self.config
        self.n_rejected, self.n_events, self.counts = Counter(), 0, Counter()
        self.first_rejections = {}
        has_anonymous = config.users.guests
        pseudonyms = Pseudonyms.from_config(config.privacy, has_anonymous_users=has_anonymous)
        parser = EventParser(config.events, pseudonyms, has_anonymous_users=has_anonymous)
        skew_detector = SkewDetector(config.events, has_anonymous=has_anonymous)
        self.n_unknown_type = parser.n_unknown_type
        users = UserPipeline(config, checks_clock_skew=False)
        input_file = EventFile(self.path, config.events.max_bytes, self._find_layout)
        try:
            while (
                not self._is_at_limit() and (records := input_file.read(max(1, config.job.batch_size // 2))) is not None
            ):
                if not records:
                    continue
                batch = RawBatch(input_file.origin, tuple(records), 0, input_file.columns, input_file.separator)
                events, rejected = parser.parse(batch)
                accepted_events, skew_rejections = skew_detector.process(batch.origin, events, 0)
                end_position = skew_detector.processed_position(batch.origin, records[-1][0])
                yield self._process_batch(
                    batch.origin, accepted_events, [*rejected, *skew_rejections], end_position, users
                )
            for origin, accepted_events, skew_rejections in skew_detector.finish():
                if not self._is_at_limit():
                    last_position = max(record.position for record in (*accepted_events, *skew_rejections))
                    yield self._process_batch(origin, accepted_events, skew_rejections, last_position, users)
        finally:
            input_file.close()

    def _process_batch(
        self,
        origin: Origin,
        events: list[Event],
        rejected: list[Rejected],
        end_position: int,
        users: UserPipeline,
    ) -> EvaluationBatch:
        events_with_requests = self._insert_requests(events)
        if self._is_at_limit():
            end_position = events_with_requests[-1].position
            rejected = [rejection for rejection in rejected if rejection.position <= end_position]
        self.n_rejected.update(rejection.code for rejection in rejected)
        for rejection in rejected:
            self.first_rejections.setdefault(rejection.code, f"line {rejection.position}: {rejection.reason}")
        by_partition = users.process(origin, events_with_requests, end_position).by_partition
        self.counts = users.counts
        return EvaluationBatch(by_partition, _events_without_step(events_with_requests, steps_of(by_partition)))

    def _is_at_limit(self) -> bool:
        return self.max_events is not None and self.n_events >= self.max_events

    def _insert_requests(self, events: list[Event]) -> list[Event]:
        events_with_requests: list[Event] = []
        for event in events:
            if self._is_at_limit():
                break
            if isinstance(event, Interaction):
                if self.n_events % self.score_every == 0:
                    events_with_requests.append(
                        Request(event.position, event.user_id, event.ts_ms, k=REQUEST_LIST_SIZE, nth=event.nth)
                    )
                self.n_events += 1
            events_with_requests.append(event)
        return events_with_requests


def steps_of(by_partition: list[PartitionBatches]) -> list[Step]:
    """Return the steps of all partitions, each partition's in order."""
    step_batches = (batch for batches in by_partition for batch in batches if isinstance(batch, StepBatch))
    return [step for batch in step_batches for step in batch.steps]


def _events_without_step(events: list[Event], steps: list[Step]) -> list[Interaction]:
    """Return the weighted interactions without a step."""
    processed_positions = {(step.position, step.nth) for step in steps if isinstance(step, PROCESSED_STEPS)}
    interactions = (event for event in events if isinstance(event, Interaction) and event.weight)
    return [event for event in interactions if (event.position, event.nth) not in processed_positions]
