"""Manifests: which files make up the state of a key. Bytewax stores a manifest where there would be the state."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from freshflow.errors import SnapshotError
from freshflow.state.settings_guard import check_settings

MANIFEST_MAGIC = b"freshflow-files-4\n"
STATE_FILE_PATTERN = rb"[0-9a-f]{16}-\d+\.(?:snapshot|changelog)"

# The pattern keeps a name from leading out of the folder.
FileName = Annotated[str, Meta(pattern=rf"\A{STATE_FILE_PATTERN.decode()}\Z")]
ByteLength = Annotated[int, Meta(ge=0)]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of a state: a snapshot, and changelogs in order, each with the number of its bytes that count.

    `settings` are those that shaped the state; `checksum` is the CRC-32 of the snapshot.
    """

    settings: dict[str, Any]
    snapshot: tuple[FileName, ByteLength] | None = None
    changelogs: tuple[tuple[FileName, ByteLength], ...] = ()
    checksum: int | None = None

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of all files."""
        files = self.changelogs if self.snapshot is None else (self.snapshot, *self.changelogs)
        return tuple(name for name, _ in files)


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest as Bytewax stores it."""
    return MANIFEST_MAGIC + msgspec.msgpack.encode(manifest)


def read_manifest(resume_state: bytes | None, settings: dict[str, Any]) -> Manifest:
    """Return the manifest that was stored, or one without files if none was.

    Raises `SnapshotError` if it is damaged, or if the state was made under other `settings`.
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
