"""Checks of a job before it starts; they change nothing."""
