"""Kafka in and out: a source that resumes where it was, and a sink that loses nothing it was given.

What they promise together with Bytewax's recovery is *at least once*: a snapshot is taken only after
everything the epoch produced has been acknowledged, so a crash repeats records and never drops one.
"""

from freshflow.io.kafka.client import parse_kafka_servers, parse_kafka_url, redact
from freshflow.io.kafka.sink import KafkaSink, KafkaSinkPartition
from freshflow.io.kafka.source import KafkaSource, KafkaSourcePartition

__all__ = [
    "KafkaSink",
    "KafkaSinkPartition",
    "KafkaSource",
    "KafkaSourcePartition",
    "parse_kafka_servers",
    "parse_kafka_url",
    "redact",
]
