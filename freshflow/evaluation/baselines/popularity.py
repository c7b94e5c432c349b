"""The most popular items of the last events: the same list for everyone."""

from collections import deque

from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile

__all__ = ["PopularityBaseline"]


class PopularityBaseline:
    """Items by how many of the last `window` events were theirs, of equals the latest first. Holds `window` ids."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.events: deque[str] = deque()
        self.counts: dict[str, int] = {}  # in the order of the items' latest events

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """The `k` most frequent items."""
        latest_first = reversed(self.counts)  # and sorting keeps the order of equals
        return sorted(latest_first, key=self.counts.__getitem__, reverse=True)[:k]

    def learn(self, event: Interaction, context: Context) -> None:
        """Count the event, and no longer count the one that falls out of the window."""
        self.events.append(event.item_id)
        self.counts[event.item_id] = self.counts.pop(event.item_id, 0) + 1
        if len(self.events) > self.window:
            oldest = self.events.popleft()
            self.counts[oldest] -= 1
            if not self.counts[oldest]:
                del self.counts[oldest]
