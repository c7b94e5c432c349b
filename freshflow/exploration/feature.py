"""Exploration as a feature of a partition."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from freshflow.config.schema import ExploreConfig
from freshflow.events.model import Identify, Interaction, Origin, Request, Search
from freshflow.exploration.apply import EXPLORATION_POLICY, apply_exploration
from freshflow.exploration.bandit import Exploration, ExplorationState
from freshflow.feature import Feature, ListBatch
from freshflow.items.statistics import ItemStatistics
from freshflow.items.visit import ItemVisit
from freshflow.outputs.list_ids import CAUSE_BY_EVENT_TYPE, list_name
from freshflow.users.updates import UserInteraction

SEED_BYTES = 16


class ExplorationFeature(Feature):
    """The bandit of a partition, which puts young items into some of the last places of feed lists."""

    name = "exploration"
    state_type = ExplorationState
    reads_item_statistics = True

    def __init__(self, config: ExploreConfig, item_statistics: ItemStatistics) -> None:
        self.exploration = Exploration(config)
        self._item_statistics = item_statistics

    def on_items_added(self, item_ids: Sequence[str]) -> None:
        """Make new items arms of the bandit."""
        for item_id in item_ids:
            self.exploration.add_arm(item_id)

    def on_visits(self, visits: Sequence[ItemVisit], interactions: Sequence[UserInteraction]) -> None:
        """Reward the arms that users were shown, and count the visits of each arm."""
        for step in interactions:
            self.exploration.record_outcome(step.event.user_id, step.event.item_id, step.event.ts_ms)
        for visit in visits:
            self.exploration.count_visit(visit.item_id)

    def on_user_forgotten(self, user_id: str) -> None:
        """Delete the arms that the user was shown."""
        self.exploration.forget(user_id)

    def choose_items(self, lists: ListBatch) -> None:
        """Explore the lists that events of their users ask for, other than search results."""
        if not lists.events or lists.origin is None:
            return
        hidden_rows = frozenset[int](lists.hidden_rows().tolist())
        for event, q, length in zip(lists.events, lists.query_indices, lists.lengths, strict=True):
            if isinstance(event, Search):
                continue
            query = lists.queries[q]
            choices = apply_exploration(
                self.exploration,
                length,
                query,
                q,
                lists.rankings,
                self._item_statistics,
                hidden_rows,
                _seed(lists.origin, event),
            )
            self.exploration.record_list(event.user_id, choices, query.now_ms)
            lists.propensities[q] = {choice.position: choice.propensity for choice in choices}
            if choices:
                lists.policies[q] = EXPLORATION_POLICY

    def counters(self) -> Mapping[str, int]:
        """Return the numbers of explored items that were shown and taken."""
        return {"explored": self.exploration.n_shown, "explored_taken": self.exploration.n_taken}

    def state(self) -> ExplorationState:
        """Return the state of the bandit."""
        return self.exploration.state()

    def restore(self, state: ExplorationState | None) -> None:
        """Continue from a `state`, or with no arms."""
        if state is not None:
            self.exploration.restore(state)


def _seed(origin: Origin, event: Interaction | Request | Identify) -> int:
    """Return the seed of a list's random draws, a hash of the event that asks for the list."""
    name = list_name(origin, event.position, "explore", event.nth) + CAUSE_BY_EVENT_TYPE[type(event)].encode()
    return int.from_bytes(blake2b(name + event.user_id.encode(), digest_size=SEED_BYTES).digest(), "big")
