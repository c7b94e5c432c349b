"""What the user stage says to the partition stage: events with all that is known of their user, and signals."""

from typing import Any, final

import msgspec
from msgspec import structs

from freshflow.events.model import Behaviour, Forget, Identify, ItemUpdate, Request, Search
from freshflow.items.visit import Visit
from freshflow.users.profile import Context, UserState

__all__ = [
    "Ask",
    "Departure",
    "Dismissal",
    "Handed",
    "Interaction",
    "Join",
    "Joined",
    "Lesson",
    "Noise",
    "Signal",
    "Step",
]

# What is left out of the user that a lesson carries: what could say who it is, and what teaches nothing.
NAMELESS: dict[str, Any] = {"session_id": None, "fingerprints": b"", "dismissed": (), "search": None, "bought": ()}


class _OfEvent(msgspec.Struct, frozen=True, gc=False):
    """What follows from an event, and so stands where that does."""

    event: Behaviour | Request | Search | Identify

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position

    @property
    def nth(self) -> int:
        """Which event of its record it is, from 0."""
        return self.event.nth


@final
class Interaction(_OfEvent, frozen=True, tag=True, tag_field="kind", gc=False):
    """A behaviour event with the user before it, the context it happened in, and the user after it.

    `for_all` says that it teaches the rankers of all partitions.
    """

    event: Behaviour
    before: UserState
    context: Context
    after: UserState
    for_all: bool = False

    @property
    def signal(self) -> "Signal":
        """What other partitions are told of it."""
        if not self.for_all:
            return self.visit
        return Lesson(self.visit, structs.replace(self.before, **NAMELESS), self.context)

    @property
    def visit(self) -> Visit:
        """What item knowledge learns from it."""
        opens = self.context.session_length == 0
        event, search = self.event, self.before.search
        if search is None or self.after.search is None or search.ts_ms > event.ts_ms:
            return Visit(event.position, event.item_id, self.context.items, event.ts_ms, opens, event.pull, event.type)
        return Visit(
            *(event.position, event.item_id, self.context.items, event.ts_ms, opens, event.pull, event.type),
            *(search.keys, search.visits),
        )

    @property
    def follows_search(self) -> bool:
        """Whether the user came to the item after a search that still counts."""
        search = self.before.search
        return search is not None and self.after.search is not None and search.ts_ms <= self.event.ts_ms


@final
class Lesson(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A visit of another partition's user, whom nothing identifies, with what the ranker needs to learn from it."""

    visit: Visit
    before: UserState
    context: Context

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.visit.position


@final
class Ask(_OfEvent, frozen=True, tag=True, tag_field="kind", gc=False):
    """A list is wanted that teaches nothing of items: a request, or a search. `user` is the user as of now."""

    event: Request | Search
    user: UserState


@final
class Dismissal(_OfEvent, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user turned an item down: the list was made from `before` and `context`, `after` is without the item."""

    event: Behaviour
    before: UserState
    context: Context
    after: UserState


@final
class Noise(_OfEvent, frozen=True, tag=True, tag_field="kind", gc=False):
    """An event that is no person's behaviour: its user gets a list, and nothing is learned from it."""

    event: Behaviour
    after: UserState


@final
class Departure(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user is no longer known, after the event at `position` and `nth`, which need not be theirs.

    Either they have been away for longer than `users.idle_s`, or there was no more room. A guest who has become a user
    leaves as if idle.
    """

    position: int
    user_id: str
    idle: bool
    nth: int = 0


class Join(_OfEvent, frozen=True, tag=True, tag_field="kind", gc=False):
    """What was known of a guest, on its way to the bucket of the user who they are."""

    event: Identify
    guest: UserState

    @property
    def user_id(self) -> str:
        """Who the guest is."""
        return self.event.user_id


@final
class Joined(_OfEvent, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user after a guest's history has become theirs: the user gets a list, and nothing is learned from it."""

    event: Identify
    after: UserState


Signal = Visit | Lesson
Step = Interaction | Dismissal | Noise | Ask | Signal | ItemUpdate | Forget | Departure | Joined
# What a bucket of guests hands on: steps of guests, and what is for the bucket of a user.
Handed = Behaviour | Request | Search | Join | Step
