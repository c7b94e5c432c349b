"""Factory of the built-in baselines by name."""

from freshflow.evaluation.baselines.baseline import Baseline
from freshflow.evaluation.baselines.popularity import PopularityBaseline
from freshflow.evaluation.baselines.recent import RecentItemsBaseline
from freshflow.evaluation.baselines.rules import SequentialRules
from freshflow.evaluation.baselines.stacked import StackedBaseline
from freshflow.evaluation.baselines.vsknn import VSKNN

MAX_HISTORY_ITEMS = 5  # own items at the top of a stack; all of them would fill a regular visitor's list


def create_baselines() -> dict[str, Baseline]:
    """Create untrained baselines by name, the simplest first."""
    return {
        "popularity of 200": PopularityBaseline(200),
        "popularity of 2,000": PopularityBaseline(2_000),
        "own recent items": RecentItemsBaseline(),
        "sequential rules": SequentialRules(),
        "recent, rules, pop. 200": StackedBaseline(
            [RecentItemsBaseline(MAX_HISTORY_ITEMS), SequentialRules(), PopularityBaseline(200)]
        ),
        "VSKNN": VSKNN(),
        "VSKNN, pop. 200": StackedBaseline([VSKNN(), PopularityBaseline(200)]),
    }
