"""Detection of events dated far ahead of their stream: a pause of the stream, or a wrong clock of one sender.

One event dated two years ahead would age all popularity, and every user, by two years. The parser rejects events ahead
of the time they are read, but in a replay of old events none is. There the stream itself decides. An event more than
`events.max_clock_skew_s` ahead of all earlier ones is held back, with all events after it, until the next events of
other users vote: an event less than the limit behind it confirms it, any other contradicts it. Two equal votes decide,
and the event is accepted or rejected. At the end of the stream, or with `MAX_PENDING_EVENTS` events held back, the
majority decides, with the event's own user in favour.

A pause loses no events and changes no order. The decision depends on the order of events only, so a replay decides
alike. A job that keeps up never waits: an event dated within `events.max_future_s` of its reading is accepted at once,
with the events held back before it. The first event of a stream is accepted, as there is nothing to compare it with.

Events of one record stay together: all are accepted, rejected or held back with its first interaction, as one clock
dated them all. Their distance from it is no evidence, as a record can hold a user's whole history; the clock of the
stream therefore follows the first interactions only.

Each bucket checks the events of its own users, by origin: records of two origins have no common order.
"""

from collections.abc import Iterable, Sequence

import msgspec

from freshflow.config.schema import EventsConfig
from freshflow.events.identity import ANONYMOUS_PREFIX, is_anonymous_id
from freshflow.events.model import Event, Interaction, Origin, Rejected, Request, Search
from freshflow.events.timestamps import format_duration

MAX_PENDING_EVENTS = 64  # per origin, after the record that awaits a decision: bounds memory and delay
UNKNOWN_CLOCK_MS = 0  # the clock of a stream without interactions so far
MIN_AGREEING_USERS = 2  # equal votes of other users that decide


class StreamClock(msgspec.Struct, frozen=True):
    """The latest accepted time of an origin, and its pending events, the first of which awaits a decision."""

    origin: Origin
    clock_ms: int
    pending: tuple[Event, ...] = ()


