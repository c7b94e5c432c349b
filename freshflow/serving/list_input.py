"""An input of the server: a log of the job's records, read as changes of lists."""

from typing import Literal

from freshflow.io.scheme import LogReader
from freshflow.serving.records import ChangeBatch, ListChange, parse_record
from freshflow.serving.responses import ListKind


class ListInput:
    """Reader of one kind of lists from a log."""

    def __init__(self, kind: ListKind, log: LogReader) -> None:
        self.kind = kind
        self._log = log

    @property
    def unit(self) -> Literal["bytes", "records"]:
        """Unit of `lag`."""
        return self._log.unit

    @property
    def lag(self) -> int:
        """Amount left to read, in `unit`."""
        return self._log.lag

    def read(self) -> ChangeBatch | None:
        """Return the changes since the last call, or None if there are none.

        Raises:
            FreshFlowError: If the log cannot be read.
        """
        batch = self._log.read()
        if batch is None:
            return None
        changes: list[ListChange] = [
            change for key, value in batch.records if (change := parse_record(self.kind, key, value)) is not None
        ]
        n_skipped = len(batch.records) - len(changes)
        return ChangeBatch(changes, n_skipped, batch.position, batch.is_full_reload, batch.is_at_end)

    def close(self) -> None:
        """Release the files and connections."""
        self._log.close()
