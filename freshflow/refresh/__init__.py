"""Refreshing the lists of users who are idle."""
