"""What a baseline is: it recommends from what it has learned, and learns one event at a time."""

from collections.abc import Iterable
from typing import Protocol

from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile

__all__ = ["Baseline", "select_top_items"]


class Baseline(Protocol):
    """A recommender that is asked before each event and then told of it."""

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """At most `k` distinct item ids for a user in a context, the best first; changes nothing."""

    def learn(self, event: Interaction, context: Context) -> None:
        """Take in an event and the context it happened in."""


def select_top_items(scores: Iterable[tuple[str, float]], k: int) -> list[str]:
    """The `k` items of the highest score, ties by item id.

    >>> select_top_items([("b", 1.0), ("c", 2.0), ("a", 1.0)], 2)
    ['c', 'a']
    """
    return [item for item, _ in sorted(scores, key=lambda scored: (-scored[1], scored[0]))[:k]]
