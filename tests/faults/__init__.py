"""`make test-faults`: real jobs, real signals and a real Apache Kafka, killed, stopped, starved and cut off.

    python -m tests.faults HOST:PORT [--only NAME]

No part of the tests, beyond a smoke run of what compares. Jobs read batches of the default size: where batches end
changes nothing in what a job makes of a stream, so a disturbed job's lists and state are those of an undisturbed one,
to the last bit with one partition.
"""

from freshflow._process import configure_job_process

configure_job_process()
