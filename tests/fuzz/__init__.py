"""Hostile input: what reads bytes from outside, given any bytes at all. `make fuzz` runs a coverage-guided fuzzer."""
