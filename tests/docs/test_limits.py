"""The bounds named on the pages are those of the code."""

import pytest

from freshflow.config.schema import Config
from freshflow.engine.learning import UPDATE_INTERVAL
from freshflow.events.fields import MAX_IDS
from freshflow.search.reranker import MAX_TRAINING_RESULTS
from tests.docs.pages import DOCS

CONFIG = Config()


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("reference/limits.md", f"{CONFIG.ranking.candidates} in all"),
        ("reference/limits.md", f"the last {CONFIG.users.history} items"),
        ("reference/limits.md", f"the last {CONFIG.users.context} are looked at"),
        ("reference/limits.md", f"at most {MAX_IDS:,} results"),
        ("reference/limits.md", f"the first {MAX_TRAINING_RESULTS} "),
        ("reference/limits.md", f"re-orders {CONFIG.ranker.shortlist} candidates"),
        ("reference/limits.md", f"the latest {CONFIG.refresh.users:,} users"),
        ("reference/limits.md", f"fewer than {UPDATE_INTERVAL} events"),
        ("reference/limits.md", f"more than {CONFIG.noise.events} events"),
        ("explanation/comparison.md", f"{CONFIG.items.max:,} items unless told otherwise"),
        ("explanation/how-it-works.md", f"{CONFIG.ranking.candidates} of them are kept"),
        ("explanation/how-it-works.md", f"after every {UPDATE_INTERVAL}th event"),
    ],
)
def test_bound_is_that_of_the_code(page: str, text: str) -> None:
    assert text in " ".join((DOCS / page).read_text("utf-8").split())
