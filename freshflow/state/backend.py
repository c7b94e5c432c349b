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

from freshflow._framing import framed, frames
from freshflow._safe_pickle import Piece
from freshflow.engine.snapshot import check_settings
from freshflow.errors import OutputError, SnapshotError

__all__ = ["FILE_NAME", "MAGIC", "Keeping", "Kept", "Reference", "referred"]

MAGIC = b"freshflow-files-2\n"
FILE_NAME = rb"[0-9a-f]{16}-\d+\.(?:base|journal)"  # what a reference calls its files
# A base is made when reading it would save taking so many events again, and when the last one took a small share of the
# time since.
EVENTS, BYTES, SHARE = 20_000, 1 << 26, 0.1
# Bytewax may resume from an earlier epoch than the last that this process ended, as others may not have got so far;
# they keep within two epochs of each other.
MARKS_KEPT = 3
BUFFERED = 1 << 16

# A name leads nowhere but into the folder.
FileName = Annotated[str, Meta(pattern=rf"\A{FILE_NAME.decode()}\Z")]
Length = Annotated[int, Meta(ge=0)]
Pieces = Callable[[], Iterable[Piece]]


class Reference(msgspec.Struct, frozen=True):
    """What makes up a state: a base, and journals, in order, each with the number of its bytes that count.

    `settings` are those that it was made under and that shape it; `checksum` is the CRC-32 of the base.
    """

    settings: dict[str, Any]
    base: tuple[FileName, Length] | None = None
    journals: tuple[tuple[FileName, Length], ...] = ()
    checksum: int | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all its files."""
        several = self.journals if self.base is None else (self.base, *self.journals)
        return tuple(name for name, _ in several)


class Kept:
    """The state of one key of one step; of a job without recovery, of which nothing is kept."""

    base: bytearray | None = None  # the whole state to go on from, if there is one

    def taken_since(self) -> Iterator[Any]:
        """What was taken after `base` was made, in order."""
        return iter(())

    def note(self, taken: Any, events: int) -> None:
        """The stage takes something, which holds so many events; it must never change."""

    def renew(self) -> None:
        """Keep nothing of what was taken so far but what is left of it in the state."""

    @property
    def settles(self) -> bool:
        """Whether files wait for more epochs to end before they are deleted, though nothing should be taken by then."""
        return False

    def mark(self, freeze: Callable[[], Pieces]) -> bytes:
        """What Bytewax is to store for the state as it is now; `freeze` makes what makes its pieces."""
        return b""


class Keeping(NamedTuple):
    """How a job keeps states: not at all, whole in Bytewax's store, or in files of `folder`.

    `resumes` says that there are snapshots to go on from, as far as is known.
    """

    any: bool = False
    folder: Path | None = None
    resumes: bool = False
    noted: Callable[[float], None] = lambda _: None  # told of each base how many seconds it took

    def of(self, stored: bytes | None, type_taken: Any, settings: dict[str, Any]) -> Kept:
        """What is kept of a key, of which Bytewax had `stored` something or nothing; it takes things of one type.

        Raises `SnapshotError` if it was made under other `settings`.
        """
        if not self.any:
            return Kept()
        if self.folder is None:
            return _Whole(stored)
        return _InFiles(self.folder, stored, type_taken, settings, self.noted)


class _Whole(Kept):
    def __init__(self, stored: bytes | None) -> None:
        if stored is not None and stored.startswith(MAGIC):
            raise SnapshotError(
                "The recovery folder keeps states in files, which only `freshflow run` can resume from; use that, "
                "or start anew with an empty folder."
            )
        self.base = bytearray(stored) if stored else None

    def mark(self, freeze: Callable[[], Pieces]) -> bytes:
        return b"".join(freeze()())


class _InFiles(Kept):
    def __init__(
        self,
        folder: Path,
        stored: bytes | None,
        type_taken: Any,
        settings: dict[str, Any],
        noted: Callable[[float], None],
    ) -> None:
        self._files = _Files(folder)
        self._noted = noted
        self._decode = msgspec.msgpack.Decoder(type_taken).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._reference = referred(stored, settings)
        # Stored whole by a job that did not keep it in files.
        whole = stored is not None and bool(stored) and not stored.startswith(MAGIC)
        self._renews = whole
        self.base = bytearray(stored or b"") if whole else self._files.read_base(self._reference)
        self._journal: _Journal | None = None
        self._events = self._bytes = 0
        self._making: _Making | None = None
        self._pause_until_s = 0.0
        self._superseded: deque[tuple[int, tuple[str, ...]]] = deque()
        self._marks = 0

    def taken_since(self) -> Iterator[Any]:
        for name, length in self._reference.journals:
            pieces = frames(memoryview(self._files.read(name, length)))
            while True:
                try:
                    taken = self._decode(next(pieces))
                except StopIteration:
                    break
                except ValueError as error:  # msgspec's errors are ValueErrors
                    raise _damaged(self._files.folder / name, str(error)) from None
                yield taken

    def note(self, taken: Any, events: int) -> None:
        if self._journal is None:
            self._journal = self._files.new_journal()
        piece = framed(self._encode(taken))
        self._journal.add(piece)
        self._events += events
        self._bytes += len(piece)

    def renew(self) -> None:
        self._renews = True

    @property
    def settles(self) -> bool:
        return self._renews or bool(self._superseded)

    def mark(self, freeze: Callable[[], Pieces]) -> bytes:
        self._marks += 1
        reference = self._so_far()
        if self._making is not None and (self._renews or self._making.is_done):
            reference = self._with_base(self._making)
        if self._making is None and (self._renews or self._is_due()):
            self._making = self._begun(freeze(), reference)
            if self._renews:
                reference, self._renews = self._with_base(self._making), False
        while self._superseded and self._superseded[0][0] <= self._marks - MARKS_KEPT:
            self._files.delete(self._superseded.popleft()[1])
        return MAGIC + self._encode(reference)

    def _so_far(self) -> Reference:
        """Everything that was taken, on disk."""
        journal = self._journal
        if journal is not None and journal.length:
            journal.sync()
            before = tuple(other for other in self._reference.journals if other[0] != journal.name)
            journals = (*before, (journal.name, journal.length))
            self._reference = structs.replace(self._reference, journals=journals)
        return self._reference

    def _is_due(self) -> bool:
        enough = self._events >= EVENTS or self._bytes >= BYTES
        return enough and time.monotonic() >= self._pause_until_s

    def _begun(self, pieces: Pieces, so_far: Reference) -> "_Making":
        """Begin a base; what is taken from now on goes into a journal that follows it."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._events = self._bytes = 0
        return _Making(self._files, pieces, so_far)

    def _with_base(self, making: "_Making") -> Reference:
        """Refer to a new base, once it is done."""
        took_s, length, checksum = making.finish()
        self._noted(took_s)
        self._pause_until_s = time.monotonic() + took_s / SHARE
        self._making = None
        since = tuple(journal for journal in self._reference.journals if journal not in making.replaced.journals)
        self._superseded.append((self._marks, making.replaced.files))
        base = (making.name, length)
        self._reference = structs.replace(self._reference, base=base, journals=since, checksum=checksum)
        return self._reference


