"""From a URL on the command line to a source or a sink: a path, `-`, or `kafka://host:port/topic`."""

from collections.abc import Callable
from pathlib import Path

from bytewax.inputs import Source
from bytewax.outputs import Sink

from freshflow.config.schema import Config
from freshflow.errors import ConfigError
from freshflow.events.formats.registry import create_layout_finder
from freshflow.events.model import RawBatch
from freshflow.io.files.sink import FileSink
from freshflow.io.files.source import FileSource
from freshflow.io.files.stdin import StdinSource
from freshflow.io.kafka import KafkaSink, KafkaSource, parse_kafka_url
from freshflow.io.kafka.source import ReportLag
from freshflow.io.record import OutBatch
from freshflow.io.url import STDIN, STDOUT, is_kafka

__all__ = ["open_sink", "open_source", "truncate_output"]


def open_source(
    url: str,
    config: Config,
    clock: Callable[[], int],
    should_stop: Callable[[], bool],
    *,
    until_end: bool = False,
    is_resumed: bool = False,
    report_lag: ReportLag = lambda partition, records: None,
) -> Source[RawBatch]:
    """The source of a URL. Raises a `FreshFlowError` if it cannot be read; Kafka is asked when the job starts.

    `is_resumed` says that the job goes on from snapshots; `report_lag` is told what a topic has left to read.
    """
    batch_size, max_bytes = config.job.batch_size, config.events.max_bytes
    if is_kafka(url):
        servers, topic = parse_kafka_url(url)
        return KafkaSource(
            *(servers, topic, config.kafka, batch_size),
            clock=clock,
            should_stop=should_stop,
            until_end=until_end,
            is_resumed=is_resumed,
            report_lag=report_lag,
        )
    _reject_unknown_scheme(url)
    if url == STDIN:
        return StdinSource(batch_size, max_bytes=max_bytes, clock=clock, should_stop=should_stop)
    find_layout = create_layout_finder(config.events)
    return FileSource(
        url, batch_size, max_bytes=max_bytes, clock=clock, should_stop=should_stop, find_layout=find_layout
    )


def open_sink(url: str, config: Config) -> Sink[tuple[str, OutBatch]]:
    """The sink of a URL. Raises a `FreshFlowError` if it cannot be written; Kafka is asked when the job starts."""
    if is_kafka(url):
        servers, topic = parse_kafka_url(url)
        return KafkaSink(servers, topic, config.kafka, config.job.partitions)
    _reject_unknown_scheme(url)
    return FileSink(url)


def truncate_output(url: str) -> None:
    """Empty an output file: a sink is only built at its first record, so a job without any would leave an old one."""
    if not is_kafka(url) and url != STDOUT and Path(url).exists():
        Path(url).write_bytes(b"")


def _reject_unknown_scheme(url: str) -> None:
    scheme, separator, _ = url.partition("://")
    if separator:
        raise ConfigError(
            f"{scheme}:// is no place FreshFlow can read or write; give a path, - or kafka://host:port/topic."
        )
