"""Popularity baseline: the most frequent items of the last events, the same list for all users."""

from collections import deque

from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile


class PopularityBaseline:
    """Ranking by frequency in the last `window` events, ties by latest event; memory for `window` ids."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.events: deque[str] = deque()
        self.counts: dict[str, int] = {}  # in the order of the items' latest events

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """Return the `k` most frequent items."""
        latest_first = reversed(self.counts)  # a stable sort keeps this order in ties
        return sorted(latest_first, key=self.counts.__getitem__, reverse=True)[:k]

    def learn(self, event: Interaction, context: Context) -> None:
        """Count the event, and remove the one that leaves the window."""
        self.events.append(event.item_id)
        self.counts[event.item_id] = self.counts.pop(event.item_id, 0) + 1
        if len(self.events) > self.window:
            oldest = self.events.popleft()
            self.counts[oldest] -= 1
            if not self.counts[oldest]:
                del self.counts[oldest]
