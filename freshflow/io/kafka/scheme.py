"""Registration of `kafka://host:port[,host:port]/topic` as a scheme."""

from typing import TYPE_CHECKING

from freshflow.config.schema import Config
from freshflow.io.kafka.check import check_topic
from freshflow.io.kafka.client import parse_kafka_url
from freshflow.io.kafka.consumer_group import open_consumer_group
from freshflow.io.kafka.log import TopicLog
from freshflow.io.kafka.lookup import look_up_key
from freshflow.io.kafka.producer import produce_event, produce_tombstone
from freshflow.io.kafka.tail import TopicTail
from freshflow.io.record import OutBatch
from freshflow.io.registry import register
from freshflow.io.scheme import Scheme, SourceOptions

if TYPE_CHECKING:
    from bytewax.inputs import Source
    from bytewax.outputs import Sink

    from freshflow.events.model import RawBatch

# A record holds a megabyte by default; the part of a rejected record that is kept must fit with its reason.
MAX_DEAD_LETTER_BYTES = 1_000_000


def open_kafka_source(url: str, config: Config, options: SourceOptions) -> "Source[RawBatch]":
    """Open a topic of events; the cluster is asked when the job starts."""
    from freshflow.io.kafka.source import KafkaSource

    servers, topic = parse_kafka_url(url)
    return KafkaSource(
        *(servers, topic, config.kafka, config.job.batch_size),
        clock=options.clock,
        should_stop=options.should_stop,
        until_end=options.until_end,
        is_resumed=options.is_resumed,
        report_lag=options.report_lag,
    )


def open_kafka_sink(url: str, config: Config) -> "Sink[tuple[str, OutBatch]]":
    """Open a topic of records; the cluster is asked when the job starts."""
    from freshflow.io.kafka.sink import KafkaSink

    servers, topic = parse_kafka_url(url)
    return KafkaSink(servers, topic, config.kafka, config.job.partitions)


register(
    Scheme(
        name="kafka",
        usage="kafka://host:port/topic",
        is_live=True,
        max_dead_letter_bytes=MAX_DEAD_LETTER_BYTES,
        open_source=open_kafka_source,
        open_sink=open_kafka_sink,
        open_tail=lambda url, config: TopicTail(url, config.kafka),
        open_log=lambda url, config, position, clock: TopicLog(
            url, config.kafka, position, clock=clock, resync_after_s=config.serve.resync_after_s
        ),
        look_up=look_up_key,
        append_event=produce_event,
        write_tombstone=produce_tombstone,
        open_offset_group=open_consumer_group,
        check=check_topic,
    )
)