def referred(stored: bytes | None, settings: dict[str, Any]) -> Reference:
    """What was stored, if it is a reference, else one to nothing.

    Raises `SnapshotError` if it was made under other `settings`.
    """
    if stored is None or not stored.startswith(MAGIC):
        return Reference(settings)
    try:
        reference = msgspec.msgpack.decode(stored[len(MAGIC) :], type=Reference)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise SnapshotError(
            f"The recovery folder is damaged: what it says of its files cannot be read ({error}); restore the folder "
            "whole, or start anew with an empty one."
        ) from None
    check_settings(reference.settings, settings)
    return reference


class _Files:
    """The files of one key; no two have the same name, whichever process made them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stem = uuid4().hex[:16]
        self._number = 0

    def _new_path(self, kind: str) -> Path:
        self._number += 1
        return self.folder / f"{self._stem}-{self._number}.{kind}"

    def new_journal(self) -> "_Journal":
        return _Journal(self._new_path("journal"))

    def write_base(self, path: Path, pieces: Pieces) -> tuple[int, int]:
        """Write a base; how many bytes it has, and their checksum."""
        checksum = 0
        with _named(path):
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

    def new_base_path(self) -> Path:
        return self._new_path("base")

    def read_base(self, reference: Reference) -> bytearray | None:
        if reference.base is None:
            return None
        content = self.read(*reference.base)
        if reference.checksum not in (None, crc32(content)):
            raise _damaged(self.folder / reference.base[0], "the content has changed")
        return content

    def read(self, name: str, length: int) -> bytearray:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                there = os.fstat(file.fileno()).st_size
                if there < length:  # before there is room for what a damaged reference may ask for
                    raise _damaged(path, f"{there} bytes of {length} are left")
                content = bytearray(length)
                file.readinto(content)
        except OSError as error:
            raise _damaged(path, f"nothing can be read ({error.strerror})") from None
        return content

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


class _Journal:
    """A file that grows."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.length = 0
        self._path = path
        with _named(path):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            self._file = path.open("xb", buffering=BUFFERED)
            _sync_folder(path)

    def add(self, piece: bytes) -> None:
        with _named(self._path):
            self._file.write(piece)
        self.length += len(piece)

    def sync(self) -> None:
        """Everything is on disk."""
        with _named(self._path):
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _Making:
    """A base that is being written by a thread of its own. It replaces what was referred to when it was begun."""

    def __init__(self, files: _Files, pieces: Pieces, replaced: Reference) -> None:
        path = files.new_base_path()
        self.name = path.name
        self.replaced = replaced
        self._error: Exception | None = None
        self._began_s, self._took_s, self._written = time.monotonic(), 0.0, (0, 0)
        self._thread = Thread(target=self._make, args=(files, path, pieces), daemon=True)
        self._thread.start()

    def _make(self, files: _Files, path: Path, pieces: Pieces) -> None:
        try:
            self._written = files.write_base(path, pieces)
        except Exception as error:
            self._error = error
        self._took_s = time.monotonic() - self._began_s

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def finish(self) -> tuple[float, int, int]:
        """Wait until it is done; how many seconds it took, its bytes and checksum. Raises what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return (self._took_s, *self._written)


def _sync_folder(path: Path) -> None:
    """The name of a new file is on disk."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Failures to write, as sentences."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"The state of the job cannot be written to {path.parent}: {error.strerror}; make room or give another "
            "--recovery folder."
        ) from None


def _damaged(path: Path, what: str) -> SnapshotError:
    return SnapshotError(
        f"The recovery folder is damaged: of {path} {what}; restore the folder whole, or start anew with an empty one."
    )
