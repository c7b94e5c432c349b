"""Ranking of items for a user: candidates, features, scores of a River model, the top k, and learning."""
