"""Snapshots that a thread writes while the job goes on."""

import time
from threading import Thread

from freshflow._state_tables import PieceFactory
from freshflow.state.changelog import StateFiles
from freshflow.state.manifest import Manifest


class BackgroundSnapshot:
    """A snapshot that is being written by a thread of its own, from a frozen copy of the state.

    It replaces the files of `replaced_manifest`, the state when it was begun.
    """

    def __init__(self, files: StateFiles, pieces: PieceFactory, replaced_manifest: Manifest) -> None:
        self._path = files.new_snapshot_path()
        self.name = self._path.name
        self.replaced_manifest = replaced_manifest
        self._error: Exception | None = None
        self._duration_s, self._length_and_checksum = 0.0, (0, 0)
        self._thread = Thread(target=self._write, args=(files, pieces), daemon=True)
        self._thread.start()

    def _write(self, files: StateFiles, pieces: PieceFactory) -> None:
        start_s = time.monotonic()
        try:
            self._length_and_checksum = files.write_snapshot(self._path, pieces())
        except Exception as error:
            self._error = error
        self._duration_s = time.monotonic() - start_s

    @property
    def is_done(self) -> bool:
        """True once the thread has ended."""
        return not self._thread.is_alive()

    def finish(self) -> tuple[float, int, int]:
        """Wait for the thread; return its duration in seconds, and the bytes and the CRC-32 of the snapshot.

        Raises the exception of the thread, if it failed.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return (self._duration_s, *self._length_and_checksum)
