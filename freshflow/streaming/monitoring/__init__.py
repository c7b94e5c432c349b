"""Logs, counters and Prometheus metrics of a running job."""
