"""Where a job reads and writes: files are looked at, topics are asked about; nothing is created, emptied or written."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from freshflow.config.schema import Config
from freshflow.events.formats.registry import layout_finder
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.files.reader import OpenFile
from freshflow.io.registry import open_sink
from freshflow.io.url import STDIN, STDOUT, is_kafka
from freshflow.preflight.findings import Finding, bad, good
from freshflow.preflight.kafka_topic import Topic, topic
from freshflow.streaming.job import Places

__all__ = ["input_place", "output_place"]

LOOKED_AT = 100  # records


def input_place(places: Places, config: Config, processes: int, clock: Callable[[], int]) -> Iterator[Finding]:
    """Whether events can be read, and are events."""
    if is_kafka(places.input):
        yield from topic("input", places.input, Topic.EVENTS, config, processes, clock)
    elif places.input == STDIN:
        yield good("input", "standard input, which was not read")
    else:
        opened = OpenFile(places.input, config.events.max_bytes, layout_finder(config.events))
        try:
            records = opened.read(LOOKED_AT) or []
            yield events("input", places.input, opened.origin, records, config, clock, opened.columns, opened.separator)
        finally:
            opened.close()


def events(
    what: str,
    place: str,
    origin: Origin,
    records: list[tuple[int, Any]],
    config: Config,
    clock: Callable[[], int],
    columns: tuple[str, ...] | None = None,
    separator: str = ",",
) -> Finding:
    """Whether records are events to the parser of the job."""
    if not records:
        return good(what, f"{place} can be read, and is empty")
    guests = config.users.guests
    parser = EventParser(config.events, Pseudonyms.of_config(config.privacy, guests=guests), guests=guests)
    taken, rejected = parser.parse(RawBatch(origin, tuple(records), clock(), columns, separator))
    if taken:
        return good(what, f"{place}: of {len(records)} records, {len(records) - len(rejected)} can be read as events")
    reason = rejected[0].unquoted or rejected[0].reason if rejected else "their types are not known."
    return bad(what, f"{place}: none of {len(records)} records is an event ({reason}) Give --format or --map.")


def output_place(
    what: str, url: str | None, kind: Topic, config: Config, resumes: bool, clock: Callable[[], int]
) -> Iterator[Finding]:
    """Whether records can be written there."""
    if url is None:
        yield good(what, "none")
    elif is_kafka(url):
        yield from topic(what, url, kind, config, 1, clock)
    else:
        open_sink(url, config)  # raises where it can be known that it cannot be written
        size = Path(url).stat().st_size if url != STDOUT and Path(url).exists() else 0
        lost = f", and its {size:,} bytes will be replaced" if size and not resumes else ""
        yield good(what, f"{url} can be written{lost}" if url != STDOUT else "standard output")
