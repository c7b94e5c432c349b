"""Refreshes of idle users' lists."""
