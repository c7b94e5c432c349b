"""Events that are dated far ahead of their stream: whether the stream has paused, or somebody's clock is wrong.

One event dated two years after its neighbours would age all popularity, and every user, by two years. Where it is ahead
of the time it is read, the parser refuses it; in a replay of old events nothing is. There the stream itself has to say:
an event that is more than a jump ahead of all before it waits, with all that follows, for what other users' next events
say. One that is not a jump behind it speaks for it, one that is speaks against it, and where two agree it is decided:
the stream has moved on and the event is believed, or it is refused. At the end of the stream, where nothing more
comes, and when `HELD` events wait, the majority counts, its own user's voice included.

Where a stream pauses, nothing is lost and nothing changes its place. Only the order of events decides, so that a replay
decides alike. A job that keeps up never waits: an event dated within `near_ms` of its reading is believed at once, as
is what waits before it. So is the first event of a stream, as there is nothing to compare it with.

A record may give several events, which nothing tears apart: they are believed, refused or wait as the first behaviour
among them does, as one clock dated them all. How far the others are ahead of it says nothing, as a record may hold all
that a user did; so the stream's own clock goes by the first ones, too.

Each bucket judges the events of its own users, by origin: the records of two origins have no order.
"""

from collections.abc import Iterable, Sequence

import msgspec

from freshflow.config.schema import EventsConfig
from freshflow.events.identity import ANONYMOUS_PREFIX, is_anonymous_id
from freshflow.events.model import Event, Interaction, Origin, Rejected, Request, Search
from freshflow.events.timestamps import format_duration

__all__ = ["MAX_PENDING_EVENTS", "SkewDetector", "StreamClock"]

MAX_PENDING_EVENTS = 64  # events that wait at most, of one origin, behind the record that waits for a verdict
UNKNOWN_CLOCK_MS = 0  # the clock of a stream of which no behaviour has been read
MIN_AGREEING_USERS = 2  # other users who speak for an event, or against it, for it to be decided


class StreamClock(msgspec.Struct, frozen=True):
    """One origin: the latest time that was believed, and events that wait, the first of them for a verdict."""

    origin: Origin
    clock_ms: int
    pending: tuple[Event, ...] = ()


class SkewDetector:
    """The streams that a bucket's events come from, by the key of their origin; `has_anonymous` says that these are known."""

    def __init__(
        self, config: EventsConfig, streams: Iterable[StreamClock] = (), *, has_anonymous: bool = False
    ) -> None:
        self.has_anonymous = has_anonymous
        self.max_clock_skew_ms = int(config.max_clock_skew_s * 1000)
        self.max_future_ms = int(config.max_future_s * 1000)
        self.streams = {stream.origin.key: stream for stream in streams}

    def process(self, origin: Origin, events: list[Event], read_ms: int) -> tuple[list[Event], list[Rejected]]:
        """What is believed of the events that waited and of `events`, in order, and what is refused.

        `read_ms` is processing time; 0 says that it is not known.
        """
        if not events:
            return events, []
        stream = self.streams.get(origin.key)
        if stream is None or stream.clock_ms == UNKNOWN_CLOCK_MS:
            stream = StreamClock(origin, _first_interaction_ms(events))
        clock_ms, limit_ms = stream.clock_ms, stream.clock_ms + self.max_clock_skew_ms
        if not stream.pending:  # as a rule
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
        """An event that waits for a verdict, if any does: the behaviour of a user of this bucket."""
        return next((stream.pending[0] for stream in self.streams.values() if stream.pending), None)

    def finish(self) -> list[tuple[Origin, list[Event], list[Rejected]]]:
        """The end of all streams: what is believed and what is refused of the events that wait, by origin."""
        streams = [self.streams[key] for key in sorted(self.streams) if self.streams[key].pending]
        return [
            (stream.origin, *self._resolve_pending(stream, stream.pending, None, is_end_of_stream=True))
            for stream in streams
        ]

    def processed_position(self, origin: Origin, end_position: int) -> int:
        """The position up to which all events have been taken, if the origin was read up to `end_position`."""
        stream = self.streams.get(origin.key)
        return stream.pending[0].position - 1 if stream and stream.pending else end_position

    def _resolve_pending(
        self, stream: StreamClock, events: Sequence[Event], live_from_ms: int | None, *, is_end_of_stream: bool = False
    ) -> tuple[list[Event], list[Rejected]]:
        """Take `events` until one has to wait; those dated `live_from_ms` or later are as new as their reading."""
        clock_ms = stream.clock_ms
        accepted_events: list[Event] = []
        rejected: list[Rejected] = []
        first_event: Interaction | None = None  # of its record
        verdict: bool | None = True  # on it
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
        """Whether an event ahead of its stream is believed after the events `following_events`; None if it has to wait."""
        earliest_ms = event.ts_ms - self.max_clock_skew_ms
        voters = {event.user_id}
        votes = [0, 0]  # against it, for it
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
            f"{subject} = {first_event.ts_ms} lies {skew} ahead of all events before it, more than "
            "events.max_clock_skew_s, and those after it are not as late: set the clock of what sent it."
        )
        guest_id = (
            event.user_id[len(ANONYMOUS_PREFIX) :] if self.has_anonymous and is_anonymous_id(event.user_id) else None
        )
        return Rejected(origin, event.position, event.to_record(guest_id), "ahead", reason)


def _first_interaction_ms(events: Sequence[Event]) -> int:
    return next((event.ts_ms for event in events if isinstance(event, Interaction)), UNKNOWN_CLOCK_MS)


def _following_events(events: Sequence[Event], index: int) -> Sequence[Event]:
    """The next events after the record that event number `index` is of."""
    end = index + 1
    while end < len(events) and events[end].position == events[index].position:
        end += 1
    return events[end : end + MAX_PENDING_EVENTS]


def _is_live(event: Event, live_from_ms: int | None) -> bool:
    return live_from_ms is not None and event.ts_ms >= live_from_ms
