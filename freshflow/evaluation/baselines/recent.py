"""Recency baseline: the user's own recent items, as users often return to them."""

from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile


class RecentItemsBaseline:
    """Ranking of the user's history by recency, at most `max_items`; stateless, as the profile holds the history."""

    def __init__(self, max_items: int | None = None) -> None:
        self.max_items = max_items

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """Return the user's last distinct items, the latest first."""
        return list(user.items[::-1][: k if self.max_items is None else min(k, self.max_items)])

    def learn(self, event: Interaction, context: Context) -> None:
        """Do nothing: the baseline has no state."""
