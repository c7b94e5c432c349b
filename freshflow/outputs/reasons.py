"""Reasons for which items are on lists, as numbers in arrays and as words in published records."""

from freshflow.ranking.reason_names import RANKING_REASONS

# The reasons of the ranking ("searched" too), then those of rules and exploration. Rules of plugins register more.
PUBLISHED_REASONS = [*RANKING_REASONS, "searched", "pinned", "fresh", "explore"]
NOT_A_CANDIDATE = -1  # the candidate number of an item that was not ranked


def register_reason(name: str) -> int:
    """Return the number of a reason, which is added if it is new."""
    if name not in PUBLISHED_REASONS:
        PUBLISHED_REASONS.append(name)
    return PUBLISHED_REASONS.index(name)
