"""What the user stage says to the partition stage: events with all that is known of their user, and signals."""

import msgspec

from freshflow.events.types import Behaviour, Forget, ItemUpdate, Request, Search
from freshflow.items.visits import Visit
from freshflow.users.state import Context, UserState

__all__ = ["Ask", "Interaction", "Step"]


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
        return Visit(self.event.position, self.event.item_id, self.context.items, self.event.ts_ms, opens)


class Ask(msgspec.Struct, frozen=True):
    """A list is wanted that teaches nothing: a request, a search, or, as its list must change, a dismissal.

    `user` is the user as of now, the dismissal included.
    """

    event: Request | Search | Behaviour
    user: UserState

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position


Step = Interaction | Ask | Visit | ItemUpdate | Forget
