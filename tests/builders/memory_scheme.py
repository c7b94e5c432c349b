"""A scheme from outside the package: `memory://name` is a list of records in this process."""

from collections import defaultdict
from typing import Any

from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from freshflow.config.schema import Config
from freshflow.events.model import Origin, RawBatch
from freshflow.io.record import OutRecord
from freshflow.io.scheme import Scheme, SourceOptions

RECORDS: defaultdict[str, list[OutRecord]] = defaultdict(list)


class MemorySink(DynamicSink, StatelessSinkPartition):
    """Appends records to the list of a URL."""

    def __init__(self, url: str, config: Config) -> None:
        self.url = url

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "MemorySink":
        return self

    def write_batch(self, items: list[Any]) -> None:
        RECORDS[self.url] += [record for _, batch in items for record in batch]


class MemorySource(DynamicSource, StatelessSourcePartition):
    """Reads the list of a URL as one batch."""

    def __init__(self, url: str, config: Config, options: SourceOptions) -> None:
        self.url = url
        self.clock = options.clock
        self.is_read = False

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "MemorySource":
        return self

    def next_batch(self) -> list[RawBatch]:
        if self.is_read:
            raise StopIteration
        self.is_read = True
        records = tuple(enumerate((value for _, value in RECORDS[self.url]), start=1))
        return [RawBatch(Origin("file", self.url), records, self.clock())]


MEMORY_SCHEME = Scheme(name="memory", usage="memory://name", open_source=MemorySource, open_sink=MemorySink)
