"""Interface of an online baseline recommender."""

from collections.abc import Iterable
from typing import Protocol

from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile


class Baseline(Protocol):
    """Recommender that recommends before each event and then learns the event."""

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """Return at most `k` distinct item ids, best first, without a change of state.

        Args:
            user_id: The user's id.
            user: The user's profile before the event.
            context: The latest items of the user's session.
            k: The greatest length of the list.
        """

    def learn(self, event: Interaction, context: Context) -> None:
        """Learn an event and its context."""


def select_top_items(scores: Iterable[tuple[str, float]], k: int) -> list[str]:
    """Return the `k` items with the highest scores; ties are ordered by item id.

    >>> select_top_items([("b", 1.0), ("c", 2.0), ("a", 1.0)], 2)
    ['c', 'a']
    """
    return [item for item, _ in sorted(scores, key=lambda scored: (-scored[1], scored[0]))[:k]]
