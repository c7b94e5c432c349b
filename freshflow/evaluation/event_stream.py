"""A file as the job would read it, up to the step that knows its users: batches of steps, and what was refused."""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from freshflow.config.schema import Config
from freshflow.errors import InputError
from freshflow.events.formats.registry import layout_finder
from freshflow.events.model import Behaviour, Event, Origin, RawBatch, Rejected, Request
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.files.reader import OpenFile
from freshflow.streaming.routing import by_bucket, by_user
from freshflow.users.anonymous import GuestBucket
from freshflow.users.clock_skew import Clocks
from freshflow.users.resequencer import Handover
from freshflow.users.store import UserBucket
from freshflow.users.updates import Dismissal, Handed, Interaction, Noise, Step

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
        self.refusals: dict[str, str] = {}  # the first of each code: where it stands, and why
        self.passed_over: Counter[str] = Counter()
        self.events = 0
        self.counts: Counter[str] = Counter()
        self._guests: list[GuestBucket] = []
        self._handovers: list[Handover] = []

    def __iter__(self) -> Iterator[StepsRead]:
        """The batches from the beginning of the file."""
        config = self.config
        self.rejected, self.events, self.counts = Counter(), 0, Counter()
        self.refusals = {}
        guests = config.users.guests
        pseudonyms = Pseudonyms.of_config(config.privacy, guests=guests)
        parser = EventParser(config.events, pseudonyms, guests=guests)
        clocks = Clocks(config.events, guests=guests)
        self.passed_over = parser.passed_over
        partitions = range(config.job.partitions)
        buckets = [UserBucket.of_partition(config) for _ in partitions]
        self._guests = [GuestBucket.of_partition(config) for _ in partitions] if guests else []
        self._handovers = [Handover() for _ in partitions]
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
        for one in rejected:
            self.refusals.setdefault(one.code, f"line {one.position}: {one.reason}")
        parts = self._without_guests(origin, by_bucket(asked, len(buckets), guests=bool(self._guests)), upto)
        steps = [bucket.take(part) for bucket, part in zip(buckets, parts, strict=True)]
        counts = [*(bucket.counts for bucket in buckets), *(guests.counts for guests in self._guests)]
        self.counts = sum(counts, Counter())
        return StepsRead(origin, upto, steps, _without_step(asked, steps))

    def _without_guests(
        self, origin: Origin, parts: list[list[Event]], upto: int
    ) -> Sequence[Sequence[Event | Handed]]:
        """What buckets of users take: what buckets of guests make of it, where guests are known."""
        if not self._guests:
            return parts
        several = len(parts)
        made = [by_user(guests.take(parts[n]), n, several) for n, guests in enumerate(self._guests)]
        taken = []
        for n, handover in enumerate(self._handovers):
            found = [handover.take(sender, several, origin, of[n], upto) for sender, of in enumerate(made)]
            taken.append([event for one in found if one is not None for event in one[0]])
        return taken

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