class SkewDetector:
    """The clocks of a bucket's streams, by origin key; `has_anonymous` if anonymous users are enabled."""

    def __init__(
        self, config: EventsConfig, streams: Iterable[StreamClock] = (), *, has_anonymous: bool = False
    ) -> None:
        self.has_anonymous = has_anonymous
        self.max_clock_skew_ms = int(config.max_clock_skew_s * 1000)
        self.max_future_ms = int(config.max_future_s * 1000)
        self.streams = {stream.origin.key: stream for stream in streams}

    def process(self, origin: Origin, events: list[Event], read_ms: int) -> tuple[list[Event], list[Rejected]]:
        """Check the next events of an origin, after those held back.

        Args:
            origin: The log of the events.
            events: The events, in order of position.
            read_ms: Processing time of their read; 0 if unknown.

        Returns:
            The accepted events, in order, and the rejected records.
        """
        if not events:
            return events, []
        stream = self.streams.get(origin.key)
        if stream is None or stream.clock_ms == UNKNOWN_CLOCK_MS:
            stream = StreamClock(origin, _first_interaction_ms(events))
        clock_ms, limit_ms = stream.clock_ms, stream.clock_ms + self.max_clock_skew_ms
        if not stream.pending:  # fast path, the normal case
            for event in events:
                ts_ms = event.ts_ms
                if ts_ms > clock_ms and type(event) is Interaction:
                    if ts_ms > limit_ms or event.nth:
                        break
                    clock_ms, limit_ms = ts_ms, ts_ms + self.max_clock_skew_ms
            else:
                self.streams[origin.key] = StreamClock(origin, clock_ms)
                return events, []
        return self._resolve_pending(
            stream, [*stream.pending, *events], read_ms - self.max_future_ms if read_ms else None
        )

    @property
    def pending_event(self) -> Event | None:
        """An event that awaits a decision, or None: an interaction of a user of this bucket."""
        return next((stream.pending[0] for stream in self.streams.values() if stream.pending), None)

    def finish(self) -> list[tuple[Origin, list[Event], list[Rejected]]]:
        """Decide on all pending events at the end of all streams; return accepted and rejected ones by origin."""
        streams = [self.streams[key] for key in sorted(self.streams) if self.streams[key].pending]
        return [
            (stream.origin, *self._resolve_pending(stream, stream.pending, None, is_end_of_stream=True))
            for stream in streams
        ]

    def processed_position(self, origin: Origin, end_position: int) -> int:
        """Return the position up to which no event is held back, for an origin read up to `end_position`."""
        stream = self.streams.get(origin.key)
        return stream.pending[0].position - 1 if stream and stream.pending else end_position

    def _resolve_pending(
        self, stream: StreamClock, events: Sequence[Event], live_from_ms: int | None, *, is_end_of_stream: bool = False
    ) -> tuple[list[Event], list[Rejected]]:
        """Accept or reject `events` until one has to wait.

        Events dated `live_from_ms` or later are as recent as their reading; None disables this test.
        """
        clock_ms = stream.clock_ms
        accepted_events: list[Event] = []
        rejected: list[Rejected] = []
        first_event: Interaction | None = None  # the first interaction of the record
        verdict: bool | None = True  # on the record
        for index, event in enumerate(events):
            if isinstance(event, Interaction):
                if first_event is None or event.position != first_event.position:
                    first_event, verdict = event, True
                    if event.ts_ms > clock_ms + self.max_clock_skew_ms and not _is_live(event, live_from_ms):
                        verdict = self._decide(event, _following_events(events, index), live_from_ms, is_end_of_stream)
                    if verdict is None:
                        break
                    if verdict:
                        clock_ms = max(clock_ms, event.ts_ms)
                if not verdict:
                    rejected.append(self._rejection(stream.origin, event, first_event, clock_ms))
                    continue
            accepted_events.append(event)
        else:
            index = len(events)
        self.streams[stream.origin.key] = StreamClock(stream.origin, clock_ms, tuple(events[index:]))
        return accepted_events, rejected

    def _decide(
        self, event: Interaction, following_events: Sequence[Event], live_from_ms: int | None, is_end_of_stream: bool
    ) -> bool | None:
        """Return true to accept an event ahead of its stream, false to reject it, or None if it has to wait."""
        earliest_ms = event.ts_ms - self.max_clock_skew_ms
        voters = {event.user_id}
        votes = [0, 0]  # against, for
        for later_event in following_events:
            is_in_time = later_event.ts_ms >= earliest_ms
            if is_in_time and _is_live(later_event, live_from_ms):
                return True
            if not isinstance(later_event, Interaction | Request | Search) or later_event.user_id in voters:
                continue
            voters.add(later_event.user_id)
            votes[is_in_time] += 1
            if votes[is_in_time] == MIN_AGREEING_USERS:
                return is_in_time
        return votes[True] >= votes[False] if is_end_of_stream or len(following_events) == MAX_PENDING_EVENTS else None

    def _rejection(self, origin: Origin, event: Interaction, first_event: Interaction, clock_ms: int) -> Rejected:
        subject = "ts" if event is first_event else "The ts of the record's first event"
        skew = format_duration((first_event.ts_ms - clock_ms) / 1000)
        reason = (
            f"{subject} = {first_event.ts_ms} is {skew} ahead of all earlier events, more than "
            "events.max_clock_skew_s, and later events contradict it: correct the clock of the sender."
        )
        guest_id = (
            event.user_id[len(ANONYMOUS_PREFIX) :] if self.has_anonymous and is_anonymous_id(event.user_id) else None
        )
        return Rejected(origin, event.position, event.to_record(guest_id), "ahead", reason)


def _first_interaction_ms(events: Sequence[Event]) -> int:
    return next((event.ts_ms for event in events if isinstance(event, Interaction)), UNKNOWN_CLOCK_MS)


def _following_events(events: Sequence[Event], index: int) -> Sequence[Event]:
    """Return the next `MAX_PENDING_EVENTS` events after the record of event number `index`."""
    end = index + 1
    while end < len(events) and events[end].position == events[index].position:
        end += 1
    return events[end : end + MAX_PENDING_EVENTS]


def _is_live(event: Event, live_from_ms: int | None) -> bool:
    return live_from_ms is not None and event.ts_ms >= live_from_ms
