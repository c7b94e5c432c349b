"""The user's own recent items: people come back to what they were at."""

from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile

__all__ = ["RecentItemsBaseline"]


class RecentItemsBaseline:
    """The last items of the user's history, at most `max_items`. Learns nothing: the history comes with the question."""

    def __init__(self, max_items: int | None = None) -> None:
        self.max_items = max_items

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """The user's last distinct items, the latest first."""
        return list(user.items[::-1][: k if self.max_items is None else min(k, self.max_items)])

    def learn(self, event: Interaction, context: Context) -> None:
        """Nothing to learn."""
