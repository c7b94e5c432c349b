"""The state backend: how the state of a step's keys outlasts a job that is killed.

Bytewax stores the return value of `snapshot` at the end of every epoch, of each key the latest alone. Storing a whole
state would take as long as the state is large, and the job would wait for it. The effect of a message follows from the
state and the message alone, so a state is stored as a *snapshot*, which is whole, and a *changelog* of the messages
since:

    snapshot 1 |-- changelog 1 --------|-- changelog 2 ------ ...
                                       snapshot 2 is begun,   done: snapshot 1 and changelog 1 are obsolete

                                       snapshot 2 is begun,   done: snapshot 1 and changelog 1 are obsolete
the snapshot and the parts of changelogs that make up the state at the end of an epoch.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import structs

from freshflow._framing import decode_frames, encode_frame
from freshflow._state_tables import PieceFactory
from freshflow.errors import SnapshotError
from freshflow.state.background_snapshot import BackgroundSnapshot
from freshflow.state.changelog import Changelog, StateFiles, damage_error
from freshflow.state.manifest import MANIFEST_MAGIC, Manifest, encode_manifest, read_manifest

# A snapshot is made once the changelog holds so many events or bytes, and not before the last one's share of the time
# since has fallen to the ratio.
MAX_CHANGELOG_EVENTS, MAX_CHANGELOG_BYTES, MAX_SNAPSHOT_TIME_RATIO = 20_000, 1 << 26, 0.1
# Bytewax may resume from an epoch before the last that this process ended, as other processes may lag behind; processes
# keep within two epochs of each other.
N_RETAINED_CHECKPOINTS = 3


class KeyedState:
    """The state of one key of one step, in a job that keeps none; its subclasses keep it."""

    snapshot: bytearray | None = None  # the whole state to continue from, if there is one

    def replay_changelog(self) -> Iterator[Any]:
        """Return the messages after `snapshot`, in order."""
        return iter(())

    def append_to_changelog(self, message: Any, n_events: int) -> None:
        """Record a message that holds so many events. It must not change later."""

    def compact_now(self) -> None:
        """Replace the changelog by a snapshot at the next checkpoint: the changelog may hold a user's deleted data."""

    @property
    def has_files_to_delete(self) -> bool:
        """True if files wait to be deleted, for which more epochs have to end even if no message comes."""
        return False

    def checkpoint(self, freeze: Callable[[], PieceFactory]) -> bytes:
        """Return the bytes that Bytewax is to store for the state as it is now; `freeze` copies the state."""
        return b""


class StateBackend(NamedTuple):
    """How a job keeps states: not at all, whole in Bytewax's store, or in files of `folder`.

    `has_snapshots` says that the recovery folder holds snapshots to continue from. `on_snapshot_written` is called with
    the duration of each snapshot in seconds.
    """

    is_enabled: bool = False
    folder: Path | None = None
    has_snapshots: bool = False
    on_snapshot_written: Callable[[float], None] = lambda _: None

    def open_state(self, resume_state: bytes | None, message_type: Any, settings: dict[str, Any]) -> KeyedState:
        """Open the state of a key.

        Args:
            resume_state: The bytes that Bytewax has stored of the key, if any.
            message_type: The type of the messages that the step takes.
            settings: The settings that shape the state.

        Returns:
            The state, to be continued.

        Raises:
            SnapshotError: The state is damaged, or was made under other settings.
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
        self._files = StateFiles(folder)
        self._on_snapshot_written = on_snapshot_written
        self._decode = msgspec.msgpack.Decoder(message_type).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._manifest = read_manifest(resume_state, settings)
        # A job that did not keep states in files has stored it whole.
        is_inline = resume_state is not None and bool(resume_state) and not resume_state.startswith(MANIFEST_MAGIC)
        self._is_compaction_requested = is_inline
        self.snapshot = bytearray(resume_state or b"") if is_inline else self._files.read_snapshot(self._manifest)
        self._changelog: Changelog | None = None
        self._n_events = self._n_bytes = 0
        self._background_snapshot: BackgroundSnapshot | None = None
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
                    raise damage_error(self._files.folder / name, str(error)) from None
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
        snapshot = self._background_snapshot
        if snapshot is not None and (self._is_compaction_requested or snapshot.is_done):
            manifest = self._switch_to_snapshot(snapshot)
        if self._background_snapshot is None and (self._is_compaction_requested or self._is_snapshot_due()):
            self._background_snapshot = self._start_snapshot(freeze(), manifest)
            if self._is_compaction_requested:
                manifest, self._is_compaction_requested = self._switch_to_snapshot(self._background_snapshot), False
        while self._obsolete_files and self._obsolete_files[0][0] <= self._n_checkpoints - N_RETAINED_CHECKPOINTS:
            self._files.delete(self._obsolete_files.popleft()[1])
        return encode_manifest(manifest)

    def _sync_changelog(self) -> Manifest:
        """Write all messages to disk."""
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

    def _start_snapshot(self, pieces: PieceFactory, manifest: Manifest) -> BackgroundSnapshot:
        """Begin a snapshot; messages from now on go into a changelog that follows it."""
        if self._changelog is not None:
            self._changelog.close()
            self._changelog = None
        self._n_events = self._n_bytes = 0
        return BackgroundSnapshot(self._files, pieces, manifest)

    def _switch_to_snapshot(self, snapshot: BackgroundSnapshot) -> Manifest:
        """Wait for a snapshot, and name it in the manifest instead of the files that it replaces."""
        duration_s, length, checksum = snapshot.finish()
        self._on_snapshot_written(duration_s)
        self._pause_until_s = time.monotonic() + duration_s / MAX_SNAPSHOT_TIME_RATIO
        self._background_snapshot = None
        replaced = snapshot.replaced_manifest
        newer_changelogs = tuple(entry for entry in self._manifest.changelogs if entry not in replaced.changelogs)
        self._obsolete_files.append((self._n_checkpoints, replaced.file_names))
        self._manifest = structs.replace(
            self._manifest, snapshot=(snapshot.name, length), changelogs=newer_changelogs, checksum=checksum
        )
        return self._manifest
