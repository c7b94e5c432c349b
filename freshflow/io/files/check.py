"""Check of files and standard streams before a job starts; nothing is created, emptied or written."""

from collections.abc import Iterator
from pathlib import Path

from freshflow.config.schema import Config
from freshflow.events.formats.registry import create_layout_finder
from freshflow.events.model import RawBatch
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.io.files.reader import EventFile
from freshflow.io.findings import Finding, failed, passed
from freshflow.io.scheme import CheckOptions

MAX_SAMPLE_RECORDS = 100


def check_standard_stream(url: str, config: Config, options: CheckOptions) -> Iterator[Finding]:
    """Yield a finding that a standard stream is used; reading it would take records from the job."""
    yield passed(options.subject, "standard input, which was not read" if options.is_input else "standard output")


def check_input_file(url: str, config: Config, options: CheckOptions) -> Finding:
    """Return whether the first records of a file are events to the job's parser."""
    event_file = EventFile(url, config.events.max_bytes, create_layout_finder(config.events))
    try:
        records = event_file.read(MAX_SAMPLE_RECORDS) or []
        batch = RawBatch(event_file.origin, tuple(records), options.clock(), event_file.columns, event_file.separator)
    finally:
        event_file.close()
    if not records:
        return passed(options.subject, f"{url} can be read, and is empty")
    has_anonymous_users = config.users.guests
    pseudonyms = Pseudonyms.from_config(config.privacy, has_anonymous_users=has_anonymous_users)
    events, rejects = EventParser(config.events, pseudonyms, has_anonymous_users=has_anonymous_users).parse(batch)
    if events:
        n_accepted = len(records) - len(rejects)
        return passed(options.subject, f"{url}: of {len(records)} records, {n_accepted} can be read as events")
    reason = rejects[0].redacted_reason or rejects[0].reason if rejects else "their types are not known."
    return failed(
        options.subject, f"{url}: none of {len(records)} records is an event ({reason}) Give --format or --map."
    )


def check_output_file(url: str, options: CheckOptions) -> Finding:
    """Return whether an output file that can be written holds anything that a new job would replace."""
    size = Path(url).stat().st_size if Path(url).exists() else 0
    overwrite_note = f", and its {size:,} bytes will be replaced" if size and not options.is_resumed else ""
    return passed(options.subject, f"{url} can be written{overwrite_note}")
