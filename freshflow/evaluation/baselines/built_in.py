"""The baselines that an evaluation holds the job against, by name."""

from freshflow.evaluation.baselines.baseline import Baseline
from freshflow.evaluation.baselines.popularity import Popularity
from freshflow.evaluation.baselines.recent import Recent
from freshflow.evaluation.baselines.rules import SequentialRules
from freshflow.evaluation.baselines.stacked import Stacked
from freshflow.evaluation.baselines.vsknn import VSKNN

__all__ = ["built_in"]

RETURNS = 5  # own items on top of a stack: with all of them a regular visitor would see nothing else


def built_in() -> dict[str, Baseline]:
    """New baselines that know nothing yet, the simplest first."""
    return {
        "popularity of 200": Popularity(200),
        "popularity of 2,000": Popularity(2_000),
        "own recent items": Recent(),
        "sequential rules": SequentialRules(),
        "recent, rules, pop. 200": Stacked([Recent(RETURNS), SequentialRules(), Popularity(200)]),
        "VSKNN": VSKNN(),
        "VSKNN, pop. 200": Stacked([VSKNN(), Popularity(200)]),
    }
