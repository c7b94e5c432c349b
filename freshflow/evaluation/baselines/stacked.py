"""Lists of several baselines, one below the other: what a careful team would stack by hand."""

from collections.abc import Sequence
from itertools import islice

from freshflow.evaluation.baselines.baseline import Baseline
from freshflow.events.model import Behaviour
from freshflow.users.profile import Context, UserState

__all__ = ["Stacked"]


class Stacked:
    """The list of the first of `parts`, then what the second adds to it, and so on."""

    def __init__(self, parts: Sequence[Baseline]) -> None:
        self.parts = parts

    def recommend(self, user_id: str, user: UserState, context: Context, k: int) -> list[str]:
        """The first `k` distinct items of all lists, in the order of the parts."""
        items: dict[str, None] = {}
        for part in self.parts:
            if len(items) < k:
                items |= dict.fromkeys(part.recommend(user_id, user, context, k))
        return list(islice(items, k))

    def learn(self, event: Behaviour, context: Context) -> None:
        """Every part learns."""
        for part in self.parts:
            part.learn(event, context)
