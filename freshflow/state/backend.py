"""Where the state of a step is kept, so that a job that is killed goes on where it was.

Bytewax stores what `snapshot` returns at the end of every epoch, and of each key the latest alone. To store a whole
state takes as long as it is large, and the job would wait for it. What a stage does follows from its state and from
what it takes, so it is enough to store a whole state, a *base*, now and then, and in a *journal* what was taken since:

    base 1 |-- journal 1 --------|-- journal 2 ------ ...
                                 base 2 is begun,     done: base 1 and journal 1 are no longer needed

Both are files in the recovery folder. A base is written by another thread. Bytewax is given a `Reference`, which says
which base and how much of which journals make up the state; only whole epochs are referred to.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, NamedTuple
from uuid import uuid4
from zlib import crc32

import msgspec
from msgspec import Meta, structs

from freshflow._framing import decode_frames, encode_frame
from freshflow._safe_pickle import ByteBuffer
from freshflow.engine.snapshot import check_settings
from freshflow.errors import OutputError, SnapshotError

__all__ = ["STATE_FILE_PATTERN", "MANIFEST_MAGIC", "StateBackend", "KeyedState", "Manifest", "read_manifest"]

MANIFEST_MAGIC = b"freshflow-files-3\n"
STATE_FILE_PATTERN = rb"[0-9a-f]{16}-\d+\.(?:base|journal)"  # what a reference calls its files
# A base is made when reading it would save taking so many events again, and when the last one took a small share of the
# time since.
MAX_CHANGELOG_EVENTS, MAX_CHANGELOG_BYTES, MAX_SNAPSHOT_TIME_RATIO = 20_000, 1 << 26, 0.1
# Bytewax may resume from an earlier epoch than the last that this process ended, as others may not have got so far;
# they keep within two epochs of each other.
N_RETAINED_CHECKPOINTS = 3
CHANGELOG_BUFFER_BYTES = 1 << 16

# A name leads nowhere but into the folder.
FileName = Annotated[str, Meta(pattern=rf"\A{STATE_FILE_PATTERN.decode()}\Z")]
ByteLength = Annotated[int, Meta(ge=0)]
PieceFactory = Callable[[], Iterable[ByteBuffer]]


class Manifest(msgspec.Struct, frozen=True):
    """What makes up a state: a base, and journals, in order, each with the number of its bytes that count.

    `settings` are those that it was made under and that shape it; `checksum` is the CRC-32 of the base.
    """

    settings: dict[str, Any]
    snapshot: tuple[FileName, ByteLength] | None = None
    changelogs: tuple[tuple[FileName, ByteLength], ...] = ()
    checksum: int | None = None

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of all its files."""
        files = self.changelogs if self.snapshot is None else (self.snapshot, *self.changelogs)
        return tuple(name for name, _ in files)


class KeyedState:
    """The state of one key of one step; of a job without recovery, of which nothing is kept."""

    snapshot: bytearray | None = None  # the whole state to go on from, if there is one

    def replay_changelog(self) -> Iterator[Any]:
        """What was taken after `snapshot` was made, in order."""
        return iter(())

    def append_to_changelog(self, message: Any, n_events: int) -> None:
        """The stage takes something, which holds so many events; it must never change."""

    def compact_now(self) -> None:
        """Keep nothing of what was taken so far but what is left of it in the state."""

    @property
    def has_files_to_delete(self) -> bool:
        """Whether files wait for more epochs to end before they are deleted, though nothing should be taken by then."""
        return False

    def checkpoint(self, freeze: Callable[[], PieceFactory]) -> bytes:
        """What Bytewax is to store for the state as it is now; `freeze` makes what makes its pieces."""
        return b""


class StateBackend(NamedTuple):
    """How a job keeps states: not at all, whole in Bytewax's store, or in files of `folder`.

    `has_snapshots` says that there are snapshots to go on from, as far as is known.
    """

    is_enabled: bool = False
    folder: Path | None = None
    has_snapshots: bool = False
    on_snapshot_written: Callable[[float], None] = lambda _: None  # told of each base how many seconds it took

    def open_state(self, resume_state: bytes | None, message_type: Any, settings: dict[str, Any]) -> KeyedState:
        """What is kept of a key, of which Bytewax had `resume_state` something or nothing; it takes things of one type.

        Raises `SnapshotError` if it was made under other `settings`.
        """
        if not self.is_enabled:
            return KeyedState()
        if self.folder is None:
            return _InlineState(resume_state)
        return _FileState(self.folder, resume_state, message_type, settings, self.on_snapshot_written)


