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
from freshflow.events.identity import GUEST, is_guest
from freshflow.events.model import Behaviour, Event, Origin, Rejected, Request, Search
from freshflow.events.timestamps import duration

__all__ = ["HELD", "Clocks", "Stream"]

HELD = 64  # events that wait at most, of one origin, behind the record that waits for a verdict
UNKNOWN_MS = 0  # the clock of a stream of which no behaviour has been read
AGREE = 2  # other users who speak for an event, or against it, for it to be decided


class Stream(msgspec.Struct, frozen=True):
    """One origin: the latest time that was believed, and events that wait, the first of them for a verdict."""

    origin: Origin
    clock_ms: int
    held: tuple[Event, ...] = ()


class Clocks:
    """The streams that a bucket's events come from, by the key of their origin; `guests` says that these are known."""

    def __init__(self, config: EventsConfig, streams: Iterable[Stream] = (), *, guests: bool = False) -> None:
        self.guests = guests
        self.jump_ms = int(config.jump_s * 1000)
        self.near_ms = int(config.future_s * 1000)
        self.streams = {stream.origin.key: stream for stream in streams}

    def take(self, origin: Origin, events: list[Event], read_ms: int) -> tuple[list[Event], list[Rejected]]:
        """What is believed of the events that waited and of `events`, in order, and what is refused.

        `read_ms` is processing time; 0 says that it is not known.
        """
        if not events:
            return events, []
        stream = self.streams.get(origin.key)
        if stream is None or stream.clock_ms == UNKNOWN_MS:
            stream = Stream(origin, _first_ms(events))
        clock_ms, limit_ms = stream.clock_ms, stream.clock_ms + self.jump_ms
        if not stream.held:  # as a rule
            for event in events:
                ts_ms = event.ts_ms
                if ts_ms > clock_ms and type(event) is Behaviour:
                    if ts_ms > limit_ms or event.nth:
                        break
                    clock_ms, limit_ms = ts_ms, ts_ms + self.jump_ms
            else:
                self.streams[origin.key] = Stream(origin, clock_ms)
                return events, []
        return self._sort_out(stream, [*stream.held, *events], read_ms - self.near_ms if read_ms else None)

    @property
    def waiting(self) -> Event | None:
        """An event that waits for a verdict, if any does: the behaviour of a user of this bucket."""
        return next((stream.held[0] for stream in self.streams.values() if stream.held), None)

    def finish(self) -> list[tuple[Origin, list[Event], list[Rejected]]]:
        """The end of all streams: what is believed and what is refused of the events that wait, by origin."""
        waiting = [self.streams[key] for key in sorted(self.streams) if self.streams[key].held]
        return [(one.origin, *self._sort_out(one, one.held, None, ended=True)) for one in waiting]

    def reached(self, origin: Origin, upto: int) -> int:
        """The position up to which all events have been taken, if the origin was read up to `upto`."""
        stream = self.streams.get(origin.key)
        return stream.held[0].position - 1 if stream and stream.held else upto

    def _sort_out(
        self, stream: Stream, events: Sequence[Event], live_ms: int | None, *, ended: bool = False
    ) -> tuple[list[Event], list[Rejected]]:
        """Take `events` until one has to wait; those dated `live_ms` or later are as new as their reading."""
        clock_ms = stream.clock_ms
        believed: list[Event] = []
        refused: list[Rejected] = []
        first: Behaviour | None = None  # of its record
        verdict: bool | None = True  # on it
        for at, event in enumerate(events):
            if isinstance(event, Behaviour):
                if first is None or event.position != first.position:
                    first, verdict = event, True
                    if event.ts_ms > clock_ms + self.jump_ms and not _is_live(event, live_ms):
                        verdict = self._verdict(event, _behind(events, at), live_ms, ended)
                    if verdict is None:
                        break
                    if verdict:
                        clock_ms = max(clock_ms, event.ts_ms)
                if not verdict:
                    refused.append(self._refusal(stream.origin, event, first, clock_ms))
                    continue
            believed.append(event)
        else:
            at = len(events)
        self.streams[stream.origin.key] = Stream(stream.origin, clock_ms, tuple(events[at:]))
        return believed, refused

    def _verdict(self, event: Behaviour, following: Sequence[Event], live_ms: int | None, ended: bool) -> bool | None:
        """Whether an event ahead of its stream is believed after the events `following`; None if it has to wait."""
        not_behind_ms = event.ts_ms - self.jump_ms
        heard = {event.user_id}
        voices = [0, 0]  # against it, for it
        for other in following:
            in_time = other.ts_ms >= not_behind_ms
            if in_time and _is_live(other, live_ms):
                return True
            if not isinstance(other, Behaviour | Request | Search) or other.user_id in heard:
                continue
            heard.add(other.user_id)
            voices[in_time] += 1
            if voices[in_time] == AGREE:
                return in_time
        return voices[True] >= voices[False] if ended or len(following) == HELD else None

    def _refusal(self, origin: Origin, event: Behaviour, first: Behaviour, clock_ms: int) -> Rejected:
        whose = "ts" if event is first else "The ts of the record's first event"
        ahead = duration((first.ts_ms - clock_ms) / 1000)
        reason = (
            f"{whose} = {first.ts_ms} lies {ahead} ahead of all events before it, more than "
            "events.jump_s, and those after it are not as late: set the clock of what sent it."
        )
        guest_id = event.user_id[len(GUEST) :] if self.guests and is_guest(event.user_id) else None
        return Rejected(origin, event.position, event.as_record(guest_id), "ahead", reason)


def _first_ms(events: Sequence[Event]) -> int:
    return next((event.ts_ms for event in events if isinstance(event, Behaviour)), UNKNOWN_MS)


def _behind(events: Sequence[Event], at: int) -> Sequence[Event]:
    """The next events after the record that event number `at` is of."""
    end = at + 1
    while end < len(events) and events[end].position == events[at].position:
        end += 1
    return events[end : end + HELD]


def _is_live(event: Event, live_ms: int | None) -> bool:
    return live_ms is not None and event.ts_ms >= live_ms
