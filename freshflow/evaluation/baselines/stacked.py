"""Lists of several baselines, one below the other: what a careful team would stack by hand."""

from collections.abc import Sequence
from itertools import islice

from freshflow.evaluation.baselines.baseline import Baseline
from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile

__all__ = ["StackedBaseline"]


class StackedBaseline:
    """The list of the first of `baselines`, then what the second adds to it, and so on."""

    def __init__(self, baselines: Sequence[Baseline]) -> None:
        self.baselines = baselines

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """The first `k` distinct items of all lists, in the order of the parts."""
        items: dict[str, None] = {}
        for baseline in self.baselines:
            if len(items) < k:
                items |= dict.fromkeys(baseline.recommend(user_id, user, context, k))
        return list(islice(items, k))

    def learn(self, event: Interaction, context: Context) -> None:
        """Every part learns."""
        for baseline in self.baselines:
            baseline.learn(event, context)
