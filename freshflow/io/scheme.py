"""A URL scheme: the operations that one kind of place supports, for `freshflow.io.registry`.

A scheme's functions import the parts of Bytewax when they are called, so that a process that only reads outputs, such
as the server, never loads Bytewax.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import msgspec

from freshflow.config.schema import Config
from freshflow.io.findings import Finding
from freshflow.io.record import OutBatch, OutRecord

if TYPE_CHECKING:
    from bytewax.inputs import Source
    from bytewax.outputs import Sink

    from freshflow.events.model import RawBatch

Clock = Callable[[], int]  # epoch milliseconds
ReportLag = Callable[[int, int], None]  # a partition's number, and the number of records left to read there


class StreamRole(Enum):
    """The purpose of a stream of records; the value is the name that `freshflow topics create` gives its topic."""

    EVENTS = "events"
    LISTS = "recommendations"
    DEAD_LETTERS = "dead-letters"
    METRICS = "metrics"
    RELATED = "related"


def ignore_lag(partition: int, n_records: int) -> None:
    """Report nothing."""


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a source that the configuration does not hold.

    Attributes:
        clock: Processing time in epoch milliseconds.
        should_stop: Once it returns true, every source partition ends, so that the job takes a last snapshot.
        until_end: Stop where a live input ended when it was first read.
        is_resumed: The job continues from snapshots.
        report_lag: Called at the end of an epoch with the records left to read, where the scheme knows the number.
    """

    clock: Clock
    should_stop: Callable[[], bool]
    until_end: bool = False
    is_resumed: bool = False
    report_lag: ReportLag = ignore_lag


class CheckOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a check before the job starts.

    Attributes:
        subject: Name of the input or output in the findings.
        role: Purpose of the stream; `EVENTS` is checked as an input, every other role as an output.
        clock: Processing time in epoch milliseconds.
        n_processes: Processes that share an input.
        is_resumed: The job keeps its outputs and continues them.
    """

    subject: str
    role: StreamRole
    clock: Clock
    n_processes: int = 1
    is_resumed: bool = False

    @property
    def is_input(self) -> bool:
        """Flag of the job's input."""
        return self.role is StreamRole.EVENTS


class Tail(Protocol):
    """Values of the latest records of an output, read as it grows."""

    def read(self) -> list[bytes]:
        """Return the values since the last call; the first call returns those near the end of the output."""

    def close(self) -> None:
        """Release the files and connections."""


class LogBatch(NamedTuple):
    """Records of a keyed log, in order.

    Attributes:
        records: Pairs of (key, value); a value of None is a tombstone. In a file only tombstones have a key.
        position: The position behind the records, to be stored with them.
        is_full_reload: The log is read from its beginning, to replace everything that was read of it before.
        is_at_end: No record was left to read.
    """

    records: list[OutRecord]
    position: bytes
    is_full_reload: bool
    is_at_end: bool


class LogReader(Protocol):
    """Reader of a keyed log from a stored position on."""

    unit: Literal["bytes", "records"]

    @property
    def lag(self) -> int:
        """Amount left to read, in `unit`."""

    def read(self) -> LogBatch | None:
        """Return the records since the last call, None if there are none; raises a `FreshFlowError` if refused."""

    def close(self) -> None:
        """Release the files and connections."""


class OffsetGroup(Protocol):
    """A consumer group to which offsets are published."""

    def publish_offsets(self, offsets: dict[str, int]) -> None:
        """Write the next offset to read of each source partition."""


def _no_sibling(url: str, name: str) -> None:
    return None


def _keep_content(url: str) -> None:
    return None


def _same_url(url: str) -> str:
    return url


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of place: its name in URLs, its properties and its operations. An operation of None is not supported.

    Attributes:
        name: The text before `://` in a URL; `-` and the empty string are the standard streams and paths.
        usage: The form of its URLs, for error messages.
        is_live: An input may grow after its end was reached.
        max_dead_letter_bytes: Largest part of a rejected record that a dead letter may hold; None means all of it.
        open_source: Open a Bytewax source of events.
        open_sink: Open a Bytewax sink of `(route, OutBatch)` items.
        open_tail: Open a tail of an output.
        open_log: Open a reader of a keyed log at a stored position; None is the beginning.
        look_up: Return the value of the latest record of a user's list; None after a tombstone or without a record.
        append_event: Append an event with a key to an input; return where it was written, one sentence a copy.
        write_tombstone: Append a tombstone for a key to an output; return where it was written.
        open_offset_group: Open the consumer group of the configuration; None if it names none.
        check: Yield findings on an input or output without changing it.
        truncate: Empty an output before a new job.
        resolve: Return a name that is the same for all URLs of one place.
        sibling: Return the URL of another output beside this one; None if there is none.
    """

    name: str
    usage: str
    is_live: bool = False
    max_dead_letter_bytes: int | None = None
    open_source: "Callable[[str, Config, SourceOptions], Source[RawBatch]] | None" = None
    open_sink: "Callable[[str, Config], Sink[tuple[str, OutBatch]]] | None" = None
    open_tail: Callable[[str, Config], Tail] | None = None
    open_log: Callable[[str, Config, bytes | None, Clock], LogReader] | None = None
    look_up: Callable[[str, str, Config], bytes | None] | None = None
    append_event: Callable[[str, str, dict[str, str | int], Config], list[str]] | None = None
    write_tombstone: Callable[[str, str, Config], list[str]] | None = None
    open_offset_group: Callable[[str, Config], OffsetGroup | None] | None = None
    check: Callable[[str, Config, CheckOptions], Iterator[Finding]] | None = None
    truncate: Callable[[str], None] = _keep_content
    resolve: Callable[[str], str] = _same_url
    sibling: Callable[[str, str], str | None] = _no_sibling
