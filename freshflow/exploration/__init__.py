"""Exploration of young items: a bandit gives them places in lists."""
