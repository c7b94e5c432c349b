"""Exploration: a bounded share of places goes to items of which too little is known, with known probabilities.

Arms are young items: those met first most lately that have had few visits yet. A bandit keeps a Beta distribution of
how often each is taken where it is shown; the chance of an arm is proportional to an upper bound of it, mean plus
standard deviation,

    u_i = a_i / (a_i + b_i) + sqrt(a_i b_i / ((a_i + b_i)^2 (a_i + b_i + 1))),        c_i = u_i / sum of u.

So the uncertain are tried, the better more often, and the propensity of what is shown is exact; that of Thompson
sampling, which River has, is an integral without a closed form. In a list of n items the last m = ceil(2 s n) places
are open, for a share s. Each goes to an arm with probability p = s n / m, at most a half: which one is drawn among
those that do not stand on the list yet. An explored item has the propensity p c_i, the ranked one that stays has 1 - p,
both given what stands above.
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

# A new item is expected to be taken once in so many times: about as often as the last places of lists are.
PRIOR_FAILURES = 20
MAX_PENDING_USERS = 10_000  # users whose next event is waited for; who was shown something first goes first


class Choice(NamedTuple):
    """What stands at an open `position` of a list: an arm, or None for the ranked item; and how likely that was."""

    position: int
    item_id: str | None
    propensity: float


class UpperBoundPolicy:
    """Draws arms with probabilities proportional to the upper bounds of their reward distributions (River's Beta).

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
        """Count whether an arm was taken where it was shown."""
        self._rewards[arm].update(is_taken)

    def probabilities(self, arms: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability (N,) of each of `arms`."""
        prior = _prior()
        rewards = [self._rewards.get(arm, prior) for arm in arms]
        a, b = (np.array([getattr(reward, name) for reward in rewards], np.float64) for name in ("alpha", "beta"))
        bounds = a / (a + b) + np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
        return np.asarray(bounds / bounds.sum(), np.float64)

    def remove_arm(self, arm: str) -> None:
        """Forget an arm."""
        self._rewards.pop(arm, None)

    def state(self) -> dict[str, tuple[float, float]]:
        """The distributions of arms; see `restore`."""
        return {arm: (reward.alpha, reward.beta) for arm, reward in self._rewards.items()}

    def restore(self, state: dict[str, tuple[float, float]]) -> None:
        """Go on from a `state`."""
        for arm, (alpha, beta) in state.items():
            self._rewards[arm].alpha, self._rewards[arm].beta = alpha, beta


def _prior() -> proba.Beta:
    return proba.Beta(1, PRIOR_FAILURES)


def open_positions(length: int, share: float) -> tuple[int, float]:
    """How many last places of a list are open, and the probability that one of them is explored.

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
    """The state of a partition: `arms` with their visits, the youngest last, at most `config.arms`; the bandit; and,
    for at most `MAX_PENDING_USERS` users, which arms stand on their list since when.

    The next event of a user within `config.attribution_window_s` says whether an arm was taken; later ones say nothing of it.
    """

    def __init__(self, config: ExploreConfig) -> None:
        self.config = config
        self.arms: dict[str, int] = {}
        self.policy = UpperBoundPolicy()
        self.pending_users: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.n_shown = self.n_taken = 0

    def add_arm(self, item_id: str) -> None:
        """An item is new."""
        self.arms.setdefault(item_id, 0)
        if len(self.arms) > self.config.arms:
            self._remove_arm(next(iter(self.arms)))

    def count_visit(self, item_id: str) -> None:
        """Somebody came for an item; with `config.visits` of them it is known."""
        if item_id in self.arms:
            self.arms[item_id] += 1
            if self.arms[item_id] >= self.config.visits:
                self._remove_arm(item_id)

    def _remove_arm(self, item_id: str) -> None:
        del self.arms[item_id]
        self.policy.remove_arm(item_id)

    def record_outcome(self, user_id: str, item_id: str, ts_ms: int) -> None:
        """A user acted: the arms on their list were taken, or not."""
        shown_ms, items = self.pending_users.pop(user_id, (0, ()))
        if items and ts_ms - shown_ms <= self.config.attribution_window_s * 1000:
            self.n_taken += item_id in items
            for arm in items:
                if arm in self.arms:
                    self.policy.update(arm, arm == item_id)

    def forget(self, user_id: str) -> None:
        """Wait for nothing of a user any more."""
        self.pending_users.pop(user_id, None)

    def choose_items(self, length: int, excluded: Collection[str], random: np.random.Generator) -> list[Choice]:
        """What stands at the open places of a list of so many items, of which none in `excluded` is an arm."""
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
        """A user is shown what was chosen; what was shown before is no longer waited for."""
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
