"""Messages from the user stage to the partition stage: events with profiles, and events for other partitions."""

from typing import Any, final

import msgspec
from msgspec import structs

from freshflow.events.model import Forget, Identify, Interaction, ItemUpdate, Request, Search
from freshflow.items.visit import ItemVisit
from freshflow.users.profile import Context, UserProfile

# Fields cleared in the profile of a broadcast example: they could identify the user, or are no input of the ranker.
ANONYMIZED_FIELDS: dict[str, Any] = {
    "session_id": None,
    "fingerprints": b"",
    "dismissed_items": (),
    "search": None,
    "purchases": (),
}


class _EventStep(msgspec.Struct, frozen=True, gc=False):
    """The result of an event, at the event's position."""

    event: Interaction | Request | Search | Identify

    @property
    def position(self) -> int:
        """The position of the event in its origin."""
        return self.event.position

    @property
    def nth(self) -> int:
        """The number of the event in its record, from 0."""
        return self.event.nth


@final
class UserInteraction(_EventStep, frozen=True, tag="user_interaction", tag_field="kind", gc=False):
    """An interaction with its context and the user's profile before and after it.

    `broadcast` marks the training examples that the rankers of all partitions learn from.
    """

    event: Interaction
    profile_before: UserProfile
    context: Context
    profile_after: UserProfile
    broadcast: bool = False

    @property
    def remote_event(self) -> "RemoteEvent":
        """The event for other partitions: a training example if it is broadcast, else a visit."""
        if not self.broadcast:
            return self.visit
        return RemoteExample(self.visit, structs.replace(self.profile_before, **ANONYMIZED_FIELDS), self.context)

    @property
    def visit(self) -> ItemVisit:
        """The event as item statistics count it."""
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
        """True if the interaction follows a search of the user that is still recent."""
        search = self.profile_before.search
        return search is not None and self.profile_after.search is not None and search.ts_ms <= self.event.ts_ms


@final
class RemoteExample(msgspec.Struct, frozen=True, tag="remote_example", tag_field="kind", gc=False):
    """A visit of an anonymised user of another partition, with the inputs that the ranker learns from."""

    visit: ItemVisit
    profile_before: UserProfile
    context: Context

    @property
    def position(self) -> int:
        """The position of the event in its origin."""
        return self.visit.position


@final
class ListRequested(_EventStep, frozen=True, tag="list_requested", tag_field="kind", gc=False):
    """A request or search with the user's current profile; it is answered with a list and is no training example."""

    event: Request | Search
    profile: UserProfile


@final
class Dismissal(_EventStep, frozen=True, tag="dismissal", tag_field="kind", gc=False):
    """The dismissal of an item by a user.

    The dismissed list came from `profile_before` and `context`; the item is gone from `profile_after`.
    """

    event: Interaction
    profile_before: UserProfile
    context: Context
    profile_after: UserProfile


@final
class BotEvent(_EventStep, frozen=True, tag="bot_event", tag_field="kind", gc=False):
    """An event classified as a bot's: its user gets a list, but nothing is learned from it."""

    event: Interaction
    profile_after: UserProfile


@final
class UserEvicted(msgspec.Struct, frozen=True, tag="user_evicted", tag_field="kind", gc=False):
    """The eviction of a user, after the event at `position` and `nth`, which can be another user's.

    `is_idle` distinguishes users idle for longer than `users.idle_s` from those evicted over capacity. An anonymous
    user who has been identified is evicted as idle.
    """

    position: int
    user_id: str
    is_idle: bool
    nth: int = 0


class MergeRequested(_EventStep, frozen=True, tag="merge_requested", tag_field="kind", gc=False):
    """The profile of an identified anonymous user, on its way to the bucket of the user."""

    event: Identify
    anonymous_profile: UserProfile

    @property
    def user_id(self) -> str:
        """The user with whom the anonymous user is identified."""
        return self.event.user_id


@final
class ProfileMerged(_EventStep, frozen=True, tag="profile_merged", tag_field="kind", gc=False):
    """A user after the merge of an anonymous profile: the user gets a list, but nothing is learned from it."""

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
# Output of an anonymous bucket: steps of anonymous users, and events and profiles for user buckets.
ForwardedEvent = Interaction | Request | Search | MergeRequested | Step
