"""FreshFlow: a streaming job that keeps recommendations fresh."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freshflow.recommender import Recommender

__all__ = ["Recommender", "__version__"]

__version__ = "0.1.0"

# The job scales by processes of one worker each, and its matrices are small: threads of the linear algebra library
# only wait for each other. On two busy cores they cost two thirds of the throughput. numpy reads this when imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def __getattr__(name: str) -> Any:
    """`Recommender` is loaded when it is first asked for: it would slow every start of the command line."""
    if name == "Recommender":
        from freshflow.recommender import Recommender

        return Recommender
    raise AttributeError(f"module 'freshflow' has no attribute {name!r}")
