"""Stacked baseline: concatenates the lists of several baselines."""

from collections.abc import Sequence
from itertools import islice

from freshflow.evaluation.baselines.baseline import Baseline
from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile


class StackedBaseline:
    """Concatenation of the lists of `baselines`, without duplicates."""

    def __init__(self, baselines: Sequence[Baseline]) -> None:
        self.baselines = baselines

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """Return the first `k` distinct items of all lists, in the order of the baselines."""
        items: dict[str, None] = {}
        for baseline in self.baselines:
            if len(items) < k:
                items |= dict.fromkeys(baseline.recommend(user_id, user, context, k))
        return list(islice(items, k))

    def learn(self, event: Interaction, context: Context) -> None:
        """Pass the event to every baseline."""
        for baseline in self.baselines:
            baseline.learn(event, context)
