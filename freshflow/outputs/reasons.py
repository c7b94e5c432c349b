"""Reasons for which items stand on lists, as numbers in arrays and as words in published records."""

from freshflow.ranking.scoring import RANKING_REASONS

# The reasons of the ranking ("searched" too), then those of items that rules and exploration put on a list.
PUBLISHED_REASONS = (*RANKING_REASONS, "searched", "pinned", "fresh", "explore")
NOT_A_CANDIDATE = -1  # the candidate number of an item that was not ranked
