"""Exploration: a bandit gives a bounded share of list positions to young items, with exact propensities.

Arms are young items: the latest new items that have had few visits. The bandit keeps a Beta distribution of the reward
of each arm, the probability that it is taken where it is shown. The probability of an arm is proportional to an upper
bound of its reward, mean plus standard deviation,

    u_i = a_i / (a_i + b_i) + sqrt(a_i b_i / ((a_i + b_i)^2 (a_i + b_i + 1))),        c_i = u_i / sum of u.

Uncertain arms are tried, better arms more often, and the propensity of each shown item is exact; that of Thompson
sampling, which River has, is an integral without a closed form. In a list of n items the last m = ceil(2 s n) positions
are open, for a share s. Each is explored with probability p = s n / m, at most a half: an arm is drawn among those that
are not in the list yet. An explored item has the propensity p c_i, a ranked item that stays has 1 - p, both given the
items above.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshflow._river import proba
from freshflow._state_tables import StateTable
from freshflow.config.schema import ExploreConfig

# The prior expects a new item to be taken once in 21 impressions: about the rate of the last positions of lists.
PRIOR_FAILURES = 20
MAX_PENDING_USERS = 10_000  # users whose next event is awaited; the longest waiting are evicted first


class Choice(NamedTuple):
    """The choice at an open position of a list: an arm, or None for the ranked item, with its propensity."""

    position: int
    item_id: str | None
    propensity: float


class UpperBoundPolicy:
    """A policy that draws arms in proportion to the upper bounds of their reward distributions (River's Beta).

    >>> policy = UpperBoundPolicy()
    >>> for _ in range(3):
    ...     policy.update("b", False)
    >>> policy.update("c", True)
    >>> policy.probabilities(["a", "b", "c"]).round(3).tolist()
    [0.286, 0.251, 0.463]
    """

    def __init__(self) -> None:
        self._rewards: defaultdict[str, proba.Beta] = defaultdict(_prior)

    def update(self, arm: str, is_taken: bool) -> None:
        """Update the reward of an arm that was shown and was taken or not."""
        self._rewards[arm].update(is_taken)

    def probabilities(self, arms: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability (N,) of each of `arms`."""
        prior = _prior()
        rewards = [self._rewards.get(arm, prior) for arm in arms]
        a, b = (np.array([getattr(reward, name) for reward in rewards], np.float64) for name in ("alpha", "beta"))
        bounds = a / (a + b) + np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
        return np.asarray(bounds / bounds.sum(), np.float64)

    def remove_arm(self, arm: str) -> None:
        """Remove an arm and its reward."""
        self._rewards.pop(arm, None)

    def state(self) -> dict[str, tuple[float, float]]:
        """Return the parameters (alpha, beta) of each arm."""
        return {arm: (reward.alpha, reward.beta) for arm, reward in self._rewards.items()}

    def restore(self, state: dict[str, tuple[float, float]]) -> None:
        """Continue from a state."""
        for arm, (alpha, beta) in state.items():
            self._rewards[arm].alpha, self._rewards[arm].beta = alpha, beta


def _prior() -> proba.Beta:
    return proba.Beta(1, PRIOR_FAILURES)


def open_positions(length: int, share: float) -> tuple[int, float]:
    """Return the number of open positions at the end of a list, and the probability that one of them is explored.

    >>> open_positions(20, 0.05), open_positions(20, 0.1), open_positions(8, 0.05), open_positions(1, 0.1)
    ((2, 0.5), (4, 0.5), (1, 0.4), (0, 0.0))
    """
    n_open = min(ceil(2 * share * length), length - 1)
    return (n_open, min(0.5, share * length / n_open)) if n_open > 0 else (0, 0.0)


class ExplorationState(StateTable, frozen=True):
    """State of exploration: visits and reward (alpha, beta) by arm; by user the time and the arms of a pending list."""

    arms: dict[str, int]
    rewards: dict[str, tuple[float, float]]
    pending_users: dict[str, tuple[int, tuple[str, ...]]]
    n_shown: int
    n_taken: int


class Exploration:
    """The exploration of a partition: its arms, the bandit, and the arms on users' lists.

    The next event of a user within `config.attribution_window_s` rewards the arms on the user's list; later events do
    not.

    Attributes:
        arms: Visits by arm, the youngest last, at most `config.arms`.
        policy: The bandit.
        pending_users: For at most `MAX_PENDING_USERS` users, the time and the arms of the latest list.
        n_shown: Number of explored items shown.
        n_taken: Number of explored items taken.
    """

    def __init__(self, config: ExploreConfig) -> None:
        self.config = config
        self.arms: dict[str, int] = {}
        self.policy = UpperBoundPolicy()
        self.pending_users: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.n_shown = self.n_taken = 0

    def add_arm(self, item_id: str) -> None:
        """Add a new item as an arm; the oldest arm is removed if there are too many."""
        self.arms.setdefault(item_id, 0)
        if len(self.arms) > self.config.arms:
            self._remove_arm(next(iter(self.arms)))

    def count_visit(self, item_id: str) -> None:
        """Count a visit of an item, which is no arm any more after `config.visits` visits."""
        if item_id in self.arms:
            self.arms[item_id] += 1
            if self.arms[item_id] >= self.config.visits:
                self._remove_arm(item_id)

    def _remove_arm(self, item_id: str) -> None:
        del self.arms[item_id]
        self.policy.remove_arm(item_id)

    def record_outcome(self, user_id: str, item_id: str, ts_ms: int) -> None:
        """Reward the arms on a user's list by the user's next event.

        Args:
            user_id: The user.
            item_id: The visited item.
            ts_ms: The time of the event.
        """
        shown_ms, items = self.pending_users.pop(user_id, (0, ()))
        if items and ts_ms - shown_ms <= self.config.attribution_window_s * 1000:
            self.n_taken += item_id in items
            for arm in items:
                if arm in self.arms:
                    self.policy.update(arm, arm == item_id)

    def forget(self, user_id: str) -> None:
        """Delete the arms on a user's list."""
        self.pending_users.pop(user_id, None)

    def choose_items(self, length: int, excluded: Collection[str], random: np.random.Generator) -> list[Choice]:
        """Return the choices at the open positions of a list.

        Args:
            length: The number of items of the list.
            excluded: Ids of items that may not be arms.
            random: The source of the draws.
        """
        n_open, p = open_positions(length, self.config.share)
        arms = [arm for arm in self.arms if arm not in excluded]
        choices = []
        for position in range(length - n_open, length):
            explore_draw, arm_draw = random.random(2)
            if not arms:
                continue
            if explore_draw >= p:
                choices.append(Choice(position, None, 1 - p))
                continue
            probabilities = self.policy.probabilities(arms)
            index = min(int(np.searchsorted(probabilities.cumsum(), arm_draw, "right")), len(arms) - 1)
            choices.append(Choice(position, arms.pop(index), p * float(probabilities[index])))
        return choices

    def record_list(self, user_id: str, choices: Sequence[Choice], now_ms: int) -> None:
        """Record the arms that a user is shown, in place of those shown before.

        Args:
            user_id: The user.
            choices: The choices at the open positions of the list.
            now_ms: The event time of the list.
        """
        items = tuple(choice.item_id for choice in choices if choice.item_id is not None)
        self.pending_users.pop(user_id, None)
        if items:
            self.n_shown += len(items)
            self.pending_users[user_id] = now_ms, items
            if len(self.pending_users) > MAX_PENDING_USERS:
                del self.pending_users[next(iter(self.pending_users))]

    def state(self) -> ExplorationState:
        """Return the state."""
        return ExplorationState(self.arms, self.policy.state(), self.pending_users, self.n_shown, self.n_taken)

    def restore(self, state: ExplorationState) -> None:
        """Continue from a state; if fewer arms are kept now, with the youngest."""
        self.arms, self.pending_users = dict(state.arms), dict(state.pending_users)
        self.n_shown, self.n_taken = state.n_shown, state.n_taken
        self.policy.restore(state.rewards)
        while len(self.arms) > self.config.arms:
            self._remove_arm(next(iter(self.arms)))
