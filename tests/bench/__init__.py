"""Benchmarks: how fast, in ratios of runs beside each other. No part of the tests, beyond a smoke run."""

from freshflow._process import configure_job_process

configure_job_process()
