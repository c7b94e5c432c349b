"""What the user stage says to the partition stage: events with all that is known of their user, and signals."""

import msgspec

from freshflow.events.types import Behaviour, Forget, ItemUpdate, Request, Search
from freshflow.items.visits import Visit
from freshflow.users.state import Context, UserState

__all__ = ["Ask", "Dismissal", "Interaction", "Step"]


class Interaction(msgspec.Struct, frozen=True):
    """A behaviour event with the user before it, the context it happened in, and the user after it."""

    event: Behaviour
    before: UserState
    context: Context
    after: UserState

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position

    @property
    def visit(self) -> Visit:
        """What item knowledge learns from it."""
        opens = self.context.session_length == 0
        event = self.event
        return Visit(event.position, event.item_id, self.context.items, event.ts_ms, opens, event.pull)


class Ask(msgspec.Struct, frozen=True):
    """A list is wanted that teaches nothing of items: a request, or a search. `user` is the user as of now."""

    event: Request | Search
    user: UserState

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position


class Dismissal(msgspec.Struct, frozen=True):
    """A user turned an item down: the list was made from `before` and `context`, `after` is without the item."""

    event: Behaviour
    before: UserState
    context: Context
    after: UserState

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position


Step = Interaction | Dismissal | Ask | Visit | ItemUpdate | Forget
