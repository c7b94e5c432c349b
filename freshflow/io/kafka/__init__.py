"""Kafka: a source that resumes at its offsets, and a sink that flushes before every snapshot.

Together with Bytewax's recovery they are *at least once*: a snapshot is taken only after the broker has acknowledged
all records of the epoch, so a crash repeats records and never drops one.
"""
