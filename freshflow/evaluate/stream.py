"""A file as the job would read it, up to the step that knows its users: batches of steps, and what was refused."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from freshflow.config import Config
from freshflow.connectors.file_reader import OpenFile
from freshflow.dataflow.keys import partition_of
from freshflow.errors import InputError
from freshflow.events.adapters.formats import layout_finder
from freshflow.events.parse import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.events.types import Behaviour, Event, ItemUpdate, Origin, RawBatch, Rejected, Request
from freshflow.users.bucket import UserBucket
from freshflow.users.interactions import Dismissal, Interaction, Noise, Step
from freshflow.users.jumps import Clocks

__all__ = ["ASKED", "EvaluationStream", "StepsRead"]

TAKEN = (Interaction, Dismissal, Noise)  # what becomes of behaviour that is not left out
# Long enough for twenty items after those the user has seen are taken out, of nearly all users.
ASKED = 100


class StepsRead(msgspec.Struct, frozen=True):
    """The steps of one batch of records by partition, each in order; the file has been read as far as `upto`.

    `left_out` are events of which no step has come: duplicates and late ones.
    """

    origin: Origin
    upto: int
    by_partition: list[list[Step]]
    left_out: list[Behaviour]


class EvaluationStream:
    """Reads a file with the job's parser and user buckets, and asks for a list before each behaviour event.

    Events ahead of the file are refused as in a job with one partition.

    The question is an ordinary request for `ASKED` items in the event's own place. With `every` = n it is put
    before one event in n. Reading ends after `limit` behaviour events. As each event comes with a request, half of
    `job.batch_size` records are read at once, which gives batches as long as the job's.

    Raises `InputError` here if the file cannot be read, and later if it turns out damaged.
    """

    def __init__(self, path: str, config: Config, *, limit: int | None = None, every: int = 1) -> None:
        if path == "-" or "://" in path:
            raise InputError(
                f"The input {path} is no file, and an evaluation reads its input from a file: give a path."
            )
        self._find_layout = layout_finder(config.events)
        OpenFile(path, config.events.max_bytes, self._find_layout).close()
        self.path = path
        self.config = config
        self.limit = limit
        self.every = every
        self.rejected: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.events = 0
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[StepsRead]:
        """The batches from the beginning of the file."""
        config = self.config
        self.rejected, self.events, self.counts = Counter(), 0, Counter()
        parser, clocks = EventParser(config.events, Pseudonyms.of_config(config.privacy)), Clocks(config.events)
        self.passed_over = parser.passed_over
        buckets = [UserBucket.of_partition(config) for _ in range(config.job.partitions)]
        opened = OpenFile(self.path, config.events.max_bytes, self._find_layout)
        try:
            while not self._ended() and (records := opened.read(max(1, config.job.batch_size // 2))) is not None:
                if not records:
                    continue
                batch = RawBatch(opened.origin, tuple(records), 0, opened.columns, opened.separator)
                events, rejected = parser.parse(batch)
                believed, refused = clocks.take(batch.origin, events, 0)
                upto = clocks.reached(batch.origin, records[-1][0])
                yield self._read(batch.origin, believed, [*rejected, *refused], upto, buckets)
            for origin, believed, refused in clocks.finish():
                if not self._ended():
                    last = max(one.position for one in (*believed, *refused))
                    yield self._read(origin, believed, refused, last, buckets)
        finally:
            opened.close()

    def _read(
        self, origin: Origin, events: list[Event], rejected: list[Rejected], upto: int, buckets: list[UserBucket]
    ) -> StepsRead:
        asked = self._with_requests(events)
        if self._ended():
            upto = asked[-1].position
            rejected = [one for one in rejected if one.position <= upto]
        self.rejected.update(one.code for one in rejected)
        split = _by_partition(asked, len(buckets))
        steps = [bucket.take(part) for bucket, part in zip(buckets, split, strict=True)]
        self.counts = sum((bucket.counts for bucket in buckets), Counter())
        return StepsRead(origin, upto, steps, _without_step(asked, steps))

    def _ended(self) -> bool:
        return self.limit is not None and self.events >= self.limit

    def _with_requests(self, events: list[Event]) -> list[Event]:
        asked: list[Event] = []
        for event in events:
            if self._ended():
                break
            if isinstance(event, Behaviour):
                if self.events % self.every == 0:
                    asked.append(Request(event.position, event.user_id, event.ts_ms, k=ASKED, nth=event.nth))
                self.events += 1
            asked.append(event)
        return asked


def _without_step(events: list[Event], steps: list[list[Step]]) -> list[Behaviour]:
    """Behaviour of which something could be learned, and nothing was."""
    taken = {(step.position, step.nth) for part in steps for step in part if isinstance(step, TAKEN)}
    behaviour = (event for event in events if isinstance(event, Behaviour) and event.weight)
    return [event for event in behaviour if (event.position, event.nth) not in taken]


def _by_partition(events: list[Event], partitions: int) -> list[list[Event]]:
    """Each event where its user belongs; a catalogue event everywhere."""
    split: list[list[Event]] = [[] for _ in range(partitions)]
    for event in events:
        for part in split if isinstance(event, ItemUpdate) else [split[partition_of(event.user_id, partitions)]]:
            part.append(event)
    return split
