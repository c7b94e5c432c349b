"""FreshFlow: a streaming job that keeps recommendations fresh."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freshflow.recommender import Recommender

__all__ = ["Recommender", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load `Recommender` at its first use, so that commands that do not need it start faster."""
    if name == "Recommender":
        from freshflow.recommender import Recommender

        return Recommender
    raise AttributeError(f"module 'freshflow' has no attribute {name!r}")
