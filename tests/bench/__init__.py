"""Benchmarks: how fast, in ratios of runs beside each other. No part of the tests, beyond a smoke run."""
