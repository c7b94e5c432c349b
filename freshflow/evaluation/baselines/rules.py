"""Sequential rules baseline: items that followed the latest items of the session, weighted by distance.

An event on y adds 1 / n to the rule x -> y for the item x n steps before it, and the score of y is

    score(y) = sum over the last 5 items x_n of  rule(x_n -> y) / n.

After Kamehkhosh, Jannach and Ludewig, "A Comparison of Frequent Pattern Techniques and a Deep Learning Method for
Session-Based Recommendation" (2017); the authors use the rules of the last item only.
"""

from collections import defaultdict

from freshflow.evaluation.baselines.baseline import select_top_items
from freshflow.events.model import Interaction
from freshflow.users.profile import Context, UserProfile

MAX_RULE_STEPS = 5  # greatest distance of a rule, and number of latest items used


class SequentialRules:
    """Weighted rules between items within `MAX_RULE_STEPS` steps; memory grows with the pairs that occur."""

    def __init__(self) -> None:
        self.rules: dict[str, dict[str, float]] = {}

    def recommend(self, user_id: str, user: UserProfile, context: Context, k: int) -> list[str]:
        """Return the `k` items with the highest sums of rules from the context's last items."""
        scores: defaultdict[str, float] = defaultdict(float)
        for n, item in enumerate(context.items[:MAX_RULE_STEPS], start=1):
            for next_item, weight in self.rules.get(item, {}).items():
                scores[next_item] += weight / n
        return select_top_items(scores.items(), k)

    def learn(self, event: Interaction, context: Context) -> None:
        """Strengthen the rules from the context's last items to the event's item."""
        for n, item in enumerate(context.items[:MAX_RULE_STEPS], start=1):
            if item != event.item_id:
                followers = self.rules.setdefault(item, {})
                followers[event.item_id] = followers.get(event.item_id, 0.0) + 1 / n
