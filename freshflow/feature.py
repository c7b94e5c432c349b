"""The protocol of a feature: an optional part of a partition that takes part in how lists are made.

Rules, search, exploration, related items and refreshes are features. A partition holds those that are on, in a tuple,
and calls the hooks of each in that order, once per micro-batch rather than per candidate. A feature that is off is not
in the tuple. `Feature` implements every hook as a no-op, so a feature defines the hooks it needs and no others.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.events.model import Identify, Interaction, ItemUpdate, Origin, Request, Search, SourceRef
from freshflow.items.visit import ItemVisit
from freshflow.outputs.records import Output
from freshflow.ranking.kernel import RankingResults
from freshflow.ranking.query import Query
from freshflow.users.profile import UserProfile
from freshflow.users.updates import ListRequested, UserInteraction

NO_ROWS = np.empty(0, np.int64)

RefreshedList = tuple[str, Raw]  # a user id and the items of the user's list as JSON


class TriggerEvent(NamedTuple):
    """The event after which something is published."""

    origin: Origin
    position: int
    ts_ms: int
    nth: int = 0

    @property
    def source(self) -> SourceRef:
        """The place of the event in its file or topic."""
        return self.origin.source_ref(self.position, self.nth)


class DueCheck(NamedTuple):
    """A moment at which features may publish on their own account.

    `kind` is "events" each time the ranker has applied its updates, "clock" while no event comes, and "end" at the end
    of the input. `has_interactions` is true if one of the partition's own users has acted since the last updates.
    `n_events` counts their interactions, `n_examples` these and the examples of other partitions.
    """

    kind: Literal["events", "clock", "end"]
    now_ms: int
    trigger: TriggerEvent
    n_events: int
    n_examples: int
    has_interactions: bool = False


class ListBatch(msgspec.Struct):
    """Lists in the making: ranked, and open to changes by features.

    A feature changes a list in place in `rankings.entries`, and explains the change in one of the last three fields.

    Attributes:
        query_indices: The numbers of the queries that rank the lists.
        lengths: The maximum number of items of each list.
        queries: All queries of the micro-batch.
        rankings: The results of all queries.
        features: The features of the partition.
        origin: The origin of `events`.
        events: The event that asks for each list; empty for lists that no event of their user caused.
        adjustments: By query number: for each position, the amounts that features added to the score, by name.
        propensities: By query number: for each explored position, the probability of its item.
        policies: By query number: the name of the policy that explored the list.
    """

    query_indices: Sequence[int]
    lengths: Sequence[int]
    queries: Sequence[Query]
    rankings: RankingResults
    features: tuple["Feature", ...]
    origin: Origin | None = None
    events: Sequence[Interaction | Request | Search | Identify] = ()
    adjustments: dict[int, list[dict[str, float]]] = {}
    propensities: dict[int, dict[int, float]] = {}
    policies: dict[int, str] = {}

    def hidden_rows(self) -> NDArray[np.int64]:
        """Return the rows (N,) of items that a feature hides from every user."""
        return hidden_rows(self.features)

    def hidden_items(self, query: Query) -> set[str]:
        """Return the ids of items that a feature hides from the search results of a query."""
        return {item_id for feature in self.features for item_id in feature.items_hidden_in_search(query)}


class ListMaker(Protocol):
    """The engine as a feature sees it that publishes lists of users who have not acted."""

    @property
    def has_choosers(self) -> bool:
        """True if a feature chooses the items of lists, so that scores alone do not make a list."""

    def hidden_rows(self) -> NDArray[np.int64]:
        """Return the rows (N,) of items that a feature hides from every user."""

    def rank_users(self, slots: NDArray[np.int32], now_ms: int) -> RankingResults:
        """Rank for the users in `slots` (N,) as of `now_ms`; query number n is that of slot number n."""

    def remake_lists(self, slots: NDArray[np.int32], now_ms: int) -> list[RefreshedList]:
        """Rank for the users in `slots` (N,), let features choose, and return the lists that have changed."""

    def publish(self, trigger: TriggerEvent, cause_name: str, lists: Sequence[RefreshedList]) -> list[Output]:
        """Build the records of lists; `cause_name` tells their ids from those of other lists after `trigger`."""


class Feature:
    """A part of a partition that is on or absent.

    Class attributes:
        name: The name of the feature, under which a snapshot stores its state.
        state_type: The type of the state.
        reads_item_statistics: True if the feature's lists depend on what is known when each is made, so that a
            micro-batch may hold one list only.
        chooses_items: True if the feature chooses items by more than their scores.
        needs_baselines: True if the ranking of each list is to be stored as its user's baseline.
    """

    name: ClassVar[str]
    state_type: ClassVar[type[StateTable]] = StateTable
    reads_item_statistics: ClassVar[bool] = False
    chooses_items: ClassVar[bool] = False
    needs_baselines: ClassVar[bool] = False
    n_checks = 0  # checks at events since the process started, each of which replaces the next one by the clock

    # The catalogue.

    def on_items_added(self, item_ids: Sequence[str]) -> None:
        """Take note of items that are new in the item statistics."""

    def on_items_evicted(self, rows: NDArray[np.int64], trigger: TriggerEvent | None) -> Sequence[Output]:
        """Forget item `rows` (N,), which mean other items from now on; return the outputs that follow."""
        return ()

    def on_item_updated(
        self, update: ItemUpdate, was_available: bool, trigger: TriggerEvent, now_ms: int
    ) -> Sequence[Output]:
        """Take note of a catalogue event; return the outputs that follow.

        Args:
            update: The event; the item statistics know it already.
            was_available: True if the item was available before it.
            trigger: The place of the event.
            now_ms: The event time of the partition.
        """
        return ()

    # Users.

    def on_visits(self, visits: Sequence[ItemVisit], interactions: Sequence[UserInteraction]) -> None:
        """Learn from the visits of a micro-batch, `interactions` being those of the partition's own users."""

    def on_user_forgotten(self, user_id: str) -> None:
        """Delete all data of a user."""

    def tracks_user(self, user_id: str) -> bool:
        """Return True if `on_user_forgotten` has something to delete that a list depends on."""
        return False

    # Queries.

    def ranking_depth(self, k: int) -> int:
        """Return the number of candidates to rank for a list of `k`, at least `k`."""
        return k

    def extend_query(self, query: Query) -> Query:
        """Return the query with what the feature knows of it. Called for users who have searched."""
        return query

    def search_candidates(self, search: Search, profile: UserProfile, item_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Return the items to rank for a search.

        Args:
            search: The search event.
            profile: The user after the search.
            item_ids: The candidates so far, at first the results of the search engine.
        """
        return item_ids

    # Lists.

    def choose_items(self, lists: ListBatch) -> None:
        """Change lists in place."""

    def hidden_rows(self) -> NDArray[np.int64]:
        """Return the rows (N,) of items that must not be shown to any user."""
        return NO_ROWS

    def items_hidden_in_search(self, query: Query) -> Collection[str]:
        """Return the ids of items that must not be among the search results of a query."""
        return ()

    def answer_searches(
        self, steps: Sequence[tuple[ListRequested | UserInteraction | ItemVisit, int]], lists: ListBatch
    ) -> Mapping[int, Raw]:
        """Answer searches and learn from the visits that followed searches, in the order of the stream.

        Args:
            steps: Searches with the number of their query, and visits with -1.
            lists: The ranked lists of the micro-batch.

        Returns:
            The items of each answer as JSON, by query number.
        """
        return {}

    def on_lists_recorded(
        self,
        slots: NDArray[np.int64],
        query_indices: NDArray[np.int64],
        rankings: RankingResults,
        remade_ms: int | None,
    ) -> None:
        """Take note of lists that users are shown from now on.

        Args:
            slots: The users (N,) by their slot among the active users.
            query_indices: The numbers (N,) of the queries that ranked the lists.
            rankings: The results of the queries.
            remade_ms: The event time at which lists were made again, or None if an act of each user caused the list.
        """

    # The schedule.

    def collect_due(self, check: DueCheck, list_maker: ListMaker) -> Sequence[Output]:
        """Return what is to be published at a check, if anything."""
        return ()

    # Reports and state.

    def counters(self) -> Mapping[str, int]:
        """Return the feature's counters by their name in reports."""
        return {}

    def quality(self) -> Mapping[str, float]:
        """Return the feature's quality figures by their name in reports."""
        return {}

    def state(self) -> StateTable | None:
        """Return the state if the feature has one; arrays and collections in it may change later."""
        return None

    def restore(self, state: Any) -> None:
        """Continue from a `state`, or from None where the feature was off; the item statistics are restored already."""


def hidden_rows(features: Iterable[Feature]) -> NDArray[np.int64]:
    """Return the rows (N,) of items that any of the features hides from every user."""
    return np.concatenate([NO_ROWS, *(feature.hidden_rows() for feature in features)])