class _InlineState(KeyedState):
    def __init__(self, resume_state: bytes | None) -> None:
        if resume_state is not None and resume_state.startswith(MANIFEST_MAGIC):
            raise SnapshotError(
                "The recovery folder keeps states in files, which only `freshflow run` can resume from; use that, "
                "or start anew with an empty folder."
            )
        self.snapshot = bytearray(resume_state) if resume_state else None

    def checkpoint(self, freeze: Callable[[], PieceFactory]) -> bytes:
        return b"".join(freeze()())


class _FileState(KeyedState):
    def __init__(
        self,
        folder: Path,
        resume_state: bytes | None,
        message_type: Any,
        settings: dict[str, Any],
        on_snapshot_written: Callable[[float], None],
    ) -> None:
        self._files = _StateFiles(folder)
        self._on_snapshot_written = on_snapshot_written
        self._decode = msgspec.msgpack.Decoder(message_type).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._manifest = read_manifest(resume_state, settings)
        # Stored whole by a job that did not keep it in files.
        is_inline = resume_state is not None and bool(resume_state) and not resume_state.startswith(MANIFEST_MAGIC)
        self._is_compaction_requested = is_inline
        self.snapshot = bytearray(resume_state or b"") if is_inline else self._files.read_snapshot(self._manifest)
        self._changelog: _Changelog | None = None
        self._n_events = self._n_bytes = 0
        self._snapshot_writer: _SnapshotWriter | None = None
        self._pause_until_s = 0.0
        self._obsolete_files: deque[tuple[int, tuple[str, ...]]] = deque()
        self._n_checkpoints = 0

    def replay_changelog(self) -> Iterator[Any]:
        for name, length in self._manifest.changelogs:
            pieces = decode_frames(memoryview(self._files.read(name, length)))
            while True:
                try:
                    message = self._decode(next(pieces))
                except StopIteration:
                    break
                except ValueError as error:  # msgspec's errors are ValueErrors
                    raise _damage_error(self._files.folder / name, str(error)) from None
                yield message

    def append_to_changelog(self, message: Any, n_events: int) -> None:
        if self._changelog is None:
            self._changelog = self._files.create_changelog()
        piece = encode_frame(self._encode(message))
        self._changelog.append(piece)
        self._n_events += n_events
        self._n_bytes += len(piece)

    def compact_now(self) -> None:
        self._is_compaction_requested = True

    @property
    def has_files_to_delete(self) -> bool:
        return self._is_compaction_requested or bool(self._obsolete_files)

    def checkpoint(self, freeze: Callable[[], PieceFactory]) -> bytes:
        self._n_checkpoints += 1
        manifest = self._sync_changelog()
        if self._snapshot_writer is not None and (self._is_compaction_requested or self._snapshot_writer.is_done):
            manifest = self._switch_to_snapshot(self._snapshot_writer)
        if self._snapshot_writer is None and (self._is_compaction_requested or self._is_snapshot_due()):
            self._snapshot_writer = self._start_snapshot(freeze(), manifest)
            if self._is_compaction_requested:
                manifest, self._is_compaction_requested = self._switch_to_snapshot(self._snapshot_writer), False
        while self._obsolete_files and self._obsolete_files[0][0] <= self._n_checkpoints - N_RETAINED_CHECKPOINTS:
            self._files.delete(self._obsolete_files.popleft()[1])
        return MANIFEST_MAGIC + self._encode(manifest)

    def _sync_changelog(self) -> Manifest:
        """Everything that was taken, on disk."""
        changelog = self._changelog
        if changelog is not None and changelog.length:
            changelog.sync()
            older_changelogs = tuple(entry for entry in self._manifest.changelogs if entry[0] != changelog.name)
            changelogs = (*older_changelogs, (changelog.name, changelog.length))
            self._manifest = structs.replace(self._manifest, changelogs=changelogs)
        return self._manifest

    def _is_snapshot_due(self) -> bool:
        is_large = self._n_events >= MAX_CHANGELOG_EVENTS or self._n_bytes >= MAX_CHANGELOG_BYTES
        return is_large and time.monotonic() >= self._pause_until_s

    def _start_snapshot(self, pieces: PieceFactory, manifest: Manifest) -> "_SnapshotWriter":
        """Begin a base; what is taken from now on goes into a journal that follows it."""
        if self._changelog is not None:
            self._changelog.close()
            self._changelog = None
        self._n_events = self._n_bytes = 0
        return _SnapshotWriter(self._files, pieces, manifest)

    def _switch_to_snapshot(self, writer: "_SnapshotWriter") -> Manifest:
        """Refer to a new base, once it is done."""
        duration_s, length, checksum = writer.finish()
        self._on_snapshot_written(duration_s)
        self._pause_until_s = time.monotonic() + duration_s / MAX_SNAPSHOT_TIME_RATIO
        self._snapshot_writer = None
        newer_changelogs = tuple(
            entry for entry in self._manifest.changelogs if entry not in writer.replaced_manifest.changelogs
        )
        self._obsolete_files.append((self._n_checkpoints, writer.replaced_manifest.file_names))
        snapshot = (writer.name, length)
        self._manifest = structs.replace(
            self._manifest, snapshot=snapshot, changelogs=newer_changelogs, checksum=checksum
        )
        return self._manifest


