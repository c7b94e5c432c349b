"""A file as the job would read it, up to the step that knows its users: batches of steps, and what was refused."""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from freshflow.config.schema import Config
from freshflow.errors import InputError
from freshflow.events.formats.registry import create_layout_finder
from freshflow.events.model import Event, Interaction, Origin, RawBatch, Rejected, Request
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.files.reader import EventFile
from freshflow.streaming.routing import route_events, route_forwarded_events
from freshflow.users.anonymous import AnonymousStore
from freshflow.users.clock_skew import SkewDetector
from freshflow.users.resequencer import Resequencer
from freshflow.users.store import UserStore
from freshflow.users.updates import BotEvent, Dismissal, ForwardedEvent, Step, UserInteraction

__all__ = ["REQUEST_LIST_SIZE", "EvaluationStream", "EvaluationBatch"]

PROCESSED_STEPS = (UserInteraction, Dismissal, BotEvent)  # what becomes of behaviour that is not left out
# Long enough for twenty items after those the user has seen are taken out, of nearly all users.
REQUEST_LIST_SIZE = 100


class EvaluationBatch(msgspec.Struct, frozen=True):
    """The steps of one batch of records by partition, each in order; the file has been read as far as `end_position`.

    `excluded_events` are events of which no step has come: duplicates and late ones.
    """

    origin: Origin
    end_position: int
    steps_by_partition: list[list[Step]]
    excluded_events: list[Interaction]


class EvaluationStream:
    """Reads a file with the job's parser and user buckets, and asks for a list before each behaviour event.

    Events ahead of the file are refused as in a job with one partition.

    The question is an ordinary request for `REQUEST_LIST_SIZE` items in the event's own place. With `score_every` = n it is put
    before one event in n. Reading ends after `max_events` behaviour events. As each event comes with a request, half of
    `job.batch_size` records are read at once, which gives batches as long as the job's.

    Raises `InputError` here if the file cannot be read, and later if it turns out damaged.
    """

    def __init__(self, path: str, config: Config, *, max_events: int | None = None, score_every: int = 1) -> None:
        if path == "-" or "://" in path:
            raise InputError(
                f"The input {path} is no file, and an evaluation reads its input from a file: give a path."
            )
        self._find_layout = create_layout_finder(config.events)
        EventFile(path, config.events.max_bytes, self._find_layout).close()
        self.path = path
        self.config = config
        self.max_events = max_events
        self.score_every = score_every
        self.n_rejected: Counter[str] = Counter()
        self.first_rejections: dict[str, str] = {}  # the first of each code: where it stands, and why
        self.n_unknown_type: Counter[str] = Counter()
        self.n_events = 0
        self.counts: Counter[str] = Counter()
        self._anonymous_stores: list[AnonymousStore] = []
        self._resequencers: list[Resequencer] = []

    def __iter__(self) -> Iterator[EvaluationBatch]:
        """The batches from the beginning of the file."""
        config = self.config
        self.n_rejected, self.n_events, self.counts = Counter(), 0, Counter()
        self.first_rejections = {}
        has_anonymous = config.users.guests
        pseudonyms = Pseudonyms.from_config(config.privacy, has_anonymous_users=has_anonymous)
        parser = EventParser(config.events, pseudonyms, has_anonymous_users=has_anonymous)
        skew_detector = SkewDetector(config.events, has_anonymous=has_anonymous)
        self.n_unknown_type = parser.n_unknown_type
        partitions = range(config.job.partitions)
        user_stores = [UserStore.for_partition(config) for _ in partitions]
        self._anonymous_stores = [AnonymousStore.for_partition(config) for _ in partitions] if has_anonymous else []
        self._resequencers = [Resequencer() for _ in partitions]
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
                    batch.origin, accepted_events, [*rejected, *skew_rejections], end_position, user_stores
                )
            for origin, accepted_events, skew_rejections in skew_detector.finish():
                if not self._is_at_limit():
                    last_position = max(record.position for record in (*accepted_events, *skew_rejections))
                    yield self._process_batch(origin, accepted_events, skew_rejections, last_position, user_stores)
        finally:
            input_file.close()

    def _process_batch(
        self,
        origin: Origin,
        events: list[Event],
        rejected: list[Rejected],
        end_position: int,
        user_stores: list[UserStore],
    ) -> EvaluationBatch:
        events_with_requests = self._insert_requests(events)
        if self._is_at_limit():
            end_position = events_with_requests[-1].position
            rejected = [rejection for rejection in rejected if rejection.position <= end_position]
        self.n_rejected.update(rejection.code for rejection in rejected)
        for rejection in rejected:
            self.first_rejections.setdefault(rejection.code, f"line {rejection.position}: {rejection.reason}")
        events_by_partition = self._resolve_anonymous(
            origin,
            route_events(events_with_requests, len(user_stores), has_anonymous_users=bool(self._anonymous_stores)),
            end_position,
        )
        steps = [
            user_store.process(partition_events)
            for user_store, partition_events in zip(user_stores, events_by_partition, strict=True)
        ]
        counts = [
            *(user_store.counts for user_store in user_stores),
            *(anonymous_store.counts for anonymous_store in self._anonymous_stores),
        ]
        self.counts = sum(counts, Counter())
        return EvaluationBatch(origin, end_position, steps, _events_without_step(events_with_requests, steps))

    def _resolve_anonymous(
        self, origin: Origin, events_by_partition: list[list[Event]], end_position: int
    ) -> Sequence[Sequence[Event | ForwardedEvent]]:
        """What buckets of users take: what buckets of guests make of it, where guests are known."""
        if not self._anonymous_stores:
            return events_by_partition
        n_partitions = len(events_by_partition)
        routed_events = [
            route_forwarded_events(anonymous_store.process(events_by_partition[n]), n, n_partitions)
            for n, anonymous_store in enumerate(self._anonymous_stores)
        ]
        resolved_events = []
        for n, resequencer in enumerate(self._resequencers):
            releases = [
                resequencer.process(sender, n_partitions, origin, events_by_receiver[n], end_position)
                for sender, events_by_receiver in enumerate(routed_events)
            ]
            resolved_events.append([event for release in releases if release is not None for event in release[0]])
        return resolved_events

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


def _events_without_step(events: list[Event], steps: list[list[Step]]) -> list[Interaction]:
    """Behaviour of which something could be learned, and nothing was."""
    processed_positions = {
        (step.position, step.nth)
        for partition_steps in steps
        for step in partition_steps
        if isinstance(step, PROCESSED_STEPS)
    }
    interactions = (event for event in events if isinstance(event, Interaction) and event.weight)
    return [event for event in interactions if (event.position, event.nth) not in processed_positions]
