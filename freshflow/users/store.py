"""Store of user profiles: a bounded table by user id, and its update by events.

Each partition of the job has one store, which holds the bucket of users hashed to it. The store owns the lifetime of
users: evictions (forgotten, idle, over capacity) reach the partition as messages.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from msgspec import structs

from freshflow._state_tables import PieceFactory, SnapshotFormat, StateTable, ValueColumn
from freshflow.config.schema import Config, EventsConfig, NoiseConfig, UsersConfig
from freshflow.events.model import Event, Forget, Identify, Interaction, ItemUpdate, Origin, Rejected, Request, Search
from freshflow.events.query_keys import query_keys
from freshflow.users.bot_filter import NO_BOT_LIMITS, BotLimits, classify_bot_event
from freshflow.users.clock_skew import SkewDetector, StreamClock
from freshflow.users.idle_expiry import IDLE_CHECK_INTERVAL, find_idle_users
from freshflow.users.out_of_order import add_out_of_order_event, profile_at
from freshflow.users.profile import (
    NEW_USER,
    Context,
    UserProfile,
    add_dismissal,
    add_event,
    add_search,
    context_at,
    intern_ids,
    is_duplicate,
)
from freshflow.users.profile_merge import merge_profiles
from freshflow.users.purchases import PURCHASE_TYPE, add_purchase
from freshflow.users.resequencer import PendingEvents, Resequencer
from freshflow.users.updates import (
    BotEvent,
    Dismissal,
    ForwardedEvent,
    ListRequested,
    MergeRequested,
    ProfileMerged,
    Step,
    UserEvicted,
    UserInteraction,
)

USER_SNAPSHOT = SnapshotFormat(b"freshflow-users-12\n", "user states", "damaged user states")


class UserStoreState(StateTable, frozen=True):
    """State of a user store: counts, streams and events that wait, and the users in the order of their last event."""

    n_interactions: int
    counts: dict[str, int]
    streams: list[StreamClock]
    pending_events: PendingEvents
    user_ids: ValueColumn[str]
    profiles: ValueColumn[UserProfile]


def store_options(config: Config) -> dict[str, Any]:
    """Return options of the store for optional features: the retention of purchases, and search tracking."""
    return {"purchase_retention_s": config.rules.hide_bought_s, "tracks_searches": config.search.max_queries > 0}


class UserStore:
    """A table of at most `max_users` profiles, ordered by the last event; the least recently active are evicted first.

    Users idle for longer than `config.idle_s` are evicted after every `IDLE_CHECK_INTERVAL`th interaction.

    Attributes:
        users: Profiles by user id.
        n_interactions: Interactions so far. The first `n_broadcast` of them train the rankers of all partitions.
        counts: Dropped and unusual events and users: `duplicate`, `ignored` (no weight), `late`, `reordered` (out of
            order and inserted at their time), `noise_rate`, `noise_repeats`, `noise_sequence` (bots), `users_evicted`,
            `users_idle`, and `guests_joined` (merged anonymous users).
    """

    def __init__(
        self,
        config: UsersConfig,
        max_users: int,
        n_broadcast: int = 0,
        bot_filter: NoiseConfig | None = None,
        events_config: EventsConfig | None = None,
        *,
        purchase_retention_s: float = 0.0,
        tracks_searches: bool = True,
    ) -> None:
        self.config = config
        self.events_config = events_config or EventsConfig()
        self.skew_detector = SkewDetector(self.events_config)
        self.resequencer = Resequencer()
        self.gap_ms = int(config.session_gap_s * 1000)
        self.allowed_lateness_ms = int(config.allowed_lateness_s * 1000)
        self.bot_limits = BotLimits.from_config(bot_filter) if bot_filter is not None else NO_BOT_LIMITS
        self.max_users = max_users
        self.n_broadcast = n_broadcast
        self.tracks_searches = tracks_searches
        self.n_interactions = 0
        self.users: dict[str, UserProfile] = {}
        self._record_position: int | None = None  # position of the record being processed
        self._profile_before_record = NEW_USER
        self.counts: Counter[str] = Counter()
        self._idle_ms = int(config.idle_s * 1000)
        self._purchase_retention_ms = int(purchase_retention_s * 1000)
        self._evictions: list[UserEvicted] = []

    @classmethod
    def for_partition(cls, config: Config, n_variants: int = 1) -> "UserStore":
        """Create the store of one partition of the job, in one of `n_variants` variants."""
        n_partitions = config.job.partitions
        n_variant_partitions = n_partitions // n_variants  # examples stay within a variant
        n_broadcast = config.ranker.broadcast_examples // n_variant_partitions if n_variant_partitions > 1 else 0
        max_users = max(1, config.users.max // n_partitions)
        return cls(config.users, max_users, n_broadcast, config.noise, config.events, **store_options(config))

    def process_batch(self, origin: Origin, events: list[Event], read_ms: int) -> tuple[list[Step], list[Rejected]]:
        """Process the next events of an origin.

        Args:
            origin: The log of the events.
            events: The events, in order of position.
            read_ms: Processing time of their read; 0 if unknown.

        Returns:
            The steps of the events, and the records rejected for clock skew.
        """
        accepted_events, rejected = self.skew_detector.process(origin, events, read_ms)
        return self.process(accepted_events), rejected

    def finish(self) -> list[tuple[Origin, list[Step], list[Rejected]]]:
        """Resolve the events that are pending at the end of all streams, by origin, as in `process_batch`."""
        return [
            (origin, self.process(accepted_events), rejected)
            for origin, accepted_events, rejected in self.skew_detector.finish()
        ]

    def process(self, events: Iterable[Event | ForwardedEvent]) -> list[Step]:
        """Process events in order, dropping and counting duplicates; return their steps.

        Evictions follow the event that caused them. Events of one record must be in one call: they are compared with
        events before the record, not with each other.
        """
        self._record_position = None
        return self.process_more(events)

    def process_more(self, events: Iterable[Event | ForwardedEvent]) -> list[Step]:
        """Process events that continue the previous call, possibly in the middle of a record."""
        steps: list[Step] = []
        for event in events:
            step = self._process_event(event)
            if step is not None:
                steps.append(step)
            if self._evictions:
                steps += self._evictions
                self._evictions = []
        return steps

    def _process_event(self, event: Event | ForwardedEvent) -> Step | None:
        if isinstance(event, Interaction):
            return self._process_interaction(event)
        if isinstance(event, ItemUpdate):
            return event
        if isinstance(event, Forget):
            is_known = self.users.pop(event.user_id, None) is not None
            return structs.replace(event, is_known=is_known or event.is_known)
        if isinstance(event, Request | Search):
            profile = self.users.get(event.user_id, NEW_USER)
            return ListRequested(
                event, self._profile_after_search(event, profile) if isinstance(event, Search) else profile
            )
        return None if isinstance(event, Identify) else self._process_forwarded(event)

    def _process_forwarded(self, forwarded: ForwardedEvent) -> Step:
        """Process a step or a profile forwarded by a bucket of anonymous users."""
        if isinstance(forwarded, MergeRequested):
            return self._merge_profile(forwarded)
        if isinstance(forwarded, UserInteraction):
            self.n_interactions += 1
            self._evict_idle_users(forwarded.event)
            return structs.replace(forwarded, broadcast=self.n_interactions <= self.n_broadcast)
        assert not isinstance(forwarded, Interaction | Request | Search)
        return forwarded

    def _merge_profile(self, request: MergeRequested) -> ProfileMerged:
        event, config = request.event, self.config
        profile_before = self.users.get(event.user_id, NEW_USER)
        profile_after = merge_profiles(
            profile_before,
            request.anonymous_profile,
            gap_ms=self.gap_ms,
            max_context=config.context,
            max_history=config.history,
        )
        self._store_profile(event, profile_after)
        self.counts["guests_joined"] += 1
        return ProfileMerged(event, profile_after)

    def _profile_after_search(self, event: Search, profile_before: UserProfile) -> UserProfile:
        if not self.tracks_searches:
            return profile_before
        profile_after = add_search(profile_before, query_keys(event.query), event.ts_ms, gap_ms=self.gap_ms)
        if profile_after is not profile_before:
            self._store_profile(event, profile_after)
        return profile_after

    def _process_interaction(self, event: Interaction) -> Step | None:
        profile_before = self.users.get(event.user_id, NEW_USER)
        if event.position != self._record_position:
            self._record_position, self._profile_before_record = event.position, profile_before
        if is_duplicate(self._profile_before_record, event):
            self.counts["duplicate"] += 1
            return None
        if event.weight == 0:
            self.counts["ignored"] += 1
            return None
        behind_ms = profile_before.last_ms - event.ts_ms
        if behind_ms > 0:
            return self._process_out_of_order(event, profile_before, behind_ms)
        gap_ms, config = self.gap_ms, self.config
        context = context_at(
            profile_before, event.ts_ms, gap_ms=gap_ms, max_items=config.context, session_id=event.session_id
        )
        if event.weight < 0:
            profile_after = add_dismissal(profile_before, event, max_history=config.history, bot_limits=self.bot_limits)
        else:
            profile_after = add_event(
                profile_before,
                event,
                gap_ms=gap_ms,
                max_context=config.context,
                max_history=config.history,
                bot_limits=self.bot_limits,
            )
        return self._complete_interaction(event, profile_before, context, profile_after)

    def _process_out_of_order(self, event: Interaction, current_profile: UserProfile, behind_ms: int) -> Step | None:
        """Process an event `behind_ms` older than its user's latest one; return None if it is too late."""
        if behind_ms > self.allowed_lateness_ms:
            self.counts["late"] += 1
            return None
        self.counts["reordered"] += 1
        gap_ms, config = self.gap_ms, self.config
        profile_before = profile_at(current_profile, event.ts_ms, gap_ms=gap_ms)
        context = context_at(profile_before, event.ts_ms, gap_ms=gap_ms, max_items=config.context)
        if event.weight < 0:
            profile_after = add_dismissal(
                current_profile, event, max_history=config.history, bot_limits=self.bot_limits
            )
        else:
            profile_after = add_out_of_order_event(
                current_profile, event, gap_ms=gap_ms, max_context=config.context, max_history=config.history
            )
        return self._complete_interaction(event, profile_before, context, profile_after)

    def _complete_interaction(
        self, event: Interaction, profile_before: UserProfile, context: Context, profile_after: UserProfile
    ) -> Step:
        if self._purchase_retention_ms and event.type == PURCHASE_TYPE:
            profile_after = add_purchase(
                profile_after, event, retention_ms=self._purchase_retention_ms, max_purchases=self.config.history
            )
        self._store_profile(event, profile_after)
        bot_kind = classify_bot_event(
            profile_after.rate_excess_ms,
            profile_after.n_immediate_repeats,
            profile_after.session_length,
            profile_after.n_consecutive_unseen,
            self.bot_limits,
        )
        # A dismissal is exempt from the limits on repeats and sequences: it is a plausible reaction to a loop.
        if bot_kind is not None and (event.weight > 0 or bot_kind == "rate"):
            self.counts[f"noise_{bot_kind}"] += 1
            return BotEvent(event, profile_after)
        if event.weight < 0:
            return Dismissal(event, profile_before, context, profile_after)
        self.n_interactions += 1
        self._evict_idle_users(event)
        return UserInteraction(event, profile_before, context, profile_after, self.n_interactions <= self.n_broadcast)

    def _evict_idle_users(self, event: Interaction) -> None:
        """Evict idle users, once every `IDLE_CHECK_INTERVAL` interactions."""
        if self._idle_ms and self.n_interactions % IDLE_CHECK_INTERVAL == 0:
            for user_id in find_idle_users(self.users, self._idle_ms):
                self._evict_user(event, user_id, is_idle=True)

    def _store_profile(self, event: Interaction | Identify | Search, profile: UserProfile) -> None:
        self.users.pop(event.user_id, None)  # re-insertion moves the user to the end of the order
        self.users[event.user_id] = profile
        if len(self.users) > self.max_users:
            self._evict_user(event, next(iter(self.users)), is_idle=False)

    def _evict_user(self, cause: Interaction | Identify | Search, user_id: str, *, is_idle: bool) -> None:
        del self.users[user_id]
        self.counts["users_idle" if is_idle else "users_evicted"] += 1
        self._evictions.append(UserEvicted(cause.position, user_id, is_idle, cause.nth))

    def state(self) -> UserStoreState:
        """Return the state."""
        return UserStoreState(
            n_interactions=self.n_interactions,
            counts=dict(self.counts),
            streams=list(self.skew_detector.streams.values()),
            pending_events=self.resequencer.state(),
            user_ids=ValueColumn(list(self.users)),
            profiles=ValueColumn(list(self.users.values())),
        )

    def restore(self, state: UserStoreState) -> None:
        """Continue from a state; if there is room for fewer users now, with the most recently active."""
        self.n_interactions, self.counts = state.n_interactions, Counter(state.counts)
        self.skew_detector = SkewDetector(self.events_config, state.streams)
        self.resequencer = Resequencer(state.pending_events)
        profiles = map(intern_ids, state.profiles.values)
        self.users = dict(zip(state.user_ids.values, profiles, strict=True))
        for user_id in list(islice(self.users, max(0, len(self.users) - self.max_users))):
            del self.users[user_id]
            self.counts["users_evicted"] += 1

    def snapshot(self) -> bytes:
        """Encode the store as bytes; it stays as it is."""
        return USER_SNAPSHOT.dump({"users": self.state()})

    def prepare_snapshot(self) -> PieceFactory:
        """Copy the state; the result encodes the pieces of a `snapshot` later, in another thread."""
        return USER_SNAPSHOT.freeze({"users": self.state()})

    def load_snapshot(self, snapshot: bytes | bytearray) -> None:
        """Continue from a `snapshot`. Raises `SnapshotError` if it is damaged or of another version."""
        with USER_SNAPSHOT.open(snapshot) as tables:
            self.restore(tables.read("users", UserStoreState))
