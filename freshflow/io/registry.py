"""From a URL on the command line to a source or a sink: a path, `-`, or `kafka://host:port/topic`."""

from collections.abc import Callable
from pathlib import Path

from bytewax.inputs import Source
from bytewax.outputs import Sink

from freshflow.config.schema import Config
from freshflow.errors import ConfigError
from freshflow.events.formats.registry import layout_finder
from freshflow.events.model import RawBatch
from freshflow.io.files.sink import FileSink
from freshflow.io.files.source import FileSource
from freshflow.io.files.stdin import StdinSource
from freshflow.io.kafka import KafkaSink, KafkaSource, parse_kafka_url
from freshflow.io.kafka.source import NoteLag
from freshflow.io.record import OutBatch
from freshflow.io.url import STDIN, STDOUT, is_kafka

__all__ = ["open_sink", "open_source", "start_fresh"]


def open_source(
    url: str,
    config: Config,
    clock: Callable[[], int],
    stop: Callable[[], bool],
    *,
    until_end: bool = False,
    resumes: bool = False,
    note_lag: NoteLag = lambda partition, records: None,
) -> Source[RawBatch]:
    """The source of a URL. Raises a `FreshFlowError` if it cannot be read; Kafka is asked when the job starts.

    `resumes` says that the job goes on from snapshots; `note_lag` is told what a topic has left to read.
    """
    batch_size, max_bytes = config.job.batch_size, config.events.max_bytes
    if is_kafka(url):
        servers, topic = parse_kafka_url(url)
        return KafkaSource(
            *(servers, topic, config.kafka, batch_size),
            clock=clock,
            stop=stop,
            until_end=until_end,
            resumes=resumes,
            note_lag=note_lag,
        )
    _refuse_unknown_scheme(url)
    if url == STDIN:
        return StdinSource(batch_size, max_bytes=max_bytes, clock=clock, stop=stop)
    find_layout = layout_finder(config.events)
    return FileSource(url, batch_size, max_bytes=max_bytes, clock=clock, stop=stop, find_layout=find_layout)


def open_sink(url: str, config: Config) -> Sink[tuple[str, OutBatch]]:
    """The sink of a URL. Raises a `FreshFlowError` if it cannot be written; Kafka is asked when the job starts."""
    if is_kafka(url):
        servers, topic = parse_kafka_url(url)
        return KafkaSink(servers, topic, config.kafka, config.job.partitions)
    _refuse_unknown_scheme(url)
    return FileSink(url)


def start_fresh(url: str) -> None:
    """Empty an output file: a sink is only built at its first record, so a job without any would leave an old one."""
    if not is_kafka(url) and url != STDOUT and Path(url).exists():
        Path(url).write_bytes(b"")


def _refuse_unknown_scheme(url: str) -> None:
    scheme, separator, _ = url.partition("://")
    if separator:
        raise ConfigError(
            f"{scheme}:// is no place FreshFlow can read or write; give a path, - or kafka://host:port/topic."
        )
