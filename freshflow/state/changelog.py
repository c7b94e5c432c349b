"""The files of a state: snapshots, written once, and changelogs, which grow."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4
from zlib import crc32

from freshflow._state_tables import ByteBuffer
from freshflow.errors import OutputError, SnapshotError
from freshflow.state.manifest import Manifest

CHANGELOG_BUFFER_BYTES = 1 << 16


class StateFiles:
    """The files of one key. Names are unique, whichever process makes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._name_prefix = uuid4().hex[:16]
        self._last_number = 0

    def create_changelog(self) -> "Changelog":
        """Create an empty changelog."""
        return Changelog(self._new_path("changelog"))

    def new_snapshot_path(self) -> Path:
        """Return the path of a snapshot to be written."""
        return self._new_path("snapshot")

    def _new_path(self, extension: str) -> Path:
        self._last_number += 1
        return self.folder / f"{self._name_prefix}-{self._last_number}.{extension}"

    def write_snapshot(self, path: Path, pieces: Iterable[ByteBuffer]) -> tuple[int, int]:
        """Write a snapshot to disk, and return its number of bytes and its CRC-32."""
        checksum = 0
        with translate_os_errors(path):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            with path.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                    checksum = crc32(piece, checksum)
                file.flush()
                os.fsync(file.fileno())
                length = file.tell()
            _sync_folder(path)
        return length, checksum

    def read_snapshot(self, manifest: Manifest) -> bytearray | None:
        """Return the snapshot of a manifest, if it has one. Raises `SnapshotError` if it is damaged."""
        if manifest.snapshot is None:
            return None
        content = self.read(*manifest.snapshot)
        if manifest.checksum not in (None, crc32(content)):
            raise damage_error(self.folder / manifest.snapshot[0], "the content has changed")
        return content

    def read(self, name: str, length: int) -> bytearray:
        """Return the first bytes of a file. Raises `SnapshotError` if it is missing or too short."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                n_available = os.fstat(file.fileno()).st_size
                if n_available < length:  # before allocating: a damaged manifest may ask for any length
                    raise damage_error(path, f"{n_available} bytes of {length} are left")
                content = bytearray(length)
                file.readinto(content)
        except OSError as error:
            raise damage_error(path, f"nothing can be read ({error.strerror})") from None
        return content

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


class Changelog:
    """A file that grows, of which `length` bytes were appended."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.length = 0
        self._path = path
        with translate_os_errors(path):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            self._file = path.open("xb", buffering=CHANGELOG_BUFFER_BYTES)
            _sync_folder(path)

    def append(self, piece: bytes) -> None:
        """Append bytes; they are on disk after the next `sync`."""
        with translate_os_errors(self._path):
            self._file.write(piece)
        self.length += len(piece)

    def sync(self) -> None:
        """Write all that was appended to disk."""
        with translate_os_errors(self._path):
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _sync_folder(path: Path) -> None:
    """Write the name of a new file to disk."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Raise `OutputError` with a sentence for a failure to write a file."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The state of the job cannot be written to {path.parent}: {error.strerror}; make room or give another "
            "--recovery folder."
        ) from None


def damage_error(path: Path, detail: str) -> SnapshotError:
    """Return the error for a file that is not as it was written."""
    return SnapshotError(
        f"The recovery folder is damaged: of {path} {detail}; restore the folder whole, or start anew with an empty "
        "one."
    )