def read_manifest(resume_state: bytes | None, settings: dict[str, Any]) -> Manifest:
    """What was stored, if it is a reference, else one to nothing.

    Raises `SnapshotError` if it was made under other `settings`.
    """
    if resume_state is None or not resume_state.startswith(MANIFEST_MAGIC):
        return Manifest(settings)
    try:
        manifest = msgspec.msgpack.decode(resume_state[len(MANIFEST_MAGIC) :], type=Manifest)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise SnapshotError(
            f"The recovery folder is damaged: what it says of its files cannot be read ({error}); restore the folder "
            "whole, or start anew with an empty one."
        ) from None
    check_settings(manifest.settings, settings)
    return manifest


class _StateFiles:
    """The files of one key; no two have the same name, whichever process made them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._name_prefix = uuid4().hex[:16]
        self._last_number = 0

    def _new_path(self, extension: str) -> Path:
        self._last_number += 1
        return self.folder / f"{self._name_prefix}-{self._last_number}.{extension}"

    def create_changelog(self) -> "_Changelog":
        return _Changelog(self._new_path("journal"))

    def write_snapshot(self, path: Path, pieces: PieceFactory) -> tuple[int, int]:
        """Write a base; how many bytes it has, and their checksum."""
        checksum = 0
        with _translate_os_errors(path):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            with path.open("xb") as file:
                for piece in pieces():
                    file.write(piece)
                    checksum = crc32(piece, checksum)
                file.flush()
                os.fsync(file.fileno())
                length = file.tell()
            _sync_folder(path)
        return length, checksum

    def new_snapshot_path(self) -> Path:
        return self._new_path("base")

    def read_snapshot(self, manifest: Manifest) -> bytearray | None:
        if manifest.snapshot is None:
            return None
        content = self.read(*manifest.snapshot)
        if manifest.checksum not in (None, crc32(content)):
            raise _damage_error(self.folder / manifest.snapshot[0], "the content has changed")
        return content

    def read(self, name: str, length: int) -> bytearray:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                n_available = os.fstat(file.fileno()).st_size
                if n_available < length:  # before there is room for what a damaged reference may ask for
                    raise _damage_error(path, f"{n_available} bytes of {length} are left")
                content = bytearray(length)
                file.readinto(content)
        except OSError as error:
            raise _damage_error(path, f"nothing can be read ({error.strerror})") from None
        return content

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


class _Changelog:
    """A file that grows."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.length = 0
        self._path = path
        with _translate_os_errors(path):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            self._file = path.open("xb", buffering=CHANGELOG_BUFFER_BYTES)
            _sync_folder(path)

    def append(self, piece: bytes) -> None:
        with _translate_os_errors(self._path):
            self._file.write(piece)
        self.length += len(piece)

    def sync(self) -> None:
        """Everything is on disk."""
        with _translate_os_errors(self._path):
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _SnapshotWriter:
    """A base that is being written by a thread of its own. It replaces what was referred to when it was begun."""

    def __init__(self, files: _StateFiles, pieces: PieceFactory, replaced_manifest: Manifest) -> None:
        path = files.new_snapshot_path()
        self.name = path.name
        self.replaced_manifest = replaced_manifest
        self._error: Exception | None = None
        self._start_s, self._duration_s, self._length_and_checksum = time.monotonic(), 0.0, (0, 0)
        self._thread = Thread(target=self._write, args=(files, path, pieces), daemon=True)
        self._thread.start()

    def _write(self, files: _StateFiles, path: Path, pieces: PieceFactory) -> None:
        try:
            self._length_and_checksum = files.write_snapshot(path, pieces)
        except Exception as error:
            self._error = error
        self._duration_s = time.monotonic() - self._start_s

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> tuple[float, int, int]:
        """Wait until it is done; how many seconds it took, its bytes and checksum. Raises what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return (self._duration_s, *self._length_and_checksum)


def _sync_folder(path: Path) -> None:
    """The name of a new file is on disk."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _translate_os_errors(path: Path) -> Iterator[None]:
    """Failures to write, as sentences."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The state of the job cannot be written to {path.parent}: {error.strerror}; make room or give another "
            "--recovery folder."
        ) from None


def _damage_error(path: Path, detail: str) -> SnapshotError:
    return SnapshotError(
        f"The recovery folder is damaged: of {path} {detail}; restore the folder whole, or start anew with an empty one."
    )
