"""What the user stage says to the partition stage: events with all that is known of their user, and signals."""

from typing import Any, final

import msgspec
from msgspec import structs

from freshflow.events.model import Forget, Identify, Interaction, ItemUpdate, Request, Search
from freshflow.items.visit import ItemVisit
from freshflow.users.profile import Context, UserProfile

__all__ = [
    "ListRequested",
    "UserEvicted",
    "Dismissal",
    "ForwardedEvent",
    "UserInteraction",
    "MergeRequested",
    "ProfileMerged",
    "RemoteExample",
    "BotEvent",
    "RemoteEvent",
    "Step",
]

# What is left out of the user that a lesson carries: what could say who it is, and what teaches nothing.
ANONYMIZED_FIELDS: dict[str, Any] = {
    "session_id": None,
    "fingerprints": b"",
    "dismissed_items": (),
    "search": None,
    "purchases": (),
}


class _EventStep(msgspec.Struct, frozen=True, gc=False):
    """What follows from an event, and so stands where that does."""

    event: Interaction | Request | Search | Identify

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.event.position

    @property
    def nth(self) -> int:
        """Which event of its record it is, from 0."""
        return self.event.nth


@final
class UserInteraction(_EventStep, frozen=True, tag=True, tag_field="kind", gc=False):
    """A behaviour event with the user before it, the context it happened in, and the user after it.

    `broadcast` says that it teaches the rankers of all partitions.
    """

    event: Interaction
    profile_before: UserProfile
    context: Context
    profile_after: UserProfile
    broadcast: bool = False

    @property
    def remote_event(self) -> "RemoteEvent":
        """What other partitions are told of it."""
        if not self.broadcast:
            return self.visit
        return RemoteExample(self.visit, structs.replace(self.profile_before, **ANONYMIZED_FIELDS), self.context)

    @property
    def visit(self) -> ItemVisit:
        """What item knowledge learns from it."""
        is_session_start = self.context.session_length == 0
        event, search = self.event, self.profile_before.search
        if search is None or self.profile_after.search is None or search.ts_ms > event.ts_ms:
            return ItemVisit(
                event.position,
                event.item_id,
                self.context.items,
                event.ts_ms,
                is_session_start,
                event.sample_weight,
                event.type,
            )
        return ItemVisit(
            *(
                event.position,
                event.item_id,
                self.context.items,
                event.ts_ms,
                is_session_start,
                event.sample_weight,
                event.type,
            ),
            *(search.keys, search.n_visits),
        )

    @property
    def follows_search(self) -> bool:
        """Whether the user came to the item after a search that still counts."""
        search = self.profile_before.search
        return search is not None and self.profile_after.search is not None and search.ts_ms <= self.event.ts_ms


@final
class RemoteExample(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A visit of another partition's user, whom nothing identifies, with what the ranker needs to learn from it."""

    visit: ItemVisit
    profile_before: UserProfile
    context: Context

    @property
    def position(self) -> int:
        """Where the event stands in its origin."""
        return self.visit.position


@final
class ListRequested(_EventStep, frozen=True, tag=True, tag_field="kind", gc=False):
    """A list is wanted that teaches nothing of items: a request, or a search. `profile` is the user as of now."""

    event: Request | Search
    profile: UserProfile


@final
class Dismissal(_EventStep, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user turned an item down: the list was made from `profile_before` and `context`, `profile_after` is without the item."""

    event: Interaction
    profile_before: UserProfile
    context: Context
    profile_after: UserProfile


@final
class BotEvent(_EventStep, frozen=True, tag=True, tag_field="kind", gc=False):
    """An event that is no person's behaviour: its user gets a list, and nothing is learned from it."""

    event: Interaction
    profile_after: UserProfile


@final
class UserEvicted(msgspec.Struct, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user is no longer known, after the event at `position` and `nth`, which need not be theirs.

    Either they have been away for longer than `users.idle_s`, or there was no more room. A guest who has become a user
    leaves as if idle.
    """

    position: int
    user_id: str
    is_idle: bool
    nth: int = 0


class MergeRequested(_EventStep, frozen=True, tag=True, tag_field="kind", gc=False):
    """What was known of a guest, on its way to the bucket of the user who they are."""

    event: Identify
    anonymous_profile: UserProfile

    @property
    def user_id(self) -> str:
        """Who the guest is."""
        return self.event.user_id


@final
class ProfileMerged(_EventStep, frozen=True, tag=True, tag_field="kind", gc=False):
    """A user after a guest's history has become theirs: the user gets a list, and nothing is learned from it."""

    event: Identify
    profile_after: UserProfile


RemoteEvent = ItemVisit | RemoteExample
Step = (
    UserInteraction
    | Dismissal
    | BotEvent
    | ListRequested
    | RemoteEvent
    | ItemUpdate
    | Forget
    | UserEvicted
    | ProfileMerged
)
# What a bucket of guests hands on: steps of guests, and what is for the bucket of a user.
ForwardedEvent = Interaction | Request | Search | MergeRequested | Step
