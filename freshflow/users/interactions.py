"""What the user stage says to the partition stage: events with all that is known of their user, and signals."""

from typing import Any

import msgspec
from msgspec import structs

from freshflow.events.types import Behaviour, Forget, ItemUpdate, Request, Search
from freshflow.items.visits import Visit
from freshflow.users.state import Context, UserState

__all__ = ["Ask", "Departure", "Dismissal", "Interaction", "Lesson", "Noise", "Signal", "Step"]

# What is left out of the user that a lesson carries: what could say who it is, and what teaches nothing.
NAMELESS: dict[str, Any] = {"session_id": None, "fingerprints": b"", "dismissed": (), "bought": ()}


class Interaction(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A behaviour event with the user before it, the context it happened in, and the user after it.

    `for_all` says that it teaches the rankers of all partitions.
    """

    event: Behaviour
    before: UserState
    context: Context
    after: UserState
    for_all: bool = False

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position

    @property
    def nth(self) -> int:
        """Which event of its record it is, from 0."""
        return self.event.nth

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
        event = self.event
        return Visit(event.position, event.item_id, self.context.items, event.ts_ms, opens, event.pull, event.type)


class Lesson(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A visit of another partition's user, whom nothing identifies, with what the ranker needs to learn from it."""

    visit: Visit
    before: UserState
    context: Context

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.visit.position


class Ask(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A list is wanted that teaches nothing of items: a request, or a search. `user` is the user as of now."""

    event: Request | Search
    user: UserState

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position

    @property
    def nth(self) -> int:
        """Which event of its record it is, from 0."""
        return self.event.nth


class Dismissal(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user turned an item down: the list was made from `before` and `context`, `after` is without the item."""

    event: Behaviour
    before: UserState
    context: Context
    after: UserState

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position

    @property
    def nth(self) -> int:
        """Which event of its record it is, from 0."""
        return self.event.nth


class Noise(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """An event that is no person's behaviour: its user gets a list, and nothing is learned from it."""

    event: Behaviour
    after: UserState

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position

    @property
    def nth(self) -> int:
        """Which event of its record it is, from 0."""
        return self.event.nth


class Departure(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user is no longer known, after the event at `position` and `nth`, which need not be theirs.

    Either they have been away for longer than `users.idle_s`, or there was no more room.
    """

    position: int
    user_id: str
    idle: bool
    nth: int = 0


Signal = Visit | Lesson
Step = Interaction | Dismissal | Noise | Ask | Signal | ItemUpdate | Forget | Departure
