"""Where a job reads and writes: files are looked at, topics are asked about; nothing is created, emptied or written."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from freshflow.config.schema import Config
from freshflow.events.formats.registry import create_layout_finder
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.files.reader import EventFile
from freshflow.io.registry import open_sink
from freshflow.io.url import STDIN, STDOUT, is_kafka
from freshflow.preflight.findings import Finding, failed, passed
from freshflow.preflight.kafka_topic import TopicRole, check_topic
from freshflow.streaming.job import JobUrls

__all__ = ["check_input", "check_output"]

MAX_SAMPLE_RECORDS = 100  # records


def check_input(endpoints: JobUrls, config: Config, processes: int, clock: Callable[[], int]) -> Iterator[Finding]:
    """Whether events can be read, and are events."""
    if is_kafka(endpoints.input):
        yield from check_topic("input", endpoints.input, TopicRole.EVENTS, config, processes, clock)
    elif endpoints.input == STDIN:
        yield passed("input", "standard input, which was not read")
    else:
        event_file = EventFile(endpoints.input, config.events.max_bytes, create_layout_finder(config.events))
        try:
            records = event_file.read(MAX_SAMPLE_RECORDS) or []
            yield check_events(
                "input",
                endpoints.input,
                event_file.origin,
                records,
                config,
                clock,
                event_file.columns,
                event_file.separator,
            )
        finally:
            event_file.close()


def check_events(
    subject: str,
    url: str,
    origin: Origin,
    records: list[tuple[int, Any]],
    config: Config,
    clock: Callable[[], int],
    columns: tuple[str, ...] | None = None,
    separator: str = ",",
) -> Finding:
    """Whether records are events to the parser of the job."""
    if not records:
        return passed(subject, f"{url} can be read, and is empty")
    has_anonymous_users = config.users.guests
    parser = EventParser(
        config.events,
        Pseudonyms.from_config(config.privacy, has_anonymous_users=has_anonymous_users),
        has_anonymous_users=has_anonymous_users,
    )
    parsed_events, rejected_records = parser.parse(RawBatch(origin, tuple(records), clock(), columns, separator))
    if parsed_events:
        return passed(
            subject, f"{url}: of {len(records)} records, {len(records) - len(rejected_records)} can be read as events"
        )
    reason = (
        rejected_records[0].redacted_reason or rejected_records[0].reason
        if rejected_records
        else "their types are not known."
    )
    return failed(subject, f"{url}: none of {len(records)} records is an event ({reason}) Give --format or --map.")


def check_output(
    subject: str, url: str | None, role: TopicRole, config: Config, is_resumed: bool, clock: Callable[[], int]
) -> Iterator[Finding]:
    """Whether records can be written there."""
    if url is None:
        yield passed(subject, "none")
    elif is_kafka(url):
        yield from check_topic(subject, url, role, config, 1, clock)
    else:
        open_sink(url, config)  # raises where it can be known that it cannot be written
        size = Path(url).stat().st_size if url != STDOUT and Path(url).exists() else 0
        overwrite_note = f", and its {size:,} bytes will be replaced" if size and not is_resumed else ""
        yield passed(subject, f"{url} can be written{overwrite_note}" if url != STDOUT else "standard output")
