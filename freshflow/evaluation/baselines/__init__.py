"""Baseline recommenders for comparison with the job; each learns online from the stream."""
